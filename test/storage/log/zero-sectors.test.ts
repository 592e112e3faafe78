import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import {
  firstNonZero,
  isZero,
  lastNonZeroEnd,
  SECTOR_BYTES,
  ZeroSectorCount,
} from '../../../storage/log/zero-sectors.ts';

/** Mostly zeros, in stretches. */
const stretches = fc
  .array(fc.tuple(fc.nat(1500), fc.nat(3)), { maxLength: 6 })
  .map((parts) => Buffer.concat(parts.map(([length, value]) => Buffer.alloc(length, value % 2))));

test('zero sectors are counted as a plain count does, in whatever pieces the bytes come', () => {
  fc.assert(
    fc.property(stretches, fc.nat(2000), fc.array(fc.nat(900)), (bytes, position, cuts) => {
      const count = new ZeroSectorCount();
      count.begin(position);
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        const end = Math.min(bytes.length, at + cut);
        count.add(bytes, at, end);
        at = end;
      }
      count.add(bytes, at, bytes.length);
      expect(count.end()).toBe(plainCount(bytes, position));
    }),
  );
});

test('a sector that it shares with what stands before it was written, zeros or not', () => {
  const count = new ZeroSectorCount();
  const zeros = new Uint8Array(2 * SECTOR_BYTES);
  const counted = (position: number, length: number): number[] => {
    count.begin(position);
    count.add(zeros, 0, length);
    return [count.end(), count.unwritten];
  };
  expect(counted(80, 8)).toEqual([1, 0]);
  expect(counted(80, SECTOR_BYTES - 80)).toEqual([1, 0]);
  expect(counted(80, SECTOR_BYTES)).toEqual([2, 1]);
  expect(counted(SECTOR_BYTES, 8)).toEqual([1, 1]);
  expect(counted(80, 0)).toEqual([0, 0]);
});

function plainCount(bytes: Uint8Array, position: number): number {
  const sectors = new Map<number, boolean>();
  for (const [nth, byte] of bytes.entries()) {
    const sector = Math.floor((position + nth) / SECTOR_BYTES);
    sectors.set(sector, (sectors.get(sector) ?? true) && byte === 0);
  }
  return [...sectors.values()].filter(Boolean).length;
}

test('the first and last byte that is not zero are found', () => {
  fc.assert(
    fc.property(stretches, fc.nat(50), (bytes, from) => {
      const start = Math.min(from, bytes.length);
      const first = bytes.findIndex((byte, nth) => nth >= start && byte !== 0);
      const last = bytes.findLastIndex((byte, nth) => nth >= start && byte !== 0);
      expect(firstNonZero(bytes, start, bytes.length)).toBe(first < 0 ? bytes.length : first);
      expect(lastNonZeroEnd(bytes, start, bytes.length)).toBe(last < 0 ? start : last + 1);
      expect(isZero(bytes, start, bytes.length)).toBe(first < 0);
    }),
  );
});
