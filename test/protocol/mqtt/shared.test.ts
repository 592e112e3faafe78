/** Shared subscriptions of ordinary topics, as clients see them (MQTT 5.0 section 4.8.2). */

import { afterEach, describe, expect, test } from 'vitest';

import {
  type Fields,
  MqttServer,
  type RawClient,
  type ServerPacket,
  textOf,
  until,
} from '../../support/mqtt-server.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<MqttServer> {
  server = await new MqttServer(...parts).start();
  return server;
}

const SHARE = '$share/workers/jobs/#';

interface Joining {
  readonly fields?: Fields;
  readonly version?: 4 | 5;
  readonly qos?: 0 | 1 | 2;
}

async function member({ fields = {}, version = 5, qos = 1 }: Joining = {}): Promise<RawClient> {
  const client = await server.client(fields, version);
  expect(await client.subscribe(SHARE, qos)).toMatchObject({ granted: [qos] });
  return client;
}

async function publish(count: number, qos: 0 | 1 | 2 = 1, fields: Fields = {}): Promise<void> {
  const publisher = await server.client();
  for (let at = 0; at < count; at++) {
    publisher.publish(`jobs/${at}`, `${at}`, { qos, messageId: at + 1, ...fields });
    if (qos > 0) await publisher.next();
  }
  await publisher.quiet();
}

/** All that is there now; acknowledged with `reasonCode`, or not at all. */
async function take(client: RawClient, reasonCode?: number): Promise<ServerPacket[]> {
  const got: ServerPacket[] = [];
  client.send({ cmd: 'pingreq' });
  for (;;) {
    const packet = await client.next();
    if (packet?.cmd !== 'publish') return got;
    got.push(packet);
    if (reasonCode === undefined || packet['qos'] !== 1) continue;
    client.send({ cmd: 'puback', messageId: packet['messageId'], reasonCode });
  }
}

async function texts(client: RawClient, reasonCode?: number): Promise<string[]> {
  return (await take(client, reasonCode)).map(textOf);
}

async function gone(client: RawClient): Promise<void> {
  const { connectionCount } = server.listener;
  client.destroy();
  await until(() => server.listener.connectionCount < connectionCount);
}

const KEPT = { clean: false, properties: { sessionExpiryInterval: 100 } };

describe('a shared subscription', () => {
  test.each([4, 5] as const)(
    'gives each message to one member, in turn, in MQTT %i [MQTT-4.8.2-1]',
    async (version) => {
      await start();
      const members = [await member({ version }), await member({ version })];
      await publish(6);
      const got = await Promise.all(members.map((each) => texts(each, 0)));
      expect(got.map((each) => each.length)).toEqual([3, 3]);
      expect(got.flat().sort()).toEqual(['0', '1', '2', '3', '4', '5']);
    },
  );

  test('respects the QoS that each member was granted [MQTT-4.8.2-3]', async () => {
    await start();
    const members = [await member({ qos: 0 }), await member({ qos: 1 }), await member({ qos: 2 })];
    await publish(3, 2);
    const got = await Promise.all(members.map((each) => take(each)));
    expect(got.map((each) => each.map(({ qos }) => qos))).toEqual([[0], [1], [2]]);
  });

  test('sends no retained messages when it begins; later ones keep RETAIN as it asked', async () => {
    await start();
    await publish(1, 1, { retain: true });
    const client = await server.client();
    await client.subscribe(SHARE, 1, {}, { rap: true });
    await client.quiet();
    await publish(1, 1, { retain: true });
    expect(await take(client)).toMatchObject([{ retain: true }]);
  });

  test('tells its subscription identifier, and a second subscription of the client its own', async () => {
    await start();
    const client = await server.client();
    await client.subscribe(SHARE, 1, { properties: { subscriptionIdentifier: 7 } });
    await client.subscribe('jobs/0', 1, { properties: { subscriptionIdentifier: 8 } });
    await publish(1);
    const properties = (await take(client)).map((packet) => packet['properties']);
    expect(properties).toMatchObject([
      { subscriptionIdentifier: 8 },
      { subscriptionIdentifier: 7 },
    ]);
  });

  test('No Local is a protocol error [MQTT-3.8.3-4]', async () => {
    await start();
    const client = await server.client();
    const subscriptions = [{ topic: SHARE, qos: 1, nl: true }];
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    expect(await client.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  test('ends with UNSUBSCRIBE of the same words, and counts as a subscription till then', async () => {
    await start({ maxSubscriptions: 1 });
    const client = await member();
    expect(await client.subscribe('$share/other/jobs/#', 1)).toMatchObject({ granted: [0x97] });
    const other = await member();
    const unsubscriptions = ['jobs/#', '$share/other/jobs/#', SHARE, SHARE];
    client.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions });
    const granted = [0x11, 0x11, 0, 0x11];
    expect(await client.expect('unsuback')).toMatchObject({ granted });
    await publish(2);
    expect(await texts(client)).toEqual([]);
    expect(await texts(other)).toEqual(['0', '1']);
    expect(server.broker.subscriptionCount).toBe(1);
  });

  test('passes over a member that may hold no more, until it may', async () => {
    await start();
    const slow = await member({ fields: { properties: { receiveMaximum: 1 } } });
    const quick = await member();
    await publish(5);
    expect(await texts(slow)).toHaveLength(1);
    expect(await texts(quick)).toHaveLength(4);
  });
});

describe('a member that is gone', () => {
  test('gets no more, and what it did not acknowledge at QoS 1 goes to another, once', async () => {
    await start();
    const first = await member();
    await publish(3);
    expect(await texts(first)).toEqual(['0', '1', '2']);
    const second = await member();
    const third = await member();
    await gone(first);
    const got = [...(await take(second, 0)), ...(await take(third, 0))];
    expect(got.map(textOf).sort()).toEqual(['0', '1', '2']);
    expect(got.every(({ dup }) => dup === false)).toBe(true);
    await gone(second);
    expect(await texts(third)).toEqual([]);
    expect(server.listener.sessions.totals.bytes).toBe(0);
  });

  test('hands on what waited for room, in its order', async () => {
    await start();
    const first = await member({ fields: { properties: { receiveMaximum: 1 } } });
    await publish(4, 2);
    expect(await texts(first)).toEqual(['0']);
    const second = await member({ qos: 2 });
    await gone(first);
    expect(await texts(second)).toEqual(['0', '1', '2', '3']);
  });

  test('and what it was sent at QoS 2 goes to nobody else [MQTT-4.8.2-5]', async () => {
    await start();
    const first = await member({ qos: 2 });
    await publish(1, 2);
    expect(await texts(first)).toEqual(['0']);
    const second = await member({ qos: 2 });
    await gone(first);
    expect(await texts(second)).toEqual([]);
  });

  test.each([0x80, 0x87, 0x97])(
    'an acknowledgement with %i ends a message: nobody else gets it [MQTT-4.8.2-6]',
    async (reasonCode) => {
      await start();
      const first = await member();
      await publish(1);
      expect(await texts(first, reasonCode)).toEqual(['0']);
      await first.quiet();
      const second = await member();
      await gone(first);
      expect(await texts(second)).toEqual([]);
    },
  );

  test('with nobody else, and a session that ended, takes its messages with it, counted', async () => {
    await start();
    const only = await member();
    await publish(2);
    expect(await texts(only)).toEqual(['0', '1']);
    await gone(only);
    const { totals } = server.listener.sessions;
    expect(totals).toMatchObject({ bytes: 0, dropped: 2 });
  });
});

describe('a persistent session as a member', () => {
  test('gets nothing while it is away and another is there', async () => {
    await start();
    const away = await member({ fields: { clientId: 'a', ...KEPT } });
    const here = await member();
    await gone(away);
    await publish(3);
    expect(await texts(here)).toEqual(['0', '1', '2']);
    const back = await server.client({ clientId: 'a', ...KEPT });
    expect(back.connack).toMatchObject({ sessionPresent: true });
    expect(await texts(back)).toEqual([]);
    await publish(2);
    expect(await texts(back)).toHaveLength(1);
  });

  test('alone, it finds everything when it comes back, and is a member again', async () => {
    await start();
    const away = await member({ fields: { clientId: 'a', ...KEPT } });
    await publish(1);
    expect(await texts(away)).toEqual(['0']);
    await gone(away);
    await publish(2);
    const back = await server.client({ clientId: 'a', ...KEPT });
    const got = await take(back, 0);
    expect(got.map(textOf)).toEqual(['0', '0', '1']);
    expect(got.map(({ dup }) => dup)).toEqual([true, false, false]);
  });

  test('what it was sent at QoS 2 is completed when it comes back [MQTT-4.8.2-4]', async () => {
    await start();
    const away = await member({ fields: { clientId: 'a', ...KEPT }, qos: 2 });
    await publish(1, 2);
    const [sent] = await take(away);
    const other = await member({ qos: 2 });
    await gone(away);
    expect(await texts(other)).toEqual([]);
    const back = await server.client({ clientId: 'a', ...KEPT });
    expect(await take(back)).toMatchObject([{ dup: true, messageId: sent?.['messageId'] }]);
  });

  test('when its session ends, what it kept goes to those that are left, away ones too', async () => {
    await start();
    const first = await member({ fields: { clientId: 'a', ...KEPT } });
    await gone(first);
    await publish(2);
    const second = await member({
      fields: { clientId: 'b', clean: false, properties: { sessionExpiryInterval: 1000 } },
    });
    await gone(second);
    server.clock.advance(101_000);
    server.listener.sweep();
    expect(server.listener.sessions.waiting).toBe(1);
    const back = await server.client({ clientId: 'b', ...KEPT });
    expect(await texts(back, 0)).toEqual(['0', '1']);
  });

  test('a client id that connects anew hands on what its old connection held', async () => {
    await start();
    const old = await member({ fields: { clientId: 'a', ...KEPT } });
    const other = await member();
    await publish(2);
    expect(await texts(old)).toEqual(['0']);
    expect(await texts(other, 0)).toEqual(['1']);
    const back = await server.client({ clientId: 'a', ...KEPT });
    expect(await texts(back)).toEqual([]);
    expect(await texts(other)).toEqual(['0']);
  });
});
