import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import type { FilePosition, LogIndex } from '../../../storage/log/positions.ts';
import { SPARSE_ENTRY_BYTES, SparseIndex } from '../../../storage/log/sparse-index.ts';

const INTERVAL = 512;
const entries = fc
  .array(fc.record({ length: fc.integer({ min: 80, max: 900 }), timeMs: fc.nat(50) }))
  .map((sizes) => {
    let position = 0;
    let largest = 0;
    return sizes.map(({ length, timeMs }, nth) => {
      const entry = { index: 10 + nth, position, timeMs };
      position += length;
      largest = Math.max(largest, timeMs);
      return { ...entry, largest };
    });
  });
type Entry = { index: number; position: number; timeMs: number; largest: number };

function built(list: readonly Entry[]): SparseIndex {
  const sparse = new SparseIndex(10 as LogIndex, INTERVAL);
  for (const { index, position, largest } of list) {
    sparse.note(index as LogIndex, position as FilePosition, largest);
  }
  return sparse;
}

test('a walk for an index begins at most one interval before it, never behind', () => {
  fc.assert(
    fc.property(entries, (list) => {
      const sparse = built(list);
      for (const { index, position } of list) {
        const from = sparse.positionFor(index as LogIndex);
        expect(from).toBeLessThanOrEqual(position);
        expect(position - (from ?? 0)).toBeLessThanOrEqual(INTERVAL);
      }
    }),
  );
});

test('every entry with at least the time lies at or behind the index that is given for it', () => {
  fc.assert(
    fc.property(entries, fc.nat(60), (list, timeMs) => {
      const from = built(list).indexForTime(timeMs);
      for (const entry of list) if (entry.timeMs >= timeMs) expect(entry.index >= from).toBe(true);
    }),
  );
});

test('encoded and loaded it answers the same; cut, it forgets what lies behind', () => {
  fc.assert(
    fc.property(entries, fc.nat(20_000), (list, cutAt) => {
      const sparse = built(list);
      const view = new DataView(new ArrayBuffer(sparse.length * SPARSE_ENTRY_BYTES));
      sparse.encode(view, 0);
      const loaded = new SparseIndex(10 as LogIndex, INTERVAL);
      for (let nth = 0; nth < sparse.length; nth += 1) {
        expect(loaded.load(view, nth * SPARSE_ENTRY_BYTES)).toBe(true);
      }
      loaded.cut(cutAt as FilePosition);
      expect(loaded.entryBehind(cutAt as FilePosition)).toBeUndefined();
      const kept = list.filter(({ position }) => position < cutAt);
      for (const { index } of kept) {
        expect(loaded.positionFor(index as LogIndex)).toBe(sparse.positionFor(index as LogIndex));
      }
    }),
  );
});

test('entries out of order are refused when they are loaded', () => {
  const view = new DataView(new ArrayBuffer(2 * SPARSE_ENTRY_BYTES));
  view.setUint32(4, 100, true);
  view.setUint32(SPARSE_ENTRY_BYTES + 4, 100, true);
  const sparse = new SparseIndex(1 as LogIndex, INTERVAL);
  expect(sparse.load(view, 0)).toBe(true);
  expect(sparse.load(view, SPARSE_ENTRY_BYTES)).toBe(false);
});

test('behind a forced gap the next entry is noted whatever the distance', () => {
  const sparse = new SparseIndex(1 as LogIndex, INTERVAL);
  sparse.note(1 as LogIndex, 0 as FilePosition, 0);
  sparse.force();
  sparse.note(5 as LogIndex, 100 as FilePosition, 0);
  expect(sparse.positionFor(5 as LogIndex)).toBe(100);
  expect(sparse.positionFor(4 as LogIndex)).toBe(0);
});
