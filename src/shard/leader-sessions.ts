/**
 * The durable sessions of a shard that this node leads: what is asked about them, and what the
 * leader does about them itself. Made anew with each term, as all that serves.
 */

import type { RareEffect } from '../machine/effect.ts';
import type { QueueId } from '../machine/ids.ts';
import { KeysSweep } from './keys-sweep.ts';
import type { RecordLoader } from './record-loader.ts';
import type { SessionOwner } from './dispatch-options.ts';
import type { PlainData } from './record-codec.ts';
import { SessionDesk, type SessionDeskOptions, missing } from './session-desk.ts';
import type { SessionRequest } from './session-requests.ts';
import { SessionWatch, type SessionWatchOptions } from './session-watch.ts';

export interface LeaderSessionsOptions
  extends Omit<SessionDeskOptions, 'machine'>, Omit<SessionWatchOptions, 'desk'> {
  readonly loader: Pick<RecordLoader, 'namesBehind'>;
}

export class LeaderSessions {
  readonly #options: LeaderSessionsOptions;
  readonly #desk: SessionDesk;
  readonly #watch: SessionWatch;
  /** Undefined: nobody can be asked. */
  readonly #keys: KeysSweep | undefined;

  constructor(options: LeaderSessionsOptions) {
    this.#options = options;
    this.#desk = new SessionDesk(options);
    this.#watch = new SessionWatch({ ...options, desk: this.#desk });
    const { others, propose } = options;
    const end = (session: string): void => propose({ kind: 'end-session', session });
    this.#keys = others && new KeysSweep({ ...options, others, end });
  }

  /** `isGone`: nobody hears the answer any more. */
  answer(request: SessionRequest, isGone: () => boolean): Promise<PlainData> {
    return this.#desk.answer(request, isGone);
  }

  get nextWake(): number {
    if (this.#desk.isWanted) return 0;
    return Math.min(this.#watch.nextWake, this.#keys?.nextWake ?? Number.POSITIVE_INFINITY);
  }

  look(): void {
    this.#desk.look();
    this.#watch.look();
    this.#keys?.look();
  }

  rare(effect: RareEffect): void {
    this.#desk.rare(effect);
    this.#watch.rare(effect);
  }

  fail(error: Error): void {
    this.#desk.fail(error);
  }

  /** For the dispatcher. */
  readonly ownerIsBack = (queueId: QueueId, ownerEpoch: number): void =>
    this.#watch.isBack(queueId, ownerEpoch);
  readonly ownerIsGone = (queueId: QueueId): void => this.#watch.suspect(queueId);

  /** What `ownerOf` needs. */
  missing(queueId: QueueId): ReturnType<typeof missing> {
    return missing(this.#options.machine, queueId);
  }

  /** Of another queue undefined. */
  ownerOf(queueId: QueueId): SessionOwner | undefined {
    const { machine } = this.#options;
    if (machine.definition(queueId)?.type !== 'session') return undefined;
    const { ownerEpoch = 0, endsAt = 0 } = machine.sessions.peek(queueId) ?? {};
    return { ownerEpoch, hasLeft: endsAt !== 0 };
  }
}
