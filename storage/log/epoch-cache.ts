/**
 * Which epoch an entry has: sorted pairs (epoch, first index of it), cut from both ends with the
 * log.
 *
 * Invariants: epochs and first indexes ascend strictly; the first pair may begin before the log's
 * start, and then gives the epoch of the entry before the start. Derived from the log; rebuilt at
 * recovery. It is lowered before the log is.
 */

import { assert } from '../assert.ts';
import type { Epoch, LogIndex } from './positions.ts';

export interface EpochStart {
  readonly epoch: Epoch;
  readonly firstIndex: LogIndex;
}

export class EpochCache {
  readonly #starts: EpochStart[] = [];

  get lastEpoch(): Epoch {
    return this.#starts.at(-1)?.epoch ?? (0 as Epoch);
  }

  get starts(): readonly EpochStart[] {
    return this.#starts;
  }

  /** Those of the entries in [start, last], none of which begins before `start`. */
  within(start: LogIndex, last: LogIndex): EpochStart[] {
    const found: EpochStart[] = [];
    for (const [nth, { epoch, firstIndex }] of this.#starts.entries()) {
      const next = this.#starts[nth + 1]?.firstIndex ?? Infinity;
      const first = firstIndex < start ? start : firstIndex;
      if (next > start && first <= last) found.push({ epoch, firstIndex: first });
    }
    return found;
  }

  /** An entry follows; its epoch is never below the last one. */
  note(epoch: Epoch, index: LogIndex): void {
    const last = this.#starts.at(-1);
    if (last !== undefined) {
      if (last.epoch === epoch) return;
      assert(epoch > last.epoch && index > last.firstIndex, 'epochs of a log never go back');
    }
    this.#starts.push({ epoch, firstIndex: index });
  }

  /** Epoch of the entry, if it is in the log; undefined before the first pair. */
  epochAt(index: LogIndex): Epoch | undefined {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle]?.firstIndex ?? 0) <= index) low = middle + 1;
      else high = middle;
    }
    return this.#starts[low - 1]?.epoch;
  }

  /** Forgets entries below `firstKept`, but not the epoch of the one before it. */
  truncatePrefix(firstKept: LogIndex): void {
    let drop = 0;
    while ((this.#starts[drop + 1]?.firstIndex ?? Infinity) < firstKept) drop += 1;
    this.#starts.splice(0, drop);
  }

  /** Forgets entries above `lastKept`. */
  truncateSuffix(lastKept: LogIndex): void {
    while ((this.#starts.at(-1)?.firstIndex ?? 0) > lastKept) this.#starts.pop();
  }
}
