/**
 * Users, rights and certificates with clients of other people, against a real broker process:
 * Mosquitto's, MQTT.js and our own command line; SIGHUP; and files that are wrong at the start.
 */

import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { AccessFiles } from '../support/access-files.ts';
import { until } from '../support/mqtt-server.ts';
import { scramMqttJs } from '../support/scram-mqttjs.ts';
import { type Pair, TlsFiles } from '../support/tls-files.ts';

const run = promisify(execFile);
const QUEUE = '$queue/orders';
const PASSWORD = 'tea for two';
const RULES = [
  'allow user ann       publish,subscribe  rooms/#',
  'allow user ann       publish            $queue/orders',
  'allow user sam       publish,subscribe  sams/#',
  'allow user device-7  consume,publish    $queue/orders',
  'allow user device-7  publish            devices/%u/#',
];

let access: AccessFiles;
let tls: TlsFiles;
let device: Pair;
let broker: BrokerProcess;
let tlsPort: number;
const clients: MqttClient[] = [];

beforeAll(async () => {
  access = await AccessFiles.make();
  await access.user('ann', PASSWORD);
  await access.scramUser('sam', PASSWORD);
  await access.rule(...RULES);
  tls = await TlsFiles.make();
  const server = await tls.sign('server', '/CN=localhost', 'DNS:localhost,IP:127.0.0.1');
  device = await tls.sign('device', '/CN=device-7');
  tlsPort = await freePort();
  const keys = [
    `access={users_file: ${access.users}, rules_file: ${access.rules}}`,
    `server.mqtt.tls={addr: "127.0.0.1:${tlsPort}", client_certificates: optional}`,
    `server.tls={cert: ${server.cert}, key: ${server.key}, client_ca: ${tls.ca}}`,
    'access.scram.enabled=true',
    'log.format=json',
  ];
  broker = await BrokerProcess.started('access-clients', {
    args: keys.flatMap((assignment) => ['--set', assignment]),
  });
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
});

afterAll(async () => {
  // S12: nothing that was told in any of these tests is a secret.
  expect(broker.output).toContain('"user":"ann"');
  for (const secret of [PASSWORD, 'swordfish', 'scrypt:', 'scram-sha']) {
    expect(broker.output).not.toContain(secret);
  }
  await broker.remove();
  await tls.remove();
  await access.remove();
});

/** What a program of Mosquitto's said and how it ended; it ends well also when it is refused. */
async function mosquitto(program: string, ...args: string[]): Promise<string> {
  const place = ['-p', String(broker.port), '-d'];
  const ended = await run(program, [...place, ...args], { timeout: 30_000 }).catch(
    (error: unknown) => error as { readonly stdout: string; readonly stderr: string },
  );
  return ended.stdout + ended.stderr;
}

const ANN = ['-u', 'ann', '-P', PASSWORD];

describe('mosquitto_pub and mosquitto_sub', () => {
  test('with -u and -P, 5.0: what is allowed works, what is not is told', async () => {
    const pub = ['-V', '5', '-q', '1', '-m', 'x'];
    const good = await mosquitto('mosquitto_pub', ...ANN, ...pub, '-t', 'rooms/1');
    expect(good).toContain('received PUBACK (Mid: 1, RC:0)');
    const denied = await mosquitto('mosquitto_pub', ...ANN, ...pub, '-t', 'halls/1');
    expect(denied).toContain('received PUBACK (Mid: 1, RC:135)');
    const wrong = await mosquitto(
      'mosquitto_pub',
      '-u',
      'ann',
      '-P',
      'swordfish',
      ...pub,
      '-t',
      'a',
    );
    expect(wrong).toContain('CONNACK (134)');
    expect(await mosquitto('mosquitto_pub', ...pub, '-t', 'a')).toContain('CONNACK (135)');
  });

  test('3.1.1: CONNACK 4 and 5, SUBACK 0x80', async () => {
    const sub = ['-V', 'mqttv311', '-q', '1', '-E'];
    const denied = await mosquitto('mosquitto_sub', ...ANN, ...sub, '-t', '#');
    expect(denied).toMatch(/QoS: 128|denied|rejected/);
    const wrong = await mosquitto(
      'mosquitto_sub',
      '-u',
      'nobody',
      '-P',
      'swordfish',
      ...sub,
      '-t',
      'a',
    );
    expect(wrong).toMatch(/bad user name or password|CONNACK \(4\)/i);
    expect(await mosquitto('mosquitto_sub', ...sub, '-t', 'a')).toMatch(/not authorised|\(5\)/);
  });
});

test('fluxmq pub and sub take the password from the environment or a file', async () => {
  const launcher = join(import.meta.dirname, '../../src/cli/fluxmq.sh');
  const file = join(access.folder, 'password');
  await writeFile(file, `${PASSWORD}\n`);
  const place = ['-p', String(broker.port), '-u', 'ann', '-t', 'rooms/1'];
  const env = { ...process.env, FLUXMQ_PASSWORD: PASSWORD };
  const told = await run(launcher, ['pub', ...place, '-m', 'x', '-r'], { env });
  expect(told.stdout).toContain('acknowledged');
  const got = await run(launcher, ['sub', ...place, '-c', '1', '--password-file', file]);
  expect(got.stdout).toContain('x');
  await expect(run(launcher, ['pub', ...place, '-m', 'x'])).rejects.toThrow(
    /user name or the pass/,
  );
});

test('MQTT.js by SCRAM-SHA-256: rights of the user; no keys and a wrong password are refused', async () => {
  const url = `mqtt://127.0.0.1:${broker.port}`;
  const made = (client: MqttClient): number => clients.push(client);
  const sam = { user: 'sam', password: PASSWORD };
  const { client, signatures, scram } = await scramMqttJs(url, sam, { made });
  expect(signatures).toEqual([scram.serverSignature]);
  await client.publishAsync('sams/1', 'x', { qos: 1 });
  await expect(client.publishAsync('rooms/1', 'x', { qos: 1 })).rejects.toThrow('Not authorized');
  for (const who of [
    { ...sam, password: 'swordfish' },
    { user: 'ann', password: PASSWORD },
  ]) {
    await expect(scramMqttJs(url, who, { made })).rejects.toThrow(/Bad User Name or Password/i);
  }
});

async function connect(options: mqtt.IClientOptions, url?: string): Promise<MqttClient> {
  const client = await mqtt.connectAsync(url ?? `mqtt://127.0.0.1:${broker.port}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...options,
  });
  clients.push(client);
  return client;
}

describe('a client certificate', () => {
  async function shown(options: mqtt.IClientOptions = {}): Promise<MqttClient> {
    const [ca, cert, key] = await Promise.all(
      [tls.ca, device.cert, device.key].map((f) => readFile(f)),
    );
    const certificate = { ca, cert, key } as mqtt.IClientOptions;
    return connect({ ...certificate, ...options }, `mqtts://localhost:${tlsPort}`);
  }

  test('is its user: rights by its name, no password asked', async () => {
    const client = await shown();
    await client.publishAsync('devices/device-7/t', 'x', { qos: 1 });
    await client.publishAsync(QUEUE, 'from it', { qos: 1 });
    await expect(client.publishAsync('devices/device-8/t', 'x', { qos: 1 })).rejects.toThrow(
      'Not authorized',
    );
    const come = new Promise((resolve) => {
      client.once('message', (_topic, payload) => resolve(payload.toString()));
    });
    await client.subscribeAsync(QUEUE, { qos: 1 });
    expect(await come).toBe('from it');
  });

  test('may not say another name, and who shows none needs a password', async () => {
    await expect(shown({ username: 'ann', password: PASSWORD })).rejects.toThrow(
      /Bad User Name or Password/i,
    );
    const ca = await readFile(tls.ca);
    const url = `mqtts://localhost:${tlsPort}`;
    const bare = { ca } as mqtt.IClientOptions;
    await expect(connect(bare, url)).rejects.toThrow(/Not authorized/i);
    const named = await connect({ ...bare, username: 'ann', password: PASSWORD }, url);
    await named.publishAsync('rooms/1', 'x', { qos: 1 });
  });
});

function logged(message: string): number {
  return broker.output.split('\n').filter((line) => line.includes(message)).length;
}

test('SIGHUP: new users and rules hold at once, a removed user is told 0x87, bad files are not taken', async () => {
  const before = await connect({ username: 'ann', password: PASSWORD });
  await access.user('carl', 'c');
  await access.rule('deny user ann publish rooms/2', ...RULES);
  process.kill(broker.pid, 'SIGHUP');
  await until(() => logged('users and rules were read again') === 1);
  await expect(before.publishAsync('rooms/2', 'x', { qos: 1 })).rejects.toThrow('Not authorized');
  await before.publishAsync('rooms/1', 'x', { qos: 1 });
  await connect({ username: 'carl', password: 'c' });
  await writeFile(access.rules, '');
  process.kill(broker.pid, 'SIGHUP');
  await until(() => logged('users and rules were not taken, the old ones stay') === 1);
  await before.publishAsync('rooms/1', 'x', { qos: 1 });
  await access.rule(...RULES);
  await access.user('ann', undefined);
  const told = new Promise<number | undefined>((resolve) => {
    before.once('disconnect', ({ reasonCode }) => resolve(reasonCode));
  });
  process.kill(broker.pid, 'SIGHUP');
  expect(await told).toBe(0x87);
  const again = connect({ username: 'ann', password: PASSWORD });
  await expect(again).rejects.toThrow(/Bad User Name or Password/i);
});

test('S7: a file that is empty or not there ends the start, and says which key names it', async () => {
  const empty = join(access.folder, 'empty');
  await writeFile(empty, '');
  for (const [keys, text, key] of [
    [`{users_file: /nowhere/u, rules_file: ${access.rules}}`, 'cannot be read', 'users_file'],
    [`{users_file: ${empty}, rules_file: ${access.rules}}`, 'has no user', 'users_file'],
    [`{users_file: ${access.users}, rules_file: ${empty}}`, 'has no rule', 'rules_file'],
  ] as const) {
    const other = await BrokerProcess.prepare('access-start', {
      args: ['--set', `access=${keys}`],
    });
    expect(await other.startAndEnd()).toBe(2);
    expect(other.output).toContain(text);
    expect(other.output).toContain(`(access.${key})`);
    await other.remove();
  }
});
