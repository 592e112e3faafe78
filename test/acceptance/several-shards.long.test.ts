/**
 * Three brokers as three processes, which have three shards then: each leads one, all of them serve
 * the queues of all, and the leads move when one is killed, and back when it is there again.
 * Nothing here waits for a time.
 */

import { afterEach, expect, it, vi } from 'vitest';
import { nodeOf } from '../../src/cluster/server-id.ts';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { type QueueId, shardOf } from '../../src/machine/ids.ts';
import { withAdmin } from '../support/broker-admin.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { QueueUser, queueShown, until } from '../support/queue-user.ts';

vi.setConfig({ testTimeout: 300_000 });

const NAMES = Array.from({ length: 6 }, (_none, at) => `q${at}`);
const SHARDS = [0, 1, 2];
const SPREAD = ['node-1', 'node-2', 'node-3'];

let cluster: BrokerCluster | undefined;
const users: QueueUser[] = [];

afterEach(async () => {
  await Promise.all(users.splice(0).map((user) => user.die()));
  await cluster?.remove();
  cluster = undefined;
});

/** As one broker knows them; undefined: nobody leads, or the shard is not there yet. */
function leadersBy(broker: BrokerProcess): Promise<(string | undefined)[]> {
  return withAdmin(broker, async (admin) => {
    const { replicas } = await admin.cluster.status();
    return SHARDS.map((number) => {
      const leader = replicas.find(({ shard }) => shard === number)?.leader;
      return leader && nodeOf(leader);
    });
  });
}

async function user(broker: BrokerProcess): Promise<QueueUser> {
  const connected = await QueueUser.connect(broker.port, `user-${users.length}`);
  users.push(connected);
  return connected;
}

/** Each queue: published at one broker, taken and settled at another one. */
async function use(at: BrokerProcess, from: BrokerProcess, word: string): Promise<void> {
  const publisher = await user(at);
  for (const name of NAMES) {
    const consumer = await user(from);
    const texts = Array.from({ length: 20 }, (_none, nth) => `${word} ${name} ${nth}`);
    await publisher.publishMany(`$queue/${name}`, texts);
    await consumer.consume(`$queue/${name}`);
    expect(await consumer.settleNext(20)).toEqual(texts);
    // A settlement has no answer: one that the kill met would come again.
    await until(async () => (await queueShown(at, name)).depth === 0);
    await consumer.leave();
  }
}

it('each leads one, every queue is there for all, and the leads come back', async () => {
  cluster = await BrokerCluster.started('several-shards', {});
  const [one, two, three] = cluster.brokers as [BrokerProcess, BrokerProcess, BrokerProcess];
  await until(async () => (await leadersBy(one)).join() === SPREAD.join());
  for (const name of NAMES) {
    await withAdmin(one, (admin) => admin.declare(defaultDefinition(name, 'classic')));
  }
  const shown = await Promise.all(NAMES.map((name) => queueShown(three, name)));
  const places = shown.map(({ queueId }) => shardOf(queueId as QueueId));
  expect(new Set(places)).toEqual(new Set(SHARDS));
  await use(two, three, 'at first');
  await three.kill();
  await until(async () => {
    const leaders = await leadersBy(one);
    return leaders.every((leader) => leader !== undefined && leader !== 'node-3');
  });
  await use(one, two, 'without node-3');
  await three.start();
  await use(three, one, 'with node-3');
  await until(async () => (await leadersBy(two)).join() === SPREAD.join());
  await use(two, three, 'at last');
});
