import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { notBefore } from '../../src/machine/backoff.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';

const STAMP = 5_000;

function withRetry(retry: Partial<QueueLimits['retry']>, deliveryLimit = 20): QueueLimits {
  return { ...DEFAULT_LIMITS, deliveryLimit, retry: { ...DEFAULT_LIMITS.retry, ...retry } };
}

function delay(attempts: number, limits: QueueLimits, offset = 7): number {
  return notBefore({ queueId: 1, offset, attempts, cause: 'client' }, limits, STAMP) - STAMP;
}

describe('backoff', () => {
  it('Q2: grows by the multiplier from min to max', () => {
    const limits = withRetry({ minMs: 100, maxMs: 1_000, multiplier: 2, jitter: 0 });
    expect([1, 2, 3, 4, 5, 6].map((n) => delay(n, limits))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
    const constant = withRetry({ minMs: 100, maxMs: 1_000, multiplier: 1, jitter: 0 });
    expect([1, 2, 15].map((n) => delay(n, constant))).toEqual([100, 100, 100]);
  });

  it('is never earlier than without jitter and never later than max; the jitter spreads', () => {
    const base = withRetry({ jitter: 0 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 19 }),
        fc.nat(Number.MAX_SAFE_INTEGER),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempts, offset, jitter) => {
          const least = delay(attempts, base);
          const got = delay(attempts, withRetry({ jitter }), offset);
          expect(got).toBeGreaterThanOrEqual(least);
          expect(got).toBeLessThanOrEqual(Math.min(60_000, Math.ceil(least * (1 + jitter))));
        },
      ),
    );
    const spread = Array.from({ length: 1_000 }, (_, i) => delay(1, withRetry({ jitter: 1 }), i));
    expect(new Set(spread).size).toBeGreaterThan(500);
    expect(Math.min(...spread)).toBeLessThan(1_050);
    expect(Math.max(...spread)).toBeGreaterThan(1_950);
  });

  it('is the same on every machine: these numbers are part of the format', () => {
    const limits = withRetry({ jitter: 0.5 });
    const list = [1, 2, 3].map((n) => delay(n, limits, 123_456_789_012));
    expect(list).toMatchInlineSnapshot(`
      [
        1352,
        2786,
        4765,
      ]
    `);
  });

  it('does not apply to timeouts and lost consumers before the delivery limit', () => {
    const limits = withRetry({}, 3);
    for (const cause of ['timeout', 'lost'] as const) {
      const ended = { queueId: 1, offset: 1, cause };
      expect(notBefore({ ...ended, attempts: 2 }, limits, STAMP)).toBe(0);
      expect(notBefore({ ...ended, attempts: 3 }, limits, STAMP)).toBe(STAMP + 60_000);
    }
  });

  it('Q4: is the longest one at the delivery limit and beyond, whatever the cause', () => {
    const limits = withRetry({ minMs: 1, maxMs: 9_000 }, 4);
    expect([3, 4, 5, 1_000].map((n) => delay(n, limits) === 9_000)).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });
});
