/** SCRAM-SHA-256 with a client that people use, MQTT.js, over each way in. */

import { readFileSync } from 'node:fs';
import type { IClientOptions, MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { ServerTls } from '../../../src/protocol/doors/server-tls.ts';
import type { Scheme } from '../../../src/protocol/transport.ts';
import { AccessFiles } from '../../support/access-files.ts';
import { MqttServer } from '../../support/mqtt-server.ts';
import { METHOD, ScramClient } from '../../support/scram-client.ts';
import { scramMqttJs } from '../../support/scram-mqttjs.ts';
import { type Pair, TlsFiles } from '../../support/tls-files.ts';

const ANN = { user: 'ann', password: 'tea for two' };
const LOG = { debug() {}, info() {}, warn() {}, error() {} };

let files: AccessFiles;
let tls: TlsFiles;
let ann: Pair;
let bob: Pair;
let server: MqttServer;
const clients: MqttClient[] = [];

beforeAll(async () => {
  files = await AccessFiles.make();
  await files.scramUser(ANN.user, ANN.password);
  await files.rule('allow user ann publish,subscribe rooms/#');
  tls = await TlsFiles.make();
  const pair = await tls.sign('server', '/CN=localhost', 'DNS:localhost,IP:127.0.0.1');
  ann = await tls.sign('ann', '/CN=ann');
  bob = await tls.sign('bob', '/CN=bob');
  const settings = {
    ...pair,
    clientCa: tls.ca,
    crl: [],
    ocspResponse: undefined,
    identity: 'cn',
    minVersion: 'TLSv1.2',
    ciphers: undefined,
  } as const;
  const access = await files.read({ scram: { iterations: 100_000 }, certificateUsers: true });
  const secured = { tls: await ServerTls.read(settings, LOG), clients: 'optional' } as const;
  server = await new MqttServer({ access, webSocket: {}, tls: secured }).start();
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
});

afterAll(async () => {
  await server.stop();
  await files.remove();
  await tls.remove();
});

async function connected(scheme: Scheme, who = ANN, options: IClientOptions = {}) {
  const url = `${scheme}://localhost:${server.portOf(scheme)}/mqtt`;
  const made = (client: MqttClient): number => clients.push(client);
  return scramMqttJs(url, who, { ca: readFileSync(tls.ca), made, ...options });
}

describe.each(['mqtt', 'mqtts', 'ws', 'wss'] as const)('MQTT.js over %s', (scheme) => {
  test('comes in by SCRAM-SHA-256, knows the server, and proves itself again', async () => {
    const told = await connected(scheme);
    expect(told.signatures).toEqual([told.scram.serverSignature]);
    const messages: string[] = [];
    told.client.on('message', (_, payload) => messages.push(payload.toString()));
    await told.client.subscribeAsync('rooms/#', { qos: 1 });
    await told.client.publishAsync('rooms/1', 'one', { qos: 1 });

    told.scram = new ScramClient(ANN);
    const properties = { authenticationMethod: METHOD, authenticationData: told.scram.first };
    told.client['_sendPacket']({ cmd: 'auth', reasonCode: 0x19, properties });
    await told.client.publishAsync('rooms/1', 'two', { qos: 1 });
    await expect.poll(() => told.signatures.length).toBe(2);
    expect(told.signatures[1]).toBe(told.scram.serverSignature);
    await expect.poll(() => messages).toEqual(['one', 'two']);
  });

  test('is refused with a wrong password: 0x86', async () => {
    const tried = connected(scheme, { ...ANN, password: 'no' });
    await expect(tried).rejects.toMatchObject({ code: 0x86 });
  });
});

describe('a client certificate beside it', () => {
  const pairOf = ({ cert, key }: Pair) => ({ cert: readFileSync(cert), key: readFileSync(key) });

  test('of the same user is let in, of another one not', async () => {
    const told = await connected('mqtts', ANN, pairOf(ann));
    expect(told.client.connected).toBe(true);
    await expect(connected('mqtts', ANN, pairOf(bob))).rejects.toMatchObject({ code: 0x86 });
  });
});
