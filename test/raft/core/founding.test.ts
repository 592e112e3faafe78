/** How a cluster begins, and what becomes of a founder that lost its disk (thesis 11.7.2). */

import { describe, expect, it } from 'vitest';
import type { Member } from '#raft';
import { Cluster, voter } from './cluster.ts';
import { appendEntries, ofKind, requestVote, requestVoteReply } from './messages.ts';

const WHILE = 60;

function founding(members?: readonly Member[]): Cluster {
  return new Cluster({ incarnations: true, ...(members && { members }) });
}

function begun(): Cluster {
  const cluster = founding();
  cluster.elect('a');
  cluster.propose('a', 'x');
  cluster.settle();
  cluster.pass(2);
  return cluster;
}

/** As if it had crashed before they came: its disk has its vote, and is the one that it had. */
function losesItsEntries(cluster: Cluster, id: string): void {
  cluster.crash(id);
  cluster.server(id).disk.entries = [];
  cluster.restart(id);
}

describe('a cluster that begins', () => {
  it('has its first leader by the vote of every founder, and names them in its first entry', () => {
    const cluster = begun();
    const [first] = cluster.server('b').disk.entries;
    expect(first).toMatchObject({ index: 1, kind: 'configuration' });
    expect(first?.configuration?.members.map(({ incarnation }) => incarnation)).toEqual([
      'adisk1',
      'bdisk2',
      'cdisk3',
    ]);
    expect(cluster.server('c').applied).toEqual(['x']);
  });

  it('does not begin while a founder is missing, learners too', () => {
    const learner: Member = { id: 'c', role: 'learner', address: 'c' };
    for (const members of [undefined, [voter('a'), voter('b'), learner]]) {
      const cluster = founding(members);
      cluster.crash('c');
      cluster.pass(WHILE);
      expect(cluster.servers.map(({ raft }) => raft.role)).not.toContain('leader');
      cluster.restart('c');
      cluster.pass(WHILE);
      expect(cluster.servers.map(({ raft }) => raft.role)).toContain('leader');
    }
  });

  it('goes on where its first entry is on one disk alone: who is blank still votes', () => {
    const cluster = founding();
    cluster.elect('a');
    for (const id of ['b', 'c']) losesItsEntries(cluster, id);
    cluster.crash('a');
    cluster.restart('a');
    cluster.elect('a');
    cluster.pass(WHILE);
    expect(cluster.server('c').log).toEqual(cluster.server('a').log);
  });

  it('afterwards a majority is enough', () => {
    const cluster = begun();
    cluster.crash('a');
    cluster.pass(WHILE);
    expect(cluster.servers.map(({ raft }) => raft.role)).toContain('leader');
  });
});

describe('a founder that comes back without its disk', () => {
  it('is not counted when it votes a second time', () => {
    const cluster = begun();
    cluster.isolate('a');
    cluster.wipe('b');
    cluster.pass(WHILE);
    expect(cluster.raft('c').role).not.toBe('leader');
    expect(cluster.raft('b').role).not.toBe('leader');
    expect(cluster.raft('c').term).toBe(1);
  });

  it('makes no cluster with who is new', () => {
    const cluster = founding();
    cluster.elect('a');
    losesItsEntries(cluster, 'c');
    cluster.isolate('a');
    cluster.wipe('b');
    cluster.pass(WHILE);
    expect(cluster.servers.map(({ raft }) => raft.role)).not.toContain('leader');
    expect(cluster.server('b').log).toEqual([]);
  });

  it('takes no entry, and ends', () => {
    const cluster = begun();
    cluster.wipe('b');
    cluster.pass(WHILE);
    expect(cluster.raft('b').isStranger).toBe(true);
    expect(cluster.raft('b').role).toBe('stopped');
    expect(cluster.server('b').disk.entries).toEqual([]);
  });

  it('takes no checkpoint either', () => {
    const cluster = begun();
    cluster.compact('a');
    cluster.wipe('b');
    cluster.pass(WHILE);
    const { catchUps, disk } = cluster.server('a');
    expect(catchUps.at(-1)?.to).toBe('b');
    const { index, term, configuration } = disk.checkpoint;
    const checkpoint = { index, term, configuration, serveFrom: index };
    expect(cluster.raft('b').install(checkpoint)).toEqual({ kind: 'refused', code: 'stranger' });
    expect(cluster.raft('b').isStranger).toBe(true);
  });

  it('confirms no read of a leader that may be one no more', () => {
    const cluster = begun();
    cluster.cut.add('a>c').add('c>a');
    cluster.crash('b');
    cluster.wipe('b');
    cluster.cut.add('c>b').add('b>c');
    cluster.raft('a').readIndex(7);
    const sent: number[] = [];
    cluster.onReady = (server, { send }) => {
      if (server.id !== 'b') return;
      for (const { round } of ofKind(send, 'heartbeatReply')) sent.push(round);
    };
    cluster.pass(3);
    expect(sent.length).toBeGreaterThan(0);
    expect(Math.max(...sent)).toBe(0);
    expect(cluster.server('a').reads.filter(({ index }) => index !== undefined)).toEqual([]);
  });

  it('under a name that was never used is a member like any other', () => {
    const cluster = begun();
    cluster.crash('b');
    cluster.add('d');
    const change = { kind: 'remove', id: 'b' } as const;
    expect(cluster.raft('a').changeMembership(change).kind).toBe('accepted');
    cluster.settle();
    cluster.pass(3);
    cluster.raft('a').changeMembership({ kind: 'add', id: 'd', address: 'd', role: 'joining' });
    cluster.settle();
    cluster.pass(WHILE);
    expect(cluster.server('d').applied).toEqual(['x']);
    const { members } = cluster.raft('d').status().configuration.configuration;
    expect(members.map(({ id, role }) => `${id} ${role}`)).toEqual([
      'a voter',
      'c voter',
      'd voter',
    ]);
  });
});

describe('a vote of a server without a log', () => {
  it('counts under the name that is known, and under no other', () => {
    for (const [incarnation, role] of [
      ['bdisk2', 'candidate'],
      ['bdisk9', 'preCandidate'],
    ] as const) {
      const cluster = begun();
      const { raft } = cluster.server('a');
      cluster.isolate('a');
      for (let ticks = 0; ticks < WHILE && raft.role !== 'preCandidate'; ticks += 1) {
        cluster.tick('a');
      }
      expect(raft.role).toBe('preCandidate');
      cluster.inject(requestVoteReply({ term: raft.term + 1, preVote: true, incarnation }));
      expect(raft.role).toBe(role);
    }
  });

  it('says which one it is, until it has a log', () => {
    const cluster = founding();
    const asked = { from: 'b', term: 1, preVote: true };
    const sent: string[] = [];
    cluster.onReady = (_server, { send }) => {
      for (const { incarnation } of ofKind(send, 'requestVoteReply')) sent.push(incarnation);
    };
    cluster.inject(requestVote(asked));
    const { configuration } = begun().server('a').disk.entries[0] ?? {};
    const payload = new Uint8Array(0);
    const local = undefined;
    const first = { index: 1, term: 1, kind: 'configuration', payload, local } as const;
    cluster.inject(appendEntries({ entries: [{ ...first, configuration }] }));
    cluster.settle();
    cluster.pass(WHILE / 2);
    cluster.inject(requestVote({ ...asked, term: 9, lastLogIndex: 9, lastLogTerm: 9 }));
    expect(sent.at(0)).toBe('adisk1');
    expect(sent.at(-1)).toBe('');
  });
});
