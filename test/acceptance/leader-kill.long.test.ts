/**
 * Three brokers as three processes that hold the same queues: any of them takes any client, and one
 * that leads is killed in the middle. Nothing here waits for a time.
 */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { BrokerCluster } from '../support/broker-cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { QueueUser, until } from '../support/queue-user.ts';

const ORDERS = { name: 'orders', type: 'classic' };
const QUEUES = { queues: [ORDERS] };
/**
 * What is held stays so until its consumer, or his node, says otherwise: deliveries go on when the
 * node that was killed has come back and said that it has none.
 */
const PATIENT = {
  queues: [{ ...ORDERS, visibility_timeout: '1h' }],
  cluster: { reattach_grace: '1m' },
};
const TOPIC = '$queue/orders';

// Three processes start and one starts again: on a busy machine that takes a while.
vi.setConfig({ testTimeout: 180_000 });

let cluster: BrokerCluster | undefined;
const users: QueueUser[] = [];

afterEach(async () => {
  await Promise.all(users.splice(0).map((user) => user.die()));
  await cluster?.remove();
  cluster = undefined;
});

async function user(broker: BrokerProcess, name: string): Promise<QueueUser> {
  const connected = await QueueUser.connect(broker.port, name);
  users.push(connected);
  return connected;
}

async function three(
  more: { readonly cluster?: object; readonly [key: string]: unknown } = {},
): Promise<[BrokerProcess, BrokerProcess, BrokerProcess]> {
  // The queue is in the shard whose leader is killed.
  const oneShard = { ...more.cluster, shards: 1 };
  cluster = await BrokerCluster.started('leader-kill', { ...QUEUES, ...more, cluster: oneShard });
  return cluster.leaderFirst();
}

/** Settles whatever comes. */
function drain(from: QueueUser, into: string[]): void {
  void (async () => {
    for (;;) {
      const next = await from.take();
      into.push(next.text);
      next.answer(0);
    }
  })();
}

const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_none, at) => `m${first + at}`);

describe('three brokers', () => {
  it('C1, C15: the leader is killed: no error, none lost, none twice, in order', async () => {
    const [leader, one, two] = await three(PATIENT);
    const publisher = await user(one, 'publisher');
    const consumer = await user(two, 'consumer');
    await consumer.consume(TOPIC);
    const taken = consumer.settleNext(900);
    await publisher.publishMany(TOPIC, numbered(300));
    // The kill meets publishes on their way, in every stage of it.
    const publishing = publisher.publishMany(TOPIC, numbered(300, 300));
    await leader.kill();
    await publishing;
    await publisher.publishMany(TOPIC, numbered(300, 600));
    await leader.start();
    expect(await taken).toEqual(numbered(900));
    await publisher.publish(TOPIC, 'last');
    expect((await consumer.take()).text).toBe('last');
    await leader.stop();
    expect(consumer.untaken).toBe(0);
  });

  it('C17: what a consumer holds is not delivered to another one after the kill', async () => {
    const [leader, one, two] = await three(PATIENT);
    const publisher = await user(one, 'publisher');
    const holder = await user(one, 'holder');
    await holder.consume(TOPIC);
    await publisher.publishMany(TOPIC, numbered(10));
    const held = [];
    for (let nth = 0; nth < 10; nth++) held.push(await holder.take());
    await leader.kill();
    const other = await user(two, 'other');
    await other.consume(TOPIC);
    const texts: string[] = [];
    drain(other, texts);
    drain(holder, texts);
    await publisher.publishMany(TOPIC, numbered(10, 10));
    await leader.start();
    await until(() => Promise.resolve(texts.length >= 10));
    // A complete for a delivery of the leader that died counts.
    for (const each of held) each.answer(0);
    await holder.ping();
    await publisher.publish(TOPIC, 'last');
    await until(() => Promise.resolve(texts.includes('last')));
    expect(texts.toSorted()).toEqual([...numbered(10, 10), 'last'].toSorted());
  });

  it('C13: without a majority a publish is refused, and never stored locally', async () => {
    const [leader, one, two] = await three({ shards: { ack_timeout: '500ms' } });
    const publisher = await user(one, 'publisher');
    await publisher.publish(TOPIC, 'first');
    await Promise.all([leader.kill(), two.kill()]);
    await expect(publisher.publish(TOPIC, 'second')).rejects.toThrow(/not stored in time/);
    await leader.start();
    await publisher.publish(TOPIC, 'third');
  });

  it('write_policy reject: who does not lead refuses, and names who does', async () => {
    const [leader, one] = await three({ cluster: { write_policy: 'reject' } });
    const publisher = await user(one, 'publisher');
    const name = /node-\d/.exec(leader.output)?.[0] ?? '';
    await expect(publisher.publish(TOPIC, 'first')).rejects.toThrow(new RegExp(`${name} leads`));
    await publisher.consume(TOPIC);
    await (await user(leader, 'other')).publish(TOPIC, 'second');
    expect((await publisher.take()).text).toBe('second');
  });
});
