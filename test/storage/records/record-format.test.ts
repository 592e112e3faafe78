import { crc32 } from 'node:zlib';

import { fc } from '../../support/properties.ts';
import { describe, expect, test } from 'vitest';

import {
  addSums,
  CHECKPOINT_VERSION,
  checksumOf,
  decodeCheckpoint,
  decodeStored,
  encodeCheckpoint,
  encodeStored,
  subtractSums,
} from '../../../storage/records/record-format.ts';

const anyKey = fc.string({ unit: 'binary', minLength: 1, maxLength: 60 });
const anyValue = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.uint8Array({ minLength: 380, maxLength: 420 }),
);
const anyCount = fc.maxSafeNat();
const NOTHING = new Uint8Array(0);
const damaged = expect.objectContaining({ name: 'StorageError', code: 'damaged' });

describe('a stored record', () => {
  test('comes back as it was, from a buffer large enough or not', () => {
    fc.assert(
      fc.property(anyKey, anyValue, fc.boolean(), (key, value, roomy) => {
        const { bytes, sum } = encodeStored(key, value, new Uint8Array(roomy ? 500 : 2));
        expect(decodeStored(key, bytes)).toEqual({ value, sum });
      }),
    );
  });

  test('has the CRC-32 of key length, key and value, by whichever way it was computed', () => {
    fc.assert(
      fc.property(anyKey, anyValue, (key, value) => {
        const name = Buffer.from(key);
        const length = Buffer.alloc(4);
        length.writeUInt32LE(name.length);
        expect(checksumOf(key, value)).toBe(crc32(Buffer.concat([length, name, value])));
      }),
    );
  });

  test('is damaged with any one bit flipped, cut at any length, or under another key', () => {
    const { bytes } = encodeStored('queue/1', new Uint8Array([1, 2, 3, 0, 0]), NOTHING);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = bytes.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => decodeStored('queue/1', flipped)).toThrow(damaged);
    }
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeStored('queue/1', bytes.subarray(0, length))).toThrow(damaged);
    }
    expect(() => decodeStored('queue/2', bytes)).toThrow(/"queue\/2"/);
  });

  test('does not let a byte move between key and value', () => {
    const sum = checksumOf('ab', Buffer.from('c'));
    expect(checksumOf('a', Buffer.from('bc'))).not.toBe(sum);
  });
});

test('sums are exact modulo 2^53, and taking off undoes adding in any order', () => {
  fc.assert(
    fc.property(anyCount, anyCount, (left, right) => {
      const exact = Number((BigInt(left) + BigInt(right)) % (1n << 53n));
      expect(addSums(left, right)).toBe(exact);
      expect(subtractSums(exact, right)).toBe(left);
      expect(addSums(right, left)).toBe(exact);
    }),
    {
      examples: [
        [Number.MAX_SAFE_INTEGER, 1],
        [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
        [0, 0],
      ],
    },
  );
});

describe('a checkpoint', () => {
  const anyCheckpoint = fc.record({
    index: anyCount,
    term: anyCount,
    recordCount: anyCount,
    sum: anyCount,
    data: fc.uint8Array({ maxLength: 100 }),
  });

  test('comes back as it was', () => {
    fc.assert(
      fc.property(anyCheckpoint, (checkpoint) => {
        expect(decodeCheckpoint(encodeCheckpoint(checkpoint))).toEqual(checkpoint);
      }),
    );
  });

  test('has the bytes of its diagram', () => {
    const bytes = encodeCheckpoint({
      index: 2 ** 32 + 5,
      term: 7,
      recordCount: 3,
      sum: 2 ** 53 - 1,
      data: new Uint8Array([0xab]),
    });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '0100000001000000' +
        '0500000001000000' +
        '0700000000000000' +
        '0300000000000000' +
        'ffffffffffff1f00' +
        'ab',
    );
  });

  test('of a newer format is refused as unknown, of any other as damaged', () => {
    const bytes = encodeCheckpoint({ index: 1, term: 1, recordCount: 0, sum: 0, data: NOTHING });
    for (const [version, code] of [
      [CHECKPOINT_VERSION + 1, 'unknown-format'],
      [0, 'damaged'],
    ] as const) {
      bytes[0] = version;
      expect(() => decodeCheckpoint(bytes)).toThrow(expect.objectContaining({ code }));
    }
  });

  test('that is cut, too long or beyond safe integers is damaged', () => {
    const bytes = encodeCheckpoint({
      index: 1,
      term: 1,
      recordCount: 0,
      sum: 0,
      data: new Uint8Array(3),
    });
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeCheckpoint(bytes.subarray(0, length))).toThrow(damaged);
    }
    expect(() => decodeCheckpoint(Buffer.concat([bytes, NOTHING, Buffer.alloc(1)]))).toThrow(
      damaged,
    );
    bytes[15] = 0xff;
    expect(() => decodeCheckpoint(bytes)).toThrow(damaged);
  });
});
