/** Which shards are made, and which members go: one step at a time, and never past a majority. */

import { describe, expect, it } from 'vitest';
import { foundersOf, hostsGivenUp, nextLeaving, nextShard } from '../src/shard-plan.ts';

type Known = Parameters<typeof nextLeaving>[1];

const voters = (...ids: readonly string[]) =>
  ids.map((id) => ({ id, role: 'voter', address: '' }) as const);
const row = (number: number) => ({ number, founders: ['a'], hosts: ['a'] });

describe('the next shard', () => {
  it('is made until there are enough, shard 0 counted', () => {
    const members = voters('a', 'b', 'c');
    const wanted = { count: 3, replicas: 3 };
    expect(nextShard(wanted, [], members)?.number).toBe(1);
    expect(nextShard(wanted, [row(1)], members)?.number).toBe(2);
    expect(nextShard(wanted, [row(1), row(2)], members)).toBeUndefined();
    expect(nextShard({ count: 1, replicas: 3 }, [], members)).toBeUndefined();
    expect(nextShard(wanted, [], [])).toBeUndefined();
  });

  it('has another node first each time, by its name and not by that of its replica', () => {
    const members = [
      ...voters('a', 'b+17', 'c'),
      { id: 'd', role: 'learner', address: '' } as const,
    ];
    expect(foundersOf(1, 3, members)).toEqual(['b', 'c', 'a']);
    expect(foundersOf(2, 3, members)).toEqual(['c', 'a', 'b']);
    expect(foundersOf(3, 1, members)).toEqual(['a']);
    expect(foundersOf(1, 5, members)).toHaveLength(3);
  });
});

function leads(ids: readonly string[], away: readonly string[] = []): Known {
  const [id = '', ...others] = ids;
  const peers = others.map((other) => ({
    id: other,
    state: 'replicate' as const,
    session: 1,
    matchIndex: 9,
    nextIndex: 10,
    inFlightMessages: 0,
    inFlightBytes: 0,
    active: !away.includes(other),
    inReserve: false,
    caughtUp: true,
  }));
  const configuration = { index: 4, configuration: { members: voters(...ids) } };
  return { id, role: 'leader', commitIndex: 4, configuration, peers };
}

describe('the member that goes next', () => {
  const hosts = ['a', 'b', 'c'];

  it('is one whose node is no host', () => {
    expect(nextLeaving({ hosts }, leads(['a', 'b', 'c', 'd']))).toEqual({
      kind: 'remove',
      id: 'd',
    });
    expect(nextLeaving({ hosts }, leads(['a', 'b', 'c']))).toBeUndefined();
  });

  it('is one that another replica of its node has replaced, once that votes and answers', () => {
    const gone = { kind: 'remove', id: 'b' };
    const pair = ['a', 'b', 'c', 'b+xk2q7bd5m3vza6ri'];
    expect(nextLeaving({ hosts }, leads(pair, ['b']))).toEqual(gone);
    expect(nextLeaving({ hosts }, leads(pair, ['b', 'b+xk2q7bd5m3vza6ri']))).toBeUndefined();
    expect(nextLeaving({ hosts }, leads(pair))).toBeUndefined();
    const known = leads(pair, ['b']);
    const members = known.configuration.configuration.members.map((member) =>
      member.id.includes('+') ? ({ ...member, role: 'joining' } as const) : member,
    );
    const configuration = { index: 4, configuration: { members } };
    expect(nextLeaving({ hosts }, { ...known, configuration })).toBeUndefined();
  });

  it('is never the one that answers, nor the leader, whatever the names say', () => {
    const older = { kind: 'remove', id: 'b+17' };
    expect(nextLeaving({ hosts }, leads(['a', 'b+17', 'c', 'b+12'], ['b+17']))).toEqual(older);
    const own = { kind: 'remove', id: 'a+17' };
    expect(nextLeaving({ hosts }, leads(['a+12', 'a+17', 'b', 'c'], ['a+17']))).toEqual(own);
  });

  it('stays while those who are left are no majority that answers', () => {
    expect(nextLeaving({ hosts }, leads(['a', 'b', 'd'], ['b']))).toBeUndefined();
    expect(nextLeaving({ hosts }, leads(['a', 'b', 'c', 'd'], ['b']))).toEqual({
      kind: 'remove',
      id: 'd',
    });
  });

  it('waits for the change before it, and for whoever leads', () => {
    const known = leads(['a', 'b', 'c', 'd']);
    expect(nextLeaving({ hosts }, { ...known, commitIndex: 3 })).toBeUndefined();
    expect(nextLeaving({ hosts }, { ...known, role: 'follower' })).toBeUndefined();
  });
});

describe('hosts that were given up', () => {
  const hosts = ['a', 'b', 'c', 'd'];
  const rescue = {
    by: 'ann',
    atMs: 1,
    lastIndex: 3,
    lastTerm: 1,
    givenUp: ['a', 'b', 'c+17'],
  } as const;
  const rescued = (ids: readonly string[], more: Partial<Known> = {}): Known => {
    const known = leads(ids);
    const { index, configuration } = known.configuration;
    return {
      ...known,
      configuration: { index, configuration: { ...configuration, rescue } },
      ...more,
    };
  };

  it('are those whose replica was, by the name of the node, but for the one that goes on', () => {
    expect(hostsGivenUp({ hosts }, rescued(['a+99']))).toEqual(['b', 'c']);
    expect(hostsGivenUp({ hosts: ['a', 'd'] }, rescued(['a+99']))).toEqual([]);
  });

  it('are none where nobody was rescued, or another one leads, or it is not committed', () => {
    expect(hostsGivenUp({ hosts }, leads(['a+99']))).toBeUndefined();
    expect(hostsGivenUp({ hosts }, rescued(['a+99'], { role: 'follower' }))).toBeUndefined();
    expect(hostsGivenUp({ hosts }, rescued(['a+99'], { commitIndex: 3 }))).toBeUndefined();
  });

  it('are none any more once another one was added', () => {
    expect(hostsGivenUp({ hosts }, rescued(['a+99', 'b+3']))).toBeUndefined();
  });
});
