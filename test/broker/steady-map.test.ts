import { expect, test } from 'vitest';

import { SteadyMap } from '../../src/broker/steady-map.ts';
import { fc } from '../support/properties.ts';

test('is a map by strings, with thousands of keys as with a few', () => {
  const map = new SteadyMap<number>();
  const model = new Map<string, number>();
  const keyOf = (nth: number): string => `site/${nth % 7}/device/${nth}`;
  for (let nth = 0; nth < 30_000; nth++) {
    map.set(keyOf(nth), nth);
    model.set(keyOf(nth), nth);
  }
  for (let nth = 0; nth < 30_000; nth += 3) {
    map.set(keyOf(nth), -nth);
    model.set(keyOf(nth), -nth);
  }
  for (let nth = 0; nth < 30_000; nth += 2) {
    expect(map.delete(keyOf(nth))).toBe(model.delete(keyOf(nth)));
    expect(map.delete(keyOf(nth))).toBe(false);
  }
  expect(map.size).toBe(model.size);
  for (let nth = 0; nth < 30_001; nth++) expect(map.get(keyOf(nth))).toBe(model.get(keyOf(nth)));
  for (const key of model.keys()) expect(map.delete(key)).toBe(true);
  expect(map.size).toBe(0);
  map.set('again', 1);
  expect([map.get('again'), map.size]).toEqual([1, 1]);
});

test('S11: keys are any strings, long ones too, and ones that differ in front only', () => {
  const key = fc.oneof(
    fc.constantFrom('__proto__', 'constructor', ''),
    fc.string(),
    fc.nat(9).map((nth) => `${nth}${'x'.repeat(70)}`),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.boolean())), (steps) => {
      const map = new SteadyMap<number>();
      const model = new Map<string, number>();
      for (const [at, [one, isSet]] of steps.entries()) {
        if (isSet) {
          map.set(one, at);
          model.set(one, at);
        } else expect(map.delete(one)).toBe(model.delete(one));
        expect(map.get(one)).toBe(model.get(one));
        expect(map.size).toBe(model.size);
      }
    }),
  );
});

test('thousands of keys of one hash are as right', () => {
  const map = new SteadyMap<number>();
  const same = 'x'.repeat(64);
  for (let nth = 0; nth < 10_000; nth++) map.set(`${10_000 + nth}${same}`, nth);
  expect(map.size).toBe(10_000);
  expect(map.get(`${12_345}${same}`)).toBe(2345);
  expect(map.delete(`${12_345}${same}`)).toBe(true);
  expect(map.get(`${12_345}${same}`)).toBeUndefined();
});
