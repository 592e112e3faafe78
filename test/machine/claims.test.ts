import { describe, expect, it } from 'vitest';
import { Claims } from '../../src/machine/claims.ts';

describe('claims', () => {
  it('keep what was added, and are used again after clear', () => {
    const claims = new Claims();
    for (let round = 0; round < 2; round += 1) {
      for (let i = 0; i < 100; i += 1)
        claims.finish(claims.add(i, i * 2, i * 3), i + 1, i % 2 === 0);
      expect(claims.length).toBe(100);
      expect([
        claims.consumer(99),
        claims.offset(99),
        claims.deliveryNumber(99),
        claims.attempt(99),
        claims.redelivered(99),
      ]).toEqual([99, 198, 297, 100, false]);
      claims.clear();
      expect(claims.length).toBe(0);
    }
  });

  it('nothing beyond their length is read', () => {
    const claims = new Claims();
    claims.finish(claims.add(1, 2, 3), 1, true);
    claims.clear();
    expect(() => claims.offset(0)).toThrow(RangeError);
    expect(() => claims.consumer(0)).toThrow(RangeError);
  });
});
