/** Packets that a service is asked about, and what stays of what it granted. */

import { afterEach, describe, expect, test } from 'vitest';

import { type Authorized, authorizationOf } from '../../../src/protocol/mqtt/authorization.ts';
import type { PublishPacket } from '../../../src/protocol/mqtt/packet.ts';
import { reload } from '../../support/access-files.ts';
import { granted, KEPT, leave, publish } from '../../support/access-questions.ts';
import { AuthorizedWorld, say } from '../../support/authorized-world.ts';
import { textOf, until } from '../../support/mqtt-server.ts';
import { ASKS_NOBODY } from '../../support/rights.ts';

let world: AuthorizedWorld;

afterEach(() => world.stop());

async function start(...parts: Parameters<typeof AuthorizedWorld.start>): Promise<void> {
  world = await AuthorizedWorld.start(...parts);
}

describe('a packet that is asked about', () => {
  test('keeps its place, its bytes and its alias, and those behind it theirs', async () => {
    await start({}, ['allow * subscribe #', 'allow * publish known']);
    world.serve = world.hold;
    const listening = await world.watcher('#');
    const client = await world.server.client();
    const properties = { topicAlias: 1, correlationData: Buffer.from('c1') };
    client.publish('asked', 'first', { properties });
    client.publish('', 'second', { properties: { topicAlias: 1 } });
    client.publish('known', 'third', { properties: { topicAlias: 1 } });
    client.publish('', 'fourth', { properties: { topicAlias: 1 } });
    client.send({ cmd: 'pingreq' });
    await until(() => world.held.length === 1);
    // What comes in meanwhile is not read into the bytes of the first.
    client.publish('known', Buffer.alloc(100_000, 'z'));
    await listening.quiet();
    expect(client.buffered).toBe(0);
    await world.answer('allow');
    await client.expect('pingresp');
    const heard = [];
    for (let at = 0; at < 5; at++) heard.push(await listening.expect('publish'));
    const texts = heard.map((each) => [each['topic'], textOf(each).slice(0, 10)].join(' '));
    expect(texts).toEqual([
      'asked first',
      'asked second',
      'known third',
      'known fourth',
      'known zzzzzzzzzz',
    ]);
    const first = heard[0]?.['properties'] as Record<string, Buffer>;
    expect(first['correlationData']?.toString()).toBe('c1');
    expect(world.topics).toEqual(['publish asked']);
  });

  test('is gone with its connection, and was never taken', async () => {
    await start({}, ['allow * subscribe #']);
    world.serve = world.hold;
    const listening = await world.watcher('#');
    const client = await world.server.client({ ...KEPT, clientId: 'c' });
    client.publish('x', 'x', { qos: 2, messageId: 5 });
    await until(() => world.held.length === 1);
    client.destroy();
    await until(() => world.server.listener.connectionCount === 1);
    await world.answer('allow');
    await listening.quiet();
    world.serve = () => say('allow');
    const again = await world.server.client({ ...KEPT, clientId: 'c' });
    again.publish('x', 'again', { qos: 2, messageId: 5, dup: true });
    expect(await again.expect('pubrec')).toMatchObject({ reasonCode: 0 });
    expect(textOf(await listening.expect('publish'))).toBe('again');
  });

  test('does not count as silence of its client, whose deliveries go on', async () => {
    await start();
    world.serve = world.hold;
    const client = await world.server.client({ keepalive: 10 });
    await client.subscribe('open/#', 0);
    client.publish('x', 'x', { qos: 1, messageId: 1 });
    await until(() => world.held.length === 1);
    world.server.clock.advance(16_000);
    world.server.listener.sweep();
    const other = await world.server.client();
    other.publish('open/x', 'y');
    expect(textOf(await client.expect('publish'))).toBe('y');
    await world.answer('allow');
    await client.expect('puback');
  });

  test('settles for whoever may consume the queue', async () => {
    await start();
    world.serve = ({ action }) => say(action === 'consume' ? 'allow' : 'deny');
    const client = await world.server.client();
    // Allowed, and then not understood.
    expect(await publish(client, '$queue/orders/$ack')).toBe(0x83);
    expect(await publish(client, '$queue/orders/x')).toBe(0x87);
    expect(world.topics).toEqual(['consume $queue/orders', 'publish $queue/orders/x']);
  });

  test('may be a SUBSCRIBE of many filters: a hundred are asked about, the rest later', async () => {
    await start();
    world.serve = ({ topic }) => say(topic === 't/3' ? 'deny' : 'allow');
    const client = await world.server.client();
    const subscriptions = Array.from({ length: 120 }, (_, i) => ({ topic: `t/${i}`, qos: 1 }));
    const subscribe = async (messageId: number): Promise<number[]> => {
      client.send({ cmd: 'subscribe', messageId, subscriptions });
      client.send({ cmd: 'pingreq' });
      const { granted: codes } = await client.expect('suback');
      await client.expect('pingresp');
      return codes as number[];
    };
    const first = await subscribe(1);
    expect(first[3]).toBe(0x87);
    expect(first.filter((code) => code === 1)).toHaveLength(99);
    expect(first.slice(100)).toEqual(Array.from({ length: 20 }, () => 0x83));
    expect(world.asked).toHaveLength(100);
    const second = await subscribe(2);
    expect(second.filter((code) => code === 1)).toHaveLength(119);
    expect(world.asked).toHaveLength(120);
  });

  test('may be a SUBSCRIBE: behind a question without an answer there is none', async () => {
    await start();
    world.serve = ({ topic }) => (topic === 't/2' ? 'timeout' : say('allow'));
    const client = await world.server.client();
    const subscriptions = [1, 2, 3].map((nth) => ({ topic: `t/${nth}`, qos: 1 }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    expect((await client.expect('suback'))['granted']).toEqual([1, 0x83, 0x83]);
    expect(world.asked).toHaveLength(2);
  });
});

test('a packet that is held owns its bytes', async () => {
  let answered: (() => void) | undefined;
  const taken: Authorized[] = [];
  const authorization = authorizationOf(
    {
      user: undefined,
      isRevoked: false,
      hasEnded: false,
      ...ASKS_NOBODY,
      asks: true,
      knows: () => false,
      ask: () =>
        new Promise((resolve) => {
          answered = resolve;
        }),
      may: () => true,
      allows: () => true,
    },
    {
      broker: { maxTopicLength: 100 },
      topicOf: ({ topic }) => topic,
      take: (packet) => taken.push(packet),
    },
  );
  const received = Buffer.from('payload and correlation');
  const packet: PublishPacket = {
    kind: 'publish',
    topic: 'x',
    payload: received.subarray(0, 7),
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    properties: { correlationData: received.subarray(12) },
  };
  expect(authorization?.holds(packet)).toBe(true);
  received.fill('z');
  answered?.();
  await until(() => taken.length === 1);
  const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
  const correlationData = bytes('correlation');
  const owned = { ...packet, payload: bytes('payload'), properties: { correlationData } };
  expect(taken).toEqual([owned]);
});

describe('what was granted', () => {
  test('stays: a session comes back, and its subscription is not asked about again', async () => {
    await start();
    const first = await world.server.client({ ...KEPT, clientId: 'c' });
    expect(await granted(first, 'x')).toBe(1);
    await leave(first);
    world.serve = () => say('deny');
    world.nowMs += 10_000;
    const again = await world.server.client({ ...KEPT, clientId: 'c' });
    expect(again.connack?.['sessionPresent']).toBe(true);
    await reload(world.access);
    await again.quiet();
    expect(world.asked).toHaveLength(1);
    // A rule takes it back at once.
    await world.files.rule('deny * subscribe x');
    await reload(world.access);
    expect(await again.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
  });

  test('stays: a retained message, until a rule denies it', async () => {
    await start({}, ['allow * subscribe #']);
    const client = await world.server.client();
    expect(await publish(client, 'x', { retain: true })).toBe(0);
    await leave(client);
    world.serve = () => say('deny');
    world.nowMs += 10_000;
    const late = await world.watcher('#');
    expect(await late.expect('publish')).toMatchObject({ topic: 'x', retain: true });
    await world.files.rule('allow * subscribe #', 'deny * publish x');
    await reload(world.access);
    const later = await world.watcher('#');
    await later.quiet();
  });

  test.each([
    ['allow', say('allow'), 0, 0],
    ['deny', say('deny'), 0x87, 5],
    ['nothing in time', 'timeout', 0x89, 3],
  ] as const)('in CONNECT for the will: %s', async (_what, posted, code, oldCode) => {
    await start({}, ['allow * subscribe #']);
    world.serve = () => posted;
    const listening = await world.watcher('#');
    for (const version of [5, 4] as const) {
      const client = await world.server.open(version);
      const will = { topic: 'gone', payload: Buffer.from('x'), qos: 0, retain: false };
      const connack = await client.connect({ clientId: `c${version}`, will });
      expect(connack[version === 5 ? 'reasonCode' : 'returnCode']).toBe(
        version === 5 ? code : oldCode,
      );
      client.destroy();
      if (code === 0) expect(textOf(await listening.expect('publish'))).toBe('x');
      else await listening.quiet();
    }
    expect(world.topics).toEqual(['publish gone', 'publish gone']);
  });

  test('to a user who is taken away while his will is asked about: he does not come in', async () => {
    await start();
    world.serve = world.hold;
    const client = await world.server.open();
    const will = { topic: 'gone', payload: Buffer.from('x'), qos: 0, retain: false };
    const connecting = client.connect({ username: 'ann', password: 'tea', will });
    await until(() => world.held.length === 1);
    await world.files.user('bob', 'b');
    await world.files.user('ann', undefined);
    await reload(world.access);
    await world.answer('allow');
    expect(await connecting).toMatchObject({ reasonCode: 0x86 });
  });
});

test('a queue that is not there is made for whom a rule allows it, whatever the service says', async () => {
  await start();
  const rights = await world.access.admit({
    user: undefined,
    password: undefined,
    certificate: undefined,
    clientId: 'c',
    isGone: () => false,
  });
  if (!('rights' in rights)) throw new Error('was refused');
  expect(rights.rights.may('declare', '$queue/new')).toBe(false);
  expect(rights.rights.allows('declare', '$queue/new')).toBe(false);
  expect(world.access.mayDeclare({ user: undefined, clientId: 'c' }, 'new')).toBe(false);
});
