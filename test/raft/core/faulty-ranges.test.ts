/** Faulty ranges against the plainest model: the set of indexes that cannot be read. */

import { fc } from '../../support/properties.ts';
import { expect, it } from 'vitest';
import { FaultyRanges } from '../../../raft/core/faulty-ranges.ts';

const END = 30;
const index = fc.integer({ min: 1, max: END });

const step = fc.oneof(
  fc.record({
    kind: fc.constant('add' as const),
    from: index,
    length: fc.integer({ min: 0, max: 5 }),
  }),
  fc.record({ kind: fc.constant('addToEnd' as const), from: index }),
  fc.record({
    kind: fc.constant('repaired' as const),
    from: index,
    length: fc.integer({ min: 0, max: 5 }),
  }),
  fc.record({ kind: fc.constant('cutSuffix' as const), from: index }),
  fc.record({ kind: fc.constant('cutPrefix' as const), from: index }),
);

function range(from: number, through: number): number[] {
  return Array.from({ length: Math.max(0, through - from + 1) }, (_, at) => from + at);
}

it('holds just what was damaged and not repaired, sorted and apart', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const ranges = new FaultyRanges();
      const model = new Set<number>();
      // What lies behind END stands for the end that nobody knows.
      for (const one of steps) {
        const { from } = one;
        if (one.kind === 'add') {
          const through = Math.min(END, from + one.length);
          ranges.add({ from, through });
          for (const at of range(from, through)) model.add(at);
        } else if (one.kind === 'addToEnd') {
          ranges.add({ from, through: undefined });
          for (const at of range(from, END + 1)) model.add(at);
        } else if (one.kind === 'repaired') {
          const through = Math.min(END, from + one.length);
          ranges.repaired(from, through);
          for (const at of range(from, through)) model.delete(at);
        } else if (one.kind === 'cutSuffix') {
          ranges.truncateSuffix(from);
          for (const at of range(from + 1, END + 1)) model.delete(at);
        } else {
          ranges.truncatePrefix(from);
          for (const at of range(0, from - 1)) model.delete(at);
        }
      }
      const faulty = range(0, END + 1);
      expect(faulty.filter((at) => ranges.at(at) !== undefined)).toEqual(
        faulty.filter((at) => model.has(at)),
      );
      const sound = Math.min(...model, Infinity) - 1;
      expect(ranges.soundThrough(0)).toBe(sound);
      for (const covered of range(0, END)) {
        const needed = [...model].filter((at) => at > covered);
        const whole = needed.length === 0 ? Infinity : Math.min(...needed) - 1;
        // Where nobody knows what a range has taken, nothing of it is covered.
        const last = ranges.list.at(-1);
        const isOpen = last !== undefined && last.through === undefined && last.from <= covered;
        expect(ranges.soundThrough(covered)).toBe(isOpen ? last.from - 1 : whole);
      }
      expect(ranges.isEndUnknown).toBe(model.has(END + 1));
      for (const [at, { from }] of ranges.list.entries()) {
        const before = ranges.list[at - 1];
        if (before !== undefined) expect(from).toBeGreaterThan(before.through ?? Infinity);
      }
    }),
  );
});

it('of ranges that become one, the end is that of the one that ends last', () => {
  const ranges = new FaultyRanges();
  ranges.add({ from: 2, through: 5, throughTerm: 7 });
  ranges.add({ from: 3, through: 4 });
  expect(ranges.list).toEqual([{ from: 2, through: 5, throughTerm: 7 }]);
  ranges.repaired(2, 4);
  expect(ranges.list).toEqual([{ from: 5, through: 5, throughTerm: 7 }]);
});
