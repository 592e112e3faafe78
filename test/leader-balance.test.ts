/** When a leader hands over so that leaders spread: by what it knows, and never in a hurry. */

import { describe, expect, it } from 'vitest';
import {
  BALANCE_INTERVAL_MS,
  BALANCE_PAUSE_MS,
  LeaderBalance,
  preferredLeader,
} from '../src/leader-balance.ts';

type Led = Parameters<LeaderBalance['target']>[0];

function led(more: Partial<Led['peers'][number]> = {}, role: Led['role'] = 'leader'): Led {
  const members = ['a', 'b+17', 'c'].map((id) => ({ id, role: 'voter', address: '' }) as const);
  const peer = { active: true, caughtUp: true, inReserve: false };
  const rest = { session: 1, matchIndex: 9, nextIndex: 10, inFlightMessages: 0, inFlightBytes: 0 };
  const b = { id: 'b+17', state: 'replicate', ...rest, ...peer, ...more } as const;
  const configuration = { index: 1, configuration: { members } };
  return { role, configuration, peers: [b], transferTo: undefined };
}

/** It leads at 0, and is asked again after the interval. */
function afterInterval(status: Led, preferred: string | undefined): string | undefined {
  const balance = new LeaderBalance();
  expect(balance.target(status, preferred, 0)).toBeUndefined();
  return balance.target(status, preferred, BALANCE_INTERVAL_MS);
}

describe('the leader that is preferred', () => {
  it('gets the lead when the one that has it has led for a while', () => {
    expect(afterInterval(led(), 'b')).toBe('b+17');
  });

  it.each([
    ['away', { active: false }],
    ['behind', { caughtUp: false }],
    ['short of disk', { inReserve: true }],
  ])('does not get it while it is %s', (_how, more) => {
    expect(afterInterval(led(more), 'b')).toBeUndefined();
  });

  it('does not get it where it has no vote, or nobody is preferred', () => {
    expect(afterInterval(led(), 'c')).toBeUndefined();
    expect(afterInterval(led(), undefined)).toBeUndefined();
    const status = led();
    const [, b] = status.configuration.configuration.members;
    const members = [{ id: 'b+17', role: 'learner', address: b?.address ?? '' } as const];
    const configuration = { index: 1, configuration: { members } };
    expect(afterInterval({ ...status, configuration }, 'b')).toBeUndefined();
  });

  it('is asked once in an interval, and not while the lead is on its way', () => {
    const balance = new LeaderBalance();
    balance.target(led(), 'b', 0);
    expect(balance.target(led(), 'b', BALANCE_INTERVAL_MS)).toBe('b+17');
    expect(balance.target(led(), 'b', BALANCE_INTERVAL_MS + 1)).toBeUndefined();
    const moving = { ...led(), transferTo: 'b+17' };
    expect(balance.target(moving, 'b', 2 * BALANCE_INTERVAL_MS)).toBeUndefined();
    expect(balance.target(led(), 'b', 2 * BALANCE_INTERVAL_MS)).toBe('b+17');
  });

  it('waits anew after each election', () => {
    const balance = new LeaderBalance();
    balance.target(led(), 'b', 0);
    balance.target(led({}, 'follower'), 'b', 1);
    expect(balance.target(led(), 'b', BALANCE_INTERVAL_MS)).toBeUndefined();
    expect(balance.target(led(), 'b', 2 * BALANCE_INTERVAL_MS)).toBe('b+17');
  });

  it('waits longer when a person has chosen', () => {
    const balance = new LeaderBalance();
    balance.target(led(), 'b', 0);
    balance.pause(0);
    expect(balance.target(led(), 'b', BALANCE_PAUSE_MS - 1)).toBeUndefined();
    expect(balance.target(led(), 'b', BALANCE_PAUSE_MS)).toBe('b+17');
  });

  it('is the first founder, or another one for each shard where that is gone', () => {
    const founders = ['b', 'c', 'a'];
    expect(preferredLeader({ number: 1, founders, hosts: ['a', 'b', 'c'] })).toBe('b');
    const hosts = ['a', 'c', 'd'];
    const chosen = [1, 2, 3].map((number) => preferredLeader({ number, founders, hosts }));
    expect(new Set(chosen)).toEqual(new Set(hosts));
    expect(preferredLeader({ number: 1, founders, hosts: [] })).toBeUndefined();
  });
});
