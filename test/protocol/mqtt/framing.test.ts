import { Buffer } from 'node:buffer';

import { fc } from '../../support/properties.ts';
import { expect, test, vi } from 'vitest';

import { type Frame, PacketSplitter } from '../../../src/protocol/mqtt/framing.ts';
import { bytes, packet, varint } from '../../support/mqtt-bytes.ts';

interface Seen {
  readonly header: number;
  readonly body: string;
}

function seen(frame: Frame): Seen {
  const body = frame.bytes.subarray(frame.start, frame.end).toString('hex');
  return { header: frame.header, body };
}

function splitterOf(packetSizeMax = 1 << 20): PacketSplitter {
  const splitter = new PacketSplitter(packetSizeMax);
  splitter.enter(5, packetSizeMax);
  return splitter;
}

function frames(splitter: PacketSplitter): Seen[] {
  const out: Seen[] = [];
  for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) {
    out.push(seen(frame));
  }
  return out;
}

const body = fc.uint8Array({ maxLength: 300 });

test('whatever the chunks, the same packets come out, each once', () => {
  fc.assert(
    fc.property(
      fc.array(body, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
      (bodies, sizes) => {
        const stream = Buffer.concat(bodies.map((part) => packet(0x30, part)));
        const splitter = splitterOf();
        const out: Seen[] = [];
        for (let at = 0, index = 0; at < stream.length; index++) {
          const size = sizes[index % sizes.length] as number;
          splitter.push(stream.subarray(at, at + size));
          out.push(...frames(splitter));
          at += size;
        }
        const expected = bodies.map((part) => Buffer.from(part).toString('hex'));
        expect(out).toEqual(expected.map((hex) => ({ header: 0x30, body: hex })));
        expect(splitter.midPacket).toBe(false);
      },
    ),
    { numRuns: 500 },
  );
});

test('a chunk that comes while packets of the last one wait is read behind them', () => {
  const splitter = splitterOf();
  splitter.push(bytes(packet(0x30, [1]), packet(0x30, [2])));
  expect(splitter.next()).toBeDefined();
  expect(splitter.midPacket).toBe(true);
  splitter.push(packet(0x30, [3]));
  expect(frames(splitter).map((frame) => frame.body)).toEqual(['02', '03']);
});

test('whatever waits when a chunk comes, one byte or many, is read first', () => {
  const stream = bytes(packet(0x30, [1]), packet(0x30, [2]), packet(0x30, [3]));
  for (let at = 3; at < stream.length; at++) {
    const splitter = splitterOf();
    splitter.push(stream.subarray(0, at));
    expect(splitter.next()).toBeDefined();
    splitter.push(stream.subarray(at));
    expect(frames(splitter).map((frame) => frame.body)).toEqual(['02', '03']);
  }
});

test('a packet that lies in one chunk is a view of it, and costs no allocation', () => {
  const chunk = bytes(packet(0xc0), packet(0x30, Buffer.alloc(200)), packet(0xc0));
  const splitter = splitterOf();
  const spy = vi.spyOn(Buffer, 'allocUnsafeSlow');
  splitter.push(chunk);
  for (let count = 0; count < 3; count++) expect(splitter.next()?.bytes).toBe(chunk);
  expect(spy).not.toHaveBeenCalled();
  spy.mockRestore();
});

test('a large packet in many chunks comes out whole', () => {
  const content = Buffer.alloc(300_000, 'abcdefg');
  const stream = packet(0x30, content);
  const splitter = splitterOf();
  for (let at = 0; at < stream.length; at += 7_000) {
    expect(splitter.next()).toBeUndefined();
    splitter.push(stream.subarray(at, at + 7_000));
  }
  const frame = splitter.next();
  expect(frame && Buffer.compare(content, frame.bytes.subarray(frame.start, frame.end))).toBe(0);
});

test('P3: a packet over the limit is refused from its header, before anything is allocated', () => {
  const spy = vi.spyOn(Buffer, 'allocUnsafeSlow');
  const splitter = splitterOf(1_000);
  splitter.push(bytes(0x30, varint(998)));
  expect(splitter.next()).toBeUndefined();
  expect(splitter.fault?.fault).toBe('packetTooLarge');
  expect(splitter.fault?.reasonCode).toBe(0x95);
  expect(spy).not.toHaveBeenCalled();
  spy.mockRestore();

  const exact = splitterOf(1_000);
  exact.push(bytes(0x30, varint(997), Buffer.alloc(997)));
  expect(frames(exact)).toHaveLength(1);
  expect(exact.fault).toBeUndefined();
});

test('the memory of a packet follows what has arrived, not what was announced', () => {
  const spy = vi.spyOn(Buffer, 'allocUnsafeSlow');
  const splitter = splitterOf(1 << 28);
  splitter.push(bytes(0x30, varint(200_000_000), Buffer.alloc(10)));
  expect(splitter.next()).toBeUndefined();
  for (let count = 0; count < 20; count++) {
    splitter.push(Buffer.alloc(5_000));
    expect(splitter.next()).toBeUndefined();
  }
  const asked = spy.mock.calls.map(([size]) => size);
  expect(asked[0]).toBeLessThanOrEqual(16_384);
  expect(Math.max(...asked)).toBeLessThanOrEqual(2 * (10 + 20 * 5_000));
  spy.mockRestore();
});

test('S3: a remaining length of more than four bytes is refused at its fourth byte', () => {
  const splitter = splitterOf();
  splitter.push(bytes(0x30, 0x80, 0x80, 0x80));
  expect(splitter.next()).toBeUndefined();
  expect(splitter.fault).toBeUndefined();
  splitter.push(bytes(0x80));
  expect(splitter.next()).toBeUndefined();
  expect(splitter.fault?.fault).toBe('lengthTooLong');
});

test.each([
  [0, [0]],
  [127, [0x7f]],
  [128, [0x80, 0x01]],
  [16_383, [0xff, 0x7f]],
  [16_384, [0x80, 0x80, 0x01]],
  [2_097_151, [0xff, 0xff, 0x7f]],
  [2_097_152, [0x80, 0x80, 0x80, 0x01]],
])('a remaining length of %i is read as table 2-4 has it', (length, encoded) => {
  const splitter = splitterOf(1 << 28);
  splitter.push(bytes(0x30, encoded, Buffer.alloc(length)));
  const frame = splitter.next();
  expect(frame && frame.end - frame.start).toBe(length);
  expect(frame?.overlong).toBe(false);
});

test.each([[[0x80, 0x00]], [[0x81, 0x00]], [[0x81, 0x80, 0x00]], [[0x80, 0x80, 0x80, 0x00]]])(
  'a remaining length that is longer than it needs to be is told: %j [MQTT-1.5.5-1]',
  (encoded) => {
    const splitter = splitterOf();
    splitter.push(bytes(0x30, encoded, 7));
    expect(splitter.next()?.overlong).toBe(true);
  },
);

test('after a fault the splitter is dead: no later byte is read, nothing is kept', () => {
  const splitter = splitterOf();
  splitter.push(bytes(packet(0x30, [1]), 0x00, packet(0x30, [2])));
  expect(frames(splitter)).toHaveLength(1);
  const fault = splitter.fault;
  expect(fault?.fault).toBe('reservedType');
  splitter.push(packet(0x30, [3]));
  expect(splitter.next()).toBeUndefined();
  expect(splitter.fault).toBe(fault);
  expect(splitter.midPacket).toBe(false);
});

test('the first byte alone is enough to refuse a packet', () => {
  const splitter = splitterOf();
  splitter.push(bytes(0x37));
  expect(splitter.next()).toBeUndefined();
  expect(splitter.fault?.fault).toBe('publishQos3');
});
