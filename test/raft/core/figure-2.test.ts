/**
 * Every sentence of figure 2 of the Raft paper ("A condensed summary of the Raft consensus
 * algorithm"), each by one server that is given messages by hand.
 *
 * Where the core differs on purpose the title says so: a follower becomes a candidate by way of a
 * pre-vote (thesis 9.6), and a first entry takes the place of the empty AppendEntries.
 */

import { describe, expect, it } from 'vitest';
import { Cluster } from './cluster.ts';
import {
  Alone,
  appendEntries,
  appendEntriesReply,
  entries,
  entry,
  heartbeat,
  ofKind,
  requestVote,
  requestVoteReply,
} from './messages.ts';

describe('State [Raft figure 2]', () => {
  it('currentTerm: initialized to 0 on first boot', () => {
    expect(new Alone().raft.term).toBe(0);
  });

  it('currentTerm: latest term the server has seen, increases monotonically', () => {
    const alone = new Alone();
    alone.step(heartbeat({ term: 5 }));
    alone.step(heartbeat({ term: 3 }));
    expect(alone.raft.term).toBe(5);
  });

  it('votedFor: the candidate that received its vote in the current term, or none', () => {
    const alone = new Alone();
    expect(alone.raft.status().vote).toBeUndefined();
    alone.step(requestVote({ from: 'c', term: 2 }));
    expect(alone.raft.status().vote).toBe('c');
    alone.step(requestVoteReply({ term: 3, voteGranted: false }));
    expect(alone.raft.status().vote).toBeUndefined();
  });

  it('log[]: the first index is 1', () => {
    const alone = new Alone();
    alone.step(appendEntries({ entries: entries(1) }));
    expect(alone.log).toEqual(['1/1 e1']);
  });

  it('currentTerm, votedFor and log[] are updated on stable storage before responding: a vote', () => {
    const alone = new Alone();
    expect(alone.stepUnsynced(requestVote({ term: 2 }))).toEqual([]);
    const [reply] = ofKind(alone.sync(), 'requestVoteReply');
    expect(reply?.voteGranted).toBe(true);
    expect(alone.server.disk.hardState).toMatchObject({ term: 2, vote: 'b' });
  });

  it('currentTerm, votedFor and log[] are updated on stable storage before responding: entries', () => {
    const alone = new Alone([], { term: 1 });
    alone.step(heartbeat());
    expect(alone.stepUnsynced(appendEntries({ entries: entries(1, 1) }))).toEqual([]);
    const [reply] = ofKind(alone.sync(), 'appendEntriesReply');
    expect(reply).toMatchObject({ success: true, matchIndex: 2 });
    expect(alone.log).toHaveLength(2);
  });

  it('currentTerm, votedFor and log[] are updated on stable storage: they outlive a crash', () => {
    const alone = new Alone();
    alone.step(requestVote({ from: 'c', term: 4 }));
    alone.step(appendEntries({ from: 'c', term: 4, entries: entries(1, 4) }));
    alone.restart();
    expect(alone.raft.status()).toMatchObject({ term: 4, vote: 'c', accepted: 2 });
    const [reply] = ofKind(
      alone.step(requestVote({ from: 'b', term: 4, lastLogIndex: 9, lastLogTerm: 4 })),
      'requestVoteReply',
    );
    expect(reply?.voteGranted).toBe(false);
  });

  it('commitIndex and lastApplied: initialized to 0', () => {
    expect(new Alone([1, 1]).raft.status()).toMatchObject({ commitIndex: 0, applied: 0 });
  });

  it('commitIndex and lastApplied: increase monotonically', () => {
    const alone = new Alone([], { term: 1 });
    alone.step(appendEntries({ entries: entries(1, 1, 1), leaderCommit: 3 }));
    alone.step(appendEntries({ prevLogIndex: 3, prevLogTerm: 1, leaderCommit: 1 }));
    alone.step(heartbeat({ leaderCommit: 2 }));
    expect(alone.raft.status()).toMatchObject({ commitIndex: 3, applied: 3 });
  });

  it('nextIndex[]: initialized to the leader’s last log index + 1', () => {
    const alone = new Alone([1, 1]);
    // Its own first entry is 3: what comes behind the log as it was when it won.
    const appends = ofKind(alone.lead(), 'appendEntries');
    expect(appends.map(({ to, prevLogIndex }) => [to, prevLogIndex])).toEqual([
      ['b', 2],
      ['c', 2],
    ]);
  });

  it('matchIndex[]: initialized to 0, increases monotonically', () => {
    const alone = new Alone([1, 1]);
    alone.lead();
    const match = (): number | undefined => alone.raft.status().peers[0]?.matchIndex;
    expect(match()).toBe(0);
    alone.step(appendEntriesReply({ term: 2, matchIndex: 3 }));
    alone.step(appendEntriesReply({ term: 2, matchIndex: 1 }));
    alone.step(appendEntriesReply({ term: 2, success: false, rejectedIndex: 2 }));
    expect(match()).toBe(3);
  });
});

describe('AppendEntries RPC, receiver [Raft figure 2]', () => {
  it('1. replies false if term < currentTerm [Raft 5.1]', () => {
    const alone = new Alone([1], { term: 3 });
    const sent = alone.step(
      appendEntries({ term: 2, prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 2)] }),
    );
    expect(sent).toEqual([
      expect.objectContaining({ kind: 'appendEntriesReply', success: false, term: 3 }),
    ]);
    expect(alone.log).toEqual(['1/1 e1']);
  });

  it.each([
    ['the log is shorter', 3, 2],
    ['the term there is another', 2, 1],
  ])('2. replies false if %s at prevLogIndex [Raft 5.3]', (_, prevLogIndex, prevLogTerm) => {
    const alone = new Alone([1, 2]);
    const [reply] = ofKind(
      alone.step(
        appendEntries({
          term: 3,
          prevLogIndex,
          prevLogTerm,
          entries: [entry(prevLogIndex + 1, 3)],
        }),
      ),
      'appendEntriesReply',
    );
    expect(reply).toMatchObject({ success: false, rejectedIndex: prevLogIndex, term: 3 });
    expect(alone.log).toEqual(['1/1 e1', '2/2 e2']);
  });

  it('2. also if there are no entries in it', () => {
    const alone = new Alone([1, 2]);
    const sent = alone.step(
      appendEntries({ term: 3, prevLogIndex: 2, prevLogTerm: 1, leaderCommit: 2 }),
    );
    expect(ofKind(sent, 'appendEntriesReply')[0]).toMatchObject({ success: false });
    expect(alone.raft.commitIndex).toBe(0);
  });

  it('3. an existing entry that conflicts is deleted, with all that follow it [Raft 5.3]', () => {
    const alone = new Alone([1, 2, 2, 2]);
    alone.step(
      appendEntries({ term: 3, prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 3, 'new')] }),
    );
    expect(alone.log).toEqual(['1/1 e1', '2/3 new']);
  });

  it('3. entries that do not conflict stay, although they follow the last new one', () => {
    const alone = new Alone([1, 2, 2, 2]);
    alone.step(appendEntries({ term: 3, prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 2)] }));
    alone.step(appendEntries({ term: 3, prevLogIndex: 1, prevLogTerm: 1 }));
    expect(alone.log).toHaveLength(4);
  });

  it('4. appends any new entries not already in the log', () => {
    const alone = new Alone([1, 2]);
    alone.step(
      appendEntries({
        term: 2,
        prevLogIndex: 1,
        prevLogTerm: 1,
        entries: [entry(2, 2), entry(3, 2), entry(4, 2)],
      }),
    );
    expect(alone.log).toEqual(['1/1 e1', '2/2 e2', '3/2 e3', '4/2 e4']);
  });

  it.each([
    ['leaderCommit', 2, 2],
    ['the index of the last new entry', 9, 3],
  ])(
    '5. commitIndex = min(leaderCommit, index of last new entry): %s',
    (_, leaderCommit, commitIndex) => {
      // Entry 4 is in the log, but nobody has said that the leader has it too.
      const alone = new Alone([1, 1, 1, 1]);
      alone.step(
        appendEntries({
          term: 2,
          prevLogIndex: 2,
          prevLogTerm: 1,
          entries: [entry(3, 1)],
          leaderCommit,
        }),
      );
      expect(alone.raft.commitIndex).toBe(commitIndex);
    },
  );

  it('5. by a heartbeat too: nothing of what was not compared with this leader’s log', () => {
    const alone = new Alone([1, 1, 1]);
    alone.step(heartbeat({ term: 2, leaderCommit: 3 }));
    expect(alone.raft.commitIndex).toBe(0);
    alone.step(appendEntries({ term: 2, prevLogIndex: 2, prevLogTerm: 1 }));
    alone.step(heartbeat({ term: 2, leaderCommit: 3 }));
    expect(alone.raft.commitIndex).toBe(2);
  });

  it('results: success if it contained an entry that matches prevLogIndex and prevLogTerm', () => {
    const alone = new Alone([1, 2]);
    const sent = alone.step(appendEntries({ term: 2, prevLogIndex: 2, prevLogTerm: 2 }));
    expect(ofKind(sent, 'appendEntriesReply')).toEqual([
      expect.objectContaining({ success: true, matchIndex: 2 }),
    ]);
  });
});

describe('RequestVote RPC, receiver [Raft figure 2]', () => {
  it('1. replies false if term < currentTerm [Raft 5.1]', () => {
    const alone = new Alone([], { term: 3 });
    const sent = alone.step(requestVote({ term: 2 }));
    expect(sent).toEqual([expect.objectContaining({ voteGranted: false, term: 3 })]);
    expect(alone.raft.status().vote).toBeUndefined();
  });

  it.each([
    ['a later last term', 3, 1, true],
    ['the same last term and a log as long', 2, 2, true],
    ['the same last term and a longer log', 2, 3, true],
    ['the same last term and a shorter log', 2, 1, false],
    ['an earlier last term, however long', 1, 9, false],
  ])('2. up-to-date: %s [Raft 5.4.1]', (_, lastLogTerm, lastLogIndex, voteGranted) => {
    const alone = new Alone([1, 2]);
    const sent = alone.step(requestVote({ term: 4, lastLogTerm, lastLogIndex }));
    expect(sent).toEqual([expect.objectContaining({ voteGranted, term: 4 })]);
  });

  it('2. votedFor is null or candidateId: one vote a term, first come first served [Raft 5.2]', () => {
    const alone = new Alone();
    const votes = ['b', 'c', 'b'].map((from) => {
      const [reply] = ofKind(alone.step(requestVote({ from, term: 1 })), 'requestVoteReply');
      return reply?.voteGranted;
    });
    expect(votes).toEqual([true, false, true]);
  });
});

describe('Rules for all servers [Raft figure 2]', () => {
  it('if commitIndex > lastApplied, log[lastApplied] is applied, in order [Raft 5.3]', () => {
    const alone = new Alone([], { term: 1 });
    alone.step(appendEntries({ entries: entries(1, 1, 1), leaderCommit: 2 }));
    expect(alone.server.applied).toEqual(['e1', 'e2']);
    alone.step(heartbeat({ leaderCommit: 3 }));
    expect(alone.server.applied).toEqual(['e1', 'e2', 'e3']);
  });

  it.each([
    ['AppendEntries', appendEntries({ term: 9 })],
    ['a heartbeat', heartbeat({ term: 9 })],
    ['RequestVote', requestVote({ term: 9, lastLogIndex: 9, lastLogTerm: 9, transfer: true })],
    ['a reply to AppendEntries', appendEntriesReply({ term: 9, success: false })],
    ['a reply to RequestVote', requestVoteReply({ term: 9, voteGranted: false })],
  ])(
    'a term T > currentTerm in %s: currentTerm = T, convert to follower [Raft 5.1]',
    (_, message) => {
      const alone = new Alone();
      alone.lead();
      expect(alone.raft.role).toBe('leader');
      alone.step(message);
      expect(alone.raft.status()).toMatchObject({ role: 'follower', term: 9 });
      expect(alone.server.disk.hardState.term).toBe(9);
    },
  );
});

describe('a follower that comes back in its leader’s term', () => {
  it('commits and applies although nothing new is written', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.settle();
    cluster.pass(2);
    cluster.crash('c');
    cluster.restart('c');
    cluster.pass(12);
    expect(cluster.raft('a').term).toBe(1);
    expect(cluster.server('c').applied).toEqual(['x']);
  });
});

describe('Rules for followers [Raft figure 2, 5.2]', () => {
  it('respond to RPCs from candidates and leaders', () => {
    const alone = new Alone();
    expect(alone.step(requestVote())).toHaveLength(1);
    expect(alone.step(appendEntries())).toHaveLength(1);
    expect(alone.step(heartbeat())).toHaveLength(1);
  });

  it('stand for election when the time-out elapses without a word of the leader (by a pre-vote)', () => {
    const alone = new Alone();
    for (let ticks = 0; ticks < 10; ticks += 1) alone.raft.tick();
    const asked = ofKind(alone.sync(), 'requestVote');
    expect(asked.map(({ to, preVote, term }) => [to, preVote, term])).toEqual([
      ['b', true, 1],
      ['c', true, 1],
    ]);
    expect(alone.raft.status()).toMatchObject({ role: 'preCandidate', term: 0 });
  });

  it.each([
    ['AppendEntries from the current leader', appendEntries()],
    ['a heartbeat from the current leader', heartbeat()],
    ['granting a vote', requestVote({ lastLogIndex: 9, lastLogTerm: 1 })],
  ])('%s puts the time-out off', (_, message) => {
    const alone = new Alone();
    for (let round = 0; round < 10; round += 1) {
      for (let ticks = 0; ticks < 9; ticks += 1) alone.raft.tick();
      alone.step(message);
    }
    expect(alone.raft.role).toBe('follower');
  });

  it('a vote that was not granted does not put it off', () => {
    const alone = new Alone([2]);
    for (let ticks = 0; ticks < 9; ticks += 1) alone.raft.tick();
    alone.step(requestVote({ term: 3, lastLogIndex: 9, lastLogTerm: 1 }));
    alone.raft.tick();
    expect(alone.raft.role).toBe('preCandidate');
  });
});

describe('Rules for candidates [Raft figure 2, 5.2]', () => {
  it('on conversion: increment currentTerm, vote for self, send RequestVote to all others', () => {
    const alone = new Alone([1, 2]);
    const asked = ofKind(alone.campaign(), 'requestVote');
    expect(alone.raft.status()).toMatchObject({ role: 'candidate', term: 3, vote: 'a' });
    expect(alone.server.disk.hardState).toMatchObject({ term: 3, vote: 'a' });
    expect(asked.map(({ to }) => to)).toEqual(['b', 'c']);
    expect(asked[0]).toMatchObject({ term: 3, lastLogIndex: 2, lastLogTerm: 2, preVote: false });
  });

  it('on conversion: reset election timer', () => {
    const alone = new Alone();
    alone.campaign();
    for (let ticks = 0; ticks < 9; ticks += 1) alone.raft.tick();
    expect(alone.raft.role).toBe('candidate');
  });

  it('the vote for self counts only when it is on stable storage', () => {
    const alone = new Alone();
    alone.timeOut();
    alone.stepUnsynced(requestVoteReply({ preVote: true, term: 1 }));
    alone.stepUnsynced(requestVoteReply({ term: 1 }));
    expect(alone.raft.role).toBe('candidate');
    alone.sync();
    expect(alone.raft.role).toBe('leader');
  });

  it('votes from a majority: become leader', () => {
    const alone = new Alone([], { servers: ['a', 'b', 'c', 'd', 'e'] });
    alone.timeOut();
    for (const from of ['b', 'c']) alone.step(requestVoteReply({ from, term: 1, preVote: true }));
    alone.step(requestVoteReply({ from: 'b' }));
    alone.step(requestVoteReply({ from: 'b' }));
    expect(alone.raft.role).toBe('candidate');
    alone.step(requestVoteReply({ from: 'c' }));
    expect(alone.raft.role).toBe('leader');
  });

  it('AppendEntries from the new leader: convert to follower', () => {
    const alone = new Alone();
    alone.campaign();
    alone.step(appendEntries({ from: 'c', term: 1 }));
    expect(alone.raft.status()).toMatchObject({ role: 'follower', leader: 'c', term: 1 });
  });

  it('election timeout elapses: start a new election (by a pre-vote again)', () => {
    const alone = new Alone();
    alone.campaign();
    for (let ticks = 0; ticks < 10; ticks += 1) alone.raft.tick();
    expect(alone.raft.role).toBe('preCandidate');
    alone.step(requestVoteReply({ term: 2, preVote: true }));
    expect(alone.raft.status()).toMatchObject({ role: 'candidate', term: 2 });
  });
});

describe('Rules for leaders [Raft figure 2]', () => {
  it('upon election: AppendEntries to each server (with the first entry of its term) [Raft 5.2, 8]', () => {
    const alone = new Alone();
    const appends = ofKind(alone.lead(), 'appendEntries');
    expect(appends.map(({ to }) => to)).toEqual(['b', 'c']);
    expect(appends[0]?.entries).toEqual([
      expect.objectContaining({ index: 1, term: 1, kind: 'empty' }),
    ]);
  });

  it('heartbeats are repeated during idle periods [Raft 5.2]', () => {
    const alone = new Alone();
    alone.lead();
    for (let ticks = 0; ticks < 3; ticks += 1) {
      alone.raft.tick();
      expect(ofKind(alone.sync(), 'heartbeat').map(({ to }) => to)).toEqual(['b', 'c']);
    }
  });

  it('a command is appended to the local log, and answered after it was applied [Raft 5.3]', () => {
    const alone = new Alone();
    alone.lead();
    const index = alone.cluster.propose('a', 'x');
    expect(index).toBe(2);
    alone.sync();
    expect(alone.log).toEqual(['1/1 -', '2/1 x']);
    expect(alone.server.applied).toEqual([]);
    alone.step(appendEntriesReply({ matchIndex: 2 }));
    expect(alone.server.applied).toEqual(['x']);
  });

  it('last log index >= nextIndex: AppendEntries with the entries from nextIndex on', () => {
    const alone = new Alone();
    alone.lead();
    alone.step(appendEntriesReply({ matchIndex: 1 }));
    alone.cluster.propose('a', 'x');
    alone.cluster.propose('a', 'y');
    const sent = ofKind(alone.sync(), 'appendEntries').filter(({ to }) => to === 'b');
    expect(sent.flatMap((message) => message.entries.map(({ index }) => index))).toEqual([2, 3]);
    expect(sent[0]).toMatchObject({ prevLogIndex: 1, prevLogTerm: 1 });
  });

  it('if successful: update nextIndex and matchIndex for the follower [Raft 5.3]', () => {
    const alone = new Alone([1]);
    alone.lead();
    alone.step(appendEntriesReply({ term: 2, matchIndex: 2 }));
    expect(alone.raft.status().peers[0]).toMatchObject({ matchIndex: 2, nextIndex: 3 });
  });

  it('if it fails because of log inconsistency: decrement nextIndex and retry [Raft 5.3]', () => {
    const alone = new Alone([1, 1, 1]);
    alone.lead();
    const refused = { term: 2, success: false, rejectedIndex: 3, hintIndex: 1, hintTerm: 1 };
    const [retry] = ofKind(alone.step(appendEntriesReply(refused)), 'appendEntries');
    expect(retry).toMatchObject({ to: 'b', prevLogIndex: 1, prevLogTerm: 1 });
    // Entry 4, its own first one, is in memory; 2 and 3 come from the disk and go first.
    expect(retry?.entries.map(({ index }) => index)).toEqual([2, 3]);
  });

  it('N > commitIndex, on a majority, of the current term: commitIndex = N [Raft 5.3, 5.4]', () => {
    const alone = new Alone([1, 1]);
    alone.lead();
    // Entries 1 and 2 are on a majority, but of an earlier term (figure 8).
    alone.step(appendEntriesReply({ term: 2, matchIndex: 2 }));
    expect(alone.raft.commitIndex).toBe(0);
    alone.step(appendEntriesReply({ term: 2, matchIndex: 3 }));
    expect(alone.raft.commitIndex).toBe(3);
  });

  it('its own log counts as far as it is on stable storage', () => {
    const alone = new Alone();
    alone.timeOut();
    alone.step(requestVoteReply({ preVote: true, term: 1 }));
    alone.stepUnsynced(requestVoteReply({ term: 1 }));
    alone.stepUnsynced(appendEntriesReply({ matchIndex: 1 }));
    expect(alone.raft.commitIndex).toBe(0);
    alone.sync();
    expect(alone.raft.commitIndex).toBe(1);
  });
});
