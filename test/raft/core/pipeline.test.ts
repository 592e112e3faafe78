/**
 * Replication at speed and its bounds: the pipeline (thesis 10.2.1), writing to the leader's disk
 * in parallel (10.2.1), what is kept in memory, the stream of writes and its completions, and a
 * disk that hangs or fails.
 */

import { describe, expect, it } from 'vitest';
import { Cluster, decode, encode } from './cluster.ts';
import {
  Alone,
  appendEntries,
  appendEntriesReply,
  entry,
  heartbeat,
  heartbeatReply,
  ofKind,
} from './messages.ts';

function led(limits = {}): Alone {
  const alone = new Alone([], { limits });
  alone.lead();
  alone.step(appendEntriesReply({ matchIndex: 1 }));
  return alone;
}

const toB = (sent: ReturnType<Alone['sync']>) =>
  ofKind(sent, 'appendEntries').filter(({ to }) => to === 'b');

describe('10.2.1 Writing to the leader’s disk in parallel', () => {
  it('entries go to the followers before the leader’s own write is done', () => {
    const alone = led();
    alone.raft.propose(encode('x'));
    expect(toB(alone.sent())).toHaveLength(1);
    expect(alone.server.writes).toHaveLength(1);
  });

  it('an entry is committed by the followers alone, and applied, before it is on its own disk', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.raft('a').propose(encode('x'));
    cluster.run('a');
    for (let turns = 0; turns < 20; turns += 1) {
      cluster.deliver();
      for (const id of ['b', 'c']) {
        cluster.sync(id);
        cluster.run(id);
      }
    }
    expect(cluster.server('a').applied).toEqual(['x']);
    expect(cluster.raft('a').status()).toMatchObject({ commitIndex: 2, durable: 1 });
  });
});

describe('10.2.1 Batching and pipelining', () => {
  it('what came together since the last Ready is one message a peer and one write', () => {
    const alone = led();
    for (const text of ['x', 'y', 'z']) alone.raft.propose(encode(text));
    const sent = alone.sent();
    expect(toB(sent).map(({ entries }) => entries.length)).toEqual([3]);
    expect(alone.server.writes.map(({ entries }) => entries.length)).toEqual([3]);
  });

  it('the next entries do not wait for the acknowledgement of the last', () => {
    const alone = led();
    const sent = ['x', 'y', 'z'].flatMap((text) => {
      alone.raft.propose(encode(text));
      return toB(alone.sent());
    });
    expect(sent.map(({ prevLogIndex }) => prevLogIndex)).toEqual([1, 2, 3]);
  });

  it.each([
    ['messages', { windowMessages: 2 }, 2],
    ['bytes', { windowBytes: 250 }, 3],
  ])('the window is bounded in %s, and acknowledgements open it', (_, limits, inFlight) => {
    const alone = led(limits);
    let sent = 0;
    for (let count = 0; count < 10; count += 1) {
      alone.raft.propose(encode('0123456789'.repeat(3)));
      sent += toB(alone.sent()).length;
    }
    expect(sent).toBe(inFlight);
    expect(alone.raft.status().peers[0]).toMatchObject({ inFlightMessages: inFlight });
    expect(toB(alone.step(appendEntriesReply({ matchIndex: 2 })))).not.toEqual([]);
  });

  it('an entry larger than window and message goes alone', () => {
    const alone = led({ windowBytes: 100, messageBytes: 50 });
    alone.raft.propose(encode('x'.repeat(1000)));
    alone.raft.propose(encode('y'));
    const [message, ...more] = toB(alone.sent());
    expect(message?.entries.map(({ payload }) => payload.byteLength)).toEqual([1000]);
    expect(more).toEqual([]);
  });

  it('a refusal is answered from where the logs may agree, a term at a time', () => {
    const alone = new Alone([1, 1, 2, 2, 3]);
    alone.lead();
    const refused = { term: 4, success: false, rejectedIndex: 5, hintIndex: 4, hintTerm: 1 };
    const [retry] = toB(alone.step(appendEntriesReply(refused)));
    expect(retry?.prevLogIndex).toBe(2);
  });

  it('a refusal names the highest index whose term may agree', () => {
    const alone = new Alone([1, 1, 1, 4, 4]);
    const sent = alone.step(appendEntries({ term: 5, prevLogIndex: 5, prevLogTerm: 3 }));
    expect(ofKind(sent, 'appendEntriesReply')[0]).toMatchObject({ hintIndex: 3, hintTerm: 1 });
  });

  it('a late refusal does not take a peer back', () => {
    const alone = led();
    alone.step(appendEntriesReply({ success: false, rejectedIndex: 1, hintIndex: 0, hintTerm: 0 }));
    expect(alone.raft.status().peers[0]).toMatchObject({ state: 'replicate', matchIndex: 1 });
  });

  it('while a peer is probed one append is on the way; a heartbeat’s reply sends it again', () => {
    const alone = new Alone([1, 1]);
    alone.lead();
    alone.raft.propose(encode('x'));
    expect(toB(alone.sent())).toEqual([]);
    expect(toB(alone.step(heartbeatReply({ term: 2 })))).toHaveLength(1);
  });

  it('a last append that was lost is found out by heartbeats', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.network = cluster.network.filter(({ to }) => to !== 'c');
    cluster.settle();
    expect(cluster.server('c').log).toHaveLength(1);
    cluster.pass(2);
    expect(cluster.server('c').log).toHaveLength(2);
  });

  it('what is on its way is asked about when a peer got no further between two heartbeats', () => {
    const alone = led();
    const beat = (): number => toB(alone.step(heartbeatReply({}))).length;
    alone.raft.propose(encode('x'));
    alone.sent();
    expect(beat()).toBe(0);
    alone.step(appendEntriesReply({ matchIndex: 2 }));
    alone.raft.propose(encode('y'));
    alone.sent();
    expect(beat()).toBe(0);
    expect(beat()).toBe(1);
  });

  it('a peer whose window is full is found behind the log’s start as well', () => {
    const cluster = new Cluster({ limits: { windowMessages: 1 } });
    cluster.elect('a');
    cluster.isolate('c');
    for (const text of ['x', 'y', 'z']) {
      cluster.propose('a', text);
      cluster.settle();
    }
    cluster.compact('a');
    cluster.heal();
    cluster.pass(3);
    expect(cluster.server('a').catchUps).toHaveLength(1);
  });
});

describe('bounds', () => {
  it('uncommitted bytes: busy above the limit, and again open once some are committed', () => {
    const alone = led({ uncommittedBytes: 500 });
    let accepted = 0;
    while (alone.raft.propose(new Uint8Array(100)).kind === 'accepted') accepted += 1;
    expect(accepted).toBe(3);
    expect(alone.raft.propose(new Uint8Array(100))).toMatchObject({ code: 'busy' });
    alone.sync();
    alone.step(appendEntriesReply({ matchIndex: 3 }));
    expect(alone.raft.propose(encode('x')).kind).toBe('accepted');
    alone.step(appendEntriesReply({ matchIndex: 5 }));
    alone.sync();
    alone.step(appendEntriesReply({ matchIndex: 5 }));
    expect(alone.raft.status().uncommittedBytes).toBe(0);
  });

  it('one entry that is larger than the limit is taken when nothing else is under way', () => {
    const alone = led({ uncommittedBytes: 500 });
    expect(alone.raft.propose(new Uint8Array(1000)).kind).toBe('accepted');
    expect(alone.raft.propose(new Uint8Array(1))).toMatchObject({ code: 'busy' });
  });

  it('an entry above the largest is refused', () => {
    const alone = led({ entryBytes: 10 });
    expect(alone.raft.propose(new Uint8Array(11))).toMatchObject({ code: 'too-large' });
  });

  it('payloads are forgotten when all peers have them, and above the limit when one is behind', () => {
    const cluster = new Cluster({ limits: { tailBytes: 1000 } });
    cluster.elect('a');
    cluster.isolate('c');
    for (let count = 0; count < 40; count += 1) {
      cluster.propose('a', 'x'.repeat(100));
      cluster.settle();
    }
    cluster.pass(2);
    expect(cluster.raft('a').status().tailBytes).toBeLessThanOrEqual(1000);
    expect(cluster.raft('a').status().tailEntries).toBeGreaterThan(0);
    expect(cluster.raft('b').status().tailEntries).toBe(0);
    cluster.heal();
    cluster.pass(5);
    expect(cluster.raft('a').status().tailEntries).toBe(0);
    expect(cluster.server('c').log).toHaveLength(41);
  });

  it('a peer further behind than memory is served from the log, within the window', () => {
    const cluster = new Cluster({
      limits: { tailBytes: 500, windowMessages: 2, messageBytes: 300 },
    });
    cluster.elect('a');
    cluster.crash('c');
    for (let count = 0; count < 30; count += 1) {
      cluster.propose('a', 'x'.repeat(100));
      cluster.settle();
    }
    cluster.restart('c');
    cluster.pass(5);
    expect(cluster.server('c').applied).toHaveLength(30);
  });

  it('apply: no more bytes ahead of the state machine than the limit, in order, after a restart too', () => {
    const cluster = new Cluster({ servers: ['a'], limits: { applyBytes: 400 } });
    cluster.elect('a');
    for (let count = 0; count < 20; count += 1) cluster.propose('a', `${count} ${'x'.repeat(50)}`);
    cluster.settle();
    cluster.crash('a');
    cluster.restart('a');
    cluster.server('a').isApplyHeld = true;
    cluster.elect('a');
    expect(cluster.server('a').heldApply.length).toBeLessThan(10);
    cluster.server('a').isApplyHeld = false;
    cluster.apply('a');
    cluster.settle();
    const numbers = cluster.server('a').applied.map((text) => Number(text.split(' ')[0]));
    expect(numbers).toEqual(Array.from({ length: 20 }, (_, at) => at));
  });

  it('a state machine that stands still costs no more memory than the limit', () => {
    const cluster = new Cluster({ servers: ['a'], limits: { applyBytes: 300, tailBytes: 1000 } });
    cluster.elect('a');
    cluster.server('a').isApplyHeld = true;
    for (let count = 0; count < 50; count += 1) {
      cluster.propose('a', `${count} ${'x'.repeat(50)}`);
      cluster.settle();
    }
    expect(cluster.raft('a').status().tailBytes).toBeLessThanOrEqual(1000);
    cluster.server('a').isApplyHeld = false;
    cluster.apply('a');
    cluster.settle();
    expect(cluster.server('a').applied).toHaveLength(50);
  });

  it('a fetch that failed is asked again with the next tick', () => {
    const cluster = new Cluster({ servers: ['a'] });
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.settle();
    cluster.crash('a');
    cluster.restart('a');
    const { raft } = cluster.server('a');
    raft.tick();
    const asked: number[] = [];
    for (let turns = 0; turns < 12; turns += 1) {
      const ready = raft.ready();
      for (const { id } of ready?.fetch ?? []) {
        asked.push(id);
        raft.fetchFailed(id);
      }
      if (ready?.persist !== undefined) raft.persisted(ready.persist.token);
      if (turns > 8) raft.tick();
    }
    expect(asked).toEqual([1, 2, 3]);
  });
});

describe('the stream of writes', () => {
  it('accepted >= submitted >= durable', () => {
    const alone = led();
    alone.raft.propose(encode('x'));
    expect(alone.raft.status()).toMatchObject({ accepted: 2, submitted: 1, durable: 1 });
    alone.sent();
    expect(alone.raft.status()).toMatchObject({ accepted: 2, submitted: 2, durable: 1 });
    alone.sync();
    expect(alone.raft.status()).toMatchObject({ accepted: 2, submitted: 2, durable: 2 });
  });

  it('a late completion makes nothing durable that has taken the place of what was written', () => {
    const alone = new Alone([1]);
    const rest = { prevLogIndex: 1, prevLogTerm: 1 };
    alone.stepUnsynced(appendEntries({ ...rest, entries: [entry(2, 1), entry(3, 1)] }));
    const late = alone.server.writes.at(-1)?.token ?? 0;
    alone.stepUnsynced(
      appendEntries({ from: 'c', term: 2, ...rest, entries: [entry(2, 2), entry(3, 2)] }),
    );
    alone.raft.persisted(late);
    const sent = ofKind(alone.sent(), 'appendEntriesReply').map(({ matchIndex }) => matchIndex);
    expect(Math.max(0, ...sent)).toBeLessThan(2);
    expect(alone.raft.status().durable).toBe(1);
    expect(ofKind(alone.sync(), 'appendEntriesReply').at(-1)).toMatchObject({
      to: 'c',
      matchIndex: 3,
    });
  });

  it('a write says what has to be cut before its entries', () => {
    const alone = new Alone([1, 1, 1]);
    alone.stepUnsynced(
      appendEntries({ term: 2, prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 2)] }),
    );
    expect(alone.server.writes.at(-1)).toMatchObject({
      truncateAfter: 1,
      entries: [{ index: 2, term: 2 }],
    });
  });

  it('entries that were never handed out are replaced without a cut', () => {
    const alone = new Alone([1]);
    alone.raft.step(appendEntries({ prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 1)] }));
    alone.raft.step(
      appendEntries({ term: 2, prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 2)] }),
    );
    alone.sent();
    expect(alone.server.writes).toMatchObject([
      { truncateAfter: undefined, entries: [{ term: 2 }] },
    ]);
  });

  it('one acknowledgement tells of all that one write made durable', () => {
    const alone = new Alone([], { term: 1 });
    alone.step(heartbeat());
    for (const index of [1, 2, 3]) {
      const prevLogTerm = index === 1 ? 0 : 1;
      alone.stepUnsynced(
        appendEntries({ prevLogIndex: index - 1, prevLogTerm, entries: [entry(index, 1)] }),
      );
    }
    const acknowledged = ofKind(alone.sync(), 'appendEntriesReply').map(
      ({ matchIndex }) => matchIndex,
    );
    expect(acknowledged).toEqual([3]);
  });
});

describe('a disk that fails or hangs', () => {
  it('after a failed write the replica does nothing any more', () => {
    const alone = new Alone([1]);
    alone.stepUnsynced(appendEntries({ prevLogIndex: 1, prevLogTerm: 1, entries: [entry(2, 1)] }));
    alone.raft.persistFailed();
    expect(alone.sent()).toEqual([]);
    expect(alone.step(appendEntries({ term: 9 }))).toEqual([]);
    alone.raft.tick();
    alone.raft.persisted(1);
    expect(alone.raft.status()).toMatchObject({ role: 'stopped', durable: 1, term: 1 });
    expect(alone.raft.propose(encode('x'))).toMatchObject({ code: 'stopped' });
    expect(alone.raft.transferLeadership('b')).toMatchObject({ code: 'stopped' });
    const change = { kind: 'remove', id: 'b' } as const;
    expect(alone.raft.changeMembership(change)).toMatchObject({ code: 'stopped' });
  });

  it('a leader whose write failed steps down, and tells the best voter to take over', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.raft('a').readIndex(1);
    cluster.raft('a').persistFailed();
    cluster.settle();
    expect(cluster.raft('a').role).toBe('stopped');
    expect(cluster.server('a').reads).toEqual([{ id: 1, index: undefined }]);
    expect(cluster.leader?.id).toBe('b');
  });

  it('a leader whose disk stalls steps down, and does not stand while it does', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.raft('a').propose(encode('x'));
    for (let ticks = 0; ticks < 35; ticks += 1) {
      for (const { id } of cluster.servers) cluster.tick(id);
      for (let turns = 0; turns < 50 && cluster.network.length > 0; turns += 1) {
        cluster.deliver();
        for (const id of ['b', 'c']) if (cluster.sync(id)) cluster.run(id);
      }
    }
    expect(cluster.leader?.id).toBe('b');
    expect(cluster.server('b').applied.map(String)).toEqual(['x']);
  });

  it('a voter inside its reserve is known to the leader', () => {
    const alone = led();
    expect(alone.raft.isVoterInReserve).toBe(false);
    alone.step(heartbeatReply({ inReserve: true }));
    expect(alone.raft.isVoterInReserve).toBe(true);
    alone.step(appendEntriesReply({ matchIndex: 1, inReserve: false }));
    alone.raft.reportReserve(true);
    expect(alone.raft.isVoterInReserve).toBe(true);
    const follower = new Alone();
    follower.raft.reportReserve(true);
    expect(ofKind(follower.step(heartbeat()), 'heartbeatReply')[0]?.inReserve).toBe(true);
  });
});

describe('an entry', () => {
  it('keeps what its proposer wants to find again, on that replica alone', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.raft('a').propose(encode('x'), 'mine');
    cluster.settle();
    cluster.pass(2);
    const found = cluster.servers.map(({ appliedEntries }) => appliedEntries.at(-1));
    expect(found.map((applied) => applied?.local)).toEqual(['mine', undefined, undefined]);
    expect(found.map((applied) => decode(applied?.payload ?? encode('')))).toEqual(['x', 'x', 'x']);
  });
});
