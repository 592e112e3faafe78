/**
 * What one address and one client may have, and that each limit is counted by its name when it is
 * met: docs/limits.md names these tests.
 */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { MqttLimit } from '../../../src/protocol/mqtt/limits.ts';
import type { DoorCounters } from '../../../src/protocol/transport.ts';
import { MqttServer, type RawClient, until } from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

/** From another address of loopback. */
async function from(address: string, port = server.port): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: address });
  await once(socket, 'connect');
  return server.adopt(socket);
}

async function isIn(client: RawClient): Promise<void> {
  expect(await client.connect({ clientId: '' })).toMatchObject({ reasonCode: 0 });
}

const limited = (name: MqttLimit): number => server.listener.counters.limited[name];
const door = (name: keyof DoorCounters): number | undefined =>
  server.listener.doors[0]?.counters[name];

describe('one address', () => {
  test('has so many connections; others are let in, and it is when one of its own is gone', async () => {
    await start({ perNetwork: { maxConnections: 2 } });
    const own = [await from('127.0.0.2'), await from('127.0.0.2')];
    for (const client of own) await isIn(client);
    expect(await (await from('127.0.0.2')).ended()).toEqual([]);
    expect(door('aboveNetwork')).toBe(1);
    await isIn(await from('127.0.0.3'));
    for (const client of own) await client.quiet();
    own[0]?.destroy();
    await until(() => server.listener.connectionCount === 2);
    await isIn(await from('127.0.0.2'));
  });

  test('has so many open handshakes: silence keeps nobody else out', async () => {
    await start({ maxArriving: 4, perNetwork: { maxArriving: 3, maxConnections: 4 } });
    const silent: RawClient[] = [];
    for (let count = 0; count < 3; count++) silent.push(await from('127.0.0.2'));
    // Who is refused takes no place among the connections.
    for (let nth = 1; nth <= 2; nth++) {
      expect(await (await from('127.0.0.2')).ended()).toEqual([]);
      expect(door('aboveNetworkArriving')).toBe(nth);
    }
    await isIn(await from('127.0.0.3'));
    await isIn(await from('127.0.0.3'));
    // Who has said who he is has a place among the connections, and none among the handshakes.
    for (const client of silent) await isIn(client);
    await isIn(await from('127.0.0.2'));
    expect(server.listener.doors[0]?.arriving).toBe(0);
  });

  test('has them on each listener, before a byte of TLS or HTTP is read', async () => {
    await start({ webSocket: {}, perNetwork: { maxArriving: 2 } });
    const web = server.portOf('ws');
    const sockets: Socket[] = [];
    for (let count = 0; count < 2; count++) sockets.push((await from('127.0.0.2', web)).socket);
    await until(() => server.listener.doors[1]?.arriving === 2);
    const third = await from('127.0.0.2', web);
    third.socket.write('GET /other HTTP/1.1\r\n\r\n');
    expect(await third.ended()).toEqual([]);
    const { counters } = server.listener.doors[1] ?? {};
    expect(counters).toMatchObject({ aboveNetworkArriving: 1, upgradeRefused: 0 });
    await isIn(await from('127.0.0.2'));
  });

  test('opens so many at once, and then so many a second', async () => {
    await start({ perNetwork: { rate: { perSecond: 2, burst: 3 } } });
    for (let count = 0; count < 3; count++) (await from('127.0.0.2')).destroy();
    await until(() => door('accepted') === 3 && server.listener.connectionCount === 0);
    expect(await (await from('127.0.0.2')).ended()).toEqual([]);
    expect(door('aboveRate')).toBe(1);
    await isIn(await from('127.0.0.3'));
    server.clock.advance(499);
    expect(await (await from('127.0.0.2')).ended()).toEqual([]);
    server.clock.advance(1);
    await isIn(await from('127.0.0.2'));
    expect(await (await from('127.0.0.2')).ended()).toEqual([]);
    expect(server.log.filter(({ level }) => level === 'warn').length).toBe(1);
  });

  test('has all that it wants where there is no bound', async () => {
    await start();
    for (let count = 0; count < 50; count++) await isIn(await from('127.0.0.2'));
  });
});

describe('S1: what strangers sent', () => {
  test('is bounded all together; who sends more is cut, and those who are in notice nothing', async () => {
    await start({ maxHandshakeBytes: 1024 * 1024 });
    const inside = await server.client();
    const half = Buffer.alloc(60_000, 0x20);
    // CONNECT with 65,000 bytes to come.
    half.set([0x10, 0xe8, 0xfb, 0x03, 0x00, 0x04, ...Buffer.from('MQTT'), 5, 2, 0, 0, 0]);
    const strangers: RawClient[] = [];
    for (let count = 0; count < 17; count++) {
      const stranger = await server.open();
      stranger.socket.write(half);
      strangers.push(stranger);
    }
    await until(() => limited('handshake-bytes') === 0 && server.listener.connectionCount === 18);
    const last = await server.open();
    last.socket.write(half);
    expect(await last.ended()).toEqual([]);
    expect(limited('handshake-bytes')).toBe(1);
    await inside.quiet();
    await isIn(await server.open());
    // Their bytes are given back with their places.
    for (const stranger of strangers) stranger.destroy();
    await until(() => server.listener.connectionCount === 2);
    const next = await server.open();
    next.socket.write(half);
    await isIn(await server.open());
    expect(limited('handshake-bytes')).toBe(1);
  });
});

describe('a limit that is met is counted', () => {
  test.each([
    ['a packet above the maximum', 'packet-size', [0x30, 0xff, 0xff, 0xff, 0x7f], 0x95],
    ['a topic alias above the maximum', 'topic-alias', 'alias', 0x94],
  ] as const)('%s', async (_, name, what, reasonCode) => {
    await start({ topicAliasMaximum: 1 });
    const client = await server.client();
    if (what === 'alias') client.publish('t', 'x', { properties: { topicAlias: 2 } });
    else client.sendBytes(...what);
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode }]);
    expect(limited(name)).toBe(1);
  });

  test('a client id that is too long, one session too many', async () => {
    await start({ maxClientIdLength: 23 });
    const long = await server.open();
    expect(await long.connect({ clientId: 'x'.repeat(24) })).toMatchObject({ reasonCode: 0x85 });
    server.queues.sessions.refusal = 'too-many-sessions';
    const kept = await server.open();
    const fields = { clientId: 'a', properties: { sessionExpiryInterval: 60 } };
    expect(await kept.connect(fields)).toMatchObject({ reasonCode: 0x97 });
    expect([limited('client-id'), limited('sessions')]).toEqual([1, 1]);
  });

  test('S8: a keep-alive that is over', async () => {
    await start();
    const client = await server.client({ keepalive: 10 });
    server.clock.advance(15_001);
    server.listener.sweep();
    expect(await client.ended()).toMatchObject([{ reasonCode: 0x8d }]);
    expect(limited('keep-alive')).toBe(1);
  });

  test('one subscription too many, in each version', async () => {
    await start({ maxSubscriptions: 2 });
    for (const version of [4, 5] as const) {
      const client = await server.client({}, version);
      for (const topic of ['a', 'b']) await client.subscribe(topic, 0);
      const refused = await client.subscribe('c', 0);
      expect(refused).toMatchObject({ granted: [version === 5 ? 0x97 : 0x80] });
      // The same filter again is no other one.
      expect(await client.subscribe('a', 1)).toMatchObject({ granted: [1] });
    }
    expect(limited('subscriptions')).toBe(2);
  });

  test('SUBSCRIBEs that wait for their queues', async () => {
    await start();
    server.queues.attachMode = 'manual';
    const client = await server.client();
    for (let at = 1; at <= 65; at++) {
      const subscriptions = [{ topic: `$queue/orders/${at}`, qos: 1 }];
      client.send({ cmd: 'subscribe', messageId: at, subscriptions });
    }
    expect(await client.expect('suback')).toMatchObject({ messageId: 65, granted: [0x97] });
    expect(limited('pending-subscribes')).toBe(1);
  });

  test('more publishes in flight than the receive maximum', async () => {
    await start({ receiveMaximum: 2 });
    server.queues.mode = 'manual';
    const [told, old] = [await server.client(), await server.client({}, 4)];
    for (const client of [told, old]) {
      for (let at = 1; at <= 3; at++) {
        client.publish('$queue/orders', 'x', { qos: 1, messageId: at });
      }
    }
    expect(await told.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x93 }]);
    await until(() => limited('receive-maximum') === 2);
    // That of 3.1.1 is only not read.
    server.queues.answer(5);
    for (let at = 1; at <= 2; at++) await old.expect('puback');
    await until(() => server.queues.unanswered === 1);
    server.queues.answer(1);
    await old.expect('puback');
  });

  test('deliveries that wait for acknowledgements, and are not lost', async () => {
    await start({ maxInflight: 1 });
    const client = await server.client();
    await client.subscribe('t', 1);
    const publisher = await server.client();
    for (let at = 1; at <= 3; at++) {
      publisher.publish('t', `${at}`, { qos: 1, messageId: at });
      await publisher.expect('puback');
    }
    expect(limited('in-flight')).toBe(2);
    for (let at = 1; at <= 3; at++) {
      const packet = await client.expect('publish');
      expect(String(packet['payload'])).toBe(`${at}`);
      client.send({ cmd: 'puback', messageId: packet['messageId'] });
    }
  });

  test('a client that does not take what it is sent is not read', async () => {
    await start({ maxBufferedBytes: 65_536 });
    const deaf = await server.client();
    await deaf.subscribe('t', 1);
    deaf.socket.pause();
    const publisher = await server.client();
    const payload = Buffer.alloc(60_000);
    const inFlight = 'in-flight';
    // Until the system takes no more for it; its packets are not looked at from then on.
    for (let at = 1; limited('buffered') === 0 && limited(inFlight) === 0; at++) {
      publisher.publish('t', payload, { qos: 1, messageId: at });
      await publisher.expect('puback');
      deaf.send({ cmd: 'pingreq' });
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(limited(inFlight)).toBe(0);
    expect(limited('buffered')).toBe(1);
    deaf.socket.resume();
    while ((await deaf.next())?.cmd !== 'pingresp');
  });

  test('retained messages by count and by bytes', async () => {
    await start({}, { maxRetainedMessages: 1 });
    const client = await server.client();
    const reasons: unknown[] = [];
    for (const topic of ['a', 'b', 'a']) {
      client.publish(topic, 'x', { qos: 1, messageId: 1, retain: true });
      reasons.push((await client.expect('puback'))['reasonCode']);
    }
    expect(reasons).toEqual([0, 0x97, 0]);
    expect(server.broker.counters.retainedFull).toBe(1);
    await server.stop();
    await start({}, { maxRetainedBytes: 10_000 });
    const other = await server.client();
    other.publish('a', Buffer.alloc(10_001), { qos: 1, messageId: 1, retain: true });
    expect(await other.expect('puback')).toMatchObject({ reasonCode: 0x97 });
    expect(server.broker.retainedBytes).toBe(0);
    expect(server.broker.counters.retainedFull).toBe(1);
  });

  test.each([
    ['maxQueuedMessages', 1],
    ['maxQueuedBytes', 60_000],
    ['maxTotalQueuedBytes', 60_000],
  ])('messages that do not fit into a session: %s', async (option, most) => {
    await start({ [option]: most });
    const slow = await server.client({ properties: { receiveMaximum: 1 } });
    await slow.subscribe('t', 1);
    const publisher = await server.client();
    // One is in flight, one waits.
    for (let at = 1; at <= 4; at++) {
      publisher.publish('t', Buffer.alloc(40_000), { qos: 1, messageId: at });
      await publisher.expect('puback');
    }
    expect(server.listener.sessions.totals.dropped).toBe(2);
  });
});

describe('a client that sends too fast', () => {
  /** Payloads of what came to a watcher so far. */
  async function watched(): Promise<{ count: () => number; watcher: RawClient }> {
    const watcher = await server.client();
    await watcher.subscribe('t', 0);
    return { count: () => watcher.buffered, watcher };
  }

  test('slow: is not read until it may send again; nothing is lost, and nobody else waits', async () => {
    await start({ maxMessageRate: 10, rateBurstMs: 500 });
    const { count, watcher } = await watched();
    const fast = await server.client({ keepalive: 10 });
    for (let at = 0; at < 12; at++) fast.publish('t', `${at}`);
    fast.send({ cmd: 'pingreq' });
    await until(() => count() === 5);
    expect(limited('message-rate')).toBe(1);
    // Another client has a rate of its own.
    const other = await server.client();
    other.publish('t', 'other');
    await other.quiet();
    await until(() => count() === 6);
    server.clock.advance(99);
    await other.quiet();
    expect(count()).toBe(6);
    server.clock.advance(201);
    await until(() => count() === 9);
    expect(fast.buffered).toBe(0);
    server.clock.advance(500);
    await until(() => count() === 13);
    await fast.expect('pingresp');
    const texts: string[] = [];
    while (watcher.buffered > 0) texts.push(String((await watcher.next())?.['payload']));
    const own = texts.filter((text) => text !== 'other');
    expect(own).toEqual(Array.from({ length: 12 }, (_, at) => `${at}`));
  });

  test('slow, in bytes: the debt of what came at once is paid off first', async () => {
    await start({ maxByteRate: 10_000, rateBurstMs: 1000 });
    const { count } = await watched();
    const fast = await server.client();
    fast.publish('t', Buffer.alloc(20_000));
    fast.publish('t', 'x');
    // What makes the packet whole may come in several chunks.
    await until(() => limited('byte-rate') > 0);
    server.clock.advance(900);
    await server.client();
    expect(count()).toBeLessThan(2);
    await until(() => {
      server.clock.advance(50);
      return count() === 2;
    });
  });

  test('who is held is not cut for a silence that is ours, and costs nothing when it goes', async () => {
    await start({ maxMessageRate: 1, rateBurstMs: 1000 });
    const fast = await server.client({ keepalive: 10 });
    fast.publish('t', 'x');
    await until(() => limited('message-rate') === 1);
    // In the same turn: the timer that lets it go has not seen the time yet.
    server.clock.advance(16_000);
    server.listener.sweep();
    expect(limited('keep-alive')).toBe(0);
    await fast.quiet();
    fast.publish('t', 'x');
    await until(() => limited('message-rate') === 2);
    fast.destroy();
    await until(() => {
      server.clock.advance(100);
      return server.listener.connectionCount === 0;
    });
  });

  test.each([
    [5, 'message-rate', { maxMessageRate: 3 }],
    [4, 'message-rate', { maxMessageRate: 3 }],
    [5, 'byte-rate', { maxByteRate: 1000 }],
    [4, 'byte-rate', { maxByteRate: 1000 }],
  ] as const)('disconnect, MQTT version %s, %s: 0x96, or closed', async (version, name, rate) => {
    await start({ ...rate, onRate: 'disconnect' });
    const { count } = await watched();
    const fast = await server.client({}, version as 4 | 5);
    for (let at = 0; at < 3; at++) fast.publish('t', Buffer.alloc(name === 'byte-rate' ? 300 : 1));
    await fast.quiet();
    expect(count()).toBe(3);
    expect(limited(name)).toBe(0);
    fast.publish('t', Buffer.alloc(300));
    const last = await fast.ended();
    expect(last).toMatchObject(version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x96 }] : []);
    expect(limited(name)).toBe(1);
    expect(count()).toBe(3);
    // It begins anew when it comes back.
    const again = await server.client({}, version as 4 | 5);
    again.publish('t', 'x');
    await again.quiet();
    await until(() => count() === 4);
  });
});

describe('topics', () => {
  const deep = 'a/b/c/d';
  const long = 'x'.repeat(11);

  test('that are too deep or too long are refused as names, as filters and in wills', async () => {
    await start({}, { maxTopicLevels: 3, maxTopicLength: 10 });
    for (const [topic, name] of [
      [deep, 'topic-levels'],
      [long, 'topic-length'],
    ] as const) {
      const client = await server.client();
      client.publish(topic, 'x', { qos: 1, messageId: 1 });
      expect(await client.expect('puback')).toMatchObject({ reasonCode: 0x90 });
      client.publish(topic, 'x');
      expect(await client.subscribe(topic, 0)).toMatchObject({ granted: [0x8f] });
      expect(await client.subscribe(`$share/s/${topic}`, 0)).toMatchObject({ granted: [0x8f] });
      const willed = await server.open();
      const will = { topic, payload: Buffer.from('x'), qos: 0, retain: false };
      expect(await willed.connect({ will })).toMatchObject({ reasonCode: 0x90 });
      expect(limited(name)).toBe(3);
      const old = await server.client({}, 4);
      expect(await old.subscribe(topic, 0)).toMatchObject({ granted: [0x80] });
      old.publish(topic, 'x', { qos: 1, messageId: 1 });
      expect(await old.ended()).toEqual([]);
    }
    expect(server.broker.counters).toMatchObject({ topicTooDeep: 3, topicTooLong: 3 });
    const client = await server.client();
    await client.subscribe('a/b/c', 0);
    await client.subscribe('x'.repeat(10), 0);
    client.publish('x'.repeat(10), 'x');
    await client.expect('publish');
    expect(server.broker.subscriptionCount).toBe(2);
  });
});
