/**
 * Clients of other people against a real broker process: each publishes into the durable queue and
 * consumes from it, over MQTT 3.1.1 and 5.0. The programs are installed by
 * `test/support/install-programs.sh`.
 */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';

const run = promisify(execFile);
const QUEUE = '$queue/orders';
let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.started('interop');
});

afterAll(async () => {
  await broker.remove();
});

async function mosquittoPublish(version: string, messages: readonly string[]): Promise<void> {
  const port = String(broker.port);
  for (const message of messages) {
    await run('mosquitto_pub', ['-p', port, '-V', version, '-q', '1', '-t', QUEUE, '-m', message]);
  }
}

async function mosquittoConsume(version: string, count: number): Promise<string[]> {
  const port = String(broker.port);
  const args = ['-p', port, '-V', version, '-q', '1', '-t', QUEUE, '-C', String(count), '-W', '20'];
  const { stdout } = await run('mosquitto_sub', args);
  return stdout.trimEnd().split('\n');
}

const PAHO = `
import sys, paho.mqtt.client as mqtt
port, role, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
version = mqtt.MQTTv5 if sys.argv[4] == '5' else mqtt.MQTTv311
client = mqtt.Client(client_id='paho-' + role, protocol=version)
client.connect('127.0.0.1', port)
if role == 'publish':
    client.loop_start()
    for i in range(count):
        info = client.publish('$queue/orders', 'paho %d' % i, qos=1)
        info.wait_for_publish()
        assert info.rc == 0
    client.loop_stop()
    client.disconnect()
else:
    seen = []
    def on_message(c, u, m):
        seen.append(m.payload.decode())
        if len(seen) == count:
            c.unsubscribe('$queue/orders')
    def on_unsubscribe(*args):
        client.disconnect()
    client.on_message = on_message
    client.on_unsubscribe = on_unsubscribe
    client.subscribe('$queue/orders', qos=1)
    client.loop_forever()
    print('\\n'.join(seen))
`;

async function paho(role: 'publish' | 'consume', count: number, version: string): Promise<string> {
  const args = ['-c', PAHO, String(broker.port), role, String(count), version];
  const { stdout } = await run('/usr/bin/python3', args, { timeout: 30_000 });
  return stdout;
}

async function mqttJsPublish(version: 4 | 5, messages: readonly string[]): Promise<void> {
  const client = await mqtt.connectAsync({
    host: '127.0.0.1',
    port: broker.port,
    protocolVersion: version,
  });
  for (const message of messages) await client.publishAsync(QUEUE, message, { qos: 1 });
  await client.endAsync();
}

async function mqttJsConsume(version: 4 | 5, count: number): Promise<string[]> {
  const client = await mqtt.connectAsync({
    host: '127.0.0.1',
    port: broker.port,
    protocolVersion: version,
  });
  const seen: string[] = [];
  await new Promise<void>((resolve, reject) => {
    client.on('message', (_topic, payload) => {
      seen.push(payload.toString());
      if (seen.length === count) resolve();
    });
    client.subscribe(QUEUE, { qos: 1 }, (error) => {
      if (error) reject(error);
    });
  });
  await client.endAsync();
  return seen;
}

function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name} ${i}`);
}

describe.each([
  { version: '3.1.1', mosquitto: 'mqttv311', js: 4, python: '4' },
  { version: '5.0', mosquitto: 'mqttv5', js: 5, python: '5' },
] as const)('MQTT $version', ({ mosquitto, js, python }) => {
  test('mosquitto_pub fills the queue and mosquitto_sub takes it in order', async () => {
    const messages = numbered('mosquitto', 5);
    await mosquittoPublish(mosquitto, messages);
    expect(await mosquittoConsume(mosquitto, 5)).toEqual(messages);
  });

  test('paho fills the queue and takes it in order', async () => {
    await paho('publish', 20, python);
    expect((await paho('consume', 20, python)).trimEnd().split('\n')).toEqual(numbered('paho', 20));
  });

  test('MQTT.js fills the queue and takes it in order', async () => {
    const messages = numbered('mqtt.js', 50);
    await mqttJsPublish(js, messages);
    expect(await mqttJsConsume(js, 50)).toEqual(messages);
  });

  test('what one client publishes another one consumes', async () => {
    await mqttJsPublish(js, ['from mqtt.js']);
    expect(await mosquittoConsume(mosquitto, 1)).toEqual(['from mqtt.js']);
    await mosquittoPublish(mosquitto, ['from mosquitto']);
    expect((await paho('consume', 1, python)).trimEnd()).toBe('from mosquitto');
    await paho('publish', 1, python);
    expect(await mqttJsConsume(js, 1)).toEqual(['paho 0']);
  });
});
