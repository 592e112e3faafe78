/** Who comes in and what he may do, packet by packet. */

import { generate, type Packet } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Access, AccessSettings } from '../../../src/access/access.ts';
import type { BrokerOptions } from '../../../src/broker/broker.ts';
import { defaultDefinition } from '../../../src/machine/default-definition.ts';
import type { AccessControl, Claim } from '../../../src/protocol/access.ts';
import { MqttListener } from '../../../src/protocol/mqtt/listener.ts';
import type { TransportEvents } from '../../../src/protocol/transport.ts';
import { AccessFiles, reload } from '../../support/access-files.ts';
import {
  ANN,
  BOB,
  granted,
  KEPT,
  leave,
  OLGA,
  PROTOCOL,
  publish,
  RULES,
} from '../../support/access-questions.ts';
import { doorOf, transportOf } from '../../support/door-of.ts';
import { FakeQueueClient } from '../../support/fake-queue-client.ts';
import {
  type Fields,
  MqttServer,
  type RawClient,
  textOf,
  until,
} from '../../support/mqtt-server.ts';

let files: AccessFiles;
let server: MqttServer;
let access: Access;
let queues: FakeQueueClient;
let asked = 0;

beforeEach(async () => {
  files = await AccessFiles.make();
  await files.user('ann', 'tea for two');
  await files.user('bob', 'b');
  await files.user('olga', 'o', 'ops');
  await files.rule(...RULES);
});

afterEach(async () => {
  await server.stop();
  await files.remove();
});

async function start(
  settings: Partial<AccessSettings> = {},
  options: BrokerOptions = {},
): Promise<void> {
  access = await files.read(settings);
  queues = new FakeQueueClient('orders', 'bills', 'mqtt');
  server = await new MqttServer({ access }, options, queues).start();
}

let answer: AccessControl['admit'];
const fakeAccess = {
  version: 1,
  admit: (claim: Claim) => {
    asked++;
    return answer(claim);
  },
  exchange: () => undefined,
  onChange: (): void => {},
  mayPublish: () => true,
  isTakenBack: () => false,
  mayDeclare: () => true,
};

/** With answers of the test's own. */
async function startWith(admit: AccessControl['admit']): Promise<void> {
  asked = 0;
  answer = admit;
  server = await new MqttServer({ access: fakeAccess }).start();
}

describe('CONNECT', () => {
  test.each([
    [5, ANN, 0],
    [5, { username: 'ann', password: 'tea for tw0' }, 0x86],
    [5, { username: 'ann', password: '' }, 0x86],
    [5, { username: 'ann' }, 0x86],
    [5, { username: 'Ann', password: 'tea for two' }, 0x86],
    [5, { username: 'nobody', password: 'b' }, 0x86],
    [5, { username: 'x'.repeat(20_000), password: 'b' }, 0x86],
    [5, {}, 0x87],
    [4, ANN, 0],
    [4, { username: 'ann', password: 'no' }, 4],
    [4, {}, 5],
  ] as const)('version %s, %j: %s', async (version, who, code) => {
    await start();
    const client = await server.open(version);
    const connack = await client.connect(who);
    expect(version === 5 ? connack['reasonCode'] : connack['returnCode']).toBe(code);
    if (code !== 0) expect(await client.ended()).toEqual([]);
    const { badCredentials, notAuthorized } = access.counters;
    expect(badCredentials + notAuthorized).toBe(code === 0 ? 0 : 1);
  });

  test('what is sent behind it happens when it is granted, and not before, nor else', async () => {
    await start();
    const reader = await server.client(ANN);
    await reader.subscribe('rooms/#', 1);
    const packets = (client: RawClient, who: Fields): void => {
      client.send({ cmd: 'connect', clean: true, clientId: '', ...PROTOCOL, ...who });
      client.publish('rooms/1', String(who['username']), { qos: 1, messageId: 1 });
      client.send({ cmd: 'pingreq' });
    };
    const refused = await server.open();
    packets(refused, { username: 'ann', password: 'no' });
    expect((await refused.ended()).map(({ cmd }) => cmd)).toEqual(['connack']);
    const good = await server.open();
    packets(good, ANN);
    await good.expect('connack');
    await good.expect('puback');
    await good.expect('pingresp');
    expect(textOf(await reader.expect('publish'))).toBe('ann');
    await reader.quiet();
  });

  test('a client that goes while its password is checked leaves nothing', async () => {
    await start({ maxAtATime: 1 });
    const clients = await Promise.all(Array.from({ length: 5 }, () => server.open()));
    for (const client of clients) {
      client.send({ cmd: 'connect', clean: true, clientId: 'c', ...PROTOCOL, ...ANN });
    }
    for (const client of clients) client.destroy();
    await until(() => server.listener.connectionCount === 0 && access.waiting === 0);
    const next = await server.client(BOB);
    expect(next.connack).toMatchObject({ reasonCode: 0 });
    expect(server.listener.sessions.count).toBe(1);
  });

  test('one out of time is cut, also while it waits for its check', async () => {
    await startWith(() => new Promise<never>(() => {}));
    const client = await server.open();
    client.send({ cmd: 'connect', clean: true, clientId: 'c', ...PROTOCOL, ...ANN });
    client.send({ cmd: 'pingreq' });
    await until(() => asked === 1);
    server.clock.advance(10_001);
    server.listener.sweep();
    expect(await client.ended()).toEqual([]);
    expect(server.listener.sessions.count).toBe(0);
  });

  test('who sends on while its password is checked is not read any more', async () => {
    await startWith(() => new Promise<never>(() => {}));
    const done: string[] = [];
    let events: TransportEvents | undefined;
    const note = (what: string) => (): void => {
      done.push(what);
    };
    const transport = transportOf({
      attach: (given) => void (events = given),
      introduced: note('introduced'),
      admitted: note('admitted'),
      write: note('write'),
      pause: note('pause'),
      resume: note('resume'),
      end: note('end'),
      cut: note('cut'),
    });
    const { broker } = server;
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const listener = new MqttListener(broker, log, {
      doors: [doorOf(transport)],
      access: fakeAccess,
    });
    await listener.start();
    const connect = { cmd: 'connect', clean: true, clientId: 'c', ...PROTOCOL, ...ANN };
    events?.received(generate(connect as unknown as Packet, { protocolVersion: 5 }));
    events?.received(Buffer.from([0xc0, 0]));
    expect(done).toEqual(['introduced', 'pause', 'pause']);
    events?.closed(undefined);
    await listener.stop();
  });

  test('too many that wait: the broker is busy (0x89, 3.1.1: 3)', async () => {
    await startWith(() => ({ refused: 'busy' }));
    expect(await (await server.open()).connect(ANN)).toMatchObject({ reasonCode: 0x89 });
    expect(await (await server.open(4)).connect(ANN)).toMatchObject({ returnCode: 3 });
  });

  test('a will needs the right to publish it', async () => {
    await start();
    const will = { topic: 'elsewhere', payload: 'x', qos: 0, retain: false };
    const refused = await (await server.open()).connect({ ...ANN, will });
    expect(refused).toMatchObject({ reasonCode: 0x87 });
    const old = await (await server.open(4)).connect({ ...ANN, will });
    expect(old).toMatchObject({ returnCode: 5 });
    const topic = 'rooms/last';
    const good = await (await server.open()).connect({ ...ANN, will: { ...will, topic } });
    expect(good).toMatchObject({ reasonCode: 0 });
  });

  test('clients without a name come in where that is allowed, and rules judge them', async () => {
    await start({ anonymous: true });
    const client = await server.client();
    expect(await publish(client, 'open')).toBe(0);
    expect(await publish(client, 'rooms/1')).toBe(0x87);
    const wrong = await (await server.open()).connect({ username: 'ann', password: 'no' });
    expect(wrong).toMatchObject({ reasonCode: 0x86 });
  });
});

describe('a publish that no rule allows', () => {
  test.each([
    [1, 'puback'],
    [2, 'pubrec'],
  ] as const)('at QoS %s: %s 0x87, nobody gets it, and the id is free', async (qos, answer) => {
    await start();
    const all = await server.client(OLGA);
    await all.subscribe('#', 0);
    const client = await server.client(ANN);
    for (const topic of ['elsewhere', 'rooms/secret', '$SYS/broker/x']) {
      client.publish(topic, 'x', { qos, messageId: 7 });
      const refused = await client.expect(answer);
      expect(refused).toMatchObject({ reasonCode: 0x87, messageId: 7 });
    }
    client.publish('rooms/1', 'y', { qos, messageId: 7 });
    expect(await client.expect(answer)).toMatchObject({ reasonCode: 0 });
    expect(await all.expect('publish')).toMatchObject({ topic: 'rooms/1' });
    await all.quiet();
    expect(access.counters.denied.publish).toBe(3);
  });

  test('at QoS 0 is dropped and counted, in both versions', async () => {
    await start();
    for (const version of [4, 5] as const) {
      const client = await server.client(BOB, version);
      client.publish('rooms/1', 'x');
      await client.quiet();
    }
    expect(access.counters.denied.publish).toBe(2);
    expect(server.listener.counters.refusedPublishes).toBe(2);
  });

  test.each([1, 2])(
    '3.1.1 has no word for it: at QoS %s it is closed [MQTT-3.3.5-2]',
    async (qos) => {
      await start();
      const client = await server.client(BOB, 4);
      client.publish('rooms/1', 'x', { qos, messageId: 1 });
      expect(await client.ended()).toEqual([]);
    },
  );

  test('is judged by its topic also when it says an alias', async () => {
    await start();
    const client = await server.client(ANN);
    const properties = { topicAlias: 1 };
    expect(await publish(client, 'elsewhere', { properties })).toBe(0x87);
    expect(await publish(client, '', { properties })).toBe(0x87);
    expect(await publish(client, 'rooms/1', { properties })).toBe(0);
    expect(await publish(client, '', { properties })).toBe(0);
  });

  test('is denied each time, whatever came between', async () => {
    await start();
    const client = await server.client(ANN);
    for (let at = 0; at < 200; at++) {
      const isGood = at % 3 === 0;
      const topic = `${isGood ? 'rooms' : 'halls'}/${at % 7}`;
      expect(await publish(client, topic)).toBe(isGood ? 0 : 0x87);
      expect(await publish(client, topic)).toBe(isGood ? 0 : 0x87);
    }
  });
});

describe('a subscription', () => {
  test.each([
    ['rooms/#', 1],
    ['rooms/+/x', 1],
    ['own/bob/#', 1],
    ['own/ann/#', 0x87],
    ['own/+/#', 0x87],
    ['#', 0x87],
    ['+/1', 0x87],
    ['$SYS/#', 0x87],
    ['$share/g/rooms/#', 1],
    ['$share/g/#', 0x87],
    ['$queue/orders', 0x87],
    ['$share/g/$queue/orders', 0x87],
  ])('of bob to %s: %s', async (filter, code) => {
    await start();
    const client = await server.client(BOB);
    expect(await granted(client, filter)).toBe(code);
    const publisher = await server.client(OLGA);
    expect(await publish(publisher, 'other')).toBe(0);
    await client.quiet();
    expect(access.counters.denied.subscribe + access.counters.denied.consume).toBe(
      code === 1 ? 0 : 1,
    );
  });

  test('of very many filters: so many are looked up, the others are refused as too many', async () => {
    await start();
    const client = await server.client(BOB);
    const subscriptions = Array.from({ length: 1500 }, () => ({ topic: '#', qos: 1 }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    const codes = (await client.expect('suback'))['granted'];
    expect(codes).toEqual([...Array(1000).fill(0x87), ...Array(500).fill(0x97)]);
    expect(access.counters.denied.subscribe).toBe(1000);
  });

  test('of 3.1.1 that is denied: 0x80, the others of its packet are granted', async () => {
    await start();
    const client = await server.client(BOB, 4);
    const subscriptions = ['#', 'rooms/1', 'own/x'].map((topic) => ({ topic, qos: 1 }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    expect((await client.expect('suback'))['granted']).toEqual([0x80, 1, 0x80]);
  });
});

describe('a queue', () => {
  test('is consumed and settled by those who may consume it, whoever publishes to it', async () => {
    await start();
    const client = await server.client(ANN);
    expect(await granted(client, '$queue/orders/eu/#')).toBe(1);
    expect(await granted(client, '$queue/bills')).toBe(0x87);
    expect(await publish(client, '$queue/bills')).toBe(0);
    const properties = { userProperties: { 'group-id': 'default', 'message-id': 'x' } };
    const verbs = ['$ack', '$nack', '$reject', '$extend', '$commit'];
    for (const verb of verbs) {
      expect(await publish(client, `$queue/bills/${verb}`, { properties })).toBe(0x87);
      expect(await publish(client, `$queue/orders/${verb}`, { properties })).toBe(0x83);
    }
    expect(access.counters.denied).toMatchObject({ publish: 0, consume: 6 });
  });

  test('tells its consumers whose a message is, and nobody else can', async () => {
    await start();
    const client = await server.client(ANN);
    await client.subscribe('$queue/orders', 1);
    const publisher = await server.client(OLGA);
    const properties = { userProperties: { '_flux.user': 'ann' } };
    expect(await publish(publisher, '$queue/orders', { properties })).toBe(0);
    const delivery = await client.expect('publish');
    const told = (delivery['properties'] as { userProperties: object }).userProperties;
    expect(told).toMatchObject({ '_flux.user': 'olga' });
  });

  test('is made on its first use for those alone who may declare it', async () => {
    const autoQueue = (name: string) => defaultDefinition(name, 'classic');
    await files.rule(...RULES, 'allow user ann declare $queue/made', 'allow * consume $queue/+');
    await start({}, { autoQueue });
    const client = await server.client(ANN);
    expect(await publish(client, '$queue/other')).toBe(0x87);
    expect(await granted(client, '$queue/other')).toBe(0x80);
    expect(queues.declared).toEqual([]);
    expect(await publish(client, '$queue/made')).toBe(0);
    expect(queues.declared.map(({ name }) => name)).toEqual(['made']);
    const operator = await server.client(OLGA);
    expect(await granted(operator, '$queue/other')).toBe(1);
    expect(access.counters.denied.declare).toBe(2);
  });

  test('is not consumed by a SUBSCRIBE that new rules overtook', async () => {
    await start();
    queues.attachMode = 'manual';
    const client = await server.client(ANN);
    const subscriptions = [{ topic: '$queue/orders', qos: 1 }];
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    await client.quiet();
    await files.rule(...RULES.filter((rule) => !rule.includes('consume')));
    await reload(access);
    queues.attach();
    expect((await client.expect('suback'))['granted']).toEqual([0x87]);
    await until(() => queues.closings.length === 1);
    const operator = await server.client(OLGA);
    expect(await publish(operator, '$queue/orders')).toBe(0);
    await client.quiet();
  });

  test('that other nodes may have is looked for, and not made', async () => {
    const autoQueue = (name: string) => defaultDefinition(name, 'classic');
    access = await files.read();
    queues = new FakeQueueClient('orders', 'mqtt');
    queues.isShared = true;
    server = await new MqttServer({ access }, { autoQueue }, queues).start();
    const client = await server.client(ANN);
    expect(await publish(client, '$queue/other')).toBe(0x87);
    queues.look = (name) => {
      queues.declare(name);
      return Promise.resolve(true);
    };
    expect(await publish(client, '$queue/found')).toBe(0);
    expect(queues.declared).toEqual([]);
  });
});

describe('a session', () => {
  test('is that of its user: nobody else resumes it, ends it or takes it over', async () => {
    await start();
    const mine = await server.client({ ...ANN, clientId: 'c', ...KEPT });
    for (const clean of [true, false]) {
      const other = await (await server.open()).connect({ ...BOB, clientId: 'c', clean });
      expect(other).toMatchObject({ reasonCode: 0x87 });
    }
    await mine.quiet();
    await leave(mine);
    const other = await (await server.open()).connect({ ...BOB, clientId: 'c', clean: true });
    expect(other).toMatchObject({ reasonCode: 0x87 });
    const again = await server.client({ ...ANN, clientId: 'c', ...KEPT });
    expect(again.connack).toMatchObject({ sessionPresent: true });
  });

  test('with a subscription that is allowed no more begins anew, and what waits is gone', async () => {
    await start();
    const client = await server.client({ ...BOB, clientId: 'c', ...KEPT });
    await client.subscribe('rooms/#', 1);
    await leave(client);
    const publisher = await server.client(ANN);
    expect(await publish(publisher, 'rooms/1')).toBe(0);
    await files.rule(...RULES.filter((rule) => !rule.includes('bob')));
    await reload(access);
    const again = await server.client({ ...BOB, clientId: 'c', ...KEPT });
    expect(again.connack).toMatchObject({ sessionPresent: false });
    await again.quiet();
  });
});

describe('the log', () => {
  test('S12: has no password, and no name that came with a wrong one', async () => {
    await start();
    await (await server.open()).connect({ username: 'hunter2', password: 'swordfish' });
    await (await server.open()).connect({ username: 'ann', password: 'swordfish' });
    const client = await server.client(ANN);
    await publish(client, 'elsewhere');
    const told = JSON.stringify([server.log, files.log]);
    expect(told).toContain('"user":"ann"');
    for (const secret of ['hunter2', 'swordfish', 'tea for two', 'scrypt:']) {
      expect(told).not.toContain(secret);
    }
  });

  test('tells what is denied, and of very much only how much', async () => {
    await start();
    const client = await server.client(BOB);
    for (let at = 0; at < 1000; at++) client.publish(`no/${at}`, 'x');
    await client.quiet();
    const denied = files.log.filter(({ message }) => message === 'denied');
    expect(denied).toHaveLength(20);
    expect(denied[0]?.fields).toMatchObject({ user: 'bob', action: 'publish', topic: 'no/0' });
    expect(access.counters.denied.publish).toBe(1000);
  });
});
