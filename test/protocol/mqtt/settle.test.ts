import { afterEach, describe, expect, test } from 'vitest';

import type { SettleAnswer } from '../../../src/broker/ports.ts';
import {
  MqttServer,
  type RawClient,
  type ServerPacket,
  textOf,
  until,
} from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  server.queues.declare('events', ['$queue/events/#'], { type: 'stream', defaultGroup: 'client' });
  return server;
}

const ORDERS = '$queue/orders';

type Words = Record<string, string>;

async function fill(topic: string, count: number): Promise<void> {
  const publisher = await server.client();
  for (let at = 1; at <= count; at++) {
    publisher.publish(topic, `${at}`, { qos: 1, messageId: at });
    await publisher.expect('puback');
  }
}

async function manual(topic = ORDERS, fields = {}): Promise<RawClient> {
  const client = await server.client({ clientId: 'worker', ...fields });
  const properties = { userProperties: { ack: 'manual' } };
  expect(await client.subscribe(topic, 1, { properties })).toMatchObject({ granted: [1] });
  return client;
}

/** The next delivery, whose PUBACK is sent. */
async function next(client: RawClient): Promise<{ text: string; words: Words }> {
  const packet = await client.expect('publish');
  client.send({ cmd: 'puback', messageId: packet['messageId'] });
  return { text: textOf(packet), words: wordsOf(packet) };
}

function wordsOf(packet: ServerPacket): Words {
  return (packet['properties'] as { userProperties: Words }).userProperties;
}

function names(words: Words): Words {
  return { 'message-id': words['message-id'] ?? '', 'group-id': words['group-id'] ?? '' };
}

let lastId = 0;

/** Publishes a settlement and gives its answer. */
async function settle(
  client: RawClient,
  topic: string,
  userProperties: Words,
): Promise<ServerPacket> {
  const messageId = ++lastId;
  client.publish(topic, '', { qos: 1, messageId, properties: { userProperties } });
  const puback = await client.expect('puback');
  expect(puback).toMatchObject({ messageId });
  return puback;
}

function reasonOf(packet: ServerPacket): string {
  return (packet['properties'] as Record<string, string> | undefined)?.['reasonString'] ?? '';
}

describe('manual settlement', () => {
  test('Q15: PUBACK does not settle, and a later nack works', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const first = await next(client);
    await client.quiet();
    expect(server.queues.settlements).toEqual([]);
    const answer = await settle(client, `${ORDERS}/$nack`, names(first.words));
    expect(answer).toMatchObject({ reasonCode: 0 });
    const again = await next(client);
    expect(again).toMatchObject({ text: '1', words: { 'delivery-count': '2' } });
    expect(again.words['message-id']).not.toBe(first.words['message-id']);
    expect(await settle(client, `${ORDERS}/$ack`, names(again.words))).toMatchObject({
      reasonCode: 0,
    });
    expect(server.queues.settlements).toEqual([
      { queue: 'orders', offset: 0, outcome: 'requeue', clientId: 'default' },
      { queue: 'orders', offset: 0, outcome: 'complete', clientId: 'default' },
    ]);
    await client.quiet();
  });

  test('neither does a negative PUBACK', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { messageId } = await client.expect('publish');
    client.send({ cmd: 'puback', messageId, reasonCode: 0x80 });
    await client.quiet();
    expect(server.queues.settlements).toEqual([]);
    expect(server.queues.consumers('orders')).toMatchObject([{ held: 1 }]);
  });

  test('what is not settled when the connection ends goes back, as of any consumer', async () => {
    await start();
    await fill(ORDERS, 2);
    const client = await manual();
    await next(client);
    await next(client);
    client.send({ cmd: 'disconnect', reasonCode: 0 });
    await client.ended();
    expect(server.queues.closings).toEqual([
      { queue: 'orders', clientId: 'worker', how: 'returned' },
    ]);
    expect(server.queues.texts('orders')).toEqual(['1', '2']);
  });

  test.each([1, 4])(
    'a client holds no more unsettled than its receive maximum (%i), whatever it acknowledged',
    async (receiveMaximum) => {
      await start();
      await fill(ORDERS, 20);
      const client = await manual(ORDERS, { properties: { receiveMaximum } });
      const held: Words[] = [];
      const got: string[] = [];
      while (got.length < 20) {
        while (held.length < receiveMaximum && got.length < 20) {
          const { text, words } = await next(client);
          got.push(text);
          held.push(words);
        }
        await client.quiet();
        expect(client.buffered).toBe(0);
        await settle(client, `${ORDERS}/$ack`, names(held.shift() ?? {}));
      }
      expect(got).toEqual(Array.from({ length: 20 }, (_, at) => `${at + 1}`));
    },
  );

  test('what is out of time makes room, and comes again', async () => {
    await start();
    await fill(ORDERS, 3);
    const client = await manual(ORDERS, { properties: { receiveMaximum: 2 } });
    const first = await next(client);
    const second = await next(client);
    await client.quiet();
    server.queues.expire('orders');
    const texts = [(await next(client)).text, (await next(client)).text];
    expect(texts.sort()).toEqual(['1', '2']);
    await client.quiet();
    const late = await settle(client, `${ORDERS}/$nack`, names(first.words));
    expect(late).toMatchObject({ reasonCode: 0x83 });
    expect(reasonOf(late)).toContain('over');
    // That it was done counts also when it comes late.
    expect(await settle(client, `${ORDERS}/$ack`, names(second.words))).toMatchObject({
      reasonCode: 0,
    });
    expect((await next(client)).text).toBe('3');
  });

  test('another connection may settle by the message id', async () => {
    await start();
    await fill(ORDERS, 2);
    const client = await manual(ORDERS, { properties: { receiveMaximum: 1 } });
    const { words } = await next(client);
    const other = await server.client();
    expect(await settle(other, `${ORDERS}/$ack`, names(words))).toMatchObject({ reasonCode: 0 });
    expect((await next(client)).text).toBe('2');
  });

  test('a message that is larger than the client takes is handed back', async () => {
    await start();
    const publisher = await server.client();
    publisher.publish(ORDERS, 'x'.repeat(2000), { qos: 1, messageId: 1 });
    await publisher.expect('puback');
    await manual(ORDERS, { properties: { maximumPacketSize: 1000 } });
    await until(() => server.queues.settlements.length > 1);
    expect(server.queues.settlements[0]).toMatchObject({ outcome: 'requeue', offset: 0 });
  });

  test('a queue of dead letters is settled by its name', async () => {
    await start();
    server.queues.declare('$dlq/orders');
    await fill('$queue/$dlq/orders/eu', 1);
    const client = await manual('$queue/$dlq/orders/#');
    const { words } = await next(client);
    expect(words['queue']).toBe('$dlq/orders');
    const answer = await settle(client, '$queue/$dlq/orders/$ack', names(words));
    expect(answer).toMatchObject({ reasonCode: 0 });
    expect(server.queues.settlements).toMatchObject([
      { queue: '$dlq/orders', outcome: 'complete' },
    ]);
  });
});

describe('the verbs', () => {
  test.each([
    ['$ack', 'complete'],
    ['$nack', 'requeue'],
    ['$reject', 'discard'],
    ['$extend', 'extend'],
  ])('%s asks for %s', async (verb, outcome) => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    const asked = { ...names(words), reason: 'as it is' };
    expect(await settle(client, `${ORDERS}/${verb}`, asked)).toMatchObject({ reasonCode: 0 });
    expect(server.queues.settlements).toMatchObject([{ outcome, offset: 0 }]);
  });

  test.each([
    ['message-id', (words: Words): Words => names(words)],
    ['offset', (words: Words): Words => ({ 'group-id': words['group-id'] ?? '', offset: '2' })],
  ])('$commit of a stream, by %s, settles all up to it', async (_, asked) => {
    await start();
    await fill('$queue/events', 4);
    const client = await server.client({ clientId: 'worker' });
    const properties = { userProperties: { ack: 'manual', 'x-stream-offset': 'first' } };
    await client.subscribe('$queue/events', 1, { properties });
    const all: Words[] = [];
    for (let at = 0; at < 4; at++) all.push((await next(client)).words);
    const answer = await settle(client, '$queue/events/$commit', asked(all[2] ?? {}));
    expect(answer).toMatchObject({ reasonCode: 0 });
    expect(server.queues.settlements).toMatchObject([{ outcome: 'commit', offset: 2 }]);
    client.destroy();
    await until(() => server.queues.consumers('events').length === 0);
    expect(server.queues.texts('events', 'worker')).toEqual(['4']);
  });

  test('settled again is said to be settled', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    for (const verb of ['$ack', '$ack', '$nack']) {
      const answer = await settle(client, `${ORDERS}/${verb}`, names(words));
      expect(answer).toMatchObject({ reasonCode: 0 });
    }
  });

  test('at QoS 2 it is done once, and answered in both steps', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    const publish = (dup: boolean): void =>
      client.publish(`${ORDERS}/$ack`, '', {
        qos: 2,
        messageId: 7,
        dup,
        properties: { userProperties: names(words) },
      });
    publish(false);
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 7 });
    publish(true);
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 7 });
    client.send({ cmd: 'pubrel', messageId: 7 });
    await client.expect('pubcomp');
    expect(server.queues.settlements).toHaveLength(1);
  });

  test('at QoS 0 it is done too, and one that is not is counted', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    client.publish(`${ORDERS}/$nack`, '', { properties: { userProperties: names(words) } });
    expect((await next(client)).words['delivery-count']).toBe('2');
    client.publish(`${ORDERS}/$nack`, '', { properties: { userProperties: names(words) } });
    client.publish(`${ORDERS}/$nack`, '');
    await until(() => server.listener.counters.refusedPublishes === 2);
    await client.quiet();
  });

  test('at QoS 0 so many may be under way as at QoS 1: the client is not read until they are done', async () => {
    await start({ receiveMaximum: 4 });
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    let atOnce = 0;
    const real = server.queues.settle.bind(server.queues);
    let open = 0;
    server.queues.settle = (request, waiter, tag): void => {
      atOnce = Math.max(atOnce, ++open);
      const counting = {
        settled: (its: number, answer: SettleAnswer): void => {
          open--;
          waiter.settled(its, answer);
        },
      };
      real(request, counting, tag);
    };
    const properties = { userProperties: names(words) };
    for (let at = 0; at < 50; at++) client.publish(`${ORDERS}/$ack`, '', { properties });
    await client.quiet();
    await until(() => open === 0);
    expect(server.queues.settlements).toHaveLength(50);
    expect(atOnce).toBe(4);
  });

  test('answers keep the order of the publishes, settlements and messages alike', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    server.queues.mode = 'manual';
    client.publish('$queue/mqtt', 'x', { qos: 1, messageId: 100 });
    const properties = { userProperties: names(words) };
    client.publish(`${ORDERS}/$ack`, '', { qos: 1, messageId: 101, properties });
    client.publish('live', 'x', { qos: 1, messageId: 102 });
    await until(() => server.queues.settlements.length === 1);
    await client.quiet();
    server.queues.answer(1);
    for (const messageId of [100, 101, 102]) {
      expect(await client.expect('puback')).toMatchObject({ messageId });
    }
  });
});

describe('a wrong settlement', () => {
  const GOOD = { 'message-id': '1-0-1-1', 'group-id': 'default' };

  test.each([
    ['$queue/orders/$ack', { other: 'x' }, 0x83, 'group-id'],
    ['$queue/orders/$ack', { 'group-id': 'default' }, 0x83, 'message-id'],
    ['$queue/orders/$ack', { ...GOOD, 'message-id': '' }, 0x83, 'message-id'],
    ['$queue/orders/$ack', { ...GOOD, 'message-id': '1-0-1' }, 0x83, 'message-id'],
    ['$queue/orders/$ack', { ...GOOD, 'message-id': '1-00-1-1' }, 0x83, 'message-id'],
    ['$queue/orders/$ack', { ...GOOD, 'message-id': '1-0-1-1 ' }, 0x83, 'message-id'],
    ['$queue/orders/$ack', { ...GOOD, 'message-id': '1-zzzzzzzzzzz-1-1' }, 0x83, 'message-id'],
    ['$queue/orders/$ack', { ...GOOD, 'message-id': '1-__proto__-1-1' }, 0x83, 'message-id'],
    ['$queue/orders/$ack', { ...GOOD, 'message-id': '2-0-1-1' }, 0x83, 'another queue'],
    ['$queue/orders/$ack', { ...GOOD, 'group-id': 'nobody' }, 0x83, 'group'],
    ['$queue/nobody/$ack', GOOD, 0x90, 'no such queue'],
    ['$queue/orders/$commit', GOOD, 0x83, 'no stream'],
    ['$queue/events/$commit', { 'group-id': 'g', offset: '-1' }, 0x83, 'offset'],
    ['$queue/orders/$ack/x', GOOD, 0x90, 'reserved'],
    ['$queue/orders/eu/$ack', GOOD, 0x90, 'reserved'],
    ['$queue/orders/$later', GOOD, 0x90, 'reserved'],
    ['$queue/$dlq/orders/$ack', GOOD, 0x90, 'no such queue'],
    ['$queue/$ack', GOOD, 0x90, 'reserved'],
  ])(
    '%s with %j is refused with words, and lands in no queue',
    async (topic, words, code, text) => {
      await start();
      await fill(ORDERS, 1);
      const client = await server.client();
      const answer = await settle(client, topic, words);
      expect(answer).toMatchObject({ reasonCode: code });
      expect(reasonOf(answer)).toContain(text);
      expect(server.queues.texts('orders')).toEqual(['1']);
      expect(server.queues.texts('mqtt')).toEqual([]);
    },
  );

  test('two different message ids are none', async () => {
    await start();
    await fill(ORDERS, 2);
    const client = await manual();
    const { words } = await next(client);
    const second = await next(client);
    const both = [words['message-id'], second.words['message-id']];
    const userProperties = { ...names(words), 'message-id': both };
    const properties = { userProperties };
    client.publish(`${ORDERS}/$ack`, '', { qos: 1, messageId: 1, properties });
    expect(await client.expect('puback')).toMatchObject({ reasonCode: 0x83 });
  });

  test('Q25: a queue deleted and declared again: an old settlement touches nothing', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    server.queues.remove('orders');
    server.queues.declare('orders');
    await fill(ORDERS, 1);
    const other = await server.client();
    const answer = await settle(other, `${ORDERS}/$ack`, names(words));
    expect(answer).toMatchObject({ reasonCode: 0x83 });
    expect(server.queues.settlements).toEqual([]);
  });

  test('that the store did not answer is told as not known', async () => {
    await start();
    await fill(ORDERS, 1);
    const client = await manual();
    const { words } = await next(client);
    server.queues.settleAnswer = 'unavailable';
    const answer = await settle(client, `${ORDERS}/$ack`, names(words));
    expect(answer).toMatchObject({ reasonCode: 0x80 });
  });

  test('3.1.1 cannot settle by publishing: its connection is closed', async () => {
    await start();
    const client = await server.client({}, 4);
    client.publish(`${ORDERS}/$ack`, '', { qos: 1, messageId: 1 });
    expect(await client.ended()).toEqual([]);
    expect(server.queues.settlements).toEqual([]);
  });

  test('a client that wants no reason strings gets the code alone', async () => {
    await start();
    const client = await server.client({ properties: { requestProblemInformation: false } });
    const answer = await settle(client, `${ORDERS}/$ack`, { other: 'x' });
    expect(answer).toMatchObject({ reasonCode: 0x83 });
    expect(reasonOf(answer)).toBe('');
  });
});

describe('captured messages', () => {
  test('come below the name of their queue, and tell the topic that they were published to', async () => {
    await start();
    server.queues.declare('archive', ['$queue/archive/#', 'm/#']);
    const client = await server.client();
    await client.subscribe('$queue/archive/m/+', 1);
    const old = await server.client({}, 4);
    await old.subscribe('$share/old/$queue/archive', 1);
    const live = await server.client();
    await live.subscribe('m/#', 1);
    const publisher = await server.client({ clientId: 'sensor' });
    publisher.publish('m/1', 'x', { qos: 1, messageId: 1, retain: true });
    await publisher.expect('puback');
    const packet = await client.expect('publish');
    expect(packet).toMatchObject({ topic: '$queue/archive/m/1', retain: false, qos: 1 });
    expect(wordsOf(packet)).toMatchObject({
      'source-topic': 'm/1',
      queue: 'archive',
      '_flux.client-id': 'sensor',
    });
    expect(await old.expect('publish')).toMatchObject({ topic: '$queue/archive/m/1' });
    expect(await live.expect('publish')).toMatchObject({ topic: 'm/1' });
  });

  test('with a topic that has no room for the name they come as they were published', async () => {
    await start();
    server.queues.declare('archive', ['m/#']);
    const client = await server.client();
    await client.subscribe('$queue/archive', 1);
    const topic = `m/${'x'.repeat(65_530)}`;
    const publisher = await server.client();
    publisher.publish(topic, 'x', { qos: 1, messageId: 1 });
    await publisher.expect('puback');
    expect(await client.expect('publish')).toMatchObject({ topic });
  });

  test('Q12: with a stalled shard the publisher is read on, and its subscribers get all', async () => {
    await start();
    server.queues.declare('archive', ['m/#']);
    server.queues.mode = 'manual';
    server.queues.writable = false;
    const live = await server.client();
    await live.subscribe('m/#', 0);
    const publisher = await server.client();
    for (let id = 1; id <= 100; id++) publisher.publish('m/1', `${id}`, { qos: 1, messageId: id });
    for (let id = 1; id <= 100; id++) expect(textOf(await live.expect('publish'))).toBe(`${id}`);
    await publisher.quiet();
    server.queues.answer(99);
    server.queues.answer(1, 'queue-full');
    for (let id = 1; id <= 99; id++) await publisher.expect('puback');
    expect(await publisher.expect('puback')).toMatchObject({ reasonCode: 0x97, messageId: 100 });
  });
});
