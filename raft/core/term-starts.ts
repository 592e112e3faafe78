/**
 * Which term an entry has: sorted pairs (term, first index of it), never one object an entry.
 *
 * Invariants: terms and first indexes ascend strictly; the first pair begins at or before the entry
 * before the log's start. It knows nothing of where the log ends: `EntryLog` asks only for what is
 * in it.
 */

import { assert } from './assert.ts';
import type { Entry } from './entry.ts';
import type { LogIndex, Term } from './ids.ts';
import type { TermStart } from './options.ts';

export class TermStarts {
  #starts: TermStart[];

  /** `before`: the entry before the log's start, and its term. */
  constructor(before: TermStart) {
    this.#starts = [before];
  }

  note(term: Term, index: LogIndex): void {
    const last = this.#starts[this.#starts.length - 1];
    if (last === undefined || last.term === term) return;
    assert(term > last.term && index > last.firstIndex, 'terms of a log never go back');
    this.#starts.push({ term, firstIndex: index });
  }

  at(index: LogIndex): Term {
    return this.#startOf(index).term;
  }

  /** Where the term of this entry begins. */
  firstIndexOfTermAt(index: LogIndex): LogIndex {
    return this.#startOf(index).firstIndex;
  }

  #startOf(index: LogIndex): TermStart {
    const newest = this.#starts[this.#starts.length - 1];
    if (newest !== undefined && newest.firstIndex <= index) return newest;
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle]?.firstIndex ?? 0) <= index) low = middle + 1;
      else high = middle;
    }
    const found = this.#starts[low - 1];
    assert(found !== undefined, 'the entry lies in the log');
    return found;
  }

  /** Forgets entries below `firstKept`, but not the term of the one before it. */
  truncatePrefix(firstKept: LogIndex): void {
    let drop = 0;
    while ((this.#starts[drop + 1]?.firstIndex ?? Infinity) < firstKept) drop += 1;
    this.#starts.splice(0, drop);
  }

  /** Forgets entries above `lastKept`. */
  truncateSuffix(lastKept: LogIndex): void {
    while ((this.#starts[this.#starts.length - 1]?.firstIndex ?? 0) > lastKept) this.#starts.pop();
  }

  /** What was damaged is known again; the log ends at `last`. */
  repair(entries: readonly Pick<Entry, 'index' | 'term'>[], last: LogIndex): void {
    const first = entries[0]?.index ?? 0;
    const behind = first + entries.length;
    const termBehind = this.at(behind);
    const later = this.#starts.filter(({ firstIndex }) => firstIndex > behind);
    this.truncateSuffix(first - 1);
    for (const { term, index } of entries) this.note(term, index);
    const termBefore = entries[entries.length - 1]?.term ?? 0;
    // What follows may be damaged too, and its term a guess that is too low.
    if (behind <= last && termBehind > termBefore) this.note(termBehind, behind);
    for (const { term, firstIndex } of later) this.note(term, firstIndex);
  }
}
