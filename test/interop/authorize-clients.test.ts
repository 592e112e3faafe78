/** A service over HTTP that authorizes, a real broker process, MQTT.js and Mosquitto's clients. */

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { AccessFiles } from '../support/access-files.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { until } from '../support/mqtt-server.ts';

const run = promisify(execFile);

let asked: Record<string, unknown>[] = [];
let isBroken = false;
/** Whoever says his own name in the first level may do it. */
const service = createServer((request, response) => {
  void request.toArray().then((parts: Buffer[]) => {
    const question = JSON.parse(Buffer.concat(parts).toString()) as Record<string, string>;
    asked.push(question);
    const result = question['topic']?.startsWith(`${question['user']}/`) ? 'allow' : 'deny';
    response.writeHead(isBroken ? 500 : 200).end(JSON.stringify({ result }));
  });
});
let access: AccessFiles;
let broker: BrokerProcess;
const clients: MqttClient[] = [];

beforeAll(async () => {
  access = await AccessFiles.make();
  await access.user('ann', 'tea');
  await access.rule('deny * publish ann/never');
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');
  const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}/authorize`;
  const callout = `callout: {authorize_url: "${url}", authorize_allow_ttl: 0s}`;
  const keys = `access={users_file: ${access.users}, rules_file: ${access.rules}, ${callout}}`;
  broker = await BrokerProcess.started('authorize', { args: ['--set', keys] });
});

afterEach(async () => {
  isBroken = false;
  for (const client of clients.splice(0)) await client.endAsync(true);
});

afterAll(async () => {
  await broker.remove();
  service.closeAllConnections();
  service.close();
  await access.remove();
});

async function ann(): Promise<MqttClient> {
  const url = `mqtt://127.0.0.1:${broker.port}`;
  const who = { username: 'ann', password: 'tea', clientId: `ann-${clients.length}` };
  const client = await mqtt.connectAsync(url, { ...who, protocolVersion: 5 });
  clients.push(client);
  return client;
}

test('what it allows is done, in order; what it denies is not; a rule comes before it', async () => {
  asked = [];
  const [publisher, subscriber] = [await ann(), await ann()];
  const heard: string[] = [];
  subscriber.on('message', (_topic, payload) => heard.push(payload.toString()));
  const [granted] = await subscriber.subscribeAsync('ann/#', { qos: 1 });
  expect(granted?.qos).toBe(1);
  await expect(subscriber.subscribeAsync('bob/#')).rejects.toThrow();
  const publishes = Array.from({ length: 20 }, (_, nth) =>
    publisher.publishAsync('ann/x', String(nth), { qos: nth % 2 === 0 ? 1 : 2 }),
  );
  await Promise.all(publishes);
  await expect(publisher.publishAsync('bob/x', 'x', { qos: 1 })).rejects.toThrow(/Not authorized/);
  await expect(publisher.publishAsync('ann/never', 'x', { qos: 1 })).rejects.toThrow();
  await publisher.publishAsync('ann/last', 'last', { qos: 1 });
  await until(() => heard.includes('last'));
  expect(heard).toEqual([...Array.from({ length: 20 }, (_, nth) => String(nth)), 'last']);
  expect(asked.some(({ topic }) => topic === 'ann/never')).toBe(false);
});

test('while it fails nothing is allowed, and mosquitto_pub is told to try again', async () => {
  const args = ['-p', String(broker.port), '-d', '-V', '5', '-u', 'ann', '-P', 'tea', '-q', '1'];
  const publish = async (): Promise<string> =>
    (await run('mosquitto_pub', [...args, '-t', 'ann/y', '-m', 'x'])).stdout;
  expect(await publish()).toContain('RC:0)');
  isBroken = true;
  expect(await publish()).toContain('RC:131');
  isBroken = false;
  expect(await publish()).toContain('RC:0)');
});
