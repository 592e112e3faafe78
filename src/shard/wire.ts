/**
 * Little-endian numbers and texts in byte arrays: what every layout of the shard is made of.
 *
 * `readU*` and `writeU*` check nothing: their callers have checked the length of what they stand
 * in. A u64 is read as a safe integer, and what is larger is a `CodecError`, never a rounded
 * number. `WireReader` checks each step and is for what is rare; `WireWriter` grows. Bad bytes
 * raise `CodecError` and nothing else, and nothing is ever read outside of the given bounds.
 */

import { Buffer } from 'node:buffer';

export const CODEC_ERROR_CODES = [
  /** The bytes end before what they announce. */
  'truncated',
  /** Two lengths that must agree do not. */
  'bad-length',
  /** A number or code outside its range. */
  'bad-value',
  'unknown-version',
  'unknown-kind',
] as const;
export type CodecErrorCode = (typeof CODEC_ERROR_CODES)[number];

/** Bytes that are not what they should be; the reader has read nothing outside of them. */
export class CodecError extends Error {
  readonly code: CodecErrorCode;

  constructor(code: CodecErrorCode, message: string) {
    super(message);
    this.name = 'CodecError';
    this.code = code;
  }
}

const TWO_32 = 0x1_0000_0000;
const SAFE_HIGH = 0x1f_ffff;

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

export function readU64(bytes: Uint8Array, at: number): number {
  const high = readU32(bytes, at + 4);
  if (high > SAFE_HIGH) throw new CodecError('bad-value', 'a number is above 2^53 - 1');
  return high * TWO_32 + readU32(bytes, at);
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** `value` is a safe integer from 0. */
export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, value >>> 0);
  writeU32(bytes, at + 4, value < TWO_32 ? 0 : Math.floor(value / TWO_32));
}

/** A Buffer over the same memory: for the methods that only it has. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Below this a loop is faster than the call into native code. */
const LOOP_UNITS_MAX = 48;

/** The same bytes, alone in their memory. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  const own = new Uint8Array(bytes.length);
  own.set(bytes, 0);
  return own;
}

/** At most so many bytes are in the text's UTF-8. */
export function textRoom(text: string): number {
  return text.length * 3;
}

/** Writes the text in UTF-8, for which `textRoom` is free at `at`; where it ends. */
export function writeText(bytes: Buffer, at: number, text: string): number {
  const { length } = text;
  if (length > LOOP_UNITS_MAX) return at + bytes.write(text, at, 'utf8');
  let all = 0;
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index);
    all |= unit;
    bytes[at + index] = unit;
  }
  return all < 0x80 ? at + length : at + bytes.write(text, at, 'utf8');
}

export function readText(bytes: Buffer, start: number, end: number): string {
  if (end - start > LOOP_UNITS_MAX) return bytes.toString('utf8', start, end);
  let all = 0;
  for (let at = start; at < end; at++) all |= bytes[at] as number;
  return bytes.toString(all < 0x80 ? 'latin1' : 'utf8', start, end);
}

/** A writer that had to grow for one large message does not stay large. */
const SLAB_BYTES_MAX = 262_144;

/** Reads one thing after the other between two bounds. */
export class WireReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    if (start > end || end > bytes.length)
      throw new CodecError('truncated', 'bounds outside bytes');
    this.#bytes = asBuffer(bytes);
    this.#at = start;
    this.#end = end;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u16(): number {
    return readU16(this.#bytes, this.#take(2));
  }

  u32(): number {
    return readU32(this.#bytes, this.#take(4));
  }

  u64(): number {
    return readU64(this.#bytes, this.#take(8));
  }

  f64(): number {
    return this.#bytes.readDoubleLE(this.#take(8));
  }

  /** u16 length and UTF-8. */
  text16(): string {
    return this.#text(this.u16());
  }

  /** u32 length and UTF-8. */
  text32(): string {
    return this.#text(this.u32());
  }

  /** A view of the next `count` bytes. */
  view(count: number): Uint8Array {
    const at = this.#take(count);
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + at, count);
  }

  /** What comes is one of `codes`, by its place. */
  code<T>(codes: readonly T[]): T {
    const code = codes[this.u8()];
    if (code === undefined) throw new CodecError('bad-value', 'a code is unknown');
    return code;
  }

  /** Nothing may be left. */
  finish(): void {
    if (this.#at !== this.#end)
      throw new CodecError('bad-length', `${this.remaining} bytes too many`);
  }

  #text(length: number): string {
    const at = this.#take(length);
    return readText(this.#bytes, at, at + length);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#end - at) throw new CodecError('truncated', 'bytes end too early');
    this.#at = at + count;
    return at;
  }
}

/** Bytes that grow at their end; the writer keeps its memory for the next use. */
export class WireWriter {
  /** Replaced when it grows: read it after `reserve`. */
  bytes: Buffer;
  length = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Makes room for `count` bytes, counts them as written, and tells where they begin. */
  reserve(count: number): number {
    const at = this.length;
    this.room(count);
    this.length = at + count;
    return at;
  }

  /** Makes room for `count` more bytes without counting them. */
  room(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    grown.set(this.written(), 0);
    this.bytes = grown;
  }

  /** A view of what was written; good until the next write. */
  written(): Uint8Array {
    return new Uint8Array(this.bytes.buffer, this.bytes.byteOffset, this.length);
  }

  /**
   * What was written, as bytes that are the taker's for good and alone in their memory, so that
   * they can be transferred. A buffer that is well filled goes itself; a nearly empty one would pin
   * more than it holds.
   */
  take(): Uint8Array {
    const { length } = this;
    const { length: capacity } = this.bytes;
    this.length = 0;
    if (length * 2 >= capacity) {
      const full = this.bytes;
      this.bytes = Buffer.allocUnsafeSlow(Math.min(capacity, SLAB_BYTES_MAX));
      return new Uint8Array(full.buffer, 0, length);
    }
    const taken = new Uint8Array(length);
    taken.set(new Uint8Array(this.bytes.buffer, 0, length), 0);
    return taken;
  }

  u8(value: number): void {
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.reserve(2);
    writeU16(this.bytes, at, value);
  }

  u32(value: number): void {
    const at = this.reserve(4);
    writeU32(this.bytes, at, value);
  }

  u64(value: number): void {
    const at = this.reserve(8);
    writeU64(this.bytes, at, value);
  }

  f64(value: number): void {
    const at = this.reserve(8);
    this.bytes.writeDoubleLE(value, at);
  }

  text16(text: string): void {
    const start = this.#text(text, 2);
    const size = this.length - start - 2;
    if (size > 0xffff) throw new RangeError('a text is longer than 65,535 bytes');
    writeU16(this.bytes, start, size);
  }

  text32(text: string): void {
    const start = this.#text(text, 4);
    writeU32(this.bytes, start, this.length - start - 4);
  }

  append(part: Uint8Array): void {
    const at = this.reserve(part.length);
    this.bytes.set(part, at);
  }

  #text(text: string, lengthBytes: number): number {
    this.room(lengthBytes + textRoom(text));
    const start = this.length;
    this.length = writeText(this.bytes, start + lengthBytes, text);
    return start;
  }
}
