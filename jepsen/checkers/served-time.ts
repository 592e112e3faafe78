/**
 * How long a queue was served within an interval, as its clients saw it. While nobody leads its
 * shard, no broker takes a dead connection for dead, and nothing that it held comes again: what is
 * allowed to take a while counts only the time in which something could have been done about it.
 */

import type { Operation } from '../history/operation.ts';

/** Longer without any answer to anybody: it is not served. */
const SILENCE_MAX_NS = 1_000_000_000;

const ANSWERED = new Set<Operation['f']>(['enqueue', 'dequeue', 'ack']);

export class ServedTime {
  readonly #times: number[] = [];
  /** Served until then, from the first answer on. */
  readonly #sums: number[] = [];

  constructor(history: readonly Operation[]) {
    let sum = 0;
    for (const { f, type, time } of history) {
      if (type !== 'ok' || !ANSWERED.has(f)) continue;
      sum += Math.min(SILENCE_MAX_NS, time - (this.#times.at(-1) ?? time));
      this.#times.push(time);
      this.#sums.push(sum);
    }
  }

  between(from: number, to: number): number {
    return this.#until(to) - this.#until(from);
  }

  #until(time: number): number {
    let [low, high] = [0, this.#times.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#times[middle] as number) <= time) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return 0;
    const since = time - (this.#times[low - 1] as number);
    return (this.#sums[low - 1] as number) + Math.min(SILENCE_MAX_NS, since);
  }
}
