/**
 * Who waits for publishes with RETAIN: each is stored in the queue of retained messages, and, where
 * other queues take its topic, in those too. Its publisher hears when all of it is there, or the
 * first refusal.
 *
 * A place for each publish that is under way, given again when it is over: no promise and no
 * closure a publish. Bounded by what the shard's client takes.
 */

import type { Committed, EnqueueRefusal, EnqueueWaiter } from './ports.ts';

export interface RetainedAnswersParts {
  /** What became of it in the queue of retained messages; undefined: it is not stored. */
  stored(topic: string, number: number | undefined): void;
  /** Nobody waits for it, and something of it is not stored. */
  lost(): void;
}

interface Place {
  topic: string;
  waiter: EnqueueWaiter | undefined;
  tag: number;
  /** Outcomes that are still to come. */
  left: number;
  refusal: EnqueueRefusal | undefined;
  committed: Committed | undefined;
}

export class RetainedAnswers {
  /** Of the queue of retained messages. */
  readonly own: EnqueueWaiter = { enqueued: (place, outcome) => this.#stored(place, outcome) };
  /** Of the other queues. */
  readonly others: EnqueueWaiter = {
    // Those that captured the topic are gone: then none of them takes it, which is no refusal.
    enqueued: (place, outcome) => this.#told(place, outcome === 'no-queue' ? undefined : outcome),
  };
  readonly #parts: RetainedAnswersParts;
  readonly #places: Place[] = [];
  readonly #free: number[] = [];

  constructor(parts: RetainedAnswersParts) {
    this.#parts = parts;
  }

  /** The place of one publish, which is the tag of its `outcomes` enqueues. */
  begin(
    topic: string,
    waiter: EnqueueWaiter | undefined,
    of: { tag: number; outcomes: number },
  ): number {
    const number = this.#free.pop() ?? this.#places.length;
    const { tag, outcomes: left } = of;
    const place = this.#places[number];
    if (place === undefined) {
      this.#places.push({ topic, waiter, tag, left, refusal: undefined, committed: undefined });
      return number;
    }
    place.topic = topic;
    place.waiter = waiter;
    place.tag = tag;
    place.left = left;
    place.refusal = undefined;
    place.committed = undefined;
    return number;
  }

  #stored(number: number, outcome: Committed | EnqueueRefusal): void {
    const { topic } = this.#places[number] as Place;
    this.#parts.stored(topic, typeof outcome === 'string' ? undefined : outcome);
    this.#told(number, outcome);
  }

  #told(number: number, outcome: Committed | EnqueueRefusal | undefined): void {
    const place = this.#places[number] as Place;
    if (typeof outcome === 'string') place.refusal ??= outcome;
    else place.committed ??= outcome;
    if (--place.left > 0) return;
    const { waiter, tag, refusal, committed } = place;
    place.waiter = undefined;
    place.topic = '';
    this.#free.push(number);
    const told = refusal ?? committed;
    if (waiter !== undefined && told !== undefined) waiter.enqueued(tag, told);
    else if (refusal !== undefined) this.#parts.lost();
  }
}
