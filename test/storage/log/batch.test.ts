import { fc } from '../../support/properties.ts';
import { describe, expect, test } from 'vitest';

import {
  BatchKind,
  decodeHardState,
  decodeHeader,
  emptyHeader,
  encodeAccepted,
  encodeHardState,
  encodeWritten,
  HEADER_BYTES,
  windowOver,
} from '../../../storage/log/batch.ts';
import type { FilePosition, SegmentId } from '../../../storage/log/positions.ts';

const u32 = fc.nat(0xffff_ffff);
const u53 = fc.maxSafeNat();
const header = fc.record({
  kind: fc.constantFrom(BatchKind.entry, BatchKind.mark, BatchKind.hardState),
  payloadLength: u32,
  recordCount: u32,
  payloadCrc: u32,
  index: u53,
  epoch: u53,
  timestampMs: u53,
  low: u32,
  high: u32,
  segmentId: u32,
  position: u32,
  chain: u32,
  markSegmentId: u32,
  markPosition: u32,
  zeroSectors: u32,
});
type Fields = typeof header extends fc.Arbitrary<infer Value> ? Value : never;

function encoded(fields: Fields, at = 0): { bytes: Uint8Array; crc: number } {
  const bytes = new Uint8Array(at + HEADER_BYTES);
  const window = windowOver(bytes);
  encodeAccepted(window, at, fields);
  const crc = encodeWritten(window, at, {
    logId: { low: fields.low, high: fields.high },
    segmentId: fields.segmentId,
    position: fields.position,
    chain: fields.chain,
    mark: {
      segmentId: fields.markSegmentId as SegmentId,
      position: fields.markPosition as FilePosition,
    },
    zeroSectors: fields.zeroSectors,
  });
  return { bytes, crc };
}

const sample: Fields = {
  kind: BatchKind.entry,
  payloadLength: 5,
  recordCount: 2,
  payloadCrc: 0,
  index: 0x1_0000_0002,
  epoch: 3,
  timestampMs: 1_700_000_000_000,
  low: 0xddccbbaa,
  high: 0x00112233,
  segmentId: 7,
  position: 4096,
  chain: 0xffff_ffff,
  markSegmentId: 6,
  markPosition: 80,
  zeroSectors: 1,
};

describe('header of a batch', () => {
  test('what was encoded is decoded, all fields, at any place in the buffer', () => {
    fc.assert(
      fc.property(header, fc.nat(100), (fields, at) => {
        const { bytes, crc } = encoded(fields, at);
        const into = emptyHeader();
        expect(decodeHeader(windowOver(bytes), at, into)).toBe(true);
        const { low, high, ...rest } = fields;
        expect(into).toEqual({ ...rest, logIdLow: low, logIdHigh: high, headerCrc: crc });
      }),
    );
  });

  test('the layout is the one of docs/formats/log.md', () => {
    const { bytes } = encoded(sample);
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '464d5142' + // magic
        '01' + // version
        '01' + // kind
        '0000' + // flags
        '05000000' + // payload length
        '02000000' + // record count
        '00000000' + // payload checksum
        'ffffffff' + // chain
        '07000000' + // segment id
        '00100000' + // position
        'aabbccdd33221100' + // log id
        '0200000001000000' + // index
        '0300000000000000' + // epoch
        '0068e5cf8b010000' + // append time
        '0600000050000000' + // durable mark
        '01000000' + // zero sectors
        Buffer.from(bytes.subarray(76)).toString('hex'),
    );
  });

  test('every flipped bit is seen', () => {
    for (let bit = 0; bit < HEADER_BYTES * 8; bit += 1) {
      const { bytes } = encoded(sample);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeHeader(windowOver(bytes), 0, emptyHeader()), `bit ${bit}`).toBe(false);
    }
  });

  test('a checksum of 0 is checked like any other', () => {
    const { bytes } = encoded(sample);
    bytes.fill(0, HEADER_BYTES - 4, HEADER_BYTES);
    expect(decodeHeader(windowOver(bytes), 0, emptyHeader())).toBe(false);
  });

  test('every truncation is seen', () => {
    const { bytes } = encoded(sample);
    for (let length = 0; length < HEADER_BYTES; length += 1) {
      const cut = windowOver(bytes.subarray(0, length));
      expect(decodeHeader(cut, 0, emptyHeader())).toBe(false);
    }
  });

  test('numbers above 2^53 are refused, not rounded', () => {
    expect(() => encoded({ ...sample, index: 2 ** 53 })).toThrow('safe count');
    expect(() => encoded({ ...sample, epoch: -1 })).toThrow('safe count');
    expect(() => encoded({ ...sample, timestampMs: 0.5 })).toThrow('safe count');
  });

  test('hard states come back as they were', () => {
    fc.assert(
      fc.property(u53, fc.string({ unit: 'grapheme' }), (term, vote) => {
        expect(decodeHardState(encodeHardState({ term, vote }))).toEqual({ term, vote });
      }),
    );
    expect(decodeHardState(new Uint8Array(7))).toBeUndefined();
    expect(decodeHardState(new Uint8Array(8).fill(255))).toBeUndefined();
  });
});
