import { afterEach, describe, expect, test } from 'vitest';

import { MqttServer, type RawClient, until } from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

const ORDERS = '$queue/orders';
const KEPT = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 60 } };

async function start(): Promise<RawClient> {
  server = await new MqttServer().start();
  server.queues.mode = 'manual';
  return server.client(KEPT);
}

function publish(client: RawClient, text: string, messageId = 1, dup = false): void {
  client.publish(ORDERS, text, { qos: 2, messageId, dup });
}

function texts(): readonly string[] {
  return server.queues.texts('orders');
}

describe('a QoS 2 publish of a session that is kept', () => {
  test('Q26: its key is released, and that is stored, before PUBCOMP frees the packet id', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    server.queues.answer(1);
    await client.expect('pubrec');
    client.send({ cmd: 'pubrel', messageId: 1 });
    client.send({ cmd: 'pubrel', messageId: 1 });
    await client.quiet();
    expect(server.queues.releases).toEqual(server.queues.keys);
    expect(server.queues.releases).toMatchObject([{ ownerEpoch: 1, packetId: 1 }]);
    server.queues.answer(1);
    expect(await client.expect('pubcomp')).toMatchObject({ messageId: 1, reasonCode: 0 });
    publish(client, 'two');
    await client.quiet();
    server.queues.answer(1);
    await client.expect('pubrec');
    expect(texts()).toEqual(['one', 'two']);
  });

  test('Q26: a retry before PUBCOMP, on another connection, is not stored again', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    client.destroy();
    await until(() => server.queues.sessions.left.length === 1);
    // The outcome is not known: nobody hears it, and the session forgets it.
    server.queues.answer(1, 'timeout');
    const again = await server.client(KEPT);
    publish(again, 'one', 1, true);
    await again.quiet();
    expect(server.queues.keys).toMatchObject([
      { ownerEpoch: 1, packetId: 1 },
      { ownerEpoch: 2, packetId: 1 },
    ]);
    server.queues.answer(1);
    expect(await again.expect('pubrec')).toMatchObject({ messageId: 1 });
    expect(texts()).toEqual(['one']);
  });

  test('Q33: PUBREC tells of an unknown outcome only behind the release', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    server.queues.answer(1, 'timeout');
    await client.quiet();
    expect(server.queues.releases).toHaveLength(1);
    server.queues.answer(1);
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 1, reasonCode: 0x80 });
    publish(client, 'another');
    await client.quiet();
    server.queues.answer(1);
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 1 });
    expect(texts()).toEqual(['one', 'another']);
  });

  test('without the release the connection ends, and the retry finds its key', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    server.queues.answer(1, 'timeout');
    await client.quiet();
    server.queues.answer(1, 'unavailable');
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x83 }]);
    const again = await server.client(KEPT);
    publish(again, 'one', 1, true);
    await again.quiet();
    server.queues.answer(1);
    expect(await again.expect('pubrec')).toMatchObject({ messageId: 1 });
    expect(server.queues.keys).toHaveLength(2);
  });

  test('of a retry that waits on another connection, that one ends too', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    const again = await server.client(KEPT);
    publish(again, 'one', 1, true);
    await again.quiet();
    server.queues.answer(1, 'timeout');
    await again.quiet();
    server.queues.answer(1, 'timeout');
    expect(await again.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x83 }]);
    const third = await server.client(KEPT);
    publish(third, 'one', 1, true);
    await third.quiet();
    server.queues.answer(1);
    expect(await third.expect('pubrec')).toMatchObject({ messageId: 1 });
  });

  test('a PUBREL whose release is not confirmed ends the connection, and is said again', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    server.queues.answer(1);
    await client.expect('pubrec');
    client.send({ cmd: 'pubrel', messageId: 1 });
    await client.quiet();
    server.queues.answer(1, 'timeout');
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x83 }]);
    const again = await server.client(KEPT);
    again.send({ cmd: 'pubrel', messageId: 1 });
    await again.quiet();
    server.queues.answer(1);
    expect(await again.expect('pubcomp')).toMatchObject({ messageId: 1, reasonCode: 0 });
  });

  test('what was refused for certain is told at once, and has nothing to release', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    server.queues.answer(1, 'disk-full');
    expect(await client.expect('pubrec')).toMatchObject({ reasonCode: 0x97 });
    expect(server.queues.releases).toEqual([]);
  });

  test('no queue takes it: its key is kept with the session, and released like any other', async () => {
    const client = await start();
    const subscriber = await server.client();
    await subscriber.subscribe('t', 2);
    client.publish('t', 'x', { qos: 2, messageId: 1 });
    await client.expect('pubrec');
    expect(server.queues.sessions.receives).toEqual([1]);
    expect(await subscriber.expect('publish')).toMatchObject({ topic: 't' });
    client.send({ cmd: 'pubrel', messageId: 1 });
    await client.quiet();
    expect(server.queues.releases).toMatchObject([{ packetId: 1 }]);
    server.queues.answer(1);
    await client.expect('pubcomp');
    expect(server.queues.keys).toEqual([]);
  });

  test('no queue takes it, and its key is there: it is acknowledged, and nobody gets it', async () => {
    const client = await start();
    const subscriber = await server.client();
    await subscriber.subscribe('t', 2);
    server.queues.sessions.received = 'known';
    client.publish('t', 'x', { qos: 2, messageId: 1, dup: true });
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 1, reasonCode: 0 });
    await subscriber.quiet();
  });

  test('no queue takes it, and it is refused: not before its key is released', async () => {
    server = await new MqttServer({}, { maxRetainedMessages: 0 }).start();
    server.queues.mode = 'manual';
    const client = await server.client(KEPT);
    client.publish('t', 'x', { qos: 2, messageId: 1, retain: true });
    await client.quiet();
    await client.quiet();
    expect(server.queues.releases).toMatchObject([{ packetId: 1 }]);
    server.queues.answer(1);
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 1, reasonCode: 0x97 });
  });

  test('no queue takes it, and whether its key is kept is not known: the connection ends', async () => {
    const client = await start();
    server.queues.sessions.refusal = 'unavailable';
    client.publish('t', 'x', { qos: 2, messageId: 1 });
    await client.quiet();
    await client.quiet();
    server.queues.answer(1, 'unavailable');
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x83 }]);
  });

  test('of several that no queue takes, subscribers get them in their order', async () => {
    const client = await start();
    const subscriber = await server.client();
    await subscriber.subscribe('t', 2);
    for (let id = 1; id <= 3; id++) client.publish('t', `${id}`, { qos: 2, messageId: id });
    const got = [];
    for (let id = 1; id <= 3; id++) {
      const packet = await subscriber.expect('publish');
      got.push(String(packet['payload']));
    }
    expect(got).toEqual(['1', '2', '3']);
  });

  test('of a captured topic its key goes with it', async () => {
    const client = await start();
    server.queues.declare('archive', ['t']);
    client.publish('t', 'x', { qos: 2, messageId: 2 });
    await client.quiet();
    expect(server.queues.keys).toMatchObject([{ packetId: 2 }]);
    expect(server.queues.sessions.receives).toEqual([]);
  });

  test('a session that begins anew has another name in its keys', async () => {
    const client = await start();
    publish(client, 'one');
    await client.quiet();
    const clean = await server.client({ ...KEPT, clean: true });
    const [first] = server.queues.keys;
    publish(clean, 'two');
    await clean.quiet();
    expect(server.queues.keys[1]).toMatchObject({ packetId: 1 });
    expect(server.queues.keys[1]?.session).not.toBe(first?.session);
    expect(texts()).toEqual(['one', 'two']);
  });
});

test('a session that ends with its connection cannot repeat a publish, and has no keys', async () => {
  await start();
  const client = await server.client();
  publish(client, 'one');
  await client.quiet();
  server.queues.answer(1);
  await client.expect('pubrec');
  client.send({ cmd: 'pubrel', messageId: 1 });
  await client.expect('pubcomp');
  expect(server.queues.keys).toEqual([undefined]);
});

test('a settlement at QoS 2 has no key: settling twice is settling once', async () => {
  const client = await start();
  publish(client, 'one', 1);
  await client.quiet();
  server.queues.answer(1);
  await client.expect('pubrec');
  const userProperties = { 'message-id': '1-0-1-1', 'group-id': 'default' };
  const properties = { userProperties };
  client.publish(`${ORDERS}/$ack`, '', { qos: 2, messageId: 2, properties });
  expect(await client.expect('pubrec')).toMatchObject({ messageId: 2 });
  client.send({ cmd: 'pubrel', messageId: 2 });
  expect(await client.expect('pubcomp')).toMatchObject({ messageId: 2 });
  expect(server.queues.releases).toEqual([]);
});

test('at QoS 1 there is no key', async () => {
  const client = await start();
  client.publish(ORDERS, 'one', { qos: 1, messageId: 1 });
  await client.quiet();
  expect(server.queues.keys).toEqual([undefined]);
});
