/**
 * Which offsets of a group are settled: all below `floor`, and those marked in the bitmaps of
 * chunks of 4,096 offsets above it.
 *
 * The floor is exact: the lowest unsettled offset. Settling in order moves it and touches no
 * bitmap. A chunk that is settled whole needs no bitmap either, only its count, so a message that
 * stays unsettled with a million behind it costs 244 counts. A settlement costs one bit, and moving
 * the floor passes each bit once.
 *
 * Bitmaps are records of their own and may be evicted: `missing`, `missingInRange` and `behind`
 * name the one that an operation needs and that is not there. A range that covers a chunk whole
 * needs only its count. The bits below the floor in the floor's own chunk mean nothing.
 */

import { assert } from './assert.ts';
import { type RecordData, bytesOf, countOf, listOf } from './record-data.ts';

export const SETTLED_CHUNK = 4096;
const WORDS = SETTLED_CHUNK / 32;

export function chunkOf(offset: number): number {
  return Math.floor(offset / SETTLED_CHUNK);
}

/** The bitmap of one chunk that is settled in part. */
export class SettledChunk {
  readonly #words = new Uint32Array(WORDS);

  static fromData(data: RecordData): SettledChunk {
    const [format, bytes] = listOf(data);
    assert(format === 1, 'settled: unknown format');
    const packed = bytesOf(bytes);
    assert(packed.length === SETTLED_CHUNK / 8, 'settled: wrong length');
    const chunk = new SettledChunk();
    for (let i = 0; i < packed.length; i += 1) {
      const word = i >>> 2;
      chunk.#words[word] =
        ((chunk.#words[word] as number) | ((packed[i] as number) << ((i & 3) * 8))) >>> 0;
    }
    return chunk;
  }

  /** A chunk that is settled whole. */
  static whole(): SettledChunk {
    const chunk = new SettledChunk();
    chunk.#words.fill(0xffff_ffff);
    return chunk;
  }

  has(at: number): boolean {
    return (((this.#words[at >>> 5] as number) >>> (at & 31)) & 1) === 1;
  }

  set(at: number): void {
    const word = at >>> 5;
    this.#words[word] = ((this.#words[word] as number) | (1 << (at & 31))) >>> 0;
  }

  /** The first place from `from` on that is not set; `SETTLED_CHUNK` when there is none. */
  nextClear(from: number): number {
    let word = from >>> 5;
    // What lies before `from` counts as set.
    let clear = ~(this.#words[word] as number) & (-1 << (from & 31));
    while (clear === 0) {
      word += 1;
      if (word === WORDS) return SETTLED_CHUNK;
      clear = ~(this.#words[word] as number);
    }
    return word * 32 + (31 - Math.clz32(clear & -clear));
  }

  /** The place behind the first `count` places from `from` on that are not set. */
  behind(from: number, count: number): number {
    let at = from;
    for (let left = count; left > 0 && at < SETTLED_CHUNK; left -= 1) at = this.nextClear(at) + 1;
    return Math.min(at, SETTLED_CHUNK);
  }

  /** Sets [from, to); how many of them were not set. */
  fill(from: number, to: number): number {
    let fresh = 0;
    for (let word = from >>> 5; word * 32 < to; word += 1) {
      const mask = wordMask(from - word * 32, to - word * 32);
      fresh += bitCount(~(this.#words[word] as number) & mask);
      this.#words[word] = ((this.#words[word] as number) | mask) >>> 0;
    }
    return fresh;
  }

  /** How many places of [from, to) are set. */
  count(from: number, to: number): number {
    let set = 0;
    for (let word = from >>> 5; word * 32 < to; word += 1) {
      set += bitCount((this.#words[word] as number) & wordMask(from - word * 32, to - word * 32));
    }
    return set;
  }

  /** Sets what is set in `other`. */
  unite(other: SettledChunk): void {
    for (let word = 0; word < WORDS; word += 1) {
      this.#words[word] = ((this.#words[word] as number) | (other.#words[word] as number)) >>> 0;
    }
  }

  /** Clears what is not set in `other`. */
  intersect(other: SettledChunk): void {
    for (let word = 0; word < WORDS; word += 1) {
      this.#words[word] = ((this.#words[word] as number) & (other.#words[word] as number)) >>> 0;
    }
  }

  /** Clears [0, to). */
  clearBelow(to: number): void {
    for (let word = 0; word * 32 < to; word += 1) {
      const mask = wordMask(0, to - word * 32);
      this.#words[word] = ((this.#words[word] as number) & ~mask) >>> 0;
    }
  }

  copy(): SettledChunk {
    const copy = new SettledChunk();
    copy.#words.set(this.#words);
    return copy;
  }

  toData(): RecordData {
    const packed = new Uint8Array(SETTLED_CHUNK / 8);
    for (let i = 0; i < packed.length; i += 1) {
      packed[i] = ((this.#words[i >>> 2] as number) >>> ((i & 3) * 8)) & 0xff;
    }
    return [1, packed];
  }
}

/** The bits [from, to) of a word; both may lie outside of it. */
function wordMask(from: number, to: number): number {
  const low = from <= 0 ? -1 : -1 << from;
  return to >= 32 ? low : low & ~(-1 << to);
}

function bitCount(word: number): number {
  let v = word - ((word >>> 1) & 0x5555_5555);
  v = (v & 0x3333_3333) + ((v >>> 2) & 0x3333_3333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/** Where the bitmaps are. */
export interface SettledChunks {
  /** Undefined when it is not resident (or does not exist). */
  settledChunk(chunk: number): SettledChunk | undefined;
  /** A bitmap that is about to change; made if `fresh`. */
  changeSettledChunk(chunk: number, fresh: boolean): SettledChunk;
  /** The bitmap is needed no more. */
  dropSettledChunk(chunk: number): void;
}

export class SettledRanges {
  #floor = 0;
  #above = 0;
  /** Bits set in each chunk that has any. */
  readonly #counts = new Map<number, number>();

  static fromData(floor: RecordData | undefined, counts: RecordData | undefined): SettledRanges {
    const ranges = new SettledRanges();
    const [at, above] = listOf(floor);
    ranges.#floor = countOf(at);
    ranges.#above = countOf(above);
    const pairs = listOf(counts);
    for (let i = 0; i < pairs.length; i += 2)
      ranges.#counts.set(countOf(pairs[i]), countOf(pairs[i + 1]));
    return ranges;
  }

  /** The lowest unsettled offset. */
  get floor(): number {
    return this.#floor;
  }

  /** Settled offsets above the floor. */
  get above(): number {
    return this.#above;
  }

  /** Is the chunk settled in part? */
  hasBitmap(chunk: number): boolean {
    const count = this.#counts.get(chunk);
    return count !== undefined && count < SETTLED_CHUNK;
  }

  /** Chunks that have a bitmap, ascending. */
  bitmaps(): number[] {
    const chunks: number[] = [];
    for (const [chunk, count] of this.#counts) if (count < SETTLED_CHUNK) chunks.push(chunk);
    return chunks.sort((a, b) => a - b);
  }

  /** Chunks that are settled whole, ascending. */
  wholeChunks(): number[] {
    const chunks: number[] = [];
    for (const [chunk, count] of this.#counts) if (count === SETTLED_CHUNK) chunks.push(chunk);
    return chunks.sort((a, b) => a - b);
  }

  /** Chunks of which anything is settled, ascending. */
  chunks(): number[] {
    return [...this.#counts.keys()].sort((a, b) => a - b);
  }

  /** A chunk whose bitmap must be resident before `has` or `settle`; -1 when none is missing. */
  missing(offset: number, chunks: SettledChunks): number {
    if (offset < this.#floor) return -1;
    const own = chunkOf(offset);
    if (this.hasBitmap(own) && chunks.settledChunk(own) === undefined) return own;
    return offset === this.#floor ? this.#missingBehind(offset + 1, chunks) : -1;
  }

  /** The same for `settleRange`. */
  missingInRange(from: number, to: number, chunks: SettledChunks): number {
    if (to <= this.#floor) return -1;
    if (from <= this.#floor) return this.#missingBehind(to, chunks);
    const first = chunkOf(from);
    if (from % SETTLED_CHUNK !== 0 && this.#lacks(first, chunks)) return first;
    const last = chunkOf(to - 1);
    const isWhole = to % SETTLED_CHUNK === 0 && (last !== first || from % SETTLED_CHUNK === 0);
    return !isWhole && this.#lacks(last, chunks) ? last : -1;
  }

  /**
   * The offset behind the first `count` unsettled ones, at most `limit`; -1 - chunk when the bitmap
   * of that chunk must be resident first.
   */
  behind(count: number, limit: number, chunks: SettledChunks): number {
    let at = this.#floor;
    let left = count;
    while (left > 0 && at < limit) {
      const chunk = chunkOf(at);
      const begin = chunk * SETTLED_CHUNK;
      const end = begin + SETTLED_CHUNK;
      const settled = this.#counts.get(chunk) ?? 0;
      if (settled === 0) {
        const step = Math.min(left, end - at);
        at += step;
        left -= step;
      } else if (settled === SETTLED_CHUNK) {
        at = end;
      } else if (at === begin && SETTLED_CHUNK - settled < left) {
        at = end;
        left -= SETTLED_CHUNK - settled;
      } else {
        const bitmap = chunks.settledChunk(chunk);
        if (bitmap === undefined) return -1 - chunk;
        const next = begin + bitmap.behind(at - begin, left);
        left -= next - at - bitmap.count(at - begin, next - begin);
        at = next;
      }
    }
    return Math.min(at, limit);
  }

  /** A bitmap that is needed to settle everything below `at`, with the floor below it. */
  #missingBehind(from: number, chunks: SettledChunks): number {
    let at = from;
    for (;;) {
      const chunk = chunkOf(at);
      const count = this.#counts.get(chunk);
      if (count === undefined) return -1;
      if (count < SETTLED_CHUNK) {
        const bitmap = chunks.settledChunk(chunk);
        if (bitmap === undefined) return chunk;
        if (bitmap.nextClear(at - chunk * SETTLED_CHUNK) < SETTLED_CHUNK) return -1;
      }
      at = (chunk + 1) * SETTLED_CHUNK;
    }
  }

  has(offset: number, chunks: SettledChunks): boolean {
    if (offset < this.#floor) return true;
    const chunk = chunkOf(offset);
    const count = this.#counts.get(chunk);
    if (count === undefined) return false;
    if (count === SETTLED_CHUNK) return true;
    const bitmap = chunks.settledChunk(chunk);
    assert(bitmap !== undefined, 'settled: a bitmap is not loaded');
    return bitmap.has(offset - chunk * SETTLED_CHUNK);
  }

  /** Marks an offset that is not settled. */
  settle(offset: number, chunks: SettledChunks): void {
    if (offset === this.#floor) {
      this.#advance(offset + 1, chunks);
      return;
    }
    const chunk = chunkOf(offset);
    const count = (this.#counts.get(chunk) ?? 0) + 1;
    this.#counts.set(chunk, count);
    this.#above += 1;
    if (count === SETTLED_CHUNK) chunks.dropSettledChunk(chunk);
    else chunks.changeSettledChunk(chunk, count === 1).set(offset - chunk * SETTLED_CHUNK);
  }

  /** Settles all of [from, to) that is not settled; how many that were. */
  settleRange(from: number, to: number, chunks: SettledChunks): number {
    if (to <= this.#floor || from >= to) return 0;
    if (from <= this.#floor) return this.#raise(to, chunks);
    let settled = 0;
    for (let chunk = chunkOf(from); chunk * SETTLED_CHUNK < to; chunk += 1) {
      const begin = chunk * SETTLED_CHUNK;
      const places = {
        from: Math.max(0, from - begin),
        to: Math.min(SETTLED_CHUNK, to - begin),
      };
      settled += this.#fill(chunk, places, chunks);
    }
    this.#above += settled;
    return settled;
  }

  /** Everything below `floor` is settled, and nothing else, whatever was before. */
  reset(floor: number, chunks: SettledChunks): void {
    for (const chunk of this.bitmaps()) chunks.dropSettledChunk(chunk);
    this.#counts.clear();
    this.#above = 0;
    this.#floor = floor;
  }

  /** Settles what is set in `bits` of a chunk of which nothing is settled above the floor. */
  adopt(chunk: number, bits: SettledChunk, chunks: SettledChunks): void {
    const begin = chunk * SETTLED_CHUNK;
    if (begin < this.#floor) bits.clearBelow(this.#floor - begin);
    const count = bits.count(0, SETTLED_CHUNK);
    if (count === 0) return;
    this.#counts.set(chunk, count);
    this.#above += count;
    if (count < SETTLED_CHUNK) chunks.changeSettledChunk(chunk, true).unite(bits);
  }

  /** Settled offsets of a chunk that the floor has not passed, as counted; 0: none. */
  countIn(chunk: number): number {
    return this.#counts.get(chunk) ?? 0;
  }

  floorData(): RecordData {
    return [this.#floor, this.#above];
  }

  countsData(): RecordData {
    return [...this.#counts].sort(([a], [b]) => a - b).flat();
  }

  #lacks(chunk: number, chunks: SettledChunks): boolean {
    return this.hasBitmap(chunk) && chunks.settledChunk(chunk) === undefined;
  }

  /** Settles the places [from, to) of a chunk above the floor; how many were not settled. */
  #fill(chunk: number, { from, to }: { from: number; to: number }, chunks: SettledChunks): number {
    const count = this.#counts.get(chunk) ?? 0;
    if (count === SETTLED_CHUNK) return 0;
    let settled = SETTLED_CHUNK - count;
    if (to - from < SETTLED_CHUNK) {
      settled = chunks.changeSettledChunk(chunk, count === 0).fill(from, to);
      if (settled === 0) return 0;
    }
    this.#counts.set(chunk, count + settled);
    // A chunk that had no bitmap and was covered whole got none.
    const hadBitmap = count > 0 || to - from < SETTLED_CHUNK;
    if (count + settled === SETTLED_CHUNK && hadBitmap) chunks.dropSettledChunk(chunk);
    return settled;
  }

  /** Settles everything below `to`, which is above the floor; how many were not settled. */
  #raise(to: number, chunks: SettledChunks): number {
    const floor = this.#floor;
    const before = this.#above;
    const own = chunkOf(floor);
    const last = chunkOf(to);
    // Those above the floor in its own chunk are what the other chunks do not account for.
    let passed = before;
    for (const [chunk, count] of this.#counts) if (chunk !== own) passed -= count;
    if (last === own) {
      passed = this.#countBelow(own, to, chunks) - this.#countBelow(own, floor, chunks);
    } else {
      for (const [chunk, count] of this.#counts) {
        if (chunk > own && chunk < last) passed += count;
      }
      passed += this.#countBelow(last, to, chunks);
      for (const chunk of this.#counts.keys()) if (chunk < last) this.#leave(chunk, chunks);
    }
    this.#above = before - passed;
    this.#advance(to, chunks);
    return to - floor - passed;
  }

  /** Bits of a chunk below an offset in it. */
  #countBelow(chunk: number, offset: number, chunks: SettledChunks): number {
    const count = this.#counts.get(chunk) ?? 0;
    const to = offset - chunk * SETTLED_CHUNK;
    if (count === 0 || to === 0) return 0;
    if (count === SETTLED_CHUNK) return to;
    const bitmap = chunks.settledChunk(chunk);
    assert(bitmap !== undefined, 'settled: a bitmap is not loaded');
    return bitmap.count(0, to);
  }

  /** Moves the floor to `from` and over everything that is settled behind it. */
  #advance(from: number, chunks: SettledChunks): void {
    let at = from;
    if (at % SETTLED_CHUNK === 0) this.#leave(at / SETTLED_CHUNK - 1, chunks);
    for (;;) {
      const chunk = chunkOf(at);
      const count = this.#counts.get(chunk);
      if (count === undefined) break;
      const begin = chunk * SETTLED_CHUNK;
      let next = SETTLED_CHUNK;
      if (count < SETTLED_CHUNK) {
        const bitmap = chunks.settledChunk(chunk);
        assert(bitmap !== undefined, 'settled: a bitmap is not loaded');
        next = bitmap.nextClear(at - begin);
      }
      this.#above -= begin + next - at;
      at = begin + next;
      if (next < SETTLED_CHUNK) break;
      this.#leave(chunk, chunks);
    }
    this.#floor = at;
  }

  /** The floor has passed this chunk. */
  #leave(chunk: number, chunks: SettledChunks): void {
    const count = this.#counts.get(chunk);
    if (count === undefined) return;
    this.#counts.delete(chunk);
    if (count < SETTLED_CHUNK) chunks.dropSettledChunk(chunk);
  }
}
