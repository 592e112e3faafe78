/** What a shard asks of the clients of others, and what it makes of their answers. */

import { describe, expect, it } from 'vitest';
import { AdminError } from '../../src/broker/ports.ts';
import type { QueueInfo } from '../../src/broker/ports.ts';
import type { PlacedDefinition } from '../../src/machine/definitions.ts';
import { type QueueId, firstQueueIdOf } from '../../src/machine/ids.ts';
import { QueueTable } from '../../src/shard/queue-table.ts';
import { ShardError } from '../../src/shard/shard-error.ts';
import { type ShardAsOther, ShardToShard } from '../../src/shard/shard-to-shard.ts';
import { queue } from '../support/shard-world.ts';

const unavailable = new AdminError('unavailable', 'nobody leads');

/** A shard and its client, which knows of its queues what it was told. */
class Other {
  readonly table = new QueueTable();
  readonly asked: string[] = [];
  readonly declared: PlacedDefinition[] = [];
  readonly places = new Map<string, { shard: number; version: number }>();
  /** Told with the next barrier. */
  readonly untold: QueueInfo[] = [];
  failure: Error | undefined;
  readonly client: ShardAsOther;
  readonly #shard: number;

  constructor(shard: number) {
    this.#shard = shard;
    this.table.take({ queues: [], gone: [], complete: true });
    const answer = async <T>(question: string, value: () => T): Promise<T> => {
      this.asked.push(question);
      await Promise.resolve();
      if (this.failure !== undefined) throw this.failure;
      return value();
    };
    this.client = {
      queues: this.table,
      places: {
        where: (name) => answer(`where ${name}`, () => this.places.get(name)),
        place: (name, among, near) =>
          answer(`place ${name} ${among.join(' ')} ${near}`, () => {
            return this.places.get(name) ?? { shard: among[0] ?? 0, version: 1 };
          }),
        barrier: () =>
          answer('barrier', () => {
            for (const each of this.untold.splice(0)) this.tell(each);
          }),
        missing: (names, fence) =>
          answer(`missing ${names.join(' ')} ${fence}`, () => {
            return names.filter((name) => !this.places.has(name));
          }),
        take: () => answer('take', () => ({ kind: 'taken' as const, next: 4 })),
        unplace: (name, version) => answer(`unplace ${name} ${version}`, () => undefined),
        endKeys: (session) => answer(`end keys ${session}`, () => undefined),
        overKeys: (names) => answer(`over ${names.join(' ')}`, () => names.slice(1)),
      },
      admin: {
        declare: (definition) =>
          answer(`declare ${definition.name}`, () => {
            this.declared.push(definition);
            this.tell(this.info(definition.name));
          }),
      },
    };
  }

  info(name: string): QueueInfo {
    const queueId = (firstQueueIdOf(this.#shard) + this.table.count) as QueueId;
    const { type, topics } = queue(name);
    return { queueId, name, type, topics, defaultGroup: 'shared', capture: 'sync' };
  }

  tell(info: QueueInfo): void {
    this.table.take({ queues: [info], gone: [], complete: true });
  }
}

function rig() {
  const others = [new Other(0), new Other(1), new Other(2)] as const;
  const shards = new ShardToShard({ own: 1, client: (shard) => others[shard]?.client });
  const [zero, own, two] = others;
  return { shards, zero, own, two };
}

describe('a name that this shard does not know', () => {
  it('is where shard 0 says, and is not asked for again while that shard has it', async () => {
    const { shards, zero, two } = rig();
    zero.places.set('letters', { shard: 2, version: 5 });
    const info = two.info('letters');
    two.untold.push(info);
    const found = { kind: 'there', queueId: info.queueId };
    expect(await Promise.all([shards.find('letters'), shards.find('letters')])).toEqual([
      found,
      found,
    ]);
    expect(await shards.find('letters')).toEqual(found);
    expect(zero.asked).toEqual(['where letters']);
    // It is gone: the next question is a new one.
    two.table.take({ queues: [], gone: [info.queueId], complete: true });
    zero.places.set('letters', { shard: 1, version: 6 });
    expect(await shards.find('letters')).toEqual({ kind: 'here', placed: 6 });
  });

  it('is nowhere where nobody has it, also where a place of it is left', async () => {
    const { shards, zero, two } = rig();
    expect(await shards.find('letters')).toEqual({ kind: 'none' });
    zero.places.set('letters', { shard: 2, version: 5 });
    expect(await shards.find('letters')).toEqual({ kind: 'none' });
    expect(two.declared).toEqual([]);
  });

  it('is declared where it is placed, with the version of its place', async () => {
    const { shards, zero, two } = rig();
    expect(await shards.findOrDeclare(queue('letters'), 'orders')).toEqual({
      kind: 'here',
      placed: 1,
    });
    expect(zero.asked).toEqual(['place letters 1 orders']);
    zero.places.set('spare', { shard: 2, version: 5 });
    const found = await shards.findOrDeclare(queue('spare'), '');
    expect(found).toEqual({ kind: 'there', queueId: firstQueueIdOf(2) });
    expect(two.declared).toEqual([{ ...queue('spare'), placed: 5 }]);
    // In shard 0 there is no version; and one that is there is left as it is.
    zero.places.set('mail', { shard: 0, version: 0 });
    await shards.findOrDeclare(queue('mail'), '');
    expect(zero.declared).toEqual([{ ...queue('mail'), placed: undefined }]);
    zero.places.set('jobs', { shard: 2, version: 6 });
    two.untold.push(two.info('jobs'));
    await shards.findOrDeclare(queue('jobs'), '');
    expect(two.declared).toHaveLength(1);
  });

  it('is for later when a shard does not answer, or its place is an old one', async () => {
    const { shards, zero, two } = rig();
    zero.failure = unavailable;
    expect(await shards.find('letters')).toEqual({ kind: 'not-now', detail: 'nobody leads' });
    zero.failure = undefined;
    zero.places.set('letters', { shard: 2, version: 5 });
    two.failure = new ShardError('elsewhere', 'it was deleted');
    expect(await shards.findOrDeclare(queue('letters'), '')).toMatchObject({ kind: 'not-now' });
    zero.places.set('letters', { shard: 3, version: 6 });
    expect(await shards.find('letters')).toEqual({
      kind: 'not-now',
      detail: 'shard 3 is not reached from here yet',
    });
    two.failure = new TypeError('a bug');
    zero.places.set('letters', { shard: 2, version: 7 });
    await expect(shards.find('letters')).rejects.toThrow('a bug');
  });
});

describe('a queue of another shard', () => {
  it('has the name that its shard tells, and none when it is gone', async () => {
    const { shards, two } = rig();
    const info = two.info('letters');
    two.untold.push(info);
    expect(await shards.nameOf(info.queueId)).toBe('letters');
    expect(await shards.nameOf(info.queueId)).toBe('letters');
    expect(two.asked).toEqual(['barrier']);
    expect(await shards.nameOf((info.queueId + 1) as QueueId)).toBeUndefined();
    expect(await shards.nameOf(firstQueueIdOf(3) as QueueId)).toMatchObject({ kind: 'not-now' });
  });

  it('says which keys are over, or nobody knows', async () => {
    const { shards, own, two } = rig();
    expect(await shards.overKeys(2, ['1/a', '1/b'])).toEqual(['1/b']);
    expect(two.asked).toEqual(['over 1/a 1/b']);
    expect(await shards.overKeys(1, ['1/a'])).toEqual([]);
    expect(own.asked).toEqual(['over 1/a']);
    two.failure = unavailable;
    expect(await shards.overKeys(2, ['1/a'])).toMatchObject({ kind: 'not-now' });
    expect(await shards.overKeys(3, ['1/a'])).toMatchObject({ kind: 'not-now' });
  });

  it('takes a message, or nobody knows', async () => {
    const { shards, two } = rig();
    expect(await shards.take(2, new Uint8Array(1))).toEqual({ kind: 'taken', next: 4 });
    two.failure = unavailable;
    expect(await shards.take(2, new Uint8Array(1))).toMatchObject({ kind: 'not-now' });
    expect(await shards.take(3, new Uint8Array(1))).toMatchObject({ kind: 'not-now' });
  });
});
