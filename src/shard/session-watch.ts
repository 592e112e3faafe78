/**
 * The sessions of a shard, watched by its leader: which of them nobody has any more although nobody
 * said so, and which are over.
 *
 * ```
 *   the term begins ---> looked through, a few at a time --+
 *   claimed, or its last consumer is gone -----------------+--> suspected --(30 s)--> examined
 *                                                                |                      |
 *                                       somebody consumes, forgotten        nobody: its end is
 *                                                                           counted from now on
 *   its time is over (a timer tells it) ---> keys in other shards ---> deleted, by its epoch
 *                                           ---> its place in shard 0
 * ```
 *
 * A broker that is killed, or a node that is lost, says of no session that its owner is gone: so
 * the end of such a one is counted from when the leader misses it, up to some 30 s after the others
 * (and the time that it takes to look through all of them: 640 a second). An owner who consumes
 * again, because he was only not reached, is told of, and his session does not end. Soft state of
 * the leader; another one begins again, and the timer of what is over tells it again.
 */

import type { RareEffect } from '../machine/effect.ts';
import type { QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { QueuePlace } from '../machine/names.ts';
import type { RecordKey } from '../machine/record-data.ts';
import type { NotNow, OtherShards } from './other-shards.ts';
import { type SessionDesk, missing } from './session-desk.ts';
import type { ShardLogger } from './shard-logger.ts';

/** So long nobody consumes before a session counts as left. */
const MISSED_MS = 30_000;
const LOOK_MS = 100;
/** Queues of one look of the first pass. */
const PASS_STEP = 64;
/** Examined in one look. */
const EXAMINE_STEP = 256;
/** Sessions that are being deleted at once; more are told again by their timers. */
const ENDING_MAX = 64;

export interface SessionWatchOptions {
  readonly machine: Pick<Machine, 'definition' | 'queueIds' | 'sessions' | 'shard'>;
  readonly desk: SessionDesk;
  /** Undefined: there are none. */
  readonly others: OtherShards | undefined;
  readonly consumersOf: (queueId: QueueId) => number;
  readonly whenLoaded: (missing: () => readonly RecordKey[], action: () => void) => Promise<void>;
  /** Nothing is made here any more for a place of this version or below. */
  readonly fence: (version: number) => Promise<void>;
  /** The leader's time, ms. */
  readonly now: () => number;
  /** `look` is to be called: the next step has a time now. */
  readonly wake: () => void;
  readonly logger: ShardLogger;
}

type Ended = Extract<RareEffect, { readonly kind: 'session-ended' }>;

export class SessionWatch {
  readonly #options: SessionWatchOptions;
  /** Since when each of them is suspected; in that order. */
  readonly #suspects = new Map<QueueId, number>();
  /** What the pass has not looked at. */
  #unseen: readonly QueueId[];
  #seen = 0;
  readonly #ending = new Set<QueueId>();
  #nextLook: number;

  constructor(options: SessionWatchOptions) {
    this.#options = options;
    this.#unseen = options.machine.queueIds();
    this.#nextLook = options.now();
  }

  /** When `look` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    if (this.#seen < this.#unseen.length) return this.#nextLook;
    const [first] = this.#suspects.values();
    if (first === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(this.#nextLook, first + MISSED_MS);
  }

  /** One step, at most each 100 ms. */
  look(): void {
    const { now } = this.#options;
    const time = now();
    if (time < this.#nextLook) return;
    this.#nextLook = time + LOOK_MS;
    this.#pass(time);
    let left = EXAMINE_STEP;
    for (const [queueId, since] of this.#suspects) {
      if (time < since + MISSED_MS || left-- === 0) break;
      this.#suspects.delete(queueId);
      if (this.#options.consumersOf(queueId) === 0) this.#examine(queueId);
    }
  }

  /** It has an owner, who is about to consume; or its owner consumes no more. */
  suspect(queueId: QueueId): void {
    this.#suspects.delete(queueId);
    this.#suspects.set(queueId, this.#options.now());
    this.#options.wake();
  }

  /** Somebody consumes whose session counts as left. */
  isBack(queueId: QueueId, ownerEpoch: number): void {
    this.#ask(() => this.#options.desk.through({ kind: 'resume-session', queueId, ownerEpoch }));
  }

  /** What apply did. */
  rare(effect: RareEffect): void {
    if (effect.kind === 'session-claimed') this.suspect(effect.queueId);
    if (effect.kind === 'session-ended') this.#over(effect);
  }

  #pass(time: number): void {
    const { machine, consumersOf } = this.#options;
    const end = Math.min(this.#seen + PASS_STEP, this.#unseen.length);
    for (; this.#seen < end; this.#seen++) {
      const queueId = this.#unseen[this.#seen] as QueueId;
      if (machine.definition(queueId)?.type !== 'session' || consumersOf(queueId) > 0) continue;
      if (!this.#suspects.has(queueId)) this.#suspects.set(queueId, time);
    }
    if (this.#seen === this.#unseen.length) {
      this.#unseen = [];
      this.#seen = 0;
    }
  }

  #examine(queueId: QueueId): void {
    const { machine, desk, consumersOf, whenLoaded } = this.#options;
    this.#ask(async () => {
      let left: ReturnType<SessionDesk['through']> | undefined;
      let ownerEpoch = 0;
      await whenLoaded(
        () => missing(machine, queueId),
        () => {
          const record = machine.sessions.peek(queueId);
          if (machine.definition(queueId)?.type !== 'session' || record === undefined) return;
          ({ ownerEpoch } = record);
          if (ownerEpoch === 0 || record.endsAt !== 0 || consumersOf(queueId) > 0) return;
          const of = { queueId, ownerEpoch, expirySeconds: undefined, isInPeace: false };
          left = desk.through({ kind: 'leave-session', ...of });
        },
      );
      if (left === undefined) return;
      await left;
      // He came while it was on its way.
      if (consumersOf(queueId) > 0) this.isBack(queueId, ownerEpoch);
    });
  }

  #over(ended: Ended): void {
    const { queueId } = ended;
    if (this.#ending.has(queueId) || this.#ending.size >= ENDING_MAX) return;
    this.#ending.add(queueId);
    this.#ask(async () => {
      try {
        await this.#end(ended);
      } finally {
        this.#ending.delete(queueId);
      }
    });
  }

  /** Whatever stops it: the timer tells of it again. */
  async #end({ queueId, ownerEpoch, incarnation }: Ended): Promise<void> {
    const { machine, others, desk, consumersOf, fence, logger } = this.#options;
    const name = machine.definition(queueId)?.name;
    if (name === undefined || consumersOf(queueId) > 0) return;
    let place: QueuePlace | undefined;
    if (others !== undefined) {
      const found = await this.#inOthers(others, name, incarnation);
      if ('kind' in found) return;
      ({ place } = found);
    }
    if (place?.shard === machine.shard && machine.shard !== 0) await fence(place.version);
    const answer = await desk.through({ kind: 'delete-session', queueId, ownerEpoch });
    if (answer.kind !== 'session-done') return;
    logger.info({ queue: name, queueId }, 'a session has ended');
    if (place !== undefined) await others?.unplace(name, place.version);
  }

  /** The keys of its publishes go in all other shards; where its name lives. */
  async #inOthers(
    others: OtherShards,
    name: string,
    incarnation: string,
  ): Promise<{ readonly place: QueuePlace | undefined } | NotNow> {
    const ended = await others.endKeys(incarnation);
    if (ended !== undefined) return ended;
    if (this.#options.machine.shard === 0) return { place: undefined };
    const place = await others.placeOf(name);
    return place !== undefined && 'kind' in place ? place : { place };
  }

  /** The lead is lost, or the shard stops: who leads next begins again. */
  #ask(work: () => Promise<unknown>): void {
    work().catch(() => undefined);
  }
}
