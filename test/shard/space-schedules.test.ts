/**
 * Spill, checkpoint, rewriting and deletion under power cuts at any step of the disk. One again:
 * SEED=123 npx vitest run test/shard/space-schedules.test.ts
 */
import { describe, expect, test } from 'vitest';
import { MemoryRecords } from '../../storage/storage.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { bySeed, ONLY } from '../support/by-seed.ts';
import { Random } from '../../raft/simulation/random.ts';
import type { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';
import { LOG_FOLDER, RUNS_FOLDER, SMALL_SPACE, SpaceWorld } from '../support/space-world.ts';

const FILE = 'test/shard/space-schedules.test.ts';
const FIRST = Number(process.env['FIRST'] ?? 0);
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 25);
const QUEUES = ['a', 'b', 'stream'];

const SEEN = [
  'cut while working',
  'cut in recovery',
  'stopped cleanly',
  'spilled',
  'rewritten or merged',
  'a run dropped',
  'a file left over and removed',
  'a queue deleted with messages in runs',
  'a stream cut with messages in runs',
  'wanted and read from a run after a cut',
] as const;
type Seen = (typeof SEEN)[number];

interface Queue {
  readonly name: string;
  id: QueueId;
  /** By offset. */
  texts: string[];
  confirmed: number;
  /** Of a stream: everything below what was asked to be its start. */
  settled: Set<number>;
}

class Schedule {
  readonly #disk: SimulatedDisk;
  readonly #random: Random;
  readonly #saw: (what: Seen) => void;
  readonly #records: MemoryRecords;
  readonly #queues: Queue[] = [];
  #world: SpaceWorld | undefined;
  #count = 0;

  constructor(disk: SimulatedDisk, random: Random, saw: (what: Seen) => void) {
    this.#disk = disk;
    this.#random = random;
    this.#saw = saw;
    const syncing = random.stream('records');
    this.#records = new MemoryRecords(async () => {
      for (let turns = syncing.below(10); turns > 0; turns -= 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  }

  async makeFolders(): Promise<void> {
    const files = this.#disk.mount();
    for (const folder of [LOG_FOLDER, RUNS_FOLDER]) await files.makeDirectory(folder);
    await files.syncDirectory('/data');
    await files.syncDirectory('/');
  }

  async open(): Promise<void> {
    const files = this.#disk.mount();
    const before = await files.list(RUNS_FOLDER);
    const world = await SpaceWorld.open(files, await this.#records.open(), SMALL_SPACE);
    this.#world = world;
    const after = await files.list(RUNS_FOLDER);
    if (after.length < before.length) this.#saw('a file left over and removed');
    const named = [...world.runSet.named()].map((runId) => `${runId}.run`);
    expect(after.toSorted()).toEqual(named.toSorted());
    for (const name of QUEUES) {
      const known = this.#queues.find((queue) => queue.name === name);
      const id = world.machine.queueNamed(name)?.queueId ?? (await this.#declare(world, name));
      if (known === undefined) {
        this.#queues.push({ name, id, texts: [], confirmed: 0, settled: new Set() });
      } else if (known.id !== id) renew(known, id);
    }
  }

  async work(steps: number): Promise<void> {
    const random = this.#random;
    const world = this.#world as SpaceWorld;
    for (let left = steps; left > 0; left -= 1) {
      const what = random.below(10);
      if (what < 5) await this.#publish(world);
      else if (what < 7) await this.#settle(world);
      else if (what < 8 && random.chance(0.2)) await this.#delete(world);
      else if (what < 9) world.monotonicMs += random.below(5000);
      else await world.checkpoint();
      world.housekeeping.look();
      if (random.chance(0.2)) await world.tidy();
      if (world.failure !== undefined) throw world.failure;
    }
    const { spills, rewrites, dropped } = world.housekeeping.stats;
    if (spills > 0) this.#saw('spilled');
    if (rewrites > 0) this.#saw('rewritten or merged');
    if (dropped > 0) this.#saw('a run dropped');
  }

  async stop(): Promise<void> {
    await this.#world?.stop();
    this.#saw('stopped cleanly');
  }

  crashed(): void {
    this.#records.crash(this.#random.chance(0.5));
  }

  /** Everything that is wanted is there, as it was, at its offset. */
  async check(): Promise<void> {
    const world = this.#world as SpaceWorld;
    for (const queue of this.#queues) {
      await world.isWanted(queue.id, 0);
      const next = world.machine.nextOffset(queue.id) ?? 0;
      expect(next, `${queue.name} has lost what was confirmed`).toBeGreaterThanOrEqual(
        queue.confirmed,
      );
      queue.texts.length = Math.min(queue.texts.length, next);
      queue.confirmed = next;
      let unsettled = 0;
      for (const [offset, text] of queue.texts.entries()) {
        const wanted = await world.isWanted(queue.id, offset);
        if (!wanted) {
          expect(queue.settled.has(offset), `${queue.name}/${offset} was settled`).toBe(true);
          continue;
        }
        unsettled += 1;
        expect(await world.read(queue.id, offset), `${queue.name}/${offset}`).toBe(text);
        if (world.runSet.find(queue.id, offset as never) !== undefined) {
          this.#saw('wanted and read from a run after a cut');
        }
      }
      expect(unsettled).toBeGreaterThanOrEqual(queue.texts.length - queue.settled.size);
    }
    expect(world.alarmLines).toEqual([]);
  }

  async #publish(world: SpaceWorld): Promise<void> {
    const queues = this.#queues.filter(() => this.#random.chance(0.6));
    if (queues.length === 0) return;
    const batch: { queues: number[]; text: string }[] = [];
    for (let left = this.#random.between(1, 12); left > 0; left -= 1) {
      const text = `${this.#count++} ${'x'.repeat(this.#random.below(250))}`;
      const targets = queues.filter(() => this.#random.chance(0.7));
      if (targets.length === 0) continue;
      batch.push({ queues: targets.map((queue) => queue.id), text });
      for (const queue of targets) queue.texts.push(text);
    }
    if (batch.length === 0) return;
    await world.publish(batch);
    for (const queue of queues) queue.confirmed = queue.texts.length;
  }

  #declare(world: SpaceWorld, name: string): Promise<QueueId> {
    return world.declare(name, {}, name === 'stream' ? 'stream' : 'classic');
  }

  async #delete(world: SpaceWorld): Promise<void> {
    const queue = this.#random.pick(this.#queues);
    if (world.runSet.pieces(queue.id).length > 0) {
      this.#saw('a queue deleted with messages in runs');
    }
    await world.plain({ kind: 'delete-queue', queueId: queue.id });
    renew(queue, await this.#declare(world, queue.name));
  }

  async #cut(world: SpaceWorld, queue: Queue): Promise<void> {
    const start = Math.floor(queue.confirmed * this.#random.pick([0.2, 0.6, 1]));
    if ((world.runSet.pieces(queue.id)[0]?.first ?? start) < start) {
      this.#saw('a stream cut with messages in runs');
    }
    for (let offset = 0; offset < start; offset += 1) queue.settled.add(offset);
    await world.plain({ kind: 'retain', queueId: queue.id, start: start as Offset });
  }

  async #settle(world: SpaceWorld): Promise<void> {
    const queue = this.#random.pick(this.#queues);
    if (queue.name === 'stream') {
      await this.#cut(world, queue);
      return;
    }
    const upTo = Math.floor(queue.confirmed * this.#random.pick([0.3, 0.8, 1]));
    const offsets: number[] = [];
    for (let offset = 0; offset < upTo && offsets.length < 100; offset += 1) {
      if (queue.settled.has(offset) || this.#random.chance(0.1)) continue;
      offsets.push(offset);
      queue.settled.add(offset);
    }
    if (offsets.length > 0) await world.settle(queue.id, offsets);
  }
}

/** The queue is another one by the same name. */
function renew(queue: Queue, id: QueueId): void {
  queue.id = id;
  queue.texts = [];
  queue.confirmed = 0;
  queue.settled = new Set();
}

async function powerCuts(
  disk: SimulatedDisk,
  seed: number,
  coverage: Map<Seen, number>,
): Promise<void> {
  const random = new Random(seed).stream('space');
  const schedule = new Schedule(disk, random, (what) => {
    coverage.set(what, (coverage.get(what) ?? 0) + 1);
  });
  await schedule.makeFolders();
  for (let lives = random.between(2, 5); lives > 0; lives -= 1) {
    if (random.chance(0.4)) disk.cutPowerAfter(random.below(random.pick([20, 80, 400])));
    const opened = await disk.run(schedule.open());
    if (opened.cut) {
      coverage.set('cut in recovery', 1);
      schedule.crashed();
      continue;
    }
    disk.cutPowerAfter(Number.MAX_SAFE_INTEGER);
    await schedule.check();
    disk.cutPowerAfter(random.below(random.pick([200, 1000, 4000])));
    const worked = await disk.run(schedule.work(random.between(20, 120)));
    if (worked.cut) coverage.set('cut while working', 1);
    else if (random.chance(0.5)) {
      const stopped = await disk.run(schedule.stop());
      if (!stopped.cut) disk.cutPower();
    } else disk.cutPower();
    schedule.crashed();
  }
  await schedule.open();
  await schedule.check();
  await schedule.stop();
}

describe('space under power cuts', () => {
  const coverage = new Map<Seen, number>();

  test('D11: a cut at any step: nothing lost, nothing twice, no file left over', async () => {
    const seeds = ONLY === undefined ? SCHEDULES : 1;
    for (let at = 0; at < seeds; at += 1) {
      const seed = Number(ONLY ?? FIRST + at);
      await bySeed(FILE, seed, (disk) => powerCuts(disk, seed, coverage));
    }
  }, 180_000);

  test.runIf(ONLY === undefined)('the schedules saw what they are for', () => {
    expect(SEEN.filter((what) => !coverage.has(what))).toEqual([]);
  });
});
