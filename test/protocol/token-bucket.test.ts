/** A rate: so many a second, so many at once, debts that time pays off. */

import { expect, test } from 'vitest';
import { fc } from '../support/properties.ts';
import { TokenBucket } from '../../src/protocol/token-bucket.ts';

test('is full at the start, empties, and fills again with time', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0);
  for (let count = 0; count < 3; count++) {
    expect(bucket.has(1, 0)).toBe(true);
    bucket.spend(1, 0);
  }
  expect(bucket.has(1, 99)).toBe(false);
  expect(bucket.has(1, 100)).toBe(true);
  expect(bucket.has(2, 199)).toBe(false);
  expect(bucket.isFull(299)).toBe(false);
  expect(bucket.isFull(300)).toBe(true);
  expect(bucket.has(4, 1e9)).toBe(false);
});

test('what is spent beyond it is a debt', () => {
  const bucket = new TokenBucket({ perSecond: 1000, burst: 100 }, 0);
  bucket.spend(600, 0);
  expect(bucket.has(0, 499)).toBe(false);
  expect(bucket.has(0, 500)).toBe(true);
});

test('never lets more through than the burst and the rate of the time that passed', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 200 }),
      (perSecond, burst, steps) => {
        const bucket = new TokenBucket({ perSecond, burst }, 0);
        let [now, taken] = [0, 0];
        for (const step of steps) {
          now += step;
          if (!bucket.has(1, now)) continue;
          bucket.spend(1, now);
          taken++;
        }
        expect(taken).toBeLessThanOrEqual(burst + (now * perSecond) / 1000 + 1e-6);
      },
    ),
  );
});
