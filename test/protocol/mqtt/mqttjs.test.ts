/** The same broker with a client that people use: MQTT.js, both versions. */

import { connect, connectAsync, type IPublishPacket, type MqttClient } from 'mqtt';
import { afterEach, describe, expect, test } from 'vitest';

import { MqttServer, until } from '../../support/mqtt-server.ts';

let server: MqttServer;
const clients: MqttClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  await server.stop();
});

async function client(protocolVersion: 4 | 5, options: object = {}): Promise<MqttClient> {
  const connected = await connectAsync(`mqtt://127.0.0.1:${server.port}`, {
    protocolVersion,
    ...options,
  });
  clients.push(connected);
  return connected;
}

describe.each([4, 5] as const)('MQTT.js with protocol version %i', (version) => {
  test('publishes and subscribes at each QoS, large and small, retained and not', async () => {
    server = await new MqttServer().start();
    const subscriber = await client(version);
    const publisher = await client(version);
    const got: [topic: string, bytes: number, qos: number][] = [];
    subscriber.on('message', (topic, payload, packet: IPublishPacket) => {
      got.push([topic, payload.length, packet.qos]);
    });
    await subscriber.subscribeAsync('t/#', { qos: 2 });
    const sent: typeof got = [];
    for (const qos of [0, 1, 2] as const) {
      for (const bytes of [0, 1, 100, 100_000, 1_000_000]) {
        await publisher.publishAsync(`t/${qos}/${bytes}`, Buffer.alloc(bytes, 7), {
          qos,
          retain: bytes === 1,
        });
        sent.push([`t/${qos}/${bytes}`, bytes, qos]);
      }
    }
    await until(() => got.length === sent.length);
    expect(new Set(got.map(String))).toEqual(new Set(sent.map(String)));
    const late = await client(version);
    const kept: string[] = [];
    late.on('message', (topic, _, packet) => {
      expect(packet.retain).toBe(true);
      kept.push(topic);
    });
    await late.subscribeAsync('#');
    await until(() => kept.length === 3);
    expect(kept.sort()).toEqual(['t/0/1', 't/1/1', 't/2/1']);
  });

  test('a queue is worked by two consumers: each message once, settled by PUBACK', async () => {
    server = await new MqttServer().start();
    const got: string[][] = [[], []];
    for (const mine of got) {
      const consumer = await client(version);
      consumer.on('message', (_, payload) => mine.push(payload.toString()));
      await consumer.subscribeAsync('$queue/orders', { qos: 1 });
    }
    const publisher = await client(version);
    const publishes = [];
    for (let at = 0; at < 300; at++) {
      publishes.push(publisher.publishAsync('$queue/orders', `${at}`, { qos: 1 }));
    }
    await Promise.all(publishes);
    await until(() => server.queues.settlements.length === 300);
    expect(new Set(got.flat()).size).toBe(300);
    expect(got[0]?.length).toBeGreaterThan(50);
    expect(got[1]?.length).toBeGreaterThan(50);
  });

  test('a session that is kept gets its messages after a reconnect', async () => {
    server = await new MqttServer().start();
    const session = {
      clientId: 'kept',
      clean: false,
      ...(version === 5 && { properties: { sessionExpiryInterval: 600 } }),
    };
    const first = await client(version, session);
    await first.subscribeAsync('t', { qos: 2 });
    await first.endAsync();
    const publisher = await client(version);
    for (const qos of [1, 2] as const) await publisher.publishAsync('t', `QoS ${qos}`, { qos });
    const got: string[] = [];
    // Messages come with CONNACK: the listener must be there before.
    const second = connect(`mqtt://127.0.0.1:${server.port}`, {
      protocolVersion: version,
      ...session,
    });
    clients.push(second);
    second.on('message', (_, payload) => got.push(payload.toString()));
    await until(() => got.length >= 2);
    expect(got).toEqual(['QoS 1', 'QoS 2']);
  });
});
