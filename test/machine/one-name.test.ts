/**
 * Whoever declares and deletes one name, in whatever order their steps come, and whoever of them
 * stops in the middle: it is never in two shards.
 *
 * Each of them goes from shard to shard, one command at a time, as a node does it over the network:
 * declare is place, then declare there, and again when that is refused; delete is where, then fence
 * and delete there, then unplace; a name whose queue is gone goes by fence, look and unplace. What
 * comes between two of these may be anything.
 */
import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { MachineDriver } from './machine-driver.ts';

const NAME = 'orders';
const SHARDS = [0, 1, 2];
const TRIES = 4;

type Shards = readonly MachineDriver[];
/** Between two of its steps others do theirs. */
type Actor = Generator<undefined, void>;

function newShards(): Shards {
  const shards = SHARDS.map((shard) => new MachineDriver(1_000, new Map(), shard));
  for (const number of [1, 2]) shards[0]?.run({ kind: 'add-shard', number, founders: ['n1'] });
  return shards;
}

function of(shards: Shards, shard: number): MachineDriver {
  return shards[shard] as MachineDriver;
}

/** True: it is there now. */
function declareIn(shards: Shards, shard: number, placed?: number): boolean {
  const topics = [`$queue/${NAME}/#`];
  const definition = { name: NAME, type: 'classic', topics, limits: DEFAULT_LIMITS } as const;
  const effects = of(shards, shard).run({ kind: 'declare-queue', ...definition, placed });
  return effects.every(({ kind }) => kind !== 'queue-refused');
}

function* declarer(shards: Shards, among: readonly number[]): Actor {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const [placed] = of(shards, 0).run({ kind: 'place-queue', name: NAME, among, near: '' });
    if (placed?.kind !== 'queue-placed') throw new Error('it was not placed');
    yield;
    const { shard, version } = placed;
    if (declareIn(shards, shard, shard === 0 ? undefined : version)) return;
    yield;
  }
}

/** Of a configuration: asks nobody. */
function* configured(shards: Shards): Actor {
  declareIn(shards, 0);
  yield;
}

function* deleter(shards: Shards): Actor {
  const place = of(shards, 0).machine.placeOf(NAME);
  yield;
  if (place === undefined) return;
  const { shard, version } = place;
  const there = of(shards, shard);
  if (shard !== 0) {
    there.run({ kind: 'fence-names', version });
    yield;
  }
  const queueId: QueueId | undefined = there.machine.queueNamed(NAME)?.queueId;
  yield;
  if (queueId !== undefined) there.run({ kind: 'delete-queue', queueId });
  yield;
  if (shard !== 0) of(shards, 0).run({ kind: 'unplace-queue', name: NAME, version });
}

/** Gives up the name of a queue that is gone; the fence comes before the look that counts. */
function* sweeper(shards: Shards): Actor {
  const place = of(shards, 0).machine.placeOf(NAME);
  yield;
  if (place === undefined || place.shard === 0) return;
  const { shard, version } = place;
  const there = of(shards, shard);
  there.run({ kind: 'fence-names', version });
  yield;
  const isThere = there.machine.queueNamed(NAME) !== undefined;
  yield;
  if (!isThere) of(shards, 0).run({ kind: 'unplace-queue', name: NAME, version });
}

/** Queues that go without anybody who gives up their name. */
function* expiry(shards: Shards): Actor {
  for (const shard of shards) {
    const queueId = shard.machine.queueNamed(NAME)?.queueId;
    if (queueId !== undefined) shard.run({ kind: 'delete-queue', queueId });
  }
  yield;
}

const actor: fc.Arbitrary<(shards: Shards) => Actor> = fc.oneof(
  fc.subarray(SHARDS, { minLength: 1 }).map((among) => (shards: Shards) => declarer(shards, among)),
  fc.constant(deleter),
  fc.constant(configured),
  fc.constant(sweeper),
  fc.constant(expiry),
);

/** Which of them does its next step; one that is never chosen again has stopped in the middle. */
const turns = fc.array(fc.nat({ max: 5 }), { maxLength: 40, size: 'max' });

describe('a name', () => {
  it('is never in two shards, whoever declares and deletes it, and however their steps come', () => {
    const found = { made: 0, gone: 0 };
    fc.assert(
      fc.property(fc.array(actor, { minLength: 2, maxLength: 6 }), turns, (makers, order) => {
        const shards = newShards();
        const actors = makers.map((make) => make(shards));
        let before = 0;
        for (const turn of order) {
          actors[turn]?.next();
          const having = shards.filter(({ machine }) => machine.queueNamed(NAME) !== undefined);
          expect(having.length).toBeLessThan(2);
          // And shard 0 knows where it is.
          const place = of(shards, 0).machine.placeOf(NAME);
          for (const { machine } of having) expect(place?.shard).toBe(machine.shard);
          if (having.length > before) found.made += 1;
          if (having.length < before) found.gone += 1;
          before = having.length;
        }
      }),
      { numRuns: 700 },
    );
    expect(found.made).toBeGreaterThan(50);
    expect(found.gone).toBeGreaterThan(10);
  });

  it('that was placed, deleted and placed elsewhere is not made where it was placed first', () => {
    const shards = newShards();
    const [a, b] = [declarer(shards, [1]), declarer(shards, [2])];
    a.next();
    // It is not there, and goes all the same: a declaration may be under way.
    for (const _ of deleter(shards));
    for (const _ of b);
    for (const _ of a);
    expect(shards.map(({ machine }) => machine.queueCount)).toEqual([0, 0, 1]);
  });

  it('whose queue is gone is given up, and not while its queue is there', () => {
    const shards = newShards();
    for (const make of [declarer(shards, [1]), sweeper(shards)]) for (const _ of make);
    expect(of(shards, 0).machine.placeOf(NAME)?.shard).toBe(1);
    for (const make of [expiry(shards), sweeper(shards)]) for (const _ of make);
    expect(of(shards, 0).machine.placeOf(NAME)).toBeUndefined();
  });

  it('that is given up while it is declared is placed anew, and made once', () => {
    const shards = newShards();
    const declaring = declarer(shards, [1]);
    declaring.next();
    for (const _ of sweeper(shards));
    for (const _ of declaring);
    const place = of(shards, 0).machine.placeOf(NAME);
    expect(place).toEqual({ shard: 1, version: 2 });
    expect(shards.map(({ machine }) => machine.queueCount)).toEqual([0, 1, 0]);
  });

  it('is free again when all is done, and goes where it is wanted then', () => {
    const shards = newShards();
    for (const make of [declarer(shards, [1]), deleter(shards), declarer(shards, [2])]) {
      for (const _ of make);
    }
    expect(of(shards, 0).machine.placeOf(NAME)).toEqual({ shard: 2, version: 2 });
    expect(shards.map(({ machine }) => machine.queueCount)).toEqual([0, 0, 1]);
  });
});
