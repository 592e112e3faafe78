/**
 * Which offsets of a group are settled: all below `floor`, and those marked in the bitmaps of
 * chunks of 4,096 offsets above it.
 *
 * The floor is exact: the lowest unsettled offset. Settling in order moves it and touches no
 * bitmap. A chunk that is settled whole needs no bitmap either, only its count, so a message that
 * stays unsettled with a million behind it costs 244 counts. A settlement costs one bit, and moving
 * the floor passes each bit once.
 *
 * Bitmaps are records of their own and may be evicted: `missing` names the one that an operation
 * needs and that is not there. The bits below the floor in the floor's own chunk mean nothing.
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

  /** A chunk whose bitmap must be resident before `has` or `settle`; -1 when none is missing. */
  missing(offset: number, chunks: SettledChunks): number {
    if (offset < this.#floor) return -1;
    const own = chunkOf(offset);
    if (this.hasBitmap(own) && chunks.settledChunk(own) === undefined) return own;
    if (offset !== this.#floor) return -1;
    let at = offset + 1;
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

  floorData(): RecordData {
    return [this.#floor, this.#above];
  }

  countsData(): RecordData {
    return [...this.#counts].sort(([a], [b]) => a - b).flat();
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
