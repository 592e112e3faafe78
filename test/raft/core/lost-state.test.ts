/**
 * A replica whose state cannot be read, and whose log and vote are sound: it promises nothing that
 * it could not keep, breaks nothing that it has promised, and a checkpoint of a peer mends it.
 */

import { describe, expect, it } from 'vitest';
import type { Message } from '#raft';
import { Cluster, voter } from './cluster.ts';
import { Alone, appendEntries, entry, heartbeat, ofKind, requestVote } from './messages.ts';

const ABC = { index: 0, configuration: { members: ['a', 'b', 'c'].map(voter) } };

/** Entries 4 to 6 of terms 1, 2, 2; what lies before is lost. */
function lost(vote?: string): Alone {
  const alone = new Alone();
  const { disk } = alone.server;
  disk.start = 4;
  disk.termBeforeStart = 1;
  disk.entries = [entry(4, 1), entry(5, 2), entry(6, 2)];
  disk.hardState = { term: 2, vote };
  disk.stateLost = true;
  alone.restart();
  return alone;
}

function give(alone: Alone, index: number, term: number): string {
  const checkpoint = {
    index,
    term,
    configuration: ABC,
    applied: [`to ${index}`],
    serveFrom: index,
  };
  alone.server.transfers.set(index, checkpoint);
  const outcome = alone.raft.install(checkpoint);
  return outcome.kind === 'refused' ? outcome.code : outcome.kind;
}

const granted = (messages: readonly Message[]): boolean[] =>
  ofKind(messages, 'requestVoteReply').map(({ voteGranted }) => voteGranted);

describe('a replica without its state', () => {
  it('votes by what its log has, and not against the vote that it has given', () => {
    const ask = { term: 2, lastLogTerm: 2, lastLogIndex: 6 };
    expect(granted(lost('c').step(requestVote({ from: 'b', ...ask })))).toEqual([false]);
    expect(granted(lost('c').step(requestVote({ from: 'c', ...ask })))).toEqual([true]);
    const later = { from: 'b', term: 3, lastLogTerm: 2 };
    expect(granted(lost('c').step(requestVote({ ...later, lastLogIndex: 5 })))).toEqual([false]);
    expect(granted(lost('c').step(requestVote({ ...later, lastLogIndex: 6 })))).toEqual([true]);
  });

  it('does not stand, whatever time passes', () => {
    const alone = lost();
    for (let ticks = 0; ticks < 100; ticks += 1) {
      alone.raft.tick();
      expect(ofKind(alone.sync(), 'requestVote')).toEqual([]);
    }
    expect(alone.raft.term).toBe(2);
  });

  it('keeps what the leader sends, acknowledges none of it, and applies nothing', () => {
    const alone = lost();
    alone.step(heartbeat({ term: 3, leaderCommit: 6 }));
    const append = { term: 3, prevLogIndex: 6, prevLogTerm: 2, leaderCommit: 7 };
    const sent = alone.step(appendEntries({ ...append, entries: [entry(7, 3)] }));
    expect(ofKind(sent, 'appendEntriesReply')).toEqual([]);
    expect(alone.log).toEqual(['4/1 e4', '5/2 e5', '6/2 e6', '7/3 e7']);
    expect(alone.server.appliedEntries).toEqual([]);
    expect(alone.raft.status()).toMatchObject({ stateLost: true, applied: 3, commitIndex: 7 });
  });

  it.each([
    ['just before its log', 3, 1, ['4/1 e4', '5/2 e5', '6/2 e6']],
    ['in its log', 5, 2, ['6/2 e6']],
    ['in its log, which has another entry there', 5, 3, []],
    ['behind its log', 9, 3, []],
  ])('takes a checkpoint %s, and acknowledges again', (_where, index, term, log) => {
    const alone = lost();
    expect(give(alone, index, term)).toBe('accepted');
    alone.sync();
    expect(alone.log).toEqual(log);
    expect(alone.server.applied).toEqual([`to ${index}`]);
    const last = index + log.length;
    expect(alone.raft.status()).toMatchObject({ stateLost: false, accepted: last });
    const append = { term: 4, prevLogIndex: last, prevLogTerm: log.length > 0 ? 2 : term };
    const sent = alone.step(appendEntries({ ...append, entries: [entry(last + 1, 4)] }));
    expect(ofKind(sent, 'appendEntriesReply')).toMatchObject([
      { success: true, matchIndex: last + 1 },
    ]);
  });

  it('takes no checkpoint that would leave a gap before its log', () => {
    const alone = lost();
    expect(give(alone, 2, 1)).toBe('stale');
    expect(alone.log).toHaveLength(3);
  });

  it('takes no checkpoint while what stays of its log is damaged', () => {
    const alone = lost();
    alone.raft.damaged({ from: 5, through: 5 });
    expect(give(alone, 4, 1)).toBe('stale');
    expect(give(alone, 5, 2)).toBe('accepted');
  });

  it('takes one that it has behind what is committed', () => {
    const alone = lost();
    alone.step(appendEntries({ term: 3, prevLogIndex: 6, prevLogTerm: 2, leaderCommit: 6 }));
    expect(give(alone, 4, 1)).toBe('accepted');
    alone.sync();
    expect(alone.server.applied).toEqual(['to 4', 'e5', 'e6']);
  });
});

describe('its leader', () => {
  it('offers a checkpoint where its log would do, once, and counts nothing of it', () => {
    const cluster = new Cluster();
    cluster.pass(20);
    cluster.raft('a').propose(new Uint8Array(1));
    cluster.settle();
    cluster.crash('c');
    cluster.raft('a').catchUpWanted('b', 7);
    cluster.raft('a').catchUpWanted('b', 7);
    cluster.raft('a').catchUpWanted('x', 7);
    cluster.settle();
    expect(cluster.server('a').catchUps).toMatchObject([{ to: 'b', least: 7 }]);
    const { commitIndex } = cluster.raft('a');
    cluster.raft('a').propose(new Uint8Array(1));
    cluster.settle();
    expect(cluster.raft('a').commitIndex).toBe(commitIndex);
    cluster.raft('a').catchUpEnded('b', 1);
    // It is asked what it has when it has answered a heartbeat.
    cluster.pass(2);
    expect(cluster.raft('a').commitIndex).toBe(commitIndex + 1);
  });

  it('may be elected by the vote of one without a state, and commits nothing by it', () => {
    const cluster = new Cluster();
    cluster.pass(20);
    cluster.raft('a').propose(new Uint8Array(1));
    cluster.settle();
    for (const id of ['a', 'b', 'c']) cluster.crash(id);
    cluster.server('b').disk.stateLost = true;
    cluster.restart('a');
    cluster.restart('b');
    cluster.pass(40);
    expect(cluster.raft('a').role).toBe('leader');
    expect(cluster.raft('a').commitIndex).toBe(0);
  });
});
