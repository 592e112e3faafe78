/** What a connection does with the session that it claims, whatever the store says to it. */

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

const KEPT: Fields = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 600 } };

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<void> {
  server = await new MqttServer(...parts).start();
}

/** The store answers nothing until it is opened. */
function gate(): () => void {
  let open = (): void => {};
  server.queues.sessions.gate = new Promise((resolve) => {
    open = resolve;
  });
  return () => open();
}

async function publish(...texts: string[]): Promise<void> {
  const publisher = await server.client();
  for (const text of texts) {
    publisher.publish('t', text, { qos: 2, messageId: 1 });
    await publisher.expect('pubrec');
    publisher.send({ cmd: 'pubrel', messageId: 1 });
    await publisher.expect('pubcomp');
  }
}

async function lost(client: RawClient): Promise<void> {
  const { left } = server.queues.sessions;
  const before = left.length;
  client.destroy();
  await until(() => left.length === before + 1);
}

describe('CONNACK', () => {
  test('comes behind the claim, and what was sent behind CONNECT is done behind it', async () => {
    await start();
    const open = gate();
    const watcher = await server.open();
    const client = await server.open();
    client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, keepalive: 0, ...KEPT });
    client.send({ cmd: 'pingreq' });
    await until(() => server.queues.sessions.claims.length === 1);
    expect(client.buffered).toBe(0);
    open();
    await client.expect('connack');
    await client.expect('pingresp');
    watcher.destroy();
  });

  test.each([
    ['unavailable', 0x88, 3],
    ['too-many-sessions', 0x97, 3],
    ['invalid', 0x85, 2],
    ['other-user', 0x87, 5],
    ['stale-owner', 0x88, 3],
  ] as const)('says that the claim is refused: %s', async (refusal, reasonCode, returnCode) => {
    await start();
    server.queues.sessions.refusal = refusal;
    const client = await server.open();
    expect(await client.connect(KEPT)).toMatchObject({ reasonCode, sessionPresent: false });
    expect(await client.ended()).toEqual([]);
    const old = await server.open(4);
    expect(await old.connect({ clientId: 'a', clean: false })).toMatchObject({ returnCode });
    expect(server.listener.sessions.count).toBe(0);
  });

  test('is not waited for longer than for CONNECT, and the session is given back', async () => {
    await start();
    const open = gate();
    const client = await server.open();
    client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, keepalive: 0, ...KEPT });
    await until(() => server.queues.sessions.claims.length === 1);
    server.clock.advance(60_000);
    server.listener.sweep();
    expect(await client.ended()).toEqual([]);
    open();
    await until(() => server.queues.sessions.left.length === 1);
    expect(server.listener.sessions.count).toBe(0);
  });

  test('of several with one client id at once: the last is answered, the others are closed', async () => {
    await start();
    const open = gate();
    const clients: RawClient[] = [];
    for (let at = 0; at < 4; at++) {
      const client = await server.open();
      client.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 5,
        keepalive: 0,
        ...KEPT,
      });
      clients.push(client);
      // Each has been read before the next one.
      const probe = await server.client();
      await probe.quiet();
      probe.destroy();
    }
    open();
    const last = clients.pop();
    await last?.expect('connack');
    for (const client of clients) expect(await client.ended()).toEqual([]);
    await last?.quiet();
    expect(server.listener.sessions.connected).toBe(1);
  });
});

describe('SUBACK and UNSUBACK', () => {
  test('come behind the change, and nothing behind their packet is done before', async () => {
    await start();
    const client = await server.client(KEPT);
    const open = gate();
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 1 }] });
    client.send({ cmd: 'pingreq' });
    await until(() => server.queues.sessions.changes.length === 1);
    expect(client.buffered).toBe(0);
    open();
    await client.expect('suback');
    await client.expect('pingresp');
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['t'] });
    await client.expect('unsuback');
    expect(server.queues.sessions.subscriptions('a')).toEqual([]);
  });

  test('too many for one session: each is refused, and none is in force', async () => {
    await start();
    const client = await server.client(KEPT);
    server.queues.sessions.refusal = 'too-many-subscriptions';
    const subscriptions = [
      { topic: 't', qos: 1 },
      { topic: 'u', qos: 0 },
    ];
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    expect(await client.expect('suback')).toMatchObject({ granted: [0x97, 0x97] });
    server.queues.sessions.refusal = undefined;
    expect(server.broker.subscriptionCount).toBe(0);
    await client.quiet();
  });

  test('whether the log has it is not known: the connection ends', async () => {
    await start();
    const client = await server.client(KEPT);
    server.queues.sessions.refusal = 'unavailable';
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 1 }] });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x83 }]);
  });
});

describe('another owner', () => {
  test('on another node: the client is told 0x8E, and the session is not left', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 1);
    server.queues.sessions.takeOver('a');
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
    expect(server.queues.sessions.left).toEqual([]);
    expect(server.listener.sessions.count).toBe(0);
    expect(server.broker.subscriptionCount).toBe(0);
  });

  test('found out by a SUBSCRIBE that comes late: the same', async () => {
    await start();
    const client = await server.client(KEPT);
    server.queues.sessions.refusal = 'stale-owner';
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 1 }] });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
    server.queues.sessions.refusal = undefined;
  });

  test('an operator ends it: 0x98', async () => {
    await start();
    const client = await server.client(KEPT);
    server.queues.sessions.end('a');
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x98 }]);
  });
});

describe('deliveries of the queue of a session', () => {
  test('have odd packet ids by their offsets; what comes otherwise has even ones', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 2);
    await client.subscribe('$queue/orders', 1);
    await publish('0', '1', '2');
    const ids = [];
    for (let at = 0; at < 3; at++) ids.push((await client.expect('publish'))['messageId']);
    expect(ids).toEqual([1, 3, 5]);
    const publisher = await server.client();
    publisher.publish('$queue/orders', 'x', { qos: 1, messageId: 1 });
    expect(Number((await client.expect('publish'))['messageId']) % 2).toBe(0);
  });

  test('by filters that overlap: once, at the highest QoS, with all identifiers', async () => {
    await start();
    const client = await server.client(KEPT);
    for (const [at, topic] of ['t', '#', '+'].entries()) {
      const properties = { subscriptionIdentifier: at + 1 };
      await client.subscribe(topic, at === 0 ? 2 : 1, { properties });
    }
    await publish('x');
    const packet = await client.expect('publish');
    expect(packet).toMatchObject({ qos: 2 });
    const { subscriptionIdentifier } = Object(packet['properties']);
    expect([...subscriptionIdentifier].sort((a, b) => a - b)).toEqual([1, 2, 3]);
    await client.quiet();
  });

  test('no-local: what it publishes itself is settled and not sent', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 1, {}, { nl: true });
    client.publish('t', 'own', { qos: 1, messageId: 1 });
    await client.expect('puback');
    await publish('of another');
    expect(textOf(await client.expect('publish'))).toBe('of another');
    expect(server.queues.settlements).toMatchObject([{ queue: '$session/a', offset: 0 }]);
  });

  test('a subscription at QoS 0 is live: nothing of it is kept', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 0);
    await publish('x');
    expect(await client.expect('publish')).toMatchObject({ qos: 0 });
    await lost(client);
    await publish('y');
    const again = await server.client(KEPT);
    expect(again.connack).toMatchObject({ sessionPresent: true });
    await publish('z');
    expect(textOf(await again.expect('publish'))).toBe('z');
  });

  test('PUBREC is in the log before PUBREL, and PUBCOMP before more is sent', async () => {
    await start();
    const client = await server.client({
      ...KEPT,
      properties: { sessionExpiryInterval: 600, receiveMaximum: 1 },
    });
    await client.subscribe('t', 2);
    await publish('1', '2');
    const { messageId } = await client.expect('publish');
    let open = gate();
    client.send({ cmd: 'pubrec', messageId });
    await client.quiet();
    open();
    await client.expect('pubrel');
    expect(server.queues.sessions.halved).toEqual([0]);
    open = gate();
    client.send({ cmd: 'pubcomp', messageId });
    await client.quiet();
    open();
    expect(textOf(await client.expect('publish'))).toBe('2');
    expect(server.queues.sessions.finished).toEqual([0]);
  });

  test('a message whose packet id is taken by a half waits for its end', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 2);
    // The next offset that has the id of the half.
    server.queues.sessions.half('a', 32_768);
    await lost(client);
    const again = await server.client(KEPT);
    expect(await again.expect('pubrel')).toMatchObject({ messageId: 1 });
    await publish('0', '1');
    expect(await again.expect('publish')).toMatchObject({ messageId: 3 });
    await again.quiet();
    again.send({ cmd: 'pubcomp', messageId: 1 });
    expect(await again.expect('publish')).toMatchObject({
      messageId: 1,
      payload: Buffer.from('0'),
    });
  });
});

describe('subscriptions that are restored', () => {
  test('to queues with group and by hand, to shares, to topics with all options', async () => {
    await start();
    const client = await server.client(KEPT);
    const userProperties = { 'consumer-group': 'g', ack: 'manual' };
    await client.subscribe('$queue/orders', 1, { properties: { userProperties } });
    await client.subscribe('$share/s/u', 1);
    await client.subscribe('t', 1, { properties: { subscriptionIdentifier: 7 } }, { rap: true });
    await lost(client);
    const again = await server.client(KEPT);
    await until(() => server.queues.requests.length === 2);
    expect(server.queues.requests[1]).toMatchObject({ group: 'g', manual: true });
    const publisher = await server.client();
    publisher.publish('t', 'x', { qos: 1, messageId: 1, retain: true });
    const packet = await again.expect('publish');
    expect(packet).toMatchObject({ retain: true });
    expect(packet['properties']).toMatchObject({ subscriptionIdentifier: 7 });
    publisher.publish('u', 'y', { qos: 1, messageId: 2 });
    expect(await again.expect('publish')).toMatchObject({ topic: 'u' });
  });
});

describe('a subscription to a share', () => {
  test('of ordinary topics, at QoS 1 and 2, is told to all nodes', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('$share/s/a', 1);
    await client.subscribe('$share/s/b', 2);
    for (const other of ['$share/s/$SYS/#', '$share/s/$queue/orders', 'a']) {
      await client.subscribe(other, 1);
    }
    await client.subscribe('$share/s/c', 0);
    const routed = server.queues.sessions.subscriptions('a').filter(({ isRouted }) => isRouted);
    expect(routed.map(({ filter }) => filter)).toEqual(['$share/s/a', '$share/s/b']);
    expect(server.broker.queue('$session/a')?.topics).toEqual(['$share/s/a', '$share/s/b', 'a']);
    await lost(client);
    expect(server.broker.queue('$session/a')?.topics.at(-1)).toBe('$share/asleep');
  });

  test('that an earlier version stored is told so before CONNACK', async () => {
    await start();
    const { sessions } = server.queues;
    const limits = { maxMessages: 10, maxBytes: 0, overflow: 'drop-head' } as const;
    const life = { cleanStart: false, expirySeconds: 600, limits, will: undefined };
    const { handle } = await sessions.claim({ clientId: 'a', user: undefined, ...life });
    const plain = { noLocal: false, retainAsPublished: true, identifier: 7, wish: '' };
    const old = ['$share/s/a', 't'].map((filter) => ({
      filter,
      qos: 1 as const,
      ...plain,
      retainHandling: 0 as const,
    }));
    await sessions.change(handle, { subscribe: old, unsubscribe: [] });
    await sessions.leave(handle, { expirySeconds: 600, isInPeace: true });
    const client = await server.client(KEPT);
    expect(client.connack).toMatchObject({ sessionPresent: true });
    const [share, topic] = old;
    expect(sessions.subscriptions('a')).toEqual([{ ...share, isRouted: true }, topic]);
    const { length } = sessions.changes;
    await lost(client);
    await server.client(KEPT);
    expect(sessions.changes).toHaveLength(length);
  });
});
