/** Enhanced authentication (MQTT 5.0 section 4.12) with SCRAM-SHA-256, packet by packet. */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Access } from '../../../src/access/access.ts';
import { withDecoys } from '../../../src/access/users.ts';
import { CONNECT_BYTES_MAX } from '../../../src/protocol/mqtt/decode.ts';
import { REAUTHENTICATION_MS_MAX } from '../../../src/protocol/mqtt/authentication.ts';
import { AccessFiles, reload } from '../../support/access-files.ts';
import { granted, PROTOCOL, publish } from '../../support/access-questions.ts';
import {
  type Fields,
  MqttServer,
  type RawClient,
  type ServerPacket,
} from '../../support/mqtt-server.ts';
import { challengeOf, METHOD, ScramClient } from '../../support/scram-client.ts';

const PASSWORD = 'tea for two';
const DEADLINE_MS = 5000;
const RULES = ['allow user ann publish,subscribe rooms/#', 'allow user bob publish bobs/#'];

let files: AccessFiles;
let server: MqttServer;
let access: Access;

beforeAll(async () => {
  files = await AccessFiles.make();
  await files.user('old', PASSWORD);
  await files.scramUser('ann', PASSWORD, true);
  await files.scramUser('bob', 'b');
  await files.rule(...RULES);
  access = await files.read({ scram: { iterations: 100_000 } });
  server = await new MqttServer({ access, connectTimeoutMs: DEADLINE_MS }).start();
});

afterAll(async () => {
  await server.stop();
  await files.remove();
});

let before: number;
beforeEach(() => {
  before = access.counters.badCredentials;
});

const ANN = { user: 'ann', password: PASSWORD };

function authentication(data: Uint8Array | undefined, method = METHOD): Fields {
  return {
    authenticationMethod: method,
    ...(data !== undefined && { authenticationData: Buffer.from(data) }),
  };
}

function auth(client: RawClient, data: Uint8Array | undefined, reasonCode = 0x18): void {
  client.send({ cmd: 'auth', reasonCode, properties: authentication(data) });
}

function dataOf(packet: ServerPacket): Buffer {
  expect(packet['properties']).toMatchObject({ authenticationMethod: METHOD });
  return (packet['properties'] as { authenticationData: Buffer }).authenticationData;
}

/** As far as the answer to CONNECT, which has the first message. */
async function begun(scram: ScramClient, fields: Fields = {}): Promise<RawClient> {
  const client = await server.open();
  const { properties, ...others } = fields;
  client.send({
    cmd: 'connect',
    ...PROTOCOL,
    clean: true,
    clientId: '',
    properties: { ...authentication(scram.first), ...(properties as Fields | undefined) },
    ...others,
  });
  return client;
}

interface Tried {
  readonly client: RawClient;
  readonly scram: ScramClient;
  readonly connack: ServerPacket;
}

async function tried(
  who: { readonly user: string; readonly password: string; readonly header?: string },
  fields: Fields = {},
): Promise<Tried> {
  const scram = new ScramClient(who);
  const client = await begun(scram, fields);
  const asked = await client.expect('auth');
  expect(asked).toMatchObject({ reasonCode: 0x18 });
  auth(client, scram.final(dataOf(asked)));
  return { client, scram, connack: await client.expect('connack') };
}

/** A new exchange on a connection; gives the answer to the last message. */
async function again(client: RawClient, scram: ScramClient): Promise<ServerPacket | undefined> {
  auth(client, scram.first, 0x19);
  const asked = await client.expect('auth');
  expect(asked).toMatchObject({ reasonCode: 0x18 });
  auth(client, scram.final(dataOf(asked)));
  return client.next();
}

describe('CONNECT with SCRAM-SHA-256', () => {
  test('lets in the user, as a password does, and shows that the server has its keys', async () => {
    const { client, scram, connack } = await tried(ANN, { clientId: 'a' });
    expect(connack).toMatchObject({ reasonCode: 0, sessionPresent: false });
    expect(dataOf(connack).toString()).toBe(scram.serverSignature);
    expect(await publish(client, 'rooms/1')).toBe(0);
    expect(await publish(client, 'bobs/1')).toBe(0x87);
    expect(await granted(client, 'rooms/#')).toBe(1);
    expect(server.log.at(-1)?.fields).toMatchObject({ client_id: 'a', user: 'ann' });
    client.destroy();
  });

  test('asks for the first message where CONNECT has none', async () => {
    const client = await server.open();
    const scram = new ScramClient(ANN);
    const properties = authentication(undefined);
    const connack = client.connect({ properties }).catch((error: Error) => error.message);
    expect(await connack).toContain('"cmd":"auth","retain":false');
    auth(client, scram.first);
    auth(client, scram.final(dataOf(await client.expect('auth'))));
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0 });
    client.destroy();
  });

  test('a session belongs to the user, by whichever way he comes', async () => {
    const kept = { clientId: 'kept', clean: false };
    const properties = { sessionExpiryInterval: 100 };
    const { client } = await tried(ANN, { ...kept, properties });
    client.send({ cmd: 'disconnect' });
    await client.ended();
    const bob = await tried({ user: 'bob', password: 'b' }, { ...kept, properties });
    expect(bob.connack).toMatchObject({ reasonCode: 0x87 });
    const byPassword = await server.client({
      ...kept,
      username: 'ann',
      password: PASSWORD,
      properties,
    });
    expect(byPassword.connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
    byPassword.destroy();
  });

  test.each([
    ['a wrong password', { user: 'ann', password: 'tea for tw0' }],
    ['a user who is not there', { user: 'eve', password: PASSWORD }],
    ['a user without keys of SCRAM', { user: 'old', password: PASSWORD }],
    ['an authorization id of another user', { ...ANN, header: 'n,a=bob,' }],
  ])('%s: the same exchange to its end, and the same answer', async (_, who) => {
    const { client, connack } = await tried(who);
    expect(connack).toMatchObject({
      reasonCode: 0x86,
      properties: { reasonString: 'the user name or the password is wrong' },
    });
    expect(connack['properties']).not.toHaveProperty('authenticationData');
    expect(await client.ended()).toEqual([]);
    expect(access.counters.badCredentials).toBe(before + 1);
  });

  test('a name that is not there has the salt and the iterations of one, each time', async () => {
    const challenges = [];
    for (const user of ['ann', 'eve', 'eve', 'old']) {
      const client = await begun(new ScramClient({ user, password: '' }));
      challenges.push(challengeOf(dataOf(await client.expect('auth'))));
      client.destroy();
    }
    expect(challenges.map(({ iterations }) => iterations)).toEqual([4096, 4096, 4096, 4096]);
    const salts = challenges.map(({ salt }) => salt.toString('hex'));
    expect(salts.map(({ length }) => length)).toEqual([32, 32, 32, 32]);
    expect(salts[1]).toBe(salts[2]);
    expect(new Set(salts).size).toBe(3);
  });

  test('and keeps them over a restart, if the users file has a key of decoys', async () => {
    const users = join(files.folder, 'others');
    const lines = (await readFile(files.users, 'utf8')).replace(/^bob/m, 'carl');
    const saltAfter = async (text: string): Promise<string> => {
      await writeFile(users, text);
      const started = await files.read({
        files: { users, rules: files.rules },
        scram: { iterations: 100_000 },
      });
      const claim = { user: undefined, certificate: undefined, clientId: 'c' };
      const step = started.exchange(METHOD, claim)?.next(Buffer.from('n,,n=eve,r=x'));
      const { salt } = challengeOf(step !== undefined && 'ask' in step ? step.ask : '');
      return salt.toString('hex');
    };
    const keyed = withDecoys(lines, Buffer.alloc(32, 7));
    expect(await saltAfter(keyed)).toBe(await saltAfter(keyed));
    expect(await saltAfter(lines)).not.toBe(await saltAfter(lines));
    const told = files.log.map(({ message }) => message);
    expect(told.filter((message) => message.startsWith('no line %decoys')).length).toBe(3);
  });

  test.each([
    ['channel binding', 'p=tls-unique,,n=ann,r=x', 0x87, 'no channel binding'],
    ['what is no message', 'x', 0x87, 'no message of its method'],
    ['nothing', '', 0x87, 'no message of its method'],
    ['a message of 9,000 bytes', `n,,n=${'x'.repeat(9000)},r=x`, 0x87, 'no message'],
  ])('with %s is refused at once', async (_, data, reasonCode, text) => {
    const client = await server.open();
    const connack = await client.connect({ properties: authentication(Buffer.from(data)) });
    expect(connack).toMatchObject({ reasonCode });
    expect((connack['properties'] as Fields)['reasonString']).toContain(text);
    expect(await client.ended()).toEqual([]);
    expect(access.counters.badCredentials).toBe(before + 1);
  });

  test.each(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1', 'scram-sha-256', ''])(
    'the method %j is refused: 0x8C',
    async (method) => {
      const client = await server.open();
      const properties = authentication(Buffer.from('n,,n=ann,r=x'), method);
      expect(await client.connect({ properties })).toMatchObject({ reasonCode: 0x8c });
      expect(await client.ended()).toEqual([]);
    },
  );

  test('a user name beside it has to be the same; a password is not looked at', async () => {
    const same = await tried(ANN, { username: 'ann', password: 'no' });
    expect(same.connack).toMatchObject({ reasonCode: 0 });
    same.client.destroy();
    const other = await tried(ANN, { username: 'bob', password: 'b' });
    expect(other.connack).toMatchObject({ reasonCode: 0x86 });
  });

  test('a will that no rule allows is refused when it is known whose it is', async () => {
    const will = { topic: 'bobs/1', payload: Buffer.from('x'), qos: 0, retain: false };
    const { connack } = await tried(ANN, { will });
    expect(connack).toMatchObject({ reasonCode: 0x87 });
  });
});

describe('between CONNECT and CONNACK', () => {
  const packets: [string, (client: RawClient) => void][] = [
    ['PUBLISH', (client) => client.publish('rooms/1', 'x')],
    ['PINGREQ', (client) => client.send({ cmd: 'pingreq' })],
    ['AUTH 0x19', (client) => auth(client, Buffer.from('n,,n=ann,r=x'), 0x19)],
    ['AUTH 0x00', (client) => client.sendBytes(0xf0, 0)],
    [
      'AUTH with another method',
      (client) =>
        client.send({ cmd: 'auth', reasonCode: 0x18, properties: authentication(undefined, 'X') }),
    ],
  ];

  test.each(packets)('%s is a protocol error: CONNACK 0x82, and closed', async (_, send) => {
    const client = await begun(new ScramClient(ANN));
    await client.expect('auth');
    send(client);
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0x82 });
    expect(await client.ended()).toEqual([]);
  });

  test('a second CONNECT, and AUTH without a method, are told as what they are', async () => {
    const twice = await begun(new ScramClient(ANN));
    await twice.expect('auth');
    twice.send({ cmd: 'connect', ...PROTOCOL, clientId: 'x' });
    expect(await twice.expect('connack')).toMatchObject({ reasonCode: 0x82 });
    const without = await begun(new ScramClient(ANN));
    await without.expect('auth');
    without.sendBytes(0xf0, 2, 0x18, 0);
    expect(await without.expect('connack')).toMatchObject({ reasonCode: 0x82 });
  });

  test('what breaks the format is told within the maximum packet size of the client', async () => {
    const client = await server.open();
    const properties = { ...authentication(undefined), maximumPacketSize: 30 };
    client.send({ cmd: 'connect', ...PROTOCOL, clientId: '', properties });
    await client.expect('auth');
    client.sendBytes(0xf1, 0);
    const connack = await client.expect('connack');
    expect(connack).toMatchObject({ reasonCode: 0x81 });
    expect(connack['properties']).toBeUndefined();
  });

  test('DISCONNECT ends it without a word', async () => {
    const client = await begun(new ScramClient(ANN));
    await client.expect('auth');
    client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 9 } });
    expect(await client.ended()).toEqual([]);
    expect(server.log.at(-1)?.fields).toMatchObject({ by: 'client', reason: 'DISCONNECT' });
  });

  test('what is behind the last AUTH is processed when CONNACK was sent, and not before', async () => {
    const scram = new ScramClient(ANN);
    const client = await begun(scram);
    const final = scram.final(dataOf(await client.expect('auth')));
    client.socket.cork();
    auth(client, final);
    client.publish('rooms/1', 'x', { qos: 1, messageId: 7 });
    client.socket.uncork();
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0 });
    expect(await client.expect('puback')).toMatchObject({ messageId: 7, reasonCode: 0 });
    client.destroy();
  });

  test('the deadline of CONNECT holds for all of it', async () => {
    const client = await begun(new ScramClient(ANN));
    await client.expect('auth');
    server.clock.advance(DEADLINE_MS - 1);
    server.listener.sweep();
    server.clock.advance(1);
    server.listener.sweep();
    expect(await client.ended()).toEqual([]);
    expect(server.log.at(-1)?.fields['reason']).toBe('CONNECT was not answered in time');
  });

  test('a packet is no larger than a CONNECT may be; behind CONNACK it is', async () => {
    const big = 'x'.repeat(CONNECT_BYTES_MAX);
    const stranger = await begun(new ScramClient(ANN));
    await stranger.expect('auth');
    auth(stranger, Buffer.from(big.slice(10)));
    expect(await stranger.expect('connack')).toMatchObject({ reasonCode: 0x95 });
    const { client } = await tried(ANN);
    expect(await publish(client, 'rooms/1', { payload: big })).toBe(0);
    client.destroy();
  });

  test('AUTH is not sent to a client that takes no packet of its size', async () => {
    const client = await begun(new ScramClient(ANN), { properties: { maximumPacketSize: 60 } });
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0x95 });
    expect(await client.ended()).toEqual([]);
  });

  test('the users file that holds at the last message decides', async () => {
    await files.scramUser('carl', 'one');
    await reload(access);
    const scram = new ScramClient({ user: 'carl', password: 'one' });
    const client = await begun(scram);
    const asked = dataOf(await client.expect('auth'));
    await files.scramUser('carl', 'two');
    await reload(access);
    auth(client, scram.final(asked));
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0x86 });
  });
});

describe('AUTH of a client that is connected', () => {
  test('proves the user again: AUTH 0x00 with the signature of the server', async () => {
    const { client } = await tried(ANN);
    for (let round = 0; round < 3; round++) {
      const scram = new ScramClient(ANN);
      const last = await again(client, scram);
      expect(last).toMatchObject({ cmd: 'auth', reasonCode: 0 });
      expect(dataOf(last as ServerPacket).toString()).toBe(scram.serverSignature);
    }
    expect(await publish(client, 'rooms/1')).toBe(0);
    client.destroy();
  });

  test('all else goes on meanwhile', async () => {
    const { client } = await tried(ANN);
    const scram = new ScramClient(ANN);
    auth(client, scram.first, 0x19);
    const asked = dataOf(await client.expect('auth'));
    expect(await publish(client, 'rooms/1')).toBe(0);
    auth(client, scram.final(asked));
    expect(await client.expect('auth')).toMatchObject({ reasonCode: 0 });
    client.destroy();
  });

  test.each([
    ['a wrong password', { user: 'ann', password: 'no' }],
    ['another user, who has the password', { user: 'bob', password: 'b' }],
    ['a user who is not there', { user: 'eve', password: '' }],
  ])('by %s: DISCONNECT 0x87', async (_, who) => {
    const { client } = await tried(ANN);
    expect(await again(client, new ScramClient(who))).toMatchObject({
      cmd: 'disconnect',
      reasonCode: 0x87,
    });
    expect(await client.ended()).toEqual([]);
    expect(access.counters.badCredentials).toBe(before + 1);
  });

  test.each([
    [
      'another method',
      (client: RawClient) =>
        client.send({ cmd: 'auth', reasonCode: 0x19, properties: authentication(undefined, 'X') }),
    ],
    ['0x18 without an exchange', (client: RawClient) => auth(client, Buffer.from('x'))],
    ['0x00', (client: RawClient) => client.sendBytes(0xf0, 0)],
    [
      '0x19 within an exchange',
      (client: RawClient) => {
        auth(client, undefined, 0x19);
        auth(client, undefined, 0x19);
      },
    ],
  ])('%s is a protocol error: DISCONNECT 0x82', async (what, send) => {
    const { client } = await tried(ANN);
    send(client);
    if (what.startsWith('0x19'))
      expect(await client.expect('auth')).toMatchObject({ reasonCode: 0x18 });
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
    expect(await client.ended()).toEqual([]);
  });

  test('that is not ended in time ends the connection: 0x87', async () => {
    const { client } = await tried(ANN);
    auth(client, undefined, 0x19);
    await client.expect('auth');
    server.clock.advance(REAUTHENTICATION_MS_MAX - 1);
    server.listener.sweep();
    await client.quiet();
    server.clock.advance(1);
    server.listener.sweep();
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x87 });
  });

  test('is not for who came in by a password', async () => {
    const client = await server.client({ username: 'ann', password: PASSWORD });
    auth(client, new ScramClient(ANN).first, 0x19);
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
  });

  test('a user with other keys after a reload is disconnected: 0x87', async () => {
    await files.scramUser('dora', 'one', true);
    await reload(access);
    const { client } = await tried({ user: 'dora', password: 'one' });
    await files.user('dora', 'one');
    await reload(access);
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x87 });
  });
});

describe('a listener without SCRAM', () => {
  test('refuses the method; so does one without users', async () => {
    const plain = await files.read();
    for (const settings of [{ access: plain }, {}]) {
      const other = await new MqttServer(settings).start();
      const client = await other.open();
      const properties = authentication(new ScramClient(ANN).first);
      expect(await client.connect({ properties })).toMatchObject({ reasonCode: 0x8c });
      expect(await client.ended()).toEqual([]);
      await other.stop();
    }
  });

  test('S12: no name, proof or key of any exchange above is in the log', () => {
    const told = JSON.stringify([server.log, files.log]);
    for (const secret of ['"eve"', PASSWORD, 'scram-sha-256', 'n=ann']) {
      expect(told).not.toContain(secret);
    }
    expect(told).toContain('no line %decoys in the users file');
  });
});
