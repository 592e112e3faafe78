/** A replica that is behind the log's start: checkpoint and log, over a network that loses. */

import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '#raft';
import { checksumOf, Hosts } from './hosts.ts';
import type { TestHost } from './hosts.ts';

const COUNT = 120;
const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_none, nth) => `m${first + nth}`);

function proposeAll(leader: TestHost, texts: readonly string[]): number {
  let index = 0;
  for (const what of texts) index = leader.propose(what);
  return index;
}

/** One follower is down, and the log of the others begins behind what it has. */
async function leftBehind(): Promise<{ hosts: Hosts; leader: TestHost; behind: TestHost }> {
  const hosts = new Hosts({ limits: { tailBytes: 1000 } });
  await hosts.start();
  const leader = await hosts.elect();
  const [behind] = hosts.followers as [TestHost];
  await hosts.applied(hosts.hosts, leader.propose('m0'));
  behind.crash();
  await hosts.applied([leader], proposeAll(leader, numbered(COUNT - 1, 1)));
  for (const host of hosts.hosts) {
    if (host === behind) continue;
    await hosts.until(() => host.applied.length === COUNT);
    await host.compact();
    expect(host.log?.start).toBeGreaterThan(10);
  }
  return { hosts, leader, behind };
}

/** Opened anew wherever a checkpoint has taken its place, as its owner would. */
async function replacedAndOpened(hosts: Hosts, behind: TestHost): Promise<void> {
  await hosts.until(() => behind.ends.length > 0);
  expect(behind.ends).toMatchObject([{ kind: 'replaced' }]);
  await behind.start();
}

async function caughtUp(hosts: Hosts, behind: TestHost, texts: readonly string[]): Promise<void> {
  await hosts.until(() => behind.applied.length >= texts.length);
  expect(behind.applied).toEqual(texts);
  expect(behind.catchUpFailures).toEqual([]);
}

const isAnswer = (message: PeerMessage): boolean => message.kind === 'catchUpAnswer';

describe('a replica behind the start of the log', () => {
  it('gets the checkpoint, then the log, while writes go on', async () => {
    const { hosts, leader, behind } = await leftBehind();
    await behind.start();
    const writing = proposeAll(leader, numbered(30, COUNT));
    await replacedAndOpened(hosts, behind);
    await hosts.applied(hosts.hosts, writing);
    await caughtUp(hosts, behind, numbered(COUNT + 30));
    expect(behind.log?.start).toBeGreaterThan(1);
    expect(behind.checkpoint.configuration.configuration.members).toHaveLength(3);
  });

  it('keeps its vote: the new log knows for whom the old one voted', async () => {
    const { hosts, leader, behind } = await leftBehind();
    await behind.start();
    await hosts.until(() => behind.ends.length > 0);
    const { term = 0 } = leader.node ?? {};
    hosts.isolate(behind.id);
    await behind.start();
    expect(behind.node?.term).toBeGreaterThanOrEqual(term);
  });

  it('a message that is lost is asked for again', async () => {
    const { hosts, behind } = await leftBehind();
    let nth = 0;
    hosts.passes = (message) => !message.kind.startsWith('catchUp') || nth++ % 3 !== 1;
    await behind.start();
    await replacedAndOpened(hosts, behind);
    await caughtUp(hosts, behind, numbered(COUNT));
  });

  it('an answer with a wrong checksum, or twice, or of another transfer, counts for nothing', async () => {
    const { hosts, behind } = await leftBehind();
    let damaged = 0;
    hosts.passes = (message) => {
      if (message.kind !== 'catchUpAnswer') return true;
      const { listener } = behind;
      const bytes = new TextEncoder().encode('not what was sent');
      if (damaged++ % 4 === 0) {
        listener?.received({ ...message, bytes });
        return false;
      }
      const other = { transfer: message.transfer + 1, checksum: checksumOf(bytes) };
      listener?.received({ ...message, ...other, bytes });
      listener?.received(message);
      return true;
    };
    await behind.start();
    await replacedAndOpened(hosts, behind);
    await caughtUp(hosts, behind, numbered(COUNT));
    expect(damaged).toBeGreaterThan(COUNT);
  });

  it('goes on from another leader where the first one has left off', async () => {
    const { hosts, leader, behind } = await leftBehind();
    let passed = 0;
    hosts.passes = (message) => !isAnswer(message) || passed++ < COUNT / 2;
    await behind.start();
    await hosts.until(() => passed >= COUNT / 2);
    const asked = leader.answers;
    leader.crash();
    hosts.passes = () => true;
    // It commits nothing before the one that is behind has caught up: they are the quorum.
    await hosts.until(() => hosts.leader !== undefined);
    const next = hosts.leader as TestHost;
    expect(next).not.toBe(leader);
    expect(next).not.toBe(behind);
    expect(next.checkpoint.index).toBe(leader.checkpoint.index);
    await replacedAndOpened(hosts, behind);
    await caughtUp(hosts, behind, numbered(COUNT));
    expect(asked).toBeGreaterThanOrEqual(COUNT / 2);
    expect(next.answers).toBeLessThan(COUNT);
  });

  it('a crash in the middle leaves the old replica, and the next attempt goes on', async () => {
    const { hosts, behind } = await leftBehind();
    let passed = 0;
    hosts.passes = (message) => !isAnswer(message) || passed++ < 20;
    await behind.start();
    await hosts.until(() => passed > 20);
    expect(behind.directory).toBe('/data/log-1');
    behind.crash();
    hosts.passes = () => true;
    await behind.start();
    expect(behind.applied).toEqual([]);
    await replacedAndOpened(hosts, behind);
    await caughtUp(hosts, behind, numbered(COUNT));
  });

  it('an offer of an older leader, or of what it has already, is refused', async () => {
    const { hosts, leader, behind } = await leftBehind();
    const [other] = hosts.followers.filter((host) => host !== behind) as [TestHost];
    const offer = {
      kind: 'catchUpOffer',
      from: leader.id,
      to: other.id,
      session: 1,
      transfer: 99,
      configuration: leader.checkpoint.configuration,
      summary: new TextEncoder().encode('1'),
    } as const;
    const before = hosts.sent.length;
    const { index, term: indexTerm } = leader.checkpoint;
    const { term = 0 } = leader.node ?? {};
    other.listener?.received({ ...offer, term, index, indexTerm });
    other.listener?.received({ ...offer, term: term - 1, index: index + 100, indexTerm });
    await hosts.step();
    const said = hosts.sent.slice(before).filter(({ kind }) => kind.startsWith('catchUp'));
    expect(said).toMatchObject([{ kind: 'catchUpEnd', outcome: 'refused', transfer: 99 }]);
  });

  it('the leader holds the log behind the checkpoint while the transfer goes on', async () => {
    const { hosts, leader, behind } = await leftBehind();
    let passed = 0;
    hosts.passes = (message) => !isAnswer(message) || passed++ < 5;
    await behind.start();
    await hosts.until(() => passed > 5);
    const held = leader.checkpoint.index;
    const index = proposeAll(leader, numbered(200, COUNT));
    await hosts.applied([leader], index);
    await leader.compact();
    expect(leader.log?.start).toBeLessThanOrEqual(held + 1);
    hosts.isolate(behind.id);
    for (let steps = 0; steps < 1200; steps++) await hosts.step();
    await leader.compact();
    expect(leader.log?.start).toBeGreaterThan(held + 1);
  });
});
