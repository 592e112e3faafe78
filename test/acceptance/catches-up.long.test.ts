/**
 * A broker of three that is killed, and comes back when what it lacks has left the log of the
 * others; again and again. It has every message in the end, and each time what it has replaced is
 * gone from its disk.
 */

import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { ReplicaStatus } from '../../src/admin/cluster-port.ts';
import { withAdmin } from '../support/broker-admin.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { QueueUser, until } from '../support/queue-user.ts';

const STORAGE = { window: '2MiB', window_messages: 1_000, segment_size: '1MiB' };
const MESSAGES = 1_000;
const TIMES = 3;

// Three processes start: on a busy machine that takes a while.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

const texts = (from: number): string[] =>
  Array.from({ length: MESSAGES }, (_, at) => `${from + at} `.padEnd(8_000, '.'));

let cluster: BrokerCluster;

beforeAll(async () => {
  cluster = await BrokerCluster.started('catches-up', {
    storage: STORAGE,
    cluster: { shards: 1 },
    queues: [{ name: 'orders' }],
  });
});
afterAll(() => cluster.remove());

async function replicaAt(broker: BrokerProcess): Promise<ReplicaStatus | undefined> {
  return withAdmin(broker, async (admin) => (await admin.cluster.status()).replicas[0]);
}

async function publish({ port }: BrokerProcess, from: number): Promise<void> {
  const user = await QueueUser.connect(port, `publisher-${from}`);
  await user.publishMany('$queue/orders', texts(from));
  await user.leave();
}

/** Else it is asked for, of whoever leads. */
async function leads(broker: BrokerProcess): Promise<boolean> {
  if ((await replicaAt(broker))?.role === 'leader') return true;
  const to = basename(broker.dataDirectory);
  await withAdmin(await cluster.leader(), (admin) => admin.cluster.transfer(0, to));
  return false;
}

/** Names in a part of one of its replicas; empty: there are none, or no such folder. */
async function inPart(broker: BrokerProcess, ...path: readonly string[]): Promise<string[]> {
  return readdir(join(broker.dataDirectory, 'shard-0', ...path)).catch(() => []);
}

const linksOf = async (path: string): Promise<number> => (await stat(path)).nlink;

test('it comes back with everything each time, and keeps one replica', async () => {
  const [leader, behind] = await cluster.leaderFirst();
  await publish(leader, 0);
  for (let time = 1; time <= TIMES; time++) {
    const last = (await replicaAt(behind))?.last ?? 0;
    await behind.kill();
    await publish(leader, time * MESSAGES);
    await until(async () => ((await replicaAt(leader))?.start ?? 0) > last + 1);
    await behind.start();
    const { last: end } = (await replicaAt(leader)) as ReplicaStatus;
    await until(async () => ((await replicaAt(behind))?.applied ?? 0) >= end);
    const folder = `replica-${time}`;
    const before = time === 1 ? [] : [`replica-${time - 1}`];
    for (const part of ['log', 'records', 'runs']) {
      await until(async () => (await inPart(behind, ...before, part)).length === 0);
    }
    const runs = await inPart(behind, folder, 'runs');
    expect(runs.length).toBeGreaterThan(1);
    const paths = runs.map((name) => join(behind.dataDirectory, 'shard-0', folder, 'runs', name));
    expect(new Set(await Promise.all(paths.map(linksOf)))).toEqual(new Set([1]));
  }
  await until(() => leads(behind));
  const user = await QueueUser.connect(behind.port, 'consumer');
  await user.consume('$queue/orders');
  const all = Array.from({ length: TIMES + 1 }, (_, time) => texts(time * MESSAGES)).flat();
  expect(await user.settleNext(all.length)).toEqual(all);
  await user.leave();
});
