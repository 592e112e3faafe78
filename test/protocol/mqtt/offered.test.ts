/** What a configuration leaves out, what CONNACK tells of it, and what becomes of who asks. */

import { afterEach, describe, expect, test } from 'vitest';

import { type Fields, MqttServer } from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

const IDENTIFIED: Fields = { properties: { subscriptionIdentifier: 1 } };

const LEFT_OUT = [
  ['wildcardsAvailable', 'wildcardSubscriptionAvailable', ['a/+', '$queue/orders/#'], {}, 0xa2],
  ['sharesAvailable', 'sharedSubscriptionAvailable', ['$share/g/a', '$share/g/$queue/a'], {}, 0x9e],
  [
    'subscriptionIdentifiersAvailable',
    'subscriptionIdentifiersAvailable',
    ['a', '$queue/orders'],
    IDENTIFIED,
    0xa1,
  ],
] as const;

describe('subscriptions that are not all there', () => {
  test.each(LEFT_OUT)(
    '%s off: CONNACK tells, and who asks in 5.0 is disconnected with the reason',
    async (option, told, filters, fields, reasonCode) => {
      await start({ [option]: false });
      for (const filter of filters) {
        const client = await server.client();
        expect(client.connack?.['properties']).toMatchObject({ [told]: false });
        const subscriptions = [
          { topic: 'plain', qos: 0 },
          { topic: filter, qos: 1 },
        ];
        client.send({ cmd: 'subscribe', messageId: 1, subscriptions, ...fields });
        expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode }]);
        expect(server.broker.subscriptionCount).toBe(0);
        expect(server.queues.requests).toEqual([]);
      }
    },
  );

  test.each(LEFT_OUT.slice(0, 2))(
    '%s off: a 3.1.1 client hears 0x80 for that filter, and has the others',
    async (option, _, filters) => {
      await start({ [option]: false });
      const client = await server.client({}, 4);
      const subscriptions = ['plain', ...filters].map((topic) => ({ topic, qos: 1 }));
      client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
      expect(await client.expect('suback')).toMatchObject({ granted: [1, 0x80, 0x80] });
      expect(server.broker.subscriptionCount).toBe(1);
    },
  );

  test('all on: CONNACK says nothing of them, which means that they are there', async () => {
    await start();
    const { connack } = await server.client();
    for (const [, told] of LEFT_OUT) expect(connack?.['properties']).not.toHaveProperty(told);
  });
});

describe('response information', () => {
  const asking = { requestResponseInformation: true };

  test('is told to a client that asks, with its client id, the made one too [MQTT-3.1.2-28]', async () => {
    await start({ responseInformation: 'replies/%c' });
    const named = await server.client({ clientId: "a$&'b", properties: asking });
    expect(named.connack?.['properties']).toMatchObject({
      responseInformation: "replies/a$&'b",
    });
    const { connack } = await server.client({ properties: asking });
    const properties = connack?.['properties'] as Record<string, string>;
    const id = properties['assignedClientIdentifier'];
    expect(properties['responseInformation']).toBe(`replies/${id}`);
  });

  test.each([{}, { requestResponseInformation: false }])(
    'is not told to a client that does not ask: %j',
    async (properties) => {
      await start({ responseInformation: 'replies/%c' });
      const { connack } = await server.client({ properties });
      expect(connack?.['properties']).not.toHaveProperty('responseInformation');
    },
  );

  test.each(['a/b', '#', 'a+'])(
    'S5: a client id that is more than a level of a topic (%s) is told nothing',
    async (clientId) => {
      await start({ responseInformation: 'replies/%c' });
      const { connack } = await server.client({ clientId, properties: asking });
      expect(connack?.['properties']).not.toHaveProperty('responseInformation');
    },
  );

  test('is not there unless it is configured', async () => {
    await start();
    const { connack } = await server.client({ properties: asking });
    expect(connack?.['properties']).not.toHaveProperty('responseInformation');
  });
});

describe('the payload format indicator', () => {
  const text = { properties: { payloadFormatIndicator: true } };
  const bytes = Buffer.from([0x61, 0xc3, 0x28]);

  test('says UTF-8, and the payload is not: refused with 0x99 at QoS 1 and 2', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('#', 2);
    client.publish('t', bytes, { qos: 1, messageId: 1, ...text });
    expect(await client.expect('puback')).toMatchObject({ messageId: 1, reasonCode: 0x99 });
    client.publish('t', bytes, { qos: 2, messageId: 2, ...text });
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 2, reasonCode: 0x99 });
    await client.quiet();
    client.publish('t', 'ä', { qos: 2, messageId: 2, ...text });
    expect(await client.expect('publish')).toMatchObject({
      properties: { payloadFormatIndicator: true },
    });
  });

  test('at QoS 0, which has no answer, the client is disconnected with 0x99', async () => {
    await start();
    const client = await server.client();
    client.publish('t', bytes, text);
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x99 }]);
  });

  test('of a will is looked at when it connects', async () => {
    await start();
    const will = { topic: 'w', payload: bytes, qos: 0, retain: false, ...text };
    const client = await server.open();
    expect(await client.connect({ will })).toMatchObject({ reasonCode: 0x99 });
  });

  test('that says bytes, or is not there, says nothing of the payload', async () => {
    await start();
    const client = await server.client();
    client.publish('t', bytes, { qos: 1, messageId: 1 });
    expect(await client.expect('puback')).toMatchObject({ reasonCode: 0 });
    const properties = { payloadFormatIndicator: false };
    client.publish('t', bytes, { qos: 1, messageId: 2, properties });
    expect(await client.expect('puback')).toMatchObject({ reasonCode: 0 });
  });
});

describe('topics of the broker itself', () => {
  test('$SYS/... takes no publish and no will of a client', async () => {
    await start();
    const client = await server.client();
    await client.subscribe('$SYS/#', 1);
    client.publish('$SYS/broker/uptime', 'lies', { qos: 1, messageId: 1, retain: true });
    expect(await client.expect('puback')).toMatchObject({ reasonCode: 0x90 });
    await client.quiet();
    expect(server.broker.retainedCount).toBe(0);
    const will = { topic: '$SYS/x', payload: Buffer.from('x'), qos: 0, retain: false };
    const dead = await server.open();
    expect(await dead.connect({ will })).toMatchObject({ reasonCode: 0x90 });
  });
});
