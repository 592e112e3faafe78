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

  test('when its session ends, what it kept goes with it; others keep their own', async () => {
    await start();
    const first = await member({ fields: { clientId: 'a', ...KEPT } });
    const second = await member({ fields: { clientId: 'b', ...KEPT } });
    await gone(first);
    await gone(second);
    await publish(4);
    server.queues.sessions.end('a');
    await publish(1);
    const back = await server.client({ clientId: 'b', ...KEPT });
    const got = await texts(back, 0);
    expect(got).toHaveLength(3);
    expect(got.at(-1)).toBe('0');
    expect(server.listener.sessions.waiting).toBe(0);
  });

  test('a client id that connects anew has what its old connection did not acknowledge', async () => {
    await start();
    const old = await member({ fields: { clientId: 'a', ...KEPT } });
    const other = await member();
    await publish(2);
    expect(await texts(old)).toHaveLength(1);
    expect(await texts(other, 0)).toHaveLength(1);
    const back = await server.client({ clientId: 'a', ...KEPT });
    expect(await take(back)).toMatchObject([{ dup: true, topic: 'jobs/0' }]);
    expect(await texts(other)).toEqual([]);
  });

  test('has what a clean member did not acknowledge, when no other is connected', async () => {
    await start();
    const clean = await member({ fields: { properties: { receiveMaximum: 2 } } });
    await publish(3);
    expect(await texts(clean)).toEqual(['0', '1']);
    await gone(await member({ fields: { clientId: 'a', ...KEPT } }));
    await gone(clean);
    const back = await server.client({ clientId: 'a', ...KEPT });
    expect(await texts(back, 0)).toEqual(['0', '1', '2']);
    expect(server.broker.lostByShares).toBe(0);
  });

  test('is passed over while it may hold no more', async () => {
    await start();
    const properties = { sessionExpiryInterval: 100, receiveMaximum: 1 };
    const slow = await member({ fields: { clientId: 'a', clean: false, properties } });
    const quick = await member({ fields: { clientId: 'b', ...KEPT } });
    await publish(5);
    expect(await texts(slow)).toHaveLength(1);
    expect(await texts(quick)).toHaveLength(4);
  });

  test('shares the work with others like it, also where all of them are busy', async () => {
    await start();
    const properties = { sessionExpiryInterval: 100, receiveMaximum: 1 };
    const names = ['a', 'b'];
    for (const clientId of names) {
      await member({ fields: { clientId, clean: false, properties } });
    }
    await publish(8);
    for (const name of names) expect(server.queues.stored(`$session/${name}`)).toHaveLength(4);
  });

  test('shares it with a clean one that is as busy', async () => {
    await start();
    const properties = { sessionExpiryInterval: 100, receiveMaximum: 1 };
    await member({ fields: { clientId: 'a', clean: false, properties } });
    await member({ fields: { properties: { receiveMaximum: 1 } } });
    await publish(10);
    expect(server.queues.stored('$session/a')).toHaveLength(5);
  });

  test('is given no more at once than it may hold while another could send it', async () => {
    await start();
    server.queues.mode = 'manual';
    const few = { sessionExpiryInterval: 100, receiveMaximum: 2 };
    await member({ fields: { clientId: 'a', clean: false, properties: few } });
    await member({ fields: { clientId: 'b', ...KEPT } });
    const publisher = await server.client();
    publisher.socket.cork();
    for (let id = 1; id <= 10; id++) publisher.publish('jobs', `${id}`, { qos: 1, messageId: id });
    publisher.socket.uncork();
    await until(() => server.queues.unanswered === 10);
    expect(server.queues.stored('$session/a')).toHaveLength(2);
    expect(server.queues.stored('$session/b')).toHaveLength(8);
  });
});

describe('what waits for a persistent session', () => {
  const fields = { clientId: 'a', ...KEPT };
  const back = (): Promise<RawClient> => server.client(fields);

  async function kept(qos: 1 | 2, identifier: number): Promise<void> {
    const client = await server.client(fields);
    const properties = { subscriptionIdentifier: identifier };
    await client.subscribe(SHARE, qos, { properties }, { rap: true });
    await gone(client);
  }

  test.each([
    [2, 2, 2],
    [2, 1, 1],
    [1, 2, 1],
  ] as const)(
    'of QoS %i at a subscription of %i comes at %i, as it asked',
    async (sent, granted, qos) => {
      await start();
      await kept(granted, 7);
      const userProperties = { a: '1' };
      await publish(1, sent, { retain: true, properties: { contentType: 'x', userProperties } });
      const [packet] = await take(await back());
      expect(packet).toMatchObject({ topic: 'jobs/0', qos, retain: true, dup: false });
      const properties = { contentType: 'x', userProperties, subscriptionIdentifier: 7 };
      expect({ ...(packet?.['properties'] as object) }).toEqual(properties);
    },
  );

  test('comes by the subscription as it is then; without one at its own QoS, and is not lost', async () => {
    await start();
    await kept(1, 7);
    await publish(2, 2);
    const first = await back();
    const got = await take(first);
    expect(got.map(({ qos }) => qos)).toEqual([1, 1]);
    await first.subscribe(SHARE, 2, { properties: { subscriptionIdentifier: 8 } });
    await gone(first);
    const second = await back();
    const properties = { subscriptionIdentifier: 8 };
    expect(await take(second)).toMatchObject([
      { qos: 2, dup: true, topic: 'jobs/0', properties },
      { qos: 2, dup: true, topic: 'jobs/1', properties },
    ]);
    second.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: [SHARE] });
    await second.expect('unsuback');
    await gone(second);
    const last = await take(await back());
    expect(last.map(({ qos }) => qos)).toEqual([2, 2]);
    expect(last.map((packet) => ({ ...(packet['properties'] as object) }))).toEqual([{}, {}]);
  });

  test('comes to a client of 3.1.1 too', async () => {
    await start();
    const old = { clientId: 'old', clean: false };
    await gone(await member({ fields: old, version: 4 }));
    await publish(2);
    expect(await texts(await server.client(old, 4), 0)).toEqual(['0', '1']);
  });

  test('is told from what a publisher says that it is', async () => {
    await start();
    const client = await server.client(fields);
    await client.subscribe('jobs/#', 1, { properties: { subscriptionIdentifier: 3 } });
    await client.subscribe(SHARE, 1, { properties: { subscriptionIdentifier: 4 } });
    await gone(client);
    const userProperties = { '_flux.share': '$share/workers/jobs/#', b: '2' };
    await publish(1, 1, { properties: { userProperties } });
    const got = (await take(await back())).map(({ properties }) => properties);
    expect(got).toMatchObject([{ subscriptionIdentifier: 3 }, { subscriptionIdentifier: 4 }]);
    expect(got.map((each) => Object.keys((each as Fields)['userProperties'] as object))).toEqual([
      ['b'],
      ['b'],
    ]);
  });

  test('is gone when it has expired', async () => {
    await start();
    await kept(1, 7);
    server.queues.age('$session/a', 60_000);
    await publish(1, 1, { properties: { messageExpiryInterval: 50 } });
    await publish(1, 1, { properties: { messageExpiryInterval: 100 } });
    const got = await take(await back());
    expect(got).toMatchObject([{ properties: { messageExpiryInterval: 40 } }]);
  });
});
