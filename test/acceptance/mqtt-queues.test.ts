/**
 * What MQTT 5.0 says to queues, over a real broker: QoS 2 keys, verbs, manual settlement with its
 * time-outs, queues that are made on their first use, capture without waiting.
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fields, RawClient, type ServerPacket, textOf } from '../support/mqtt-server.ts';
import {
  queueBrokers,
  queueShown,
  QueueUser,
  Refused,
  until,
  type QueueBroker,
} from '../support/queue-user.ts';

let broker: QueueBroker;
let producer: QueueUser;

beforeAll(async () => {
  const queues = [
    { name: 'once' },
    { name: 'short', visibility_timeout: '1s', retry: { min: '10ms', max: '10ms' } },
    { name: 'long', visibility_timeout: '1500ms', retry: { min: '10ms', max: '10ms' } },
    { name: 'log', type: 'stream' },
    { name: 'archive', topics: ['$queue/archive/#', 'rooms/#'], capture: 'async' },
  ];
  const more = { auto_create: { type: 'classic', max_queues: 8 } };
  broker = await queueBrokers.with('mqtt-queues', queues, more);
  producer = await QueueUser.connect(broker.port, 'producer');
});

afterAll(async () => {
  await producer.leave();
  await broker.remove();
});

async function raw(fields: Fields): Promise<RawClient> {
  const socket = connect(broker.port, '127.0.0.1');
  await once(socket, 'connect');
  const client = new RawClient(socket, 5);
  await client.connect(fields);
  return client;
}

function words(packet: ServerPacket): Record<string, string> {
  return (packet['properties'] as { userProperties: Record<string, string> }).userProperties;
}

async function depth(queue: string): Promise<number> {
  return (await queueShown(broker, queue)).depth;
}

describe('QoS 2 of a session that is kept', () => {
  const session = { clientId: 'kept', clean: false, properties: { sessionExpiryInterval: 60 } };
  const publish = (client: RawClient, text: string, dup = false): void =>
    client.publish('$queue/once', text, { qos: 2, messageId: 1, dup });

  test('Q26: a retry before PUBCOMP is no new message; the packet id after it is one', async () => {
    const first = await raw(session);
    publish(first, 'one');
    await first.expect('pubrec');
    first.destroy();
    const second = await raw(session);
    expect(second.connack).toMatchObject({ sessionPresent: true });
    publish(second, 'one', true);
    await second.expect('pubrec');
    second.send({ cmd: 'pubrel', messageId: 1 });
    expect(await second.expect('pubcomp')).toMatchObject({ reasonCode: 0 });
    expect(await depth('once')).toBe(1);
    publish(second, 'two');
    await second.expect('pubrec');
    second.send({ cmd: 'pubrel', messageId: 1 });
    await second.expect('pubcomp');
    expect(await depth('once')).toBe(2);
    // The session ends, and with it its keys: the same id in the next one is another message.
    const clean = await raw({ ...session, clean: true });
    publish(clean, 'three');
    await clean.expect('pubrec');
    expect(await depth('once')).toBe(3);
    clean.destroy();
  });
});

describe('manual settlement', () => {
  test('Q15: what is out of time makes room, comes again, and an old nack does not hit it', async () => {
    const client = await raw({ clientId: 'slow', properties: { receiveMaximum: 1 } });
    const properties = { userProperties: { ack: 'manual' } };
    await client.subscribe('$queue/short', 1, { properties });
    await producer.publish('$queue/short', 'a');
    const first = await client.expect('publish');
    client.send({ cmd: 'puback', messageId: first['messageId'] });
    const again = await client.expect('publish');
    client.send({ cmd: 'puback', messageId: again['messageId'] });
    expect(textOf(again)).toBe('a');
    expect(words(again)).toMatchObject({ 'delivery-count': '2' });
    await expect(producer.settle('nack', { user: words(first) })).rejects.toMatchObject({
      code: 0x83,
    });
    await producer.settle('ack', { user: words(again) });
    await producer.publish('$queue/short', 'b');
    expect(textOf(await client.expect('publish'))).toBe('b');
    client.destroy();
  });

  test('$extend keeps a message from its time-out', async () => {
    const holder = await QueueUser.connect(broker.port, 'holder');
    await holder.consume('$queue/long', { manual: true });
    await producer.publish('$queue/long', 'x');
    const taken = await holder.take();
    taken.answer(0);
    const names = {
      'message-id': taken.user['message-id'] ?? '',
      'group-id': taken.user['group-id'] ?? '',
    };
    const other = await QueueUser.connect(broker.port, 'other');
    await other.consume('$queue/long', { manual: true });
    for (let at = 0; at < 4; at++) {
      await new Promise((resolve) => {
        setTimeout(resolve, 700);
      });
      await producer.publish('$queue/long/$extend', '', { user: names });
    }
    await holder.settle('nack', taken);
    // Had its time ended once, this would be the third attempt.
    const again = await Promise.race([other.take(), holder.take()]);
    expect(again.user['delivery-count']).toBe('2');
    await Promise.all([holder.leave(), other.leave()]);
  });

  test('$commit of a stream settles all up to an offset; the next member goes on behind it', async () => {
    for (let at = 0; at < 6; at++) await producer.publish('$queue/log', `${at}`);
    const reader = await QueueUser.connect(broker.port, 'reader');
    await reader.consume('$queue/log', { group: 'g', offset: 'first', manual: true });
    const all = [];
    for (let at = 0; at < 6; at++) all.push(await reader.take());
    await reader.settle('commit', all[1] ?? { user: {} });
    const user = { 'group-id': 'g', offset: '3' };
    await producer.publish('$queue/log/$commit', '', { user });
    await reader.leave();
    const next = await QueueUser.connect(broker.port, 'reader-2');
    await next.consume('$queue/log', { group: 'g' });
    expect(await next.settleNext(2)).toEqual(['4', '5']);
    const third = await QueueUser.connect(broker.port, 'reader-3');
    const refused = third.consume('$queue/log', { group: 'g', offset: 'first' });
    await expect(refused).rejects.toBeInstanceOf(Refused);
    await expect(refused).rejects.toMatchObject({ code: 0x83 });
    await Promise.all([next.leave(), third.leave()]);
  });
});

describe('queues that are made on their first use', () => {
  test('by a subscription and by a publish; above the bound both are refused', async () => {
    const client = await QueueUser.connect(broker.port, 'first');
    await client.consume('$queue/made-by-sub/#');
    await Promise.all([
      producer.publish('$queue/made-by-pub/x', '1'),
      producer.publish('$queue/made-by-pub/x', '2'),
      producer.publish('$queue/made-by-sub/x', '3'),
    ]);
    expect(await client.settleNext(1)).toEqual(['3']);
    expect(await depth('made-by-pub')).toBe(2);
    await expect(producer.publish('$queue/one-more', 'x')).rejects.toMatchObject({ code: 0x97 });
    await expect(client.consume('$queue/one-more')).rejects.toMatchObject({ code: 0x97 });
    // A dead-letter queue is made by a dead letter alone.
    await expect(producer.publish('$queue/$dlq/once', 'x')).rejects.toMatchObject({ code: 0x90 });
    await client.leave();
  });
});

test('capture async: the publish is acknowledged, and is in the queue soon', async () => {
  await producer.publish('rooms/kitchen', '21');
  await until(async () => (await depth('archive')) === 1);
  const client = await QueueUser.connect(broker.port, 'archivist');
  await client.consume('$queue/archive/rooms/+');
  const taken = await client.take();
  expect(taken.topic).toBe('$queue/archive/rooms/kitchen');
  expect(taken.user['source-topic']).toBe('rooms/kitchen');
  await client.leave();
});
