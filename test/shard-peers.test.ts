/**
 * The shards of three nodes in one process, over real sockets, disks and clocks: what any of them
 * has taken is on all, whoever leads. Nothing here depends on how long it takes.
 */

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { OthersDesk } from '../src/others-talk.ts';
import { shardSettings } from '../src/options.ts';
import type { PeerSettings } from '../src/options.ts';
import { openShardHost } from '../src/shard-host.ts';
import type { ShardHost } from '../src/shard-host.ts';
import { ShardClient } from '../src/shard/client.ts';
import { loopback } from '../src/shard/port.ts';
import type { QueueId } from '../src/broker/ports.ts';
import type { QueueDefinition } from '../src/machine/definitions.ts';
import { freePort } from '../jepsen/cluster/free-port.ts';
import { flipRecord } from './support/flip-record.ts';
import { textsSink } from './support/texts-sink.ts';

/** What was told at level error. */
const errors: string[] = [];
const logger = {
  debug() {},
  info() {},
  warn() {},
  error: (fields: object, words: string) => void errors.push(`${words} ${JSON.stringify(fields)}`),
};
const PATIENCE_MS = 45_000;
const YAML = `
queues: [{ name: orders, type: classic }, { name: events, type: stream }]
storage: { segment_size: 4MiB, reserve: 8MiB }
log: { level: silent }
`;

interface Running {
  readonly id: string;
  readonly host: ShardHost;
  /** When it has reached a leader. */
  readonly client: Promise<ShardClient>;
}

let directory: string;
const running = new Map<string, Running>();
let nodes: PeerSettings['nodes'];

beforeEach(async () => {
  errors.length = 0;
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
    catchUpBytesPerSecond: 1 << 24,
    rejects: false,
    readsReplica: true,
    reattachGraceMs: 2_000,
    startGraceMs: 10_000,
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
    openPort: () => loopback()[1],
    others: () => new OthersDesk().of(0),
    logger,
    onFailure: (error) => {
      throw error;
    },
  });
  const opened = ShardClient.open({ port: near, node: id, logger, isRouted: true });
  const client = opened.then((reached) => withQueues(reached, settings.queues));
  running.set(id, { id, host, client });
}

/** A node declares the queues of its file when it reaches who leads. */
async function withQueues(
  client: ShardClient,
  queues: readonly QueueDefinition[],
): Promise<ShardClient> {
  for (const queue of queues) {
    if (client.queues.named(queue.name) === undefined) await client.admin.declare(queue);
  }
  await until(() => queues.every(({ name }) => client.queues.named(name) !== undefined));
  return client;
}

async function stop(id: string): Promise<void> {
  const node = running.get(id);
  running.delete(id);
  await node?.host.stop();
  await node?.client.then((client) => client.close());
}

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`it never came to hold: ${holds.toString()}`);
    await sleep(5);
  }
}

const textOf = (nth: number): string => `m${nth} ${'x'.repeat(1000)}`;

const publish = (node: Running, from: number, count: number): Promise<void> =>
  publishTo({ node, queue: 'orders' }, from, count);

/** To the node, whoever leads. */
async function publishTo(
  { node, queue }: { readonly node: Running; readonly queue: string },
  from: number,
  count: number,
): Promise<void> {
  const client = await node.client;
  const target = client.queues.named(queue)?.queueId as QueueId;
  const outcomes: unknown[] = [];
  const waiter = { enqueued: (_tag: number, outcome: unknown) => void outcomes.push(outcome) };
  const origin = { clientId: node.id, protocol: 'mqtt' } as const;
  for (let nth = from; nth < from + count; nth++) {
    const payload = Buffer.from(textOf(nth));
    const message = { topic: 't', payload, qos: 1, retain: false, properties: undefined } as const;
    client.enqueue([target], message, origin, waiter, nth);
  }
  await until(() => outcomes.length === count);
  expect(outcomes.filter((outcome) => typeof outcome === 'string')).toEqual([]);
}

/** Everything that the queue holds, from any node. */
async function consumed(node: Running, count: number): Promise<string[]> {
  const client = await node.client;
  const texts: string[] = [];
  const sink = textsSink(texts);
  const queueId = client.queues.named('orders')?.queueId as QueueId;
  const none = { group: undefined, filter: '', start: undefined, manual: false };
  client.consume({ ...none, queueId, clientId: 'c', credit: 10_000 }, sink);
  await until(() => texts.length >= count);
  return texts;
}

/** All of the stream, as one group of its own gets it, in order. */
async function streamed(node: Running, group: string, count: number): Promise<string[]> {
  const client = await node.client;
  const texts: string[] = [];
  const sink = textsSink(texts);
  const queueId = client.queues.named('events')?.queueId as QueueId;
  const start = { kind: 'first' } as const;
  const whole = { group, filter: '', start, manual: false, clientId: group, credit: 10_000 };
  client.consume({ ...whole, queueId }, sink);
  await until(() => texts.length >= count);
  return texts;
}

async function figure(node: Running, name: string): Promise<number> {
  return (await (await node.client).stats()).get(name) ?? -1;
}

function node(nth: number): Running {
  return running.get(`n${nth}`) as Running;
}

const all = (count: number): string[] => Array.from({ length: count }, (_none, nth) => textOf(nth));

it('what any node has taken is stored by who leads, also while nodes stop', async () => {
  await Promise.all(nodes.map(({ id }) => start(id)));
  await publish(node(1), 0, 100);
  await publish(node(2), 100, 100);
  await stop('n1');
  await publish(node(3), 200, 100);
  await start('n1');
  const stopping = stop('n2');
  await publish(node(1), 300, 100);
  await stopping;
  await start('n2');
  await stop('n3');
  expect(await consumed(node(2), 400)).toEqual(all(400));
});

it('one that is behind the start of the log comes back, half of the next quorum', async () => {
  for (const { id } of nodes) await start(id, true);
  await publish(node(1), 0, 10);
  await stop('n1');
  for (let from = 10; from < 2_000; from += 100) await publish(node(2), from, 100);
  const sent = 2_010;
  await start('n1', true);
  const current = join(directory, 'n1', 'shard-0', 'current');
  await until(() => existsSync(current));
  await publish(node(2), sent, 10);
  // With one of the others it is a majority, or nobody leads.
  await stop('n3');
  await publish(node(1), sent + 10, 10);
  expect(await consumed(node(1), sent + 20)).toEqual(all(sent + 20));
});

/** Its log begins behind the first entry, so that without records it cannot tell its state. */
async function stoppedWithShortLog(): Promise<number> {
  await Promise.all(nodes.map(({ id }) => start(id, true)));
  const log = join(directory, 'n1', 'shard-0', 'log');
  const first = `${'1'.padStart(20, '0')}-`;
  let sent = 0;
  do {
    await publish(node(2), sent, 100);
    sent += 100;
  } while ((await readdir(log)).some((name) => name.startsWith(first)));
  await stop('n1');
  return sent;
}

it.each([
  ['has a flipped bit', (records: string) => flipRecord(records, 'queue/1')],
  ['is gone', (records: string) => rm(records, { recursive: true })],
])(
  'one whose records: %s, gets them from its leader, and is half of the next quorum',
  async (_what, damage) => {
    const sent = await stoppedWithShortLog();
    await damage(join(directory, 'n1', 'shard-0', 'records'));
    // Meanwhile more is stored than its log has: it follows what its log ends with.
    await publish(node(2), sent, 10);
    await start('n1', true);
    expect(errors.join()).toContain('the records of this replica are lost');
    await until(() => existsSync(join(directory, 'n1', 'shard-0', 'current')));
    await publish(node(2), sent + 10, 10);
    await stop('n3');
    await publish(node(1), sent + 20, 10);
    expect(await consumed(node(1), sent + 30)).toEqual(all(sent + 30));
  },
);

it('what it has lost is told for as long as it waits, and clients are served through it', async () => {
  const sent = await stoppedWithShortLog();
  await flipRecord(join(directory, 'n1', 'shard-0', 'records'), 'queue/1');
  await stop('n2');
  await stop('n3');
  await start('n1', true);
  const { host } = node(1);
  expect((await host.stats()).get('alarm/records-lost')).toBe(1);
  const { replicas } = await host.cluster.status();
  expect(replicas).toMatchObject([{ role: 'follower', leader: undefined }]);
  // A leader by its vote, which commits nothing before it has its state again.
  await start('n2', true);
  await publish(node(1), sent, 10);
  expect((await host.stats()).has('alarm/records-lost')).toBe(false);
  expect(await consumed(node(1), sent + 10)).toEqual(all(sent + 10));
});

it('one whose log is there from its first entry makes its records anew alone', async () => {
  await Promise.all(nodes.map(({ id }) => start(id)));
  await publish(node(1), 0, 100);
  for (const { id } of nodes) await stop(id);
  for (const { id } of nodes) {
    await flipRecord(join(directory, id, 'shard-0', 'records'), 'definitions/0');
  }
  await Promise.all(nodes.map(({ id }) => start(id)));
  expect(errors.filter((words) => words.includes('made anew from its log'))).toHaveLength(3);
  expect(await consumed(node(3), 100)).toEqual(all(100));
  expect(await readdir(join(directory, 'n1', 'shard-0'))).not.toContain('current');
});

it('a stream is read from the replica of each node; the leader sends none of it', async () => {
  await Promise.all(nodes.map(({ id }) => start(id)));
  await publishTo({ node: node(1), queue: 'events' }, 0, 300);
  const leader = (await node(1).client).leader;
  const others = nodes.map(({ id }) => id).filter((id) => id !== leader);
  const before = await figure(running.get(leader) as Running, 'peer-bytes/sent');
  for (const id of others) {
    for (const group of ['one', 'two', 'three']) {
      expect(await streamed(running.get(id) as Running, id + group, 300)).toEqual(all(300));
    }
    expect(await figure(running.get(id) as Running, 'reads/from-replica')).toBe(900);
  }
  const sent = (await figure(running.get(leader) as Running, 'peer-bytes/sent')) - before;
  expect(sent).toBeLessThan(300 * 1000);
  // A node that comes again reads from what it has kept.
  const [again] = others as [string];
  await stop(again);
  await publishTo({ node: running.get(leader) as Running, queue: 'events' }, 300, 50);
  await start(again);
  expect(await streamed(running.get(again) as Running, 'again', 350)).toEqual(all(350));
});
