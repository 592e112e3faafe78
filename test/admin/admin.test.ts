/** The admin service over a real socket and real gRPC, on top of a `QueueAdmin` in memory. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdminClient } from '../../src/admin/client.ts';
import { ADMIN_DEFAULTS, type AdminLimits } from '../../src/admin/limits.ts';
import { AdminServer } from '../../src/admin/server.ts';
import { REFUSAL_STATUS } from '../../src/admin/status.ts';
import { ADMIN_REFUSALS, AdminError, type Offset } from '../../src/broker/ports.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { scratchDirectory } from '../support/broker-process.ts';
import { FakeClusterAdmin } from '../support/fake-cluster-admin.ts';
import { FakeQueueAdmin, fakeDefinition } from '../support/fake-queue-admin.ts';
import { silentLog } from '../support/silent-log.ts';

let folder = '';
let path = '';
let admin: FakeQueueAdmin;
let cluster: FakeClusterAdmin;
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await scratchDirectory('admin');
  path = join(folder, 'admin.sock');
  admin = new FakeQueueAdmin();
  cluster = new FakeClusterAdmin();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function served(limits: Partial<AdminLimits> = {}): Promise<AdminServer> {
  const place = { path, ownFolder: true };
  const options = { place, limits: { ...ADMIN_DEFAULTS, ...limits } };
  const server = new AdminServer({ queues: () => admin, cluster }, silentLog, options);
  await server.start();
  closing.push(() => server.stop());
  return server;
}

async function connected(timeoutMs = 10_000): Promise<AdminClient> {
  const client = await AdminClient.open(path, timeoutMs);
  closing.push(() => client.close());
  return client;
}

/** More than an HTTP/2 connection holds, so that back-pressure is met. */
function bytes(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + seed) % 256);
}

describe('every call', () => {
  it('list: summaries with their definitions arrive as they are', async () => {
    const definition = fakeDefinition('orders', {
      type: 'stream',
      topics: ['$queue/orders/#', 'm/+/é'],
      limits: {
        ...DEFAULT_LIMITS,
        retry: { minMs: 7, maxMs: 70, multiplier: 1.5, jitter: 0.25 },
        ttlMs: 2 ** 50,
        retention: { ageMs: 5_000, bytes: 2 ** 50, messages: 3 },
        singleActiveConsumer: true,
        overflow: 'drop-head',
        capture: 'async',
        defaultGroup: 'client',
        groupStart: 'next',
        deadLetter: '$dlq/orders',
        maxPriority: 9,
      },
    });
    admin.add(definition);
    admin.add(fakeDefinition('bills'));
    await served();
    const client = await connected();
    const list = await client.list('', 10);
    expect(list).toEqual(await admin.list('', 10));
    expect(list[1]?.definition).toEqual(definition);
  });

  it('show: groups, what holds space and what is damaged', async () => {
    const queue = admin.add(fakeDefinition('orders'), [
      { name: 'default', consumers: 2, delivered: 5 },
      { name: 'audit@eu/#', kind: 'automatic', filter: 'eu/#', floor: 3, stuck: 3, lost: [3, 8] },
    ]);
    for (let i = 0; i < 9; i += 1) admin.publish('orders', `${i}`);
    queue.heldBy = { group: 'default', offset: 0 as Offset };
    queue.damaged = [[3 as Offset, 4 as Offset]];
    await served();
    const client = await connected();
    const detail = await client.show('orders');
    expect(detail).toEqual(await admin.show('orders'));
    expect(detail.groups.map(({ stuck }) => stuck)).toEqual([undefined, 3]);
    expect(detail.groups.map(({ lost }) => lost)).toEqual([undefined, [3, 8]]);
  });

  it('declare: what was asked for is what there is', async () => {
    await served();
    const client = await connected();
    const definition = fakeDefinition('orders', { limits: { ...DEFAULT_LIMITS, maxMessages: 5 } });
    expect(await client.declare(definition)).toBe('created');
    expect(await client.declare(definition)).toBe('same');
    expect(admin.queues.get('orders')?.definition).toEqual(definition);
    expect(await client.declare(fakeDefinition('orders'))).toBe('updated');
  });

  it('purge, move, seek, delete a group, delete', async () => {
    admin.add(fakeDefinition('orders', { type: 'stream' }), [{ name: 'a' }, { name: 'b' }]);
    admin.add(fakeDefinition('other'));
    for (let i = 0; i < 5; i += 1) admin.publish('orders', `${i}`);
    await served();
    const client = await connected();
    expect(await client.seek('orders', 'a', { kind: 'last' })).toBe(4);
    expect(await client.seek('orders', 'a', { kind: 'offset', offset: 2 })).toBe(2);
    expect(await client.seek('orders', 'a', { kind: 'time', ms: 0 })).toBe(0);
    expect(await client.move({ name: 'orders', group: 'a', to: 'other', max: 2 })).toBe(2);
    expect(await client.purge('orders', 'a')).toBe(3);
    expect(await client.purge('orders', undefined)).toBe(5);
    await client.deleteGroup('orders', 'a');
    await client.delete('orders');
    expect(admin.asked).toEqual([
      'seek: orders a {"kind":"last"}',
      'seek: orders a {"kind":"offset","offset":2}',
      'seek: orders a {"kind":"time","ms":0}',
      'move: orders a other 2',
      'purge: orders a',
      'purge: orders undefined',
      'deleteGroup: orders a',
      'delete: orders',
    ]);
  });

  it('peek: payload, topic, origin and every property survive', async () => {
    admin.add(fakeDefinition('orders'));
    const properties = {
      contentType: 'text/plain',
      correlationId: bytes(300, 1),
      replyTo: 'answers/1',
      messageId: 'm-1',
      userProperties: [
        ['a', '1'],
        ['a', '2'],
        ['ü', ''],
      ] as const,
      expirySeconds: 4_294_967_295,
      priority: 0,
      timestampMs: 1_700_000_000_123,
      payloadIsText: false,
    };
    admin.publish('orders', bytes(7_000, 2), { properties, qos: 2, retain: true, topic: 'm/ü' });
    admin.publish('orders', '');
    await served();
    const client = await connected();
    const [first, second] = await client.peek('orders', 0 as Offset, 10);
    const [sent] = admin.queues.get('orders')?.messages ?? [];
    expect(first).toEqual(sent);
    expect(first?.origin.user).toBe('ann');
    expect(second?.origin).toEqual({ clientId: 'till-1', protocol: 'mqtt' });
    expect(second?.message.payload).toEqual(new Uint8Array(0));
    expect(second?.message.properties).toBeUndefined();
  });
});

describe('pages', () => {
  it('ten thousand queues come in order, each once', async () => {
    for (let i = 0; i < 10_000; i += 1) admin.add(fakeDefinition(`queue-${i}`));
    await served();
    const client = await connected();
    const names = (await client.list('', 20_000)).map(({ definition }) => definition.name);
    expect(names).toEqual([...admin.queues.keys()].sort());
  });

  it('queues with the longest topics fit, a page after the other', async () => {
    const topics = Array.from({ length: 64 }, (_, at) => `$queue/${at}/${'x'.repeat(65_000)}`);
    for (const name of ['a', 'b', 'c']) admin.add(fakeDefinition(name, { topics }));
    await served();
    const client = await connected(60_000);
    const list = await client.list('', 10);
    expect(list.map(({ definition }) => definition.topics.length)).toEqual([64, 64, 64]);
  });

  it('the largest messages fit, and a page of small ones holds many', async () => {
    admin.add(fakeDefinition('large'));
    for (let i = 0; i < 3; i += 1) admin.publish('large', bytes(8 * 2 ** 20, i));
    admin.add(fakeDefinition('small'));
    for (let i = 0; i < 3_000; i += 1) admin.publish('small', `${i}`);
    await served();
    const client = await connected(60_000);
    let offset = 0;
    for (;;) {
      const [message] = await client.peek('large', offset as Offset, 1_000);
      if (message === undefined) break;
      // Compared by hand: a matcher takes a minute for it.
      expect(Buffer.compare(message.message.payload, bytes(8 * 2 ** 20, offset))).toBe(0);
      offset = message.offset + 1;
    }
    expect(offset).toBe(3);
    const page = await client.peek('small', 100 as Offset, 1_000);
    expect(page.map((each) => each.offset)).toEqual(page.map((_, at) => 100 + at));
    expect(page).toHaveLength(1_000);
  });
});

describe('what cannot be done', () => {
  it.each(ADMIN_REFUSALS)('%s arrives as such, with its words', async (code) => {
    admin.gate = () => Promise.reject(new AdminError(code, `why: ü%20 "${code}"`));
    await served();
    const client = await connected();
    const refusal = await client.show('orders').catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(AdminError);
    expect(refusal).toMatchObject({ code, message: `why: ü%20 "${code}"` });
    expect(Object.keys(REFUSAL_STATUS)).toContain(code);
  });

  it('words of any length and with half characters do not break the answer', async () => {
    admin.gate = () =>
      Promise.reject(new AdminError('invalid', `\ud800${'\ud83d\ude00'.repeat(9_999)}`));
    await served();
    const client = await connected();
    await expect(client.show('orders')).rejects.toMatchObject({ code: 'invalid' });
  });

  it('a bug of the broker is told as one, and the next request is served', async () => {
    admin.gate = () => Promise.reject(new TypeError('x is not a function'));
    await served();
    const client = await connected();
    await expect(client.show('orders')).rejects.toMatchObject({ code: 'failed' });
    admin.gate = () => Promise.resolve();
    expect(await client.list('', 1)).toEqual([]);
  });

  it('words and numbers that no queue can have are refused before the broker is asked', async () => {
    await served();
    const client = await connected();
    const wrong = {
      ...DEFAULT_LIMITS,
      overflow: 'constructor',
    } as unknown as typeof DEFAULT_LIMITS;
    await expect(client.declare(fakeDefinition('a', { limits: wrong }))).rejects.toMatchObject({
      code: 'invalid',
    });
    await expect(client.move({ name: 'a', group: 'b', to: 'c', max: 0 })).rejects.toMatchObject({
      code: 'invalid',
    });
    await expect(client.peek('a', 0 as Offset, 0)).rejects.toMatchObject({ code: 'invalid' });
    await expect(client.seek('a', 'b', { kind: 'offset', offset: 2 ** 60 })).rejects.toMatchObject({
      code: 'invalid',
    });
    expect(admin.asked).toEqual([]);
  });

  it('no answer in time is told as that; the place comes back when the broker answers', async () => {
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    admin.gate = () => gate;
    await served({ requestsMax: 2 });
    const client = await connected(200);
    const late = await Promise.allSettled([client.list('', 1), client.list('', 1)]);
    expect(late).toMatchObject([{ reason: { code: 'timeout' } }, { reason: { code: 'timeout' } }]);
    await expect(client.list('', 1)).rejects.toMatchObject({ code: 'busy' });
    open();
    await expect.poll(() => client.list('', 1).catch(() => undefined)).toEqual([]);
  });

  it('the broker ends a request by itself, whatever deadline the caller gave', async () => {
    admin.gate = () => new Promise(() => undefined);
    await served({ requestMs: 50 });
    const client = await connected(60_000);
    await expect(client.list('', 1)).rejects.toMatchObject({ code: 'timeout' });
  });

  it('a request beyond the bound of bytes is refused by either side', async () => {
    await served();
    const client = await connected();
    const topics = Array.from({ length: 200 }, () => 'x'.repeat(65_535));
    await expect(client.declare(fakeDefinition('a', { topics }))).rejects.toMatchObject({
      code: 'too-large',
    });
    expect(admin.asked).toEqual([]);
  });

  it('a broker that stops answers what is under way, and then nobody is there', async () => {
    admin.gate = () =>
      new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    const server = await served();
    const client = await connected();
    const under = client.list('', 1);
    await expect.poll(() => admin.asked.length).toBe(1);
    await server.stop();
    expect(await under).toEqual([]);
    await expect(client.list('', 1)).rejects.toMatchObject({ code: 'unreachable' });
    await expect(AdminClient.open(path, 1_000)).rejects.toMatchObject({ code: 'unreachable' });
  });
});
