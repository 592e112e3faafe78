import { describe, expect, it } from 'vitest';
import type { QueueId } from '../../src/machine/ids.ts';
import { firstIdInMemory, isInMemory } from '../../src/shard/volatile-ids.ts';
import { VolatileLog } from '../../src/shard/volatile-log.ts';
import { VolatileRecords } from '../../src/shard/volatile-records.ts';
import { ShardWorld, until } from '../support/shard-world.ts';

const proposal = (bytes: number) => ({
  stampMs: 1,
  commandCount: 1,
  bytes,
  payload: [new Uint8Array(bytes)],
});

describe('a log in memory', () => {
  it('commits in order and in a later turn, reads what is kept, and gives back what is not', async () => {
    const log = new VolatileLog();
    const committed: number[] = [];
    await log.follow(0 as typeof log.start, {
      committed: (entries) => committed.push(...entries.map(({ index }) => index)),
      leads: () => undefined,
      follows: () => undefined,
      failed: () => undefined,
    });
    for (let count = 0; count < 5; count++) log.propose(proposal(100));
    expect(committed).toEqual([]);
    await until(() => committed.length === 5);
    log.propose(proposal(100));
    await until(() => committed.length === 6);
    expect(committed).toEqual([1, 2, 3, 4, 5, 6]);
    await log.truncatePrefix(4 as typeof log.start);
    expect([log.start, log.last, log.bytes]).toEqual([4, 6, 300]);
    expect(await log.read(3 as typeof log.start, 1000)).toEqual({ kind: 'outside' });
    const outcome = await log.read(4 as typeof log.start, 150);
    expect(outcome.kind === 'entries' && outcome.entries.map(({ index }) => index)).toEqual([4]);
    await log.truncatePrefix(7 as typeof log.start);
    expect([log.start, log.last, log.bytes]).toEqual([7, 6, 0]);
    log.propose(proposal(1));
    await until(() => committed.length === 7);
    await log.close();
    expect(() => log.propose(proposal(1))).toThrow('closed');
  });

  it('holds what is wanted and nothing else, under a shard', async () => {
    const world = new ShardWorld();
    const log = new VolatileLog();
    const limits = { checkpointLogBytes: 10_000, checkpointIntervalMs: 1_000 };
    const client = await world.open({ log, limits });
    const orders = client.queues.get('orders') ?? 0;
    client.onDelivered = (delivery) => {
      client.settle(delivery, 'complete');
      client.grant(1, 1);
    };
    client.consume(1, orders, 50);
    client.send();
    for (let batch = 0; batch < 40; batch++) {
      for (let count = 0; count < 25; count++) client.enqueue([orders], 'x'.repeat(200));
      client.send();
      await until(() => client.deliveries.length === (batch + 1) * 25);
      client.send();
      expect(log.bytes).toBeLessThan(100_000);
    }
    await until(() => {
      world.monotonicMs += 100;
      client.send();
      return log.bytes < 10_000;
    });
  });
});

describe('records in memory', () => {
  it('are there when their checkpoint is written, by key and by prefix', async () => {
    const store = new VolatileRecords();
    const batch = store.begin();
    const value = new Uint8Array([1, 2]);
    for (const key of ['b/2', 'b/1', 'a']) batch.put(key, value);
    batch.delete('b/3');
    value.fill(9);
    expect(await store.get('a')).toBeUndefined();
    expect(batch.bytes).toBeGreaterThan(0);
    await batch.write({ index: 7, term: 1, data: new Uint8Array(0) });
    expect(store.checkpoint).toMatchObject({ index: 7, recordCount: 3 });
    expect(await store.getMany(['a', 'c'])).toEqual([new Uint8Array([1, 2]), undefined]);
    const keys: string[] = [];
    for await (const page of store.iterate('b/')) keys.push(...page.map(({ key }) => key));
    expect(keys).toEqual(['b/1', 'b/2']);
    const behind = await store.iterate('b/', 'b/1').next();
    expect(behind.value).toEqual([{ key: 'b/2', value: new Uint8Array([1, 2]) }]);
    const second = store.begin();
    second.delete('a');
    second.discard();
    expect(await store.get('a')).toBeDefined();
  });
});

describe('ids of queues in memory', () => {
  it('are apart from all others, and from those of an earlier life', () => {
    const now = 1_800_000_000_000;
    const first = firstIdInMemory(now);
    expect(isInMemory(first as QueueId)).toBe(true);
    expect(isInMemory(4_000_000_000 as QueueId)).toBe(false);
    expect(firstIdInMemory(now + 1_000)).toBeGreaterThan(first + 1_000_000);
    expect(Number.isSafeInteger(firstIdInMemory(Date.UTC(2100, 0)) + 1_000_000)).toBe(true);
  });
});
