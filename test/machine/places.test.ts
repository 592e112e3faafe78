/** Where names live, which shards there are, and what the other shards make of it. */
import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { SHARDS_MAX, firstQueueIdOf, shardOf } from '../../src/machine/ids.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { MachineDriver, type SeenEffect } from './machine-driver.ts';

const FOUNDERS = ['n1', 'n2', 'n3'];

function shardZero(shards = 2): MachineDriver {
  const driver = new MachineDriver();
  for (let number = 1; number <= shards; number += 1) {
    driver.run({ kind: 'add-shard', number, founders: FOUNDERS });
  }
  return driver;
}

function place(driver: MachineDriver, name: string, among = [0, 1, 2], near = ''): unknown {
  const [effect] = driver.run({ kind: 'place-queue', name, among, near });
  if (effect?.kind === 'placement-refused') return effect.reason;
  return effect?.kind === 'queue-placed' ? [effect.shard, effect.version] : effect;
}

function declaration(name: string, placed?: number): Command {
  const topics = [`$queue/${name}/#`];
  return { kind: 'declare-queue', name, type: 'classic', topics, limits: DEFAULT_LIMITS, placed };
}

function refusal([effect]: SeenEffect[]): string | undefined {
  return effect?.kind === 'queue-refused' ? effect.reason : effect?.kind;
}

describe('ids of queues', () => {
  it('say in which shard a queue is, and shard 0 has those that there were before', () => {
    expect(firstQueueIdOf(0)).toBe(1);
    for (let shard = 0; shard < SHARDS_MAX; shard += 1) {
      const first = firstQueueIdOf(shard);
      const last = firstQueueIdOf(shard + 1) - 2;
      expect([first, last].map((id) => shardOf(id as QueueId))).toEqual([shard, shard]);
    }
    const driver = new MachineDriver(1_000, new Map(), 3);
    driver.run(declaration('orders', 1));
    expect(driver.machine.queueIds()).toEqual([3 * 2 ** 40 + 1]);
    expect([driver.machine.shard, new MachineDriver().machine.shard]).toEqual([3, 0]);
  });
});

describe('a place', () => {
  it('is where the fewest queues are, the lowest number of several', () => {
    const driver = shardZero();
    expect(place(driver, 'a')).toEqual([0, 0]);
    driver.declare('a');
    expect(place(driver, 'b')).toEqual([1, 1]);
    expect(place(driver, 'c')).toEqual([2, 2]);
    expect(place(driver, 'd', [2, 1])).toEqual([1, 3]);
    expect(place(driver, 'e', [1, 2, 7])).toEqual([2, 4]);
    expect(place(driver, 'f', [7])).toBe('no-shard');
    expect(place(driver, 'f', [])).toBe('no-shard');
    expect(place(driver, 'or/ders')).toBe('invalid');
    expect(driver.machine.placedNames.size).toBe(4);
  });

  it('is near another queue, where that is known, whatever the shard has', () => {
    const driver = shardZero();
    driver.declare('orders');
    place(driver, 'jobs', [2]);
    expect(place(driver, '$dlq/orders', [1, 2], 'orders')).toEqual([0, 0]);
    expect(place(driver, '$dlq/jobs', [0, 1], 'jobs')).toEqual([2, 2]);
    expect(place(driver, '$dlq/nobody', [1], 'nobody')).toEqual([1, 3]);
  });

  it('of a name that has one stays, at a higher version', () => {
    const driver = shardZero();
    driver.declare('a');
    expect(place(driver, 'orders', [1])).toEqual([1, 1]);
    expect(place(driver, 'orders', [2])).toEqual([1, 2]);
    expect(place(driver, 'a', [2], 'orders')).toEqual([0, 0]);
    expect(driver.machine.placeOf('orders')).toEqual({ shard: 1, version: 2 });
    expect(driver.machine.placeOf('a')).toEqual({ shard: 0, version: 0 });
    expect(driver.machine.placeOf('b')).toBeUndefined();
  });

  it('goes only at its version', () => {
    const driver = shardZero();
    place(driver, 'orders', [1]);
    place(driver, 'orders', [1]);
    const unplace = (name: string, version: number) =>
      driver.run({ kind: 'unplace-queue', name, version });
    expect(unplace('orders', 1)).toMatchObject([{ removed: false }]);
    expect(unplace('jobs', 2)).toMatchObject([{ removed: false }]);
    expect(unplace('orders', 2)).toMatchObject([{ removed: true }]);
    expect(unplace('orders', 2)).toMatchObject([{ removed: false }]);
    expect(driver.machine.placeOf('orders')).toBeUndefined();
    // Versions never come back.
    expect(place(driver, 'orders', [2])).toEqual([2, 3]);
  });

  it('keeps a queue of its name out of shard 0, but not from a change of one that is there', () => {
    const driver = shardZero();
    place(driver, 'orders', [1]);
    expect(refusal(driver.run(declaration('orders')))).toBe('elsewhere');
    expect(driver.machine.queueNamed('orders')).toBeUndefined();
    driver.run({ kind: 'unplace-queue', name: 'orders', version: 1 });
    expect(refusal(driver.run(declaration('orders')))).toBe('queue-declared');
    expect(refusal(driver.run(declaration('orders')))).toBe('queue-declared');
  });

  it('is nothing that another shard knows of', () => {
    const driver = new MachineDriver(1_000, new Map(), 1);
    expect(place(driver, 'orders', [0, 1])).toBe('invalid');
    const added = driver.run({ kind: 'add-shard', number: 1, founders: FOUNDERS });
    expect(added).toMatchObject([{ kind: 'shard-map-refused' }]);
    expect(driver.machine.shardMap).toEqual([]);
  });
});

describe('the fence of another shard', () => {
  it('lets nobody make a queue without a place, or with one at it or below', () => {
    const driver = new MachineDriver(1_000, new Map(), 1);
    expect(refusal(driver.run(declaration('orders')))).toBe('elsewhere');
    driver.run({ kind: 'fence-names', version: 4 });
    driver.run({ kind: 'fence-names', version: 2 });
    expect(refusal(driver.run(declaration('orders', 4)))).toBe('elsewhere');
    expect(refusal(driver.run(declaration('orders', 5)))).toBe('queue-declared');
    // It makes nothing: it may come late.
    expect(refusal(driver.run(declaration('orders', 1)))).toBe('queue-declared');
  });

  it('is not for shard 0, nor for a shard in memory', () => {
    for (const shard of [0, SHARDS_MAX, 4_096]) {
      const driver = new MachineDriver(1_000, new Map(), shard);
      driver.run({ kind: 'fence-names', version: 4 });
      expect(refusal(driver.run(declaration('orders')))).toBe('queue-declared');
    }
  });

  it('outlives a crash', () => {
    const driver = new MachineDriver(1_000, new Map(), 1);
    driver.run({ kind: 'fence-names', version: 4 });
    driver.checkpoint();
    driver.restart();
    expect(refusal(driver.run(declaration('orders', 4)))).toBe('elsewhere');
  });
});

describe('the map of the shards', () => {
  it('grows by the next number, and the same row again changes nothing', () => {
    const driver = new MachineDriver();
    const add = (number: number, founders: readonly string[]) =>
      driver.run({ kind: 'add-shard', number, founders });
    const refused = [{ kind: 'shard-map-refused' }];
    expect(add(2, FOUNDERS)).toMatchObject(refused);
    expect(add(0, FOUNDERS)).toMatchObject(refused);
    expect(add(1, FOUNDERS)).toMatchObject([{ changed: true }]);
    expect(add(1, FOUNDERS)).toMatchObject([{ changed: false }]);
    expect(add(1, ['n1'])).toMatchObject(refused);
    for (const wrong of [[], ['n1', 'n1'], ['a b'], [''], ['a', 'b', 'c', 'd', 'e', 'f']]) {
      expect(add(2, wrong)).toMatchObject(refused);
    }
    expect(driver.machine.shardMap).toEqual([{ number: 1, founders: FOUNDERS, hosts: FOUNDERS }]);
    for (let number = 2; number < SHARDS_MAX; number += 1) add(number, ['n1']);
    expect(add(SHARDS_MAX, ['n1'])).toMatchObject(refused);
    expect(driver.machine.shardMap).toHaveLength(SHARDS_MAX - 1);
  });

  it('has hosts that come and go, but for the last one; founders stay', () => {
    const driver = shardZero(1);
    const change = (kind: 'host-shard' | 'unhost-shard', node: string, number = 1) =>
      driver.run({ kind, number, node });
    expect(change('host-shard', 'n4')).toMatchObject([{ changed: true }]);
    expect(change('host-shard', 'n4')).toMatchObject([{ changed: false }]);
    expect(change('host-shard', 'n4', 2)).toMatchObject([{ kind: 'shard-map-refused' }]);
    for (const node of FOUNDERS) change('unhost-shard', node);
    expect(change('unhost-shard', 'n1')).toMatchObject([{ changed: false }]);
    expect(change('unhost-shard', 'n4')).toMatchObject([{ kind: 'shard-map-refused' }]);
    expect(driver.machine.shardMap).toEqual([{ number: 1, founders: FOUNDERS, hosts: ['n4'] }]);
  });
});

describe('the records of version 1', () => {
  it('of names, fence and map are written as they always were', () => {
    const driver = shardZero(1);
    for (const each of ['jobs', 'mail', 'mail']) place(driver, each, [1]);
    driver.run({ kind: 'host-shard', number: 1, node: 'n4' });
    const records = driver.dump().filter(([key]) => /^(names|shards)/.test(key));
    expect(records).toEqual([
      ['names', [1, 3, 0, 2, [0]]],
      ['names/0', [1, [1, 'jobs', 1, 1], [2, 'mail', 1, 3]]],
      ['shards', [1, [1, ['n1', 'n2', 'n3'], ['n1', 'n2', 'n3', 'n4']]]],
    ]);
    const other = new MachineDriver(1_000, new Map(), 1);
    other.run({ kind: 'fence-names', version: 7 });
    expect(other.dump().filter(([key]) => key !== 'meta')).toEqual([['names', [1, 0, 7, 0, []]]]);
  });

  it('are not there where there is one shard', () => {
    const driver = new MachineDriver();
    driver.declare('orders');
    driver.run({ kind: 'unplace-queue', name: 'orders', version: 0 });
    expect(driver.dump().filter(([key]) => /^(names|shards)/.test(key))).toEqual([]);
  });
});

type Step = Command | 'freeze' | 'capture' | 'checkpoint' | 'restart';

const name = fc.nat({ max: 200 }).map((at) => `q${at}`);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('place-queue' as const),
      name,
      among: fc.subarray([0, 1, 2], { minLength: 1 }),
      near: fc.oneof(fc.constant(''), name),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('unplace-queue' as const),
      name,
      version: fc.nat({ max: 400 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('host-shard' as const, 'unhost-shard' as const),
      number: fc.integer({ min: 1, max: 2 }),
      node: fc.constantFrom('n1', 'n2', 'n3', 'n4'),
    }),
  },
  { weight: 2, arbitrary: name.map((each) => declaration(each)) },
  {
    weight: 6,
    arbitrary: fc.constantFrom<Step>('freeze', 'capture', 'capture', 'checkpoint', 'restart'),
  },
);

/** What can be seen of names and shards. */
function view({ machine }: MachineDriver): unknown {
  const places = Array.from({ length: 201 }, (_, at) => machine.placeOf(`q${at}`));
  return {
    places,
    map: machine.shardMap,
    count: machine.placedNames.size,
    names: machine.queueNames(),
  };
}

describe('names and shards', () => {
  it('are the same behind any crash, and a checkpoint has them as they were at its cut', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 500, size: 'max' }), (steps) => {
        const driver = shardZero();
        let atCut: unknown;
        for (const each of steps) {
          if (each === 'freeze') {
            if (driver.isFrozen) continue;
            driver.freeze();
            atCut = view(driver);
          } else if (each === 'capture') {
            if (!driver.isFrozen || !driver.capture(2)) continue;
            expect(view(new MachineDriver(1_000, new Map(driver.store)))).toEqual(atCut);
          } else if (each === 'checkpoint') driver.checkpoint();
          else if (each === 'restart') {
            const before = view(driver);
            driver.restart();
            expect(view(driver)).toEqual(before);
          } else driver.run(each);
        }
      }),
      { numRuns: 25 },
    );
  });
});
