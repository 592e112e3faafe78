/** JSON web tokens over MQTT: who comes in with one, what he may do, and when that ends. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Access } from '../../../src/access/access.ts';
import type { TokenKeyFile } from '../../../src/access/token-keys.ts';
import type { TokenSettings } from '../../../src/access/tokens.ts';
import { AccessFiles, reload } from '../../support/access-files.ts';
import { granted, publish } from '../../support/access-questions.ts';
import { MqttServer, type RawClient, until } from '../../support/mqtt-server.ts';
import { keyFile, NOW, SECRET, token, TOKENS } from '../../support/token-maker.ts';

let files: AccessFiles;
let server: MqttServer;
let access: Access;
let nowMs = NOW * 1000;

const RULES = [
  'deny  *         publish            rooms/secret',
  'allow user tom  publish,subscribe  tom/#',
  'allow group ops publish            ops/#',
];

beforeAll(async () => {
  files = await AccessFiles.make();
  await files.user('ann', 'tea', 'ops');
  await files.rule(...RULES);
  const paths = { users: files.users, rules: files.rules, tokenKeys: await secretFile() };
  access = await files.read({ files: paths, tokens: TOKENS, wallNow: () => nowMs });
  server = await new MqttServer({ access }).start();
});

beforeEach(() => {
  nowMs = NOW * 1000;
});

afterAll(async () => {
  await server.stop();
  await files.remove();
});

function secretFile(): Promise<TokenKeyFile> {
  return keyFile(files.folder, 'secret', { text: SECRET, algorithms: TOKENS.algorithms });
}

/** MQTT 5.0 section 3.1.2.9: without a user name, which mqtt-packet does not write. */
function connectWithPassword(password: string): Buffer {
  const text = Buffer.from(password);
  const length = Buffer.from([text.length >> 8, text.length & 0xff]);
  const head = [0, 4, ...Buffer.from('MQTT'), 5, 0x42, 0, 0, 0, 0, 0];
  const body = Buffer.concat([Buffer.from(head), length, text]);
  const remaining = [(body.length & 0x7f) | 0x80, body.length >> 7];
  return Buffer.concat([Buffer.from([0x10, ...remaining]), body]);
}

async function withToken(claims: object = {}, fields: object = {}): Promise<RawClient> {
  const password = await token({ ...claims });
  return server.client({ username: 'tom', password, ...fields });
}

async function refusal(version: 4 | 5, fields: object): Promise<unknown> {
  const client = await server.open(version);
  const connack = await client.connect({ ...fields });
  await client.ended();
  return version === 5 ? connack['reasonCode'] : connack['returnCode'];
}

describe('CONNECT with a token', () => {
  test('lets in whom it names; by a password others do, and the forms do not mix', async () => {
    expect(await publish(await withToken(), 'tom/x')).toBe(0);
    const ann = await server.client({ username: 'ann', password: 'tea' });
    expect(await publish(ann, 'ops/x')).toBe(0);
    expect(await publish(ann, 'tom/x')).toBe(0x87);
  });

  test('that is not good is refused like a wrong password, also where the user is known', async () => {
    const password = await token({ sub: 'ann' }, { key: Buffer.from('x'.repeat(32)) });
    const before = access.refusedTokens?.signature ?? 0;
    expect(await refusal(5, { username: 'ann', password })).toBe(0x86);
    expect(await refusal(4, { username: 'ann', password })).toBe(4);
    expect(access.refusedTokens?.signature).toBe(before + 2);
  });

  test('needs no user name beside it in 5.0, and refuses another one', async () => {
    const password = await token();
    const client = await server.open(5);
    client.socket.write(connectWithPassword(password));
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0 });
    expect(await publish(client, 'tom/x')).toBe(0);
    expect(await refusal(5, { username: 'ann', password })).toBe(0x86);
  });

  test('may have it in the user name, and another user name beside it, as configured', async () => {
    const tokenKeys = await secretFile();
    const paths = { users: files.users, rules: files.rules, tokenKeys };
    const text = await token();
    const admitted = async (settings: Partial<TokenSettings>, user: string, password: string) => {
      const tokens = { ...TOKENS, ...settings };
      const other = await files.read({ files: paths, tokens, wallNow: () => nowMs });
      const claim = { user, password: Buffer.from(password), certificate: undefined };
      const found = await other.admit({ ...claim, clientId: 'c', isGone: () => false });
      return 'rights' in found ? found.rights.user : found.refused;
    };
    expect(await admitted({ from: 'user_name' }, text, 'anything')).toBe('tom');
    expect(await admitted({ from: 'user_name' }, 'tom', text)).toBe('bad-credentials');
    expect(await admitted({ checkUserName: false }, 'device-7', text)).toBe('tom');
    expect(await admitted({}, 'device-7', text)).toBe('bad-credentials');
  });

  test('counts the groups of the users file and of the token', async () => {
    const ann = await server.client({ username: 'ann', password: await token({ sub: 'ann' }) });
    expect(await publish(ann, 'ops/x')).toBe(0);
    const tom = await withToken({ groups: ['ops'] });
    expect(await publish(tom, 'ops/x')).toBe(0);
    expect(await publish(await withToken(), 'ops/x')).toBe(0x87);
  });

  test('has rights of its own, behind the rules of the file', async () => {
    const acl = { publish: ['rooms/#', 'own/%u/%c'], subscribe: ['rooms/+'] };
    const client = await withToken({ acl }, { clientId: 'c1' });
    expect(await publish(client, 'rooms/1')).toBe(0);
    expect(await publish(client, 'own/tom/c1')).toBe(0);
    expect(await publish(client, 'own/tom/c2')).toBe(0x87);
    expect(await publish(client, 'rooms/secret')).toBe(0x87);
    expect(await granted(client, 'rooms/1')).toBe(1);
    expect(await granted(client, 'rooms/#')).toBe(0x87);
  });

  test('a retained message is shown while the rights that its publisher had last allow it', async () => {
    const publisher = await withToken({ acl: { publish: ['kept/#'] } }, { clientId: 'keeper' });
    expect(await publish(publisher, 'kept/1', { retain: true })).toBe(0);
    const reader = await withToken({ acl: { subscribe: ['kept/#'] } }, { clientId: 'reader' });
    await reader.subscribe('kept/1', 0);
    expect(await reader.expect('publish')).toMatchObject({ topic: 'kept/1' });
    await withToken({ acl: { publish: ['other'] } }, { clientId: 'keeper' });
    await reload(access);
    await reader.subscribe('kept/1', 0);
    await reader.quiet();
  });
});

describe('the end of a token', () => {
  test('is the end of the connection: 5.0 hears 0xA0, 3.1.1 is closed', async () => {
    const client = await withToken({ exp: NOW + 5 });
    const old = await server.open(4);
    await old.connect({ username: 'tom', password: await token({ exp: NOW + 5 }) });
    const other = await withToken({ exp: NOW + 500 });
    nowMs = (NOW + 15) * 1000 - 1;
    server.listener.sweep();
    expect(await publish(client, 'tom/x')).toBe(0);
    nowMs += 1;
    server.listener.sweep();
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0xa0 }]);
    expect(await old.ended()).toEqual([]);
    await until(() => server.listener.connectionCount > 0);
    expect(await publish(other, 'tom/x')).toBe(0);
  });
});

describe('SIGHUP', () => {
  test('with other keys ends the connections of tokens of the old ones; a bad file none', async () => {
    const path = join(files.folder, 'keys');
    const client = await withToken();
    const ann = await server.client({ username: 'ann', password: 'tea' });
    await writeFile(path, 'short');
    expect(await reload(access)).toBe(false);
    expect(await publish(client, 'tom/x')).toBe(0);
    await writeFile(path, SECRET.toUpperCase());
    expect(await reload(access)).toBe(true);
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
    expect(await publish(ann, 'ops/x')).toBe(0);
    expect(await refusal(5, { username: 'tom', password: await token() })).toBe(0x86);
    await writeFile(path, SECRET);
    await reload(access);
    await withToken();
  });
});
