/**
 * Changes of a cluster on real replicas: four nodes in one process, over real sockets, disks and
 * clocks, and the steps of the command line over each node's own word. Nothing here depends on how
 * long it takes.
 */

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReplicaStatus } from '../src/admin/cluster-port.ts';
import { ClusterSteps } from '../src/cli/operator/cluster-steps.ts';
import { parseConfig } from '../src/config/config.ts';
import { OthersDesk } from '../src/others-talk.ts';
import { type PeerSettings, shardSettings } from '../src/options.ts';
import { mayLeaveMachine, peerPlaces } from '../src/peer-places.ts';
import { type ShardHost, openShardHost } from '../src/shard-host.ts';
import { loopback } from '../src/shard/port.ts';
import { freePort } from '../jepsen/cluster/free-port.ts';
import { scratchDirectory } from './support/broker-process.ts';
import { silentLog } from './support/silent-log.ts';

const PATIENCE_MS = 60_000;
const YAML = 'storage: { segment_size: 4MiB, reserve: 8MiB }\nlog: { level: silent }\n';
const FOUNDERS = ['n1', 'n2', 'n3'];

let directory = '';
const ports = new Map<string, number>();
const hosts = new Map<string, ShardHost>();

beforeEach(async () => {
  directory = await scratchDirectory('operator');
  for (const id of [...FOUNDERS, 'n4']) ports.set(id, await freePort());
});
afterEach(async () => {
  await Promise.all([...hosts.keys()].map((id) => stop(id)));
  await rm(directory, { recursive: true, force: true });
});

async function start(id: string, known: readonly string[], joins = false): Promise<void> {
  const data = join(directory, id);
  await mkdir(data, { recursive: true });
  const config = parseConfig({ file: { yaml: YAML, name: 'test' } });
  const place = (each: string) => ({ id: each, host: '127.0.0.1', port: ports.get(each) ?? 0 });
  const peers: PeerSettings = {
    cluster: 'test',
    listen: place(id),
    nodes: known.map(place),
    tls: undefined,
    backlogBytes: 1 << 24,
    catchUpBytesPerSecond: 1 << 24,
    joins,
    rejects: false,
    readsReplica: true,
    reattachGraceMs: 2_000,
    startGraceMs: 10_000,
  };
  const host = await openShardHost({
    settings: { ...shardSettings(config, data, false), node: id, peers },
    port: loopback()[1],
    volatilePort: loopback()[1],
    openPort: () => loopback()[1],
    others: () => new OthersDesk().of(0),
    logger: silentLog,
    onFailure: (error) => {
      throw error;
    },
  });
  hosts.set(id, host);
}

async function stop(id: string): Promise<void> {
  const host = hosts.get(id);
  hosts.delete(id);
  await host?.stop();
}

async function viewOf(id: string): Promise<ReplicaStatus> {
  const status = await hosts.get(id)?.cluster.status();
  return status?.replicas[0] ?? Promise.reject(new Error(`${id} has no replica`));
}

/** Who leads, when all of these say the same. */
async function leaderOf(ids: readonly string[]): Promise<string> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const said = await Promise.all(ids.map(async (id) => (await viewOf(id)).leader));
    const [first] = said;
    if (first !== undefined && said.every((each) => each === first)) return first;
    if (performance.now() > end) throw new Error(`nobody leads: ${said.join()}`);
    await sleep(20);
  }
}

/** What the steps said. */
async function inSteps(
  at: string,
  work: (steps: ClusterSteps) => Promise<unknown>,
): Promise<readonly string[]> {
  const host = hosts.get(at);
  if (host === undefined) throw new Error(`${at} is not there`);
  const { cluster } = host;
  const said: string[] = [];
  const end = performance.now() + PATIENCE_MS;
  const steps = new ClusterSteps({
    cluster,
    shard: 0,
    say: ({ step, node }) => Promise.resolve(void said.push(`${node} ${step}`)),
    pause: () => sleep(20),
    isOver: () => performance.now() > end,
  });
  await work(steps);
  return said;
}

const addressOf = (id: string): string => `127.0.0.1:${ports.get(id) ?? 0}`;

/** When it has found out that the cluster knows another directory of it. */
async function newIdOf(node: string): Promise<string> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const { id } = await viewOf(node).catch(() => ({ id: node }));
    if (id !== node) return id;
    if (performance.now() > end) throw new Error(`${node} keeps its id`);
    await sleep(20);
  }
}

async function rolesAt(id: string): Promise<string[]> {
  return (await viewOf(id)).members.map((member) => `${member.id} ${member.role}`);
}

describe('on three nodes, and a fourth that comes', () => {
  beforeEach(() => Promise.all(FOUNDERS.map((id) => start(id, FOUNDERS))).then(() => undefined));

  it('a transfer makes the other one lead, wherever it is asked for', async () => {
    const first = await leaderOf(FOUNDERS);
    const second = FOUNDERS.find((id) => id !== first) ?? '';
    const said = await inSteps(first, (steps) => steps.transfer(second));
    expect(said).toContain(`${second} begun`);
    expect(said.at(-1)).toBe(`${second} leads`);
    expect(await leaderOf(FOUNDERS)).toBe(second);
    const back = await inSteps(first, (steps) => steps.transfer(first));
    expect(back.at(-1)).toBe(`${first} leads`);
    expect(await leaderOf(FOUNDERS)).toBe(first);
  });

  it('an added node has everything and votes; a removed one counts no more', async () => {
    const leader = await leaderOf(FOUNDERS);
    await start('n4', [...FOUNDERS, 'n4'], true);
    expect(await rolesAt('n4')).toEqual(['n1 voter', 'n2 voter', 'n3 voter']);
    // Never used before, whatever was on this node once.
    const { id } = await viewOf('n4');
    expect(id).toMatch(/^n4\+[a-z2-7]{16}$/);
    const said = await inSteps(leader, (steps) => steps.add(id, addressOf('n4'), true));
    expect(said).toContain(`${id} add-asked`);
    expect(said.at(-1)).toBe(`${id} voter`);
    const again = await inSteps(leader, (steps) => steps.add(id, addressOf('n4'), true));
    expect(again).toEqual([`${id} voter`]);

    // The file of a founder does not know the one that was added: its log does.
    const gone = FOUNDERS.find((each) => each !== leader) ?? '';
    await stop(gone);
    await start(gone, FOUNDERS);
    const links = (await hosts.get(gone)?.cluster.status())?.links ?? [];
    expect(links.map((link) => link.id)).toContain('n4');
    expect((await inSteps(leader, (steps) => steps.remove(gone))).at(-1)).toBe(`${gone} gone`);
    await stop(gone);
    const left = [...FOUNDERS, 'n4'].filter((each) => each !== gone);
    await leaderOf(left);
    const ids = left.map((each) => (each === 'n4' ? id : each));
    expect(await rolesAt('n4')).toEqual(ids.map((each) => `${each} voter`));
    // Two of three: without the vote of the one that was added nobody could lead.
    await stop(leader);
    const rest = left.filter((each) => each !== leader);
    expect(ids).toContain(await leaderOf(rest));
  });

  it('a node that lost its directory votes no more under its name, and replaces itself', async () => {
    const leader = await leaderOf(FOUNDERS);
    const [lost = '', other = ''] = FOUNDERS.filter((each) => each !== leader);
    await stop(lost);
    await rm(join(directory, lost), { recursive: true });
    await start(lost, FOUNDERS);
    const id = await newIdOf(lost);
    expect(id).toMatch(new RegExp(`^${lost}\\+[a-z2-7]{16}$`));
    expect(await rolesAt(lost)).toEqual(
      FOUNDERS.filter((each) => each !== lost).map((each) => `${each} voter`),
    );
    const said = await inSteps(leader, async (steps) => {
      await steps.add(id, addressOf(lost), true);
      await steps.remove(lost);
    });
    expect(said.at(-1)).toBe(`${lost} gone`);
    expect(await rolesAt(leader)).toContain(`${id} voter`);
    // Its new id outlives a start, and its vote counts.
    await stop(lost);
    await start(lost, FOUNDERS);
    expect((await viewOf(lost)).id).toBe(id);
    await stop(leader);
    expect([id, other]).toContain(await leaderOf([lost, other]));
  });

  it('a leader that removes itself is followed by another, which has the change', async () => {
    const leader = await leaderOf(FOUNDERS);
    expect((await inSteps(leader, (steps) => steps.remove(leader))).at(-1)).toBe(`${leader} gone`);
    const left = FOUNDERS.filter((id) => id !== leader);
    await leaderOf(left);
    for (const id of left) expect(await rolesAt(id)).toEqual(left.map((each) => `${each} voter`));
  });

  it('what could never be is refused, and nothing changes', async () => {
    const leader = await leaderOf(FOUNDERS);
    const { cluster } = hosts.get(leader) ?? {};
    const add = (id: string, address: string) =>
      cluster?.change(0, { kind: 'add', id, address, votes: true });
    expect(await add('n 4', '127.0.0.1:1')).toMatchObject({ code: 'invalid' });
    expect(await add('n4', 'somewhere')).toMatchObject({ code: 'invalid' });
    expect(await add('n4', '0.0.0.0:1')).toMatchObject({ code: 'invalid' });
    expect(await add('n4', '10.0.0.1:7000')).toMatchObject({ code: 'unprotected' });
    expect(await cluster?.change(7, { kind: 'remove', id: 'n1' })).toMatchObject({
      code: 'no-shard',
    });
    expect(await cluster?.transfer(0, 'n9')).toMatchObject({ code: 'not-voter' });
    // The entry that names the founders.
    expect((await viewOf(leader)).membersIndex).toBe(1);
  });
});

describe('a majority that is gone for good', () => {
  beforeEach(() => Promise.all(FOUNDERS.map((id) => start(id, FOUNDERS))).then(() => undefined));

  /** As the command does: again while it listens. */
  async function rescued(at: string, giveUp: readonly string[]): Promise<string> {
    const end = performance.now() + PATIENCE_MS;
    const wish = { by: 'op@desk', giveUp, evenIfShorter: false };
    for (;;) {
      const answer = await hosts.get(at)?.cluster.rescue(0, wish);
      const said = answer?.kind === 'refused' ? answer.code : (answer?.kind ?? 'away');
      if (said !== 'listening') return said;
      if (performance.now() > end) throw new Error(`${at} listens for ever`);
      await sleep(50);
    }
  }

  const withoutReplica = async (id: string): Promise<boolean> =>
    (await hosts.get(id)?.cluster.status())?.replicas.length === 0;

  async function until(holds: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (!(await holds())) {
      if (performance.now() > end) throw new Error(`it never came to hold: ${holds.toString()}`);
      await sleep(50);
    }
  }

  it('one is left and goes on; who comes back is refused, and new ones are added', async () => {
    await leaderOf(FOUNDERS);
    const { committed } = await viewOf('n1');
    expect(await rescued('n1', ['n2', 'n3'])).toBe('has-leader');
    await stop('n2');
    await stop('n3');
    await until(async () => (await viewOf('n1')).leader === undefined);
    expect(await rescued('n1', ['n2'])).toBe('not-named');
    expect(await rescued('n1', ['n2', 'n3', 'n4'])).toBe('not-named');
    expect(await rescued('n1', ['n3', 'n2'])).toBe('accepted');
    await until(async () => (await viewOf('n1')).role === 'leader');
    const view = await viewOf('n1');
    expect(view.id).toMatch(/^n1\+[a-z2-7]{16}$/);
    expect(await rolesAt('n1')).toEqual([`${view.id} voter`]);
    expect(view.committed).toBeGreaterThan(committed);
    expect(view.rescued).toMatchObject({ by: 'op@desk', givenUp: ['n1', 'n2', 'n3'] });
    expect(await rescued('n1', [])).toBe('has-leader');

    // Both of them: among themselves they would be a majority of before.
    await Promise.all(['n2', 'n3'].map((id) => start(id, FOUNDERS)));
    await until(() => withoutReplica('n2'));
    await until(() => withoutReplica('n3'));
    expect(await viewOf('n1')).toMatchObject({ id: view.id, role: 'leader', term: view.term });

    await stop('n2');
    await rm(join(directory, 'n2'), { recursive: true });
    await start('n2', FOUNDERS, true);
    const { id } = await viewOf('n2');
    const said = await inSteps('n1', (steps) => steps.add(id, addressOf('n2'), true));
    expect(said.at(-1)).toBe(`${id} voter`);
    expect((await viewOf('n2')).rescued).toEqual(view.rescued);
    await stop('n1');
    await start('n1', FOUNDERS);
    expect((await viewOf('n1')).id).toBe(view.id);
    await leaderOf(['n1', 'n2']);
  });

  it('is no rescue while two of three are there', async () => {
    await leaderOf(FOUNDERS);
    await stop('n3');
    await leaderOf(['n1', 'n2']);
    expect(await rescued('n1', ['n2', 'n3'])).toBe('has-leader');
  });
});

it('a single broker has nobody to add, and says so', async () => {
  const data = join(directory, 'alone');
  await mkdir(data);
  const config = parseConfig({ file: { yaml: YAML, name: 'test' } });
  const host = await openShardHost({
    settings: shardSettings(config, data, false),
    port: loopback()[1],
    volatilePort: loopback()[1],
    openPort: () => loopback()[1],
    others: () => new OthersDesk().of(0),
    logger: silentLog,
    onFailure: () => undefined,
  });
  hosts.set('alone', host);
  const change = { kind: 'add', id: 'n2', address: '127.0.0.1:1', votes: true } as const;
  expect(await host.cluster.change(0, change)).toMatchObject({ code: 'alone' });
  expect(await host.cluster.status()).toMatchObject({ cluster: undefined, links: [] });
});

describe('where nodes are reached', () => {
  const settings: PeerSettings = {
    cluster: 'c',
    listen: { host: '127.0.0.1', port: 1 },
    nodes: [{ id: 'a', host: '127.0.0.1', port: 1 }],
    tls: undefined,
    backlogBytes: 1,
    catchUpBytesPerSecond: 1 << 24,
    joins: false,
    rejects: false,
    readsReplica: true,
    reattachGraceMs: 2_000,
    startGraceMs: 10_000,
  };
  const member = (id: string, address: string) => ({ id, role: 'voter', address }) as const;

  it('the file has the last word, and members that it does not know are where they said', () => {
    const members = [member('a', 'x:9'), member('b+2', '[::1]:7'), member('odd', '')];
    expect(peerPlaces(settings, members)).toEqual([
      { id: 'a', host: '127.0.0.1', port: 1 },
      { id: 'b', host: '::1', port: 7 },
    ]);
  });

  it('plain text leaves the machine only where it did before', () => {
    expect(mayLeaveMachine(settings)).toBe(false);
    expect(mayLeaveMachine({ ...settings, tls: { cert: 'c', key: 'k', ca: 'a' } })).toBe(true);
    const outside = { id: 'b', host: '10.0.0.1', port: 1 };
    expect(mayLeaveMachine({ ...settings, nodes: [outside] })).toBe(true);
  });
});
