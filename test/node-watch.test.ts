/** A node that runs tells its health and its numbers, and does so from its first moment on. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { ListenError, Node, type ShardThreads } from '../src/node.ts';
import { GROUP_METRICS, METRICS, QUEUE_METRICS } from '../src/ops/metric-table.ts';
import { pulseMemory } from '../src/ops/thread-pulse.ts';
import { startShards } from '../src/shard-threads.ts';
import { freePort } from '../jepsen/cluster/free-port.ts';
import { AccessFiles } from './support/access-files.ts';

const ROOT = resolve(import.meta.dirname, '.tmp');
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

let directory = '';
const running: Node[] = [];

beforeEach(async () => {
  await mkdir(ROOT, { recursive: true });
  directory = await mkdtemp(join(ROOT, 'watch-'));
});
afterEach(async () => {
  for (const node of running.splice(0)) await node.stop();
  await rm(directory, { recursive: true, force: true });
});

type StartShards = Parameters<typeof Node.start>[0]['startShards'];

function start(set: readonly string[] = [], shards: StartShards = startShards): Promise<Node> {
  const overrides = [
    `data_dir=${join(directory, 'data')}`,
    'server.mqtt.tcp.addr=127.0.0.1:0',
    'server.ops.addr=127.0.0.1:0',
    'log.level=silent',
    'admin.socket=off',
    'storage.segment_size=1MiB',
    ...set,
  ];
  const config = parseConfig({ overrides });
  const parts = { config, log: quiet, version: '0.0.0', startShards: shards, terminal: false };
  return Node.start(parts);
}

async function get(port: number, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, body: await response.text() };
}

it.each(['worker', 'main'])(
  'its shards in the %s thread: alive, ready, with figures',
  async (on) => {
    const node = await start([`shards.thread=${on}`]);
    running.push(node);
    const port = node.ops?.port ?? 0;
    expect((await get(port, '/livez')).status).toBe(200);
    expect(await get(port, '/readyz')).toEqual({
      status: 200,
      body: '{"status":"ready","reasons":[]}\n',
    });
    await vi.waitFor(
      async () => {
        const { body } = await get(port, '/metrics');
        const value = (name: string): number => {
          const line = body.split('\n').find((each) => each.startsWith(`${name} `));
          return Number(line?.split(' ')[1]);
        };
        expect(value('fluxmq_shard_up')).toBe(1);
        expect(value('fluxmq_mqtt_connections')).toBe(0);
        expect(value('fluxmq_log_segments')).toBeGreaterThan(0);
        // The declarations of its queues were written and synced.
        expect(value('fluxmq_log_write_seconds_count')).toBeGreaterThan(0);
        expect(value('fluxmq_event_loop_busy_seconds_total{thread="shards"}')).toBeGreaterThan(0);
        expect(value('fluxmq_process_resident_bytes')).toBeGreaterThan(1e7);
      },
      { timeout: 5_000 },
    );
  },
);

it('a node of a cluster with rules shows every metric of the table', async () => {
  const files = await AccessFiles.make();
  await files.rule('allow * * *');
  const address = `127.0.0.1:${await freePort()}`;
  const peers = `cluster.peers=[{id: node-1, addr: "${address}"}]`;
  const rules = [`access.rules_file=${files.rules}`, 'allow_anonymous=true'];
  const node = await start([`cluster.listen=${address}`, peers, ...rules]);
  running.push(node);
  const { body } = await get(node.ops?.port ?? 0, '/metrics');
  for (const { name } of [...METRICS, ...QUEUE_METRICS, ...GROUP_METRICS]) {
    expect(body, name).toContain(`\n# TYPE ${name} `);
  }
  await files.remove();
});

it('O1: off is off', async () => {
  const node = await start(['server.ops.addr=off']);
  running.push(node);
  expect(node.ops).toBeUndefined();
});

it('is alive and not ready while it recovers, and says why when its store failed', async () => {
  const port = await freePort();
  let recovered: (shards: ShardThreads) => void = () => undefined;
  const shards = new Promise<ShardThreads>((done) => {
    recovered = done;
  });
  const starting = start([`server.ops.addr=127.0.0.1:${port}`], () => shards);
  await vi.waitFor(async () => expect((await get(port, '/livez')).status).toBe(200));
  const early = await get(port, '/readyz');
  expect(early.status).toBe(503);
  expect(early.body).toContain('"code":"starting"');
  expect((await get(port, '/metrics')).body).toContain('fluxmq_shard_up 0\n');

  let fail: (error: Error) => void = () => undefined;
  const sessions = { publishWills() {} };
  const queues = { queues: [], version: 0, writable: true, onWritable() {}, sessions };
  recovered({
    queues: queues as unknown as ShardThreads['queues'],
    stats: () => Promise.resolve(new Map()),
    pulse: pulseMemory(),
    failed: new Promise((tell) => {
      fail = tell;
    }),
    stop: () => Promise.resolve(),
  });
  running.push(await starting);
  await vi.waitFor(async () => expect((await get(port, '/readyz')).status).toBe(200));
  fail(new Error('a write failed'));
  await vi.waitFor(async () => {
    const { status, body } = await get(port, '/readyz');
    expect(status).toBe(503);
    expect(body).toContain('"code":"store-failed","detail":"a write failed"');
  });
});

it('O1: an address that is taken refuses the start, by its key, and leaves nothing open', async () => {
  const first = await start();
  const port = first.ops?.port ?? 0;
  const second = [`server.ops.addr=127.0.0.1:${port}`, `data_dir=${join(directory, 'other')}`];
  const refused = start(second);
  await expect(refused).rejects.toThrow(ListenError);
  await expect(refused).rejects.toThrow(/\(server\.ops\.addr\): another program listens there/);
  // That another broker has the data directory explains it better.
  await expect(start([`server.ops.addr=127.0.0.1:${port}`])).rejects.toMatchObject({
    code: 'locked',
  });
  await first.stop();
  running.push(await start(second));
});
