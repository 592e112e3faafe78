/**
 * Clients of other people over TLS, against a real broker process: MQTT.js over `mqtts` and `wss`,
 * Mosquitto's and paho, each with a client certificate; SIGHUP; and files that are wrong at the
 * start.
 */

import { execFile } from 'node:child_process';
import { copyFile, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { until } from '../support/mqtt-server.ts';
import { type Pair, TlsFiles } from '../support/tls-files.ts';

const run = promisify(execFile);
const QUEUE = '$queue/orders';
let files: TlsFiles;
let device: Pair;
let live: Pair;
let broker: BrokerProcess;
let ports: { readonly tls: number; readonly wss: number };
const clients: MqttClient[] = [];

beforeAll(async () => {
  files = await TlsFiles.make();
  const first = await files.sign('first', '/CN=localhost', 'DNS:localhost,IP:127.0.0.1');
  device = await files.sign('device', '/CN=device-7');
  live = { cert: files.path('live.pem'), key: files.path('live.key') };
  await show(first);
  ports = { tls: await freePort(), wss: await freePort() };
  const keys = [
    `server.mqtt.tls={addr: "127.0.0.1:${ports.tls}", client_certificates: required}`,
    `server.mqtt.wss={addr: "127.0.0.1:${ports.wss}", client_certificates: optional}`,
    `server.tls={cert: ${live.cert}, key: ${live.key}, client_ca: ${files.ca}}`,
    'log.format=json',
  ];
  broker = await BrokerProcess.started('tls-clients', {
    args: keys.flatMap((assignment) => ['--set', assignment]),
  });
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
});

afterAll(async () => {
  await broker.remove();
  await files.remove();
});

async function show(pair: Pair): Promise<void> {
  await copyFile(pair.cert, live.cert);
  await copyFile(pair.key, live.key);
}

async function connect(scheme: 'mqtts' | 'wss', version: 4 | 5): Promise<MqttClient> {
  const place = scheme === 'mqtts' ? `${ports.tls}` : `${ports.wss}/mqtt`;
  const client = await mqtt.connectAsync(`${scheme}://localhost:${place}`, {
    protocolVersion: version,
    reconnectPeriod: 0,
    ca: await readFile(files.ca),
    cert: await readFile(device.cert),
    key: await readFile(device.key),
  });
  clients.push(client);
  return client;
}

/** Publishes into the queue and consumes from it. */
async function roundTrip(client: MqttClient, text: string): Promise<void> {
  await client.publishAsync(QUEUE, text, { qos: 1 });
  const come = new Promise<string>((resolve) => {
    client.once('message', (_topic, payload) => resolve(payload.toString()));
  });
  await client.subscribeAsync(QUEUE, { qos: 1 });
  expect(await come).toBe(text);
  await client.unsubscribeAsync(QUEUE);
}

function lines(): Record<string, unknown>[] {
  return broker.output
    .split('\n')
    .filter((line) => /^\{.*\}$/.test(line))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Looks until the log has such a line. */
async function logged(message: RegExp): Promise<Record<string, unknown>> {
  let found: Record<string, unknown> | undefined;
  await until(() => {
    found = lines().findLast((line) => message.test(String(line['message'])));
    return found !== undefined;
  });
  return found ?? {};
}

describe.each(['mqtts', 'wss'] as const)('MQTT.js over %s', (scheme) => {
  test.each([4, 5] as const)('works a queue with protocol version %i', async (version) => {
    await roundTrip(await connect(scheme, version), `${scheme} ${version}`);
    const connected = await logged(/^client connected$/);
    expect(connected).toMatchObject({ over: scheme, identity: 'device-7' });
  });
});

test.each(['mqttv311', 'mqttv5'])(
  'mosquitto_pub and mosquitto_sub over TLS, %s',
  async (version) => {
    const place = [
      '-h',
      'localhost',
      '-p',
      String(ports.tls),
      '-V',
      version,
      '-q',
      '1',
      '-t',
      QUEUE,
    ];
    const shown = ['--cafile', files.ca, '--cert', device.cert, '--key', device.key];
    await run('mosquitto_pub', [...place, ...shown, '-m', version]);
    const { stdout } = await run('mosquitto_sub', [...place, ...shown, '-C', '1', '-W', '20']);
    expect(stdout.trim()).toBe(version);
    const anonymous = run('mosquitto_pub', [...place, '--cafile', files.ca, '-m', 'x']);
    await expect(anonymous).rejects.toThrow();
  },
);

const PAHO = `
import sys, paho.mqtt.client as mqtt
port, ca, cert, key, transport = int(sys.argv[1]), *sys.argv[2:6]
client = mqtt.Client(client_id='paho-tls', protocol=mqtt.MQTTv5, transport=transport)
client.tls_set(ca, cert, key)
if transport == 'websockets': client.ws_set_options(path='/mqtt')
def on_connect(c, u, f, rc, p=None):
    c.subscribe('paho/tls', qos=1)
def on_subscribe(*args):
    client.publish('paho/tls', 'through', qos=1)
def on_message(c, u, m):
    print(m.payload.decode())
    client.disconnect()
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect('localhost', port)
client.loop_forever()
`;

test.each(['tcp', 'websockets'])('paho over TLS, transport %s', async (transport) => {
  const port = transport === 'tcp' ? ports.tls : ports.wss;
  const args = ['-c', PAHO, String(port), files.ca, device.cert, device.key, transport];
  const { stdout } = await run('/usr/bin/python3', args, { timeout: 60_000 });
  expect(stdout.trim()).toBe('through');
});

test('SIGHUP: the new certificate is shown, connections stay; bad files change nothing', async () => {
  const before = await connect('mqtts', 5);
  const closed = new Promise((resolve) => before.once('close', () => resolve('closed')));
  await show(await files.sign('second', '/CN=localhost', 'DNS:localhost,DNS:second'));
  process.kill(broker.pid, 'SIGHUP');
  await logged(/^the TLS files were read again$/);
  const names = async (): Promise<string> => {
    const place = ['-connect', `localhost:${ports.tls}`, '-servername', 'localhost'];
    const shown = ['-CAfile', files.ca, '-cert', device.cert, '-key', device.key];
    const shell = `openssl s_client ${[...place, ...shown].join(' ')} </dev/null |
      openssl x509 -noout -ext subjectAltName`;
    return (await run('bash', ['-c', shell])).stdout;
  };
  expect(await names()).toContain('DNS:second');
  await copyFile(device.key, live.key);
  process.kill(broker.pid, 'SIGHUP');
  const refused = await logged(/^the TLS files were not taken, the old ones stay/);
  expect(refused).toMatchObject({ level: 'error', setting: 'server.tls.key' });
  expect(await names()).toContain('DNS:second');
  await roundTrip(before, 'still here');
  expect(await Promise.race([closed, Promise.resolve('open')])).toBe('open');
});

test('a certificate that is not there ends the start, and says which key names it', async () => {
  const args = [
    `server.mqtt.tls.addr=127.0.0.1:${await freePort()}`,
    `server.tls={cert: /nowhere/a.pem, key: ${device.key}}`,
  ].flatMap((assignment) => ['--set', assignment]);
  const other = await BrokerProcess.prepare('tls-start', { args });
  expect(await other.startAndEnd()).toBe(2);
  expect(other.output).toContain('/nowhere/a.pem cannot be read: ENOENT');
  expect(other.output).toContain('(server.tls.cert)');
  await other.remove();
});
