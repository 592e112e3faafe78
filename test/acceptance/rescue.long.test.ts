/**
 * Two of three brokers are destroyed, and an operator has the third one go on: as processes, with
 * real files. What it had is there; one of before that comes back is refused and changes nothing;
 * new ones are added. Nothing here depends on how long it takes.
 */

import { rm } from 'node:fs/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.ts';
import { CommandLine, fluxmq } from '../cli/run-cli.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { QueueUser, until } from '../support/queue-user.ts';

// Three processes start: on a busy machine that takes a while.
vi.setConfig({ testTimeout: 300_000 });

const TOPIC = '$queue/orders';
const TEXTS = Array.from({ length: 200 }, (_none, at) => `m${at}`);

let cluster: BrokerCluster | undefined;
afterEach(() => cluster?.remove());

interface Replica {
  readonly id: string;
  readonly applied: number;
  readonly leader: string | null;
  readonly role: string;
  readonly term: number;
  readonly members: readonly { readonly id: string }[];
  readonly rescued: object | null;
}

interface Told {
  readonly replicas: readonly (Replica & { readonly shard: number })[];
  readonly shards: readonly { readonly shard: number; readonly hosts: readonly string[] }[];
}

function commandsOf(broker: BrokerProcess): CommandLine {
  return new CommandLine(() => broker.dataDirectory);
}

async function statusOf(broker: BrokerProcess): Promise<Told> {
  const { stdout } = await commandsOf(broker).run('cluster', 'status', '--json');
  return JSON.parse(stdout) as Told;
}

async function replicaOf(broker: BrokerProcess, shard = 0): Promise<Replica | undefined> {
  const { replicas } = await statusOf(broker);
  return replicas.find((each) => each.shard === shard);
}

it('the last of three brokers goes on with what it has, and nobody of before counts', async () => {
  cluster = await BrokerCluster.started('rescue', {
    queues: [{ name: 'orders' }],
    cluster: { shards: 1 },
  });
  const [survivor, destroyed, old] = cluster.brokers as [
    BrokerProcess,
    BrokerProcess,
    BrokerProcess,
  ];
  const user = await QueueUser.connect(survivor.port, 'user');
  await user.publishMany(TOPIC, TEXTS);
  await until(async () => {
    const applied = await Promise.all(cluster?.brokers.map((broker) => replicaOf(broker)) ?? []);
    return new Set(applied.map((replica) => replica?.applied)).size === 1;
  });
  await user.die();
  const commands = commandsOf(survivor);
  const order = ['cluster', 'rescue', '--give-up', 'node-2', '--give-up', 'node-3'] as const;
  const early = await commands.run(...order, '--i-accept-loss');
  expect(early).toMatchObject({ code: ExitCode.refused });
  expect(early.stderr).toContain('has-leader');

  await destroyed.kill();
  await rm(destroyed.dataDirectory, { recursive: true });
  await old.kill();
  await until(async () => (await replicaOf(survivor))?.leader === null);
  const shown = await commands.run('cluster', 'rescue');
  expect(shown.code).toBe(ExitCode.usage);
  expect(shown.stdout).toContain('node-2, voter at');
  expect(shown.stderr).toContain('--give-up node-2 --give-up node-3 --i-accept-loss');
  const done = await commands.run(...order, '--i-accept-loss');
  expect(done).toMatchObject({ code: 0, stderr: '' });
  expect(done.stdout).toContain('leads alone');
  expect(survivor.output).toMatch(/"level":"warn".*RESCUE/);
  const after = await replicaOf(survivor);
  expect(after).toMatchObject({
    role: 'leader',
    rescued: { given_up: ['node-1', 'node-2', 'node-3'] },
  });

  // Its listener never opens: nobody leads for it.
  const up = old.start().catch(() => undefined);
  await until(() => Promise.resolve(old.output.includes('the cluster went on without node-3')));
  expect(await replicaOf(old)).toBeUndefined();
  await old.kill();
  await up;
  expect(await replicaOf(survivor)).toMatchObject({ term: after?.term, members: after?.members });

  const consumer = await QueueUser.connect(survivor.port, 'consumer');
  await consumer.consume(TOPIC);
  expect(await consumer.settleNext(TEXTS.length)).toEqual(TEXTS);
  await consumer.publish(TOPIC, 'last');
  expect(await consumer.settleNext(1)).toEqual(['last']);
  await consumer.die();

  // The record is in the log, for whoever looks at its files.
  await survivor.kill();
  const dump = await fluxmq(['segment-dump', survivor.dataDirectory]);
  expect(dump.stdout).toMatch(
    /configuration node-1\+[a-z2-7]{16} .*rescued by \S+ at .* behind entry \d+/,
  );
});

it('each shard goes on by an order of its own, and names the hosts that are gone no more', async () => {
  cluster = await BrokerCluster.started('rescue', { cluster: { shards: 2 } });
  const [survivor, ...gone] = cluster.brokers as [BrokerProcess, ...BrokerProcess[]];
  const commands = commandsOf(survivor);
  await until(async () => typeof (await replicaOf(survivor, 1))?.leader === 'string');
  await commands.run('queue', 'declare', 'kept');
  expect((await statusOf(survivor)).shards).toMatchObject([{ shard: 1 }]);
  await Promise.all(gone.map((broker) => broker.kill()));
  // The later shard first: what shard 0 is to hear waits until that leads again.
  for (const shard of [1, 0]) {
    await until(async () => (await replicaOf(survivor, shard))?.leader === null);
    const order = ['--shard', String(shard), '--give-up', 'node-2', '--give-up', 'node-3'];
    const done = await commands.run('cluster', 'rescue', ...order, '--i-accept-loss');
    expect(done).toMatchObject({ code: 0, stderr: '' });
  }
  await until(async () => (await statusOf(survivor)).shards[0]?.hosts.join() === 'node-1');
  expect((await commands.run('queue', 'show', 'kept')).code).toBe(0);
});
