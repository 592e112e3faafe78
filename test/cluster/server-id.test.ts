/** What a replica is called: which names there are, and what two of them tell of each other. */

import { describe, expect, it } from 'vitest';
import { drawnServerId, isBeside, isServerId, nodeOf } from '../../src/cluster/server-id.ts';

describe('the name of a replica', () => {
  it('is that of its node, or with a number of before, or with sixteen letters', () => {
    const names = ['node-4', 'node-4+1', 'node-4+1767225600', 'node-4+xk2q7bd5m3vza6ri'];
    expect(names.filter((name) => !isServerId(name))).toEqual([]);
    expect(names.map((name) => nodeOf(name))).toEqual(names.map(() => 'node-4'));
    const none = ['', '+1', 'n+', 'n+0', 'n+1234567890123456', 'n+xk2q7bd5m3vza6r', 'n+1+2'];
    const others = ['n+xk2q7bd5m3vza6ri7', 'n+Xk2q7bd5m3vza6ri', 'n+xk2q7bd5m3vza6r1', 'a b'];
    expect([...none, ...others].filter((name) => isServerId(name))).toEqual([]);
  });

  it('is drawn, and each letter of it is any of thirty-two', () => {
    const names = Array.from({ length: 2_000 }, () => drawnServerId('n'));
    expect(new Set(names).size).toBe(2_000);
    expect(names.every((name) => isServerId(name))).toBe(true);
    for (let place = 2; place < 18; place += 1) {
      expect(new Set(names.map((name) => name[place])).size).toBe(32);
    }
  });

  it('tells whether it is of the directory in which shard 0 is called so', () => {
    const zero = drawnServerId('n');
    expect(isBeside(drawnServerId('n', zero), zero)).toBe(true);
    expect(isBeside(drawnServerId('n'), zero)).toBe(false);
    expect(['n', 'n+17'].map((own) => isBeside(own, zero))).toEqual([false, false]);
  });

  it('tells that by its number, where it is one of before', () => {
    expect(['n', 'n+16', 'n+17', 'n+18'].map((own) => isBeside(own, 'n+17'))).toEqual([
      false,
      false,
      true,
      true,
    ]);
    // No number is drawn any more.
    expect(isBeside(drawnServerId('n', 'n+17'), 'n+17')).toBe(true);
    // Shard 0 has founded the cluster, with this directory.
    expect(['n', 'n+17', drawnServerId('n')].map((own) => isBeside(own, 'n'))).toEqual([
      true,
      true,
      true,
    ]);
  });
});
