/**
 * MQTT.js over WebSocket against a real broker process: ordinary topics and the durable queue, in
 * both versions, with bursts that the client joins into large messages.
 */

import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../jepsen/cluster/free-port.ts';
import { BrokerProcess } from '../support/broker-process.ts';

let broker: BrokerProcess;
let url: string;
const clients: MqttClient[] = [];

beforeAll(async () => {
  const port = await freePort();
  url = `ws://127.0.0.1:${port}/mqtt`;
  const args = ['--set', `server.mqtt.ws.addr=127.0.0.1:${port}`];
  broker = await BrokerProcess.started('web-clients', { args });
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
});

afterAll(async () => {
  await broker.remove();
});

async function client(options: IClientOptions): Promise<MqttClient> {
  const connected = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options });
  clients.push(connected);
  return connected;
}

/** Resolves when `count` messages came. */
function collected(from: MqttClient, count: number): Promise<Buffer[]> {
  return new Promise((resolve) => {
    const got: Buffer[] = [];
    from.on('message', (_topic, payload) => {
      got.push(payload);
      if (got.length === count) resolve(got);
    });
  });
}

describe.each([4, 5] as const)('MQTT.js over ws, protocol version %i', (protocolVersion) => {
  test('bytes come through as they were, in order, at each QoS and any size', async () => {
    const subscriber = await client({ protocolVersion });
    const publisher = await client({ protocolVersion });
    const sent = [0, 1, 125, 126, 65_535, 65_536, 1_000_000].flatMap((size) =>
      ([0, 1, 2] as const).map((qos) => ({ qos, payload: Buffer.alloc(size, `${qos}${size}-`) })),
    );
    await subscriber.subscribeAsync('web/#', { qos: 2 });
    for (const qos of [0, 1, 2] as const) {
      const mine = sent.filter((each) => each.qos === qos);
      const come = collected(subscriber, mine.length);
      await Promise.all(
        mine.map(({ payload }) => publisher.publishAsync(`web/${qos}`, payload, { qos })),
      );
      const got = await come;
      expect(
        got.map((payload, at) => payload.equals(mine[at]?.payload ?? Buffer.alloc(0))),
      ).toEqual(mine.map(() => true));
      subscriber.removeAllListeners('message');
    }
  });

  test('Q13: what is published into a queue over ws is consumed over ws and over TCP', async () => {
    const publisher = await client({ protocolVersion });
    const numbers = Array.from({ length: 200 }, (_, number) => `web ${number}`);
    await Promise.all(
      numbers.map((text) => publisher.publishAsync('$queue/orders', text, { qos: 1 })),
    );
    const overWeb = await client({ protocolVersion });
    const overTcp = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, { protocolVersion });
    clients.push(overTcp);
    const seen: string[] = [];
    const all = new Promise<void>((resolve) => {
      for (const consumer of [overWeb, overTcp]) {
        consumer.on('message', (_topic, payload) => {
          seen.push(payload.toString());
          if (seen.length === numbers.length) resolve();
        });
      }
    });
    await overWeb.subscribeAsync('$queue/orders', { qos: 1 });
    await overTcp.subscribeAsync('$queue/orders', { qos: 1 });
    await all;
    expect(seen.sort()).toEqual(numbers.sort());
  });
});

test('a persistent session is the same over both ways in', async () => {
  const options = { clientId: 'wanderer', clean: false, protocolVersion: 4 } as const;
  const overTcp = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, options);
  await overTcp.subscribeAsync('news', { qos: 1 });
  await overTcp.endAsync();
  const publisher = await client({});
  await publisher.publishAsync('news', 'while you were away', { qos: 1 });
  const overWeb = mqtt.connect(url, options);
  clients.push(overWeb);
  const [payload] = await collected(overWeb, 1);
  expect(payload?.toString()).toBe('while you were away');
});
