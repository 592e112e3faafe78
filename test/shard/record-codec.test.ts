import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { decodeRecord, encodeRecord, RecordFormatError } from '../../src/shard/record-codec.ts';
import type { PlainData } from '../../src/shard/record-codec.ts';

const leaf = fc.oneof(
  fc.maxSafeInteger(),
  fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0)),
  fc.string(),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 40 }),
);
const { data } = fc.letrec<{ data: PlainData }>((tie) => ({
  data: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('data'), { maxLength: 6 })),
}));

function normal(value: PlainData): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] };
  return Array.isArray(value) ? value.map((element: PlainData) => normal(element)) : value;
}

describe('record codec', () => {
  it('gives back what it was given', () => {
    fc.assert(
      fc.property(data, (value) => {
        expect(normal(decodeRecord(encodeRecord(value)))).toEqual(normal(value));
      }),
    );
  });

  it('refuses another version and any cut with its own error, never with half a value', () => {
    const bytes = encodeRecord([1, 'two', new Uint8Array([3]), [4, [5]]]);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeRecord(bytes.subarray(0, length))).toThrow(RecordFormatError);
    }
    const other = bytes.slice();
    other[0] = 2;
    expect(() => decodeRecord(other)).toThrow(/record format 2/);
  });

  it('S11: refuses maps and extension types, so that no stored byte names a property', () => {
    const map = Uint8Array.of(1, 0x81, 0xa9, ...new TextEncoder().encode('__proto__'), 0x01);
    expect(() => decodeRecord(map)).toThrow(RecordFormatError);
    const date = Uint8Array.of(1, 0xd6, 0xff, 0, 0, 0, 1);
    expect(() => decodeRecord(date)).toThrow(RecordFormatError);
  });

  it('shares no memory with what it decoded from', () => {
    const bytes = encodeRecord([new Uint8Array([7, 7, 7])]);
    const value = decodeRecord(bytes) as readonly Uint8Array[];
    bytes.fill(0);
    expect([...(value[0] ?? [])]).toEqual([7, 7, 7]);
  });
});
