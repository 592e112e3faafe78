/** Driving the MQTT decoder in tests, with results that compare by value. */

import { Buffer } from 'node:buffer';

import { PacketDecoder } from '../../src/protocol/mqtt/decode.ts';
import type { ClientPacket } from '../../src/protocol/mqtt/packet.ts';
import type { ProtocolError } from '../../src/protocol/mqtt/protocol-error.ts';
import { connect } from './mqtt-bytes.ts';

export type Decoded = ClientPacket | ProtocolError;

/** Views become hex: they compare by value, and nothing refers to a buffer any more. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `hex:${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
}

/** All that comes out; an error is the last, once. */
function drain(decoder: PacketDecoder): Decoded[] {
  const out: Decoded[] = [];
  for (let next = decoder.next(); next !== undefined; next = decoder.next()) {
    out.push(next);
    if (next.kind === 'protocol-error') break;
  }
  return out;
}

/** A decoder whose client is connected. */
export function connected(version: 4 | 5, maxPacketSize = 1 << 20): PacketDecoder {
  const decoder = new PacketDecoder({ maxPacketSize });
  decoder.push(connect(version));
  const first = decoder.next();
  if (first?.kind !== 'connect') throw new Error('the CONNECT of the test was refused');
  return decoder;
}

/** What a connected client's bytes come out as, chunk by chunk. */
export function decodeAll(version: 4 | 5, ...chunks: readonly Uint8Array[]): Decoded[] {
  const decoder = connected(version);
  const out: Decoded[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    out.push(...drain(decoder).map((decoded) => plain(decoded) as Decoded));
    if (out.at(-1)?.kind === 'protocol-error') break;
  }
  return out;
}

/** The same from the first byte of the connection on. */
export function decodeFromStart(...chunks: readonly Uint8Array[]): Decoded[] {
  const decoder = new PacketDecoder({ maxPacketSize: 1 << 20 });
  const out: Decoded[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    out.push(...drain(decoder).map((decoded) => plain(decoded) as Decoded));
    if (out.at(-1)?.kind === 'protocol-error') break;
  }
  return out;
}
