/**
 * The shards as the node starts them, on a real disk: beside the frontends, and in the compiled
 * worker.
 */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Committed } from '../src/machine/committed.ts';
import { defaultDefinition } from '../src/machine/default-definition.ts';
import { shardOf } from '../src/machine/ids.ts';
import type { Delivery, EnqueueRefusal } from '../src/broker/ports.ts';
import type { ShardThreads } from '../src/node.ts';
import type { ShardSettings } from '../src/options.ts';
import { nodeFiles } from '../storage/storage.ts';
import { partDirectory } from '../src/replica-folders.ts';
import { startShards } from '../src/shard-threads.ts';
import { queue } from './support/shard-world.ts';

const MIB = 1 << 20;
const ROOT = join(import.meta.dirname, '.tmp');
const quiet = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

let directory = '';

beforeEach(async () => {
  await mkdir(ROOT, { recursive: true });
  directory = await mkdtemp(join(ROOT, 'shards-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

function settings(thread: 'worker' | 'main', more: Partial<ShardSettings> = {}): ShardSettings {
  return {
    node: 'node-1',
    dataDirectory: join(directory, 'data'),
    thread,
    queues: [queue('orders')],
    groups: [],
    client: {
      ackTimeoutMs: 10_000,
      windowBytes: MIB,
      highWaterBytes: MIB,
      pendingBytesMax: 16 * MIB,
      payloadBytesMax: MIB,
      maxSessions: 10_000,
    },
    checkpointBytes: MIB,
    checkpointLogBytes: 16 * MIB,
    checkpointIntervalMs: 60_000,
    maxMessageBytes: MIB,
    cacheBytes: MIB,
    readCacheBytes: MIB,
    locationBytes: MIB,
    maxResidentRecords: 10_000,
    maxUncommittedBytes: MIB,
    ephemeralBytes: MIB,
    maxOutstandingBytes: MIB,
    runs: {
      windowBytes: 64 * MIB,
      windowMessages: 1_000_000,
      compactionShare: 0.25,
      blockBytes: 65_536,
      spillBufferBytes: MIB,
    },
    storage: {
      segmentBytes: MIB,
      indexIntervalBytes: 4_096,
      syncMode: 'prewritten-dsync',
      prewriteBytes: MIB / 4,
      idleMarkMs: 100,
      maxWriteBytes: MIB,
      reserveBytes: 4 * MIB,
    },
    log: { level: 'silent', format: 'json', node: 'node-1' },
    shards: { count: 1, replicas: 3 },
    ...more,
  };
}

function publish(shards: ShardThreads, text: string): Promise<Committed | EnqueueRefusal> {
  const message = {
    topic: '$queue/orders/x',
    payload: Buffer.from(text),
    qos: 1,
    retain: false,
    properties: undefined,
  } as const;
  const targets = Array.from(shards.queues.queues, ({ queueId }) => queueId);
  return new Promise((resolve) => {
    const waiter = {
      enqueued: (_tag: number, outcome: Committed | EnqueueRefusal) => resolve(outcome),
    };
    shards.queues.enqueue(targets, message, { clientId: 'c', protocol: 'mqtt' }, waiter, 0);
  });
}

function take(shards: ShardThreads, count: number): Promise<string[]> {
  const queueId = [...shards.queues.queues][0]?.queueId ?? expect.fail('no queue');
  const texts: string[] = [];
  return new Promise((resolve) => {
    const consumer = shards.queues.consume(
      {
        queueId,
        clientId: 'k',
        credit: 100,
        group: undefined,
        filter: '',
        start: undefined,
        manual: false,
      },
      {
        attached: () => undefined,
        ended: () => undefined,
        delivered: ({ offset, term, deliveryNumber, message }: Delivery) => {
          texts.push(Buffer.from(message.payload).toString());
          consumer.settle(offset, term, deliveryNumber, 'complete');
        },
        batchEnd: () => {
          if (texts.length < count) return;
          consumer.close('returned');
          resolve(texts);
        },
        cancelled: () => undefined,
      },
    );
  });
}

function started(how: ShardSettings): Promise<ShardThreads> {
  return startShards(how, quiet, { running: () => Promise.resolve() });
}

describe.each(['main', 'worker'] as const)('shards, thread: %s', (thread) => {
  it('D6: what was settled in the turn of the stop does not come again', async () => {
    const first = await started(settings(thread));
    const texts = Array.from({ length: 50 }, (_, i) => `message ${i}`);
    await Promise.all(texts.map((text) => publish(first, text)));
    expect(await take(first, 50)).toEqual(texts);
    await first.stop();

    const second = await started(settings(thread));
    expect(await publish(second, 'after the stop')).toBeTypeOf('number');
    expect(await take(second, 1)).toEqual(['after the stop']);
    await second.stop();
  });

  it('D1: what was confirmed is there after a stop, and settled messages are not', async () => {
    const first = await started(settings(thread));
    for (const text of ['one', 'two', 'three'])
      expect(await publish(first, text)).toBeTypeOf('number');
    await first.stop();
    expect(await publish(first, 'late')).toBe('unavailable');
    const log = await partDirectory(nodeFiles(), join(directory, 'data'), 'log');
    expect((await readdir(log)).length).toBeGreaterThan(0);

    const second = await started(settings(thread));
    expect(await take(second, 3)).toEqual(['one', 'two', 'three']);
    expect(await publish(second, 'four')).toBeTypeOf('number');
    await second.stop();

    const third = await started(settings(thread));
    expect(await take(third, 1)).toEqual(['four']);
    await third.stop();
  });

  it('the replicas answer before the queues are served, and are stopped by a refusal', async () => {
    const refused = startShards(settings(thread), quiet, {
      async running(cluster) {
        const { node, replicas } = await cluster.status();
        expect(node).toBe('node-1');
        expect(replicas).toMatchObject([{ shard: 0, id: 'node-1' }]);
        throw new Error('no socket');
      },
    });
    await expect(refused).rejects.toThrow('no socket');
    const shards = await started(settings(thread));
    const stats = await shards.stats();
    expect(stats.get('raft-role/leader')).toBe(1);
    expect(stats.get('raft-members/voter')).toBe(1);
    await shards.stop();
  });

  it('a second broker on the data directory is refused, and the first goes on', async () => {
    const first = await started(settings(thread));
    await expect(started(settings(thread))).rejects.toMatchObject({
      name: 'StorageError',
      code: 'locked',
    });
    expect(await publish(first, 'still here')).toBeTypeOf('number');
    await first.stop();
  });

  it('O1: other limits are taken over, and no queue is made twice', async () => {
    const first = await started(settings(thread));
    const before = [...first.queues.queues];
    await first.stop();
    const queues = [queue('orders', { deliveryLimit: 3 }), queue('bills')];
    const second = await started(settings(thread, { queues }));
    expect(Array.from(second.queues.queues, ({ name }) => name)).toEqual(['orders', 'bills']);
    expect([...second.queues.queues][0]?.queueId).toBe(before[0]?.queueId);
    await second.stop();
  });

  it('O1: a queue that cannot be is refused at the start, and lets the directory go', async () => {
    const queues = [queue('orders', { deliveryLimit: 0 })];
    await expect(started(settings(thread, { queues }))).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringContaining('orders') as string,
    });
    const shards = await started(settings(thread));
    await shards.stop();
  });

  it('D10: a disk inside its reserve refuses a publish in words', async () => {
    const { storage } = settings(thread);
    // More than any disk has free, less than all of it.
    const space = await import('node:fs/promises').then(({ statfs }) => statfs(directory));
    const reserveBytes =
      (space.bavail + Math.floor((space.blocks - space.bavail) / 2)) * space.bsize;
    const options = settings(thread, { storage: { ...storage, reserveBytes } });
    const shards = await started(options);
    expect(await publish(shards, 'no room')).toBe('disk-full');
    await shards.stop();
  });

  it('several shards: queues go to the one with fewest, and all are there after a stop', async () => {
    const several = settings(thread, { queues: [], shards: { count: 3, replicas: 3 } });
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const first = await started(several);
    // They are made one after the other, and are there when they are.
    for (let count = 0; new Set(shardsOf(first)).size < 3; count++) {
      for (const name of names) {
        await first.queues.admin.declare(defaultDefinition(`${name}${count}`, 'classic'));
      }
    }
    const before = Array.from(first.queues.queues, ({ name }) => name);
    expect(await publish(first, 'in all of them')).toBeTypeOf('number');
    expect((await first.stats()).get('messages/enqueued')).toBe(before.length);
    await first.stop();

    const second = await started(several);
    expect(Array.from(second.queues.queues, ({ name }) => name).toSorted()).toEqual(
      before.toSorted(),
    );
    const stats = await second.stats();
    expect(stats.get('raft-role/leader')).toBe(1);
    expect(stats.get('shard-2/raft-role/leader')).toBe(1);
    for (const { name } of second.queues.queues) {
      expect((await second.queues.admin.show(name)).depth).toBe(1);
    }
    await second.stop();
  });

  it('several shards: queues of the configuration are spread, and changed where they are', async () => {
    const queues = ['a', 'b', 'c'].map((name) => defaultDefinition(name, 'classic'));
    const several = settings(thread, { queues, shards: { count: 3, replicas: 3 } });
    const first = await started(several);
    expect(new Set(shardsOf(first)).size).toBe(3);
    await first.stop();

    const changed = queues.map((each) => ({ ...each, limits: { ...each.limits, maxMessages: 7 } }));
    const second = await started({ ...several, queues: changed });
    expect(new Set(shardsOf(second)).size).toBe(3);
    for (const { name } of second.queues.queues) {
      const { definition } = await second.queues.admin.show(name);
      expect(definition.limits.maxMessages).toBe(7);
    }
    await second.stop();

    const away = changed.find(({ name }) => {
      return shardOf(second.queues.queues.named(name)?.queueId ?? expect.fail()) > 0;
    });
    const inMemory = defaultDefinition(away?.name ?? '', 'ephemeral');
    await expect(started({ ...several, queues: [inMemory] })).rejects.toThrow(
      /exists with type classic, and is declared with type ephemeral/,
    );

    // Also where the configuration has gone back to one shard, which these queues are not all in.
    const third = await started(settings(thread, { queues }));
    for (const { name } of third.queues.queues) {
      const { definition } = await third.queues.admin.show(name);
      expect(definition.limits.maxMessages).toBe(0);
    }
    await third.stop();
  });
});

function shardsOf(shards: ShardThreads): number[] {
  return Array.from(shards.queues.queues, ({ queueId }) => shardOf(queueId));
}
