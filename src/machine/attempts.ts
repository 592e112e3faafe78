/**
 * The attempt counts of messages that were requeued: one record for each chunk of 4,096 offsets
 * that has any.
 *
 * Parallel arrays sorted by offset: 14 bytes a message, at most 4,096 of them, so the memory of a
 * group is bounded by its span of unsettled messages. `notBefore` is the stamp before which the
 * message is not delivered again; 0 means at once.
 */

import { assert } from './assert.ts';
import { type RecordData, countOf, listOf } from './record-data.ts';
import { SETTLED_CHUNK } from './settled-ranges.ts';

const FIRST_CAPACITY = 4;

export class AttemptsChunk {
  #size = 0;
  #at = new Uint16Array(FIRST_CAPACITY);
  #attempts = new Uint32Array(FIRST_CAPACITY);
  #notBefore = new Float64Array(FIRST_CAPACITY);

  static fromData(data: RecordData): AttemptsChunk {
    const chunk = new AttemptsChunk();
    const [format, rows] = listOf(data);
    assert(format === 1, 'attempts: unknown format');
    const flat = listOf(rows);
    for (let i = 0; i < flat.length; i += 3) {
      const at = countOf(flat[i]);
      assert(at < SETTLED_CHUNK, 'attempts: a place outside the chunk');
      chunk.set(at, countOf(flat[i + 1]), countOf(flat[i + 2]));
    }
    return chunk;
  }

  get size(): number {
    return this.#size;
  }

  /** Attempts of the message at this place of the chunk; 0 when it was never requeued. */
  attempts(at: number): number {
    const i = this.#find(at);
    return this.#isAt(i, at) ? (this.#attempts[i] as number) : 0;
  }

  set(at: number, attempts: number, notBefore: number): void {
    const i = this.#find(at);
    if (!this.#isAt(i, at)) this.#insert(i, at);
    this.#attempts[i] = attempts;
    this.#notBefore[i] = notBefore;
  }

  /** False when there was none. */
  remove(at: number): boolean {
    return this.removeRange(at, at + 1);
  }

  /** Are there any in [from, to)? */
  hasIn(from: number, to: number): boolean {
    return this.#find(from) < this.#find(to);
  }

  /** Forgets those in [from, to); false when there were none. */
  removeRange(from: number, to: number): boolean {
    const first = this.#find(from);
    const last = this.#find(to);
    if (first === last) return false;
    this.#at.copyWithin(first, last, this.#size);
    this.#attempts.copyWithin(first, last, this.#size);
    this.#notBefore.copyWithin(first, last, this.#size);
    this.#size -= last - first;
    return true;
  }

  /** All of them, ascending by place. */
  rows(): { at: number; attempts: number; notBefore: number }[] {
    return Array.from({ length: this.#size }, (_, i) => ({
      at: this.#at[i] as number,
      attempts: this.#attempts[i] as number,
      notBefore: this.#notBefore[i] as number,
    }));
  }

  toData(): RecordData {
    const flat: number[] = [];
    for (let i = 0; i < this.#size; i += 1) {
      flat.push(this.#at[i] as number, this.#attempts[i] as number, this.#notBefore[i] as number);
    }
    return [1, flat];
  }

  /** The first index whose place is not below `at`. */
  #find(at: number): number {
    let low = 0;
    let high = this.#size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#at[middle] as number) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #isAt(i: number, at: number): boolean {
    return i < this.#size && this.#at[i] === at;
  }

  #insert(i: number, at: number): void {
    if (this.#size === this.#at.length) this.#grow();
    this.#at.copyWithin(i + 1, i, this.#size);
    this.#attempts.copyWithin(i + 1, i, this.#size);
    this.#notBefore.copyWithin(i + 1, i, this.#size);
    this.#at[i] = at;
    this.#size += 1;
  }

  #grow(): void {
    const capacity = this.#size * 2;
    const at = new Uint16Array(capacity);
    const attempts = new Uint32Array(capacity);
    const notBefore = new Float64Array(capacity);
    at.set(this.#at);
    attempts.set(this.#attempts);
    notBefore.set(this.#notBefore);
    this.#at = at;
    this.#attempts = attempts;
    this.#notBefore = notBefore;
  }
}
