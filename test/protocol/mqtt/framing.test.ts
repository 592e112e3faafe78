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
  // What earlier packets grew in is used again.
  const asked = spy.mock.calls.map(([size]) => size);
  expect(Math.max(0, ...asked)).toBeLessThanOrEqual(2 * (10 + 20 * 5_000));
  spy.mockRestore();
});

test('memory in which a packet grew is used again, that of a whole packet never', () => {
  const given: Buffer[] = [];
  const one = splitterOf(1 << 28);
  const other = splitterOf(1 << 28);
  const send = (splitter: PacketSplitter, length: number, fill: number): void => {
    splitter.push(bytes(0x30, varint(length), Buffer.alloc(100, fill)));
    for (let sent = 100; sent < length;) {
      expect(splitter.next()).toBeUndefined();
      const count = Math.min(7_000, length - sent);
      splitter.push(Buffer.alloc(count, fill));
      sent += count;
    }
    const frame = splitter.next();
    given.push((frame as Frame).bytes.subarray(frame?.start, frame?.end));
  };
  const spy = vi.spyOn(Buffer, 'allocUnsafeSlow');
  const lengths = [20_000, 16_385, 32_768, 32_769, 65_536, 100_000, 300_000, 2_000_000];
  for (const [nth, length] of lengths.entries()) {
    send(one, length, 2 * nth);
    send(other, length, 2 * nth + 1);
  }
  for (const [nth, body] of given.entries()) {
    expect(body.equals(Buffer.alloc(lengths[nth >> 1] as number, nth))).toBe(true);
  }
  spy.mockClear();
  for (const length of lengths) send(one, length, 99);
  // The largest one outgrows what is kept.
  expect(spy.mock.calls.map(([size]) => size)).toEqual(lengths);
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
