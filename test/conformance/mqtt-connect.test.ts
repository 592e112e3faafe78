/**
 * Statements of MQTT about CONNECT and CONNACK that no other test holds, one test each, with its
 * number in 5.0 and in 3.1.1; docs/conformance/mqtt.md names them all.
 */

import { afterEach, describe, expect, test } from 'vitest';

import { bytes, field, packet, properties, u16 } from '../support/mqtt-bytes.ts';
import { type Fields, MqttServer, type RawClient, textOf, until } from '../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

const KEPT: Fields = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 100 } };
const surrogate = Uint8Array.of(0xed, 0xa0, 0x80);

/** A CONNECT of 3.1.1 or 5.0 with these flags and what follows the client id. */
function connectBytes(version: 4 | 5, flags: number, ...rest: (Uint8Array | number[])[]): Buffer {
  const props = version === 5 ? [properties()] : [];
  return packet(0x10, field('MQTT'), version, flags, u16(0), ...props, field('c'), ...rest);
}

describe('CONNECT', () => {
  test.each([
    ['a will that is flagged and not there', 0x06, []],
    ['a will without its payload', 0x06, [field('w')]],
    ['a will that is there and not flagged', 0x02, [field('w'), field('x')]],
    ['a will topic that is not UTF-8', 0x06, [field(surrogate), field('x')]],
    ['a password that is flagged and not there', 0xc2, [field('u')]],
    ['a password that is there and not flagged', 0x82, [field('u'), field('p')]],
    ['a user name that is not UTF-8', 0x82, [field(surrogate)]],
  ])('%s: closed, without a CONNACK in 3.1.1', async (_, flags, rest) => {
    await start();
    const old = await server.open(4);
    old.sendBytes(...connectBytes(4, flags, ...rest));
    expect(await old.ended()).toEqual([]);
    const client = await server.open(5);
    const will = (flags & 4) !== 0 && rest.length > 0 ? [properties(), ...rest] : rest;
    client.sendBytes(...connectBytes(5, flags, ...will));
    expect(await client.ended()).toMatchObject([{ cmd: 'connack', reasonCode: 0x81 }]);
    expect(server.listener.sessions.count).toBe(0);
  });

  test.each([
    [4, 3, { returnCode: 1 }],
    [5, 6, { reasonCode: 0x84 }],
  ] as const)(
    'of a version that is not spoken is refused, and closed: MQTT %i, level %i',
    async (version, level, code) => {
      await start();
      const client = await server.open(version);
      const props = version === 5 ? [properties()] : [];
      const connect = packet(0x10, field('MQTT'), level, 2, u16(0), ...props, field('c'));
      client.sendBytes(...connect);
      expect(await client.ended()).toMatchObject([{ cmd: 'connack', ...code }]);
    },
  );

  test.each(['a', '0123456789abcdefghijABC', 'klmnopqrstuvwxyzDEFGHIJ', 'KLMNOPQRSTUVWXYZ'])(
    'the client id %s is taken, as each of 1 to 23 letters and digits',
    async (clientId) => {
      await start({ maxClientIdLength: 23 });
      for (const version of [4, 5] as const) {
        const client = await server.client({ clientId }, version);
        expect(client.connack?.['reasonCode'] ?? client.connack?.['returnCode']).toBe(0);
      }
    },
  );

  test('with a session to go on with, where there is none, makes one', async () => {
    await start();
    const client = await server.client(KEPT);
    expect(client.connack).toMatchObject({ reasonCode: 0, sessionPresent: false });
    await client.subscribe('t', 1);
    client.destroy();
    await until(() => server.queues.sessions.left.length === 1);
    const again = await server.client(KEPT);
    expect(again.connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
    const anew = await server.client({ ...KEPT, clean: true });
    expect(anew.connack).toMatchObject({ reasonCode: 0, sessionPresent: false });
  });

  test.each([4, 5] as const)(
    'of a client id that is connected closes the older connection, in MQTT %i',
    async (version) => {
      await start();
      const older = await server.client({ clientId: 'a' }, version);
      await server.client({ clientId: 'a' }, version);
      const told = version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x8e }] : [];
      expect(await older.ended()).toMatchObject(told);
    },
  );

  test.each([4, 5] as const)(
    'that is refused is closed, and nothing behind it is processed, in MQTT %i',
    async (version) => {
      await start({ maxClientIdLength: 23 });
      const watcher = await server.client();
      await watcher.subscribe('#', 0);
      const client = await server.open(version);
      const props = version === 5 ? [properties()] : [];
      const long = field('x'.repeat(24));
      const connect = packet(0x10, field('MQTT'), version, 2, u16(0), ...props, long);
      const publish = packet(0x30, field('t'), ...props, [0x61]);
      client.sendBytes(...bytes(connect, publish, packet(0xc0)));
      const refused = version === 5 ? { reasonCode: 0x85 } : { returnCode: 2 };
      const rest = await client.ended();
      expect(rest).toMatchObject([{ cmd: 'connack', sessionPresent: false, ...refused }]);
      await watcher.quiet();
      expect(server.listener.sessions.count).toBe(1);
    },
  );

  test('with a method of authentication that is not there is refused: 0x8C, and closed', async () => {
    await start();
    const client = await server.open();
    const properties = { authenticationMethod: 'NONE', authenticationData: Buffer.from('x') };
    expect(await client.connect({ properties })).toMatchObject({ reasonCode: 0x8c });
    expect(await client.ended()).toEqual([]);
  });
});

describe('CONNACK', () => {
  test.each([4, 5] as const)(
    'comes before any other packet, and once, whatever was sent behind CONNECT, in MQTT %i',
    async (version) => {
      await start();
      const before = await server.client(KEPT);
      await before.subscribe('t', 1);
      before.destroy();
      await until(() => server.queues.sessions.left.length === 1);
      const publisher = await server.client();
      publisher.publish('t', 'waits', { qos: 1, messageId: 1 });
      await publisher.expect('puback');
      const client = await server.open(version);
      client.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: version,
        clientId: 'a',
        clean: false,
        keepalive: 0,
      });
      client.publish('other', 'x', { qos: 1, messageId: 7 });
      client.send({ cmd: 'pingreq' });
      const commands: string[] = [];
      for (let at = 0; at < 4; at++) commands.push((await client.next())?.cmd ?? 'the end');
      expect(commands[0]).toBe('connack');
      expect(commands.slice(1).toSorted()).toEqual(['pingresp', 'puback', 'publish']);
      await client.quiet();
    },
  );

  test('where QoS 1 and 2 are not taken, they may be subscribed with all the same', async () => {
    await start({ maxQos: 0 });
    const client = await server.client();
    expect(client.connack?.['properties']).toMatchObject({ maximumQoS: 0 });
    const subscriptions = [0, 1, 2].map((qos) => ({ topic: `t${qos}`, qos }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    expect(await client.expect('suback')).toMatchObject({ granted: [0, 1, 2] });
  });

  test('says no topic alias, and none is used, to a client that takes none', async () => {
    await start({ topicAliasMaximum: 10 });
    const client = await server.client();
    await client.subscribe('t', 0);
    for (let at = 0; at < 3; at++) client.publish('t', `${at}`);
    for (let at = 0; at < 3; at++) {
      const delivery = await client.expect('publish');
      expect(delivery['topic']).toBe('t');
      expect(delivery['properties'] ?? {}).not.toHaveProperty('topicAlias');
    }
  });
});

describe('wills', () => {
  const dying = (retain: boolean): Fields => ({
    clientId: 'dying',
    will: {
      topic: 'w',
      payload: Buffer.from('will'),
      qos: 1,
      retain,
      properties: { userProperties: { z: ['1', '2'], a: '3' } },
    },
  });

  async function die(client: RawClient): Promise<void> {
    const { connectionCount } = server.listener;
    client.destroy();
    await until(() => server.listener.connectionCount < connectionCount);
  }

  test.each([false, true])('with RETAIN %s is retained just so', async (retain) => {
    await start();
    await die(await server.client(dying(retain)));
    const later = await server.client();
    await later.subscribe('w', 1);
    if (retain) expect(await later.expect('publish')).toMatchObject({ retain: true });
    await later.quiet();
  });

  test('is published once: the next connection without a will publishes none', async () => {
    await start();
    const watcher = await server.client();
    await watcher.subscribe('w', 0);
    await die(await server.client(dying(false)));
    expect(textOf(await watcher.expect('publish'))).toBe('will');
    await die(await server.client({ clientId: 'dying' }));
    await watcher.quiet();
  });

  test('has its user properties in their order', async () => {
    await start();
    const watcher = await server.client();
    await watcher.subscribe('w', 0);
    await die(await server.client(dying(false)));
    const { properties: told } = await watcher.expect('publish');
    const pairs = (told as { userProperties: Record<string, unknown> }).userProperties;
    expect(Object.entries(pairs)).toEqual([
      ['z', ['1', '2']],
      ['a', '3'],
    ]);
  });
});
