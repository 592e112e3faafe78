/**
 * A cluster that has lost its majority for good, and an operator who orders the one that is left to
 * go on alone: when that is refused, what it keeps, and that nobody of before counts any more.
 */

import { describe, expect, it } from 'vitest';
import type { Raft, RescueOrder } from '#raft';
import { Cluster } from './cluster.ts';
import { Alone, heartbeat, requestVote, requestVoteReply } from './messages.ts';

const ORDER: RescueOrder = { as: 'a+7', by: 'op@host', atMs: 1_700, evenIfShorter: false };
const LONG = 6 * 10;

/** It has heard of nobody for long enough, but for what `heard` says. */
function listened(alone: Alone, heard: () => void = () => undefined): void {
  for (let ticks = 0; ticks <= LONG; ticks += 1) {
    alone.raft.tick();
    alone.sync();
  }
  heard();
  alone.sync();
}

const codeOf = (alone: Alone, order: Partial<RescueOrder> = {}): string => {
  const rescued = alone.raft.rescue({ ...ORDER, ...order });
  return rescued.kind === 'refused' ? rescued.code : rescued.kind;
};

describe('it is refused', () => {
  it('before the others were listened to', () => {
    const alone = new Alone([1, 1]);
    expect(codeOf(alone)).toBe('listening');
    listened(alone);
    expect(codeOf(alone)).toBe('accepted');
  });

  it('while somebody leads, and right after', () => {
    const alone = new Alone([1, 1]);
    listened(alone);
    alone.step(heartbeat({ term: 3 }));
    alone.raft.tick();
    expect(codeOf(alone)).toBe('has-leader');
    for (let ticks = 0; ticks < 25; ticks += 1) alone.raft.tick();
    alone.sync();
    expect(codeOf(alone)).toBe('listening');
  });

  it.each([
    [
      'asks for votes',
      () => requestVote({ term: 2, preVote: true, lastLogIndex: 2, lastLogTerm: 1 }),
    ],
    ['answers', () => requestVoteReply({ term: 2, preVote: true, voteGranted: false })],
  ])('while a majority is heard: another one %s', (_how, message) => {
    const alone = new Alone([1, 1]);
    listened(alone, () => alone.raft.step(message()));
    expect(codeOf(alone, { evenIfShorter: true })).toBe('quorum');
    listened(alone);
    expect(codeOf(alone)).toBe('accepted');
  });

  it('where its own log, or its state, is damaged', () => {
    const alone = new Alone([1, 1, 1]);
    listened(alone);
    alone.raft.damaged({ from: 2, through: 2 });
    expect(codeOf(alone)).toBe('damaged');
  });

  it('to who does not vote, and to who is the only member', () => {
    const single = new Cluster({ servers: ['a'] });
    single.pass(3);
    expect(single.raft('a').rescue(ORDER)).toMatchObject({ code: 'has-leader' });
    const cluster = new Cluster();
    cluster.add('x');
    expect(cluster.raft('x').rescue(ORDER)).toMatchObject({ code: 'not-voter' });
  });

  it('where another survivor has more, unless that is said in words', () => {
    const five = { servers: ['a', 'b', 'c', 'd', 'e'] };
    for (const [lastLogIndex, lastLogTerm] of [
      [3, 1],
      [1, 2],
    ] as const) {
      const alone = new Alone([1, 1], five);
      const ask = requestVote({ term: 9, preVote: true, lastLogIndex, lastLogTerm });
      listened(alone, () => alone.raft.step(ask));
      expect(alone.raft.status().survivors).toEqual([
        { id: 'b', end: { index: lastLogIndex, term: lastLogTerm }, isCovered: false },
      ]);
      expect(codeOf(alone)).toBe('shorter-log');
      expect(codeOf(alone, { evenIfShorter: true })).toBe('accepted');
    }
    const alone = new Alone([1, 1], five);
    const less = requestVote({ term: 9, preVote: true, lastLogIndex: 1, lastLogTerm: 1 });
    listened(alone, () => alone.raft.step(less));
    expect(codeOf(alone)).toBe('accepted');
  });
});

describe('it is done', () => {
  /** c has `x` committed and `y` in its log alone, and nobody else is left. */
  function rescued(): { cluster: Cluster; raft: Raft } {
    const cluster = new Cluster();
    cluster.elect('c');
    cluster.propose('c', 'x');
    cluster.settle();
    cluster.crash('a');
    cluster.crash('b');
    cluster.propose('c', 'y');
    cluster.pass(100);
    const order = { ...ORDER, as: 'c+7' };
    expect(cluster.raft('c').rescue(order).kind).toBe('accepted');
    return { cluster, raft: cluster.raft('c') };
  }

  it('the entry tells who, when, behind what, and whom; and is durable before anything', () => {
    const { cluster } = rescued();
    cluster.run('c');
    expect(cluster.server('c').disk.at(4)).toBeUndefined();
    cluster.settle();
    expect(cluster.server('c').disk.at(4)?.configuration).toEqual({
      members: [{ id: 'c+7', role: 'voter', address: 'c' }],
      rescue: {
        by: 'op@host',
        atMs: 1_700,
        lastIndex: 3,
        lastTerm: 1,
        givenUp: ['a', 'b', 'c'],
      },
    });
  });

  it('under its old name it leads no more; under the new one it has everything, and says so', () => {
    const { cluster, raft } = rescued();
    cluster.pass(100);
    expect(raft.role).not.toBe('leader');
    const { disk } = cluster.server('c');
    const { term } = disk.hardState;
    const next = cluster.add('c+7');
    next.disk = disk;
    cluster.crash('c');
    cluster.restart('c+7');
    cluster.pass(3);
    const { role, configuration } = next.raft.status();
    expect(role).toBe('leader');
    expect(next.raft.term).toBeGreaterThan(term);
    expect(next.applied).toEqual(['x', 'y']);
    // Nobody of before is spoken to, or counted.
    cluster.restart('a');
    cluster.restart('b');
    cluster.pass(60);
    expect(next.raft.role).toBe('leader');
    expect(next.raft.status().configuration).toEqual(configuration);
    // Nor taken in again under a name of before, whoever asks for it.
    for (const id of ['a', 'c']) {
      const again = { kind: 'add', id, address: id, role: 'joining' } as const;
      expect(next.raft.changeMembership(again)).toMatchObject({ code: 'given-up' });
    }
    expect(
      next.raft.changeMembership({ kind: 'add', id: 'd+1', address: 'd', role: 'joining' }),
    ).toMatchObject({ kind: 'accepted' });
    expect(next.raft.status().configuration.configuration.rescue).toEqual(
      configuration.configuration.rescue,
    );
  });

  it('a leader of before that comes in time takes it back, like any entry that is not committed', () => {
    const { cluster, raft } = rescued();
    cluster.settle();
    cluster.restart('a');
    cluster.restart('b');
    cluster.pass(100);
    expect(cluster.leader?.id).not.toBe('c');
    expect(raft.status().configuration.configuration.rescue).toBeUndefined();
  });
});
