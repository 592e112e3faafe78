/** Section 3.10 of Ongaro's thesis (leadership transfer extension), and the preferred server. */

import { describe, expect, it } from 'vitest';
import { Cluster, encode } from './cluster.ts';
import { Alone, appendEntries, appendEntriesReply, ofKind, timeoutNow } from './messages.ts';

function led(): Alone {
  const alone = new Alone();
  alone.lead();
  alone.step(appendEntriesReply({ matchIndex: 1 }));
  return alone;
}

describe('3.10 Leadership transfer extension', () => {
  it('1. the prior leader stops accepting new client requests', () => {
    const alone = led();
    alone.cluster.propose('a', 'x');
    alone.raft.transferLeadership('b');
    expect(alone.raft.propose(encode('y'))).toMatchObject({
      kind: 'refused',
      code: 'transferring',
    });
    const change = alone.raft.changeMembership({ kind: 'remove', id: 'c' });
    expect(change).toMatchObject({ kind: 'refused', code: 'transferring' });
  });

  it('2. it fully updates the target’s log, using normal log replication', () => {
    const alone = led();
    alone.cluster.propose('a', 'x');
    alone.raft.transferLeadership('b');
    const sent = alone.sync();
    expect(ofKind(sent, 'timeoutNow')).toEqual([]);
    expect(ofKind(sent, 'appendEntries')[0]?.entries).toHaveLength(1);
  });

  it('3. then it sends a TimeoutNow request to the target', () => {
    const alone = led();
    alone.cluster.propose('a', 'x');
    alone.raft.transferLeadership('b');
    alone.sync();
    const sent = ofKind(alone.step(appendEntriesReply({ matchIndex: 2 })), 'timeoutNow');
    expect(sent).toEqual([{ kind: 'timeoutNow', from: 'a', to: 'b', term: 1 }]);
  });

  it('3. TimeoutNow is like the election timer firing: the target starts an election at once', () => {
    const alone = new Alone();
    alone.step(appendEntries());
    const asked = ofKind(alone.step(timeoutNow()), 'requestVote');
    expect(alone.raft.status()).toMatchObject({ role: 'candidate', term: 2 });
    expect(asked[0]).toMatchObject({ term: 2, preVote: false, transfer: true });
  });

  it('TimeoutNow of an earlier term, or of another than the leader, is ignored', () => {
    const alone = new Alone();
    alone.step(appendEntries({ term: 3 }));
    alone.step(timeoutNow({ term: 2 }));
    alone.step(timeoutNow({ from: 'c', term: 3 }));
    expect(alone.raft.status()).toMatchObject({ role: 'follower', term: 3 });
  });

  it('the target leads the next term, and the prior leader steps down', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.raft('a').transferLeadership('c');
    cluster.settle();
    expect(cluster.raft('c').status()).toMatchObject({ role: 'leader', term: 2 });
    expect(cluster.raft('a').status()).toMatchObject({ role: 'follower', leader: 'c' });
    expect(cluster.server('c').log).toEqual(['1/1 -', '2/1 x', '3/2 -']);
  });

  it('if it does not complete after about an election time-out, it is aborted', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.isolate('c');
    cluster.raft('a').transferLeadership('c');
    cluster.pass(9);
    expect(cluster.raft('a').propose(encode('x')).kind).toBe('refused');
    cluster.pass(1);
    expect(cluster.raft('a').propose(encode('x')).kind).toBe('accepted');
  });

  it('a target that was told and wins after that is a leader like any other', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.raft('a').transferLeadership('b');
    cluster.run('a');
    const told = cluster.network.splice(0);
    cluster.isolate('b');
    cluster.pass(10);
    cluster.propose('a', 'meanwhile');
    cluster.settle();
    cluster.heal();
    for (const message of told) cluster.inject(message);
    // Its log is behind by now: an extra election, and nothing is lost.
    cluster.settle();
    cluster.pass(30);
    expect(cluster.leader?.applied).toEqual(['meanwhile']);
  });

  it.each([
    ['a', 'already-leader'],
    ['z', 'not-voter'],
  ])('to %s it is refused: %s', (to, code) => {
    expect(led().raft.transferLeadership(to)).toEqual({ kind: 'refused', code });
  });

  it('one at a time, and only by the leader', () => {
    const alone = led();
    alone.cluster.propose('a', 'x');
    expect(alone.raft.transferLeadership('b')).toEqual({ kind: 'started' });
    expect(alone.raft.transferLeadership('c')).toMatchObject({ code: 'transferring' });
    expect(new Alone().raft.transferLeadership('b')).toMatchObject({ code: 'not-leader' });
  });

  it('a lost TimeoutNow is sent again while the transfer lasts', () => {
    const alone = led();
    alone.raft.transferLeadership('b');
    alone.sync();
    alone.raft.tick();
    expect(ofKind(alone.sync(), 'timeoutNow')).toHaveLength(1);
  });
});

describe('the preferred server', () => {
  it('gets leadership back once it is there and has caught up', () => {
    const cluster = new Cluster({ preferred: 'a' });
    cluster.crash('a');
    cluster.elect('b');
    cluster.propose('b', 'x');
    cluster.settle();
    cluster.restart('a');
    cluster.pass(45);
    expect(cluster.leader?.id).toBe('a');
    expect(cluster.server('a').applied).toEqual(['x']);
  });

  it('does not get it while it is away, and attempts that fail are further and further apart', () => {
    const alone = new Alone([], { preferred: 'b' });
    alone.lead('c');
    const attempts: number[] = [];
    for (let tick = 0; tick < 400; tick += 1) {
      alone.raft.tick();
      const { accepted, peers } = alone.raft.status();
      for (const { id: from, session } of peers) {
        alone.step(appendEntriesReply({ from, session, matchIndex: accepted }));
      }
      const told = alone.raft.status().transferTo;
      if (told !== undefined && (attempts.at(-1) ?? -99) < tick - 11) attempts.push(tick);
    }
    const gaps = attempts.slice(1).map((tick, at) => tick - (attempts[at] ?? 0));
    expect(gaps.length).toBeGreaterThanOrEqual(3);
    for (const [at, gap] of gaps.entries()) expect(gap).toBeGreaterThan(gaps[at - 1] ?? 0);
    const idle = new Alone([], { preferred: 'b' });
    idle.lead('c');
    for (let tick = 0; tick < 100; tick += 1) {
      idle.raft.tick();
      idle.step(appendEntriesReply({ from: 'c', session: 2, matchIndex: 1 }));
    }
    expect(idle.raft.status().transferTo).toBeUndefined();
  });
});
