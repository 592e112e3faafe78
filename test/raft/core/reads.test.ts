/** Section 6.4 of Ongaro's thesis (processing read-only queries more efficiently), by ReadIndex. */

import { describe, expect, it } from 'vitest';
import { Cluster } from './cluster.ts';
import {
  Alone,
  appendEntries,
  appendEntriesReply,
  heartbeat,
  heartbeatReply,
  ofKind,
} from './messages.ts';

/** A leader that has committed its first entry. */
function led(): Alone {
  const alone = new Alone();
  alone.lead();
  alone.step(appendEntriesReply({ matchIndex: 1 }));
  return alone;
}

describe('6.4 Processing read-only queries more efficiently', () => {
  it('1. the leader waits until it has committed an entry of its term', () => {
    const alone = new Alone([1]);
    alone.lead();
    alone.raft.readIndex(7);
    expect(ofKind(alone.sync(), 'heartbeat')).toEqual([]);
    alone.step(heartbeatReply({ term: 2, round: 1 }));
    expect(alone.server.reads).toEqual([]);
    alone.step(appendEntriesReply({ term: 2, matchIndex: 2 }));
    alone.step(heartbeatReply({ term: 2, round: 1 }));
    expect(alone.server.reads).toEqual([{ id: 7, index: 2 }]);
  });

  it('2. the commit index when the round begins is the lower bound of what is served', () => {
    const alone = led();
    alone.raft.readIndex(1);
    alone.sync();
    alone.cluster.propose('a', 'later');
    alone.step(appendEntriesReply({ matchIndex: 2 }));
    alone.step(heartbeatReply({ round: 1 }));
    expect(alone.server.reads).toEqual([{ id: 1, index: 1 }]);
  });

  it('3. a new round of heartbeats must be answered by a majority', () => {
    const alone = led();
    alone.raft.readIndex(1);
    const round = ofKind(alone.sync(), 'heartbeat');
    expect(round.map(({ to, round: number }) => [to, number])).toEqual([
      ['b', 1],
      ['c', 1],
    ]);
    expect(alone.server.reads).toEqual([]);
    // An answer to a heartbeat that was sent before the question.
    alone.step(heartbeatReply({ round: 0 }));
    expect(alone.server.reads).toEqual([]);
    alone.step(heartbeatReply({ from: 'c', session: 2, round: 1 }));
    expect(alone.server.reads).toEqual([{ id: 1, index: 1 }]);
  });

  it('3. a leader that was superseded without knowing it gets no answer, and refuses', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.isolate('a');
    cluster.raft('a').readIndex(1);
    cluster.pass(10);
    expect(cluster.server('a').reads).toEqual([{ id: 1, index: undefined }]);
  });

  it('4. the state machine must have advanced as far as the read index', () => {
    const alone = led();
    alone.server.isApplyHeld = true;
    alone.cluster.propose('a', 'x');
    alone.sync();
    alone.step(appendEntriesReply({ matchIndex: 2 }));
    alone.raft.readIndex(1);
    alone.sync();
    alone.step(heartbeatReply({ round: 1 }));
    expect(alone.server.reads).toEqual([]);
    alone.cluster.apply('a');
    alone.sync();
    expect(alone.server.reads).toEqual([{ id: 1, index: 2 }]);
  });

  it('any number of queries that come meanwhile share the next round', () => {
    const alone = led();
    alone.raft.readIndex(1);
    alone.sync();
    for (const id of [2, 3, 4]) alone.raft.readIndex(id);
    expect(ofKind(alone.sync(), 'heartbeat')).toEqual([]);
    const second = ofKind(alone.step(heartbeatReply({ round: 1 })), 'heartbeat');
    expect(second.map(({ round }) => round)).toEqual([2, 2]);
    alone.step(heartbeatReply({ round: 2 }));
    expect(alone.server.reads.map(({ id }) => id)).toEqual([1, 2, 3, 4]);
  });

  it('a lost round is made up for by the next heartbeat', () => {
    const alone = led();
    alone.raft.readIndex(1);
    alone.sync();
    alone.raft.tick();
    expect(ofKind(alone.sync(), 'heartbeat')[0]?.round).toBe(1);
  });

  it('a cluster of one needs no round', () => {
    const cluster = new Cluster({ servers: ['a'] });
    cluster.elect('a');
    cluster.raft('a').readIndex(1);
    cluster.settle();
    expect(cluster.server('a').reads).toEqual([{ id: 1, index: 1 }]);
  });

  it('a follower asks its leader, and serves once it has applied so much itself', () => {
    const cluster = new Cluster();
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.settle();
    cluster.raft('c').readIndex(5);
    cluster.settle();
    // The answer has come; that entry 2 is committed, c hears with the next heartbeat.
    cluster.pass(1);
    expect(cluster.server('c').applied).toEqual(['x']);
    expect(cluster.server('c').reads).toEqual([{ id: 5, index: 2 }]);
  });

  it('a late answer to an earlier life of the follower answers nothing', () => {
    let start = 0.1;
    const cluster = new Cluster({ random: () => () => start });
    cluster.elect('a');
    cluster.raft('c').readIndex(1);
    cluster.run('c');
    cluster.deliver();
    cluster.run('a');
    const late = cluster.network.splice(0);
    cluster.crash('c');
    start = 0.9;
    cluster.restart('c');
    cluster.inject(heartbeat({ from: 'a', to: 'c', session: 2 }));
    cluster.raft('c').readIndex(1);
    cluster.run('c');
    for (const message of late) if (message.to === 'c') cluster.inject(message);
    expect(cluster.server('c').reads).toEqual([]);
  });

  it('without an answer in time, or with another leader, it is refused', () => {
    const alone = new Alone();
    alone.step(appendEntries());
    alone.raft.readIndex(1);
    alone.sync();
    alone.step(appendEntries({ from: 'c', term: 2 }));
    expect(alone.server.reads).toEqual([{ id: 1, index: undefined }]);
    alone.raft.readIndex(2);
    alone.sync();
    for (let ticks = 0; ticks < 9; ticks += 1) alone.raft.tick();
    alone.step(heartbeat({ from: 'c', term: 2 }));
    alone.raft.tick();
    alone.sync();
    expect(alone.server.reads.at(-1)).toEqual({ id: 2, index: undefined });
  });

  it('a server that leads no more refuses at once', () => {
    const alone = new Alone([], { term: 1 });
    const asked = { kind: 'readIndexRequest', from: 'b', to: 'a', term: 1, id: 7 } as const;
    expect(ofKind(alone.step(asked), 'readIndexReply')).toMatchObject([{ id: 7, index: 0 }]);
    const follower = new Alone();
    follower.step(heartbeat());
    follower.raft.readIndex(3);
    const [request] = ofKind(follower.sync(), 'readIndexRequest');
    const refused = { kind: 'readIndexReply', from: 'b', to: 'a', term: 1, index: 0 } as const;
    follower.step({ ...refused, id: request?.id ?? 0, lastLogIndex: 0 });
    expect(follower.server.reads).toEqual([{ id: 3, index: undefined }]);
  });

  it('without a leader it is refused at once; so is what is too much', () => {
    const alone = new Alone([], { limits: { pendingReads: 2 } });
    alone.raft.readIndex(1);
    alone.sync();
    expect(alone.server.reads).toEqual([{ id: 1, index: undefined }]);
    alone.lead();
    for (const id of [2, 3, 4]) alone.raft.readIndex(id);
    alone.sync();
    expect(alone.server.reads.at(-1)).toEqual({ id: 4, index: undefined });
  });

  it('whoever may not serve yet, does not: something of its checkpoint was told gone later', () => {
    const alone = new Alone([], { term: 1 });
    const configuration = { index: 0, configuration: { members: [] } };
    const checkpoint = { index: 3, term: 1, configuration, applied: [], serveFrom: 5 };
    alone.server.transfers.set(3, checkpoint);
    alone.raft.install(checkpoint);
    alone.step(heartbeat());
    alone.raft.readIndex(1);
    const [request] = ofKind(alone.sync(), 'readIndexRequest');
    const id = request?.id ?? 0;
    alone.step({
      kind: 'readIndexReply',
      from: 'b',
      to: 'a',
      term: 1,
      id,
      index: 3,
      lastLogIndex: 3,
    });
    expect(alone.server.reads).toEqual([]);
  });
});
