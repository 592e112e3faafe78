import { afterEach, describe, expect, test } from 'vitest';

import { ENQUEUE_REFUSALS } from '../../../src/broker/ports.ts';
import { REFUSALS } from '../../../src/protocol/mqtt/refusals.ts';
import { FakeFreshness } from '../../support/fake-freshness.ts';
import { FakeQueueClient } from '../../support/fake-queue-client.ts';
import { MqttServer, type RawClient, textOf, until } from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

function puback(client: RawClient): Promise<unknown> {
  return client.expect('puback').then(({ messageId }) => messageId);
}

const ORDERS = '$queue/orders';

describe('acknowledgements', () => {
  test('a publish to a queue is acknowledged only after the shard gave the proof', async () => {
    await start();
    server.queues.mode = 'manual';
    const client = await server.client();
    client.publish(ORDERS, 'one', { qos: 1, messageId: 5 });
    await client.quiet();
    expect(server.queues.texts('orders')).toEqual(['one']);
    server.queues.answer(1);
    expect(await puback(client)).toBe(5);
  });

  test('come in the order of the publishes, although only some wait for the log [MQTT-4.6.0-2]', async () => {
    await start();
    server.queues.mode = 'manual';
    const client = await server.client();
    const topics = [ORDERS, 'live', ORDERS, 'live', 'live', ORDERS];
    for (const [at, topic] of topics.entries()) {
      client.publish(topic, 'x', { qos: at === 2 ? 2 : 1, messageId: at + 1 });
    }
    await client.quiet();
    server.queues.answer(1);
    expect([await puback(client), await puback(client)]).toEqual([1, 2]);
    await client.quiet();
    server.queues.answer(2);
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 3 });
    expect([await puback(client), await puback(client)]).toEqual([4, 5]);
    expect(await puback(client)).toBe(6);
  });

  test('hundreds in flight are answered in order', async () => {
    await start();
    server.queues.mode = 'manual';
    const client = await server.client();
    const count = 700;
    for (let at = 1; at <= count; at++) client.publish(ORDERS, 'x', { qos: 1, messageId: at });
    await client.quiet();
    for (let left = count; left > 0; left -= 7) server.queues.answer(7);
    for (let at = 1; at <= count; at++) expect(await puback(client)).toBe(at);
  });

  test('QoS 0 to a queue is stored and never answered', async () => {
    await start();
    const client = await server.client();
    client.publish(ORDERS, 'x');
    await client.quiet();
    await until(() => server.queues.unanswered === 0);
    await client.quiet();
    expect(server.queues.texts('orders')).toEqual(['x']);
  });

  test('outcomes that come after the connection is gone harm nobody', async () => {
    await start();
    server.queues.mode = 'manual';
    const client = await server.client();
    client.publish(ORDERS, 'x', { qos: 1, messageId: 1 });
    await client.quiet();
    client.destroy();
    await until(() => server.listener.connectionCount === 0);
    server.queues.answer(1);
    expect((await server.client()).connack).toMatchObject({ reasonCode: 0 });
  });
});

describe('refusals', () => {
  test.each(ENQUEUE_REFUSALS)('%s: a 5.0 client is told by its reason code', async (refusal) => {
    await start();
    server.queues.mode = 'manual';
    const client = await server.client();
    client.publish(ORDERS, 'x', { qos: 1, messageId: 1 });
    client.publish(ORDERS, 'x', { qos: 2, messageId: 2 });
    await client.quiet();
    server.queues.answer(2, refusal);
    const [reasonCode, words] = REFUSALS[refusal];
    const reasonString = refusal === 'not-leader' ? `${words}; no node leads it now` : words;
    const answer = { reasonCode, properties: { reasonString } };
    expect(reasonCode).toBeGreaterThanOrEqual(0x80);
    expect(await client.expect('puback')).toMatchObject({ messageId: 1, ...answer });
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 2, ...answer });
  });

  test('not-leader names the node that leads', async () => {
    await start();
    server.queues.mode = 'manual';
    server.queues.leader = 'node-2';
    const client = await server.client();
    client.publish(ORDERS, 'x', { qos: 1, messageId: 1 });
    await client.quiet();
    server.queues.answer(1, 'not-leader');
    const reasonString = `${REFUSALS['not-leader'][1]}; node-2 leads it`;
    expect(await client.expect('puback')).toMatchObject({ properties: { reasonString } });
  });

  test('a client that wants no problem information gets the code alone', async () => {
    await start({}, { maxTopicLevels: 2 });
    const client = await server.client({ properties: { requestProblemInformation: false } });
    client.publish('a/b/c', 'x', { qos: 1, messageId: 1 });
    const packet = await client.expect('puback');
    expect(packet).toMatchObject({ reasonCode: 0x90 });
    expect(packet['properties']).toBeUndefined();
  });

  test('a 3.1.1 client is closed without an acknowledgement', async () => {
    await start();
    server.queues.mode = 'manual';
    const client = await server.client({}, 4);
    client.publish(ORDERS, 'x', { qos: 1, messageId: 1 });
    client.publish(ORDERS, 'x', { qos: 1, messageId: 2 });
    await client.quiet();
    server.queues.answer(1, 'disk-full');
    expect(await client.ended()).toEqual([]);
    server.queues.answer(1);
  });

  test('P6: a publish above the maximum QoS disconnects its client with the reason, and is not taken', async () => {
    await start({ maxQos: 1 });
    const watcher = await server.client();
    await watcher.subscribe('#', 1);
    const client = await server.client();
    client.publish('t', 'x', { qos: 2, messageId: 1 });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x9b }]);
    const old = await server.client({}, 4);
    old.publish('t', 'x', { qos: 2, messageId: 1 });
    expect(await old.ended()).toEqual([]);
    await watcher.quiet();
  });

  test('RETAIN where there is none disconnects with 0x9A', async () => {
    await start({ retainAvailable: false });
    const client = await server.client();
    client.publish('t', 'x', { retain: true });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x9a }]);
  });
});

describe('receive maximum', () => {
  test('a 5.0 client that exceeds it is disconnected with 0x93', async () => {
    await start({ receiveMaximum: 2 });
    server.queues.mode = 'manual';
    const client = await server.client();
    for (let id = 1; id <= 3; id++) client.publish(ORDERS, 'x', { qos: 1, messageId: id });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x93 }]);
    expect(server.queues.texts('orders')).toHaveLength(2);
  });

  test('a QoS 2 publish counts until its PUBCOMP, or until it is refused', async () => {
    await start({ receiveMaximum: 2 }, { maxTopicLevels: 1 });
    const client = await server.client();
    for (let id = 1; id <= 10; id++) {
      client.publish('a/b', 'x', { qos: 2, messageId: id });
      expect(await client.expect('pubrec')).toMatchObject({ reasonCode: 0x90 });
    }
    for (let id = 1; id <= 10; id++) {
      client.publish('t', 'x', { qos: 2, messageId: id });
      await client.expect('pubrec');
      client.send({ cmd: 'pubrel', messageId: id });
      await client.expect('pubcomp');
    }
    for (let id = 1; id <= 2; id++) client.publish('t', 'x', { qos: 2, messageId: id });
    await client.expect('pubrec');
    await client.expect('pubrec');
    client.publish('t', 'x', { qos: 1, messageId: 3 });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x93 }]);
  });

  test('a 3.1.1 client, which knows none, is not read beyond it, and nothing is lost', async () => {
    await start({ receiveMaximum: 4 });
    server.queues.mode = 'manual';
    const client = await server.client({}, 4);
    for (let id = 1; id <= 20; id++) client.publish(ORDERS, `${id}`, { qos: 1, messageId: id });
    for (let id = 1; id <= 20; id += 4) {
      await until(() => server.queues.unanswered === 4);
      expect(server.queues.texts('orders')).toHaveLength(id + 3);
      server.queues.answer(4);
      for (let next = id; next < id + 4; next++) expect(await puback(client)).toBe(next);
    }
  });
});

describe('QoS 2 from a client', () => {
  test('a repeated PUBLISH before PUBREL is the same message; after PUBCOMP the id is a new one', async () => {
    await start();
    const client = await server.client();
    const publish = (text: string, dup: boolean): void =>
      client.publish(ORDERS, text, { qos: 2, messageId: 1, dup });
    publish('one', false);
    publish('one', true);
    await client.expect('pubrec');
    await client.expect('pubrec');
    publish('one', true);
    await client.expect('pubrec');
    client.send({ cmd: 'pubrel', messageId: 1 });
    await client.expect('pubcomp');
    publish('two', false);
    await client.expect('pubrec');
    expect(server.queues.texts('orders')).toEqual(['one', 'two']);
  });

  test('PUBREL of an unknown id is answered: 0x92 in 5.0', async () => {
    await start();
    const client = await server.client();
    client.send({ cmd: 'pubrel', messageId: 77 });
    expect(await client.expect('pubcomp')).toMatchObject({ messageId: 77, reasonCode: 0x92 });
    const old = await server.client({}, 4);
    old.send({ cmd: 'pubrel', messageId: 77 });
    expect(await old.expect('pubcomp')).toMatchObject({ messageId: 77 });
  });

  test('the id is known across connections of one session, while its outcome is open too', async () => {
    await start();
    server.queues.mode = 'manual';
    const session = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 60 } };
    const first = await server.client(session);
    first.publish(ORDERS, 'one', { qos: 2, messageId: 1 });
    await first.quiet();
    first.destroy();
    const second = await server.client(session);
    expect(second.connack).toMatchObject({ sessionPresent: true });
    second.publish(ORDERS, 'one', { qos: 2, messageId: 1, dup: true });
    await second.quiet();
    server.queues.answer(1);
    expect(await second.expect('pubrec')).toMatchObject({ messageId: 1 });
    second.destroy();
    const third = await server.client(session);
    third.send({ cmd: 'pubrel', messageId: 1 });
    await third.quiet();
    server.queues.answer(1);
    expect(await third.expect('pubcomp')).toMatchObject({ messageId: 1, reasonCode: 0 });
    expect(server.queues.texts('orders')).toEqual(['one']);
  });

  test('an outcome that was open over a reconnect and is a refusal is told on the new connection', async () => {
    await start();
    server.queues.mode = 'manual';
    const session = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 60 } };
    const first = await server.client(session);
    first.publish(ORDERS, 'one', { qos: 2, messageId: 1 });
    await first.quiet();
    const second = await server.client(session);
    second.publish(ORDERS, 'one', { qos: 2, messageId: 1, dup: true });
    await second.quiet();
    server.queues.answer(1, 'disk-full');
    expect(await second.expect('pubrec')).toMatchObject({ messageId: 1, reasonCode: 0x97 });
    second.publish(ORDERS, 'again', { qos: 2, messageId: 1 });
    await second.quiet();
    server.queues.answer(1);
    expect(await second.expect('pubrec')).toMatchObject({ messageId: 1 });
    expect(server.queues.texts('orders')).toEqual(['one', 'again']);
  });
});

describe('topic aliases from a client', () => {
  test('stand for the topic that they were last sent with', async () => {
    await start();
    const client = await server.client();
    const publish = (topic: string, topicAlias: number): void =>
      client.publish(topic, 'x', { properties: { topicAlias } });
    await client.subscribe('#', 0);
    publish('one', 1);
    publish('', 1);
    publish('two', 1);
    publish('', 1);
    const topics = [];
    for (let at = 0; at < 4; at++) topics.push((await client.expect('publish'))['topic']);
    expect(topics).toEqual(['one', 'one', 'two', 'two']);
  });

  test.each([
    ['above the maximum', 0x94, 'a', 65],
    ['that stands for nothing', 0x82, '', 1],
  ])('an alias %s disconnects with %i', async (_, reasonCode, topic, topicAlias) => {
    await start();
    const client = await server.client();
    client.publish(topic, 'x', { properties: { topicAlias } });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode }]);
  });
});

describe('back-pressure', () => {
  test('while the shard is behind, publishers to queues are not read; then all is stored', async () => {
    await start();
    const publisher = await server.client();
    const bystander = await server.client();
    await bystander.subscribe('live', 0);
    server.queues.writable = false;
    for (let id = 1; id <= 50; id++) publisher.publish(ORDERS, `${id}`, { qos: 1, messageId: id });
    await until(() => server.queues.texts('orders').length > 0);
    bystander.publish('live', 'x');
    expect(textOf(await bystander.expect('publish'))).toBe('x');
    await bystander.quiet();
    expect(server.queues.texts('orders')).toEqual(['1']);
    // Being kept waiting is not silence.
    server.queues.setWritable(true);
    for (let id = 1; id <= 50; id++) expect(await puback(publisher)).toBe(id);
    expect(server.queues.texts('orders')).toHaveLength(50);
  });

  test('while routes are not known to be current, publishers at QoS 1 are read up to a bound', async () => {
    const queues = new FakeQueueClient('orders', 'mqtt');
    const freshness = new FakeFreshness();
    queues.freshness = freshness;
    await start({}, {}, queues);
    const publisher = await server.client();
    const bystander = await server.client();
    await bystander.subscribe('live', 0);
    const payload = Buffer.alloc(1024 * 1024);
    for (let id = 1; id <= 12; id++) publisher.publish('big', payload, { qos: 1, messageId: id });
    await until(() => server.broker.isBehind);
    bystander.publish('live', 'x');
    expect(textOf(await bystander.expect('publish'))).toBe('x');
    await bystander.quiet();
    expect(server.broker.counters.published).toBe(9);
    // Nobody waits for a queue here.
    server.queues.writable = false;
    freshness.answer();
    for (let id = 1; id <= 12; id++) expect(await puback(publisher)).toBe(id);
    expect(server.broker.isBehind).toBe(false);
  });

  test('a publisher that is kept waiting is not cut for its silence', async () => {
    await start();
    const publisher = await server.client({ keepalive: 10 });
    server.queues.writable = false;
    publisher.publish(ORDERS, 'x', { qos: 1, messageId: 1 });
    await until(() => server.queues.texts('orders').length > 0);
    server.clock.advance(60_000);
    server.listener.sweep();
    server.queues.setWritable(true);
    expect(await puback(publisher)).toBe(1);
    await publisher.quiet();
  });

  test('a client that floods has its share of a turn: others are served meanwhile', async () => {
    await start();
    const flooder = await server.client();
    const other = await server.client();
    // Without a share, the 32,768 packets of a chunk would be read before others are answered.
    flooder.socket.write(Buffer.alloc(120_000, Buffer.from([0xc0, 0])));
    await flooder.expect('pingresp');
    await other.quiet();
    expect(flooder.buffered).toBeLessThan(30_000);
    for (let left = 60_000 - 1; left > 0; left--) await flooder.expect('pingresp');
  });
});
