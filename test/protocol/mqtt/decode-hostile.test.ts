/** S3: what happens when bytes are missing, wrong or cut, for every packet kind and every place. */

import { Buffer } from 'node:buffer';

import { expect, test } from 'vitest';

import {
  bytes,
  connect,
  sampleConnects,
  type SamplePacket,
  samplePackets,
  varint,
} from '../../support/mqtt-bytes.ts';
import { type Decoded, decodeAll, decodeFromStart } from '../../support/mqtt-decoding.ts';

const pingreq = Buffer.of(0xc0, 0x00);

function outcome({ version, name }: SamplePacket, ...chunks: readonly Uint8Array[]): Decoded[] {
  return name.startsWith('CONNECT') ? decodeFromStart(...chunks) : decodeAll(version, ...chunks);
}

const everySample = [...sampleConnects, ...samplePackets];

const TAILS = [
  pingreq,
  Buffer.alloc(40, 0x00),
  Buffer.alloc(40, 0xff),
  Buffer.from('00016100026162', 'hex'),
];

/**
 * The first thing that comes out is the same whatever follows, and a good packet is followed by
 * PINGREQ.
 */
function expectNothingReadBeyond(sample: SamplePacket, raw: Buffer): void {
  const [first] = outcome(sample, bytes(raw, pingreq));
  expect(first).toBeDefined();
  for (const tail of TAILS) {
    expect(outcome(sample, bytes(raw, tail))[0]).toEqual(first);
    expect(outcome(sample, raw, tail)[0]).toEqual(first);
  }
  if (first?.kind === 'protocol-error') return;
  expect(outcome(sample, bytes(raw, pingreq)).at(1)).toEqual({ kind: 'pingreq' });
}

/** `raw` cut to a body of `length` bytes, with a remaining length that says so. */
function cut(raw: Buffer, length: number): Buffer {
  const bodyAt = raw.findIndex((byte, index) => index > 0 && byte < 0x80) + 1;
  return bytes(raw[0] as number, varint(length), raw.subarray(bodyAt, bodyAt + length));
}

function bodyLength(raw: Buffer): number {
  return raw.length - (raw.findIndex((byte, index) => index > 0 && byte < 0x80) + 1);
}

test.each(everySample)(
  'S3: $name ($version) is decoded, and the packet behind it too',
  (sample) => {
    const out = outcome(sample, bytes(sample.bytes, pingreq));
    expect(out).toHaveLength(2);
    expect(out[0]?.kind).not.toBe('protocol-error');
    expect(out[1]).toEqual({ kind: 'pingreq' });
  },
);

test.each(everySample)(
  'S3: $name ($version) cut in the stream at any byte waits for the rest',
  (sample) => {
    const whole = outcome(sample, sample.bytes);
    for (let length = 0; length < sample.bytes.length; length++) {
      const head = sample.bytes.subarray(0, length);
      expect(outcome(sample, head)).toEqual([]);
      expect(outcome(sample, head, sample.bytes.subarray(length))).toEqual(whole);
    }
  },
);

test.each(everySample)(
  'S3: $name ($version) that ends early at any byte takes nothing from the next packet',
  (sample) => {
    for (let length = 0; length < bodyLength(sample.bytes); length++) {
      expectNothingReadBeyond(sample, cut(sample.bytes, length));
    }
  },
);

test.each(everySample)(
  'S3: $name ($version) with any bit flipped is a packet or a typed error, alone',
  (sample) => {
    // The remaining length itself is not flipped here: it decides what the next packet is.
    const bodyAt = sample.bytes.length - bodyLength(sample.bytes);
    for (let at = 0; at < sample.bytes.length; at++) {
      if (at > 0 && at < bodyAt) continue;
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(sample.bytes);
        flipped[at] = (flipped[at] as number) ^ (1 << bit);
        expectNothingReadBeyond(sample, flipped);
      }
    }
  },
);

test.each(everySample)(
  'S3: $name ($version) with any byte 0, 0x7f, 0x80 or 0xff never throws',
  (sample) => {
    for (let at = 0; at < sample.bytes.length; at++) {
      for (const value of [0x00, 0x7f, 0x80, 0xff]) {
        const changed = Buffer.from(sample.bytes);
        changed[at] = value;
        outcome(sample, bytes(changed, pingreq, pingreq));
      }
    }
  },
);

test.each([4, 5] as const)(
  'P4: all packets of version %i in one stream, split at every point',
  (version) => {
    const stream = bytes(
      connect(version),
      ...samplePackets.filter((sample) => sample.version === version).map((sample) => sample.bytes),
    );
    const whole = decodeFromStart(stream);
    expect(whole.at(-1)?.kind).not.toBe('protocol-error');
    for (let at = 1; at < stream.length; at++) {
      expect(decodeFromStart(stream.subarray(0, at), stream.subarray(at))).toEqual(whole);
    }
    const single = Array.from(stream, (byte) => Uint8Array.of(byte));
    expect(decodeFromStart(...single)).toEqual(whole);
  },
);
