/**
 * The sparse index of a run: for each block its first and last key and its place. Little-endian.
 *
 *        0  u32  magic "FMRI"
 *        4  u32  blocks
 *        8  u64  run id
 *       16  48 bytes a block: u64 first stream, u64 first offset, u64 last stream, u64 last offset,
 *           u64 position, u32 length (header and body), u32 values
 *           u32 CRC-32 of everything before
 *
 * Derived state: every block says the same of itself, so an index that is damaged is made again
 * from the blocks (`run-scan.ts`). In memory it is one typed array of seven numbers a block.
 *
 * Invariant: blocks ascend and do not overlap, by keys and by position. A block whose header cannot
 * be read either has the keys between its neighbours, and the length up to the next one.
 */

import { getU64, setU64 } from '../log/batch.ts';
import { crc32 } from '../log/checksum.ts';
import type { BlockHeader, RunKey } from './run-block.ts';
import { BLOCK_HEADER_BYTES } from './run-block.ts';
import { viewOf } from './run-format.ts';

export const INDEX_MAGIC: Uint8Array = new Uint8Array([0x46, 0x4d, 0x52, 0x49]);
const MAGIC = 0x49_52_4d_46;
const FIXED_BYTES = 16;
const ENTRY_BYTES = 48;
const COLUMNS = 7;

export interface IndexEntry {
  readonly first: RunKey;
  readonly last: RunKey;
  readonly position: number;
  /** Header and body. */
  readonly bytes: number;
  /** 0: nobody knows; the block cannot be read. */
  readonly values: number;
}

export function entryOf(header: BlockHeader): IndexEntry {
  const { first, last, position, bodyBytes, values } = header;
  return { first, last, position, bytes: BLOCK_HEADER_BYTES + bodyBytes, values };
}

export class RunIndex {
  readonly length: number;
  readonly #columns: Float64Array;

  constructor(entries: readonly IndexEntry[]) {
    this.length = entries.length;
    this.#columns = new Float64Array(entries.length * COLUMNS);
    for (const [nth, entry] of entries.entries()) {
      const { first, last, position, bytes, values } = entry;
      const row = [first.stream, first.offset, last.stream, last.offset, position, bytes, values];
      this.#columns.set(row, nth * COLUMNS);
    }
  }

  /** What it costs in memory. */
  get memoryBytes(): number {
    return this.#columns.byteLength + 200;
  }

  entry(block: number): IndexEntry {
    return {
      first: { stream: this.#at(block, 0), offset: this.#at(block, 1) },
      last: { stream: this.#at(block, 2), offset: this.#at(block, 3) },
      position: this.position(block),
      bytes: this.bytes(block),
      values: this.#at(block, 6),
    };
  }

  position(block: number): number {
    return this.#at(block, 4);
  }

  bytes(block: number): number {
    return this.#at(block, 5);
  }

  /** The first block whose last key is at or behind this one; `length` where there is none. */
  find({ stream, offset }: RunKey): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const last = this.#at(middle, 2);
      if (last < stream || (last === stream && this.#at(middle, 3) < offset)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  encode(runId: number): Uint8Array {
    const end = FIXED_BYTES + this.length * ENTRY_BYTES;
    const bytes = new Uint8Array(end + 4);
    const view = viewOf(bytes);
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, this.length, true);
    setU64(view, 8, runId);
    for (let block = 0, at = FIXED_BYTES; block < this.length; block += 1, at += ENTRY_BYTES) {
      for (let key = 0; key < 4; key += 1) setU64(view, at + key * 8, this.#at(block, key));
      setU64(view, at + 32, this.position(block));
      view.setUint32(at + 40, this.bytes(block), true);
      view.setUint32(at + 44, this.#at(block, 6), true);
    }
    view.setUint32(end, crc32(bytes.subarray(0, end)), true);
    return bytes;
  }

  #at(block: number, column: number): number {
    return this.#columns[block * COLUMNS + column] as number;
  }
}

/** undefined: not an index of this run, or not as it was written. */
export function decodeRunIndex(bytes: Uint8Array, runId: number): RunIndex | undefined {
  const end = bytes.length - 4;
  if (end < FIXED_BYTES) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== MAGIC || getU64(view, 8) !== runId) return undefined;
  if (crc32(bytes.subarray(0, end)) !== view.getUint32(end, true)) return undefined;
  const blocks = view.getUint32(4, true);
  if (FIXED_BYTES + blocks * ENTRY_BYTES !== end) return undefined;
  const entries = Array.from({ length: blocks }, (_none, nth): IndexEntry => {
    const at = FIXED_BYTES + nth * ENTRY_BYTES;
    return {
      first: { stream: getU64(view, at), offset: getU64(view, at + 8) },
      last: { stream: getU64(view, at + 16), offset: getU64(view, at + 24) },
      position: getU64(view, at + 32),
      bytes: view.getUint32(at + 40, true),
      values: view.getUint32(at + 44, true),
    };
  });
  return new RunIndex(entries);
}
