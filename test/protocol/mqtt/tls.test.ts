/**
 * MQTT over TLS and over WebSocket over TLS: who comes in, who does not and why, what is changed
 * while connections are open, and what silence costs (P3, S1).
 */

import { once } from 'node:events';
import { copyFile, writeFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, type TLSSocket, connect } from 'node:tls';
import { readFileSync } from 'node:fs';
import { WebSocket } from 'ws';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { ServerTls, type ServerTlsSettings } from '../../../src/protocol/doors/server-tls.ts';
import type { TlsOptions } from '../../../src/protocol/doors/tls-way.ts';
import {
  type LogLine,
  MqttServer,
  type RawClient,
  type ServerSettings,
  until,
} from '../../support/mqtt-server.ts';
import { type Pair, TlsFiles } from '../../support/tls-files.ts';

let files: TlsFiles;
let strangers: TlsFiles;
let serverPair: Pair;
let alice: Pair;
let mallory: Pair;
let tls: ServerTls;
let server: MqttServer;
const told: LogLine[] = [];
const sockets: TLSSocket[] = [];

beforeAll(async () => {
  [files, strangers] = await Promise.all([TlsFiles.make(), TlsFiles.make('Strangers')]);
  serverPair = await files.sign('server', '/CN=localhost', 'DNS:localhost,IP:127.0.0.1');
  alice = await files.sign('alice', '/CN=alice', 'email:alice@example.com,DNS:a,DNS:b');
  mallory = await strangers.sign('mallory', '/CN=alice');
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.stop();
});

afterAll(async () => {
  await Promise.all([files.remove(), strangers.remove()]);
});

function log(level: LogLine['level']) {
  return (fields: Record<string, unknown>, message: string): void => {
    told.push({ level, fields, message });
  };
}
const LOG = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };

interface Setting extends Partial<ServerTlsSettings> {
  readonly clients?: TlsOptions['clients'];
  readonly settings?: ServerSettings;
}

async function start({ clients = 'off', settings = {}, ...set }: Setting = {}): Promise<void> {
  told.length = 0;
  const all: ServerTlsSettings = {
    ...serverPair,
    clientCa: clients === 'off' ? undefined : files.ca,
    crl: [],
    ocspResponse: undefined,
    identity: 'cn',
    minVersion: 'TLSv1.2',
    ciphers: undefined,
    ...set,
  };
  tls = await ServerTls.read(all, LOG);
  server = await new MqttServer({ webSocket: {}, tls: { tls, clients }, ...settings }).start();
}

/** Node.js knows it, its types do not. */
type Opening = ConnectionOptions & { readonly requestOCSP?: boolean };

function opening(pair?: Pair, options: Opening = {}): TLSSocket {
  const shown = pair && { cert: readFileSync(pair.cert), key: readFileSync(pair.key) };
  const socket = connect({
    host: '127.0.0.1',
    port: server.portOf('mqtts'),
    ca: readFileSync(files.ca),
    servername: 'localhost',
    ...shown,
    ...options,
  });
  socket.on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

async function open(pair?: Pair, options?: ConnectionOptions): Promise<TLSSocket> {
  const socket = opening(pair, options);
  await once(socket, 'secureConnect');
  return socket;
}

/** Connected over MQTT. */
async function client(pair?: Pair, options?: ConnectionOptions): Promise<RawClient> {
  const raw = server.adopt(await open(pair, options));
  await raw.connect();
  expect(raw.connack).toMatchObject({ reasonCode: 0 });
  return raw;
}

/** However it comes to its end. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('close', () => resolve());
  });
}

/** The connection ends without a word of MQTT. */
async function turnedAway(pair?: Pair, options?: ConnectionOptions): Promise<void> {
  const door = server.listener.doors.find(({ scheme }) => scheme === 'mqtts');
  const before = door?.counters.tlsFailed ?? 0;
  await closed(opening(pair, options));
  await until(() => door?.counters.tlsFailed === before + 1);
  expect(server.listener.connectionCount).toBe(0);
}

function failures(): unknown[] {
  return server.log.filter(({ message }) => message === 'TLS failed').map((l) => l.fields['why']);
}

function identities(): unknown[] {
  return server.log
    .filter(({ message }) => message === 'client connected')
    .map(({ fields }) => [fields['over'], fields['identity']]);
}

describe('over TLS', () => {
  test('a client speaks MQTT as over TCP, with the certificate checked by it', async () => {
    await start();
    const raw = await client();
    expect((raw.socket as TLSSocket).authorized).toBe(true);
    await raw.subscribe('#', 0);
    raw.publish('big', Buffer.alloc(1_000_000, 'x'));
    expect(String((await raw.expect('publish'))['payload']).length).toBe(1_000_000);
    expect(identities()).toEqual([['mqtts', undefined]]);
  });

  test('one that speaks plain MQTT is cut, and counted', async () => {
    await start();
    const socket = connectTcp(server.portOf('mqtts'), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(Buffer.from([0x10, 12, 0, 4, 77, 81, 84, 84, 4, 2, 0, 0, 0, 0]));
    await closed(socket);
    await until(() => failures().length === 1);
    expect(failures()[0]).toMatch(/^ERR_SSL_/);
  });

  test('versions below the minimum, and ciphers that are not named, are refused', async () => {
    await start({ minVersion: 'TLSv1.3' });
    await turnedAway(undefined, { maxVersion: 'TLSv1.2' });
    const { socket } = await client();
    expect((socket as TLSSocket).getProtocol()).toBe('TLSv1.3');
    await server.stop();
    await start({ ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' });
    const old = { maxVersion: 'TLSv1.2' } as const;
    await turnedAway(undefined, { ...old, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' });
    expect(((await client(undefined, old)).socket as TLSSocket).getCipher().name).toBe(
      'ECDHE-ECDSA-AES256-GCM-SHA384',
    );
  });

  test('by default nothing older than TLS 1.2 is spoken', async () => {
    await start();
    const weak = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' } as const;
    await turnedAway(undefined, { ...weak, ciphers: 'DEFAULT@SECLEVEL=0' });
  });
});

describe('client certificates', () => {
  test('required: nobody comes in without a good one, and its name is the identity', async () => {
    await start({ clients: 'required' });
    await turnedAway();
    await turnedAway(mallory);
    await client(alice);
    expect(identities()).toEqual([['mqtts', 'alice']]);
    expect(failures()).toHaveLength(2);
  });

  test('optional: without one a client has no identity; one that is shown must be good', async () => {
    await start({ clients: 'optional' });
    await turnedAway(mallory);
    await client();
    await client(alice);
    expect(identities()).toEqual([
      ['mqtts', undefined],
      ['mqtts', 'alice'],
    ]);
    expect(failures()).toEqual(['UNABLE_TO_VERIFY_LEAF_SIGNATURE']);
  });

  test('off: one that is shown counts for nothing', async () => {
    await start();
    await client(mallory);
    expect(identities()).toEqual([['mqtts', undefined]]);
  });

  test('the identity is the name of the kind, and a certificate with two of it is refused', async () => {
    await start({ clients: 'required', identity: 'email' });
    await client(alice);
    expect(identities()).toEqual([['mqtts', 'alice@example.com']]);
    await server.stop();
    await start({ clients: 'required', identity: 'dns' });
    await turnedAway(alice);
    expect(failures()).toEqual([expect.stringContaining('no single name of the kind dns')]);
  });

  test('over WebSocket over TLS the identity is the same', async () => {
    await start({ clients: 'required' });
    const shown = { cert: readFileSync(alice.cert), key: readFileSync(alice.key) };
    const url = `wss://127.0.0.1:${server.portOf('wss')}/mqtt`;
    const ca = readFileSync(files.ca);
    const webSocket = new WebSocket(url, 'mqtt', { ca, ...shown });
    await once(webSocket, 'open');
    webSocket.send(Buffer.from([0x10, 12, 0, 4, 77, 81, 84, 84, 4, 2, 0, 0, 0, 0]));
    const [connack] = (await once(webSocket, 'message')) as [Buffer];
    expect(connack).toEqual(Buffer.from([0x20, 2, 0, 0]));
    expect(identities()).toEqual([['wss', 'alice']]);
    webSocket.terminate();
    const stranger = new WebSocket(url, 'mqtt', { ca });
    const [error] = (await once(stranger, 'error')) as [Error];
    expect(error.message).not.toBe('');
    await until(() => failures().length === 1);
  });
});

describe('revocation', () => {
  test('who is on the list is refused, the others are not', async () => {
    const bob = await files.sign('bob', '/CN=bob');
    const list = await files.revoked('bob.crl', bob);
    await start({ clients: 'required', crl: [list] });
    await turnedAway(bob);
    expect(failures()).toEqual(['CERT_REVOKED']);
    await client(alice);
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'after a reload who was revoked is refused also with a session from before, in %s; connections stay',
    async (version) => {
      const carol = await files.sign(`carol-${version}`, '/CN=carol');
      const list = files.path(`live-${version}.crl`);
      await copyFile(await files.revoked('before.crl'), list);
      await start({ clients: 'required', crl: [list] });
      const only = { minVersion: version, maxVersion: version } as const;
      const socket = opening(carol, only);
      let session: Buffer | undefined;
      socket.on('session', (bytes: Buffer) => (session = bytes));
      await once(socket, 'secureConnect');
      const raw = server.adopt(socket);
      await raw.connect();
      await until(() => session !== undefined);
      const again = await open(carol, { ...only, session: session as unknown as Buffer });
      // The session is worth something before it is not.
      expect(again.isSessionReused()).toBe(true);
      again.destroy();
      await files.revoked(`live-${version}.crl`, carol);
      await tls.reload();
      await raw.quiet();
      raw.destroy();
      await until(() => server.listener.connectionCount === 0);
      await turnedAway(carol, { ...only, session: session as unknown as Buffer });
      expect(failures()).toEqual(['CERT_REVOKED']);
    },
  );
});

describe('a reload', () => {
  test('shows the new certificate to new connections, and keeps those that are open', async () => {
    const [live, next] = [
      { cert: files.path('live.pem'), key: files.path('live.key') },
      await files.sign('next', '/CN=next', 'DNS:localhost'),
    ];
    await copyFile(serverPair.cert, live.cert);
    await copyFile(serverPair.key, live.key);
    await start(live);
    const before = await client();
    await copyFile(next.cert, live.cert);
    await copyFile(next.key, live.key);
    await tls.reload();
    const after = await client();
    expect((after.socket as TLSSocket).getPeerCertificate().subject.CN).toBe('next');
    expect((before.socket as TLSSocket).getPeerCertificate().subject.CN).toBe('localhost');
    await before.quiet();
    expect(told.at(-1)).toMatchObject({ level: 'info', message: 'the TLS files were read again' });
  });

  test('of files that are wrong changes nothing, and says which and why', async () => {
    const live = { cert: files.path('half.pem'), key: files.path('half.key') };
    await copyFile(serverPair.cert, live.cert);
    await copyFile(serverPair.key, live.key);
    await start(live);
    const before = await client();
    await copyFile(alice.cert, live.cert);
    await tls.reload();
    await before.quiet();
    const after = await client();
    expect((after.socket as TLSSocket).getPeerCertificate().subject.CN).toBe('localhost');
    expect(told).toMatchObject([{ level: 'error', fields: { setting: 'server.tls.key' } }]);
    expect(told[0]?.message).toMatch(/the old ones stay: .*half.key is not the key of .*half.pem$/);
    // Several at once are done one after the other.
    await copyFile(serverPair.cert, live.cert);
    await Promise.all([tls.reload(), tls.reload()]);
    expect(told.map(({ level }) => level)).toEqual(['error', 'info', 'info']);
  });
});

test('a client that asks for it gets the OCSP response, also a renewed one', async () => {
  const authority = await TlsFiles.make();
  const pair = await authority.sign('server', '/CN=localhost', 'DNS:localhost');
  const staple = await authority.ocspResponse('staple.der', pair);
  await start({ ...pair, ocspResponse: staple });
  const ca = readFileSync(authority.ca);
  const socket = opening(undefined, { ca, requestOCSP: true });
  const [response] = (await once(socket, 'OCSPResponse')) as [Buffer];
  expect(response.equals(readFileSync(staple))).toBe(true);
  await authority.ocspResponse('staple.der', pair);
  await tls.reload();
  const again = opening(undefined, { ca, requestOCSP: true });
  const [renewed] = (await once(again, 'OCSPResponse')) as [Buffer];
  expect(renewed.equals(readFileSync(staple))).toBe(true);
  await client(undefined, { ca });
  await authority.remove();
});

describe('what does not fit together is refused with the key and the file', () => {
  const cases: readonly [string, () => Partial<ServerTlsSettings>, string, RegExp][] = [
    ['no file', () => ({ cert: '/none' }), 'cert', /none cannot be read: ENOENT/],
    ['a key for a certificate', () => ({ cert: serverPair.key }), 'cert', /is no certificate/],
    ['a certificate for a key', () => ({ key: serverPair.cert }), 'key', /is no private key/],
    ['the key of another', () => ({ key: alice.key }), 'key', /alice.key is not the key of/],
    ['no authority', () => ({ clientCa: serverPair.key }), 'client_ca', /is no certificate/],
    ['no list', () => ({ crl: [serverPair.cert] }), 'crl', /has no X509 CRL in PEM/],
    ['a broken list', () => ({ crl: [files.path('broken.crl')] }), 'crl', /is no X509 CRL/],
    ['no response', () => ({ ocspResponse: files.ca }), 'ocsp_response', /no good OCSP response/],
    ['no cipher', () => ({ ciphers: 'NONE-AT-ALL' }), 'ciphers', /none of the ciphers/],
  ];
  test.each(cases)('%s', async (_, change, key, message) => {
    await start();
    const broken = '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n';
    await writeFile(files.path('broken.crl'), broken);
    const settings = { ...serverPair, clientCa: files.ca, crl: [], ocspResponse: undefined };
    const rest = { identity: 'cn', minVersion: 'TLSv1.2', ciphers: undefined } as const;
    const read = ServerTls.read({ ...settings, ...rest, ...change() }, LOG);
    await expect(read).rejects.toMatchObject({
      key: `server.tls.${key}`,
      message: expect.stringMatching(message),
    });
  });

  test('a certificate that is out of date', async () => {
    await start();
    const settings = { ...serverPair, clientCa: undefined, crl: [], ocspResponse: undefined };
    const rest = { identity: 'cn', minVersion: 'TLSv1.2', ciphers: undefined } as const;
    const later = (): number => Date.now() + 3 * 86_400_000;
    const read = ServerTls.read({ ...settings, ...rest }, LOG, later);
    await expect(read).rejects.toThrow(/server.pem was good until .* GMT/);
  });
});

describe('P3, S1: silence', () => {
  test('costs its own place and one deadline, and stalls nobody', async () => {
    await start({ settings: { maxArriving: 3, connectTimeoutMs: 1000 } });
    const door = server.listener.doors.find(({ scheme }) => scheme === 'mqtts');
    const inside = await client();
    const silent = [];
    for (let count = 0; count < 3; count++) {
      const socket = connectTcp(server.portOf('mqtts'), '127.0.0.1');
      socket.on('error', () => undefined);
      silent.push(socket);
    }
    // Half a hello is as silent as none.
    silent[0]?.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
    await until(() => door?.arriving === 3);
    await inside.quiet();
    await closed(opening());
    expect(door?.counters.aboveArriving).toBe(1);
    server.clock.advance(1000);
    const ends = silent.map((socket) => closed(socket));
    server.listener.sweep();
    await Promise.all(ends);
    expect(door?.counters.tooSlow).toBe(3);
    await until(() => door?.arriving === 0);
    await client();
    await inside.quiet();
  });

  test('after TLS, and after the upgrade within it, has the same deadline', async () => {
    await start({ settings: { connectTimeoutMs: 1000 } });
    const secured = await open();
    const inTls = await open(undefined, { port: server.portOf('wss') });
    await until(() => server.listener.connectionCount === 1);
    const ends = [closed(secured), closed(inTls)];
    server.clock.advance(1000);
    server.listener.sweep();
    await Promise.all(ends);
    expect(failures()).toEqual([]);
  });

  test('stop ends those on their way, and the others in order', async () => {
    await start();
    const inside = await client();
    const silent = connectTcp(server.portOf('mqtts'), '127.0.0.1');
    silent.on('error', () => undefined);
    const door = server.listener.doors.find(({ scheme }) => scheme === 'mqtts');
    await until(() => door?.arriving === 1);
    const gone = closed(silent);
    await server.listener.stop();
    expect(await inside.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }]);
    await gone;
  });
});
