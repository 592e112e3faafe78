import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { SlotIndex } from '../../src/machine/slot-index.ts';

describe('the index of slots', () => {
  it('knows what a map knows, and collects what lies between', () => {
    const action = fc.record({ offset: fc.nat({ max: 1_500 }), far: fc.boolean() });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 300, size: 'max' }), (actions) => {
        const index = new SlotIndex();
        const map = new Map<number, number>();
        for (const [slot, { offset: near, far }] of actions.entries()) {
          const offset = far ? near + 2 ** 40 : near;
          if (map.has(offset)) {
            index.remove(offset);
            map.delete(offset);
          } else {
            index.add(offset, slot);
            map.set(offset, slot);
          }
          expect(index.size).toBe(map.size);
          expect(index.get(offset)).toBe(map.get(offset) ?? -1);
          expect(index.get(offset + 1)).toBe(map.get(offset + 1) ?? -1);
        }
        for (const [from, to] of [
          [0, 1_501],
          [100, 900],
          [256, 512],
          [300, 301],
          [1_000, 2 ** 40 + 700],
        ] as const) {
          const collected: number[] = [];
          index.collect(from, to, collected);
          const expected = [...map].filter(([offset]) => offset >= from && offset < to);
          expect(collected.sort((a, b) => a - b)).toEqual(
            expected.map(([, slot]) => slot).sort((a, b) => a - b),
          );
        }
      }),
      { numRuns: 200 },
    );
  });

  it('a stretch costs the lesser of its own length and of what is there', () => {
    const index = new SlotIndex();
    for (let offset = 0; offset < 100_000; offset += 1) index.add(offset, offset);
    expect(index.collect(50_000, 50_010, [])).toBeLessThan(20);
    const sparse = new SlotIndex();
    sparse.add(10, 1);
    sparse.add(1_000_000, 2);
    expect(sparse.collect(0, 4_000_000, [])).toBeLessThan(600);
  });
});
