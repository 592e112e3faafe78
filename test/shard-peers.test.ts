/**
 * The shards of three nodes in one process, over real sockets, disks and clocks: what is confirmed
 * on one is on all, and the next leader serves it. Nothing here depends on how long it takes.
 */

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { shardSettings } from '../src/options.ts';
import type { PeerSettings } from '../src/options.ts';
import { openShardHost } from '../src/shard-host.ts';
import type { ShardHost } from '../src/shard-host.ts';
import { loopback } from '../src/shard/port.ts';
import type { BatchPort } from '../src/shard/port.ts';
import { freePort } from './support/broker-process.ts';
import { PlainClient } from './support/shard-world.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const PATIENCE_MS = 45_000;
const ASK_AGAIN_MS = 3_000;
const YAML = `
queues: [{ name: orders, type: classic }]
storage: { segment_size: 4MiB, reserve: 8MiB }
log: { level: silent }
`;

interface Running {
  readonly id: string;
  readonly host: ShardHost;
  readonly near: BatchPort;
  client: PlainClient;
}

let directory: string;
const running = new Map<string, Running>();
let nodes: PeerSettings['nodes'];

beforeEach(async () => {
  const parent = join(import.meta.dirname, '.tmp');
  await mkdir(parent, { recursive: true });
  directory = await mkdtemp(join(parent, 'peers-'));
  const ids = ['n1', 'n2', 'n3'];
  nodes = await Promise.all(
    ids.map(async (id) => ({ id, host: '127.0.0.1', port: await freePort() })),
  );
});

afterEach(async () => {
  await Promise.all([...running.keys()].map((id) => stop(id)));
  await rm(directory, { recursive: true, force: true });
});

async function start(id: string, small = false): Promise<void> {
  const config = parseConfig({ file: { yaml: YAML, name: 'test' } });
  const listen = nodes.find((node) => node.id === id) ?? { host: '', port: 0 };
  const peers: PeerSettings = {
    cluster: 'test',
    listen,
    nodes,
    tls: undefined,
    backlogBytes: 1 << 24,
    joins: false,
  };
  const usual = shardSettings(config, join(directory, id), false);
  const { storage, runs } = usual;
  const tiny = {
    checkpointLogBytes: 200_000,
    runs: { ...runs, windowBytes: 200_000 },
    storage: { ...storage, segmentBytes: 65_536, prewriteBytes: 65_536 },
  };
  const settings = { ...usual, ...(small ? tiny : {}), node: id, peers };
  const [near, port] = loopback();
  const [, volatilePort] = loopback();
  const host = await openShardHost({
    settings,
    port,
    volatilePort,
    logger: silent,
    onFailure: (error) => {
      throw error;
    },
  });
  running.set(id, { id, host, near, client: new PlainClient(near, id) });
}

async function stop(id: string): Promise<void> {
  const node = running.get(id);
  running.delete(id);
  await node?.host.stop();
}

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`it never came to hold: ${holds.toString()}`);
    await sleep(5);
  }
}

/** Only the leader answers; one that lost the lead, and won it again, answers a new client. */
async function leader(): Promise<Running> {
  const find = (): Running | undefined =>
    [...running.values()].find(({ client }) => client.boot > 0 && client.failed === undefined);
  let askedAt = -ASK_AGAIN_MS;
  await until(() => {
    if (find()?.client.knowsAll === true) return true;
    if (performance.now() - askedAt < ASK_AGAIN_MS) return false;
    askedAt = performance.now();
    for (const node of running.values()) {
      if (node.client.failed !== undefined) node.client = new PlainClient(node.near, node.id);
      if (node.client.boot === 0) node.client.hello();
    }
    return false;
  });
  return find() as Running;
}

const textOf = (nth: number): string => `m${nth} ${'x'.repeat(1000)}`;

async function publish({ client }: Running, from: number, count: number): Promise<void> {
  const queueId = client.queues.get('orders') ?? -1;
  for (let nth = from; nth < from + count; nth++) client.enqueue([queueId], textOf(nth));
  client.send();
  await until(() => client.confirmed === client.next - 1);
}

it('what one node has confirmed is served by the next, and by one that was away', async () => {
  await Promise.all(nodes.map(({ id }) => start(id)));
  const first = await leader();
  await publish(first, 0, 100);
  await stop(first.id);
  const second = await leader();
  expect(second.id).not.toBe(first.id);
  await publish(second, 100, 100);
  await start(first.id);
  const third = nodes.find(({ id }) => id !== first.id && id !== second.id)?.id ?? '';
  await stop(third);
  const now = await leader();
  await publish(now, 200, 100);
  await stop(second.id);
  await start(third);
  const last = await leader();
  last.client.consume(1, last.client.queues.get('orders') ?? -1, 1000);
  last.client.send();
  await until(() => last.client.deliveries.length >= 300);
  const texts = last.client.deliveries.map(({ text }) => text);
  expect(texts).toEqual(Array.from({ length: 300 }, (_none, nth) => textOf(nth)));
});

it('one that is behind the start of the log comes back, and is half of the next quorum', async () => {
  for (const { id } of nodes) await start(id, true);
  const first = await leader();
  const away = nodes.find(({ id }) => id !== first.id)?.id ?? '';
  await stop(away);
  for (let from = 0; from < 2_000; from += 100) await publish(first, from, 100);
  await start(away, true);
  const current = join(directory, away, 'shard-0', 'current');
  await until(() => existsSync(current));
  await publish(first, 2_000, 10);
  // It has to take the lead from whoever else is left, or nobody leads.
  await stop(first.id);
  const second = await leader();
  await publish(second, 2_010, 10);
  second.client.consume(1, second.client.queues.get('orders') ?? -1, 10_000);
  second.client.send();
  await until(() => second.client.deliveries.length >= 2_020);
  const texts = second.client.deliveries.map(({ text }) => text);
  expect(texts).toEqual(Array.from({ length: 2_020 }, (_none, nth) => textOf(nth)));
});
