/**
 * What the leader of a shard answers to wishes about durable sessions (session-requests.ts).
 *
 * Each goes through the log, as one command that has exactly one answer among the effects; they
 * come in the order of the proposals, those of the leader itself (`session-watch.ts`) too. So
 * nothing is told before it is committed and applied. A claim reads the epoch in force first
 * and is proposed for that one; where another one came between, it begins again. A change is
 * told when every node routes by it, or may not route by what it knew any more: one that is not
 * reached, or does not get on, after `LEASE_OVER_MS` (`lease-holders.ts`).
 */

import { AdminError, SessionError } from '../broker/ports.ts';
import type { SessionRefusal } from '../broker/ports.ts';
import { DEFAULT_LIMITS, limitsProblem } from '../machine/definitions.ts';
import type { RareEffect } from '../machine/effect.ts';
import type { SessionRefusalReason } from '../machine/session-effect.ts';
import type { QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { RecordKey } from '../machine/record-data.ts';
import type { SessionCommand } from '../machine/session-command.ts';
import type { PlainCommand } from './codec.ts';
import type { PlainData } from './record-codec.ts';
import { type SessionRequest, chosenData, claimedData } from './session-requests.ts';
import { WillDesk } from './will-desk.ts';
import { dueWillsData } from './will-requests.ts';

/** Claims of one session that come between. */
const CLAIM_TRIES_MAX = 16;

export interface SessionDeskOptions {
  readonly machine: Pick<Machine, 'definition' | 'sessions'>;
  /** Throws an AdminError when nothing is taken any more. */
  readonly propose: (command: PlainCommand) => void;
  /** What was proposed until now is applied. */
  readonly proposalsApplied: () => Promise<void>;
  /** Calls `action` once between two entries, when nothing is missing. */
  readonly whenLoaded: (missing: () => readonly RecordKey[], action: () => void) => Promise<void>;
  /** Every node routes by the queues as they are now, or by none (`sessions.ts`). */
  readonly queuesTold: () => Promise<void>;
  /** `look` is to be called. */
  readonly wake: () => void;
}

type SessionAnswer = Extract<
  RareEffect,
  {
    readonly kind:
      | 'session-claimed'
      | 'session-done'
      | 'session-received'
      | 'session-chosen'
      | 'session-refused';
  }
>;
type Refused = Extract<SessionAnswer, { readonly kind: 'session-refused' }>;

interface Waiting {
  readonly resolve: (answer: SessionAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class SessionDesk {
  readonly #options: SessionDeskOptions;
  readonly #waiting: Waiting[] = [];
  readonly #wills: WillDesk;

  constructor(options: SessionDeskOptions) {
    this.#options = options;
    this.#wills = new WillDesk(options.wake);
  }

  /** There is work for `look`. */
  get isWanted(): boolean {
    return this.#wills.isWanted;
  }

  look(): void {
    this.#wills.look();
  }

  /** The body of the reply; rejects with a SessionError or AdminError, or when the store failed. */
  async answer(request: SessionRequest, isGone: () => boolean): Promise<PlainData> {
    switch (request.kind) {
      case 'claim-session':
        return this.#claim(request);
      case 'receive-session': {
        const answer = await this.#done(request);
        return answer.kind === 'session-received' && answer.isNew;
      }
      case 'choose-session': {
        const answer = await this.#done(request);
        return answer.kind === 'session-chosen' ? chosenData(answer) : null;
      }
      case 'change-session':
        await this.#done(request);
        await this.#options.queuesTold();
        return null;
      case 'end-session-keys':
        this.#options.propose({ kind: 'end-session', session: request.session });
        await this.#options.proposalsApplied();
        return null;
      case 'leave-session':
        return dueWillsData(await this.#wills.ofLeaving(request.queueId, this.#done(request)));
      case 'take-wills':
        return dueWillsData(await this.#wills.take(isGone));
      default:
        await this.#done(request);
        return null;
    }
  }

  /** Resolves when it is applied, refused or not. */
  through(command: SessionCommand): Promise<SessionAnswer> {
    return new Promise((resolve, reject) => {
      this.#options.propose(command);
      this.#waiting.push({ resolve, reject });
    });
  }

  /** What apply did. */
  rare(effect: RareEffect): void {
    this.#wills.rare(effect);
    switch (effect.kind) {
      case 'session-claimed':
      case 'session-done':
      case 'session-received':
      case 'session-chosen':
      case 'session-refused':
        this.#waiting.shift()?.resolve(effect);
        return;
      default:
    }
  }

  /** This node leads no more, or nothing works any more. */
  fail(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#wills.fail(error);
  }

  async #done(command: SessionCommand): Promise<SessionAnswer> {
    const answer = await this.through(command);
    if (answer.kind === 'session-refused') throw refusalOf(answer);
    return answer;
  }

  async #claim(request: Extract<SessionRequest, { kind: 'claim-session' }>): Promise<PlainData> {
    const { queueId, limits } = request;
    const there = this.#options.machine.definition(queueId);
    const problem = limitsProblem({ ...(there?.limits ?? DEFAULT_LIMITS), ...limits });
    if (problem !== undefined) throw new AdminError('invalid', problem);
    for (let tries = 0; tries < CLAIM_TRIES_MAX; tries++) {
      const answer = await this.#claimOnce(request);
      if (answer?.kind === 'session-claimed') return claimedData(answer);
      if (answer?.kind !== 'session-refused') continue;
      // Its queue is made anew by who asks.
      if (answer.reason === 'no-session') throw new AdminError('no-queue', 'there is no session');
      if (answer.reason !== 'stale-owner') throw refusalOf(answer);
    }
    throw new SessionError('unavailable', 'others claim the session at the same time');
  }

  async #claimOnce(
    request: Extract<SessionRequest, { kind: 'claim-session' }>,
  ): Promise<SessionAnswer | undefined> {
    const { machine, whenLoaded } = this.#options;
    const { queueId } = request;
    let claimed: Promise<SessionAnswer> | undefined;
    await whenLoaded(
      () => missing(machine, queueId),
      () => {
        const epoch = machine.sessions.peek(queueId)?.ownerEpoch ?? 0;
        claimed = this.through({ ...request, epoch });
      },
    );
    return claimed;
  }
}

/** What must be loaded to know whose the session is; of another queue nothing. */
export function missing(
  machine: Pick<Machine, 'definition' | 'sessions'>,
  queueId: QueueId,
): readonly RecordKey[] {
  const keys: RecordKey[] = [];
  if (machine.definition(queueId)?.type === 'session') machine.sessions.need(queueId, keys);
  return keys;
}

const REFUSALS = {
  'no-session': ['stale-owner', 'the session has ended'],
  'stale-owner': ['stale-owner', 'another connection has claimed the session'],
  'other-user': ['other-user', 'the session is that of another user'],
  'too-many-subscriptions': ['too-many-subscriptions', 'a session may not subscribe to so much'],
  'too-many-halves': ['unavailable', 'more deliveries are halfway than there are packet ids'],
  'too-many-keys': ['unavailable', 'the shard remembers no more sessions that publish at QoS 2'],
  'too-many-choices': ['unavailable', 'more shares take a QoS 2 publish than are remembered'],
  'too-many-wills': ['unavailable', 'wills of the session wait to be published'],
  'not-ended': ['unavailable', 'the session has not ended'],
} as const satisfies Record<SessionRefusalReason, readonly [SessionRefusal, string]>;

function refusalOf({ reason }: Refused): SessionError {
  const [code, words] = REFUSALS[reason];
  return new SessionError(code, words);
}
