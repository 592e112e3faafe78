/**
 * Parts of this replica's log that were durable and cannot be read any more.
 *
 * While there is one, the replica does not stand for election, and does not acknowledge past it
 * unless its checkpoint covers it; it may vote if the end of its log is known. Sorted, apart from
 * one another, and few.
 */

import type { LogIndex } from './ids.ts';
import type { FaultyRange } from './options.ts';

function endOf(range: FaultyRange): LogIndex {
  return range.through ?? Infinity;
}

export class FaultyRanges {
  #ranges: FaultyRange[] = [];

  get list(): readonly FaultyRange[] {
    return this.#ranges;
  }

  get first(): FaultyRange | undefined {
    return this.#ranges[0];
  }

  /** Entries up to here are sound, or lie in a checkpoint that reaches to `covered`. */
  soundThrough(covered: LogIndex): LogIndex {
    const first = this.#ranges.find((range) => endOf(range) > covered);
    if (first === undefined) return Infinity;
    const sound = first.from - 1;
    return first.through === undefined ? sound : Math.max(sound, covered);
  }

  /** Nobody knows where the damage at the end of the log ends. */
  get isEndUnknown(): boolean {
    const last = this.#ranges[this.#ranges.length - 1];
    return last !== undefined && last.through === undefined;
  }

  at(index: LogIndex): FaultyRange | undefined {
    for (const range of this.#ranges) {
      if (index >= range.from && index <= endOf(range)) return range;
    }
    return undefined;
  }

  /** The highest sound index up to this one. */
  soundUpTo(index: LogIndex): LogIndex {
    const range = this.at(index);
    return range === undefined ? index : range.from - 1;
  }

  touches(from: LogIndex, through: LogIndex): boolean {
    for (const range of this.#ranges) {
      if (through >= range.from && from <= endOf(range)) return true;
    }
    return false;
  }

  /** Ranges that touch become one. */
  add(added: FaultyRange): void {
    let from = added.from;
    let last = added;
    const apart: FaultyRange[] = [];
    for (const range of this.#ranges) {
      if (range.from > endOf(added) + 1 || endOf(range) < added.from - 1) {
        apart.push(range);
        continue;
      }
      from = Math.min(from, range.from);
      if (endOf(range) > endOf(last)) last = range;
    }
    apart.push({ from, through: last.through, throughTerm: last.throughTerm });
    this.#ranges = apart.sort((a, b) => a.from - b.from);
  }

  /** These entries are sound again. */
  repaired(from: LogIndex, through: LogIndex): void {
    this.#ranges = this.#ranges.flatMap((range) => {
      const end = endOf(range);
      if (range.from > through || end < from) return [range];
      const left: FaultyRange[] = [];
      if (range.from < from) left.push({ from: range.from, through: from - 1 });
      if (end > through) left.push({ ...range, from: through + 1 });
      return left;
    });
  }

  /** Cut with the log: what is gone is not faulty. */
  truncateSuffix(lastKept: LogIndex): void {
    this.repaired(lastKept + 1, Infinity);
  }

  truncatePrefix(firstKept: LogIndex): void {
    this.repaired(0, firstKept - 1);
  }
}
