/**
 * Figure 13 of the Raft paper (InstallSnapshot), as far as it is the core's: which checkpoint is
 * taken, what stays of the log, and what is acknowledged when. Rules 1 to 4 (the transfer itself)
 * are the host's.
 */

import { describe, expect, it } from 'vitest';
import { Cluster, voter } from './cluster.ts';
import { Alone, appendEntries, appendEntriesReply, entry, heartbeat, ofKind } from './messages.ts';

const AB = { index: 0, configuration: { members: [voter('a'), voter('b')] } };

function give(alone: Alone, index: number, term: number, configuration = AB): string {
  const applied = [`state at ${index}`];
  const checkpoint = { index, term, configuration, applied, serveFrom: index };
  alone.server.transfers.set(index, checkpoint);
  const outcome = alone.raft.install(checkpoint);
  return outcome.kind === 'refused' ? outcome.code : outcome.kind;
}

describe('InstallSnapshot, receiver [Raft figure 13]', () => {
  it('5. a checkpoint that is not newer than what is committed is refused', () => {
    const alone = new Alone([1, 1, 1]);
    alone.step(heartbeat({ term: 2 }));
    alone.step(appendEntries({ term: 2, prevLogIndex: 3, prevLogTerm: 1, leaderCommit: 3 }));
    expect(give(alone, 3, 1)).toBe('stale');
    expect(give(alone, 2, 1)).toBe('stale');
    alone.sync();
    expect(alone.log).toHaveLength(3);
  });

  it('5. one at a time: an older transfer cannot come over a newer one', () => {
    const alone = new Alone([1]);
    expect(give(alone, 9, 2)).toBe('accepted');
    expect(give(alone, 8, 2)).toBe('stale');
    expect(give(alone, 10, 2)).toBe('installing');
    alone.sync();
    expect(give(alone, 10, 2)).toBe('accepted');
  });

  it('6. an entry with its index and term: the entries that follow it are retained', () => {
    const alone = new Alone([1, 1, 2, 2]);
    expect(give(alone, 3, 2)).toBe('accepted');
    alone.sync();
    expect(alone.log).toEqual(['4/2 e4']);
    expect(alone.raft.status()).toMatchObject({ start: 4, accepted: 4, durable: 4, applied: 3 });
    expect(alone.raft.termAt(3)).toBe(2);
  });

  it.each([
    ['ends before it', 5, 2],
    ['has another term there', 3, 3],
  ])('7. a log that %s is discarded', (_, index, term) => {
    const alone = new Alone([1, 1, 2, 2]);
    expect(give(alone, index, term)).toBe('accepted');
    alone.sync();
    expect(alone.log).toEqual([]);
    expect(alone.raft.status()).toMatchObject({
      start: index + 1,
      accepted: index,
      applied: index,
    });
    expect(alone.raft.termAt(index)).toBe(term);
  });

  it('8. the state machine is reset, and the configuration of the checkpoint is in use', () => {
    const alone = new Alone([1]);
    const configuration = { index: 4, configuration: { members: [voter('a'), voter('z')] } };
    give(alone, 5, 2, configuration);
    alone.sync();
    expect(alone.server.applied).toEqual(['state at 5']);
    expect(alone.raft.status().configuration).toEqual(configuration);
    alone.restart();
    expect(alone.raft.status().configuration).toEqual(configuration);
  });

  it('8. what was in use before it stays known, for a state that is still being stored', () => {
    const alone = new Alone([1, 1]);
    const before = alone.raft.status().configuration;
    const configuration = { index: 4, configuration: { members: [voter('a'), voter('z')] } };
    expect(give(alone, 5, 2, configuration)).toBe('accepted');
    expect(alone.raft.configurationAt(2)).toEqual(before);
    expect(alone.raft.configurationAt(5)).toEqual(configuration);
    alone.sync();
    expect(alone.raft.configurationAt(2)).toEqual(before);
  });

  it('8. a configuration behind the checkpoint, in entries that are retained, stays in use', () => {
    const alone = new Alone([1, 1]);
    const members = [voter('a'), voter('b'), voter('c'), voter('d')];
    const change = { ...entry(3, 1), kind: 'configuration', configuration: { members } } as const;
    alone.step(appendEntries({ prevLogIndex: 2, prevLogTerm: 1, entries: [change] }));
    give(alone, 2, 1);
    alone.sync();
    expect(alone.raft.status().configuration.index).toBe(3);
  });

  it('nothing is applied between the call and its write, and then from behind it', () => {
    const alone = new Alone([], { term: 1 });
    give(alone, 5, 1);
    alone.stepUnsynced(
      appendEntries({ prevLogIndex: 5, prevLogTerm: 1, entries: [entry(6, 1)], leaderCommit: 6 }),
    );
    expect(alone.server.applied).toEqual([]);
    alone.sync();
    expect(alone.server.applied).toEqual(['state at 5', 'e6']);
  });

  it('it is refused while entries are being applied', () => {
    const alone = new Alone([1, 1]);
    alone.server.isApplyHeld = true;
    alone.step(appendEntries({ prevLogIndex: 2, prevLogTerm: 1, leaderCommit: 2 }));
    expect(give(alone, 5, 1)).toBe('applying');
    alone.cluster.apply('a');
    expect(give(alone, 5, 1)).toBe('accepted');
  });

  it('it is acknowledged when it is on stable storage; before that, no entry of the old log is', () => {
    // Entries 1 to 4 are of a leader that failed: the cluster went another way.
    const alone = new Alone([1, 1, 1, 1], { term: 3 });
    alone.step(heartbeat({ term: 3 }));
    give(alone, 9, 2);
    const sent = alone.stepUnsynced(appendEntries({ term: 3, prevLogIndex: 9, prevLogTerm: 2 }));
    expect(ofKind(sent, 'appendEntriesReply').map(({ matchIndex }) => matchIndex)).toEqual([]);
    const later = ofKind(alone.sync(), 'appendEntriesReply');
    expect(later.map(({ matchIndex }) => matchIndex)).toEqual([9]);
  });

  it('a late completion of a write of the old log makes nothing of the new one durable', () => {
    const alone = new Alone([1], { term: 1 });
    const old = { prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 1), entry(3, 1)] };
    alone.stepUnsynced(appendEntries(old));
    give(alone, 3, 2);
    alone.cluster.run('a');
    alone.cluster.sync('a', 1);
    expect(alone.raft.status().durable).toBeLessThan(2);
  });

  it('it stands for election once its log has what was told gone; to apply it may need a leader', () => {
    const alone = new Alone([], { term: 1 });
    const checkpoint = { index: 5, term: 1, configuration: AB, applied: [], serveFrom: 7 };
    alone.server.transfers.set(5, checkpoint);
    alone.raft.install(checkpoint);
    alone.sync();
    expect(alone.server.disk.checkpoint.serveFrom).toBe(7);
    alone.restart();
    for (let ticks = 0; ticks < 100; ticks += 1) alone.raft.tick();
    expect(alone.raft.role).toBe('follower');
    const rest = { prevLogIndex: 5, prevLogTerm: 1, entries: [entry(6, 1), entry(7, 1)] };
    alone.step(appendEntries({ ...rest, leaderCommit: 5 }));
    alone.timeOut();
    expect(alone.raft.status()).toMatchObject({ role: 'preCandidate', applied: 5 });
  });
});

describe('a follower behind the log’s start [Raft 7]', () => {
  function behind(): Cluster {
    const cluster = new Cluster();
    cluster.crash('c');
    cluster.elect('a');
    for (const text of ['x', 'y', 'z']) cluster.propose('a', text);
    cluster.settle();
    cluster.compact('a');
    cluster.restart('c');
    cluster.pass(3);
    return cluster;
  }

  it('the leader asks its host for a checkpoint, once, and sends no entries meanwhile', () => {
    const cluster = behind();
    cluster.pass(5);
    const { catchUps, raft } = cluster.server('a');
    expect(catchUps).toEqual([{ to: 'c', session: 2, least: 0 }]);
    expect(raft.status().peers[1]).toMatchObject({ state: 'catchUp', matchIndex: 0 });
  });

  it('once it is installed, entries follow from behind it', () => {
    const cluster = behind();
    cluster.transfer('a', 'c');
    cluster.propose('a', 'later');
    cluster.settle();
    cluster.pass(2);
    expect(cluster.server('c').applied).toEqual(['x', 'y', 'z', 'later']);
    expect(cluster.raft('a').status().peers[1]).toMatchObject({ state: 'replicate' });
  });

  it('a transfer that came to nothing is asked for again', () => {
    const cluster = behind();
    cluster.raft('a').catchUpEnded('c', 2);
    cluster.pass(2);
    expect(cluster.server('a').catchUps).toHaveLength(2);
  });

  it('and not before the peer has answered a heartbeat: not as fast as it is refused', () => {
    const cluster = behind();
    for (let refused = 0; refused < 5; refused++) {
      cluster.raft('a').catchUpEnded('c', 2);
      cluster.settle();
    }
    expect(cluster.server('a').catchUps).toHaveLength(1);
    cluster.pass(2);
    expect(cluster.server('a').catchUps).toHaveLength(2);
  });

  it('the end of an earlier session’s transfer changes nothing', () => {
    const cluster = behind();
    cluster.raft('a').catchUpEnded('c', 1);
    cluster.pass(2);
    expect(cluster.server('a').catchUps).toHaveLength(1);
  });

  it('a leader is given no checkpoint', () => {
    const alone = new Alone();
    alone.lead();
    alone.step(appendEntriesReply({ matchIndex: 1 }));
    expect(give(alone, 9, 1)).toBe('stale');
  });
});
