/**
 * Publishes and releases that go to several shards, or in several parts to one: each is told once,
 * when all of them know.
 *
 * It is `Committed` where all of them say so; otherwise the first refusal counts. That the
 * queues of a part are gone counts only where those of all are: a queue that is gone is passed
 * over. A publish with a key of which a part may be stored is told `timeout` instead of a
 * refusal: its key is in some shard then, and the word that is told for an unknown outcome is
 * the one upon which it is released.
 *
 * Places are used again, and cost no object. How many there are is bounded by what the clients of
 * the shards keep, since each of them has a part of every place.
 */

import type { Committed, EnqueueRefusal, EnqueueWaiter, PublishKey } from '../broker/ports.ts';

interface Place {
  waiter: EnqueueWaiter | undefined;
  tag: number;
  /** Parts that have not said what became of them. */
  left: number;
  /** Of a publish: it has one. */
  isKeyed: boolean;
  /** Of a release. */
  releases: PublishKey | undefined;
  refusal: EnqueueRefusal | undefined;
  /** What one of those that took it, or may have taken it, says. */
  taken: Committed | 'timeout' | undefined;
}

export interface Joined {
  /** At least one. */
  readonly parts: number;
  readonly isKeyed: boolean;
  readonly releases?: PublishKey;
}

export class Joiner implements EnqueueWaiter {
  readonly #places: Place[] = [];
  readonly #free: number[] = [];
  readonly #released: (key: PublishKey) => void;

  /** `released`: all shards say that the key is free. */
  constructor(released: (key: PublishKey) => void) {
    this.#released = released;
  }

  /** Places that wait. */
  get size(): number {
    return this.#places.length - this.#free.length;
  }

  /** The tag for each of the parts. */
  begin(waiter: EnqueueWaiter, tag: number, { parts, isKeyed, releases }: Joined): number {
    const at = this.#free.pop() ?? this.#places.length;
    const place = (this.#places[at] ??= newPlace());
    place.waiter = waiter;
    place.tag = tag;
    place.left = parts;
    place.isKeyed = isKeyed;
    place.releases = releases;
    place.refusal = undefined;
    place.taken = undefined;
    return at;
  }

  enqueued(at: number, outcome: Committed | EnqueueRefusal): void {
    const place = this.#places[at] as Place;
    if (typeof outcome === 'number') place.taken = outcome;
    else {
      if (place.refusal === undefined || place.refusal === 'no-queue') place.refusal = outcome;
      if (outcome === 'timeout') place.taken ??= outcome;
    }
    if (--place.left > 0) return;
    const { waiter, tag, releases } = place;
    const told = outcomeOf(place);
    place.waiter = undefined;
    place.releases = undefined;
    this.#free.push(at);
    if (releases !== undefined && typeof told === 'number') this.#released(releases);
    waiter?.enqueued(tag, told);
  }
}

function outcomeOf({ refusal, taken, isKeyed }: Place): Committed | EnqueueRefusal {
  if (refusal === undefined) return taken as Committed;
  if (refusal === 'no-queue' && typeof taken === 'number') return taken;
  return isKeyed && taken !== undefined ? 'timeout' : refusal;
}

function newPlace(): Place {
  const nobody = { waiter: undefined, tag: 0, left: 0, isKeyed: false };
  return { ...nobody, releases: undefined, refusal: undefined, taken: undefined };
}
