/**
 * Sessions that go from node to node of a cluster whose nodes are killed: a publisher and a
 * subscriber at QoS 2, both with a session that is kept, lose their connection at any moment and go
 * on at any node that answers. Each message comes once, in order (C1, Q26).
 */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../jepsen/random.ts';
import { BrokerCluster } from '../support/broker-cluster.ts';
import { textOf } from '../support/mqtt-server.ts';
import { Wanderer, openKept, publishAll, receiveAll } from '../support/wanderers.ts';

const ROUNDS = 10;
const MESSAGES_MIN = 200;

let cluster: BrokerCluster;

beforeAll(async () => {
  cluster = await BrokerCluster.started('moving-sessions', {});
});
afterAll(() => cluster.remove());

test('each message once, in order, over kills of nodes and moves of both clients', async () => {
  const numbers = new Random(20_261_127);
  const random = (below: number): number => numbers.whole(0, below - 1);
  const publisher = new Wanderer('publisher', cluster, random);
  const subscriber = new Wanderer('subscriber', cluster, random);
  let isOver = false;
  let count = -1;
  let received: Promise<string[]> = Promise.resolve([]);
  // What is published before SUBACK is nobody's.
  await new Promise<void>((subscribed) => {
    const isAll = (got: readonly string[]): boolean => count >= 0 && got.length >= count;
    received = receiveAll(subscriber, { isAll, filters: ['wander/#'], subscribed });
  });
  const published = publishAll(publisher, {
    topic: 'wander/1',
    isEnough: (sent) => isOver && sent >= MESSAGES_MIN,
  });
  for (let round = 0; round < ROUNDS; round++) {
    const broker = cluster.brokers[random(cluster.brokers.length)];
    await broker?.kill();
    await broker?.start();
    // Neither is told: each finds another owner, or the end of its connection.
    const moved = [publisher, subscriber][round % 2];
    moved?.client?.destroy();
  }
  isOver = true;
  count = await published;
  // It may wait for what has come already.
  subscriber.client?.destroy();
  const got = await received;
  expect(got).toEqual(Array.from({ length: count }, (_, at) => `${at}`));
  expect(publisher.moves + subscriber.moves).toBeGreaterThan(ROUNDS);
});

test('a client that connects elsewhere takes its session: the older connection is told 0x8E', async () => {
  const [one, two] = cluster.brokers;
  const first = await openKept(one?.port ?? 0, 'taken');
  await first.subscribe('taken', 1);
  const second = await openKept(two?.port ?? 0, 'taken');
  expect(second.connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
  expect(await first.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
  const third = cluster.brokers[2];
  const other = await openKept(third?.port ?? 0, 'other');
  other.publish('taken', 'x', { qos: 1, messageId: 1 });
  await other.expect('puback');
  expect(textOf(await second.expect('publish'))).toBe('x');
  second.destroy();
  other.destroy();
});
