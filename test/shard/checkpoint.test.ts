import { describe, expect, it } from 'vitest';
import type { LogIndex } from '../../src/machine/ids.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { CapturedRecord, RecordKey } from '../../src/machine/record-data.ts';
import { Applier } from '../../src/shard/applier.ts';
import { LocationIndex } from '../../src/shard/location-index.ts';
import { decodeRecord } from '../../src/shard/record-codec.ts';
import { RecordLoader } from '../../src/shard/record-loader.ts';
import type { ShardEntry } from '../../src/shard/shard-log.ts';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';
import type { PlainClient } from '../support/shard-world.ts';
import { Random } from '../../raft/simulation/random.ts';

const QUEUES = ['orders', 'bills', 'letters'].map((name) =>
  queue(name, { retry: { minMs: 1, maxMs: 5, multiplier: 2, jitter: 0.5 } }),
);

/** The records of a machine that has seen every entry from the first on and was never stopped. */
function replayed(entries: readonly ShardEntry[]): Map<string, unknown> {
  const machine = new Machine({ maxResidentRecords: 1_000_000 });
  const nothing = { get: () => undefined, getMany: () => undefined } as never;
  // Everything is resident, or was never there: what is missing is answered at once.
  const load = (keys: readonly RecordKey[]): void => {
    for (const key of keys) machine.load(key, undefined);
  };
  for (let keys = machine.startKeys(); keys.length > 0; keys = machine.startKeys()) load(keys);
  const applier = new Applier({
    machine: Object.assign(Object.create(machine) as Machine, {
      keys: (...asked: Parameters<Machine['keys']>) => {
        load(machine.keys(...asked));
        return machine.keys(...asked);
      },
      apply: machine.apply.bind(machine),
    }),
    loader: new RecordLoader(nothing, machine),
    locations: new LocationIndex(0),
    sink: {
      begun: () => undefined,
      confirmed: () => undefined,
      enqueued: () => undefined,
      settled: () => undefined,
      ranged: () => undefined,
      requeued: () => undefined,
      rare: () => undefined,
    },
    applied: { index: 0 as LogIndex, term: 0 },
    monotonicMs: () => 0,
    wake: () => undefined,
    failed: (error) => {
      throw error;
    },
  });
  applier.push(entries);
  while (applier.run(1)) continue;
  const captured: CapturedRecord[] = [];
  machine.freeze();
  while (!machine.capture(1_000, captured)) continue;
  return new Map(
    captured.filter(({ data }) => data !== undefined).map(({ key, data }) => [key, data]),
  );
}

async function stored(world: ShardWorld): Promise<Map<string, unknown>> {
  const store = await world.records.open();
  const records = new Map<string, unknown>();
  for await (const page of store.iterate('')) {
    for (const { key, value } of page) {
      const isMachines = !/^(location|log-window|run)/.test(key);
      if (isMachines) records.set(key, decodeRecord(value));
    }
  }
  await store.close();
  return records;
}

async function load(client: PlainClient, random: Random, steps: number): Promise<void> {
  let seen = 0;
  for (let step = 0; step < steps; step++) {
    for (let count = random.between(0, 8); count > 0; count--) {
      const { name } = random.pick(QUEUES);
      client.enqueue([client.queues.get(name) ?? 0], `${step}`);
    }
    if (random.chance(0.2)) {
      client.consume(
        1_000 + client.next + step,
        client.queues.get(random.pick(QUEUES).name) ?? 0,
        20,
      );
    }
    for (; seen < client.deliveries.length && random.chance(0.8); seen++) {
      const delivery = client.deliveries[seen];
      if (delivery === undefined) continue;
      client.settle(delivery, random.pick(['complete', 'complete', 'requeue', 'discard']));
      client.grant(delivery.consumer, 1);
    }
    if (random.chance(0.05)) client.closeConsumer(1_000 + client.next - 1, 'lost');
    client.send();
    if (random.chance(0.6)) await turn();
  }
}

describe('checkpoint', () => {
  it('is one cut under load: store and log give the state of an unbroken machine', async () => {
    for (let seed = 0; seed < 5; seed++) {
      const random = new Random(seed);
      const world = new ShardWorld();
      // Slices of a single step: apply runs in the middle of each checkpoint.
      const limits = {
        sliceMs: 0.02,
        checkpointBytes: random.pick([300, 3_000]),
        residentRecordsMax: random.pick([0, 10, 1_000]),
        locationBytes: 1,
      };
      let checkpoints = 0;
      for (let life = 0; life < 4; life++) {
        const client = await world.open({ queues: QUEUES, limits });
        await load(client, random, 60);
        checkpoints += world.shard?.stats().get('checkpoint/count') ?? 0;
        if (life === 3) break;
        world.crash();
      }
      await world.stop();
      expect(checkpoints).toBeGreaterThan(3);
      const expected = replayed(world.disk.history);
      const found = await stored(world);
      expect([...found.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
      for (const [key, data] of expected)
        expect(found.get(key), `${key}, seed ${seed}`).toEqual(data);
    }
  });

  it('each start has a term of its own, above all before', async () => {
    const world = new ShardWorld();
    const terms: number[] = [];
    for (let life = 0; life < 4; life++) {
      const client = await world.open();
      client.enqueue([client.queues.get('orders') ?? 0], 'one');
      client.consume(1, client.queues.get('orders') ?? 0, 100);
      client.send();
      await until(() => client.deliveries.length === life + 1);
      terms.push(client.deliveries[0]?.term ?? 0);
      expect(client.boot).toBe(life + 1);
      if (life % 2 === 0) world.crash();
      else await world.stop();
    }
    expect(terms).toEqual([1, 2, 3, 4]);
  });

  it('is not written before the log of this node has its index on the disk', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: QUEUES });
    client.enqueue([client.queues.get('orders') ?? 0], 'one');
    client.send();
    await until(() => client.confirmed === 1);
    let release = (): void => undefined;
    if (world.log !== undefined) {
      world.log.syncing = new Promise((resolve) => {
        release = resolve;
      });
    }
    const count = (): number => world.shard?.stats().get('checkpoint/count') ?? 0;
    const before = count();
    const checkpoint = world.shard?.checkpoint();
    for (let turns = 0; turns < 50; turns++) await turn();
    expect(count()).toBe(before);
    release();
    await checkpoint;
    expect(count()).toBe(before + 1);
    await world.stop();
  });

  it('gives the log back only up to what a queue still wants', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: QUEUES });
    client.enqueue([client.queues.get('bills') ?? 0], 'stuck');
    client.send();
    await until(() => client.confirmed === 1);
    const stuckAt = world.log?.committed ?? 0;
    client.consume(1, client.queues.get('orders') ?? 0, 1_000);
    for (let n = 0; n < 100; n++) {
      client.enqueue([client.queues.get('orders') ?? 0], `${n}`);
      client.send();
      await until(() => client.deliveries.length === n + 1);
      const delivery = client.deliveries[n];
      if (delivery !== undefined) client.settle(delivery, 'complete');
    }
    client.send();
    await until(() => world.shard?.stats().get('depth\0orders') === 0);
    await world.shard?.checkpoint();
    expect(world.disk.start).toBe(stuckAt);
    client.consume(2, client.queues.get('bills') ?? 0, 1);
    client.send();
    await until(() => client.deliveries.length === 101);
    const delivery = client.deliveries[100];
    if (delivery !== undefined) client.settle(delivery, 'complete');
    client.send();
    await until(() => world.shard?.stats().get('depth\0bills') === 0);
    await world.shard?.checkpoint();
    expect(world.disk.start).toBe((world.log?.committed ?? 0) + 1);
    await world.stop();
  });

  it('D6: floor, settled messages and attempts are there again after a crash', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: QUEUES });
    const orders = client.queues.get('orders') ?? 0;
    for (let n = 0; n < 6; n++) client.enqueue([orders], `${n}`);
    client.consume(1, orders, 6);
    client.send();
    await until(() => client.deliveries.length === 6);
    const at = (n: number) => client.deliveries[n] ?? expect.fail('not delivered');
    client.settle(at(0), 'complete');
    client.settle(at(3), 'complete');
    client.settle(at(4), 'requeue');
    client.settle(at(5), 'discard');
    client.send();
    await until(() => world.shard?.stats().get('depth\0orders') === 3);
    world.crash();
    world.wallMs += 60_000;
    const again = await world.open({ queues: QUEUES });
    again.consume(1, orders, 10);
    again.send();
    await until(() => again.deliveries.length === 3);
    const held = again.deliveries.map(({ text, attempt, redelivered }) => [
      text,
      attempt,
      redelivered,
    ]);
    expect(held.toSorted(([a], [b]) => Number(a) - Number(b))).toEqual([
      ['1', 1, true],
      ['2', 1, true],
      ['4', 2, true],
    ]);
    await world.stop();
  });
});
