/** O4: a service decides what no rule does; whatever fails allows nothing. */

import { afterEach, describe, expect, test } from 'vitest';

import { reload } from '../../support/access-files.ts';
import { granted, leave, publish } from '../../support/access-questions.ts';
import { AuthorizedWorld, type Posted, say } from '../../support/authorized-world.ts';
import { until } from '../../support/mqtt-server.ts';

let world: AuthorizedWorld;

afterEach(() => world.stop());

async function start(...parts: Parameters<typeof AuthorizedWorld.start>): Promise<void> {
  world = await AuthorizedWorld.start(...parts);
}

describe('the service', () => {
  test('is asked about what no rule decides, and about nothing else', async () => {
    await start();
    const client = await world.server.client({ clientId: 'c', username: 'ann', password: 'tea' });
    expect(await publish(client, 'open/x')).toBe(0);
    expect(await publish(client, 'closed/x')).toBe(0x87);
    expect(await granted(client, 'closed/x')).toBe(0x87);
    expect(world.asked).toEqual([]);
    expect(await publish(client, 'x/1')).toBe(0);
    expect(await granted(client, 'y/#')).toBe(1);
    expect(await granted(client, '$share/s/z')).toBe(1);
    expect(await granted(client, '$queue/orders/deep/#')).toBe(1);
    const common = { version: 1, user: 'ann', client_id: 'c' };
    expect(world.asked).toEqual([
      { ...common, action: 'publish', topic: 'x/1' },
      { ...common, action: 'subscribe', topic: 'y/#' },
      { ...common, action: 'subscribe', topic: 'z' },
      { ...common, action: 'consume', topic: '$queue/orders' },
    ]);
    const nobody = await world.server.client({ clientId: 'n' });
    expect(await publish(nobody, 'x/1')).toBe(0);
    expect(world.asked.at(-1)).toEqual({
      version: 1,
      user: null,
      client_id: 'n',
      action: 'publish',
      topic: 'x/1',
    });
  });

  test.each(['deny', 'ignore'])(
    'says %s: 0x87, counted, and the connection lives',
    async (word) => {
      await start();
      world.serve = () => say(word);
      const client = await world.server.client();
      expect(await publish(client, 'x')).toBe(0x87);
      expect(await publish(client, 'x', { qos: 1 })).toBe(0x87);
      expect(await granted(client, 'x')).toBe(0x87);
      expect(await granted(client, '$queue/orders')).toBe(0x87);
      expect(world.access.counters.denied).toMatchObject({ publish: 2, subscribe: 1, consume: 1 });
      const counters = world.access.verdicts?.callout.counters;
      expect(counters?.[word as 'deny' | 'ignore']).toBe(3);
      await client.quiet();
    },
  );

  test.each([
    ['nothing in time', 'timeout'],
    ['an error', 'error'],
    ['no word that is known', say('perhaps')],
    ['no JSON', { text: 'allow' }],
  ] as const)(
    'says %s: nothing is allowed, nothing kept, and to try again helps',
    async (...row) => {
      const posted: Posted = row[1];
      await start();
      world.serve = () => posted;
      const listening = await world.watcher();
      const client = await world.server.client();
      expect(await publish(client, 'x')).toBe(0x83);
      expect(await granted(client, 'x')).toBe(0x83);
      expect(await granted(client, '$queue/orders')).toBe(0x83);
      client.publish('x', 'lost', { qos: 0 });
      client.publish('x', 'twice', { qos: 2, messageId: 7 });
      expect(await client.expect('pubrec')).toMatchObject({ reasonCode: 0x83 });
      const old = await world.server.client({}, 4);
      expect(await granted(old, 'x')).toBe(0x80);
      old.publish('x', 'x', { qos: 1, messageId: 1 });
      expect(await old.ended()).toEqual([]);
      world.serve = () => say('allow');
      expect(await publish(client, 'x')).toBe(0);
      expect(await granted(client, 'x')).toBe(1);
      await listening.quiet();
      expect(world.server.listener.counters.refusedPublishes).toBe(4);
    },
  );

  test('fails too often: nobody asks it for a while', async () => {
    await start({ failures: 2 });
    world.serve = () => 'error';
    const client = await world.server.client();
    for (const topic of ['a', 'b', 'c', 'd']) expect(await publish(client, topic)).toBe(0x83);
    expect(world.asked).toHaveLength(2);
    expect(world.access.verdicts?.callout.counters).toMatchObject({ error: 2, open: 2 });
    world.nowMs += 5000;
    world.serve = () => say('allow');
    expect(await publish(client, 'a')).toBe(0);
  });

  test('has so many questions at a time, and so many wait: more are refused', async () => {
    await start({ maxAtATime: 1, maxWaiting: 1 });
    world.serve = world.hold;
    const clients = await Promise.all([1, 2, 3].map(() => world.server.client()));
    for (const [nth, client] of clients.entries()) {
      client.publish('x', 'x', { qos: 1, messageId: 1 });
      if (nth === 0) await until(() => world.held.length === 1);
      if (nth === 1) await until(() => world.access.verdicts?.callout.waiting === 1);
    }
    expect(await clients[2]?.expect('puback')).toMatchObject({ reasonCode: 0x83 });
    await world.answer('allow');
    expect(await clients[0]?.expect('puback')).toMatchObject({ reasonCode: 0 });
    await world.answer('deny');
    expect(await clients[1]?.expect('puback')).toMatchObject({ reasonCode: 0x87 });
  });
});

describe('an answer', () => {
  test('holds for its time, for the same client, action and topic', async () => {
    await start();
    const client = await world.server.client({ clientId: 'c' });
    for (let at = 0; at < 5; at++) expect(await publish(client, 'x')).toBe(0);
    expect(await publish(client, 'y')).toBe(0);
    expect(await publish(client, 'x')).toBe(0);
    expect(world.topics).toEqual(['publish x', 'publish y']);
    const other = await world.server.client({ clientId: 'd' });
    expect(await publish(other, 'x')).toBe(0);
    expect(await granted(other, 'x')).toBe(1);
    await leave(other);
    expect(world.asked).toHaveLength(4);
    world.nowMs = 999;
    expect(await publish(client, 'x')).toBe(0);
    expect(world.asked).toHaveLength(4);
    world.serve = () => say('deny');
    world.nowMs = 1000;
    expect(await publish(client, 'x')).toBe(0x87);
    expect(world.asked).toHaveLength(5);
    world.nowMs = 1099;
    expect(await publish(client, 'x')).toBe(0x87);
    expect(world.asked).toHaveLength(5);
    world.serve = () => say('allow');
    world.nowMs = 1100;
    expect(await publish(client, 'x')).toBe(0);
  });

  test('holds for its packet alone where nothing is kept', async () => {
    await start({ allowedMs: 0, deniedMs: 0 });
    const client = await world.server.client();
    expect(await publish(client, 'x')).toBe(0);
    expect(await publish(client, 'x')).toBe(0);
    expect(await granted(client, 'y')).toBe(1);
    expect(await granted(client, 'y')).toBe(1);
    expect(world.asked).toHaveLength(4);
    world.serve = () => say('deny');
    expect(await publish(client, 'x')).toBe(0x87);
    world.serve = () => say('allow');
    expect(await publish(client, 'x')).toBe(0);
    world.serve = () => 'error';
    expect(await publish(client, 'x')).toBe(0x83);
    // A rule denies, whatever was not answered before.
    expect(await publish(client, 'closed/x')).toBe(0x87);
    expect(await publish(client, 'x')).toBe(0x83);
    expect(await publish(client, 'closed/x')).toBe(0x87);
  });

  test('of before other rules is asked for again; one that comes behind them is not kept', async () => {
    await start();
    const client = await world.server.client();
    expect(await publish(client, 'x')).toBe(0);
    expect(await reload(world.access)).toBe(true);
    world.serve = world.hold;
    client.publish('x', 'x', { qos: 1, messageId: 1 });
    await until(() => world.held.length === 1);
    expect(await reload(world.access)).toBe(true);
    await world.answer('allow');
    expect(await client.expect('puback')).toMatchObject({ reasonCode: 0 });
    world.serve = () => say('deny');
    expect(await publish(client, 'x')).toBe(0x87);
    expect(world.asked).toHaveLength(3);
  });

  test('comes behind a rule that was made meanwhile', async () => {
    await start();
    world.serve = world.hold;
    const client = await world.server.client();
    client.publish('x', 'x', { qos: 1, messageId: 1 });
    await until(() => world.held.length === 1);
    await world.files.rule('deny * publish x');
    await reload(world.access);
    await world.answer('allow');
    expect(await client.expect('puback')).toMatchObject({ reasonCode: 0x87 });
  });
});
