/**
 * A broker of three that is stopped in the middle (SIGSTOP) while a durable session subscribes
 * elsewhere, and wakes up with a publish in its socket: what it knew is old, and it must not
 * acknowledge by that (S2, C19). Nothing here waits for a time, or tries again.
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { BrokerCluster } from '../support/broker-cluster.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { RawClient, textOf } from '../support/mqtt-server.ts';

const ROUNDS = 5;

// Three processes start: on a busy machine that takes a while.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 180_000 });

let cluster: BrokerCluster;

beforeAll(async () => {
  cluster = await BrokerCluster.started('stopped-node', { cluster: { shards: 1 } });
});
afterAll(() => cluster.remove());

async function client({ port }: BrokerProcess, clientId: string): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const made = new RawClient(socket, 5);
  const properties = { sessionExpiryInterval: 3600 };
  const connack = await made.connect({ clientId, clean: false, properties });
  expect(connack).toMatchObject({ reasonCode: 0 });
  return made;
}

async function acknowledged(publisher: RawClient, topic: string, text: string): Promise<void> {
  publisher.publish(topic, text, { qos: 1, messageId: 1 });
  expect(await publisher.expect('puback')).toMatchObject({ messageId: 1, reasonCode: 0 });
}

async function wakesUpWithAPublish(stopped: BrokerProcess, other: BrokerProcess): Promise<void> {
  const publisher = await client(stopped, `publisher-${stopped.pid}`);
  const subscriber = await client(other, `subscriber-${stopped.pid}`);
  for (let round = 0; round < ROUNDS; round++) {
    const topic = `stopped/${stopped.pid}/${round}`;
    // It may route by what it knows, when it is stopped.
    await acknowledged(publisher, topic, 'for nobody');
    process.kill(stopped.pid, 'SIGSTOP');
    const suback = await subscriber.subscribe(topic, 1);
    expect(suback).toMatchObject({ granted: [1] });
    publisher.publish(topic, `late ${round}`, { qos: 1, messageId: 1 });
    process.kill(stopped.pid, 'SIGCONT');
    expect(await publisher.expect('puback')).toMatchObject({ messageId: 1, reasonCode: 0 });
    const came = await subscriber.expect('publish');
    expect(textOf(came)).toBe(`late ${round}`);
    subscriber.send({ cmd: 'puback', messageId: came['messageId'] });
  }
  publisher.destroy();
  subscriber.destroy();
}

test('one that follows wakes up, and sends the publish to the session', async () => {
  const [, one, other] = await cluster.leaderFirst();
  await wakesUpWithAPublish(one, other);
});

test('one that led, and is not the leader any more, does the same', async () => {
  const [leader, , other] = await cluster.leaderFirst();
  await wakesUpWithAPublish(leader, other);
});
