/**
 * Damage in a replica's own log (storage.md, "Recovery"): it does not stand for election and does
 * not acknowledge past it, gets the entries back from peers, and nothing that was acknowledged is
 * forgotten on the way.
 */

import { describe, expect, it } from 'vitest';
import type { FaultyRange, Message } from '#raft';
import { Cluster } from './cluster.ts';
import {
  Alone,
  appendEntries,
  entries,
  entry,
  heartbeat,
  ofKind,
  requestVote,
  requestVoteReply,
} from './messages.ts';

/** Entries of these terms on its disk, and this part of them damaged. */
function damaged(terms: readonly number[], range: FaultyRange): Alone {
  const alone = new Alone(terms);
  alone.server.disk.faulty = [range];
  alone.restart();
  return alone;
}

const granted = (sent: readonly Message[]): boolean | undefined =>
  ofKind(sent, 'requestVoteReply')[0]?.voteGranted;

describe('a replica with a faulty range', () => {
  it('does not stand for election', () => {
    const alone = damaged([1, 1, 1], { from: 2, through: 2 });
    for (let ticks = 0; ticks < 100; ticks += 1) alone.raft.tick();
    expect(alone.raft.role).toBe('follower');
    // Nor does it disturb anybody with a later term when it comes back.
    expect(alone.raft.term).toBe(1);
    alone.step(heartbeat());
    alone.step({ kind: 'timeoutNow', from: 'b', to: 'a', term: 1 });
    expect(alone.raft.term).toBe(1);
  });

  it('does not acknowledge past it', () => {
    const alone = damaged([1, 1, 1], { from: 2, through: 2 });
    const sent = alone.step(
      appendEntries({ prevLogIndex: 3, prevLogTerm: 1, entries: [entry(4, 1)] }),
    );
    expect(ofKind(sent, 'appendEntriesReply')).toEqual([
      expect.objectContaining({ success: true, matchIndex: 1 }),
    ]);
  });

  it('acknowledges past it where its checkpoint covers it: the log is not needed there', () => {
    for (const [through, matchIndex] of [
      [2, 4],
      [3, 2],
    ] as const) {
      const alone = damaged([1, 1, 1], { from: 2, through });
      const { disk } = alone.server;
      disk.checkpoint = { ...disk.checkpoint, index: 2, term: 1, serveFrom: 2 };
      alone.restart();
      const message = { prevLogIndex: 3, prevLogTerm: 1, entries: [entry(4, 1)] };
      const replies = ofKind(alone.step(appendEntries(message)), 'appendEntriesReply');
      expect(Math.max(...replies.map((reply) => reply.matchIndex))).toBe(matchIndex);
    }
  });

  it('wants a checkpoint where its own covers only a part of it, and its leader has no entries', () => {
    const alone = damaged([1, 1, 1, 1], { from: 2, through: 3 });
    const { disk } = alone.server;
    disk.checkpoint = { ...disk.checkpoint, index: 2, term: 1, serveFrom: 2 };
    alone.restart();
    alone.step(appendEntries({ prevLogIndex: 4, prevLogTerm: 1, leaderCommit: 4 }));
    const replies: unknown[] = [];
    for (let ticks = 0; ticks < 100; ticks += 1) {
      alone.raft.tick();
      const sent = alone.sync();
      replies.push(...ofKind(sent, 'appendEntriesReply').filter(({ tailLost }) => tailLost));
      for (const { to, ...request } of ofKind(sent, 'repairRequest')) {
        const answer = { answer: 'unknown', entries: [] } as const;
        alone.step({ ...request, ...answer, kind: 'repairReply', from: to, to: 'a' });
      }
      alone.step(heartbeat());
    }
    expect(replies[0]).toMatchObject({ success: false, rejectedIndex: 3, hintIndex: 2 });
  });

  it('votes if the end of its log is known, and not if it is not', () => {
    const asked = requestVote({ term: 5, lastLogIndex: 3, lastLogTerm: 1 });
    expect(granted(damaged([1, 1, 1], { from: 2, through: 2 }).step(asked))).toBe(true);
    expect(granted(damaged([1, 1, 1], { from: 3, through: 3, throughTerm: 1 }).step(asked))).toBe(
      true,
    );
    expect(granted(damaged([1, 1, 1], { from: 3, through: 3 }).step(asked))).toBe(false);
    expect(granted(damaged([1, 1, 1], { from: 4, through: undefined }).step(asked))).toBe(false);
  });

  it('gets the entries back from its leader, in place, and acknowledges again', () => {
    const alone = damaged([1, 1, 1, 1], { from: 2, through: 3 });
    alone.step(appendEntries({ prevLogIndex: 4, prevLogTerm: 1 }));
    alone.raft.tick();
    const [request] = ofKind(alone.sync(), 'repairRequest');
    expect(request).toMatchObject({
      to: 'b',
      fromIndex: 2,
      throughIndex: 3,
      anchorIndex: 4,
      anchorTerm: 1,
    });
    const sent = alone.step({
      kind: 'repairReply',
      from: 'b',
      to: 'a',
      term: 1,
      fromIndex: 2,
      throughIndex: 3,
      anchorIndex: 4,
      anchorTerm: 1,
      answer: 'have',
      entries: [entry(2, 1, 'two'), entry(3, 1, 'three')],
    });
    expect(alone.log).toEqual(['1/1 e1', '2/1 two', '3/1 three', '4/1 e4']);
    expect(alone.raft.status().faulty).toEqual([]);
    expect(ofKind(sent, 'appendEntriesReply').at(-1)?.matchIndex).toBe(4);
  });

  it('a repair in pieces goes on where it was', () => {
    const alone = damaged([1, 1, 1, 1], { from: 2, through: 3 });
    alone.step(heartbeat());
    const reply = { kind: 'repairReply', from: 'b', to: 'a', term: 1, answer: 'have' } as const;
    alone.step({
      ...reply,
      fromIndex: 2,
      throughIndex: 3,
      anchorIndex: 4,
      anchorTerm: 1,
      entries: [entry(2, 1)],
    });
    expect(alone.raft.status().faulty).toEqual([{ from: 3, through: 3 }]);
    alone.raft.tick();
    expect(ofKind(alone.sync(), 'repairRequest')[0]).toMatchObject({ fromIndex: 3 });
  });

  it('it is acknowledged only when the repaired entries are on stable storage', () => {
    const alone = damaged([1, 1, 1], { from: 2, through: 2 });
    alone.step(appendEntries({ prevLogIndex: 3, prevLogTerm: 1 }));
    const reply = { kind: 'repairReply', from: 'b', to: 'a', term: 1, answer: 'have' } as const;
    const sent = alone.stepUnsynced({
      ...reply,
      fromIndex: 2,
      throughIndex: 2,
      anchorIndex: 3,
      anchorTerm: 1,
      entries: [entry(2, 1)],
    });
    expect(ofKind(sent, 'appendEntriesReply')).toEqual([]);
    expect(alone.raft.status().faulty).toHaveLength(1);
  });

  it('an answer for an anchor that was overwritten since is ignored', () => {
    const alone = damaged([1, 1, 1], { from: 2, through: 2 });
    const reply = { kind: 'repairReply', from: 'c', to: 'a', term: 1, answer: 'have' } as const;
    const range = { fromIndex: 2, throughIndex: 2, anchorIndex: 3, anchorTerm: 1 };
    const other = [entry(2, 2), entry(3, 2)];
    alone.step(appendEntries({ term: 2, prevLogIndex: 1, prevLogTerm: 1, entries: other }));
    alone.step({ ...reply, ...range, entries: [entry(2, 1, 'stale')] });
    expect(alone.log).not.toContain('2/1 stale');
    expect(alone.raft.status().faulty).toHaveLength(1);
  });

  it('stays where it is when only what follows it conflicts, and is asked for anew', () => {
    // Entry 3 is damaged and unknown; the leader's log goes another way from 4 on.
    const alone = damaged([1, 1, 1, 1], { from: 3, through: 3 });
    const rest = { term: 2, prevLogIndex: 2, prevLogTerm: 1 };
    alone.step(appendEntries({ ...rest, entries: [entry(3, 1), entry(4, 2)] }));
    expect(alone.log).toEqual(['1/1 e1', '2/1 e2', '3/1 e3', '4/2 e4']);
    expect(alone.raft.status()).toMatchObject({
      tailLost: false,
      faulty: [{ from: 3, through: 3 }],
    });
    alone.raft.tick();
    const [request] = ofKind(alone.sync(), 'repairRequest');
    expect(request).toMatchObject({ fromIndex: 3, anchorIndex: 4, anchorTerm: 2 });
  });

  it('a leader that finds damage in its own log hands over', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.settle();
    cluster.raft('a').damaged({ from: 2, through: 2 });
    cluster.settle();
    expect(cluster.leader?.id).toBe('b');
    cluster.pass(3);
    expect(cluster.raft('a').status().faulty).toEqual([]);
  });

  it('a candidate that finds damage stands no more', () => {
    const alone = new Alone([1, 1]);
    alone.campaign();
    alone.raft.damaged({ from: 1, through: 1 });
    alone.step(requestVoteReply({ term: 2 }));
    expect(alone.raft.role).toBe('follower');
  });

  it('what the log does not hold is no damage', () => {
    const alone = new Alone([1]);
    alone.raft.damaged({ from: 5, through: 6 });
    expect(alone.raft.status().faulty).toEqual([]);
  });
});

describe('the answer to a peer that repairs', () => {
  const asked = (some: Partial<Extract<Message, { kind: 'repairRequest' }>> = {}): Message => ({
    kind: 'repairRequest',
    from: 'b',
    to: 'a',
    term: 3,
    fromIndex: 2,
    throughIndex: 2,
    anchorIndex: 3,
    anchorTerm: 2,
    ...some,
  });
  const answerOf = (alone: Alone, message: Message): string | undefined =>
    ofKind(alone.step(message), 'repairReply')[0]?.answer;

  it('have: it holds the anchor, and so the same entries before it', () => {
    const alone = new Alone([1, 2, 2], { term: 3 });
    const [reply] = ofKind(alone.step(asked()), 'repairReply');
    expect(reply).toMatchObject({ answer: 'have', fromIndex: 2 });
    expect(reply?.entries.map(({ index, term }) => [index, term])).toEqual([[2, 2]]);
  });

  it('don’t have: its log ends before the anchor, or has another entry there', () => {
    expect(answerOf(new Alone([1, 2], { term: 3 }), asked())).toBe('dontHave');
    expect(answerOf(new Alone([1, 1, 1], { term: 3 }), asked())).toBe('dontHave');
  });

  it('a damaged copy never says don’t have', () => {
    expect(answerOf(damaged([1, 2, 2], { from: 2, through: 2 }), asked())).toBe('unknown');
    expect(answerOf(damaged([1, 2], { from: 3, through: undefined }), asked())).toBe('unknown');
  });

  it('nor does one whose log starts behind the range, or that has writes under way', () => {
    const alone = new Alone([1, 1, 1], { term: 3 });
    alone.step(appendEntries({ term: 3, prevLogIndex: 3, prevLogTerm: 1, leaderCommit: 3 }));
    alone.cluster.compact('a');
    expect(answerOf(alone, asked({ fromIndex: 3, throughIndex: 3, anchorIndex: 4 }))).toBe(
      'unknown',
    );
    const writing = new Alone([1, 1, 1], { term: 3 });
    writing.stepUnsynced(
      appendEntries({ term: 3, prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 3)] }),
    );
    expect(ofKind(writing.stepUnsynced(asked()), 'repairReply')).toEqual([]);
    expect(ofKind(writing.sync(), 'repairReply')[0]?.answer).toBe('unknown');
  });

  it('without an anchor: have, where the range is known committed here too', () => {
    const alone = new Alone([1, 1], { term: 1 });
    const committed = asked({ term: 1, anchorIndex: 0, anchorTerm: 0 });
    expect(answerOf(alone, committed)).toBe('unknown');
    alone.step(appendEntries({ prevLogIndex: 2, prevLogTerm: 1, leaderCommit: 2 }));
    expect(answerOf(alone, committed)).toBe('have');
  });

  it('a request of a later term does not disturb who hears from a leader', () => {
    const alone = new Alone([1, 2, 2], { term: 3 });
    alone.step(heartbeat({ term: 3 }));
    expect(alone.step(asked({ from: 'c', term: 9 }))).toEqual([]);
    expect(alone.raft.term).toBe(3);
  });
});

describe('without a leader', () => {
  it('two damaged replicas repair each other, and then one leads', () => {
    const cluster = new Cluster();
    for (const { id } of cluster.servers) {
      cluster.crash(id);
      const { disk } = cluster.server(id);
      disk.entries = id === 'c' ? entries(1) : entries(1, 1, 1, 1);
      disk.hardState = { term: 1, vote: 'a' };
    }
    cluster.server('a').disk.faulty = [{ from: 3, through: 3 }];
    cluster.server('b').disk.faulty = [{ from: 2, through: 2 }];
    for (const { id } of cluster.servers) cluster.restart(id);
    cluster.pass(60);
    expect(cluster.leader?.id).not.toBe('c');
    for (const id of ['a', 'b', 'c']) {
      expect(cluster.server(id).log.slice(0, 4)).toEqual(['1/1 e1', '2/1 e2', '3/1 e3', '4/1 e4']);
    }
  });

  it('what nobody has, and was never committed, makes way for the next leader', () => {
    const cluster = new Cluster();
    for (const { id } of cluster.servers) {
      cluster.crash(id);
      const { disk } = cluster.server(id);
      disk.entries = id === 'a' ? entries(1, 1, 1) : entries(1);
      disk.hardState = { term: 1, vote: 'a' };
    }
    cluster.server('a').disk.faulty = [{ from: 2, through: 2 }];
    for (const { id } of cluster.servers) cluster.restart(id);
    cluster.pass(40);
    expect(cluster.leader?.id).not.toBe('a');
    expect(cluster.server('a').log).toEqual(['1/1 e1', '2/2 -']);
    expect(cluster.raft('a').status()).toMatchObject({ faulty: [], tailLost: false });
  });

  it('what a majority may have stays, damaged, and is asked for', () => {
    const cluster = new Cluster();
    cluster.crash('c');
    cluster.crash('a');
    const { disk } = cluster.server('a');
    disk.entries = entries(1, 1, 1);
    disk.hardState = { term: 1, vote: 'a' };
    disk.faulty = [{ from: 2, through: 2 }];
    cluster.restart('a');
    cluster.pass(100);
    expect(cluster.raft('a').status().faulty).toEqual([{ from: 2, through: 2 }]);
    expect(cluster.leader).toBeUndefined();
  });
});

describe('damage across the commit index', () => {
  it('what is committed is got back first, and what cannot follow it goes', () => {
    // It led term 1 alone with entries 2 to 5; 2 to 4 are damaged. Term 2 ends at 3.
    const alone = damaged([1, 1, 1, 1, 1], { from: 2, through: 4 });
    const rest = { term: 2, prevLogIndex: 1, prevLogTerm: 1, leaderCommit: 3 };
    alone.step(appendEntries({ ...rest, entries: [entry(2, 2), entry(3, 2)] }));
    alone.raft.tick();
    const [request] = ofKind(alone.sync(), 'repairRequest');
    expect(request).toMatchObject({ fromIndex: 2, throughIndex: 3, anchorIndex: 0 });
    alone.step({
      kind: 'repairReply',
      from: 'b',
      to: 'a',
      term: 2,
      fromIndex: 2,
      throughIndex: 3,
      anchorIndex: 0,
      anchorTerm: 0,
      answer: 'have',
      entries: [entry(2, 2, 'two'), entry(3, 2, 'three')],
    });
    expect(alone.log).toEqual(['1/1 e1', '2/2 two', '3/2 three']);
    alone.raft.tick();
    alone.sync();
    expect(alone.raft.status()).toMatchObject({ faulty: [], applied: 3, accepted: 3 });
  });
});

describe('an end that was lost', () => {
  /** Entries 1 and 2 are sound; what was behind them, nobody knows. */
  const cutOff = (): Alone => damaged([1, 1], { from: 3, through: undefined });

  it('is cut off for the leader’s entries, and that is remembered before it is', () => {
    const alone = cutOff();
    alone.step(appendEntries({ prevLogIndex: 2, prevLogTerm: 1, entries: [entry(3, 1, 'new')] }));
    expect(alone.log).toEqual(['1/1 e1', '2/1 e2', '3/1 new']);
    expect(alone.server.disk).toMatchObject({ faulty: [], hardState: { tailLost: true } });
    alone.restart();
    expect(alone.raft.status().tailLost).toBe(true);
  });

  it('a leader that has nothing new to send is told, too', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    for (const text of ['x', 'y']) cluster.propose('a', text);
    cluster.settle();
    cluster.crash('c');
    const { disk } = cluster.server('c');
    disk.entries = disk.entries.slice(0, 1);
    disk.faulty = [{ from: 2, through: undefined }];
    cluster.restart('c');
    cluster.pass(15);
    expect(cluster.server('c').log).toHaveLength(3);
    expect(cluster.raft('c').status()).toMatchObject({ tailLost: false, faulty: [] });
  });

  it('it neither votes nor stands until it has all that its leader had when it was asked', () => {
    const alone = cutOff();
    alone.step(appendEntries({ prevLogIndex: 2, prevLogTerm: 1, entries: [entry(3, 1)] }));
    alone.raft.tick();
    const [question] = ofKind(alone.sync(), 'readIndexRequest');
    const id = question?.id ?? 0;
    alone.step({
      kind: 'readIndexReply',
      from: 'b',
      to: 'a',
      term: 1,
      id,
      index: 3,
      lastLogIndex: 4,
    });
    expect(alone.raft.status().tailLost).toBe(true);
    alone.step(appendEntries({ prevLogIndex: 3, prevLogTerm: 1, entries: [entry(4, 1)] }));
    expect(alone.raft.status().tailLost).toBe(false);
    alone.timeOut();
    expect(alone.raft.role).toBe('preCandidate');
  });

  it('its leader begins anew with it: what it acknowledged before does not hold', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    for (const text of ['x', 'y', 'z']) cluster.propose('a', text);
    cluster.settle();
    cluster.crash('c');
    const { disk } = cluster.server('c');
    disk.entries = disk.entries.slice(0, 2);
    disk.faulty = [{ from: 3, through: undefined }];
    cluster.restart('c');
    cluster.propose('a', 'later');
    cluster.pass(6);
    expect(cluster.server('c').applied).toEqual(['x', 'y', 'z', 'later']);
    const peer = cluster
      .raft('a')
      .status()
      .peers.find(({ id }) => id === 'c');
    expect(peer).toMatchObject({ session: 3, matchIndex: 5, state: 'replicate' });
    expect(cluster.raft('c').status().tailLost).toBe(false);
  });
});
