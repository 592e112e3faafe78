import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { WakeHeap } from '../../src/shard/wake-heap.ts';

describe('wake heap', () => {
  it('wakes each sleeper once, in order of its newest time, and of its turn', () => {
    const sets = fc.array(fc.tuple(fc.nat(9), fc.oneof(fc.nat(100), fc.constant(Infinity))));
    fc.assert(
      fc.property(sets, (calls) => {
        const heap = new WakeHeap<{ id: number; wakeAt: number }>();
        const sleepers = Array.from({ length: 10 }, (_value, id) => ({ id, wakeAt: Infinity }));
        const expected = new Map<number, number>();
        // Of those with one time, who was set to it first.
        const turns = new Map<string, number>();
        for (const [turn, [id, at]] of calls.entries()) {
          const sleeper = sleepers[id];
          if (sleeper !== undefined) heap.set(sleeper, at);
          expected.set(id, at);
          const key = `${id} at ${at}`;
          if (!turns.has(key)) turns.set(key, turn);
        }
        const woken: [number, number][] = [];
        for (let now = 0; now <= 100; now++) {
          for (let one = heap.due(now); one !== undefined; one = heap.due(now))
            woken.push([now, one.id]);
        }
        const wanted = [...expected]
          .filter(([, at]) => at !== Infinity)
          .map(([id, at]) => [at, id]);
        const turnOf = ([at, id]: readonly number[]): number => turns.get(`${id} at ${at}`) ?? 0;
        const order = (a: readonly number[], b: readonly number[]): number =>
          (a[0] ?? 0) - (b[0] ?? 0) || turnOf(a) - turnOf(b);
        expect(woken).toEqual(wanted.toSorted(order));
        expect(heap.next).toBe(Infinity);
      }),
    );
  });
});
