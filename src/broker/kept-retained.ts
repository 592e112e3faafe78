/**
 * Retained messages that outlive the process: shown on this node at once, stored in the queue of
 * retained messages, and acknowledged when they are there. What the parts do stands in
 * `retained-queue.ts` (what is shown), `append-answers.ts` (who waits) and `retained-follower.ts`
 * (what is read, and what is settled).
 *
 * A crash loses what is shown and was not acknowledged, and nothing else.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { AppendAnswers } from './append-answers.ts';
import type { Message } from './message.ts';
import type {
  Clock,
  Committed,
  EnqueueRefusal,
  EnqueueWaiter,
  Origin,
  QueueClient,
  QueueId,
} from './ports.ts';
import type { LivePublication } from './publication.ts';
import type { Retained } from './retained.ts';
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
  readonly answers: AppendAnswers;
}

export class KeptRetained implements RetainedLog, EnqueueWaiter {
  readonly #queues: Pick<QueueClient, 'enqueue' | 'isShared'>;
  readonly #source: RetainedSource;
  readonly #shown: Retained;
  readonly #queue: RetainedQueue;
  readonly #answers: AppendAnswers;
  readonly #follower: RetainedFollower;
  readonly between: RetainedLog['between'];
  /** Until it is loaded nobody publishes. */
  #targets: readonly QueueId[] = [];

  constructor(
    queues: Pick<QueueClient, 'enqueue' | 'isShared'>,
    source: RetainedSource,
    { shown, clock, answers }: KeptRetainedParts,
  ) {
    this.#queues = queues;
    this.#source = source;
    this.#shown = shown;
    this.#queue = new RetainedQueue(shown, clock);
    this.between = selectionIn(this.#queue, shown);
    this.#follower = new RetainedFollower(this.#source, this.#queue);
    this.#answers = answers;
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

  /** One append of the publish that has this place. */
  store(message: Message, origin: Origin, place: number): void {
    this.#queues.enqueue(this.#targets, message, origin, this, place, 'as-it-is');
  }

  /** Its outcome. */
  enqueued(place: number, outcome: Committed | EnqueueRefusal): void {
    const number = typeof outcome === 'string' ? undefined : outcome;
    this.#queue.answered(this.#answers.topicOf(place), number);
    this.#answers.told(place, outcome);
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
