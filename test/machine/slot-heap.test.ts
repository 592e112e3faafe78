import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { SlotHeap } from '../../src/machine/slot-heap.ts';

describe('a heap of slots', () => {
  it('gives the lowest by key, then tie, whatever was added and removed before', () => {
    const step = fc.record({
      slot: fc.nat({ max: 200 }),
      key: fc.nat({ max: 20 }),
      tie: fc.nat({ max: 5 }),
      pop: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
        const heap = new SlotHeap();
        const model = new Map<number, readonly [number, number]>();
        const lowest = () => [...model].sort(([, a], [, b]) => a[0] - b[0] || a[1] - b[1])[0];
        for (const { slot, key, tie, pop } of steps) {
          if (pop) {
            const expected = lowest()?.[1];
            const got = heap.pop();
            expect(model.get(got)).toEqual(expected);
            model.delete(got);
          } else if (model.has(slot)) {
            heap.remove(slot);
            model.delete(slot);
          } else {
            heap.add(slot, key, tie);
            model.set(slot, [key, tie]);
          }
          expect(heap.size).toBe(model.size);
          expect(heap.peekKey()).toBe(lowest()?.[1][0] ?? Infinity);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('refuses a slot twice, and the removal of one that is not there', () => {
    const heap = new SlotHeap();
    heap.add(3, 1, 1);
    expect(() => heap.add(3, 1, 1)).toThrow('in it already');
    expect(() => heap.remove(2)).toThrow('not in it');
    expect(() => heap.remove(99)).toThrow('not in it');
  });

  it('moves at most the height of the heap', () => {
    const heap = new SlotHeap();
    for (let i = 0; i < 100_000; i += 1) heap.add(i, 100_000 - i, 0);
    const before = heap.steps;
    heap.pop();
    heap.remove(50_000);
    expect(heap.steps - before).toBeLessThanOrEqual(2 * 18);
  });
});
