/**
 * Three brokers as three processes, and readers of a stream at those that do not lead it: each has
 * the whole stream in its order, and the leader sends none of the messages. Nothing here waits for
 * a time; what is compared are counters.
 */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { BrokerCluster } from '../support/broker-cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { QueueUser, until } from '../support/queue-user.ts';

const MESSAGES = 100;
const MESSAGE_BYTES = 20_000;
const ALL_BYTES = MESSAGES * MESSAGE_BYTES;
/** At each node that does not lead. */
const READERS = 3;
const TOPIC = '$queue/events';
const SENT = 'fluxmq_peer_bytes_total{direction="sent"}';
const READ = 'fluxmq_replica_reads_total';

// Three processes start: on a busy machine that takes a while.
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
  mode: 'forward' | 'replicate',
): Promise<[BrokerProcess, BrokerProcess, BrokerProcess]> {
  cluster = await BrokerCluster.started('stream-replicas', {
    queues: [{ name: 'events', type: 'stream' }],
    // The node that leads is the one that leads the shard of the stream.
    cluster: { distribution_mode: mode, shards: 1 },
  });
  return cluster.leaderFirst();
}

const textOf = (nth: number): string => `event ${nth} `.padEnd(MESSAGE_BYTES, '.');
const all = Array.from({ length: MESSAGES }, (_none, nth) => textOf(nth));

/** What the leader has sent for the readers at the others, who have read everything. */
async function sentForReaders(mode: 'forward' | 'replicate'): Promise<number> {
  const [leader, ...others] = await three(mode);
  const publisher = await user(leader, 'publisher');
  await publisher.publishMany(TOPIC, all);
  const before = await leader.metric(SENT);
  for (const [nth, broker] of others.entries()) {
    for (let reader = 0; reader < READERS; reader++) {
      const group = `g${nth}${reader}`;
      const consumer = await user(broker, group);
      await consumer.consume(TOPIC, { group, offset: 'first' });
      expect(await consumer.settleNext(MESSAGES)).toEqual(all);
    }
    const read = mode === 'replicate' ? READERS * MESSAGES : 0;
    expect(await broker.metric(READ)).toBe(read);
  }
  return (await leader.metric(SENT)) - before;
}

describe('readers of a stream at nodes that follow', () => {
  it('cost the leader less than the messages once, however many they are', async () => {
    expect(await sentForReaders('replicate')).toBeLessThan(ALL_BYTES / 2);
  });

  it('cost the leader every message for each of them where it forwards', async () => {
    expect(await sentForReaders('forward')).toBeGreaterThan(2 * READERS * ALL_BYTES);
  });

  it('go on at another node behind what they settled, also when theirs is killed', async () => {
    const [leader, one, two] = await three('replicate');
    const publisher = await user(leader, 'publisher');
    const first = await user(one, 'reader');
    await first.consume(TOPIC, { group: 'g', offset: 'first' });
    await publisher.publishMany(TOPIC, all);
    const taken = [];
    for (let nth = 0; nth < 60; nth++) taken.push(await first.take());
    for (const each of taken.slice(0, 40)) each.answer(0);
    const { user: told } = taken[39] as (typeof taken)[number];
    // When this is answered, all that was settled before it is on the disks.
    await first.settle('commit', { user: told });
    await one.kill();
    const second = await user(two, 'reader');
    await second.consume(TOPIC, { group: 'g' });
    expect(await second.settleNext(MESSAGES - 40)).toEqual(all.slice(40));
    expect(await two.metric(READ)).toBe(MESSAGES - 40);
    await one.start();
    const third = await user(one, 'late');
    await third.consume(TOPIC, { group: 'late', offset: 'first' });
    expect(await third.settleNext(MESSAGES)).toEqual(all);
    await until(async () => (await one.metric(READ)) > 0);
  });
});
