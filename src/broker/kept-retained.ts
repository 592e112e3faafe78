/**
 * Retained messages that outlive the process: shown on this node at once, stored in the queue of
 * retained messages, and acknowledged when they are there. What the parts do stands in
 * `retained-queue.ts` (what is shown), `retained-answers.ts` (who waits) and
 * `retained-follower.ts` (what is read, and what is settled).
 *
 * A crash loses what is shown and was not acknowledged, and nothing else.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { Message } from './message.ts';
import type { Clock, Publisher, QueueClient, QueueId } from './ports.ts';
import type { LivePublication } from './publication.ts';
import type { Retained } from './retained.ts';
import { RetainedAnswers } from './retained-answers.ts';
import { RetainedFollower } from './retained-follower.ts';
import type { RetainedLog } from './retained-log.ts';
import { RetainedQueue } from './retained-queue.ts';
import { selectionIn } from './retained-selection.ts';
import type { RetainedSource } from './retained-source.ts';

/** A SUBSCRIBE waits no longer to hear what other nodes have. */
const UP_TO_NOW_MS = 10_000;

export interface KeptRetainedParts {
  readonly shown: Retained;
  readonly clock: Clock;
  /** Something that nobody waits for is not stored. */
  readonly lost: () => void;
}

export class KeptRetained implements RetainedLog {
  readonly #queues: Pick<QueueClient, 'enqueue' | 'isShared'>;
  readonly #source: RetainedSource;
  readonly #shown: Retained;
  readonly #queue: RetainedQueue;
  readonly #answers: RetainedAnswers;
  readonly #follower: RetainedFollower;
  readonly between: RetainedLog['between'];
  /** Until it is loaded nobody publishes. */
  #targets: readonly QueueId[] = [];

  constructor(
    queues: Pick<QueueClient, 'enqueue' | 'isShared'>,
    source: RetainedSource,
    { shown, clock, lost }: KeptRetainedParts,
  ) {
    this.#queues = queues;
    this.#source = source;
    this.#shown = shown;
    this.#queue = new RetainedQueue(shown, clock);
    this.between = selectionIn(this.#queue, shown);
    this.#follower = new RetainedFollower(this.#source, this.#queue);
    this.#answers = new RetainedAnswers({
      stored: (topic, number) => this.#queue.answered(topic, number),
      lost,
    });
  }

  /** As `RetainedFollower.load`. */
  async load(signal?: AbortSignal): Promise<void> {
    this.#targets = [await this.#follower.asked(() => this.#source.open(), signal)];
    await this.#follower.load(signal);
  }

  stop(): void {
    this.#follower.stop();
  }

  tick(maxSteps: number): void {
    this.#queue.sweep(maxSteps);
    this.#follower.tick();
  }

  /** Shown from now on; `store` follows. False: above a limit, nothing was done. */
  set(publication: LivePublication): boolean {
    return this.#queue.publish(publication);
  }

  /** The publisher's waiter hears when it is stored here, and in `queues`. */
  store(
    message: Message,
    { origin, waiter, key }: Publisher,
    { tag, queues }: { readonly tag: number | undefined; readonly queues: readonly QueueId[] },
  ): void {
    const outcomes = queues.length === 0 ? 1 : 2;
    const waits = tag === undefined ? undefined : waiter;
    const place = this.#answers.begin(message.topic, waits, { tag: tag ?? 0, outcomes });
    const { own, others } = this.#answers;
    if (outcomes === 2) this.#queues.enqueue(queues, message, origin, others, place, key);
    this.#queues.enqueue(this.#targets, message, origin, own, place, 'as-it-is');
  }

  async end(): Promise<number> {
    const given = new AbortController();
    const { signal } = given;
    const late = pause(UP_TO_NOW_MS, undefined, { ref: false, signal }).catch(() => undefined);
    await Promise.race([Promise.all([this.upToNow(), this.#queue.whenRead(signal)]), late]);
    given.abort();
    return this.#queue.next;
  }

  isKept(offset: number): boolean {
    if (offset >= this.#queue.next) return true;
    const kept = this.#queue.at(offset);
    return kept !== undefined && this.#shown.isAllowed(kept);
  }

  upToNow(): Promise<void> | undefined {
    return this.#queues.isShared ? this.#follower.upToNow(UP_TO_NOW_MS) : undefined;
  }
}
