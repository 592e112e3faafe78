/**
 * Cuts the byte stream of one connection into packets (MQTT 2.1), one at a time.
 *
 *     byte 1          byte 2 ... 5          then
 *     type | flags    remaining length      body of that many bytes
 *
 * The header is judged as soon as its bytes are there: type and flags, the length, and the size
 * against the limit, before anything is allocated for the body. A packet that lies in one chunk is
 * a view of it; one that does not is assembled once (in steps, so that memory follows what arrived
 * and not what was announced), and has memory of its own when it is whole.
 *
 * After a fault the splitter is dead: the rest of the stream has no meaning. It never reads a byte
 * of one packet as part of another, and never throws.
 */

import { Buffer } from 'node:buffer';

import { asBuffer } from '../bytes.ts';
import { giveRoom, roomBytes, takeRoom } from './assembly-room.ts';
import { headerFaults, type Phase } from './fixed-header.ts';
import type { ProtocolError } from './protocol-error.ts';
import { Faults } from './protocol-error.ts';

const EMPTY: Buffer = Buffer.alloc(0);

/**
 * One whole packet: the first byte of its header, and its body in `bytes` from `start` to `end`.
 */
export interface Frame {
  readonly header: number;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** The remaining length took more bytes than it needed: an error in 5.0 [MQTT-1.5.5-1]. */
  readonly overlong: boolean;
}

export class PacketSplitter {
  readonly #frame: { -readonly [field in keyof Frame]: Frame[field] } = {
    header: 0,
    bytes: EMPTY,
    start: 0,
    end: 0,
    overlong: false,
  };
  #sizeMax: number;
  #headerFaults: readonly (ProtocolError | undefined)[] = headerFaults('before-connect');
  #fault: ProtocolError | undefined;

  // The chunk, read up to #position.
  #chunk: Buffer = EMPTY;
  #position = 0;

  // A header of which #headerBytes bytes are read; 0 between packets.
  #headerBytes = 0;
  #length = 0;

  // A body in assembly, of which #filled bytes are there; undefined: none.
  #body: Buffer | undefined;
  #filled = 0;

  constructor(packetSizeMax: number) {
    this.#sizeMax = packetSizeMax;
  }

  get fault(): ProtocolError | undefined {
    return this.#fault;
  }

  /** True while a packet is half here: its sender owes the rest. */
  get midPacket(): boolean {
    return this.#headerBytes > 0 || this.#position < this.#chunk.length;
  }

  /** Sets what may come from the next packet on. */
  enter(phase: Phase, packetSizeMax: number): void {
    this.#headerFaults = headerFaults(phase);
    this.#sizeMax = packetSizeMax;
  }

  /** Ends the stream for a reason that lies inside a packet. */
  stop(fault: ProtocolError): void {
    this.#fail(fault);
  }

  /** Hands over the next bytes of the stream. Frames given before are invalid from here on. */
  push(chunk: Uint8Array): void {
    if (this.#fault !== undefined) return;
    const rest = this.#chunk.length - this.#position;
    this.#chunk =
      rest > 0 ? Buffer.concat([this.#chunk.subarray(this.#position), chunk]) : asBuffer(chunk);
    this.#position = 0;
  }

  /** The next whole packet, or undefined: then `fault` is set, or more bytes are needed. */
  next(): Frame | undefined {
    if (this.#fault !== undefined) return undefined;
    if (this.#body !== undefined) return this.#assemble(this.#body);
    if (!this.#readHeader()) return undefined;

    const frame = this.#frame;
    const start = this.#position;
    const end = start + this.#length;
    if (end <= this.#chunk.length) {
      frame.bytes = this.#chunk;
      frame.start = start;
      frame.end = end;
      this.#position = end;
      this.#headerBytes = 0;
      return frame;
    }
    this.#filled = 0;
    return this.#assemble(this.#memoryFor(this.#chunk.length - start));
  }

  /** Reads on in the header; true when it is whole and good. */
  #readHeader(): boolean {
    const chunk = this.#chunk;
    let at = this.#position;
    while (at < chunk.length) {
      const byte = chunk[at++] as number;
      const count = ++this.#headerBytes;
      if (count === 1) {
        const fault = this.#headerFaults[byte];
        if (fault !== undefined) return this.#fail(fault);
        this.#frame.header = byte;
        this.#length = 0;
        continue;
      }
      this.#length |= (byte & 0x7f) << (7 * (count - 2));
      if (byte >= 0x80) {
        if (count === 5) return this.#fail(Faults.lengthTooLong);
        continue;
      }
      if (this.#length + count > this.#sizeMax) return this.#fail(Faults.packetTooLarge);
      this.#frame.overlong = byte === 0 && count > 2;
      this.#position = at;
      return true;
    }
    this.#dropChunk();
    return false;
  }

  /** Moves what the chunk has of the body; a frame when it is whole. */
  #assemble(body: Buffer): Frame | undefined {
    const missing = this.#length - this.#filled;
    const count = Math.min(missing, this.#chunk.length - this.#position);
    const filled = this.#filled + count;
    let into = body;
    if (filled > body.length) {
      into = this.#memoryFor(Math.max(filled, body.length * 2));
      body.copy(into, 0, 0, this.#filled);
      giveRoom(body);
    }
    this.#chunk.copy(into, this.#filled, this.#position, this.#position + count);
    this.#position += count;
    this.#filled = filled;
    if (filled < this.#length) {
      this.#body = into;
      this.#dropChunk();
      return undefined;
    }
    this.#body = undefined;
    this.#headerBytes = 0;
    const frame = this.#frame;
    frame.bytes = into;
    frame.start = 0;
    frame.end = filled;
    return frame;
  }

  /** For so many bytes of the body at least; what may hold all of it is the packet's own. */
  #memoryFor(bytes: number): Buffer {
    const size = roomBytes(bytes);
    return size < this.#length ? takeRoom(size) : Buffer.allocUnsafeSlow(this.#length);
  }

  /** The chunk is used up: a quiet connection pins no receive buffer. */
  #dropChunk(): void {
    this.#chunk = EMPTY;
    this.#position = 0;
    this.#frame.bytes = EMPTY;
  }

  #fail(fault: ProtocolError): false {
    this.#fault = fault;
    this.#body = undefined;
    this.#headerBytes = 0;
    this.#dropChunk();
    return false;
  }
}
