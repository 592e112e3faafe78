/**
 * Several shards on three nodes in one process, over real sockets, disks and clocks: each is found,
 * led and used from any node, and follows the map. Nothing here depends on how long it takes.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeStatus, ReplicaStatus } from '../src/admin/cluster-port.ts';
import type { QueueId } from '../src/broker/ports.ts';
import { nodeOf } from '../src/cluster/server-id.ts';
import { parseConfig } from '../src/config/config.ts';
import { OthersDesk } from '../src/others-talk.ts';
import { type PeerSettings, shardSettings } from '../src/options.ts';
import { type ShardHost, openShardHost } from '../src/shard-host.ts';
import { ShardClient } from '../src/shard/client.ts';
import { type BatchPort, loopback } from '../src/shard/port.ts';
import { freePort } from '../jepsen/cluster/free-port.ts';
import { scratchDirectory } from './support/broker-process.ts';
import { queue } from './support/shard-world.ts';
import { silentLog } from './support/silent-log.ts';
import { textsSink } from './support/texts-sink.ts';

const PATIENCE_MS = 120_000;
const YAML = 'storage: { segment_size: 4MiB, reserve: 8MiB }\nlog: { level: silent }\n';
const IDS = ['n1', 'n2', 'n3'];
const failures: Error[] = [];

class Running {
  readonly host: ShardHost;
  readonly #id: string;
  readonly #ports: ReadonlyMap<number, BatchPort>;
  readonly #clients = new Map<number, Promise<ShardClient>>();

  constructor(id: string, host: ShardHost, ports: ReadonlyMap<number, BatchPort>) {
    this.#id = id;
    this.host = host;
    this.#ports = ports;
  }

  /** As soon as this node knows the shard, and has reached its leader. */
  async client(shard: number): Promise<ShardClient> {
    await until(() => this.#ports.has(shard));
    const port = this.#ports.get(shard) as BatchPort;
    const options = { port, node: this.#id, logger: silentLog, isRouted: true };
    const client = this.#clients.get(shard) ?? ShardClient.open(options);
    this.#clients.set(shard, client);
    return client;
  }

  async stop(): Promise<void> {
    await this.host.stop();
    for (const port of this.#ports.values()) port.close();
  }
}

let directory = '';
let places: PeerSettings['nodes'] = [];
const running = new Map<string, Running>();

beforeEach(async () => {
  directory = await scratchDirectory('node-shards');
  places = await Promise.all(
    IDS.map(async (id) => ({ id, host: '127.0.0.1', port: await freePort() })),
  );
});
afterEach(async () => {
  await Promise.all([...running.keys()].map((id) => stop(id)));
  await rm(directory, { recursive: true, force: true });
  expect(failures).toEqual([]);
});

async function start(id: string, shards: { count: number; replicas: number }): Promise<void> {
  const config = parseConfig({ file: { yaml: YAML, name: 'test' } });
  const peers: PeerSettings = {
    cluster: 'test',
    listen: places.find((place) => place.id === id) ?? { host: '', port: 0 },
    nodes: places,
    tls: undefined,
    backlogBytes: 1 << 24,
    catchUpBytesPerSecond: 1 << 24,
    joins: false,
    rejects: false,
    readsReplica: true,
    reattachGraceMs: 2_000,
    startGraceMs: 10_000,
  };
  const [near, port] = loopback();
  const ports = new Map([[0, near]]);
  const host = await openShardHost({
    settings: { ...shardSettings(config, join(directory, id), false), node: id, peers, shards },
    port,
    volatilePort: loopback()[1],
    openPort: (shard) => {
      const [ours, theirs] = loopback();
      ports.set(shard, ours);
      return theirs;
    },
    others: () => new OthersDesk().of(0),
    logger: silentLog,
    onFailure: (error) => void failures.push(error),
  });
  running.set(id, new Running(id, host, ports));
}

async function stop(id: string): Promise<void> {
  const node = running.get(id);
  running.delete(id);
  await node?.stop();
}

function node(id: string): Running {
  return running.get(id) ?? expect.fail(`${id} does not run`);
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`it never came to hold: ${holds.toString()}`);
    await sleep(20);
  }
}

async function statusOf(id: string): Promise<NodeStatus> {
  return node(id).host.cluster.status();
}

/** By the word of the node, its own or the leader's. */
async function viewOf(id: string, shard: number): Promise<ReplicaStatus | undefined> {
  const { replicas, elsewhere } = await statusOf(id);
  return [...replicas, ...elsewhere].find((each) => each.shard === shard);
}

async function leadersAt(id: string): Promise<(string | undefined)[]> {
  const views = await Promise.all([0, 1, 2].map((shard) => viewOf(id, shard)));
  return views.map((view) => view?.leader && nodeOf(view.leader));
}

function lead(id: string, leaders: readonly string[]): () => Promise<boolean> {
  return async () => (await leadersAt(id)).join() === leaders.join();
}

/** A queue in this shard, as any node may make one. */
async function declare(at: Running, shard: number, name: string): Promise<void> {
  const zero = await at.client(0);
  const { version } = await zero.places.place(name, [shard], '');
  const { admin } = await at.client(shard);
  await admin.declare({ ...queue(name), placed: version });
}

async function publish(at: Running, shard: number, texts: readonly string[]): Promise<void> {
  const client = await at.client(shard);
  await until(() => client.queues.named(`q${shard}`) !== undefined);
  const target = client.queues.named(`q${shard}`)?.queueId as QueueId;
  const outcomes: unknown[] = [];
  const waiter = { enqueued: (_tag: number, outcome: unknown) => void outcomes.push(outcome) };
  const origin = { clientId: 'c', protocol: 'mqtt' } as const;
  for (const [nth, text] of texts.entries()) {
    const payload = Buffer.from(text);
    const message = { topic: 't', payload, qos: 1, retain: false, properties: undefined } as const;
    client.enqueue([target], message, origin, waiter, nth);
  }
  await until(() => outcomes.length === texts.length);
  expect(outcomes.filter((outcome) => typeof outcome === 'string')).toEqual([]);
}

/** Everything that the queue of the shard holds; nothing of it is settled. */
async function held(at: Running, shard: number, count: number): Promise<string[]> {
  const client = await at.client(shard);
  const texts: string[] = [];
  const sink = textsSink(texts);
  const queueId = client.queues.named(`q${shard}`)?.queueId as QueueId;
  const none = { group: undefined, filter: '', start: undefined, manual: false };
  const consumer = client.consume({ ...none, queueId, clientId: 'c', credit: 1_000 }, sink);
  await until(() => texts.length >= count);
  consumer.close('returned');
  return texts;
}

describe('three shards on three nodes', () => {
  const shards = { count: 3, replicas: 3 };

  it('each node leads one, all of them use all, and the lead comes back to who was away', async () => {
    await Promise.all(IDS.map((id) => start(id, shards)));
    await until(lead('n1', ['n1', 'n2', 'n3']));
    const texts: string[] = [];
    for (const shard of [1, 2]) await declare(node('n1'), shard, `q${shard}`);
    for (const id of IDS) {
      for (const shard of [1, 2]) await publish(node(id), shard, [`${id} at first`]);
      texts.push(`${id} at first`);
    }
    await stop('n3');
    await until(async () => !(await leadersAt('n1')).includes('n3'));
    for (const shard of [1, 2]) await publish(node('n1'), shard, ['n3 is away']);
    await start('n3', shards);
    await until(lead('n2', ['n1', 'n2', 'n3']));
    for (const shard of [1, 2]) await publish(node('n3'), shard, ['n3 is back']);
    texts.push('n3 is away', 'n3 is back');
    for (const shard of [1, 2]) expect(await held(node('n2'), shard, 5)).toEqual(texts);
  });

  it('a node whose directory is lost is a member of all again by one word of an operator', async () => {
    await Promise.all(IDS.map((id) => start(id, shards)));
    await until(async () => (await leadersAt('n1')).every((leader) => leader !== undefined));
    await declare(node('n1'), 1, 'q1');
    await publish(node('n1'), 1, ['before']);
    await stop('n2');
    await rm(join(directory, 'n2'), { recursive: true, force: true });
    await start('n2', shards);
    let fresh = '';
    await until(async () => {
      fresh = (await viewOf('n2', 0))?.id ?? '';
      return fresh.startsWith('n2+');
    });
    expect((await statusOf('n2')).shards).toEqual([]);
    const address = places.find(({ id }) => id === 'n2');
    const { cluster } = node('n3').host;
    const wish = { id: fresh, address: `127.0.0.1:${address?.port ?? 0}`, votes: true };
    const wished = [{ kind: 'add', ...wish } as const, { kind: 'remove', id: 'n2' } as const];
    for (const change of wished) {
      await until(async () => (await cluster.change(0, change)).kind === 'accepted');
      await until(async () => {
        const members = (await viewOf('n3', 0))?.members ?? [];
        const isVoter = members.some(({ id, role }) => id === fresh && role === 'voter');
        return isVoter && members.every(({ id }) => change.kind !== 'remove' || id !== 'n2');
      });
    }
    for (const shard of [1, 2]) {
      await until(async () => {
        const members = (await viewOf('n1', shard))?.members ?? [];
        const voters = members.filter(({ role }) => role === 'voter').map(({ id }) => id);
        return voters.length === 3 && !voters.includes('n2') && members.length === 3;
      });
    }
    await publish(node('n2'), 1, ['after']);
    expect(await held(node('n2'), 1, 2)).toEqual(['before', 'after']);
  });
});

describe('shards that lie on one node each', () => {
  const shards = { count: 3, replicas: 1 };

  it('are used from the others, and follow the map to another node', async () => {
    await Promise.all(IDS.map((id) => start(id, shards)));
    await until(lead('n1', [(await leadersAt('n1'))[0] ?? 'n1', 'n2', 'n3']));
    await declare(node('n1'), 1, 'q1');
    for (const id of IDS) await publish(node(id), 1, [id]);
    const { cluster } = node('n1').host;
    expect(await cluster.host(1, 'n3', true)).toEqual({ kind: 'accepted' });
    await until(async () => {
      const members = (await viewOf('n1', 1))?.members ?? [];
      return members.filter(({ role }) => role === 'voter').length === 2;
    });
    expect(await cluster.host(1, 'n2', false)).toEqual({ kind: 'accepted' });
    await until(async () => {
      const view = await viewOf('n1', 1);
      return view?.members.length === 1 && nodeOf(view.leader ?? '') === 'n3';
    });
    await publish(node('n2'), 1, ['moved']);
    expect(await held(node('n1'), 1, 4)).toEqual([...IDS, 'moved']);
  });
});
