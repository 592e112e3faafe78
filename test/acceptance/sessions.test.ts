/**
 * MQTT sessions that outlive their connection, against a real broker that is killed: what they are
 * promised is in the log before it is promised (Q13, Q23, Q26, S1).
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RawClient, textOf } from '../support/mqtt-server.ts';
import { queueBrokers, type QueueBroker, queueShown, until } from '../support/queue-user.ts';

let broker: QueueBroker;

const LIMITS = { max_queued_messages: 5, overflow: 'drop-head' };

beforeAll(async () => {
  const queues = [{ name: 'orders' }, { name: 'jobs' }];
  broker = await queueBrokers.with('sessions', queues, { sessions: LIMITS });
});
afterAll(() => broker.remove());

async function client(
  clientId: string,
  fields: Record<string, unknown> = {},
  version: 4 | 5 = 5,
): Promise<RawClient> {
  const socket = connect(broker.port, '127.0.0.1');
  await once(socket, 'connect');
  const made = new RawClient(socket, version);
  const properties = { sessionExpiryInterval: 3600 };
  await made.connect({
    clientId,
    clean: false,
    ...(version === 5 && { properties }),
    ...fields,
  });
  return made;
}

async function restart(): Promise<void> {
  await broker.kill();
  await broker.start();
}

async function publishAll(topic: string, texts: readonly string[], qos: 1 | 2 = 1): Promise<void> {
  const publisher = await client('', { clean: true, properties: {} });
  for (const [at, text] of texts.entries()) {
    publisher.publish(topic, text, { qos, messageId: at + 1 });
    await publisher.expect(qos === 1 ? 'puback' : 'pubrec');
    if (qos === 1) continue;
    publisher.send({ cmd: 'pubrel', messageId: at + 1 });
    await publisher.expect('pubcomp');
  }
  publisher.destroy();
}

async function taken(from: RawClient, count: number): Promise<{ text: string; id: unknown }[]> {
  const got = [];
  for (let at = 0; at < count; at++) {
    const packet = await from.expect('publish');
    got.push({ text: textOf(packet), id: packet['messageId'] });
  }
  return got;
}

describe('after kill -9 and a restart', () => {
  test('the session is present, and what was acknowledged comes: in flight with its id', async () => {
    const before = await client('kept');
    await before.subscribe('kept/#', 1);
    await publishAll('kept/1', ['1', '2']);
    const sent = await taken(before, 2);
    before.destroy();
    await publishAll('kept/2', ['3']);
    await restart();
    await publishAll('kept/3', ['4']);
    const after = await client('kept');
    expect(after.connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
    const got = await taken(after, 4);
    expect(got.map(({ text }) => text)).toEqual(['1', '2', '3', '4']);
    expect(got.slice(0, 2)).toEqual(sent);
    for (const { id } of got) after.send({ cmd: 'puback', messageId: id });
    await until(async () => (await queueShown(broker, '$session/kept')).depth === 0);
    await restart();
    const last = await client('kept');
    await last.quiet();
    last.destroy();
  });

  test('what QoS 2 has halfway to a client is completed, and not sent again', async () => {
    const before = await client('half');
    await before.subscribe('half', 2);
    await publishAll('half', ['1', '2'], 2);
    const [first, second] = await taken(before, 2);
    before.send({ cmd: 'pubrec', messageId: first?.id });
    await before.expect('pubrel');
    await restart();
    const after = await client('half');
    expect(await after.expect('pubrel')).toMatchObject({ messageId: first?.id });
    expect(await after.expect('publish')).toMatchObject({ messageId: second?.id, dup: true });
    after.send({ cmd: 'pubcomp', messageId: first?.id });
    after.send({ cmd: 'pubrec', messageId: second?.id });
    await after.expect('pubrel');
    after.send({ cmd: 'pubcomp', messageId: second?.id });
    await after.quiet();
    after.destroy();
    const last = await client('half');
    await last.quiet();
    last.destroy();
  });

  test.each(['orders', 'a topic that no queue takes'])(
    'a QoS 2 publish to %s is repeated and not published again',
    async (where) => {
      const topic = where === 'orders' ? '$queue/orders' : 'nobody';
      const before = await client(`publisher of ${where}`);
      before.publish(topic, 'once', { qos: 2, messageId: 9 });
      await before.expect('pubrec');
      await restart();
      const watcher = await client('', { clean: true, properties: {} });
      await watcher.subscribe(topic, where === 'orders' ? 1 : 2);
      const after = await client(`publisher of ${where}`);
      after.publish(topic, 'once', { qos: 2, messageId: 9, dup: true });
      expect(await after.expect('pubrec')).toMatchObject({ messageId: 9, reasonCode: 0 });
      after.send({ cmd: 'pubrel', messageId: 9 });
      await after.expect('pubcomp');
      // The id means another message now.
      after.publish(topic, 'another', { qos: 2, messageId: 9 });
      await after.expect('pubrec');
      const texts = where === 'orders' ? ['once', 'another'] : ['another'];
      expect((await taken(watcher, texts.length)).map(({ text }) => text)).toEqual(texts);
      watcher.destroy();
      after.destroy();
    },
  );

  test('a queue that it consumes is consumed again, and a 3.1.1 client has the session of a 5.0 one', async () => {
    const before = await client('consumer');
    await before.subscribe('$queue/jobs', 1);
    await before.subscribe('plain', 1);
    await restart();
    const after = await client('consumer', {}, 4);
    expect(after.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
    await publishAll('$queue/jobs', ['job']);
    expect(await taken(after, 1)).toMatchObject([{ text: 'job' }]);
    await publishAll('plain', ['live']);
    expect(await taken(after, 1)).toMatchObject([{ text: 'live' }]);
    after.destroy();
  });

  test('a session that was ended is not there: clean start, expiry 0 at DISCONNECT', async () => {
    for (const clientId of ['cleaned', 'left']) {
      const before = await client(clientId);
      await before.subscribe('gone', 1);
      if (clientId === 'cleaned') {
        before.destroy();
        (await client(clientId, { clean: true, properties: {} })).destroy();
      } else {
        const properties = { sessionExpiryInterval: 0 };
        before.send({ cmd: 'disconnect', reasonCode: 0, properties });
        await before.ended();
      }
    }
    await publishAll('gone', ['lost']);
    await restart();
    for (const clientId of ['cleaned', 'left']) {
      const after = await client(clientId);
      expect(after.connack).toMatchObject({ sessionPresent: false });
      await after.quiet();
      after.destroy();
    }
  });
});

test('a full session lets its oldest messages go', async () => {
  const before = await client('full');
  await before.subscribe('full', 1);
  before.destroy();
  const texts = Array.from({ length: 8 }, (_, at) => `${at}`);
  await publishAll('full', texts);
  const after = await client('full');
  expect((await taken(after, 5)).map(({ text }) => text)).toEqual(texts.slice(3));
  await after.quiet();
  after.destroy();
});

test('its time over, it is gone, for operators too', async () => {
  const isListed = (): Promise<boolean> =>
    queueShown(broker, '$session/short').then(
      () => true,
      () => false,
    );
  const short = await client('short', { properties: { sessionExpiryInterval: 1 } });
  await short.subscribe('short', 1);
  expect(await isListed()).toBe(true);
  short.destroy();
  await until(async () => !(await isListed()));
  const after = await client('short');
  expect(after.connack).toMatchObject({ sessionPresent: false });
  after.destroy();
});

test('MQTT.js goes on with its session over a kill of the broker', async () => {
  const url = `mqtt://127.0.0.1:${broker.port}`;
  const options = {
    clientId: 'mqtt.js',
    clean: false,
    protocolVersion: 5,
    reconnectPeriod: 50,
    properties: { sessionExpiryInterval: 3600 },
  } as const;
  const subscriber: MqttClient = await connectAsync(url, options);
  const got: string[] = [];
  subscriber.on('message', (_topic, payload) => got.push(String(payload)));
  await subscriber.subscribeAsync('js/#', { qos: 2 });
  const publisher = await connectAsync(url, { ...options, clientId: 'mqtt.js too' });
  for (let at = 0; at < 3; at++) await publisher.publishAsync('js/1', `${at}`, { qos: 2 });
  // What it has half of it forgets with its object.
  await until(() => Promise.resolve(got.length === 3));
  await subscriber.endAsync();
  for (let at = 3; at < 5; at++) await publisher.publishAsync('js/2', `${at}`, { qos: 2 });
  publisher.on('error', () => {
    // It tries again: its broker was killed.
  });
  const resumed = new Promise<boolean>((resolve) => {
    publisher.once('connect', ({ sessionPresent }) => resolve(sessionPresent));
  });
  await restart();
  expect(await resumed).toBe(true);
  await publisher.publishAsync('js/3', 'last', { qos: 2 });
  const again = await connectAsync(url, options);
  again.on('message', (_topic, payload) => got.push(String(payload)));
  await until(() => Promise.resolve(got.includes('last')));
  expect(got).toEqual(['0', '1', '2', '3', '4', 'last']);
  await again.endAsync();
  await publisher.endAsync();
});
