/**
 * Reading and writing the big-endian byte layouts of the wire protocols.
 *
 * `ByteReader` never reads past the end that it was given: the first read that would sets `fault`,
 * and from then on every read gives zero or empty, so that a decoder checks once, at its end. It
 * never throws.
 *
 * `ByteWriter` collects what one turn sends. The bytes that `take` gives belong to the taker for
 * good: the writer goes on behind them in the same slab, or in a new one, and never writes to them
 * again. So they can be handed to a socket without a copy.
 */

import { Buffer, isAscii, isUtf8 } from 'node:buffer';

const EMPTY: Buffer = Buffer.alloc(0);

/** Below this a loop over the bytes is faster than the call into native code. */
const LOOP_BYTES_MAX = 48;

/** A Buffer over the same memory: for the methods that only it has. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A view of a part, cheaper than `subarray`. */
export function viewOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
}

function isAsciiRange(bytes: Buffer, start: number, end: number): boolean {
  if (end - start > LOOP_BYTES_MAX) return isAscii(viewOf(bytes, start, end));
  let all = 0;
  for (let at = start; at < end; at++) all |= bytes[at] as number;
  return all < 0x80;
}

/**
 * The text, or undefined if the bytes are not well-formed UTF-8 (RFC 3629: no surrogates, no
 * overlong forms). A byte order mark stays in the text.
 */
export function utf8Text(bytes: Buffer, start: number, end: number): string | undefined {
  if (isAsciiRange(bytes, start, end)) return bytes.toString('latin1', start, end);
  return isUtf8(viewOf(bytes, start, end)) ? bytes.toString('utf8', start, end) : undefined;
}

/** The length of the text in UTF-8. */
export function utf8Size(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}

export class ByteReader<Fault> {
  readonly #overrun: Fault;
  bytes: Buffer = EMPTY;
  position = 0;
  end = 0;
  /** The first fault; sticky until `reset`. */
  fault: Fault | undefined;

  constructor(overrun: Fault) {
    this.#overrun = overrun;
  }

  reset(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.position = start;
    this.end = end;
    this.fault = undefined;
  }

  /** Forgets the bytes, so that a reader that is kept pins no buffer. */
  release(): void {
    this.bytes = EMPTY;
    this.position = 0;
    this.end = 0;
  }

  /** Records the first fault and makes the rest unreadable. */
  fail(fault: Fault): void {
    this.fault ??= fault;
    this.position = this.end;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  /** Moves on by `count` and gives where they start, or -1 if there are not so many. */
  skip(count: number): number {
    const at = this.position;
    if (count > this.end - at) {
      this.fail(this.#overrun);
      return -1;
    }
    this.position = at + count;
    return at;
  }

  u8(): number {
    const at = this.skip(1);
    return at < 0 ? 0 : (this.bytes[at] as number);
  }

  u16(): number {
    const at = this.skip(2);
    return at < 0 ? 0 : ((this.bytes[at] as number) << 8) | (this.bytes[at + 1] as number);
  }

  u32(): number {
    const at = this.skip(4);
    return at < 0 ? 0 : this.bytes.readUInt32BE(at);
  }

  /** A view of the next `count` bytes. */
  view(count: number): Uint8Array {
    const at = this.skip(count);
    return at < 0 ? EMPTY : viewOf(this.bytes, at, at + count);
  }
}

/** The slab that a quiet connection keeps is at most this. */
const SLAB_BYTES_MAX = 16_384;
const SLAB_BYTES_MIN = 256;
/**
 * A slab for a turn like the last one is at most this, so that one large turn is not paid for
 * twice.
 */
const TURN_BYTES_MAX = 65_536;

export class ByteWriter {
  /** Where to write what `reserve` gave; replaced when it grows, so read it after `reserve`. */
  bytes: Buffer;
  #start = 0;
  #end = 0;
  /** What the last `take` gave: what a new slab is made for. */
  #taken = 0;

  /** `capacity`: how much room to begin with. */
  constructor(capacity = 0) {
    this.bytes = capacity === 0 ? EMPTY : Buffer.allocUnsafeSlow(capacity);
  }

  /** Bytes written and not yet taken. */
  get pending(): number {
    return this.#end - this.#start;
  }

  /**
   * Makes room for `count` bytes, counts them as written, and gives the offset in `bytes` of the
   * first.
   */
  reserve(count: number): number {
    if (this.#end + count > this.bytes.length) this.#grow(count);
    const at = this.#end;
    this.#end = at + count;
    return at;
  }

  /** Makes room for `count` bytes that the next calls write. */
  ensure(count: number): void {
    if (this.#end + count > this.bytes.length) this.#grow(count);
  }

  #grow(count: number): void {
    const pending = this.#end - this.#start;
    const needed = pending + count;
    const doubled = Math.max(SLAB_BYTES_MIN, Math.min(this.bytes.length * 2, SLAB_BYTES_MAX));
    const large = pending > 0 ? needed * 2 : needed;
    const size = Math.max(
      needed > doubled ? large : doubled,
      Math.min(this.#taken, TURN_BYTES_MAX),
    );
    const grown = Buffer.allocUnsafeSlow(size);
    grown.set(viewOf(this.bytes, this.#start, this.#end), 0);
    this.bytes = grown;
    this.#start = 0;
    this.#end = pending;
  }

  u8(value: number): void {
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.reserve(2);
    this.bytes[at] = value >>> 8;
    this.bytes[at + 1] = value;
  }

  u32(value: number): void {
    const at = this.reserve(4);
    this.bytes.writeUInt32BE(value, at);
  }

  /** `size` is the length of the text in UTF-8. */
  text(text: string, size: number): void {
    const at = this.reserve(size);
    const { bytes } = this;
    if (size === text.length && size <= LOOP_BYTES_MAX) {
      // As many bytes as units: all ASCII.
      for (let index = 0; index < size; index++) bytes[at + index] = text.charCodeAt(index);
    } else {
      bytes.write(text, at, size, 'utf8');
    }
  }

  append(part: Uint8Array): void {
    const at = this.reserve(part.length);
    this.bytes.set(part, at);
  }

  /** What was written since the last `take`; empty if nothing was. It is the caller's for good. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(this.#start, this.#end);
    this.#start = this.#end;
    this.#taken = taken.length;
    if (this.bytes.length > SLAB_BYTES_MAX) {
      this.bytes = EMPTY;
      this.#start = 0;
      this.#end = 0;
    }
    return taken;
  }
}
