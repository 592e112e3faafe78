import { afterEach, describe, expect, test } from 'vitest';

import type { Offset } from '../../../src/broker/ports.ts';
import { Session } from '../../../src/protocol/mqtt/session.ts';
import type { Attached, SessionOwner } from '../../../src/protocol/mqtt/sessions.ts';
import {
  type Fields,
  MqttServer,
  type RawClient,
  textOf,
  until,
} from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

const KEPT = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 100 } };

async function leave(client: RawClient): Promise<void> {
  const before = server.queues.sessions.left.length;
  client.destroy();
  await until(() => server.queues.sessions.left.length === before + 1);
}

async function publishAll(publisher: RawClient, topic: string, ...texts: string[]): Promise<void> {
  for (const text of texts) {
    publisher.publish(topic, text, { qos: 1, messageId: 1 });
    await publisher.expect('puback');
  }
}

async function take(client: RawClient, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    const packet = await client.expect('publish');
    found.push(textOf(packet));
    if (packet['qos'] === 1) client.send({ cmd: 'puback', messageId: packet['messageId'] });
  }
  return found;
}

describe('packet ids', () => {
  test('one in flight is not given again, however many are given', async () => {
    await start();
    const totals = { bytes: 0, maxBytes: 0, dropped: 0, expired: 0 };
    const settings = { clientId: 'a', user: undefined, maxMessages: 1, maxBytes: 1 };
    const session = new Session(settings, totals);
    const source = { isStream: false, acknowledged: (): void => {}, undeliverable: (): void => {} };
    const offset = 0 as Offset;
    for (const id of [1, 7, 65_535]) {
      session.inflight.set(id, { kind: 'queue', source, offset, term: 1, deliveryNumber: 1 });
    }
    const given = new Set<number>();
    for (let at = 0; at < 65_532; at++) given.add(session.nextPacketId());
    expect(given.size).toBe(65_532);
    for (const id of [0, 1, 7, 65_535, 65_536]) expect(given.has(id)).toBe(false);
    expect(session.nextPacketId()).toBe(2);
  });
});

describe('ownership', () => {
  test('P10: what a superseded owner does later touches nothing', async () => {
    await start();
    const { sessions } = server.listener;
    const user = { user: undefined, claimant: undefined };
    const who = { clientId: 'a', ...user, isNamed: true, will: undefined };
    const request = { ...who, mayResume: () => true, cleanStart: false, expirySeconds: 60 };
    const attach = (owner: SessionOwner): Promise<Attached | string> =>
      new Promise((resolve) => sessions.attach(owner, request, resolve));
    const owner = { takenOver: (): void => {} };
    const next = { takenOver: (): void => {} };
    const first = await attach(owner);
    const second = await attach(next);
    if (typeof first === 'string' || typeof second === 'string') throw new Error('refused');
    expect(second).toEqual({ session: first.session, present: true });
    const channel = { readiness: () => 'ready' as const, deliver: (): void => {} };
    second.session.channel = channel;
    sessions.detach(owner, first.session, undefined);
    expect(second.session.channel).toBe(channel);
    expect(server.queues.sessions.left).toEqual([]);
    sessions.detach(next, second.session, undefined);
    await until(() => server.queues.sessions.left.length === 1);
    expect(sessions.count).toBe(0);
  });
});

describe('a session that is kept', () => {
  test('gets what came while its client was away, in order, but no QoS 0', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 1);
    await leave(client);
    const publisher = await server.client();
    await publishAll(publisher, 't', '1', '2');
    publisher.publish('t', 'QoS 0');
    await publishAll(publisher, 't', '3');
    const again = await server.client(KEPT);
    expect(again.connack).toMatchObject({ sessionPresent: true });
    expect(await take(again, 3)).toEqual(['1', '2', '3']);
    await again.quiet();
    await publishAll(publisher, 't', '4');
    expect(await take(again, 1)).toEqual(['4']);
  });

  test('of 3.1.1 is resumed by 5.0 and the other way round', async () => {
    await start();
    const old = await server.client({ clientId: 'a', clean: false }, 4);
    await old.subscribe('t', 1);
    await leave(old);
    const publisher = await server.client();
    await publishAll(publisher, 't', '1');
    const client = await server.client(KEPT);
    expect(client.connack).toMatchObject({ sessionPresent: true });
    expect(await take(client, 1)).toEqual(['1']);
    const back = await server.client({ clientId: 'a', clean: false }, 4);
    expect(back.connack).toMatchObject({ sessionPresent: true });
  });

  test('that the store has ended begins anew', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 1);
    await leave(client);
    server.queues.sessions.end('a');
    const again = await server.client(KEPT);
    expect(again.connack).toMatchObject({ sessionPresent: false });
    await publishAll(await server.client(), 't', '1');
    await again.quiet();
  });

  test('ends with a clean start: nothing of it is left', async () => {
    await start();
    const client = await server.client(KEPT);
    await client.subscribe('t', 1);
    await leave(client);
    const publisher = await server.client();
    await publishAll(publisher, 't', '1');
    const clean = await server.client({ ...KEPT, clean: true });
    expect(clean.connack).toMatchObject({ sessionPresent: false });
    await publishAll(publisher, 't', '2');
    await clean.quiet();
    expect(server.listener.sessions.totals.bytes).toBe(0);
    expect(server.broker.subscriptionCount).toBe(0);
  });

  test('takes the expiry that DISCONNECT says: 0 ends it', async () => {
    await start();
    const client = await server.client(KEPT);
    client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
    await until(() => server.listener.sessions.count === 0);
    expect((await server.client(KEPT)).connack).toMatchObject({ sessionPresent: false });
  });

  test('without an expiry it ends with its connection', async () => {
    await start();
    const client = await server.client({ clientId: 'a', clean: false });
    await client.subscribe('t', 1);
    client.destroy();
    await until(() => server.listener.sessions.count === 0);
    expect(server.broker.subscriptionCount).toBe(0);
    const again = await server.client({ clientId: 'a', clean: false });
    expect(again.connack).toMatchObject({ sessionPresent: false });
  });

  test('has in its queue the bounds that are configured', async () => {
    const limits = { maxMessages: 7, maxBytes: 2048, overflow: 'reject-publish' } as const;
    const { maxMessages: maxQueuedMessages, maxBytes: maxQueuedBytes, overflow } = limits;
    await start({ maxQueuedMessages, maxQueuedBytes, overflow });
    await server.client(KEPT);
    expect(server.queues.sessions.claims).toEqual([
      { clientId: 'a', cleanStart: false, expirySeconds: 100, limits },
    ]);
  });
});

describe('a client that does not keep up', () => {
  test.each([
    ['messages', { maxQueuedMessages: 2 }],
    ['bytes', { maxQueuedBytes: 1100 }],
    ['bytes of all sessions', { maxTotalQueuedBytes: 1100 }],
  ])('has no more %s waiting than configured: what came first stays', async (_, options) => {
    await start(options);
    const slow = await server.client({ properties: { receiveMaximum: 1 } });
    await slow.subscribe('t', 1);
    const publisher = await server.client();
    const big = 'x'.repeat(200);
    await publishAll(publisher, 't', '0', `1${big}`, `2${big}`, `3${big}`, `4${big}`);
    expect(server.listener.sessions.totals.dropped).toBe(2);
    expect(await take(slow, 3)).toEqual(['0', `1${big}`, `2${big}`]);
    await slow.quiet();
    expect(server.listener.sessions.totals.bytes).toBe(0);
  });
});

describe('wills', () => {
  const will = (fields: Fields = {}): Fields => ({
    clientId: 'dying',
    will: { topic: 'w', payload: Buffer.from('will'), qos: 1, retain: false, ...fields },
  });

  async function watcher(): Promise<RawClient> {
    const client = await server.client();
    await client.subscribe('w', 1);
    return client;
  }

  test.each([
    ['its socket dies', (client: RawClient): void => client.destroy()],
    [
      'it says 0x04',
      (client: RawClient): void => client.send({ cmd: 'disconnect', reasonCode: 4 }),
    ],
    ['it breaks the protocol', (client: RawClient): void => client.sendBytes(0xf0, 0)],
    [
      'it is silent too long',
      (): void => {
        server.clock.advance(15_001);
        server.listener.sweep();
      },
    ],
  ])('is published when %s', async (_, how) => {
    await start();
    const watching = await watcher();
    how(await server.client({ ...will(), keepalive: 10 }));
    expect(await take(watching, 1)).toEqual(['will']);
  });

  test('is not published after a clean DISCONNECT', async () => {
    await start();
    const watching = await watcher();
    for (const version of [4, 5] as const) {
      const client = await server.client(will(), version);
      client.send({ cmd: 'disconnect', reasonCode: 0 });
      await client.ended();
    }
    await watching.quiet();
  });

  test('is published when another connection takes the client id over', async () => {
    await start();
    const watching = await watcher();
    await server.client(will());
    await server.client({ clientId: 'dying' });
    expect(await take(watching, 1)).toEqual(['will']);
  });

  test('with a delay waits for it, and not at all when the session is resumed', async () => {
    await start();
    const watching = await watcher();
    const { sessions } = server.queues;
    const delayed = {
      ...will({ properties: { willDelayInterval: 10 } }),
      clean: false,
      properties: { sessionExpiryInterval: 60 },
    };
    await leave(await server.client(delayed));
    await until(() => sessions.left.length === 1);
    sessions.passed(9_000);
    await watching.quiet();
    const again = await server.client(delayed);
    sessions.passed(9_000);
    await watching.quiet();
    await leave(again);
    await until(() => sessions.left.length === 2);
    sessions.passed(10_000);
    expect(await take(watching, 1)).toEqual(['will']);
  });

  test('with a delay beyond the session is published when the session ends', async () => {
    await start();
    const watching = await watcher();
    const properties = { sessionExpiryInterval: 5 };
    const delayed = {
      ...will({ properties: { willDelayInterval: 100 } }),
      clean: false,
      properties,
    };
    await leave(await server.client(delayed));
    await until(() => server.queues.sessions.left.length === 1);
    server.queues.sessions.passed(5000);
    expect(await take(watching, 1)).toEqual(['will']);
  });

  test('keeps its properties, and goes to a queue like any publish', async () => {
    await start();
    const properties = { contentType: 'x', correlationData: Buffer.from([1, 2]) };
    const client = await server.client(will({ topic: '$queue/orders', properties }));
    client.destroy();
    await until(() => server.queues.ready('orders').length === 1);
    expect(server.queues.ready('orders')[0]).toMatchObject({
      message: {
        payload: new TextEncoder().encode('will'),
        properties: { contentType: 'x', correlationId: new Uint8Array([1, 2]) },
      },
      origin: { clientId: 'dying' },
    });
  });
});
