/**
 * Who waits for a publish to an ordinary topic that has more than one append: to the queues that
 * capture it, to that of retained messages, to the member of each share. Its publisher hears when
 * all of it is there, or the first refusal.
 *
 * A place for each publish that is under way, given again when it is over: no promise and no
 * closure a publish. Bounded by what the shard's client takes.
 */

import type { Committed, EnqueueRefusal, EnqueueWaiter, PublishWaiter, Unlogged } from './ports.ts';

interface Place {
  topic: string;
  waiter: PublishWaiter | undefined;
  tag: number;
  /** Outcomes that are still to come. */
  left: number;
  isKeyed: boolean;
  refusal: EnqueueRefusal | undefined;
  committed: Committed | undefined;
}

export interface AppendAnswersParts {
  /** Nobody waits for it, and something of it is not stored. */
  readonly lost: () => void;
  /** What a publish is told that no queue is left for. */
  readonly nowhere: Unlogged;
}

/** A publish that begins, whose place is the tag of each of its `outcomes` appends. */
export interface BegunPublish {
  readonly topic: string;
  /** Undefined: nobody waits. */
  readonly waiter: PublishWaiter | undefined;
  readonly tag: number;
  /** From 1. */
  readonly outcomes: number;
  /**
   * It has a key, which stays where a part of it is stored: a refusal of another part is told as
   * `timeout`, upon which the key is released.
   */
  readonly isKeyed?: boolean;
}

export class AppendAnswers {
  /** Of the queues that capture the topic. */
  readonly captured: EnqueueWaiter = {
    // They are gone: then none of them takes it, which is no refusal.
    enqueued: (place, outcome) => this.told(place, outcome === 'no-queue' ? undefined : outcome),
  };
  readonly #parts: AppendAnswersParts;
  readonly #places: Place[] = [];
  readonly #free: number[] = [];

  constructor(parts: AppendAnswersParts) {
    this.#parts = parts;
  }

  begin({ topic, waiter, tag, outcomes, isKeyed = false }: BegunPublish): number {
    const number = this.#free.pop() ?? this.#places.length;
    const place = (this.#places[number] ??= newPlace());
    place.topic = topic;
    place.waiter = waiter;
    place.tag = tag;
    place.left = outcomes;
    place.isKeyed = isKeyed;
    return number;
  }

  topicOf(place: number): string {
    return (this.#places[place] as Place).topic;
  }

  /** What became of one of its appends; undefined: there was nothing to be stored. */
  told(number: number, outcome: Committed | EnqueueRefusal | undefined): void {
    const place = this.#places[number] as Place;
    if (typeof outcome === 'string') place.refusal ??= outcome;
    else place.committed ??= outcome;
    if (--place.left > 0) return;
    const { waiter, tag, refusal, committed, isKeyed } = place;
    place.topic = '';
    place.waiter = undefined;
    place.refusal = undefined;
    place.committed = undefined;
    this.#free.push(number);
    const { lost, nowhere } = this.#parts;
    const isPartly = isKeyed && refusal !== undefined && committed !== undefined;
    const told = isPartly ? 'timeout' : (refusal ?? committed ?? nowhere);
    if (waiter !== undefined) waiter.enqueued(tag, told);
    else if (refusal !== undefined) lost();
  }
}

function newPlace(): Place {
  const nobody = { topic: '', waiter: undefined, tag: 0, left: 0, isKeyed: false };
  return { ...nobody, refusal: undefined, committed: undefined };
}
