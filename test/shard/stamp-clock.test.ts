import { describe, expect, it } from 'vitest';
import { StampClock } from '../../src/shard/stamp-clock.ts';

describe('stamp clock', () => {
  it('follows the monotonic clock and ignores a wall clock that is set back or forth', () => {
    let wall = 1_000_000;
    let monotonic = 50;
    const clock = new StampClock({ wallMs: () => wall, monotonicMs: () => monotonic }, 0);
    expect(clock.now()).toBe(1_000_000);
    wall = 5;
    monotonic = 60.7;
    expect(clock.now()).toBe(1_000_010);
    wall = 9_000_000;
    expect(clock.now()).toBe(1_000_010);
  });

  it('never stamps below what the state has seen, also with a clock that went back', () => {
    const clock = new StampClock({ wallMs: () => 1_000, monotonicMs: () => 0 }, 777_777);
    expect(clock.now()).toBe(777_777);
  });
});
