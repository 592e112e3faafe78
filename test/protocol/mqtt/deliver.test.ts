import { afterEach, describe, expect, test } from 'vitest';

import { MqttServer, type RawClient, textOf, until } from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

async function texts(client: RawClient, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) found.push(textOf(await client.expect('publish')));
  return found;
}

const DURABLE = { clean: false, properties: { sessionExpiryInterval: 600 } };

describe('subscriptions', () => {
  test('P1: # and + do not match topics that begin with $', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('#', 0);
    await client.subscribe('+/a', 0);
    client.publish('$x/a', 'hidden');
    client.publish('$queue/orders', 'hidden');
    client.publish('x/a', 'seen');
    expect(await texts(client, 1)).toEqual(['seen']);
    await client.quiet();
    await client.subscribe('$x/#', 0);
    client.publish('$x/a', 'asked for');
    expect(await texts(client, 1)).toEqual(['asked for']);
  });

  test('P2: subscription identifiers come back, all of them, in one copy', async () => {
    await start();
    const client = await server.client();
    const subscribe = (topic: string, subscriptionIdentifier?: number): Promise<unknown> =>
      client.subscribe(
        topic,
        1,
        subscriptionIdentifier === undefined ? {} : { properties: { subscriptionIdentifier } },
      );
    await subscribe('a/#', 268_435_455);
    await subscribe('a/b', 7);
    await subscribe('+/b');
    client.publish('a/b', 'x', { qos: 1, messageId: 1 });
    const packet = await client.expect('publish');
    const { subscriptionIdentifier } = packet['properties'] as Record<string, number[]>;
    expect(subscriptionIdentifier?.sort()).toEqual([268_435_455, 7]);
    await client.expect('puback');
    await client.quiet();
  });

  test('no local keeps the own publishes back, from others they come', async () => {
    await start();
    const client = await server.client();
    const other = await server.client();
    await client.subscribe('t', 0, {}, { nl: true });
    client.publish('t', 'own');
    await client.quiet();
    other.publish('t', 'other');
    expect(await texts(client, 1)).toEqual(['other']);
  });

  test('above the limits of levels and of number they are refused, the others of the packet granted', async () => {
    await start({ maxSubscriptions: 2 }, { maxTopicLevels: 3 });
    const client = await server.client();
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: ['a', 'a/b/c/#', 'a', 'b', 'c'].map((topic) => ({ topic, qos: 2 })),
    });
    expect(await client.expect('suback')).toMatchObject({ granted: [2, 0x8f, 2, 2, 0x97] });
  });

  test('UNSUBACK tells whether there was one; after it nothing comes', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('t', 0);
    client.send({ cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['t', 'u'] });
    expect(await client.expect('unsuback')).toMatchObject({ messageId: 3, granted: [0, 0x11] });
    client.publish('t', 'x');
    await client.quiet();
  });

  test('the QoS of a delivery is the lower of publish and subscription', async () => {
    await start();
    for (const granted of [0, 1, 2] as const) {
      const client = await server.client();
      await client.subscribe('t', granted);
      for (const qos of [0, 1, 2] as const) {
        client.publish('t', 'x', { qos, messageId: 1 + qos });
        const got = [await client.next(), ...(qos > 0 ? [await client.next()] : [])];
        const publish = got.find((packet) => packet?.cmd === 'publish');
        expect(publish).toMatchObject({ qos: Math.min(qos, granted) });
      }
    }
  });
});

describe('properties of a message', () => {
  test('come through unaltered and in order; those that begin with _flux. are removed', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('t', 0);
    const properties = {
      payloadFormatIndicator: true,
      contentType: 'text/plain',
      responseTopic: 'answers/1',
      correlationData: Buffer.from([0, 255, 1]),
      messageExpiryInterval: 30,
      userProperties: { b: ['2', '1'], a: 'x' },
    };
    const userProperties = { ...properties.userProperties, '_flux.client_id': 'somebody else' };
    client.publish('t', 'x', { properties: { ...properties, userProperties } });
    expect((await client.expect('publish'))['properties']).toEqual(properties);
    const old = await server.client({}, 4);
    await old.subscribe('t', 0);
    client.publish('t', 'x', { properties });
    expect(await old.expect('publish')).not.toHaveProperty('properties');
  });

  test('the expiry of a message that waited is what is left; an expired one is not sent', async () => {
    await start();
    const client = await server.client({ clientId: 'a', ...DURABLE });
    await client.subscribe('t', 1);
    client.destroy();
    await until(() => server.queues.sessions.left.length === 1);
    server.queues.age('$session/a', 25_000);
    const publisher = await server.client();
    for (const messageExpiryInterval of [10, 100]) {
      const properties = { messageExpiryInterval };
      publisher.publish('t', `${messageExpiryInterval}`, { qos: 1, messageId: 1, properties });
      await publisher.expect('puback');
    }
    const again = await server.client({ clientId: 'a', ...DURABLE });
    const packet = await again.expect('publish');
    expect(textOf(packet)).toBe('100');
    const { messageExpiryInterval } = Object(packet['properties']);
    expect(messageExpiryInterval).toBeLessThanOrEqual(75);
    expect(messageExpiryInterval).toBeGreaterThan(25);
    await again.quiet();
    // It is settled unsent.
    expect(server.queues.settlements).toMatchObject([{ queue: '$session/a', offset: 0 }]);
  });
});

describe('flow control to a client', () => {
  test('never more in flight than its receive maximum, and all come in order', async () => {
    await start();
    const client = await server.client({ properties: { receiveMaximum: 3 } });
    await client.subscribe('t', 2);
    const publisher = await server.client();
    for (let id = 1; id <= 20; id++) {
      publisher.publish('t', `${id}`, { qos: id % 2 === 0 ? 1 : 2, messageId: id });
    }
    const seen: string[] = [];
    const open: { id: unknown; qos: unknown }[] = [];
    while (seen.length < 20) {
      while (open.length < 3 && seen.length < 20) {
        const packet = await client.expect('publish');
        open.push({ id: packet['messageId'], qos: packet['qos'] });
        seen.push(textOf(packet));
      }
      await client.quiet();
      const { id, qos } = open.shift() ?? {};
      if (qos === 1) client.send({ cmd: 'puback', messageId: id });
      else {
        client.send({ cmd: 'pubrec', messageId: id });
        expect(await client.expect('pubrel')).toMatchObject({ messageId: id });
        await client.quiet();
        client.send({ cmd: 'pubcomp', messageId: id });
      }
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, at) => `${at + 1}`));
  });

  test('PUBREC with an error ends the delivery; PUBREC of an unknown id gets PUBREL 0x92', async () => {
    await start();
    const client = await server.client({ properties: { receiveMaximum: 1 } });
    await client.subscribe('t', 2);
    for (const id of [1, 2]) client.publish('t', `${id}`, { qos: 2, messageId: id });
    const first = await client.expect('publish');
    await client.expect('pubrec');
    await client.expect('pubrec');
    client.send({ cmd: 'pubrec', messageId: first['messageId'], reasonCode: 0x80 });
    expect(textOf(await client.expect('publish'))).toBe('2');
    client.send({ cmd: 'pubrec', messageId: 999 });
    expect(await client.expect('pubrel')).toMatchObject({ messageId: 999, reasonCode: 0x92 });
  });

  test('in flight when the connection died: sent again, DUP, same ids, in order, PUBREL as PUBREL', async () => {
    await start();
    const client = await server.client({ clientId: 'a', ...DURABLE });
    await client.subscribe('t', 2);
    const publisher = await server.client();
    for (let id = 1; id <= 5; id++) {
      publisher.publish('t', `${id}`, { qos: id === 2 || id === 4 ? 2 : 1, messageId: id });
    }
    const ids = [];
    for (let at = 0; at < 5; at++) ids.push((await client.expect('publish'))['messageId']);
    client.send({ cmd: 'pubrec', messageId: ids[1] });
    await client.expect('pubrel');
    client.send({ cmd: 'puback', messageId: ids[0] });
    await client.quiet();
    client.destroy();
    await until(() => server.queues.sessions.left.length === 1);
    publisher.publish('t', '6', { qos: 1, messageId: 6 });

    const again = await server.client({ clientId: 'a', ...DURABLE });
    expect(again.connack).toMatchObject({ sessionPresent: true });
    const packets = [];
    for (let at = 0; at < 5; at++) packets.push(await again.next());
    const repeated = packets.filter((packet) => packet?.['dup'] === true);
    expect(repeated.map((packet) => [packet?.['messageId'], String(packet?.['payload'])])).toEqual([
      [ids[2], '3'],
      [ids[3], '4'],
      [ids[4], '5'],
    ]);
    expect(packets[0]).toMatchObject({ cmd: 'pubrel', messageId: ids[1] });
    expect(packets[4]).toMatchObject({ cmd: 'publish', dup: false });
    expect(String(packets[4]?.['payload'])).toBe('6');
    expect(ids).not.toContain(packets[4]?.['messageId']);
  });

  test('a smaller receive maximum on the next connection holds for what is repeated too', async () => {
    await start();
    const client = await server.client({ clientId: 'a', ...DURABLE });
    await client.subscribe('t', 1);
    const publisher = await server.client();
    for (let id = 1; id <= 5; id++) publisher.publish('t', `${id}`, { qos: 1, messageId: id });
    await texts(client, 5);
    client.destroy();
    await until(() => server.queues.sessions.left.length === 1);
    const properties = { sessionExpiryInterval: 600, receiveMaximum: 2 };
    const again = await server.client({ clientId: 'a', clean: false, properties });
    const seen = [];
    for (let at = 1; at <= 5; at++) {
      const packet = await again.expect('publish');
      seen.push(textOf(packet));
      if (at >= 2) await again.quiet();
      if (at >= 2) again.send({ cmd: 'puback', messageId: packet['messageId'] });
    }
    expect(seen).toEqual(['1', '2', '3', '4', '5']);
  });

  test('the end of what an earlier connection began makes no room above the receive maximum', async () => {
    await start();
    const kept = {
      clientId: 'a',
      clean: false,
      properties: { sessionExpiryInterval: 600, receiveMaximum: 1 },
    };
    const client = await server.client(kept);
    await client.subscribe('t', 2);
    const publisher = await server.client();
    for (const [at, text] of ['1', '2', '3'].entries()) {
      publisher.publish('t', text, { qos: 2, messageId: 1 + at });
      await publisher.expect('pubrec');
    }
    const { messageId } = await client.expect('publish');
    client.send({ cmd: 'pubrec', messageId });
    await client.expect('pubrel');
    client.destroy();
    const again = await server.client(kept);
    await again.expect('pubrel');
    expect(textOf(await again.expect('publish'))).toBe('2');
    again.send({ cmd: 'pubcomp', messageId });
    await again.quiet();
  });

  test('what the client takes no longer on this connection ends, and the next goes out', async () => {
    await start({ maxInflight: 1 });
    const kept = { clientId: 'a', clean: false };
    const client = await server.client({ ...kept, properties: { sessionExpiryInterval: 600 } });
    await client.subscribe('t', 1);
    const publisher = await server.client();
    for (const text of ['x'.repeat(200), 'fits']) {
      publisher.publish('t', text, { qos: 1, messageId: 1 });
      await publisher.expect('puback');
    }
    await client.expect('publish');
    client.destroy();
    const properties = { sessionExpiryInterval: 600, maximumPacketSize: 100 };
    const small = await server.client({ ...kept, properties });
    expect(textOf(await small.expect('publish'))).toBe('fits');
  });
});

describe('what one client takes', () => {
  test('a message larger than its maximum packet size is dropped for it alone, at every QoS', async () => {
    await start();
    const small = await server.client({ properties: { maximumPacketSize: 100 } });
    const large = await server.client();
    await small.subscribe('t', 2);
    await large.subscribe('t', 2);
    const publisher = await server.client();
    for (const qos of [0, 1, 2]) {
      publisher.publish('t', 'x'.repeat(200), { qos, messageId: 1 + qos });
    }
    publisher.publish('t', 'fits', { qos: 1, messageId: 9 });
    expect(await texts(large, 4)).toHaveLength(4);
    expect(await texts(small, 1)).toEqual(['fits']);
    expect(server.listener.counters.droppedTooLarge).toBe(3);
  });

  test('topic aliases are used as far as it allows: the topic once, then its number', async () => {
    await start();
    const client = await server.client({ properties: { topicAliasMaximum: 1 } });
    await client.subscribe('#', 1);
    const other = await server.client();
    await other.subscribe('#', 0);
    for (const topic of ['one', 'one', 'two', 'one']) client.publish(topic, 'x');
    const seen = [];
    for (let at = 0; at < 4; at++) {
      const { topic, properties } = await client.expect('publish');
      seen.push([topic, (properties as { topicAlias?: number } | undefined)?.topicAlias]);
    }
    expect(seen).toEqual([
      ['one', 1],
      ['', 1],
      ['two', undefined],
      ['', 1],
    ]);
    for (const topic of ['one', 'one', 'two', 'one']) {
      expect(await other.expect('publish')).toMatchObject({ topic });
    }
  });

  test('fan-out: each of many subscribers gets its own packets, of its version, small and large', async () => {
    await start();
    const clients: RawClient[] = [];
    for (let at = 0; at < 12; at++) {
      const client = await server.client({}, at % 2 === 0 ? 4 : 5);
      await client.subscribe('t', (at % 3) as 0 | 1 | 2);
      clients.push(client);
    }
    const publisher = await server.client();
    const large = 'y'.repeat(20_000);
    for (const [at, text] of ['a', large, 'b'].entries()) {
      publisher.publish('t', text, { qos: at === 2 ? 2 : 0, messageId: 1 });
    }
    for (const [at, client] of clients.entries()) {
      expect(await texts(client, 2)).toEqual(['a', large]);
      const last = await client.expect('publish');
      expect([textOf(last), last['qos']]).toEqual(['b', at % 3]);
    }
  });
});

describe('a subscriber that does not read', () => {
  test('costs bounded bytes and nobody else anything; QoS 0 is dropped and counted, QoS 1 waits', async () => {
    const maxBufferedBytes = 256 * 1024;
    await start({ maxBufferedBytes, maxQueuedMessages: 50 });
    const slow = await server.client({ clientId: 'slow' });
    await slow.subscribe('t/#', 1);
    slow.socket.pause();
    const reader = await server.client();
    await reader.subscribe('t/#', 0);
    const publisher = await server.client();
    const payload = Buffer.alloc(16_384);
    // More than the socket buffers of both ends can hold.
    for (let at = 0; at < 1000; at++) {
      publisher.publish('t/0', payload);
      await reader.expect('publish');
    }
    expect(server.listener.counters.droppedSlow).toBeGreaterThan(100);
    for (let id = 1; id <= 60; id++) {
      publisher.publish('t/1', `${id}`, { qos: 1, messageId: id });
      await publisher.expect('puback');
    }
    expect(server.listener.sessions.totals.dropped).toBe(10);
    slow.socket.resume();
    const seen: string[] = [];
    while (seen.length < 50) {
      const packet = await slow.expect('publish');
      if (packet['qos'] === 1) {
        seen.push(textOf(packet));
        slow.send({ cmd: 'puback', messageId: packet['messageId'] });
      }
    }
    expect(seen).toEqual(Array.from({ length: 50 }, (_, at) => `${at + 1}`));
  });

  test('and sends on is not read beyond the bound of its answers', async () => {
    await start({ maxBufferedBytes: 65_536 });
    const client = await server.client({}, 4);
    client.socket.pause();
    // QoS 1 publishes of 7 bytes, whose answers have 4: more than the kernel takes for a deaf
    // client.
    const total = 3_000_000;
    const publish = Buffer.from([0x32, 5, 0, 1, 0x74, 0, 1]);
    client.socket.write(Buffer.alloc(total * publish.length, publish));
    const { counters } = server.listener;
    let before = 0;
    for (let quiet = 0; quiet < 300 && counters.received < total; quiet++) {
      if (counters.received === 0 || counters.received !== before) quiet = 0;
      before = counters.received;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(counters.received).toBeLessThan(total / 2);
    const other = await server.client();
    await other.quiet();
  });
});

describe('retained messages', () => {
  test('come on SUBSCRIBE with RETAIN, live ones without, unless asked for as published', async () => {
    await start();
    const client = await server.client();
    client.publish('t', 'kept', { retain: true, qos: 1, messageId: 1 });
    await client.expect('puback');
    await client.subscribe('t', 1);
    expect(await client.expect('publish')).toMatchObject({ retain: true, qos: 1 });
    client.publish('t', 'live', { retain: true });
    expect(await client.expect('publish')).toMatchObject({ retain: false });
    await client.subscribe('t', 1, {}, { rap: true, rh: 2 });
    client.publish('t', 'live', { retain: true });
    expect(await client.expect('publish')).toMatchObject({ retain: true });
    client.publish('t', 'not retained', { retain: false });
    expect(await client.expect('publish')).toMatchObject({ retain: false });
  });

  test('retain handling 0 always, 1 for a new subscription, 2 never', async () => {
    await start();
    const client = await server.client();
    client.publish('t', 'kept', { retain: true });
    await client.subscribe('t', 0, {}, { rh: 2 });
    await client.quiet();
    await client.subscribe('t', 0, {}, { rh: 1 });
    await client.quiet();
    await client.subscribe('t', 0, {}, { rh: 0 });
    expect(await texts(client, 1)).toEqual(['kept']);
    await client.subscribe('+', 0, {}, { rh: 1 });
    expect(await texts(client, 1)).toEqual(['kept']);
  });

  test('more than the receive maximum come one after the other, each once', async () => {
    await start();
    const publisher = await server.client();
    for (let at = 0; at < 100; at++)
      publisher.publish(`t/${at}`, `${at}`, { qos: 1, retain: true, messageId: 1 });
    for (let at = 0; at < 100; at++) await publisher.expect('puback');
    const client = await server.client({ properties: { receiveMaximum: 2 } });
    await client.subscribe('t/#', 1);
    const seen = new Set<string>();
    for (let at = 0; at < 100; at++) {
      const packet = await client.expect('publish');
      seen.add(textOf(packet));
      client.send({ cmd: 'puback', messageId: packet['messageId'] });
    }
    expect(seen.size).toBe(100);
    await client.quiet();
  });

  test('an empty payload removes it; a subscriber of now hears of that', async () => {
    await start();
    const client = await server.client();
    client.publish('t', 'kept', { retain: true });
    client.publish('t', '', { retain: true });
    await client.subscribe('t', 0);
    await client.quiet();
    client.publish('t', '', { retain: true });
    expect(await texts(client, 1)).toEqual(['']);
  });
});
