/**
 * Retained messages that a SUBSCRIBE of a durable session brings, through its queue: the same as a
 * clean session gets, and the way from the log to the queue whatever comes between (MQTT 5.0
 * sections 3.3.1.3, 3.8.3.1).
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withRetained } from '../../support/fake-retained.ts';
import {
  type Fields,
  MqttServer,
  type RawClient,
  type ServerPacket,
  textOf,
  until,
} from '../../support/mqtt-server.ts';

const KEPT: Fields = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 600 } };

let server: MqttServer;
let publisher: RawClient;

beforeEach(async () => {
  server = await new MqttServer({ maxInflight: 4 }, {}, withRetained('orders', 'mqtt')).start();
  await server.broker.load();
  publisher = await server.client();
});
afterEach(() => server.stop());

const store = () => server.queues.sessions;

async function retain(topic: string, text: string, fields: Fields = {}): Promise<void> {
  const { qos = 1 } = fields;
  publisher.publish(topic, text, { retain: true, qos: 1, messageId: 1, ...fields });
  if (qos === 0) return;
  await publisher.expect(qos === 1 ? 'puback' : 'pubrec');
  if (qos === 1) return;
  publisher.send({ cmd: 'pubrel', messageId: 1 });
  await publisher.expect('pubcomp');
}

async function kept(version: 4 | 5 = 5, fields: Fields = {}): Promise<RawClient> {
  const client = await server.open(version);
  const properties = { ...(KEPT['properties'] as Fields), ...(fields['properties'] as Fields) };
  await client.connect({ ...KEPT, ...(version === 5 && { properties }) });
  return client;
}

/** Whatever comes; a message is acknowledged. */
async function answered(client: RawClient): Promise<ServerPacket> {
  const packet = await client.next();
  if (packet === undefined) throw new Error('the connection is over');
  const { cmd, messageId } = packet;
  if (cmd === 'publish' && packet['qos'] === 1) client.send({ cmd: 'puback', messageId });
  return packet;
}

async function took(client: RawClient): Promise<ServerPacket> {
  const packet = await answered(client);
  if (packet.cmd !== 'publish') throw new Error(`got ${JSON.stringify(packet)}`);
  return packet;
}

/** Acknowledges all until one with this text. */
async function upTo(client: RawClient, last: string): Promise<string[]> {
  const texts: string[] = [];
  while (texts.at(-1) !== last) texts.push(textOf(await took(client)));
  return texts;
}

const owed = () =>
  store()
    .subscriptions('a')
    .flatMap(({ replay }) => replay ?? []);

async function lost(client: RawClient): Promise<void> {
  const { length } = store().left;
  client.destroy();
  await until(() => store().left.length === length + 1);
}

describe('a retained message', () => {
  test('comes as it was published, with RETAIN and the identifier of that subscription', async () => {
    const userProperties = { a: '1', b: '2' };
    await retain('t/1', 'one', { properties: { contentType: 'x', userProperties } });
    const client = await kept();
    await client.subscribe('#', 1, { properties: { subscriptionIdentifier: 3 } }, { rh: 2 });
    await client.subscribe('t/+', 1, { properties: { subscriptionIdentifier: 4 } });
    const packet = await took(client);
    expect(packet).toMatchObject({ topic: 't/1', qos: 1, retain: true, dup: false });
    expect(Number(packet['messageId']) % 2).toBe(1);
    const properties = { contentType: 'x', userProperties, subscriptionIdentifier: 4 };
    expect({ ...(packet['properties'] as object) }).toEqual(properties);
    await client.quiet();
    expect(owed()).toEqual([]);
  });

  test.each([
    [2, 2, 2],
    [2, 1, 1],
    [1, 2, 1],
    [0, 2, 0],
  ] as const)('of QoS %i to a subscription of %i comes at %i', async (sent, granted, qos) => {
    await retain('t', 'x', { qos: sent });
    const client = await kept();
    await client.subscribe('t', granted);
    expect(await client.expect('publish')).toMatchObject({ qos, retain: true });
  });

  test('comes to a client of 3.1.1 too', async () => {
    await retain('t', 'x');
    const client = await kept(4);
    await client.subscribe('t', 1);
    expect(await took(client)).toMatchObject({ topic: 't', retain: true });
  });

  test('says what is left of its expiry, and does not come when that is over', async () => {
    await retain('t/1', 'x', { properties: { messageExpiryInterval: 100 } });
    await retain('t/2', 'x', { properties: { messageExpiryInterval: 10 } });
    server.clock.advance(20_000);
    const client = await kept();
    await client.subscribe('t/#', 1);
    const left = { messageExpiryInterval: 80 };
    expect(await took(client)).toMatchObject({ topic: 't/1', properties: left });
    await client.quiet();
  });

  test('is not delayed, whatever its publisher wished', async () => {
    await retain('t', 'x', { properties: { userProperties: { 'x-delay': '60000' } } });
    const client = await kept();
    await client.subscribe('t', 1);
    await took(client);
  });
});

describe('SUBSCRIBE', () => {
  test.each([
    [0, 2],
    [1, 1],
    [2, 0],
  ])('with retain handling %i brings them so often when it comes twice: %i', async (rh, times) => {
    await retain('t', 'x');
    const client = await kept();
    for (const messageId of [1, 2]) {
      client.send({ cmd: 'subscribe', messageId, subscriptions: [{ topic: 't', qos: 1, rh }] });
    }
    const got: string[] = [];
    while (got.length < 2 + times) got.push((await answered(client)).cmd);
    expect(got.filter((cmd) => cmd === 'publish')).toHaveLength(times);
    await client.quiet();
    expect(owed()).toEqual([]);
  });

  test('is answered when the log has where they end, and brings nothing that came behind', async () => {
    await retain('t/1', 'retained');
    const client = await kept();
    await client.subscribe('t/#', 1);
    expect(store().moved).toMatchObject([{ filter: 't/#', next: 0, end: 1 }]);
    await retain('t/2', 'live');
    expect((await upTo(client, 'live')).toSorted()).toEqual(['live', 'retained']);
    await client.quiet();
  });

  test('with nothing to bring owes nothing', async () => {
    await retain('other', 'x');
    const client = await kept();
    await client.subscribe('t', 1);
    expect(owed()).toEqual([]);
    await client.quiet();
    // At QoS 0, of shares and of the broker's own topics the log has nothing to bring.
    const { length } = store().moved;
    await client.subscribe('other', 0);
    expect(textOf(await client.expect('publish'))).toBe('x');
    await client.subscribe('$share/g/other', 1);
    await client.subscribe('$SYS/#', 1);
    expect(store().moved).toHaveLength(length);
    await client.quiet();
  });

  test('of a clean session goes nowhere near the log', async () => {
    await retain('t', 'x');
    const client = await server.client();
    await client.subscribe('t', 1);
    expect(await took(client)).toMatchObject({ messageId: 1, retain: true });
    expect(store().replayed).toEqual([]);
  });

  test('brings many at the pace of the client, and one SUBSCRIBE behind the other', async () => {
    const texts = Array.from({ length: 50 }, (_none, at) => `${at}`);
    for (const text of texts) await retain(`t/${text}`, text);
    const client = await kept();
    const subscriptions = ['t/#', 't/7'].map((topic) => ({ topic, qos: 1 }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    await client.expect('suback');
    const first = [];
    for (let at = 0; at < 4; at++) first.push(await client.expect('publish'));
    await client.quiet();
    // What the client may hold, and no more.
    expect(store().replayed).toEqual([0, 1, 2, 3]);
    for (const { messageId } of first) client.send({ cmd: 'puback', messageId });
    const got = first.map(textOf);
    while (got.length < 51) got.push(textOf(await took(client)));
    expect(got).toEqual([...texts, '7']);
    await client.quiet();
    expect(owed()).toEqual([]);
  });
});

describe('what is owed', () => {
  const COUNT = 20;

  async function retained(): Promise<void> {
    for (let at = 0; at < COUNT; at++) await retain(`t/${at}`, `${at}`);
  }

  const texts = (from: number, to = COUNT): string[] =>
    Array.from({ length: to - from }, (_none, at) => `${from + at}`);

  test('goes on with the next connection; what was in flight comes with its packet id', async () => {
    await retained();
    const before = await kept();
    await before.subscribe('t/#', 1);
    await upTo(before, '9');
    const open = [];
    for (let at = 0; at < 4; at++) open.push(await before.expect('publish'));
    await lost(before);
    const after = await kept();
    for (const { messageId } of open) {
      const again = await took(after);
      expect(again).toMatchObject({ messageId, dup: true, retain: true });
    }
    expect(await upTo(after, '19')).toEqual(texts(14));
    await after.quiet();
    expect(owed()).toEqual([]);
  });

  test('begins with the next connection when nothing was known of its end', async () => {
    await retained();
    const before = await kept();
    store().refuseMoves = true;
    before.send({
      cmd: 'subscribe',
      messageId: 5,
      subscriptions: [{ topic: 't/#', qos: 1 }],
    });
    await before.ended();
    expect(owed()).toMatchObject([{ next: 0, end: 0 }]);
    store().refuseMoves = false;
    const after = await kept();
    expect(await upTo(after, '19')).toEqual(texts(0));
  });

  test('is over with UNSUBSCRIBE: what was not sent does not come', async () => {
    await retained();
    const client = await kept();
    await client.subscribe('t/#', 1);
    const sent = [];
    for (let at = 0; at < 4; at++) sent.push(await client.expect('publish'));
    client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['t/#'] });
    await client.expect('unsuback');
    for (const { messageId } of sent) client.send({ cmd: 'puback', messageId });
    await client.quiet();
    await client.subscribe('t/19', 1);
    expect(textOf(await took(client))).toBe('19');
  });

  test('does not come when it was removed or replaced before it was sent', async () => {
    await retained();
    const client = await kept();
    await client.subscribe('t/#', 1);
    const sent = [];
    for (let at = 0; at < 4; at++) sent.push(await client.expect('publish'));
    // The queue has some of them; the others are not there yet.
    for (const at of [4, 10]) await retain(`t/${at}`, '');
    await retain('t/11', 'newer');
    for (const { messageId } of sent) client.send({ cmd: 'puback', messageId });
    const got = await upTo(client, '19');
    const gone = new Set(['4', '10', '11']);
    const left = texts(4).filter((text) => !gone.has(text));
    expect(got.filter((text) => text !== '' && text !== 'newer')).toEqual(left);
    expect(got).toContain('newer');
  });

  /** Four of them are in the queue, and none is sent. */
  async function stored(): Promise<RawClient> {
    await retained();
    server.queues.attachMode = 'manual';
    const client = await kept();
    await client.subscribe('t/#', 1);
    await until(() => store().replayed.length === 4);
    await client.quiet();
    expect(store().replayed).toEqual([0, 1, 2, 3]);
    return client;
  }

  test('does not come from the queue either when it was removed or replaced', async () => {
    const before = await stored();
    await retain('t/0', '');
    await retain('t/2', 'newer');
    await lost(before);
    server.queues.attachMode = 'at-once';
    const after = await kept();
    const got = await upTo(after, '19');
    expect(got.filter((text) => text !== '' && text !== 'newer')).toEqual(['1', ...texts(3)]);
  });

  test('does not come from the queue either behind UNSUBSCRIBE', async () => {
    const client = await stored();
    client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['t/#'] });
    await client.expect('unsuback');
    await client.subscribe('t/19', 1, {}, { rh: 2 });
    server.queues.attach();
    await retain('t/19', 'live');
    expect(await upTo(client, 'live')).toEqual(['live']);
    await client.quiet();
  });

  test.each(['queue-full', 'timeout', 'unavailable'] as const)(
    'comes again when it is refused: %s',
    async (refusal) => {
      await retained();
      let steps = 0;
      store().replayOutcome = () => ([0, 2].includes(steps++) ? refusal : 'committed');
      const client = await kept();
      await client.subscribe('t/#', 1);
      expect(await upTo(client, '19')).toEqual(texts(0));
      expect(steps).toBeGreaterThan(COUNT + 1);
    },
  );

  test('leaves out what the session may not hold, and says so', async () => {
    await retained();
    store().replayOutcome = ({ at }) => (at % 7 === 5 ? 'too-large' : 'committed');
    const client = await kept();
    await client.subscribe('t/#', 1);
    const left = texts(0).filter((text) => Number(text) % 7 !== 5);
    const got: string[] = [];
    while (got.length < left.length) got.push(textOf(await took(client)));
    expect(got).toEqual(left);
    await until(() => owed().length === 0);
    const words = 'a retained message is larger than its session may hold';
    const lines = server.log.filter(({ message }) => message === words);
    expect(lines.map(({ fields }) => fields)).toMatchObject(
      ['t/5', 't/12', 't/19'].map((topic) => ({ client_id: 'a', topic })),
    );
  });
});
