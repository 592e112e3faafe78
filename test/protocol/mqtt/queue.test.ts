import { afterEach, describe, expect, test } from 'vitest';

import {
  type Fields,
  MqttServer,
  type RawClient,
  textOf,
  until,
} from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

const ORDERS = '$queue/orders';

async function fill(count: number, from = 1): Promise<void> {
  const publisher = await server.client();
  for (let at = from; at < from + count; at++) {
    publisher.publish(ORDERS, `${at}`, { qos: 1, messageId: at });
  }
  for (let at = 0; at < count; at++) await publisher.expect('puback');
}

async function consumer(fields: Fields = {}, version: 4 | 5 = 5): Promise<RawClient> {
  const client = await server.client(fields, version);
  expect(await client.subscribe(ORDERS, 1)).toMatchObject({ granted: [1] });
  return client;
}

describe('consuming a queue', () => {
  test('Q14: 3.1.1 settles by PUBACK', async () => {
    await start();
    await fill(2);
    const client = await consumer({ clientId: 'old' }, 4);
    const first = await client.expect('publish');
    expect(first).toMatchObject({ topic: ORDERS, qos: 1, retain: false, dup: false });
    await client.expect('publish');
    expect(server.queues.settlements).toEqual([]);
    client.send({ cmd: 'puback', messageId: first['messageId'] });
    await until(() => server.queues.settlements.length > 0);
    expect(server.queues.settlements).toEqual([
      { queue: 'orders', offset: 0, outcome: 'complete', clientId: 'old' },
    ]);
  });

  test('Q14: at QoS 0 is refused: 0x83 with words in 5.0, 0x80 in 3.1.1', async () => {
    await start();
    await fill(1);
    const client = await server.client();
    const suback = await client.subscribe(ORDERS, 0);
    expect(suback).toMatchObject({ granted: [0x83] });
    const { reasonString } = suback['properties'] as Record<string, string>;
    expect(reasonString).toContain('QoS 1');
    const old = await server.client({}, 4);
    expect(await old.subscribe(ORDERS, 0)).toMatchObject({ granted: [0x80] });
    expect(server.queues.consumers('orders')).toEqual([]);
  });

  test('at QoS 2 is granted QoS 1', async () => {
    await start();
    await fill(1);
    const client = await server.client();
    expect(await client.subscribe('$queue/orders/#', 2)).toMatchObject({ granted: [1] });
    expect(await client.expect('publish')).toMatchObject({ qos: 1 });
  });

  test('a 5.0 delivery tells its queue, offset, group, count, id and who published', async () => {
    await start();
    const publisher = await server.client({ clientId: 'shop-1' });
    const userProperties = { a: '1', '_flux.client-id': 'liar', queue: 'own' };
    const properties = { contentType: 'x', userProperties };
    publisher.publish('$queue/orders/eu', 'x', { qos: 0, properties });
    const client = await server.client();
    const identifier = { properties: { subscriptionIdentifier: 12 } };
    await client.subscribe(ORDERS, 1, identifier);
    const packet = await client.expect('publish');
    expect(packet['topic']).toBe('$queue/orders/eu');
    expect(packet['properties']).toEqual({
      contentType: 'x',
      subscriptionIdentifier: 12,
      userProperties: {
        a: '1',
        queue: ['own', 'orders'],
        'message-id': expect.stringMatching(/^1-0-1-[0-9a-z]+$/) as string,
        'group-id': 'default',
        offset: '0',
        'delivery-count': '1',
        '_flux.client-id': 'shop-1',
        '_flux.protocol': 'mqtt',
      },
    });
  });

  test('a PUBACK with an error hands the message back, and it comes again as a redelivery', async () => {
    await start();
    await fill(1);
    const client = await consumer();
    const { messageId } = await client.expect('publish');
    client.send({ cmd: 'puback', messageId, reasonCode: 0x80 });
    const again = await client.expect('publish');
    expect(again).toMatchObject({ dup: true });
    expect(textOf(again)).toBe('1');
    expect(server.queues.settlements).toMatchObject([{ outcome: 'requeue', offset: 0 }]);
  });

  test.each([
    [
      'unsubscribes',
      'returned',
      (client: RawClient): void =>
        client.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: [ORDERS] }),
    ],
    [
      'disconnects',
      'returned',
      (client: RawClient): void => client.send({ cmd: 'disconnect', reasonCode: 0 }),
    ],
    ['dies', 'lost', (client: RawClient): void => client.destroy()],
    ['breaks the protocol', 'lost', (client: RawClient): void => client.sendBytes(0xf0, 0)],
  ])('a consumer that %s: what it held is %s, and goes to another', async (_, how, leave) => {
    await start();
    await fill(3);
    const client = await consumer({ clientId: 'first' });
    for (let at = 0; at < 3; at++) await client.expect('publish');
    leave(client);
    await until(() => server.queues.closings.length > 0);
    expect(server.queues.closings).toEqual([{ queue: 'orders', clientId: 'first', how }]);
    const other = await consumer();
    const texts = [];
    for (let at = 0; at < 3; at++) {
      const packet = await other.expect('publish');
      expect(packet).toMatchObject({ dup: true });
      texts.push(textOf(packet));
    }
    expect(texts).toEqual(['1', '2', '3']);
  });

  test('what was processed before an unsubscribe and acknowledged after it is settled', async () => {
    await start();
    await fill(1);
    const client = await consumer();
    const { messageId } = await client.expect('publish');
    client.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: [ORDERS] });
    await client.expect('unsuback');
    client.send({ cmd: 'puback', messageId });
    await client.quiet();
    expect(server.queues.settlements).toMatchObject([{ outcome: 'complete', offset: 0 }]);
  });

  test('stop hands back what consumers hold', async () => {
    await start();
    await fill(1);
    const client = await consumer({ clientId: 'c' });
    await client.expect('publish');
    await server.listener.stop();
    expect(server.queues.closings).toEqual([{ queue: 'orders', clientId: 'c', how: 'returned' }]);
    expect(server.queues.texts('orders')).toEqual(['1']);
  });

  test('Q21: consumers are served in turn, one each', async () => {
    await start();
    const clients = [await consumer(), await consumer(), await consumer()];
    await fill(9);
    for (const [at, client] of clients.entries()) {
      const texts = [];
      for (let round = 0; round < 3; round++) texts.push(textOf(await client.expect('publish')));
      expect(texts).toEqual([`${at + 1}`, `${at + 4}`, `${at + 7}`]);
    }
  });

  test('Q22: an idle consumer is not a dead one: it stays and gets what comes later', async () => {
    await start();
    const client = await consumer({ keepalive: 10 });
    for (let minute = 0; minute < 60; minute++) {
      server.clock.advance(10_000);
      await client.quiet();
      server.listener.sweep();
    }
    await fill(1);
    expect(textOf(await client.expect('publish'))).toBe('1');
    expect(server.queues.closings).toEqual([]);
  });

  test('Q20: a retained publish to a queue is enqueued too', async () => {
    await start();
    const publisher = await server.client();
    publisher.publish(ORDERS, 'x', { qos: 1, messageId: 1, retain: true });
    await publisher.expect('puback');
    const client = await consumer();
    expect(await client.expect('publish')).toMatchObject({ retain: false });
  });

  test('a queue that ends disconnects its consumers, who would wait for ever', async () => {
    await start();
    const deleted = await consumer();
    server.queues.cancel('orders', 'queue-deleted');
    expect(await deleted.ended()).toMatchObject([{ reasonCode: 0x98 }]);
    const failed = await consumer();
    server.queues.cancel('orders', 'unavailable');
    expect(await failed.ended()).toMatchObject([{ reasonCode: 0x83 }]);
  });

  test('a resumed session consumes its queues again', async () => {
    await start();
    const session = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 60 } };
    const client = await consumer(session);
    client.destroy();
    await until(() => server.queues.sessions.left.length === 1);
    expect(server.queues.consumers('orders')).toEqual([]);
    await server.client(session);
    expect(server.queues.consumers('orders')).toHaveLength(1);
  });
});

describe('credit', () => {
  test('a client holds no more than its receive maximum, queues and topics together', async () => {
    await start();
    const client = await server.client({ properties: { receiveMaximum: 4 } });
    await client.subscribe('t', 1);
    await client.subscribe(ORDERS, 1);
    await fill(20);
    const publisher = await server.client();
    for (let id = 1; id <= 20; id++) publisher.publish('t', `t${id}`, { qos: 1, messageId: id });
    const orders: string[] = [];
    const live: string[] = [];
    const open: unknown[] = [];
    while (orders.length + live.length < 40) {
      while (open.length < 4 && orders.length + live.length < 40) {
        const packet = await client.expect('publish');
        open.push(packet['messageId']);
        (packet['topic'] === 't' ? live : orders).push(textOf(packet));
      }
      expect(new Set(open).size).toBe(open.length);
      await client.quiet();
      client.send({ cmd: 'puback', messageId: open.shift() });
    }
    expect(orders).toEqual(Array.from({ length: 20 }, (_, at) => `${at + 1}`));
    expect(live).toEqual(Array.from({ length: 20 }, (_, at) => `t${at + 1}`));
  });

  test('a consumer that acknowledges gets all, in order', async () => {
    await start();
    await fill(1000);
    const client = await consumer({}, 4);
    for (let at = 1; at <= 1000; at++) {
      const packet = await client.expect('publish');
      expect(textOf(packet)).toBe(`${at}`);
      client.send({ cmd: 'puback', messageId: packet['messageId'] });
    }
    await until(() => server.queues.settlements.length === 1000);
  });

  test('a consumer that does not read gets a bounded part; another gets the rest', async () => {
    await start({ maxBufferedBytes: 256 * 1024 });
    const publisher = await server.client();
    const payload = Buffer.alloc(200_000);
    for (let id = 1; id <= 60; id++) publisher.publish(ORDERS, payload, { qos: 1, messageId: id });
    for (let id = 1; id <= 60; id++) await publisher.expect('puback');
    const deaf = await server.client({ clientId: 'deaf' });
    await deaf.subscribe(ORDERS, 1);
    deaf.socket.pause();
    const client = await server.client({ clientId: 'reader' });
    await client.subscribe(ORDERS, 1);
    while (server.queues.ready('orders').length > 0) {
      const packet = await client.expect('publish');
      client.send({ cmd: 'puback', messageId: packet['messageId'] });
    }
    // What the kernel took for the one that does not read, and a little that waits here.
    const held = server.queues.consumers('orders').map((one) => one.held);
    expect(Math.max(...held)).toBeLessThan(45);
    expect(deaf.buffered).toBe(0);
  });

  test('a message that is larger than the client takes goes back to the queue, not away', async () => {
    await start();
    const publisher = await server.client();
    publisher.publish(ORDERS, 'x'.repeat(2000), { qos: 1, messageId: 1 });
    await publisher.expect('puback');
    const small = await server.client({ properties: { maximumPacketSize: 1000 } });
    await small.subscribe(ORDERS, 1);
    await until(() => server.queues.settlements.length > 0);
    expect(server.queues.settlements[0]).toMatchObject({ outcome: 'requeue', offset: 0 });
    small.send({ cmd: 'disconnect', reasonCode: 0 });
    await small.ended();
    const large = await consumer();
    expect(textOf(await large.expect('publish'))).toHaveLength(2000);
  });
});

test.each(['subscribe', 'unsubscribe'])(
  'a resumed session may %s while its queue has not answered',
  async (cmd) => {
    const server = await new MqttServer().start();
    try {
      const kept = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 60 } };
      const topic = '$queue/orders';
      const client = await server.client(kept);
      await client.subscribe(topic, 1);
      client.destroy();
      await until(() => server.queues.sessions.left.length === 1);
      server.queues.attachMode = 'manual';
      const again = await server.client(kept);
      const wish = cmd === 'subscribe' ? [{ topic, qos: 1 }] : [];
      again.send({ cmd, messageId: 2, subscriptions: wish, unsubscriptions: [topic] });
      await until(() => server.queues.requests.length === (cmd === 'subscribe' ? 3 : 2));
      if (cmd === 'unsubscribe') await again.expect('unsuback');
      await again.quiet();
    } finally {
      await server.stop();
    }
  },
);
