/**
 * This replica's log as the core sees it: where it starts and ends, the term of each entry, the
 * newest entries, and how far it is written (Raft 5.3).
 *
 * Invariants: start - 1 <= durable <= submitted <= accepted, where `accepted` is the last index;
 * what is not in memory is durable. It decides nothing: who truncates has checked that nothing
 * committed goes.
 */

import { assert } from './assert.ts';
import { EntryTail, entryBytes } from './entry-tail.ts';
import type { Entry } from './entry.ts';
import type { LogIndex, Term } from './ids.ts';
import type { Recovered } from './options.ts';
import { TermStarts } from './term-starts.ts';
import type { WriteLedger } from './write-ledger.ts';

const NO_ENTRIES: readonly Entry[] = [];

export class EntryLog {
  readonly #tail: EntryTail;
  readonly #ledger: WriteLedger;
  #terms: TermStarts;
  #start: LogIndex;
  #last: LogIndex;
  #lastTerm: Term;
  #submitted: LogIndex;
  #durable: LogIndex;
  /** Entries behind it were written and have to go, with the next write. */
  #cut: LogIndex | undefined;

  constructor(recovered: Recovered, ledger: WriteLedger) {
    const { start, termBeforeStart, last, terms } = recovered;
    assert(start >= 1 && last >= start - 1, 'a log ends where it starts, or later');
    this.#ledger = ledger;
    this.#terms = new TermStarts({ term: termBeforeStart, firstIndex: start - 1 });
    for (const { term, firstIndex } of terms) {
      if (firstIndex >= start) this.#terms.note(term, firstIndex);
    }
    this.#start = start;
    this.#last = last;
    this.#lastTerm = this.#terms.at(last);
    this.#submitted = last;
    this.#durable = last;
    this.#tail = new EntryTail(last + 1);
  }

  get start(): LogIndex {
    return this.#start;
  }

  get last(): LogIndex {
    return this.#last;
  }

  get lastTerm(): Term {
    return this.#lastTerm;
  }

  get submitted(): LogIndex {
    return this.#submitted;
  }

  get durable(): LogIndex {
    return this.#durable;
  }

  /** Entries from here on are in memory. */
  get memoryFirst(): LogIndex {
    return this.#tail.first;
  }

  get tailEntries(): number {
    return this.#tail.length;
  }

  get tailBytes(): number {
    return this.#tail.bytes;
  }

  termAt(index: LogIndex): Term | undefined {
    if (index === this.#last) return this.#lastTerm;
    if (index > this.#last || index < this.#start - 1) return undefined;
    return this.#terms.at(index);
  }

  /**
   * The highest index up to `index` whose term is not above `term`: where two logs may agree, if
   * the other one has that term there. Undefined before the log's start.
   */
  highestWithTermUpTo(index: LogIndex, term: Term): LogIndex | undefined {
    let at = Math.min(index, this.#last);
    while (at >= this.#start - 1) {
      if (this.#terms.at(at) <= term) return at;
      at = this.#terms.firstIndexOfTermAt(at) - 1;
    }
    return undefined;
  }

  append(entry: Entry): void {
    assert(entry.index === this.#last + 1, 'a log has no gaps');
    assert(entry.term >= this.#lastTerm, 'terms of a log never go back');
    if (entry.term !== this.#lastTerm) this.#terms.note(entry.term, entry.index);
    this.#tail.push(entry);
    this.#last = entry.index;
    this.#lastTerm = entry.term;
  }

  truncateSuffix(lastKept: LogIndex): void {
    assert(lastKept >= this.#start - 1 && lastKept < this.#last, 'what is cut lies in the log');
    this.#ledger.truncateSuffix(lastKept);
    this.#terms.truncateSuffix(lastKept);
    this.#tail.truncateSuffix(lastKept);
    this.#last = lastKept;
    this.#lastTerm = this.#terms.at(lastKept);
    if (lastKept < this.#submitted) {
      this.#submitted = lastKept;
      this.#cut = Math.min(this.#cut ?? lastKept, lastKept);
    }
    this.#durable = Math.min(this.#durable, lastKept);
  }

  /** There is a suffix to cut from the disk although this log does not know its entries. */
  cutUnknownSuffix(): void {
    this.#cut = this.#last;
  }

  /** Entries before `start` are covered by a checkpoint. */
  truncatePrefix(start: LogIndex): void {
    if (start <= this.#start) return;
    assert(start <= this.#durable + 1, 'only what is durable is compacted');
    while (this.#tail.length > 0 && this.#tail.first < start) this.#tail.dropFirst();
    this.#terms.truncatePrefix(start);
    this.#start = start;
  }

  /** A checkpoint takes the log's place; the entries were others, or end before it. */
  reset(index: LogIndex, term: Term, durable: LogIndex): void {
    this.#ledger.truncateSuffix(durable);
    this.#terms = new TermStarts({ term, firstIndex: index });
    this.#tail.reset(index + 1);
    this.#start = index + 1;
    this.#last = index;
    this.#lastTerm = term;
    this.#submitted = index;
    this.#durable = durable;
    this.#cut = undefined;
  }

  get hasUnsubmitted(): boolean {
    return this.#submitted < this.#last || this.#cut !== undefined;
  }

  /** What the next write carries. */
  submit(): { readonly truncateAfter: LogIndex | undefined; readonly entries: readonly Entry[] } {
    const truncateAfter = this.#cut;
    const entries =
      this.#submitted < this.#last
        ? this.#tail.slice(this.#submitted + 1, this.#last, Infinity)
        : NO_ENTRIES;
    this.#cut = undefined;
    this.#submitted = this.#last;
    return { truncateAfter, entries };
  }

  /** Whether anything became durable by it. */
  completed(through: LogIndex): boolean {
    assert(through <= this.#submitted, 'only what was written becomes durable');
    if (through <= this.#durable) return false;
    this.#durable = through;
    return true;
  }

  inMemory(index: LogIndex): Entry | undefined {
    return this.#tail.at(index);
  }

  /** All of them in memory. */
  slice(from: LogIndex, through: LogIndex, bytesMax: number): Entry[] {
    return this.#tail.slice(from, through, bytesMax);
  }

  bytesBetween(from: LogIndex, through: LogIndex): number {
    return this.#tail.bytesBetween(from, through);
  }

  /**
   * Forgets the payloads of durable entries up to `through`: all that nobody needs (up to
   * `unneeded`), and what is above `bytesMax`: whoever needs that later gets it from the disk.
   */
  forget(through: LogIndex, unneeded: LogIndex, bytesMax: number): void {
    const tail = this.#tail;
    const end = Math.min(through, this.#durable);
    while (
      tail.length > 0 &&
      tail.first <= end &&
      (tail.first <= unneeded || tail.bytes > bytesMax)
    ) {
      tail.dropFirst();
    }
  }

  /** Entries fetched from the disk are those that the log has: it was not cut since. */
  agrees(entries: readonly Entry[], from: LogIndex): boolean {
    for (const [offset, entry] of entries.entries()) {
      if (entry.index !== from + offset || this.termAt(entry.index) !== entry.term) return false;
    }
    return entries.length > 0;
  }

  /** Entries take the place of damaged ones, whose terms may have been guessed. */
  repair(entries: readonly Pick<Entry, 'index' | 'term'>[]): void {
    this.#terms.repair(entries, this.#last);
    this.#lastTerm = this.#terms.at(this.#last);
  }

  /** A checkpoint covers everything up to an entry of this log, which may be damaged. */
  startBehind(index: LogIndex, term: Term): void {
    if (this.termAt(index) !== term) this.repair([{ index, term }]);
    this.truncatePrefix(index + 1);
  }
}

/** Bytes of entries on the way to a peer. */
export function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}
