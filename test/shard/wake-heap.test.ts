import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { WakeHeap } from '../../src/shard/wake-heap.ts';

describe('wake heap', () => {
  it('wakes each sleeper once, in order of its newest time', () => {
    const sets = fc.array(fc.tuple(fc.nat(9), fc.oneof(fc.nat(100), fc.constant(Infinity))));
    fc.assert(
      fc.property(sets, (calls) => {
        const heap = new WakeHeap<{ id: number; wakeAt: number }>();
        const sleepers = Array.from({ length: 10 }, (_value, id) => ({ id, wakeAt: Infinity }));
        const expected = new Map<number, number>();
        for (const [id, at] of calls) {
          const sleeper = sleepers[id];
          if (sleeper !== undefined) heap.set(sleeper, at);
          expected.set(id, at);
        }
        const woken: [number, number][] = [];
        for (let now = 0; now <= 100; now++) {
          for (let one = heap.due(now); one !== undefined; one = heap.due(now))
            woken.push([now, one.id]);
        }
        const wanted = [...expected]
          .filter(([, at]) => at !== Infinity)
          .map(([id, at]) => [at, id]);
        const order = ([a, b]: number[], [c, d]: number[]): number =>
          (a ?? 0) - (c ?? 0) || (b ?? 0) - (d ?? 0);
        expect(woken.toSorted(order)).toEqual(wanted.toSorted(order));
        expect(woken.map(([at]) => at)).toEqual(woken.map(([at]) => at).toSorted((a, b) => a - b));
        expect(heap.next).toBe(Infinity);
      }),
    );
  });
});
