/**
 * The bytes of frames, little-endian: a writer into room that was measured before, and a reader
 * that trusts nothing. A length is compared with what is there before anything is made of it, so
 * that no number from the wire makes anything large; bytes are given as views.
 *
 * A number of 64 bits is two of 32, the low one first, and never above 2^53 - 1.
 */

import { PeerError } from './refusals.ts';

const HIGH = 2 ** 32;
const HIGH_MAX = 2 ** 21;

export const U64_BYTES = 8;

export class FrameWriter {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  /** Where the next byte goes. */
  get at(): number {
    return this.#at;
  }

  u8(value: number): void {
    this.#at = this.#bytes.writeUInt8(value, this.#at);
  }

  u16(value: number): void {
    this.#at = this.#bytes.writeUInt16LE(value, this.#at);
  }

  u32(value: number): void {
    this.#at = this.#bytes.writeUInt32LE(value, this.#at);
  }

  u64(value: number): void {
    this.u32(value % HIGH);
    this.u32(Math.floor(value / HIGH));
  }

  /** Characters of ASCII, without their number. */
  ascii(text: string): void {
    this.#at += this.#bytes.write(text, this.#at, 'latin1');
  }

  bytes(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }
}

/** Throws a `PeerError` of code `malformed` wherever the bytes do not fit. */
export class FrameReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  u64(): number {
    const at = this.#take(U64_BYTES);
    const high = this.#bytes.readUInt32LE(at + 4);
    if (high >= HIGH_MAX) throw malformed('a number above 2^53');
    return high * HIGH + this.#bytes.readUInt32LE(at);
  }

  ascii(length: number): string {
    const at = this.#take(length);
    return this.#bytes.toString('latin1', at, at + length);
  }

  /** A view: it keeps the whole of what was received alive. */
  bytes(length: number): Buffer {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  end(): void {
    if (this.left > 0) throw malformed(`${this.left} bytes behind the end`);
  }

  #take(length: number): number {
    if (length > this.left) throw malformed('it is cut off');
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

/**
 * The bytes themselves, unless they are a small part of what they keep alive (other frames of a
 * batch, a pool that Node.js shares): then a copy, so that a log of small entries in memory cannot
 * hold on to all the traffic that passed by.
 */
export function ownBytes(bytes: Buffer): Buffer {
  if (2 * bytes.length >= bytes.buffer.byteLength) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

export function malformed(what: string): PeerError {
  return new PeerError('malformed', `no frame of the protocol: ${what}`);
}
