import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { QueueId } from '../../src/machine/ids.ts';
import { QueueNames, hashOf } from '../../src/machine/queue-names.ts';

const id = (value: number): QueueId => value as QueueId;

describe('the names of queues', () => {
  it('are found by id and by name, whatever was added and removed before', () => {
    const step = fc.record({
      queueId: fc.integer({ min: 1, max: 60 }).map((n) => (n % 2 === 0 ? n : 2 ** 52 + n * 1_000)),
      name: fc.oneof(
        fc.string({ minLength: 1, maxLength: 30, unit: 'binary' }),
        fc.constantFrom('a', 'b', 'c', 'd'),
      ),
      removes: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const names = new QueueNames(7);
        const model = new Map<number, string>();
        for (const { queueId, name, removes } of steps) {
          if (model.has(queueId) && removes) {
            names.remove(names.slotOf(id(queueId)));
            model.delete(queueId);
          } else if (!model.has(queueId) && ![...model.values()].includes(name)) {
            names.add(id(queueId), name);
            model.set(queueId, name);
          }
        }
        expect(names.size).toBe(model.size);
        expect(names.sortedIds()).toEqual([...model.keys()].sort((a, b) => a - b));
        for (const { queueId, name } of steps) {
          const known = model.get(queueId);
          const slot = names.slotOf(id(queueId));
          expect(slot === -1 ? undefined : names.name(slot)).toBe(known);
          const named = names.slotNamed(name);
          const isThere = [...model.values()].includes(name);
          expect(named === -1 ? undefined : names.name(named)).toBe(isThere ? name : undefined);
          if (named !== -1) expect(model.get(names.id(named))).toBe(name);
        }
      }),
    );
  });

  it('use the space of those that are gone again', () => {
    const names = new QueueNames(7);
    const long = (n: number): string => `${n}-${'x'.repeat(200)}`;
    for (let n = 1; n <= 5_000; n += 1) {
      names.add(id(n), long(n));
      if (n > 50) names.remove(names.slotOf(id(n - 50)));
    }
    expect([names.size, names.capacity]).toEqual([50, 64]);
    expect(Array.from(names.slots(), (slot) => names.name(slot)).sort()).toEqual(
      Array.from({ length: 50 }, (_none, at) => long(4_951 + at)).sort(),
    );
  });

  it('are one each', () => {
    const names = new QueueNames(7);
    names.add(id(1), 'orders');
    expect(() => names.add(id(1), 'mail')).toThrow('an id twice');
    expect(() => names.add(id(2), 'orders')).toThrow('a name twice');
    expect(() => names.add(id(2), '')).toThrow('no proper length');
  });

  it('that were chosen to collide do so under one seed and not under another', () => {
    const low = (name: string, seed: number): number => hashOf(name, seed) & 0xfff;
    const chosen: string[] = [];
    for (let n = 0; chosen.length < 100; n += 1) {
      if (low(`queue-${n}`, 7) === 1) chosen.push(`queue-${n}`);
    }
    expect(new Set(chosen.map((name) => low(name, 8))).size).toBeGreaterThan(80);
  });
});
