/**
 * Wills of MQTT sessions that outlive their connection, against a real broker that is killed: each
 * is published once, whoever was there when it became due (MQTT 5.0 section 3.1.2.5; S1, C1).
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RawClient, textOf } from '../support/mqtt-server.ts';
import { queueBrokers, type QueueBroker, until } from '../support/queue-user.ts';

let broker: QueueBroker;

beforeAll(async () => {
  broker = await queueBrokers.with('wills', [], {});
});
afterAll(() => broker.remove());

const properties = { sessionExpiryInterval: 3600 };

async function client(clientId: string, will?: Record<string, unknown>): Promise<RawClient> {
  const socket = connect(broker.port, '127.0.0.1');
  await once(socket, 'connect');
  const made = new RawClient(socket, 5);
  const connack = await made.connect({ clientId, clean: false, properties, ...(will && { will }) });
  expect(connack).toMatchObject({ reasonCode: 0 });
  return made;
}

function will(topic: string, delay: number): Record<string, unknown> {
  const payload = Buffer.from(`will of ${topic}`);
  return { topic, payload, qos: 1, retain: false, properties: { willDelayInterval: delay } };
}

/** Its session waits for the will, on whichever node that is published. */
async function watcherOf(topic: string): Promise<RawClient> {
  const watcher = await client(`watcher of ${topic}`);
  await watcher.subscribe(topic, 1);
  return watcher;
}

async function restart(): Promise<void> {
  await broker.kill();
  await broker.start();
}

/** It comes, and after another crash nothing more. */
async function comesOnce(topic: string): Promise<void> {
  const watcher = await client(`watcher of ${topic}`);
  const packet = await watcher.expect('publish');
  expect(textOf(packet)).toBe(`will of ${topic}`);
  watcher.send({ cmd: 'puback', messageId: packet['messageId'] });
  // Its answer is behind the settlement.
  await watcher.subscribe('another', 1);
  await restart();
  const again = await client(`watcher of ${topic}`);
  await again.quiet();
}

test('that waited for its delay when the broker was killed is published after the restart', async () => {
  const watcher = await watcherOf('delayed');
  const dying = await client('dying', will('delayed', 2));
  dying.send({ cmd: 'disconnect', reasonCode: 4 });
  await dying.ended();
  // Behind it in the log.
  await watcher.subscribe('another', 1);
  await watcher.quiet();
  await restart();
  await comesOnce('delayed');
});

test('of a connection that the crash ended is published when the client is back', async () => {
  await watcherOf('crashed');
  const mqtt = await connectAsync({
    host: '127.0.0.1',
    port: broker.port,
    protocolVersion: 5,
    clientId: 'of a library',
    clean: false,
    properties,
    will: { topic: 'crashed', payload: Buffer.from('will of crashed'), qos: 1, retain: false },
    reconnectPeriod: 20,
  });
  await restart();
  await until(() => Promise.resolve(mqtt.connected));
  await mqtt.endAsync();
  await comesOnce('crashed');
});

test('that is taken back, or whose client is back in time, is not published', async () => {
  const watcher = await watcherOf('no-will');
  const peaceful = await client('peaceful', will('no-will', 1));
  peaceful.send({ cmd: 'disconnect', reasonCode: 0 });
  await peaceful.ended();
  const lost = await client('back', will('no-will', 3600));
  lost.destroy();
  await restart();
  const back = await client('back');
  back.send({ cmd: 'disconnect', reasonCode: 0 });
  await back.ended();
  const after = await watcherOf('no-will');
  // A third will is due behind those that are not.
  const last = await client('last', will('no-will', 1));
  last.send({ cmd: 'disconnect', reasonCode: 4 });
  const packet = await after.expect('publish');
  expect(textOf(packet)).toBe('will of no-will');
  after.send({ cmd: 'puback', messageId: packet['messageId'] });
  await after.quiet();
  watcher.destroy();
});
