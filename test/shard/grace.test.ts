/** How long a new leader holds its deliveries back. */

import { describe, expect, it } from 'vitest';
import { Grace } from '../../src/shard/grace.ts';

function begun(nodes: readonly string[], until: number): Grace {
  const grace = new Grace(nodes);
  grace.begin(until);
  return grace;
}

describe('the grace of a new leader', () => {
  it('ends when every node has claimed', () => {
    const grace = begun(['a', 'b'], 100);
    expect(grace.holdsBack(0)).toBe(true);
    grace.claimed('a');
    grace.claimed('a');
    expect(grace.holdsBack(50)).toBe(true);
    expect(grace.nextWake).toBe(100);
    grace.claimed('b');
    expect(grace.holdsBack(50)).toBe(false);
    expect(grace.nextWake).toBe(Number.POSITIVE_INFINITY);
  });

  it('ends by its time although a node says nothing', () => {
    const grace = begun(['a', 'b'], 100);
    grace.claimed('a');
    expect(grace.holdsBack(99)).toBe(true);
    expect(grace.holdsBack(100)).toBe(false);
  });

  it('asks to be looked at once more where it ends behind the last question of a turn', () => {
    const grace = begun(['a'], 100);
    expect(grace.holdsBack(99.9)).toBe(true);
    // By now it is 100.1: whoever was held back hears of it all the same.
    expect(grace.nextWake).toBe(100);
    expect(grace.holdsBack(100.2)).toBe(false);
    expect(grace.nextWake).toBe(Number.POSITIVE_INFINITY);
  });

  it('has its whole time from when nodes can tell, however late that is', () => {
    const grace = new Grace(['a']);
    expect(grace.holdsBack(1e9)).toBe(true);
    expect(grace.nextWake).toBe(Number.POSITIVE_INFINITY);
    grace.begin(1e9 + 100);
    expect(grace.holdsBack(1e9 + 99)).toBe(true);
    expect(grace.nextWake).toBe(1e9 + 100);
    expect(grace.holdsBack(1e9 + 100)).toBe(false);
  });

  it('is none on a node that is alone', () => {
    expect(begun([], 100).holdsBack(0)).toBe(false);
  });
});
