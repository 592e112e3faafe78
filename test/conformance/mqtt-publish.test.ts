/**
 * Statements of MQTT about PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and the delivery protocols
 * that no other test holds, one test each; docs/conformance/mqtt.md names them all.
 */

import { afterEach, describe, expect, test } from 'vitest';

import { field, packet, properties, u16 } from '../support/mqtt-bytes.ts';
import { type Fields, MqttServer, type RawClient, textOf, until } from '../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

const KEPT: Fields = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 100 } };
const surrogate = Uint8Array.of(0xed, 0xa0, 0x80);

async function leave(client: RawClient): Promise<void> {
  client.destroy();
  await until(() => server.queues.sessions.left.length === 1);
}

describe('PUBLISH', () => {
  test('a byte order mark in a topic is a character like any other, and stays', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('\u{feff}t', 0);
    client.publish('t', 'without');
    client.publish('\u{feff}t', 'with');
    expect(await client.expect('publish')).toMatchObject({ topic: '\u{feff}t' });
    await client.quiet();
  });

  test.each([
    ['response topic', [0x08]],
    ['content type', [0x03]],
  ])('a %s that is not UTF-8 ends the connection', async (_, id) => {
    await start();
    const client = await server.client();
    client.sendBytes(...packet(0x30, field('t'), properties(id, field(surrogate))));
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x81 }]);
  });

  test('DUP of a publisher is not handed on: a first delivery has none', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('t', 1);
    client.publish('t', 'x', { qos: 1, messageId: 1, dup: true });
    const got = [await client.next(), await client.next()];
    expect(got.find((each) => each?.cmd === 'publish')).toMatchObject({ dup: false });
  });

  test('without RETAIN it leaves the retained message of its topic as it is', async () => {
    await start();
    const client = await server.client();
    client.publish('t', 'kept', { retain: true });
    client.publish('t', 'live');
    client.publish('t', '');
    await client.quiet();
    await client.subscribe('t', 0);
    expect(textOf(await client.expect('publish'))).toBe('kept');
    await client.quiet();
  });

  test('at QoS 0 with RETAIN it takes the place of one at QoS 1', async () => {
    await start();
    const client = await server.client();
    client.publish('t', 'old', { retain: true, qos: 1, messageId: 1 });
    await client.expect('puback');
    client.publish('t', 'new', { retain: true });
    await client.quiet();
    await client.subscribe('t', 1);
    expect(await client.expect('publish')).toMatchObject({ qos: 0, retain: true });
    await client.quiet();
  });

  test('topic aliases end with their connection, that of a session that is kept too', async () => {
    await start();
    const client = await server.client(KEPT);
    client.publish('t', 'x', { properties: { topicAlias: 1 } });
    await client.quiet();
    await leave(client);
    const again = await server.client(KEPT);
    again.publish('', 'x', { properties: { topicAlias: 1 } });
    expect(await again.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  test('every topic alias from 1 to the maximum that CONNACK told is taken', async () => {
    await start({ topicAliasMaximum: 300 });
    const client = await server.client();
    await client.subscribe('#', 0);
    for (let alias = 1; alias <= 300; alias++) {
      client.publish(`t${alias}`, '', { properties: { topicAlias: alias } });
    }
    client.publish('', 'x', { properties: { topicAlias: 300 } });
    for (let alias = 1; alias <= 300; alias++) await client.expect('publish');
    expect(await client.expect('publish')).toMatchObject({ topic: 't300' });
  });

  test('a client that holds all it may is still answered in everything else', async () => {
    await start();
    const client = await server.client({ properties: { receiveMaximum: 1 } });
    await client.subscribe('t', 1);
    for (const messageId of [1, 2]) {
      client.publish('t', 'x', { qos: 1, messageId });
      await until(() => client.buffered > 0);
    }
    client.publish('t', 'at QoS 0');
    client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['t'] });
    client.send({ cmd: 'pingreq' });
    const got: string[] = [];
    while (got.at(-1) !== 'pingresp') got.push((await client.next())?.cmd ?? 'end');
    expect(got.filter((each) => each === 'puback')).toHaveLength(2);
    expect(got.filter((each) => each === 'publish')).toHaveLength(2);
    expect(got).toContain('unsuback');
  });

  test('at QoS 1, a packet id is a new message once it was acknowledged, with DUP too', async () => {
    await start();
    const watcher = await server.client();
    await watcher.subscribe('t', 0);
    const client = await server.client();
    for (const dup of [false, true]) {
      client.publish('t', `dup ${dup}`, { qos: 1, messageId: 5, dup });
      expect(await client.expect('puback')).toMatchObject({ messageId: 5 });
      expect(textOf(await watcher.expect('publish'))).toBe(`dup ${dup}`);
    }
  });

  test('at QoS 2, a packet id is a new message once PUBREC refused it', async () => {
    await start();
    const watcher = await server.client();
    await watcher.subscribe('t', 0);
    const client = await server.client();
    const asText = { properties: { payloadFormatIndicator: true } };
    client.publish('t', Buffer.from([0xff]), { qos: 2, messageId: 5, ...asText });
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 5, reasonCode: 0x99 });
    client.publish('t', 'good', { qos: 2, messageId: 5, ...asText });
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 5, reasonCode: 0 });
    expect(textOf(await watcher.expect('publish'))).toBe('good');
  });

  test('at QoS 2, both steps go on although the message has expired meanwhile', async () => {
    await start();
    const client = await server.client();
    const expiring = { properties: { messageExpiryInterval: 1 } };
    client.publish('t', 'x', { qos: 2, messageId: 5, ...expiring });
    await client.expect('pubrec');
    server.clock.advance(5000);
    client.send({ cmd: 'pubrel', messageId: 5 });
    expect(await client.expect('pubcomp')).toMatchObject({ messageId: 5, reasonCode: 0 });
  });
});

describe('deliveries', () => {
  test('at QoS 2: PUBLISH, PUBREC, PUBREL, PUBCOMP, all with the same id', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('t', 2);
    const publisher = await server.client();
    publisher.publish('t', 'x', { qos: 2, messageId: 77 });
    const { messageId, dup } = await client.expect('publish');
    expect(dup).toBe(false);
    client.send({ cmd: 'pubrec', messageId });
    expect(await client.expect('pubrel')).toMatchObject({ messageId });
    client.send({ cmd: 'pubcomp', messageId });
    await client.quiet();
  });

  test('at QoS 2, one that was sent is sent again although it has expired meanwhile', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 2);
    const publisher = await server.client();
    const expiring = { properties: { messageExpiryInterval: 1 } };
    publisher.publish('t', 'x', { qos: 2, messageId: 1, ...expiring });
    await publisher.expect('pubrec');
    const { messageId } = await client.expect('publish');
    await leave(client);
    server.clock.advance(50_000);
    const again = await server.client(KEPT);
    expect(await again.expect('publish')).toMatchObject({ messageId, dup: true });
  });

  test('one that was answered with an error is not sent again', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 2);
    const publisher = await server.client();
    for (const qos of [1, 2]) {
      publisher.publish('t', 'x', { qos, messageId: qos });
      await publisher.next();
      const { messageId } = await client.expect('publish');
      client.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId, reasonCode: 0x80 });
    }
    await client.quiet();
    await leave(client);
    await (await server.client(KEPT)).quiet();
  });

  test('the session of an open connection is not ended, however long ago it was to expire', async () => {
    await start();
    const client = await server.client({ ...KEPT, properties: { sessionExpiryInterval: 1 } });
    await client.subscribe('t', 1);
    server.clock.advance(1_000_000);
    server.listener.sweep();
    client.publish('t', 'x');
    expect(textOf(await client.expect('publish'))).toBe('x');
  });
});

describe('SUBSCRIBE and UNSUBSCRIBE', () => {
  test('the same filter again replaces the subscription: one copy, at the new QoS', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('t', 0);
    expect(await client.subscribe('t', 1)).toMatchObject({ granted: [1] });
    const publisher = await server.client();
    publisher.publish('t', 'x', { qos: 2, messageId: 1 });
    expect(await client.expect('publish')).toMatchObject({ qos: 1 });
    await client.quiet();
    expect(server.broker.subscriptionCount).toBe(1);
  });

  test('the same filter again gets retained messages again, and loses none that is waiting', async () => {
    await start();
    const client = await server.client({ properties: { receiveMaximum: 1 } });
    const publisher = await server.client();
    publisher.publish('t', 'retained', { retain: true });
    await publisher.quiet();
    await client.subscribe('t', 1);
    expect(textOf(await client.expect('publish'))).toBe('retained');
    for (const messageId of [1, 2, 3])
      publisher.publish('t', `${messageId}`, { qos: 1, messageId });
    const first = await client.expect('publish');
    await client.subscribe('t', 1);
    const got: string[] = [textOf(first)];
    let { messageId } = first;
    while (got.length < 4) {
      if (messageId !== undefined) client.send({ cmd: 'puback', messageId });
      const next = await client.expect('publish');
      ({ messageId } = next);
      got.push(textOf(next));
    }
    expect(got.toSorted()).toEqual(['1', '2', '3', 'retained']);
  });

  test.each([4, 5] as const)(
    'UNSUBACK has the id of its UNSUBSCRIBE, for many filters one, and if there was none, in MQTT %i',
    async (version) => {
      await start();
      const client = await server.client({}, version);
      await client.subscribe('b', 0);
      const unsubscriptions = ['a', 'b', 'B'];
      client.send({ cmd: 'unsubscribe', messageId: 321, unsubscriptions });
      const granted = version === 5 ? { granted: [0x11, 0, 0x11] } : {};
      expect(await client.expect('unsuback')).toMatchObject({ messageId: 321, ...granted });
      await client.quiet();
    },
  );

  test('a filter that is not UTF-8 ends the connection, in UNSUBSCRIBE too', async () => {
    await start();
    for (const [header, options] of [
      [0x82, [0]],
      [0xa2, []],
    ] as const) {
      const client = await server.client();
      client.sendBytes(...packet(header, u16(1), properties(), field(surrogate), options));
      expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x81 }]);
    }
  });

  test('what was sent before UNSUBSCRIBE is completed after it, on the next connection too', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 2);
    const publisher = await server.client();
    publisher.publish('t', 'x', { qos: 2, messageId: 1 });
    await publisher.expect('pubrec');
    const { messageId } = await client.expect('publish');
    client.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['t'] });
    await client.expect('unsuback');
    await leave(client);
    const again = await server.client(KEPT);
    expect(await again.expect('publish')).toMatchObject({ messageId, dup: true });
    again.send({ cmd: 'pubrec', messageId });
    expect(await again.expect('pubrel')).toMatchObject({ messageId });
  });
});

describe('the end', () => {
  test.each([4, 5] as const)('PINGREQ is answered, in MQTT %i', async (version) => {
    await start();
    const client = await server.client({}, version);
    client.send({ cmd: 'pingreq' });
    await client.expect('pingresp');
  });

  test('after DISCONNECT of the server nothing follows but the end', async () => {
    await start();
    const client = await server.client({ clientId: 'a' });
    await client.subscribe('t', 0);
    const publisher = await server.client();
    await server.client({ clientId: 'a' });
    for (let at = 0; at < 10; at++) publisher.publish('t', 'x');
    await publisher.quiet();
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
  });
});
