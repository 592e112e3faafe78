/** Replicas over real logs: replication, crashes, lag, changes of leader, failures, catch-up. */

import { describe, expect, it } from 'vitest';
import { Hosts } from './hosts.ts';
import type { TestHost } from './hosts.ts';

const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_none, nth) => `m${first + nth}`);

function proposeAll(leader: TestHost, texts: readonly string[]): number {
  let index = 0;
  for (const what of texts) index = leader.propose(what);
  return index;
}

describe('a cluster of one', () => {
  it('leads with its first tick, and goes on in a higher term after a crash', async () => {
    const hosts = new Hosts({ ids: ['a'] });
    await hosts.start();
    const host = hosts.host('a');
    await hosts.elect();
    expect(hosts.clock.nowMs).toBeLessThanOrEqual(50);
    const { term = 0 } = host.node ?? {};
    await hosts.applied([host], proposeAll(host, numbered(500)));
    host.crash();
    await host.start();
    await hosts.until(() => host.applied.length === 500);
    expect(host.applied).toEqual(numbered(500));
    expect(host.node?.term).toBeGreaterThan(term);
  });

  it('tells nothing applied that a crash could lose', async () => {
    const hosts = new Hosts({ ids: ['a'] });
    await hosts.start();
    const host = await hosts.elect();
    let told = 0;
    for (let round = 0; round < 20; round++) {
      proposeAll(host, numbered(5, round * 5));
      if (round % 3 === 0) await hosts.step();
      told = host.applied.length;
    }
    const before = host.applied.slice(0, told);
    host.crash();
    await host.start();
    await hosts.elect();
    expect(host.applied.slice(0, told)).toEqual(before);
  });

  it('hands over what a checkpoint does not cover, in bounded pieces', async () => {
    const hosts = new Hosts({ ids: ['a'], limits: { applyBytes: 1000, tailBytes: 1000 } });
    await hosts.start();
    const host = await hosts.elect();
    await hosts.applied([host], proposeAll(host, numbered(100)));
    await host.compact();
    const index = proposeAll(host, numbered(300, 100));
    await hosts.applied([host], index);
    host.crash();
    host.pieces = [];
    await host.start();
    await hosts.applied([host], index);
    expect(host.applied).toEqual(numbered(400));
    // 64 bytes of overhead each.
    expect(Math.max(...host.pieces)).toBeLessThan(20);
  });
});

describe('a cluster of three', () => {
  it('applies the same on all, in order', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const leader = await hosts.elect();
    await hosts.applied(hosts.hosts, proposeAll(leader, numbered(300)));
    for (const host of hosts.hosts) expect(host.applied).toEqual(numbered(300));
    expect(hosts.followers.every(({ node }) => node?.leader === leader.id)).toBe(true);
  });

  it('sends before its own write is done (thesis 10.2.1), and commits without it', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const leader = await hosts.elect();
    const open: (() => void)[] = [];
    leader.files.before = ({ operation }) =>
      operation === 'write' ? new Promise((resolve) => open.push(resolve)) : undefined;
    const index = leader.propose('first');
    await hosts.applied(hosts.hosts, index);
    expect(leader.log?.durable).toBeLessThan(index);
    leader.files.before = () => undefined;
    for (const release of open) release();
    await hosts.until(() => (leader.log?.durable ?? 0) >= index);
  });

  it('what was proposed together goes out as one message to each peer', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const leader = await hosts.elect();
    await hosts.step();
    const before = hosts.sent.length;
    const index = proposeAll(leader, numbered(100));
    await hosts.applied([leader], index);
    const appends = hosts.sent
      .slice(before)
      .filter((message) => message.kind === 'appendEntries' && message.entries.length > 0);
    expect(appends.length).toBeLessThanOrEqual(4);
  });

  it('loses nothing when the leader dies, and takes it back as a follower', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const first = await hosts.elect();
    const index = proposeAll(first, numbered(50));
    await hosts.applied([first], index);
    first.crash();
    const second = await hosts.elect();
    expect(second).not.toBe(first);
    await hosts.applied([second], proposeAll(second, numbered(50, 50)));
    await first.start();
    await hosts.until(() => first.applied.length === 100);
    for (const host of hosts.hosts) expect(host.applied).toEqual(numbered(100));
  });

  it('counts the time without a leader by ticks, from its last heartbeat on (5.2)', async () => {
    const hosts = new Hosts();
    // Of the shortest and the longest time-out: 50 ticks and a part of 50 more.
    hosts.random = (id) => (id === 'a' ? 0 : id === 'b' ? 0.5 : 0.9);
    await hosts.start();
    const first = await hosts.elect();
    expect(first.id).toBe('a');
    for (let steps = 0; steps < 55; steps++) await hosts.step();
    let heardAt = 0;
    hosts.passes = (message) => {
      if (message.to === 'b' && message.kind === 'heartbeat') heardAt = hosts.clock.nowMs;
      return true;
    };
    for (let steps = 0; steps < 33; steps++) await hosts.step();
    hosts.isolate(first.id);
    const from = hosts.sent.length;
    await hosts.until(() => hosts.sent.slice(from).some(({ kind }) => kind === 'requestVote'));
    const waited = hosts.clock.nowMs - heardAt;
    expect(waited).toBeGreaterThanOrEqual(740);
    expect(waited).toBeLessThanOrEqual(770);
    const [ask] = hosts.sent.slice(from).filter(({ kind }) => kind === 'requestVote');
    expect(ask?.from).toBe('b');
  });

  it('a leader that was cut off gives up, and what it had alone is overwritten', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const first = await hosts.elect();
    await hosts.applied(hosts.hosts, proposeAll(first, ['both']));
    hosts.isolate(first.id);
    proposeAll(first, ['lost 1', 'lost 2', 'lost 3']);
    await hosts.until(() => !first.leads && hosts.leader !== undefined);
    const second = await hosts.elect();
    await hosts.applied([second], proposeAll(second, ['kept']));
    hosts.cut.clear();
    await hosts.until(() => first.applied.length === 2);
    for (const host of hosts.hosts) expect(host.applied).toEqual(['both', 'kept']);
    expect(first.roles.some(({ role }) => role === 'follower')).toBe(true);
  });

  it('a follower that is far behind gets it from the log, and not from memory', async () => {
    const hosts = new Hosts({ limits: { tailBytes: 2000, messageBytes: 1000 } });
    await hosts.start();
    const leader = await hosts.elect();
    const [behind] = hosts.followers as [TestHost];
    behind.crash();
    const index = proposeAll(leader, numbered(1000));
    await hosts.applied([leader], index);
    await behind.start();
    await hosts.applied([behind], index);
    expect(behind.applied).toEqual(numbered(1000));
    const { tailBytes = 0 } = leader.node?.status() ?? {};
    expect(tailBytes).toBeLessThanOrEqual(4000);
  });

  it('a slow state machine is not given more than the bound, and holds up nobody', async () => {
    const hosts = new Hosts({ limits: { applyBytes: 1000 } });
    await hosts.start();
    const leader = await hosts.elect();
    const [slow, other] = hosts.followers as [TestHost, TestHost];
    slow.slow = true;
    slow.pieces = [];
    const index = proposeAll(leader, numbered(200));
    await hosts.applied([leader, other], index);
    for (let steps = 0; steps < 20; steps++) await hosts.step();
    expect(slow.pieces.reduce((sum, count) => sum + count, 0)).toBeLessThan(20);
    slow.slow = false;
    slow.goOn();
    await hosts.applied([slow], index);
    expect(slow.applied).toEqual(numbered(200));
  });

  it('hands the lead over, and what was refused meanwhile is known to be refused', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const first = await hosts.elect();
    const [to] = hosts.followers as [TestHost];
    await hosts.applied(hosts.hosts, first.propose('before'));
    expect(first.node?.transferLeadership(to.id)).toEqual({ kind: 'started' });
    expect(first.node?.propose(new Uint8Array(1))).toMatchObject({ code: 'transferring' });
    await hosts.until(() => to.leads);
    await hosts.elect();
    await hosts.applied(hosts.hosts, to.propose('after'));
    for (const host of hosts.hosts) expect(host.applied).toEqual(['before', 'after']);
  });

  it('answers reads once they are as new as what was acknowledged, also at a follower', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const leader = await hosts.elect();
    const [follower] = hosts.followers as [TestHost];
    const index = leader.propose('written');
    await hosts.applied([leader], index);
    for (const host of [leader, follower]) {
      let read: number | undefined;
      host.node?.read((at) => {
        read = at;
      });
      await hosts.until(() => read !== undefined);
      expect(read).toBeGreaterThanOrEqual(index);
      expect(host.applied).toEqual(['written']);
    }
    hosts.isolate(leader.id);
    const answers: (number | undefined)[] = [];
    leader.node?.read((at) => void answers.push(at));
    await hosts.until(() => answers.length > 0 || !leader.leads);
    expect(answers.filter((at) => at !== undefined)).toEqual([]);
  });

  it('a replica whose disk fails stops and says so; the others go on', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const first = await hosts.elect();
    await hosts.applied(hosts.hosts, first.propose('before'));
    first.files.before = ({ operation }) => {
      if (operation === 'write') throw new Error('EIO');
    };
    first.propose('after');
    await hosts.until(() => first.ends.length > 0);
    expect(first.ends).toMatchObject([{ kind: 'failed' }]);
    expect(first.roles.at(-1)?.role).toBe('stopped');
    const second = await hosts.elect();
    await hosts.applied(
      hosts.followers.filter((host) => host !== first),
      second.propose('more'),
    );
    expect(second.applied.at(-1)).toBe('more');
  });

  it('a clean stop is told apart from a crash, and loses nothing', async () => {
    const hosts = new Hosts();
    await hosts.start();
    const leader = await hosts.elect();
    const index = proposeAll(leader, numbered(20));
    await hosts.applied(hosts.hosts, index);
    for (const host of hosts.hosts) await host.stop();
    await hosts.start();
    await hosts.elect();
    await hosts.until(() => hosts.hosts.every(({ applied }) => applied.length === 20));
  });

  it('members change one at a time; a restart knows those that lie in the log', async () => {
    const hosts = new Hosts({ ids: ['a', 'b', 'c'] });
    await hosts.start();
    const leader = await hosts.elect();
    const [gone, stays] = hosts.followers as [TestHost, TestHost];
    await hosts.applied(hosts.hosts, leader.propose('x'));
    expect(leader.node?.changeMembership({ kind: 'remove', id: gone.id })).toMatchObject({
      kind: 'accepted',
    });
    await hosts.until(() => (stays.configurations.at(-1)?.configuration.members.length ?? 0) === 2);
    await hosts.applied([leader, stays], leader.propose('y'));
    gone.crash();
    leader.crash();
    stays.crash();
    await leader.start();
    await stays.start();
    const again = await hosts.elect();
    expect(again.node?.status().configuration.configuration.members).toHaveLength(2);
    await hosts.applied([leader, stays], again.propose('z'));
  });
});
