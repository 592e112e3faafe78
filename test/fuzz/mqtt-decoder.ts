/**
 * Fuzzing of the MQTT decoder: random bytes, and good packets broken in random ways, in random
 * chunks.
 *
 * What must hold for any bytes: no throw; an end (each call of `next` uses up bytes or says that
 * there are none); the outcome does not depend on the chunks; what comes out is legal. All from one
 * seed.
 */

import { Buffer } from 'node:buffer';
import { deepStrictEqual, ok } from 'node:assert/strict';

import { PacketDecoder } from '../../src/protocol/mqtt/decode.ts';
import { isTopicFilter, isTopicName } from '../../src/protocol/mqtt/topic.ts';
import { bytes, connect, sampleConnects, samplePackets } from '../support/mqtt-bytes.ts';
import { type Decoded, plain } from '../support/mqtt-decoding.ts';

/** mulberry32: small, seeded, good enough to choose bytes with. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Random = (below: number) => number;

const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0xff, 0xc0, 0xed, 0x23, 0x2b, 0x2f, 0x26, 0x0b];

export function mutate(random: Random, raw: Buffer): Buffer {
  const at = random(raw.length);
  switch (random(7)) {
    case 0:
      raw[at] = random(256);
      return raw;
    case 1:
      raw[at] = INTERESTING[random(INTERESTING.length)] as number;
      return raw;
    case 2:
      raw[at] = (raw[at] as number) ^ (1 << random(8));
      return raw;
    case 3:
      return bytes(raw.subarray(0, at), raw.subarray(at + 1 + random(4)));
    case 4:
      return bytes(raw.subarray(0, at), Buffer.alloc(1 + random(5), random(256)), raw.subarray(at));
    case 5:
      return bytes(raw, raw.subarray(at));
    default:
      return raw;
  }
}

function stream(random: Random): Buffer {
  if (random(10) === 0) return Buffer.from(Array.from({ length: random(200) }, () => random(256)));
  const version = random(2) === 0 ? 4 : 5;
  const connects = sampleConnects.filter((sample) => sample.version === version);
  const first = random(3) === 0 ? connects[random(connects.length)]?.bytes : connect(version);
  const parts: Buffer[] = [Buffer.from(first ?? connect(version))];
  const packets = samplePackets.filter((sample) => sample.version === version);
  for (let count = random(6); count >= 0; count--) {
    parts.push(Buffer.from(packets[random(packets.length)]?.bytes ?? Buffer.of(0xc0, 0)));
  }
  const mutated = random(parts.length);
  for (let count = random(4); count >= 0; count--) {
    const part = parts[mutated] as Buffer;
    if (part.length > 0) parts[mutated] = mutate(random, part);
  }
  return Buffer.concat(parts);
}

function expectLegal(decoded: Decoded): void {
  switch (decoded.kind) {
    case 'publish':
      ok(isTopicName(decoded.topic) || (decoded.properties?.topicAlias ?? 0) > 0);
      ok(decoded.qos === 0 ? decoded.packetId === 0 && !decoded.dup : decoded.packetId > 0);
      break;
    case 'subscribe':
      ok(decoded.packetId > 0 && decoded.subscriptions.length > 0);
      for (const { filter, qos } of decoded.subscriptions) ok(isTopicFilter(filter) && qos < 3);
      break;
    case 'unsubscribe':
      ok(decoded.packetId > 0 && decoded.topicFilters.length > 0);
      break;
    case 'connect':
      ok(decoded.will === undefined || isTopicName(decoded.will.topic));
      break;
    default:
      break;
  }
}

function decodeIn(chunks: readonly Uint8Array[], length: number): unknown[] {
  const decoder = new PacketDecoder({ maxPacketSize: 4_096 });
  const out: unknown[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (;;) {
      const decoded = decoder.next();
      if (decoded === undefined) break;
      expectLegal(decoded);
      out.push(plain(decoded));
      if (decoded.kind === 'protocol-error') return out;
      // A packet has at least two bytes.
      ok(out.length * 2 <= length);
    }
  }
  return out;
}

function chunked(random: Random, raw: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < raw.length;) {
    const size = 1 + random(random(4) === 0 ? 3 : 64);
    chunks.push(raw.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

export interface FuzzCount {
  packets: number;
  errors: number;
}

/** One stream; throws with the bytes if something does not hold. */
export function fuzzOnce(random: Random, count: FuzzCount): void {
  const raw = stream(random);
  try {
    const whole = decodeIn([raw], raw.length);
    deepStrictEqual(decodeIn(chunked(random, raw), raw.length), whole);
    const failed = (whole.at(-1) as Decoded | undefined)?.kind === 'protocol-error';
    count.packets += whole.length - (failed ? 1 : 0);
    count.errors += failed ? 1 : 0;
  } catch (error) {
    throw new Error(`bytes ${raw.toString('hex')}`, { cause: error });
  }
}
