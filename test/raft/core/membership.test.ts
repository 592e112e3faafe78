/**
 * Chapter 4 of Ongaro's thesis (cluster membership changes), sentence by sentence, with the
 * correction of 2015.
 */

import { describe, expect, it } from 'vitest';
import type { Member, MembershipChange } from '#raft';
import { Cluster, describe as show, voter } from './cluster.ts';
import {
  Alone,
  appendEntries,
  appendEntriesReply,
  entry,
  ofKind,
  requestVote,
  requestVoteReply,
} from './messages.ts';

const configurationEntry = (index: number, term: number, members: readonly Member[]) =>
  ({ ...entry(index, term, ''), kind: 'configuration', configuration: { members } }) as const;

const addLearner = (id: string): MembershipChange => ({
  kind: 'add',
  id,
  address: id,
  role: 'learner',
});

/** `a` leads a, b and c, and has committed an entry of its term. */
function led(): Cluster {
  const cluster = new Cluster();
  cluster.elect('a');
  return cluster;
}

function change(cluster: Cluster, asked: MembershipChange, id = 'a'): string {
  const outcome = cluster.raft(id).changeMembership(asked);
  cluster.run(id);
  return outcome.kind === 'refused' ? outcome.code : outcome.kind;
}

const inUse = (cluster: Cluster, id: string): string =>
  show(cluster.raft(id).status().configuration.configuration);

describe('4.1 Safety', () => {
  it('the leader appends the new configuration as an entry and replicates it like any other', () => {
    const cluster = led();
    cluster.add('d');
    expect(change(cluster, addLearner('d'))).toBe('accepted');
    cluster.settle();
    cluster.pass(2);
    for (const id of ['a', 'b', 'c', 'd'])
      expect(cluster.server(id).log.at(-1)).toBe('2/1 {a b c d?}');
  });

  it('it takes effect on each server as soon as it is in its log, committed or not', () => {
    const cluster = led();
    expect(change(cluster, { kind: 'remove', id: 'c' })).toBe('accepted');
    expect(inUse(cluster, 'a')).toBe('{a b}');
    expect(inUse(cluster, 'b')).toBe('{a b c}');
    const alone = new Alone([1]);
    const entries = [configurationEntry(2, 1, [voter('a'), voter('b')])];
    alone.stepUnsynced(appendEntries({ prevLogIndex: 1, prevLogTerm: 1, entries }));
    expect(alone.raft.commitIndex).toBe(0);
    expect(show(alone.raft.status().configuration.configuration)).toBe('{a b}');
  });

  it('a majority of the new configuration commits it', () => {
    const cluster = new Cluster({ servers: ['a', 'b', 'c', 'd'] });
    cluster.elect('a');
    cluster.isolate('d');
    change(cluster, { kind: 'remove', id: 'd' });
    const index = cluster.raft('a').status().accepted;
    cluster.cut.add('a>c');
    cluster.settle();
    // Two of three; of the old four it would be no majority.
    expect(cluster.raft('a').commitIndex).toBe(index);
  });

  it('another change waits until this one is committed', () => {
    const cluster = led();
    cluster.isolate('a');
    expect(change(cluster, { kind: 'remove', id: 'c' })).toBe('accepted');
    expect(change(cluster, { kind: 'remove', id: 'b' })).toBe('pending');
    cluster.heal();
    cluster.pass(2);
    expect(change(cluster, addLearner('c'))).toBe('accepted');
  });

  it('no change before the leader has committed an entry of its term (correction of 2015)', () => {
    const alone = new Alone([1, 1]);
    alone.lead();
    const remove = { kind: 'remove', id: 'c' } as const;
    expect(alone.raft.changeMembership(remove)).toMatchObject({ code: 'not-ready' });
    alone.step(appendEntriesReply({ term: 2, matchIndex: 3 }));
    expect(alone.raft.changeMembership(remove)).toMatchObject({ kind: 'accepted', index: 4 });
  });

  it('a server whose configuration entry is removed from its log falls back to the one before', () => {
    const alone = new Alone([1]);
    const members = [voter('a'), voter('b')];
    alone.step(
      appendEntries({
        prevLogIndex: 1,
        prevLogTerm: 1,
        entries: [configurationEntry(2, 1, members)],
      }),
    );
    alone.step(
      appendEntries({
        from: 'c',
        term: 2,
        prevLogIndex: 1,
        prevLogTerm: 1,
        entries: [entry(2, 2)],
      }),
    );
    expect(show(alone.raft.status().configuration.configuration)).toBe('{a b c}');
  });

  it('it outlives a restart, from the log', () => {
    const alone = new Alone([1]);
    const entries = [configurationEntry(2, 1, [voter('a'), voter('b'), voter('z')])];
    alone.step(appendEntries({ prevLogIndex: 1, prevLogTerm: 1, entries }));
    alone.restart();
    expect(alone.raft.status().configuration).toMatchObject({ index: 2 });
    alone.timeOut();
    const asked = ofKind(alone.step(requestVoteReply({ preVote: true, term: 2 })), 'requestVote');
    expect(asked.map(({ to }) => to)).toEqual(['b', 'z']);
  });

  it('AppendEntries are accepted from a leader that is not in the server’s configuration', () => {
    const alone = new Alone([1]);
    const sent = alone.step(appendEntries({ from: 'z', term: 2, prevLogIndex: 1, prevLogTerm: 1 }));
    expect(ofKind(sent, 'appendEntriesReply')[0]?.success).toBe(true);
  });

  it('a vote is granted to a candidate that is not in the server’s configuration', () => {
    const sent = new Alone().step(requestVote({ from: 'z' }));
    expect(ofKind(sent, 'requestVoteReply')[0]?.voteGranted).toBe(true);
  });

  it('votes of servers that are not voters of its configuration are not counted', () => {
    const members = [
      voter('a'),
      voter('b'),
      voter('c'),
      { ...voter('d'), role: 'learner' as const },
    ];
    const alone = new Alone([], { servers: ['a', 'b', 'c', 'd'], members });
    alone.timeOut();
    for (const from of ['d', 'z']) alone.step(requestVoteReply({ from, preVote: true, term: 1 }));
    expect(alone.raft.role).toBe('preCandidate');
    alone.step(requestVoteReply({ preVote: true, term: 1 }));
    for (const from of ['d', 'z']) alone.step(requestVoteReply({ from }));
    expect(alone.raft.role).toBe('candidate');
  });

  it('one server at a time: there is no change of two', () => {
    const cluster = led();
    expect(change(cluster, addLearner('b'))).toBe('already-member');
    expect(change(cluster, { kind: 'remove', id: 'z' })).toBe('not-member');
    expect(change(cluster, { kind: 'promote', id: 'b' })).toBe('not-learner');
    expect(change(cluster, addLearner('d'), 'b')).toBe('not-leader');
    const single = new Cluster({ servers: ['a'] });
    single.elect('a');
    expect(change(single, { kind: 'remove', id: 'a' })).toBe('last-voter');
    expect(change(single, { kind: 'demote', id: 'a' })).toBe('last-voter');
  });
});

describe('4.2.1 Catching up new servers', () => {
  it('a new server gets entries and counts for neither votes nor commitment', () => {
    const cluster = led();
    cluster.add('d');
    change(cluster, addLearner('d'));
    cluster.settle();
    cluster.isolate('b');
    cluster.isolate('c');
    const index = cluster.propose('a', 'x');
    cluster.settle();
    expect(cluster.raft('a').status().peers[2]).toMatchObject({ id: 'd', matchIndex: index });
    expect(cluster.raft('a').commitIndex).toBeLessThan(index);
  });

  it('a learner does not stand for election', () => {
    const members = [voter('b'), voter('c'), { ...voter('a'), role: 'learner' as const }];
    const alone = new Alone([], { members });
    for (let ticks = 0; ticks < 100; ticks += 1) alone.raft.tick();
    expect(alone.sent()).toEqual([]);
    expect(alone.raft.role).toBe('follower');
  });

  it('it becomes a voter once it has caught up, and not before', () => {
    const cluster = led();
    cluster.add('d');
    cluster.isolate('d');
    change(cluster, addLearner('d'));
    cluster.settle();
    expect(change(cluster, { kind: 'promote', id: 'd' })).toBe('not-caught-up');
    cluster.heal();
    cluster.pass(2);
    expect(change(cluster, { kind: 'promote', id: 'd' })).toBe('accepted');
    cluster.settle();
    expect(inUse(cluster, 'd')).toBe('{a b c d}');
  });

  it('caught up: its last round took less than an election time-out', () => {
    const alone = new Alone([], {
      members: [voter('a'), { ...voter('b'), role: 'learner' }, voter('c')],
    });
    alone.lead('c');
    alone.step(appendEntriesReply({ from: 'c', session: 2, matchIndex: 1 }));
    const caughtUp = (): boolean | undefined => alone.raft.status().peers[0]?.caughtUp;
    const later = (ticks: number): void => {
      for (let done = 0; done < ticks; done += 1) {
        alone.raft.tick();
        alone.step(
          appendEntriesReply({ from: 'c', session: 2, matchIndex: alone.raft.status().accepted }),
        );
        alone.cluster.propose('a', 'more');
      }
    };
    later(12);
    alone.step(appendEntriesReply({ matchIndex: 5 }));
    expect(caughtUp()).toBe(false);
    later(3);
    const before = alone.raft.status().accepted;
    later(1);
    alone.step(appendEntriesReply({ matchIndex: before }));
    expect(caughtUp()).toBe(true);
  });

  it('a joining server is made a voter by the leader itself', () => {
    const cluster = led();
    cluster.add('d');
    change(cluster, { kind: 'add', id: 'd', address: 'd', role: 'joining' });
    cluster.settle();
    cluster.pass(4);
    expect(inUse(cluster, 'd')).toBe('{a b c d}');
  });
});

describe('4.2.2 Removing the current leader', () => {
  it('it steps down once the new configuration is committed, and another one leads at once', () => {
    const cluster = led();
    change(cluster, { kind: 'remove', id: 'a' });
    expect(cluster.raft('a').role).toBe('leader');
    cluster.settle();
    expect(cluster.raft('a').role).toBe('follower');
    expect(cluster.leader?.id).toBe('b');
  });

  it('until then it replicates, but does not count itself in majorities', () => {
    const alone = new Alone();
    alone.lead();
    alone.step(appendEntriesReply({ matchIndex: 1 }));
    alone.raft.changeMembership({ kind: 'remove', id: 'a' });
    alone.sync();
    alone.step(appendEntriesReply({ matchIndex: 2 }));
    expect(alone.raft.status()).toMatchObject({ role: 'leader', commitIndex: 1 });
    alone.step(appendEntriesReply({ from: 'c', session: 2, matchIndex: 2 }));
    expect(alone.raft.status()).toMatchObject({ role: 'follower', commitIndex: 2 });
  });

  it('a server that is not in its own configuration still stands while that is not committed', () => {
    const alone = new Alone([], { servers: ['a', 'b'] });
    alone.lead();
    alone.step(appendEntriesReply({ matchIndex: 1 }));
    alone.raft.changeMembership({ kind: 'remove', id: 'a' });
    alone.sync();
    alone.restart();
    const asked = ofKind(alone.timeOut(), 'requestVote');
    expect(asked.map(({ to }) => to)).toEqual(['b']);
  });

  it('it does not count its own vote then', () => {
    const alone = new Alone([1], { servers: ['a', 'b', 'c'] });
    const entries = [configurationEntry(2, 1, [voter('b'), voter('c')])];
    alone.step(appendEntries({ prevLogIndex: 1, prevLogTerm: 1, entries }));
    alone.timeOut();
    alone.step(requestVoteReply({ from: 'b', preVote: true, term: 2 }));
    expect(alone.raft.role).toBe('preCandidate');
    alone.step(requestVoteReply({ from: 'c', preVote: true, term: 2 }));
    expect(alone.raft.role).toBe('candidate');
  });

  it('once the removal is committed it does not stand any more', () => {
    const alone = new Alone([1], { servers: ['a', 'b', 'c'] });
    const entries = [configurationEntry(2, 1, [voter('b'), voter('c')])];
    alone.step(appendEntries({ prevLogIndex: 1, prevLogTerm: 1, entries, leaderCommit: 2 }));
    for (let ticks = 0; ticks < 100; ticks += 1) alone.raft.tick();
    expect(alone.raft.role).toBe('follower');
  });
});

describe('4.2.3 Disruptive servers', () => {
  it('who hears from a leader neither updates its term nor grants a vote', () => {
    const alone = new Alone();
    alone.step(appendEntries());
    for (let ticks = 0; ticks < 9; ticks += 1) alone.raft.tick();
    expect(
      alone.step(requestVote({ from: 'c', term: 7, lastLogIndex: 9, lastLogTerm: 6 })),
    ).toEqual([]);
    expect(alone.raft.status()).toMatchObject({ term: 1, leader: 'b' });
  });

  it('a minimum election time-out after the last word of the leader it does', () => {
    const cluster = new Cluster({ random: () => () => 0.99 });
    cluster.elect('b');
    const { raft } = cluster.server('a');
    for (let ticks = 0; ticks < 10; ticks += 1) raft.tick();
    cluster.inject(requestVote({ from: 'c', term: 7, lastLogIndex: 9, lastLogTerm: 6 }));
    expect(raft.term).toBe(7);
  });

  it('a leader that hears from its majority is not deposed by a candidate', () => {
    const cluster = led();
    cluster.inject(requestVote({ from: 'z', to: 'a', term: 9, lastLogIndex: 9, lastLogTerm: 9 }));
    expect(cluster.raft('a').status()).toMatchObject({ role: 'leader', term: 1 });
  });

  it('a candidate by order of the leader is listened to (leadership transfer)', () => {
    const alone = new Alone();
    alone.step(appendEntries());
    const asked = requestVote({
      from: 'c',
      term: 2,
      lastLogIndex: 9,
      lastLogTerm: 1,
      transfer: true,
    });
    expect(ofKind(alone.step(asked), 'requestVoteReply')[0]?.voteGranted).toBe(true);
  });

  it('a removed server that does not know it disturbs nobody', () => {
    const cluster = led();
    cluster.isolate('c');
    change(cluster, { kind: 'remove', id: 'c' });
    cluster.settle();
    cluster.heal();
    cluster.pass(60);
    expect(cluster.raft('a').status()).toMatchObject({ role: 'leader', term: 1 });
    expect(cluster.raft('c').term).toBe(1);
  });
});

describe('a stay in the cluster', () => {
  it('replies of an earlier stay are not counted, although the term is the same', () => {
    const cluster = led();
    cluster.propose('a', 'x');
    cluster.run('a');
    cluster.settle();
    // An acknowledgement of c is late; meanwhile c is removed, loses its disk, and is added again.
    const late = appendEntriesReply({ from: 'c', session: 2, matchIndex: 2 });
    change(cluster, { kind: 'remove', id: 'c' });
    cluster.settle();
    cluster.isolate('c');
    change(cluster, addLearner('c'));
    cluster.settle();
    cluster.inject(late);
    const peer = cluster
      .raft('a')
      .status()
      .peers.find(({ id }) => id === 'c');
    expect(peer).toMatchObject({ session: 3, matchIndex: 0 });
  });

  it('AppendEntries of an earlier stay are ignored by the server', () => {
    const alone = new Alone([], { term: 1 });
    alone.step(appendEntries({ session: 3 }));
    expect(alone.step(appendEntries({ session: 2, entries: [entry(1, 1)] }))).toEqual([]);
    expect(alone.log).toEqual([]);
  });
});
