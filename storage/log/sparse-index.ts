/**
 * The sparse index of one segment: about one entry per 4 KiB of log, each with the first entry at
 * or behind a file position and the largest append time up to there.
 *
 * Invariants: positions ascend strictly; indexes and times never go back; a walk over the log from
 * any position in here meets sound batches up to the next one (recovery forces an entry behind
 * every damaged stretch). Derived from the log alone: it can be thrown away and rebuilt at any
 * time. Typed arrays, 16 bytes an entry; indexes are kept relative to the segment's first.
 */

import { assert } from '../assert.ts';
import type { FilePosition, LogIndex } from './positions.ts';

const FIRST_CAPACITY = 64;
export const SPARSE_ENTRY_BYTES = 16;

export class SparseIndex {
  readonly firstIndex: LogIndex;
  readonly #intervalBytes: number;
  #length = 0;
  #indexes = new Uint32Array(FIRST_CAPACITY);
  #positions = new Uint32Array(FIRST_CAPACITY);
  #times = new Float64Array(FIRST_CAPACITY);
  #forced = false;

  constructor(firstIndex: LogIndex, intervalBytes: number) {
    this.firstIndex = firstIndex;
    this.#intervalBytes = intervalBytes;
  }

  get length(): number {
    return this.#length;
  }

  /** Notes an entry of the log, if the last note lies far enough back. */
  note(index: LogIndex, position: FilePosition, largestTimeMs: number): void {
    const last = this.#length - 1;
    const due =
      last < 0 || this.#forced || position - (this.#positions[last] ?? 0) >= this.#intervalBytes;
    if (!due) return;
    this.#forced = false;
    this.#push(index - this.firstIndex, position, largestTimeMs);
  }

  /** The next entry is noted whatever the distance: what lies before it cannot be walked over. */
  force(): void {
    this.#forced = true;
  }

  /** Where a walk that looks for `index` begins; undefined if the index lies before all notes. */
  positionFor(index: LogIndex): FilePosition | undefined {
    const relative = index - this.firstIndex;
    const at = this.#lastAtMost(this.#indexes, relative);
    return at < 0 ? undefined : (this.#positions[at] as FilePosition);
  }

  /** First noted entry behind a position; undefined if there is none. */
  entryBehind(position: FilePosition): { index: LogIndex; position: FilePosition } | undefined {
    const at = this.#lastAtMost(this.#positions, position) + 1;
    if (at >= this.#length) return undefined;
    return {
      index: (this.firstIndex + (this.#indexes[at] ?? 0)) as LogIndex,
      position: this.#positions[at] as FilePosition,
    };
  }

  /** An index so that every entry with a time of at least `timeMs` is at or behind it. */
  indexForTime(timeMs: number): LogIndex {
    const at = this.#lastBelow(timeMs);
    return (this.firstIndex + (at < 0 ? 0 : (this.#indexes[at] ?? 0))) as LogIndex;
  }

  /** Forgets what lies at or behind a position. */
  cut(position: FilePosition): void {
    this.#length = position === 0 ? 0 : this.#lastAtMost(this.#positions, position - 1) + 1;
    this.#forced = false;
  }

  /** Appends all entries to `into`: relative index u32, position u32, time f64. */
  encode(view: DataView, from: number): void {
    for (let at = 0; at < this.#length; at += 1) {
      const offset = from + at * SPARSE_ENTRY_BYTES;
      view.setUint32(offset, this.#indexes[at] ?? 0, true);
      view.setUint32(offset + 4, this.#positions[at] ?? 0, true);
      view.setFloat64(offset + 8, this.#times[at] ?? 0, true);
    }
  }

  /** Takes one decoded entry; false if it breaks the order. */
  load(view: DataView, offset: number): boolean {
    const index = view.getUint32(offset, true);
    const position = view.getUint32(offset + 4, true);
    const time = view.getFloat64(offset + 8, true);
    const last = this.#length - 1;
    if (last >= 0) {
      if (position <= (this.#positions[last] ?? 0) || index < (this.#indexes[last] ?? 0))
        return false;
      if (!(time >= (this.#times[last] ?? 0))) return false;
    }
    this.#push(index, position, time);
    return true;
  }

  #push(index: number, position: number, timeMs: number): void {
    assert(index >= 0 && index <= 0xffff_ffff, 'an index lies outside of its segment');
    if (this.#length === this.#positions.length) this.#grow();
    this.#indexes[this.#length] = index;
    this.#positions[this.#length] = position;
    this.#times[this.#length] = timeMs;
    this.#length += 1;
  }

  #grow(): void {
    const capacity = this.#length * 2;
    this.#indexes = enlarged(new Uint32Array(capacity), this.#indexes);
    this.#positions = enlarged(new Uint32Array(capacity), this.#positions);
    this.#times = enlarged(new Float64Array(capacity), this.#times);
  }

  /** The hot tail first, then by halves. -1: all are above. */
  #lastAtMost(values: Uint32Array, wanted: number): number {
    const last = this.#length - 1;
    if (last < 0 || (values[last] ?? 0) <= wanted) return last;
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((values[middle] ?? 0) <= wanted) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #lastBelow(timeMs: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#times[middle] ?? 0) < timeMs) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

function enlarged<Values extends Uint32Array | Float64Array>(into: Values, from: Values): Values {
  into.set(from);
  return into;
}
