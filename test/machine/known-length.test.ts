import { describe, expect, it } from 'vitest';
import { KnownLength } from '../../src/machine/known-length.ts';

describe('what is remembered of a length', () => {
  it('asks for a look while nothing is known, and after whatever changes it otherwise', () => {
    const length = new KnownLength();
    const isLooked = (): boolean[] => [
      length.mayHaveMessages(1_000),
      length.mayHaveMoreBytes(1_000, 0),
    ];
    expect(isLooked()).toEqual([true, true]);
    length.measured(0, 0);
    expect(isLooked()).toEqual([false, false]);
    length.forget();
    expect(isLooked()).toEqual([true, true]);
  });

  it('grows with each message, and asks for a look at the bound and not before', () => {
    const length = new KnownLength();
    length.measured(7, 500);
    length.grew();
    expect([9, 8].map((bound) => length.mayHaveMessages(bound))).toEqual([false, true]);
    // 600 bytes came, of which 500 lie below the lowest floor.
    expect([100, 99].map((bound) => length.mayHaveMoreBytes(bound, 600))).toEqual([false, true]);
  });

  it('keeps what is known of bytes where only messages were counted', () => {
    const length = new KnownLength();
    length.measured(7, 500);
    length.measured(3, -1);
    expect(length.mayHaveMessages(4)).toBe(false);
    expect(length.mayHaveMoreBytes(100, 600)).toBe(false);
  });
});
