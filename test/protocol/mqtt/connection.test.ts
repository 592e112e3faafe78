import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';

import { MqttServer, type RawClient, until } from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

describe('CONNECT', () => {
  test('is answered with what is granted, truthfully', async () => {
    await start({ maxQos: 1, retainAvailable: false, receiveMaximum: 7, topicAliasMaximum: 3 });
    const client = await server.client({
      clientId: 'me',
      properties: { sessionExpiryInterval: 60 },
    });
    expect(client.connack).toMatchObject({ reasonCode: 0, sessionPresent: false });
    expect(client.connack?.['properties']).toMatchObject({
      maximumQoS: 1,
      retainAvailable: false,
      receiveMaximum: 7,
      topicAliasMaximum: 3,
      maximumPacketSize: 2_097_152,
    });
    expect(client.connack?.['properties']).not.toHaveProperty('sessionExpiryInterval');
  });

  test('without a client id, a 5.0 client is told the one it got; each gets another', async () => {
    await start();
    const names = [];
    for (let at = 0; at < 2; at++) {
      const { connack } = await server.client();
      const properties = connack?.['properties'] as Record<string, unknown> | undefined;
      names.push(properties?.['assignedClientIdentifier']);
    }
    expect(names[0]).toMatch(/^auto[0-9a-f]{32}$/);
    expect(names[0]).not.toBe(names[1]);
  });

  test('without a client id and with a session to keep, a 3.1.1 client is refused', async () => {
    await start();
    const client = await server.open(4);
    client.sendBytes(0x10, 12, 0, 4, ...Buffer.from('MQTT'), 4, 0, 0, 0, 0, 0);
    expect(await client.expect('connack')).toMatchObject({ returnCode: 2, sessionPresent: false });
    expect(await client.ended()).toEqual([]);
    expect(server.listener.sessions.count).toBe(0);
  });

  test('a session expiry above the maximum is cut, and the client is told', async () => {
    await start({ sessionExpiryMaximumSeconds: 100 });
    const client = await server.client({
      clientId: 'a',
      properties: { sessionExpiryInterval: 0xffffffff },
    });
    expect(client.connack?.['properties']).toMatchObject({ sessionExpiryInterval: 100 });
  });

  test.each([
    ['an unknown version', [0x10, 14, 0, 4, ...Buffer.from('MQTT'), 6, 2, 0, 0, 0, 0, 1, 97], 0x84],
    ['enhanced authentication', undefined, 0x8c],
  ])('%s is refused with its reason', async (_, bytes, reasonCode) => {
    await start();
    const client = await server.open();
    if (bytes !== undefined) client.sendBytes(...bytes);
    else {
      client.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 5,
        clientId: 'a',
        properties: { authenticationMethod: 'SCRAM', authenticationData: Buffer.from('x') },
      });
    }
    expect(await client.expect('connack')).toMatchObject({ reasonCode });
    expect(await client.ended()).toEqual([]);
  });

  test('a client id that is too long is refused', async () => {
    await start({ maxClientIdLength: 23 });
    const client = await server.open();
    expect(await client.connect({ clientId: 'x'.repeat(24) })).toMatchObject({ reasonCode: 0x85 });
  });

  test('a will above the maximum QoS, or with RETAIN where there is none, is refused', async () => {
    await start({ maxQos: 1, retainAvailable: false });
    const will = { topic: 'w', payload: Buffer.from('x'), qos: 2, retain: false };
    const above = await server.open();
    expect(await above.connect({ will })).toMatchObject({ reasonCode: 0x9b });
    const retained = await server.open();
    const connack = await retained.connect({ will: { ...will, qos: 1, retain: true } });
    expect(connack).toMatchObject({ reasonCode: 0x9a });
  });

  test('S12: user name, password and will are in no line of the log', async () => {
    await start();
    const client = await server.client({
      clientId: 'a',
      username: 'the-user',
      password: Buffer.from('the-secret'),
      will: { topic: 'w', payload: Buffer.from('the-will'), qos: 0, retain: false },
    });
    client.publish('a', 'the-payload');
    client.sendBytes(0xf0, 0x00);
    await client.ended();
    await until(() => server.listener.connectionCount === 0);
    const text = JSON.stringify(server.log);
    expect(text).toContain('client connected');
    expect(text).toContain('client disconnected');
    for (const secret of ['the-user', 'the-secret', 'the-will', 'the-payload']) {
      expect(text).not.toContain(secret);
    }
  });

  test('S5, S11: client ids with odd signs are names and nothing else', async () => {
    await start();
    const names = ['#', '+', 'a/b', '../../x', '.*', '__proto__', 'constructor', '$queue/orders'];
    const properties = { sessionExpiryInterval: 60 };
    const clients: RawClient[] = [];
    for (const clientId of names) clients.push(await server.client({ clientId, properties }));
    expect(server.listener.sessions.count).toBe(names.length);
    for (const client of clients) {
      await client.subscribe('t', 0);
      client.publish('own', 'x');
      await client.quiet();
    }
    await server.client({ clientId: '#' });
    expect(await clients[0]?.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
    for (const client of clients.slice(1)) await client.quiet();
  });

  test('S11: user properties named like properties of objects come out as they went in', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('t', 0);
    const userProperties = { __proto: 'x', constructor: 'y', toString: ['1', '2'] };
    client.publish('t', 'x', { properties: { userProperties } });
    const packet = await client.expect('publish');
    expect(packet['properties']).toMatchObject({ userProperties });
    expect(Object.prototype).not.toHaveProperty('y');
  });
});

describe('S2: a packet that must not come', () => {
  test.each([
    ['PUBLISH before CONNECT', [0x30, 3, 0, 1, 97]],
    ['PINGREQ before CONNECT', [0xc0, 0]],
    ['CONNACK before CONNECT', [0x20, 2, 0, 0]],
    ['an HTTP request', [...Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
  ])('%s: closed without a word', async (_, bytes) => {
    await start();
    const client = await server.open();
    client.sendBytes(...bytes);
    expect(await client.ended()).toEqual([]);
  });

  test.each([
    ['a second CONNECT', [0x10, 13, 0, 4, ...Buffer.from('MQTT'), 5, 2, 0, 0, 0, 0, 0], 0x82],
    ['CONNACK', [0x20, 3, 0, 0, 0], 0x82],
    ['SUBACK', [0x90, 4, 0, 1, 0, 0], 0x82],
    ['UNSUBACK', [0xb0, 4, 0, 1, 0, 0], 0x82],
    ['PINGRESP', [0xd0, 0], 0x82],
    ['AUTH without a method', [0xf0, 0], 0x82],
    ['type 0', [0x00, 0], 0x81],
    ['PUBACK of a delivery at QoS 2', 'puback', 0x82],
  ])('%s after CONNECT: DISCONNECT with its reason, and closed', async (_, bytes, reasonCode) => {
    await start();
    const client = await server.client();
    if (typeof bytes === 'string') {
      await client.subscribe('t', 2);
      client.publish('t', 'x', { qos: 2, messageId: 1 });
      const { messageId } = await client.expect('publish');
      await client.expect('pubrec');
      client.send({ cmd: 'puback', messageId });
    } else {
      client.sendBytes(...bytes);
    }
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode }]);
  });

  test('of a 3.1.1 client: closed without a word', async () => {
    await start();
    const client = await server.client({}, 4);
    client.sendBytes(0x20, 2, 0, 0);
    expect(await client.ended()).toEqual([]);
  });
});

describe('S3: lengths that lie', () => {
  test.each([
    ['a remaining length of five bytes', [0x30, 0xff, 0xff, 0xff, 0xff, 0x01], 0x81],
    ['a topic longer than its packet', [0x30, 4, 0, 200, 97, 0], 0x81],
    ['a PUBACK without an id', [0x40, 0], 0x81],
    ['a packet above the maximum', [0x30, 0xff, 0xff, 0xff, 0x7f], 0x95],
  ])(
    '%s: closed with the right code, and nothing after it is read',
    async (_, bytes, reasonCode) => {
      await start();
      const watcher = await server.client();
      await watcher.subscribe('#', 0);
      const client = await server.client();
      client.sendBytes(...bytes, 0x30, 4, 0, 1, 97, 0);
      expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode }]);
      await watcher.quiet();
    },
  );

  test('CONNECT cut at every byte: no answer, no harm, cut at the deadline (P3)', async () => {
    await start({ connectTimeoutMs: 1000 });
    const whole = [0x10, 14, 0, 4, ...Buffer.from('MQTT'), 5, 2, 0, 0, 0, 0, 1, 97];
    const clients = [];
    for (let length = 0; length < whole.length; length++) {
      const client = await server.open();
      client.sendBytes(...whole.slice(0, length));
      clients.push(client);
    }
    await until(() => server.listener.connectionCount === whole.length);
    server.clock.advance(999);
    server.listener.sweep();
    expect(server.listener.connectionCount).toBe(whole.length);
    server.clock.advance(1);
    server.listener.sweep();
    for (const client of clients) expect(await client.ended()).toEqual([]);
    expect((await server.client()).connack).toMatchObject({ reasonCode: 0 });
  });

  test('whose deadline comes in the middle of a sweep is counted as slow too (P3)', async () => {
    await start({ connectTimeoutMs: 1000 });
    const [door] = server.listener.doors;
    const silent = await Promise.all(Array.from({ length: 300 }, () => server.open()));
    await until(() => server.listener.connectionCount === silent.length);
    server.clock.advance(999);
    server.listener.sweep();
    server.clock.advance(1);
    await until(() => server.listener.connectionCount < silent.length);
    server.listener.sweep();
    await until(() => server.listener.connectionCount === 0);
    expect(door?.counters.tooSlow).toBe(silent.length);
    expect(door?.arriving).toBe(0);
  });
});

describe('keep-alive', () => {
  test('S8: a client that is silent for 1.5 keep-alives is told and closed', async () => {
    await start();
    const client = await server.client({ keepalive: 10 });
    server.clock.advance(14_000);
    await client.quiet();
    server.clock.advance(15_000);
    server.listener.sweep();
    await client.quiet();
    server.clock.advance(15_001);
    server.listener.sweep();
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8d }]);
  });

  test('S8: keep-alive 0 is never cut without a maximum, and capped with one, in both versions', async () => {
    await start();
    const free = await server.client();
    server.clock.advance(1e9);
    server.listener.sweep();
    await free.quiet();
    await server.stop();

    await start({ keepAliveMaximumSeconds: 20 });
    const told = await server.client();
    expect(told.connack?.['properties']).toMatchObject({ serverKeepAlive: 20 });
    const longer = await server.client({ keepalive: 21 });
    expect(longer.connack?.['properties']).toMatchObject({ serverKeepAlive: 20 });
    const shorter = await server.client({ keepalive: 19 });
    expect(shorter.connack?.['properties']).not.toHaveProperty('serverKeepAlive');
    const old = await server.client({}, 4);
    server.clock.advance(30_001);
    server.listener.sweep();
    for (const client of [told, longer, shorter]) {
      expect(await client.ended()).toMatchObject([{ reasonCode: 0x8d }]);
    }
    expect(await old.ended()).toEqual([]);
  });
});

describe('ending', () => {
  test('P10: the new connection with a client id closes the old one, never the other way round', async () => {
    await start();
    const properties = { sessionExpiryInterval: 60 };
    let before = await server.client({ clientId: 'a', clean: false, properties });
    await before.subscribe('t', 0);
    for (let round = 0; round < 20; round++) {
      const next = await server.client({ clientId: 'a', clean: false, properties });
      expect(next.connack).toMatchObject({ sessionPresent: true });
      expect(await before.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
      // Whatever the old socket still does, the new one stays and gets its messages.
      before.destroy();
      await until(() => server.listener.connectionCount === 1);
      next.publish('t', `round ${round}`, { qos: 1, messageId: 9 });
      const got = [await next.next(), await next.next()].map((packet) => packet?.cmd);
      expect(got).toContain('puback');
      expect(got).toContain('publish');
      before = next;
    }
    expect(server.listener.sessions.count).toBe(1);
  });

  test('a socket that dies is a disconnect; the log says who ended it and why', async () => {
    await start();
    const client = await server.client({ clientId: 'gone' });
    client.destroy();
    await until(() => server.listener.sessions.count === 0);
    const other = await server.client({ clientId: 'polite' });
    other.send({ cmd: 'disconnect', reasonCode: 0 });
    await until(() => server.listener.sessions.count === 0);
    const lines = server.log.filter(({ message }) => message === 'client disconnected');
    expect(lines.map(({ fields }) => [fields['client_id'], fields['by']])).toEqual([
      ['gone', 'network'],
      ['polite', 'client'],
    ]);
  });

  test('stop tells 5.0 clients, closes all, and refuses new ones', async () => {
    await start();
    const clients = [await server.client(), await server.client({}, 4)];
    const { port } = server;
    await server.listener.stop();
    expect(await clients[0]?.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }]);
    expect(await clients[1]?.ended()).toEqual([]);
    expect(server.listener.doors.map(({ address }) => address)).toEqual([undefined]);
    const socket = connect(port, '127.0.0.1');
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });

  test('connections above the maximum are closed at once; the others stay', async () => {
    await start({ maxConnections: 2 });
    const clients = [await server.client(), await server.client()];
    const third = await server.open();
    expect(await third.ended()).toEqual([]);
    for (const client of clients) await client.quiet();
    clients[0]?.destroy();
    await until(() => server.listener.connectionCount === 1);
    expect((await server.client()).connack).toMatchObject({ reasonCode: 0 });
  });

  test('a DISCONNECT that asks for a session after CONNECT had none is an error', async () => {
    await start();
    const client = await server.client();
    client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 9 } });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });
});
