/** Whom a leader cannot tell, and for how long that holds up who subscribes. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LEASE_OVER_MS, LeaseHolders } from '../../src/shard/lease-holders.ts';
import { ROUTE_STALE_MS } from '../../src/shard/route-lease.ts';

let now = 0;

async function pass(ms: number): Promise<void> {
  now += ms;
  await vi.advanceTimersByTimeAsync(ms);
}

function asked(holders: LeaseHolders): { isOver: boolean } {
  const told = { isOver: false };
  void holders.over().then(() => void (told.isOver = true));
  return told;
}

describe('the nodes that may hold a lease', () => {
  beforeEach(() => {
    now = 1_000;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => void vi.useRealTimers());

  it('are all at the beginning of a term, but for those that come', async () => {
    const holders = new LeaseHolders(['a', 'b'], () => now);
    await pass(100);
    const first = asked(holders);
    holders.came('a');
    await pass(0);
    expect(first.isOver).toBe(false);
    holders.came('b');
    await pass(0);
    expect(first.isOver).toBe(true);
  });

  it('hold none when the time of a lease and a margin is over, down or not', async () => {
    expect(LEASE_OVER_MS).toBeGreaterThan(ROUTE_STALE_MS);
    const holders = new LeaseHolders(['a', 'b'], () => now);
    const first = asked(holders);
    await pass(LEASE_OVER_MS - 1);
    expect(first.isOver).toBe(false);
    await pass(1);
    expect(first.isOver).toBe(true);
    const later = asked(holders);
    await pass(0);
    expect(later.isOver).toBe(true);
  });

  it('are those that left, each from then on, until they come again', async () => {
    const holders = new LeaseHolders([], () => now);
    holders.left('a');
    await pass(400);
    holders.left('b');
    const first = asked(holders);
    await pass(LEASE_OVER_MS - 400);
    expect(first.isOver).toBe(false);
    holders.came('a');
    const second = asked(holders);
    holders.came('b');
    // One that leaves behind the question has heard what it was about, or is waited for elsewhere.
    holders.left('c');
    await pass(0);
    expect([first.isOver, second.isOver]).toEqual([true, true]);
  });
});
