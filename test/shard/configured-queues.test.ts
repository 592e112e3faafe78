/** The queues of the configuration file where there are several shards. */

import { describe, expect, it } from 'vitest';
import { AdminError, type QueueDefinition } from '../../src/broker/ports.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { shardOf } from '../../src/machine/ids.ts';
import {
  type ConfiguredQueuesParts,
  declareConfigured,
} from '../../src/shard/configured-queues.ts';
import { DeclarationError } from '../../src/shard/declarations.ts';
import { ShardError } from '../../src/shard/shard-error.ts';
import { ManyShards, definition } from '../support/many-shards.ts';

interface Line {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly text: string;
}

class Lines {
  readonly all: Line[] = [];
  readonly logger = {
    debug: () => undefined,
    info: this.#taken('info'),
    warn: this.#taken('warn'),
    error: this.#taken('error'),
  };

  #taken(level: string) {
    return (fields: Record<string, unknown>, text: string): void => {
      this.all.push({ level, fields, text });
    };
  }
}

async function threeShards(): Promise<ManyShards> {
  const many = await ManyShards.open({ isShared: true });
  for (const number of [1, 2]) {
    await many.make(number);
    many.reach(number);
  }
  return many;
}

function declare(
  { client }: ManyShards,
  queues: readonly QueueDefinition[],
  more: Partial<ConfiguredQueuesParts> = {},
): Promise<void> {
  return declareConfigured({
    queues,
    groups: [],
    admin: client.admin,
    spread: () => client.reached(3, 0),
    isAlone: false,
    isClosed: () => client.isClosed,
    logger: new Lines().logger,
    signal: undefined,
    ...more,
  });
}

const FILE = [definition('a'), definition('b'), definition('c'), definition('mqtt')];

function limited(name: string, deliveryLimit: number): QueueDefinition {
  return definition(name, { limits: { ...DEFAULT_LIMITS, deliveryLimit } });
}

describe('queues of the configuration', () => {
  it('are placed like any other, in the shard with the fewest, with their groups', async () => {
    const many = await threeShards();
    const group = { queue: 'b', name: 'readers', filter: '', start: undefined };
    await declare(many, FILE, { groups: [group] });
    expect(FILE.map(({ name }) => shardOf(many.idOf(name)))).toEqual([0, 1, 2, 0]);
    const { groups } = await many.client.admin.show('b');
    expect(groups.map(({ name, kind }) => `${kind} ${name}`)).toContain('explicit readers');
  });

  it('that are many are all made, and lie in all shards', async () => {
    const many = await threeShards();
    const file = Array.from({ length: 200 }, (_none, nth) => definition(`q${nth}`));
    let spreads = 0;
    const spread = (): Promise<void> => {
      spreads += 1;
      return Promise.resolve();
    };
    await declare(many, file, { spread });
    expect(spreads).toBe(1);
    expect(many.client.queues.count).toBe(200);
    const shards = file.map(({ name }) => shardOf(many.idOf(name)));
    expect(shards.slice(0, 6)).toEqual([0, 1, 2, 0, 1, 2]);
    for (const shard of [0, 1, 2]) {
      // Even but for what is declared together.
      expect(Math.abs(shards.filter((each) => each === shard).length - 67)).toBeLessThan(64);
    }
  });

  it('get changed limits and new groups where they live', async () => {
    const many = await threeShards();
    await declare(many, FILE);
    const id = many.idOf('c');
    const lines = new Lines();
    const group = { queue: 'c', name: 'late', filter: '', start: { kind: 'next' } } as const;
    const changed = [...FILE.filter(({ name }) => name !== 'c'), limited('c', 3)];
    await declare(many, changed, { groups: [group], logger: lines.logger });
    const after = await many.client.admin.show('c');
    expect(after.definition.limits.deliveryLimit).toBe(3);
    expect(after.queueId).toBe(id);
    expect(after.groups.map(({ name }) => name)).toContain('late');
    const from = DEFAULT_LIMITS.deliveryLimit;
    expect(lines.all).toEqual([
      {
        level: 'info',
        text: 'queue has new limits',
        fields: { queue: 'c', deliveryLimit: { from, to: 3 } },
      },
    ]);
  });

  it('that stand as they are written are not placed again', async () => {
    const many = await threeShards();
    await declare(many, FILE);
    const places = many.clients.get(0)?.places;
    const before = await places?.where('b');
    const lines = new Lines();
    await declare(many, FILE, { logger: lines.logger });
    expect(await places?.where('b')).toEqual(before);
    expect(lines.all).toEqual([]);
  });

  it('are each in one shard when several nodes start at once', async () => {
    const many = await threeShards();
    await Promise.all([declare(many, FILE), declare(many, FILE), declare(many, FILE)]);
    const listed = await many.client.admin.list('', 100);
    expect(listed.map((each) => each.definition.name)).toEqual(FILE.map(({ name }) => name));
    for (const { definition: there, queueId } of listed) {
      const place = await many.clients.get(0)?.places.where(there.name);
      expect(place?.shard).toBe(shardOf(queueId));
    }
  });

  it('are as the file of the node says that started last, where files differ', async () => {
    const many = await threeShards();
    await declare(many, [limited('b', 3)]);
    await declare(many, [limited('b', 4), definition('d')]);
    await declare(many, [limited('b', 3)]);
    expect((await many.client.admin.show('b')).definition.limits.deliveryLimit).toBe(3);
    // What only another file has stays.
    expect((await many.client.admin.show('d')).definition.name).toBe('d');
  });

  it('that cannot be as they are written hinder no other, and no start', async () => {
    const many = await threeShards();
    await declare(many, FILE);
    const lines = new Lines();
    const file = [definition('b', { type: 'stream' }), definition('e')];
    await declare(many, file, { logger: lines.logger });
    expect(many.client.queues.named('b')?.type).toBe('classic');
    expect(many.client.queues.named('e')?.type).toBe('classic');
    expect(lines.all.map(({ level }) => level)).toEqual(['error', 'info']);
    const alone = declare(many, file, { isAlone: true });
    await expect(alone).rejects.toThrow(DeclarationError);
  });
});

describe('a start with queues in the configuration', () => {
  const unavailable = (): Promise<never> =>
    Promise.reject(new AdminError('unavailable', 'nobody leads'));

  it('waits for a leader', async () => {
    const many = await threeShards();
    let refusals = 3;
    const { admin } = many.client;
    const some: ConfiguredQueuesParts['admin'] = {
      show: (name) => admin.show(name),
      makeGroups: (name, groups) => admin.makeGroups(name, groups),
      declare: (queue) => (refusals-- > 0 ? unavailable() : admin.declare(queue)),
    };
    await declare(many, [definition('a')], { admin: some });
    expect(many.client.queues.named('a')?.type).toBe('classic');
  });

  it('is given up when it is asked to, or the shards are gone', async () => {
    const many = await threeShards();
    const admin = { show: unavailable, declare: unavailable, makeGroups: unavailable };
    const stop = new AbortController();
    const given = declare(many, [definition('a')], { admin, signal: stop.signal });
    stop.abort();
    await expect(given).rejects.toThrow(ShardError);
    const gone = declare(many, [definition('a')], { admin, isClosed: () => true });
    await expect(gone).rejects.toThrow(ShardError);
  });
});
