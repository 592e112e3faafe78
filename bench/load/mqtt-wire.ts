/**
 * The packets of MQTT 3.1.1 and 5.0 that a load is made of, on raw sockets: encoded before the
 * clock starts, and only walked when they come.
 */

import type { Socket } from 'node:net';
import { Handshake, openSocket } from './connections.ts';

export type Version = 4 | 5;
export type Qos = 0 | 1 | 2;

const EMPTY: Buffer = Buffer.alloc(0);
const NO_PROPERTIES = Buffer.alloc(1);
const REFUSED = 0x80;
const DISCONNECT = Buffer.from([0xe0, 0]);
/** Of the numbers at the head of a payload. */
const NUMBERS_BYTES = 8;

export const PUBACK = 4;
export const PUBREC = 5;
export const PUBREL = 6;
export const PUBCOMP = 7;

function utf8(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const out = Buffer.alloc(2 + bytes.length);
  out.writeUInt16BE(bytes.length, 0);
  bytes.copy(out, 2);
  return out;
}

function packet(header: number, body: Buffer): Buffer {
  const length: number[] = [];
  let rest = body.length;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? digit | 128 : digit);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([header, ...length]), body]);
}

function uint16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value, 0);
  return out;
}

function properties(version: Version): Buffer {
  return version === 5 ? NO_PROPERTIES : EMPTY;
}

/** The length of a whole packet of less than 128 bytes; 0 when it is not all there. */
function wholePacket(got: Buffer): number {
  const length = 2 + (got[1] ?? Number.POSITIVE_INFINITY);
  return got.length >= length ? length : 0;
}

/** No client of another load generator that runs at the same time. */
export function ownId(kind: string, place: number): string {
  return `${kind}-${process.pid}-${place}`;
}

export interface Hello {
  readonly version?: Version;
  /** Absent: a clean session. Otherwise it outlives its connection by so many seconds. */
  readonly expirySeconds?: number;
}

function connectPacket(clientId: string, { version = 4, expirySeconds }: Hello): Buffer {
  const flags = expirySeconds === undefined ? 2 : 0;
  const fields = [utf8('MQTT'), Buffer.from([version, flags, 0, 0])];
  if (version === 5 && expirySeconds !== undefined) {
    const expiry = Buffer.from([5, 0x11, 0, 0, 0, 0]);
    expiry.writeUInt32BE(expirySeconds, 2);
    fields.push(expiry);
  } else fields.push(properties(version));
  return packet(0x10, Buffer.concat([...fields, utf8(clientId)]));
}

/**
 * Sends CONNECT over an open socket; rejects when it is refused, or closed before the answer. True:
 * its session is present.
 */
export async function greet(socket: Socket, clientId: string, hello: Hello = {}): Promise<boolean> {
  const handshake = new Handshake(socket);
  const answer = await handshake.exchange(connectPacket(clientId, hello), wholePacket);
  if (answer[0] !== 0x20 || answer[3] !== 0) {
    throw new Error(`CONNECT refused: ${answer.toString('hex')}`);
  }
  const early = handshake.end();
  if (early.length > 0) socket.unshift(early);
  return answer[2] === 1;
}

/** A normal DISCONNECT; the broker closes then, and the session lives on if it has an expiry. */
export function sendDisconnect(socket: Socket): void {
  // Who does not read does not see that the other side has closed.
  socket.resume();
  socket.end(DISCONNECT);
}

export async function connectMqtt(
  port: number,
  clientId: string,
  hello: Hello = {},
): Promise<Socket> {
  const socket = await openSocket(port);
  await greet(socket, clientId, hello);
  return socket;
}

export interface Wish {
  readonly filter: string;
  readonly qos: Qos;
  readonly version?: Version;
}

export async function subscribeMqtt(
  socket: Socket,
  { filter, qos, version = 4 }: Wish,
): Promise<void> {
  const handshake = new Handshake(socket);
  const body = [uint16(1), properties(version), utf8(filter), Buffer.from([qos])];
  const answer = await handshake.exchange(packet(0x82, Buffer.concat(body)), wholePacket);
  if (answer[0] !== 0x90 || (answer.at(-1) ?? REFUSED) >= REFUSED) {
    throw new Error(`SUBSCRIBE refused: ${answer.toString('hex')}`);
  }
  const early = handshake.end();
  if (early.length > 0) socket.unshift(early);
}

export interface Publish {
  readonly topic: string;
  readonly qos: Qos;
  readonly version?: Version;
  /** 1 to 65,535; not sent at QoS 0. */
  readonly packetId: number;
  readonly payload: Buffer;
}

export function publishPacket({ topic, qos, version = 4, packetId, payload }: Publish): Buffer {
  const id = qos > 0 ? uint16(packetId) : EMPTY;
  const body = Buffer.concat([utf8(topic), id, properties(version), payload]);
  return packet(0x30 | (qos << 1), body);
}

export interface Packets {
  /** One topic, or many that are used in turn. */
  readonly topics: readonly string[];
  readonly payloadBytes: number;
  readonly qos: Qos;
  readonly version?: Version;
  /**
   * Present: each payload begins with this number and the place of its packet, u32 each, so that
   * whoever gets it knows what is missing. It has 8 bytes at least then.
   */
  readonly publisher?: number;
}

export interface Prepared {
  readonly bytes: Buffer;
  /** Start of each packet, and the end of the last. */
  readonly starts: readonly number[];
}

/**
 * At least 2,000 packets with ids 1, 2, ...; the ring is longer than any window, so no id is in
 * flight twice.
 */
export function preparePublishes(run: Packets, firstTopic: number): Prepared {
  const count = Math.max(2000, Math.min(run.topics.length, 20_000));
  const parts: Buffer[] = [];
  const starts = [0];
  let length = 0;
  const { publisher, payloadBytes } = run;
  const isNumbered = publisher !== undefined;
  const payload = Buffer.alloc(Math.max(payloadBytes, isNumbered ? NUMBERS_BYTES : 0), 0x61);
  for (let i = 0; i < count; i += 1) {
    if (isNumbered) payload.writeUInt32BE(i, payload.writeUInt32BE(publisher, 0));
    const topic = run.topics[(firstTopic + i) % run.topics.length] ?? '';
    const { qos, version = 4 } = run;
    const one = publishPacket({ topic, qos, version, packetId: i + 1, payload });
    parts.push(one);
    length += one.length;
    starts.push(length);
  }
  return { bytes: Buffer.concat(parts), starts };
}

/**
 * Walks the answers to publishes in a stream of chunks, also when one is split over two. One that
 * refuses is thrown.
 */
export class AnswerWalker {
  #carry: Buffer = EMPTY;

  walk(chunk: Buffer, found: (type: number, packetId: number) => void): void {
    const bytes = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    let at = 0;
    while (at + 4 <= bytes.length) {
      const length = bytes[at + 1] ?? 0;
      if (at + 2 + length > bytes.length) break;
      if (length > 2 && (bytes[at + 4] ?? 0) >= REFUSED) {
        throw new Error(`a publish was refused: ${bytes.toString('hex', at, at + 5)}`);
      }
      found((bytes[at] ?? 0) >> 4, bytes.readUInt16BE(at + 2));
      at += 2 + length;
    }
    this.#carry = at < bytes.length ? Buffer.from(bytes.subarray(at)) : EMPTY;
  }
}

/** Walks PUBLISH packets in a stream of chunks, also when one is split over two. */
export class PublishWalker {
  #carry: Buffer = EMPTY;

  /** Calls `found` with the chunk and the position of the variable header of each whole PUBLISH. */
  walk(chunk: Buffer, found: (bytes: Buffer, at: number, qos: number) => void): void {
    const bytes = this.#carry.length > 0 ? Buffer.concat([this.#carry, chunk]) : chunk;
    let at = 0;
    for (;;) {
      let position = at + 1;
      let length = 0;
      let shift = 1;
      let digit = 128;
      while (digit >= 128 && position < bytes.length) {
        digit = bytes[position] ?? 0;
        length += (digit & 127) * shift;
        shift *= 128;
        position += 1;
      }
      if (digit >= 128 || position + length > bytes.length) break;
      const header = bytes[at] ?? 0;
      if (header >> 4 === 3) found(bytes, position, (header >> 1) & 3);
      at = position + length;
    }
    this.#carry = at < bytes.length ? Buffer.from(bytes.subarray(at)) : EMPTY;
  }
}
