/**
 * An operator at a cluster of real brokers, each a process with a disk of its own: looks at it, hands
 * over the lead, adds a node that holds everything, and replaces one, by the command line alone.
 */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AdminClient } from '../../src/admin/client.ts';
import type { ReplicaStatus } from '../../src/admin/cluster-port.ts';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { type Ended, fluxmq } from '../cli/run-cli.ts';
import { BrokerProcess, freePort, scratchDirectory } from '../support/broker-process.ts';

const PATIENCE_MS = 60_000;
const IDS = ['n1', 'n2', 'n3', 'n4'] as const;
const FOUNDERS = IDS.slice(0, 3);

let root = '';
const addresses = new Map<string, string>();
const brokers = new Map<string, BrokerProcess>();

beforeEach(async () => {
  root = await scratchDirectory('cluster');
  for (const id of IDS) addresses.set(id, `127.0.0.1:${await freePort()}`);
});
afterEach(async () => {
  await Promise.all([...brokers.values()].map((broker) => broker.kill()));
  brokers.clear();
  await rm(root, { recursive: true, force: true });
});

const dataOf = (id: string): string => join(root, id);

/** What a founder knows: the founders; one that comes later knows itself too. */
async function start(id: string): Promise<void> {
  const joins = !FOUNDERS.some((founder) => founder === id);
  const known = joins ? [...FOUNDERS, id] : FOUNDERS;
  const peers = known.map((each) => ({ id: each, addr: addresses.get(each) }));
  const cluster = { id: 'test', listen: addresses.get(id), peers, ...(joins && { join: true }) };
  const file = join(root, `${id}.yaml`);
  await mkdir(dataOf(id), { recursive: true });
  await writeFile(file, JSON.stringify({ node: { id }, cluster }));
  const broker = await BrokerProcess.prepare(id, {
    args: ['--config', file, '--set', 'storage.segment_size=4MiB', '--set', 'storage.reserve=8MiB'],
    dataDirectory: dataOf(id),
    isUpBySocket: true,
  });
  brokers.set(id, broker);
  await broker.start();
}

async function replicaOf(id: string): Promise<ReplicaStatus | undefined> {
  const client = await AdminClient.open(join(dataOf(id), 'admin.sock'), 10_000);
  try {
    return (await client.cluster.status()).replicas[0];
  } finally {
    client.close();
  }
}

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`it never came: ${look.toString()}`);
    await sleep(50);
  }
}

/** Who leads, when all of these say so. */
function leaderOf(ids: readonly string[]): Promise<string> {
  return until(async () => {
    const said = await Promise.all(ids.map(async (id) => (await replicaOf(id))?.leader));
    return said.every((each) => each === said[0]) ? said[0] : undefined;
  });
}

const cluster = (id: string, ...args: readonly string[]): Promise<Ended> =>
  fluxmq(['cluster', ...args, '--data', dataOf(id)]);

async function done(id: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster(id, ...args);
  expect(stderr).toBe('');
  expect(code).toBe(ExitCode.ok);
  return stdout;
}

it('looks, hands over, adds, replaces; a node that is not the leader names it', async () => {
  await Promise.all(FOUNDERS.map((id) => start(id)));
  const first = await leaderOf(FOUNDERS);
  const [second = '', third = ''] = FOUNDERS.filter((id) => id !== first);

  const text = await done(second, 'status', '--with', dataOf(first), '--with', dataOf(third));
  expect(text).toContain(`cluster test, shard 0: ${first} leads`);
  for (const id of FOUNDERS) expect(text).toMatch(new RegExp(`0 +${id} +voter`));
  // A node that does not lead asks its leader.
  await until(async () => {
    const { members = [] } = (await replicaOf(second)) ?? {};
    const told = members.filter(({ progress }) => progress?.active === true);
    return told.length === 2 ? true : undefined;
  });

  expect(await done(first, 'transfer', second)).toContain(`${second}: leads`);
  expect(await leaderOf(FOUNDERS)).toBe(second);
  const refused = await cluster(first, 'transfer', third);
  expect(refused.code).toBe(ExitCode.refused);
  expect(refused.stderr).toContain(`${second} does: give this command there`);

  await start('n4');
  const fourth = (await replicaOf('n4'))?.id ?? '';
  expect(await done('n4', 'status')).toContain(`${fourth} is no member; at the leader`);
  const added = await done(second, 'add', fourth, addresses.get('n4') ?? '');
  expect(added).toContain(`${fourth}: added as a learner`);
  expect(added).toContain(`${fourth}: is a voter`);
  const mine = await replicaOf('n4');
  expect(mine?.members.map(({ id, role }) => [id, role])).toEqual(
    [...FOUNDERS, fourth].map((id) => [id, 'voter']),
  );

  await brokers.get(third)?.kill();
  expect(await done(second, 'remove', third, '--yes')).toContain(`${third}: is no member`);
  const left: readonly string[] = [first, second, 'n4'];
  await until(async () => {
    const members = await Promise.all(left.map(async (id) => (await replicaOf(id))?.members));
    return members.every((each) => each?.length === 3) ? true : undefined;
  });
  // A majority of those who are left, without the leader: the one that was added votes.
  await brokers.get(second)?.kill();
  expect([first, fourth]).toContain(await leaderOf([first, 'n4']));
});
