/** C19: what a client asks of a queue that this node does not know yet waits for a look. */

import { afterEach, describe, expect, test } from 'vitest';

import { FakeQueueClient } from '../../support/fake-queue-client.ts';
import { MqttServer, type RawClient, type ServerPacket, until } from '../../support/mqtt-server.ts';

const ORDERS = '$queue/orders';
const STREAM = { type: 'stream', defaultGroup: 'client' } as const;

let server: MqttServer;
afterEach(() => server.stop());

async function startShared(): Promise<FakeQueueClient> {
  const queues = new FakeQueueClient('orders', 'mqtt');
  queues.isShared = true;
  server = await new MqttServer({}, {}, queues).start();
  return queues;
}

/** Publishes a settlement and gives its answer. */
async function settle(
  client: RawClient,
  topic: string,
  userProperties: Record<string, string>,
): Promise<ServerPacket> {
  client.publish(topic, '', { qos: 1, messageId: 1, properties: { userProperties } });
  return client.expect('puback');
}

describe('C19: a settlement for a queue that this node does not know yet', () => {
  test('waits for a look, and then means the queue that shows', async () => {
    const queues = await startShared();
    queues.look = (name) => {
      if (queues.queues.named(name) === undefined) queues.declare(name, undefined, STREAM);
      return Promise.resolve(true);
    };
    const client = await server.client();
    await settle(client, '$queue/late/$commit', { 'group-id': 'g', offset: '0' });
    expect(queues.settlements).toMatchObject([{ queue: 'late', outcome: 'commit' }]);
  });

  test.each([
    [true, 0x90, 'there is no such queue'],
    [false, 0x80, 'not settled in time; say it again'],
  ])('is refused by what the look says (known: %s)', async (isKnown, reasonCode, words) => {
    const queues = await startShared();
    queues.look = () => Promise.resolve(isKnown);
    const client = await server.client();
    const puback = await settle(client, '$queue/nowhere/$ack', { 'group-id': 'g' });
    expect(puback).toMatchObject({ reasonCode });
    expect((puback['properties'] as Record<string, string>)['reasonString']).toBe(words);
    expect(queues.lookedUp).toEqual(['nowhere']);
  });
});

describe('C19: a subscription to a queue that this node does not know yet', () => {
  test('is granted when a look shows the queue', async () => {
    const queues = await startShared();
    queues.look = (name) => {
      queues.declare(name);
      return Promise.resolve(true);
    };
    const client = await server.client();
    expect(await client.subscribe('$queue/late', 1)).toMatchObject({ granted: [1] });
    expect(queues.requests).toHaveLength(1);
  });

  test.each([
    [true, 0x80, 'there is no such queue'],
    [false, 0x83, 'is not known now'],
  ])('is refused by what the look says (known: %s)', async (isKnown, reasonCode, words) => {
    const queues = await startShared();
    queues.look = () => Promise.resolve(isKnown);
    const client = await server.client();
    const suback = await client.subscribe('$queue/nowhere', 1);
    expect(suback).toMatchObject({ granted: [reasonCode] });
    expect((suback['properties'] as Record<string, string>)['reasonString']).toContain(words);
    expect(queues.lookedUp).toEqual(['nowhere']);
  });

  test('to one that was made anew elsewhere finds the new one, once', async () => {
    const queues = await startShared();
    queues.attachMode = 'manual';
    queues.look = (name) => {
      if (queues.lookedUp.length === 1) queues.remove(name);
      if (queues.lookedUp.length === 1) queues.declare(name);
      return Promise.resolve(true);
    };
    const client = await server.client();
    const answer = client.subscribe(ORDERS, 1);
    await until(() => queues.requests.length === 1);
    queues.refuse('queue-deleted', 'gone');
    await until(() => queues.requests.length === 2);
    const [first, second] = queues.requests;
    expect(second?.queueId).not.toBe(first?.queueId);
    queues.attach();
    expect(await answer).toMatchObject({ granted: [1] });
    const other = client.subscribe('$queue/orders/eu', 1);
    await until(() => queues.requests.length === 3);
    queues.refuse('queue-deleted', 'gone');
    await until(() => queues.requests.length === 4);
    queues.refuse('queue-deleted', 'gone');
    expect(await other).toMatchObject({ granted: [0x80] });
  });
});
