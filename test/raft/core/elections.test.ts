/**
 * Pre-vote (thesis 9.6) together with check-quorum (6.2), and the ways out of the dead ends that
 * the two have when links fail one way or in part.
 */

import { describe, expect, it } from 'vitest';
import { Cluster } from './cluster.ts';
import {
  Alone,
  appendEntries,
  heartbeat,
  ofKind,
  requestVote,
  requestVoteReply,
} from './messages.ts';

describe('9.6 Preventing disruptions when a server rejoins the cluster (pre-vote)', () => {
  it('a candidate increments its term only after a majority would vote for it', () => {
    const alone = new Alone([], { servers: ['a', 'b', 'c', 'd', 'e'] });
    alone.timeOut();
    alone.step(requestVoteReply({ from: 'b', preVote: true, term: 1 }));
    expect(alone.raft.term).toBe(0);
    alone.step(requestVoteReply({ from: 'c', preVote: true, term: 1 }));
    expect(alone.raft.term).toBe(1);
  });

  it('a server would vote only if the candidate’s log is up-to-date', () => {
    const alone = new Alone([1, 2]);
    const asked = requestVote({ term: 3, preVote: true, lastLogIndex: 9, lastLogTerm: 1 });
    expect(ofKind(alone.step(asked), 'requestVoteReply')[0]?.voteGranted).toBe(false);
  });

  it('and only if it has not heard from a leader for an election time-out', () => {
    const alone = new Alone();
    alone.step(appendEntries());
    const asked = requestVote({
      from: 'c',
      term: 2,
      preVote: true,
      lastLogIndex: 9,
      lastLogTerm: 1,
    });
    expect(ofKind(alone.step(asked), 'requestVoteReply')[0]?.voteGranted).toBe(false);
    for (let ticks = 0; ticks < 10; ticks += 1) alone.raft.tick();
    expect(ofKind(alone.step(asked), 'requestVoteReply')[0]?.voteGranted).toBe(true);
  });

  it('a pre-vote changes neither term nor vote, and needs no write', () => {
    const alone = new Alone([], { term: 4 });
    const asked = requestVote({ term: 5, preVote: true });
    const [reply] = ofKind(alone.stepUnsynced(asked), 'requestVoteReply');
    expect(reply).toMatchObject({ voteGranted: true, term: 5, preVote: true });
    expect(alone.server.writes).toEqual([]);
    expect(alone.raft.status()).toMatchObject({ term: 4, vote: undefined });
  });

  it('who has voted in a term helps no other candidate of it', () => {
    const alone = new Alone();
    alone.step(requestVote({ from: 'b', term: 1 }));
    const asked = requestVote({ from: 'c', term: 1, preVote: true });
    expect(ofKind(alone.step(asked), 'requestVoteReply')[0]?.voteGranted).toBe(false);
  });

  it('a server that was cut off comes back without an election', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.isolate('c');
    cluster.pass(100);
    cluster.heal();
    cluster.pass(30);
    expect(cluster.raft('a').status()).toMatchObject({ role: 'leader', term: 1 });
    expect(cluster.raft('c').status()).toMatchObject({ role: 'follower', term: 1, leader: 'a' });
  });
});

describe('6.2 Check-quorum', () => {
  it('a leader without a successful round to a majority steps down within an election time-out', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.isolate('a');
    cluster.tick('a', 10);
    cluster.settle();
    cluster.tick('a', 10);
    expect(cluster.raft('a').status().role).not.toBe('leader');
    expect(cluster.raft('a').leader).toBeUndefined();
  });

  it('one that reaches a majority goes on', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.isolate('c');
    cluster.pass(50);
    expect(cluster.raft('a').role).toBe('leader');
  });

  it('a leader that can send but not hear steps down, and the others elect one', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    for (const id of ['b', 'c']) cluster.cut.add(`${id}>a`);
    cluster.pass(60);
    expect(['b', 'c']).toContain(cluster.leader?.id);
  });
});

describe('no dead end', () => {
  it('a leader of an earlier term learns of the later one from whoever it reaches', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    // c has campaigned while it heard nobody, and is now alone in term 5.
    cluster.crash('c');
    cluster.server('c').disk.hardState = { term: 5, vote: 'c' };
    cluster.restart('c');
    cluster.pass(40);
    expect(cluster.leader?.raft.term).toBeGreaterThan(5);
    expect(cluster.raft('c').leader).toBe(cluster.leader?.id);
  });

  it('a pre-vote of an earlier term is answered with the term', () => {
    const alone = new Alone([], { term: 7 });
    const sent = alone.step(requestVote({ term: 3, preVote: true }));
    expect(sent).toEqual([expect.objectContaining({ voteGranted: false, term: 7, preVote: true })]);
    const behind = new Alone([], { term: 2 });
    behind.timeOut();
    behind.step(requestVoteReply({ term: 7, preVote: true, voteGranted: false }));
    expect(behind.raft.term).toBe(7);
  });

  it('five servers of which only one reaches the others elect that one', () => {
    const ids = ['a', 'b', 'c', 'd', 'e'];
    const cluster = new Cluster({ servers: ids });
    cluster.elect('e');
    for (const from of ids) {
      for (const to of ids)
        if (from !== to && from !== 'a' && to !== 'a') cluster.cut.add(`${from}>${to}`);
    }
    cluster.pass(100);
    expect(cluster.leader?.id).toBe('a');
  });

  it('a ring in which each server misses one: there is a leader', () => {
    const ids = ['a', 'b', 'c', 'd', 'e'];
    const cluster = new Cluster({ servers: ids });
    for (const [at, from] of ids.entries()) {
      const missed = ids[(at + 2) % ids.length] ?? '';
      cluster.cut.add(`${from}>${missed}`);
    }
    cluster.pass(200);
    expect(cluster.leader).toBeDefined();
  });

  it('messages to another server, from itself or of an impossible term are ignored', () => {
    const alone = new Alone();
    expect(alone.step(heartbeat({ to: 'z', term: 9 }))).toEqual([]);
    expect(alone.step(heartbeat({ from: 'a', term: 9 }))).toEqual([]);
    expect(alone.step(heartbeat({ term: 2 ** 50 }))).toEqual([]);
    expect(alone.raft.term).toBe(0);
  });
});

describe('the leader of a term', () => {
  it('has the vote of whoever follows it, so that nobody else can get it after a restart', () => {
    const alone = new Alone();
    alone.step(appendEntries({ from: 'c', term: 3 }));
    alone.restart();
    const [reply] = ofKind(alone.step(requestVote({ from: 'b', term: 3 })), 'requestVoteReply');
    expect(reply?.voteGranted).toBe(false);
  });

  it('of a cluster of one is elected by its first tick', () => {
    const cluster = new Cluster({ servers: ['a'] });
    cluster.tick('a');
    cluster.settle();
    expect(cluster.raft('a').role).toBe('leader');
  });
});
