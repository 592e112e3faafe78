/**
 * The newest entries of the log, kept in memory: what is not yet durable or not yet handed out for
 * apply, and what peers that are a little behind still need. Older ones are fetched from the log.
 *
 * One array with a head that moves, so that an entry costs nothing but its place. Indexes are
 * without gaps.
 */

import { assert } from './assert.ts';
import { ENTRY_OVERHEAD_BYTES } from './entry.ts';
import type { Entry } from './entry.ts';
import type { LogIndex } from './ids.ts';

/** Dropped places are given back when there are as many, and more than the entries. */
const DROPPED_MAX = 1024;

export function entryBytes(entry: Entry): number {
  return entry.payload.byteLength + ENTRY_OVERHEAD_BYTES;
}

export class EntryTail {
  #entries: (Entry | undefined)[] = [];
  #head = 0;
  #first: LogIndex;
  #bytes = 0;

  constructor(first: LogIndex) {
    this.#first = first;
  }

  /** Index of the oldest entry that is kept, or of the next one. */
  get first(): LogIndex {
    return this.#first;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(entry: Entry): void {
    assert(entry.index === this.#first + this.length, 'the tail has no gaps');
    this.#entries.push(entry);
    this.#bytes += entryBytes(entry);
  }

  at(index: LogIndex): Entry | undefined {
    return index < this.#first ? undefined : this.#entries[this.#head + index - this.#first];
  }

  /** From `from` to `through`, as many as fit into `bytesMax`; the first whatever its size. */
  slice(from: LogIndex, through: LogIndex, bytesMax: number): Entry[] {
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index <= through; index += 1) {
      const entry = this.at(index);
      assert(entry !== undefined, 'the entry is in memory');
      bytes += entryBytes(entry);
      if (bytes > bytesMax && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  /** Bytes of those entries among `from` to `through` that are kept. */
  bytesBetween(from: LogIndex, through: LogIndex): number {
    let bytes = 0;
    for (let index = Math.max(from, this.#first); index <= through; index += 1) {
      const entry = this.at(index);
      if (entry === undefined) break;
      bytes += entryBytes(entry);
    }
    return bytes;
  }

  truncateSuffix(lastKept: LogIndex): void {
    while (this.length > 0 && this.#first + this.length - 1 > lastKept) {
      const entry = this.#entries.pop();
      if (entry !== undefined) this.#bytes -= entryBytes(entry);
    }
    if (this.length === 0) this.reset(Math.min(this.#first, lastKept + 1));
  }

  dropFirst(): void {
    const entry = this.#entries[this.#head];
    assert(entry !== undefined, 'there is one to drop');
    this.#bytes -= entryBytes(entry);
    this.#entries[this.#head] = undefined;
    this.#head += 1;
    this.#first += 1;
    if (this.#head >= DROPPED_MAX && this.#head * 2 >= this.#entries.length) {
      this.#entries.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Empty; the next entry has this index. */
  reset(first: LogIndex): void {
    this.#entries = [];
    this.#head = 0;
    this.#first = first;
    this.#bytes = 0;
  }
}
