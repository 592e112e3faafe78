/**
 * A block of a run: neighbouring values behind a directory, and two checksums. Little-endian.
 *
 *   header, 88 bytes
 *        0  u32  magic "FMRB"
 *        4  u32  CRC-32 of bytes 8 to 87
 *        8  u32  CRC-32 of the body
 *       12  u32  length of the body
 *       16  u32  values
 *       20  u32  stretches
 *       24  u32  number of the block in its run, from 0
 *       28  u32  0
 *       32  u64  run id
 *       40  u64  owner
 *       48  u64  position of the block in its file
 *       56  u64  first stream     64  u64  first offset
 *       72  u64  last stream      80  u64  last offset
 *   body
 *       20 bytes a stretch: u64 stream, u64 first offset, u32 number of its first value
 *        4 bytes a value:   u32 end of the value, counted from the first value's first byte
 *       the values
 *
 * A stretch is neighbouring offsets of one stream, so that a key costs nothing where they are
 * dense. Keys ascend by (stream, offset). The header names the run, the place and the keys: a block
 * can be judged alone, and one that stands in the wrong place or file is found out. A value larger
 * than the target size has a block to itself.
 */

import { getU64, setU64 } from '../log/batch.ts';
import { crc32 } from '../log/checksum.ts';
import { getOwner, setOwner, viewOf } from './run-format.ts';
import type { RunName } from './run-format.ts';

export const BLOCK_HEADER_BYTES = 88;
export const BLOCK_MAGIC: Uint8Array = new Uint8Array([0x46, 0x4d, 0x52, 0x42]);
const MAGIC = 0x42_52_4d_46;
const STRETCH_BYTES = 20;
const END_BYTES = 4;
const CHECKED_FROM = 8;

/** One end of a range of keys. */
export interface RunKey {
  readonly stream: number;
  readonly offset: number;
}

export interface BlockHeader extends RunName {
  readonly block: number;
  readonly position: number;
  readonly bodyBytes: number;
  readonly bodyCrc: number;
  readonly values: number;
  readonly stretches: number;
  readonly first: RunKey;
  readonly last: RunKey;
}

/** undefined: no header, or not as it was written. */
export function decodeBlockHeader(bytes: Uint8Array): BlockHeader | undefined {
  if (bytes.length < BLOCK_HEADER_BYTES) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== MAGIC) return undefined;
  const checked = bytes.subarray(CHECKED_FROM, BLOCK_HEADER_BYTES);
  if (crc32(checked) !== view.getUint32(4, true)) return undefined;
  return {
    runId: getU64(view, 32),
    owner: getOwner(view, 40),
    block: view.getUint32(24, true),
    position: getU64(view, 48),
    bodyBytes: view.getUint32(12, true),
    bodyCrc: view.getUint32(8, true),
    values: view.getUint32(16, true),
    stretches: view.getUint32(20, true),
    first: { stream: getU64(view, 56), offset: getU64(view, 64) },
    last: { stream: getU64(view, 72), offset: getU64(view, 80) },
  };
}

/** A block whose every byte was checked. */
export class RunBlock {
  readonly block: number;
  readonly values: number;
  readonly first: RunKey;
  readonly last: RunKey;
  /** The block as it lies in the file; `start` and `end` are places in it. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #stretches: number;
  readonly #endsAt: number;
  readonly #valuesAt: number;

  /** undefined: the body is not as it was written. `bytes` is header and body, and is kept. */
  static of(header: BlockHeader, bytes: Uint8Array): RunBlock | undefined {
    const body = bytes.subarray(BLOCK_HEADER_BYTES);
    if (body.length !== header.bodyBytes || crc32(body) !== header.bodyCrc) return undefined;
    return new RunBlock(header, bytes);
  }

  private constructor(header: BlockHeader, bytes: Uint8Array) {
    this.block = header.block;
    this.values = header.values;
    this.first = header.first;
    this.last = header.last;
    this.bytes = bytes;
    this.#view = viewOf(bytes);
    this.#stretches = header.stretches;
    this.#endsAt = BLOCK_HEADER_BYTES + header.stretches * STRETCH_BYTES;
    this.#valuesAt = this.#endsAt + header.values * END_BYTES;
  }

  /** Number of the value with this key; -1: it is not in this block. */
  find(stream: number, offset: number): number {
    let low = 0;
    let high = this.#stretches;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#streamOf(middle);
      const isBelow = at < stream || (at === stream && this.#offsetOf(middle) <= offset);
      if (isBelow) low = middle + 1;
      else high = middle;
    }
    if (low === 0 || this.#streamOf(low - 1) !== stream) return -1;
    const value = this.#firstValueOf(low - 1) + offset - this.#offsetOf(low - 1);
    return value < this.#firstValueOf(low) ? value : -1;
  }

  /** Place of a value's first byte in `bytes`. */
  start(value: number): number {
    if (value === 0) return this.#valuesAt;
    return this.#valuesAt + this.#view.getUint32(this.#endsAt + (value - 1) * END_BYTES, true);
  }

  /** One past its last. */
  end(value: number): number {
    return this.#valuesAt + this.#view.getUint32(this.#endsAt + value * END_BYTES, true);
  }

  /** The stretches in order: for who wants all keys. */
  *stretches(): Generator<{ stream: number; offset: number; value: number; count: number }> {
    for (let nth = 0; nth < this.#stretches; nth += 1) {
      const value = this.#firstValueOf(nth);
      const count = this.#firstValueOf(nth + 1) - value;
      yield { stream: this.#streamOf(nth), offset: this.#offsetOf(nth), value, count };
    }
  }

  #streamOf(stretch: number): number {
    return getU64(this.#view, BLOCK_HEADER_BYTES + stretch * STRETCH_BYTES);
  }

  #offsetOf(stretch: number): number {
    return getU64(this.#view, BLOCK_HEADER_BYTES + stretch * STRETCH_BYTES + 8);
  }

  #firstValueOf(stretch: number): number {
    if (stretch === this.#stretches) return this.values;
    return this.#view.getUint32(BLOCK_HEADER_BYTES + stretch * STRETCH_BYTES + 16, true);
  }
}

/** Collects values in the order of their keys, and gives them as a block. */
export class BlockBuilder {
  #values: Uint8Array;
  #length = 0;
  #ends: number[] = [];
  /** Flat triples: stream, first offset, number of the first value. */
  #stretches: number[] = [];
  #lastStream = -1;
  #lastOffset = -1;

  constructor(targetBytes: number) {
    this.#values = new Uint8Array(targetBytes);
  }

  get values(): number {
    return this.#ends.length;
  }

  get valueBytes(): number {
    return this.#length;
  }

  /** Where the next value's bytes go, at `valueBytes`; `reserve` makes the room. */
  get room(): Uint8Array {
    return this.#values;
  }

  /** Takes room for the next value; gives the place of its first byte in `room`. */
  reserve(stream: number, offset: number, length: number): number {
    const at = this.#length;
    const end = at + length;
    if (end > this.#values.length) {
      const larger = new Uint8Array(Math.max(end, this.#values.length * 2));
      larger.set(this.#values.subarray(0, at));
      this.#values = larger;
    }
    if (stream !== this.#lastStream || offset !== this.#lastOffset + 1) {
      this.#stretches.push(stream, offset, this.#ends.length);
    }
    this.#lastStream = stream;
    this.#lastOffset = offset;
    this.#length = end;
    this.#ends.push(end);
    return at;
  }

  /** Of the block, header and directory included. */
  get blockBytes(): number {
    const stretches = this.#stretches.length / 3;
    const directory = stretches * STRETCH_BYTES + this.#ends.length * END_BYTES;
    return BLOCK_HEADER_BYTES + directory + this.#length;
  }

  /**
   * Writes the block into `bytes`, which has exactly its size; the builder is empty again. `place`
   * is where it will stand.
   */
  finish(
    bytes: Uint8Array,
    place: RunName & { readonly block: number; readonly position: number },
  ): BlockHeader {
    const stretches = this.#stretches.length / 3;
    const endsAt = BLOCK_HEADER_BYTES + stretches * STRETCH_BYTES;
    const valuesAt = endsAt + this.#ends.length * END_BYTES;
    bytes.fill(0, 0, BLOCK_HEADER_BYTES);
    const view = viewOf(bytes);
    for (let nth = 0, at = BLOCK_HEADER_BYTES; nth < stretches; nth += 1, at += STRETCH_BYTES) {
      setU64(view, at, this.#stretches[nth * 3] as number);
      setU64(view, at + 8, this.#stretches[nth * 3 + 1] as number);
      view.setUint32(at + 16, this.#stretches[nth * 3 + 2] as number, true);
    }
    for (const [nth, end] of this.#ends.entries()) {
      view.setUint32(endsAt + nth * END_BYTES, end, true);
    }
    bytes.set(this.#values.subarray(0, this.#length), valuesAt);
    const header: BlockHeader = {
      ...place,
      bodyBytes: bytes.length - BLOCK_HEADER_BYTES,
      bodyCrc: crc32(bytes.subarray(BLOCK_HEADER_BYTES)),
      values: this.#ends.length,
      stretches,
      first: { stream: this.#stretches[0] as number, offset: this.#stretches[1] as number },
      last: { stream: this.#lastStream, offset: this.#lastOffset },
    };
    encodeHeader(view, header);
    view.setUint32(4, crc32(bytes.subarray(CHECKED_FROM, BLOCK_HEADER_BYTES)), true);
    this.#clear();
    return header;
  }

  #clear(): void {
    this.#length = 0;
    this.#ends = [];
    this.#stretches = [];
    this.#lastStream = -1;
    this.#lastOffset = -1;
  }
}

function encodeHeader(view: DataView, header: BlockHeader): void {
  view.setUint32(0, MAGIC, true);
  view.setUint32(8, header.bodyCrc, true);
  view.setUint32(12, header.bodyBytes, true);
  view.setUint32(16, header.values, true);
  view.setUint32(20, header.stretches, true);
  view.setUint32(24, header.block, true);
  setU64(view, 32, header.runId);
  setOwner(view, 40, header.owner);
  setU64(view, 48, header.position);
  setU64(view, 56, header.first.stream);
  setU64(view, 64, header.first.offset);
  setU64(view, 72, header.last.stream);
  setU64(view, 80, header.last.offset);
}
