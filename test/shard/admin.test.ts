import { describe, expect, it } from 'vitest';
import type { AdminRefusal, QueueDetail, QueueSummary } from '../../src/broker/ports.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { detailIn, listPartIn, peekPartIn } from '../../src/shard/admin-requests.ts';
import type { AdminRequest, PeekPart } from '../../src/shard/admin-requests.ts';
import type { PlainData } from '../../src/shard/record-codec.ts';
import { decodeBody } from '../../src/shard/requests.ts';
import { StoredMessageView } from '../../src/shard/stored-message.ts';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';
import type { PlainClient } from '../support/shard-world.ts';

async function ask(client: PlainClient, request: AdminRequest): Promise<PlainData> {
  return decodeBody(await client.request(request));
}

async function show(client: PlainClient, name: string): Promise<QueueDetail> {
  return detailIn(await ask(client, { kind: 'show', name }));
}

async function list(client: PlainClient, after = '', max = 1000): Promise<readonly QueueSummary[]> {
  return listPartIn(await ask(client, { kind: 'list', after, max })).queues;
}

async function publish(client: PlainClient, queueId: number, texts: readonly string[]) {
  for (const text of texts) client.enqueue([queueId], text);
  client.send();
  await until(() => client.confirmed === client.next - 1);
}

const texts = (count: number): string[] => Array.from({ length: count }, (_none, at) => `m${at}`);

const bodies = ({ messages }: PeekPart): string[] =>
  messages.map(({ stored }) => {
    const view = new StoredMessageView(stored, 0, stored.length);
    return Buffer.from(view.payload).toString();
  });

const refusedAs = (code: AdminRefusal): unknown => expect.objectContaining({ code });

describe('an operator', () => {
  it('sees queues by name, with what is in them, and groups with who holds what', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: [queue('orders'), queue('audit'), queue('zoo')] });
    const orders = client.queues.get('orders') ?? 0;
    await publish(client, orders, texts(5));
    client.consume(1, orders, 2, { group: 'mail', filter: '' });
    client.send();
    await until(() => client.deliveries.length === 2);
    expect((await list(client)).map(({ definition }) => definition.name)).toEqual([
      'audit',
      'orders',
      'zoo',
    ]);
    expect((await list(client, 'audit', 1)).map(({ definition }) => definition.name)).toEqual([
      'orders',
    ]);
    expect(await list(client, 'zoo')).toEqual([]);
    const detail = await show(client, 'orders');
    expect(detail).toMatchObject({ start: 0, next: 5, depth: 5, consumers: 1, leaving: 0 });
    expect(detail.groups.map(({ name }) => name)).toEqual(['default', 'mail']);
    expect(detail.groups[1]).toMatchObject({ kind: 'explicit', depth: 5, delivered: 2 });
    expect(detail.heldBy).toEqual({ group: 'default', offset: 0 });
    await expect(show(client, 'nothing')).rejects.toThrow(refusedAs('no-queue'));
  });

  it('reads a long list in parts', async () => {
    const world = new ShardWorld();
    const names = Array.from({ length: 700 }, (_none, at) => `q${String(at).padStart(4, '0')}`);
    const client = await world.open({ queues: names.map((name) => queue(name)) });
    const first = listPartIn(await ask(client, { kind: 'list', after: '', max: 1000 }));
    expect([first.queues.length, first.more]).toEqual([256, true]);
    const last = listPartIn(await ask(client, { kind: 'list', after: 'q0600', max: 1000 }));
    expect([last.queues.length, last.more]).toEqual([99, false]);
  });

  it('purges all but what is delivered, and nothing that was settled comes back', async () => {
    const world = new ShardWorld();
    let client = await world.open();
    let orders = client.queues.get('orders') ?? 0;
    await publish(client, orders, texts(10));
    client.consume(1, orders, 3);
    client.send();
    await until(() => client.deliveries.length === 3);
    const second = client.deliveries[1] ?? expect.fail('no delivery');
    client.settle(second, 'complete');
    client.send();
    await until(() => world.shard?.stats().get('depth\0orders') === 9);
    const purged = await ask(client, { kind: 'purge', name: 'orders', group: undefined });
    expect(purged).toBe(7);
    expect(await show(client, 'orders')).toMatchObject({ depth: 2, next: 10 });
    await publish(client, orders, ['after']);
    world.crash();

    client = await world.open();
    orders = client.queues.get('orders') ?? 0;
    client.consume(1, orders, 100);
    client.send();
    await until(() => client.deliveries.length === 3);
    for (let turns = 0; turns < 20; turns++) await turn();
    expect(client.deliveries.map(({ text }) => text)).toEqual(['m0', 'm2', 'after']);
  });

  it('purges one group and leaves the others what they have', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const orders = client.queues.get('orders') ?? 0;
    client.consume(1, orders, 0, { group: 'mail' });
    client.send();
    await until(() => client.attached.has(1));
    await publish(client, orders, texts(4));
    expect(await ask(client, { kind: 'purge', name: 'orders', group: 'mail' })).toBe(4);
    const { groups } = await show(client, 'orders');
    expect(groups.map(({ name, depth }) => [name, depth])).toEqual([
      ['default', 4],
      ['mail', 0],
    ]);
    await expect(ask(client, { kind: 'purge', name: 'orders', group: 'nobody' })).rejects.toThrow(
      refusedAs('no-group'),
    );
  });

  it('purges a stream for everybody: its start rises, in slices', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: [{ ...queue('log'), type: 'stream' }] });
    const log = client.queues.get('log') ?? 0;
    await publish(client, log, texts(100));
    expect(await ask(client, { kind: 'purge', name: 'log', group: undefined })).toBe(100);
    expect(await show(client, 'log')).toMatchObject({ start: 100, next: 100, depth: 0 });
  });

  it('looks at messages without taking them, past those that are gone', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const orders = client.queues.get('orders') ?? 0;
    await publish(client, orders, texts(6));
    client.consume(1, orders, 3);
    client.send();
    await until(() => client.deliveries.length === 3);
    client.settle(client.deliveries[1] ?? expect.fail('no delivery'), 'complete');
    client.send();
    await until(() => world.shard?.stats().get('depth\0orders') === 5);
    const peek = async (from: number, max: number): Promise<PeekPart> =>
      peekPartIn(await ask(client, { kind: 'peek', name: 'orders', from: from as Offset, max }));
    expect(bodies(await peek(0, 3))).toEqual(['m0', 'm2', 'm3']);
    expect(bodies(await peek(4, 100))).toEqual(['m4', 'm5']);
    expect(bodies(await peek(6, 100))).toEqual([]);
    expect(await show(client, 'orders')).toMatchObject({ depth: 5 });
  });

  it('looks at large messages in parts of a bounded size', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const orders = client.queues.get('orders') ?? 0;
    const large = 'x'.repeat(400_000);
    for (let count = 0; count < 6; count++) await publish(client, orders, [`${count}${large}`]);
    const seen: string[] = [];
    let parts = 0;
    for (let from: number | undefined = 0; from !== undefined; parts++) {
      const request = { kind: 'peek', name: 'orders', from: from as Offset, max: 100 } as const;
      const part: PeekPart = peekPartIn(await ask(client, request));
      seen.push(...bodies(part).map((body) => body.slice(0, 1)));
      from = part.next;
    }
    expect(seen).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(parts).toBe(2);
  });

  it('moves what is not delivered to another queue, at most so many, once each', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: [queue('orders'), queue('repair')] });
    const orders = client.queues.get('orders') ?? 0;
    await publish(client, orders, texts(6));
    client.consume(1, orders, 1);
    client.send();
    await until(() => client.deliveries.length === 1);
    const move = (max: number): AdminRequest => ({
      kind: 'move',
      name: 'orders',
      group: 'default',
      to: 'repair',
      max,
    });
    expect(await ask(client, move(2))).toBe(2);
    expect(await ask(client, move(1000))).toBe(3);
    await until(() => world.shard?.stats().get('outbox/open') === 0);
    expect(await show(client, 'orders')).toMatchObject({ depth: 1, leaving: 0 });
    const repair = peekPartIn(
      await ask(client, { kind: 'peek', name: 'repair', from: 0 as Offset, max: 10 }),
    );
    expect(bodies(repair).toSorted()).toEqual(['m1', 'm2', 'm3', 'm4', 'm5']);
    await expect(ask(client, { ...move(1), to: 'orders' } as AdminRequest)).rejects.toThrow(
      refusedAs('invalid'),
    );
    await expect(ask(client, { ...move(1), to: 'nowhere' } as AdminRequest)).rejects.toThrow(
      refusedAs('no-queue'),
    );
  });

  it('seeks a group of a stream, and hears why a classic one has no way back', async () => {
    const world = new ShardWorld();
    const stream = queue('log', { defaultGroup: 'shared', groupStart: 'first' });
    const client = await world.open({ queues: [queue('orders'), { ...stream, type: 'stream' }] });
    const [orders, log] = [client.queues.get('orders') ?? 0, client.queues.get('log') ?? 0];
    await publish(client, log, texts(5));
    await publish(client, orders, texts(5));
    const seek = (name: string, offset: number): AdminRequest => ({
      kind: 'seek',
      name,
      group: 'default',
      position: { kind: 'offset', offset },
    });
    expect(await ask(client, seek('log', 4))).toBe(4);
    expect(await ask(client, seek('log', 1))).toBe(1);
    expect(await ask(client, seek('orders', 3))).toBe(3);
    await expect(ask(client, seek('orders', 1))).rejects.toThrow(refusedAs('invalid'));
    client.consume(1, log, 10);
    client.send();
    await until(() => client.deliveries.length === 4);
    expect(client.deliveries.map(({ offset }) => offset)).toEqual([1, 2, 3, 4]);
  });

  it('deletes a group, and its consumers hear it', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const orders = client.queues.get('orders') ?? 0;
    client.consume(1, orders, 1, { group: 'mail' });
    client.send();
    await until(() => client.attached.has(1));
    expect(await ask(client, { kind: 'delete-group', name: 'orders', group: 'mail' })).toBeNull();
    await until(() => client.cancelled.length === 1);
    expect(client.cancelled).toEqual([[1, 'group-deleted']]);
    await expect(
      ask(client, { kind: 'delete-group', name: 'orders', group: 'mail' }),
    ).rejects.toThrow(refusedAs('no-group'));
  });

  it('Q25: a queue deleted and declared again has nothing of the old one, nor takes its settlements', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const old = client.queues.get('orders') ?? 0;
    await publish(client, old, texts(3));
    client.consume(1, old, 3);
    client.send();
    await until(() => client.deliveries.length === 3);
    expect(await ask(client, { kind: 'delete', name: 'orders' })).toBeNull();
    expect(client.queues.has('orders')).toBe(false);
    expect(client.cancelled).toEqual([[1, 'queue-deleted']]);
    await client.request({ kind: 'declare', queues: [queue('orders')] });
    const fresh = client.queues.get('orders') ?? 0;
    expect(fresh).toBeGreaterThan(old);
    await publish(client, fresh, ['new']);
    for (const delivery of client.deliveries) client.settle(delivery, 'complete');
    client.ask(7, {
      queueId: old as QueueId,
      group: 'default',
      offset: 0 as Offset,
      term: client.deliveries[0]?.term ?? 0,
      deliveryNumber: client.deliveries[0]?.deliveryNumber ?? 0,
      outcome: 'discard',
    });
    client.send();
    await until(() => client.answers.has(7));
    expect(client.answers.get(7)).toBe('no-queue');
    expect(await show(client, 'orders')).toMatchObject({ depth: 1, start: 0, next: 1 });
  });

  it('declares: created, same, updated; and hears why a queue cannot be what was asked for', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const declare = async (...queues: Parameters<typeof queue>): Promise<PlainData> =>
      decodeBody(await client.request({ kind: 'declare', queues: [queue(...queues)] }));
    expect(await declare('new')).toEqual(['created']);
    expect(client.queues.has('new')).toBe(true);
    expect(await declare('new')).toEqual(['same']);
    expect(await declare('new', { deliveryLimit: 3 })).toEqual(['updated']);
    const stream = { ...queue('orders'), type: 'stream' } as const;
    await expect(client.request({ kind: 'declare', queues: [stream] })).rejects.toThrow(
      refusedAs('exists'),
    );
    await expect(declare('a/b')).rejects.toThrow(refusedAs('invalid'));
    const long = { ...queue('long'), topics: ['ä'.repeat(40_000)] };
    await expect(client.request({ kind: 'declare', queues: [long] })).rejects.toThrow(
      refusedAs('invalid'),
    );
  });
});
