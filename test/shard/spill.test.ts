import { describe, expect, it } from 'vitest';
import { MemoryRecords } from '../../storage/storage.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { runsIn } from '../support/small-run.ts';
import { RUNS_FOLDER, SMALL_SPACE, SpaceWorld } from '../support/space-world.ts';

const NO_RETENTION = DEFAULT_LIMITS.retention;
const PAYLOAD = 'x'.repeat(100);

function runFiles(files: MemoryFiles): string[] {
  return files.paths().filter((path) => path.startsWith(RUNS_FOLDER));
}

async function open(files: MemoryFiles, records: MemoryRecords, limits = {}): Promise<SpaceWorld> {
  return SpaceWorld.open(files, await records.open(), { ...SMALL_SPACE, ...limits });
}

/** `count` messages, one to each queue in turn, a few in an entry. */
async function fill(world: SpaceWorld, queues: readonly QueueId[], count: number): Promise<void> {
  for (let at = 0; at < count;) {
    const batch: { queues: number[]; text: string }[] = [];
    for (const end = Math.min(at + 7, count); at < end; at += 1) {
      const queue = queues[at % queues.length] as number;
      batch.push({
        queues: [queue],
        text: `${queue}:${Math.floor(at / queues.length)} ${PAYLOAD}`,
      });
    }
    await world.publish(batch);
  }
}

async function expectAll(
  world: SpaceWorld,
  queue: QueueId,
  offsets: Iterable<number>,
): Promise<void> {
  for (const offset of offsets) {
    expect(await world.isWanted(queue, offset), `${queue}/${offset} is wanted`).toBe(true);
    expect(await world.read(queue, offset)).toBe(`${queue}:${offset} ${PAYLOAD}`);
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_none, at) => from + at);
}

describe('what leaves the window of the log', () => {
  it('is spilled into runs, sorted, and read from there; the log keeps its window', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queues = [await world.declare('b'), await world.declare('a'), await world.declare('c')];
    await fill(world, queues, 600);
    await world.tidy();
    expect(world.log.bytes).toBeLessThan(SMALL_SPACE.windowBytes + 3 * SMALL_SPACE.segmentBytes);
    expect(world.log.start).toBeGreaterThan(1);
    expect(world.runSet.size).toBeGreaterThan(0);
    expect(runFiles(files)).toHaveLength(world.runSet.size);
    for (const queue of queues) await expectAll(world, queue, range(0, 200));
    await world.stop();
  });

  it('is there after a restart, and after a power cut', async () => {
    let files = new MemoryFiles();
    const records = new MemoryRecords();
    let world = await open(files, records);
    const queues = [await world.declare('a'), await world.declare('b')];
    await fill(world, queues, 300);
    await world.tidy();
    await world.stop();
    world = await open(files, records);
    for (const queue of queues) await expectAll(world, queue, range(0, 150));
    await fill(world, [queues[0] as QueueId], 0);
    files = files.crash();
    records.crash();
    world = await open(files, records);
    for (const queue of queues) await expectAll(world, queue, range(0, 150));
    await world.stop();
  });

  it('is dropped where nothing is wanted, without a run', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queue = await world.declare('a');
    for (let round = 0; round < 20; round += 1) {
      await fill(world, [queue], 30);
      await world.settle(queue, range(round * 30, round * 30 + 30));
    }
    await world.tidy();
    expect(runFiles(files)).toEqual([]);
    expect(world.log.bytes).toBeLessThan(SMALL_SPACE.windowBytes + 2 * SMALL_SPACE.segmentBytes);
    await world.stop();
  });

  it('waits while a replica beside it is handed what is there, all of it and once', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queues = [await world.declare('a'), await world.declare('b')];
    await fill(world, queues, 300);
    await world.tidy();
    const { spills } = world.housekeeping.stats;
    const { start } = world.log;
    const next = runsIn(files, { directory: '/next', owner: world.log.id });
    let isOver = (): void => undefined;
    const waits = new Promise<void>((resolve) => {
      isOver = resolve;
    });
    let runId = 100;
    const handed = world.housekeeping.withoutSpill(async (copyLog) => {
      const copied = await copyLog(next, () => runId++);
      await waits;
      return copied;
    });
    await fill(world, queues, 300);
    await world.tidy(200);
    expect([world.housekeeping.stats.spills, world.log.start]).toEqual([spills, start]);
    const spilled = queues.map((queueId) => (world.runSet.pieces(queueId).at(-1)?.last ?? -1) + 1);
    isOver();
    const { records, boundary } = await handed;
    expect(boundary).toBeGreaterThan(start);
    const pieces = records.flatMap((record) => record.pieces);
    expect(pieces.map(({ queueId, first, last }) => [queueId, first, last])).toEqual(
      queues.map((queueId, nth) => [queueId, spilled[nth], 149]),
    );
    await world.tidy();
    expect(world.housekeeping.stats.spills).toBeGreaterThan(spills);
    for (const queue of queues) await expectAll(world, queue, range(0, 150));
    await world.stop();
    await expect(world.housekeeping.withoutSpill(() => Promise.resolve())).rejects.toThrow('stops');
  });

  it('what came shortly behind a look is looked for once more, also if nothing follows', async () => {
    const world = await open(new MemoryFiles(), new MemoryRecords());
    const { housekeeping } = world;
    const queue = await world.declare('a');
    world.monotonicMs = 5000;
    housekeeping.look();
    await fill(world, [queue], 100);
    housekeeping.look();
    expect(housekeeping.stats.spills).toBe(0);
    expect(housekeeping.nextLook).toBe(5100.01);
    world.monotonicMs = housekeeping.nextLook;
    housekeeping.look();
    while (housekeeping.isBusy) await new Promise((resolve) => setImmediate(resolve));
    expect(housekeeping.stats.spills).toBe(1);
    await world.stop();
  });

  it('publishes wait for a part of the time before they wait for good, until it is spilled', async () => {
    const world = await open(new MemoryFiles(), new MemoryRecords());
    const { housekeeping } = world;
    const queue = await world.declare('a');
    const { windowBytes } = SMALL_SPACE;
    const waits = (): number => {
      // The spill that it begins comes to nothing before the next turn.
      world.monotonicMs += 5000;
      housekeeping.look();
      for (let ms = 0; ms <= 2000; ms += 1, world.monotonicMs += 1) {
        if (!housekeeping.holdsBack()) return ms;
        const { isLate, nextLook } = housekeeping;
        // The end of the spill is told.
        if (!isLate) expect(nextLook).toBeLessThanOrEqual(world.monotonicMs + 2000 - ms);
        if (ms % 100 === 0) housekeeping.look();
      }
      return Number.POSITIVE_INFINITY;
    };
    while (world.log.bytes < windowBytes * 1.4) await fill(world, [queue], 1);
    expect(waits()).toBe(0);
    while (world.log.bytes < windowBytes * 1.7) await fill(world, [queue], 1);
    expect(waits()).toBeGreaterThan(30);
    expect(waits()).toBeLessThan(120);
    while (world.log.bytes < windowBytes * 1.92) await fill(world, [queue], 1);
    expect(waits()).toBeGreaterThan(400);
    // For one look they come.
    world.monotonicMs += 90;
    housekeeping.look();
    expect(housekeeping.holdsBack()).toBe(false);
    world.monotonicMs += 100;
    housekeeping.look();
    expect(housekeeping.holdsBack()).toBe(true);
    // Should it end behind the last question of a turn, another turn follows.
    world.monotonicMs += 2000;
    expect(housekeeping.nextLook).toBeLessThan(world.monotonicMs);
    world.monotonicMs -= 2000;
    while (housekeeping.isBusy) await new Promise((resolve) => setImmediate(resolve));
    expect(housekeeping.holdsBack()).toBe(false);
    while (world.log.bytes < windowBytes * 2) await fill(world, [queue], 1);
    expect([waits(), housekeeping.isLate]).toEqual([Number.POSITIVE_INFINITY, true]);
    await world.tidy();
    expect([waits(), housekeeping.isLate]).toEqual([0, false]);
    await world.stop();
  });

  it('where no segment can leave, publishes do not wait, however small the window', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords(), {
      segmentBytes: 1 << 20,
      windowBytes: 2 << 20,
      windowMessages: 5,
    });
    const queue = await world.declare('a');
    await fill(world, [queue], 100);
    await world.tidy();
    expect([world.housekeeping.isLate, world.housekeeping.holdsBack()]).toEqual([false, false]);
    expect(runFiles(files)).toEqual([]);
    await world.stop();
  });

  it('a stop in the middle of a spill leaves no file, and the next life does it', async () => {
    let files = new MemoryFiles();
    const records = new MemoryRecords();
    let world = await open(files, records);
    const queue = await world.declare('a');
    await fill(world, [queue], 400);
    world.monotonicMs += 1000;
    world.housekeeping.look();
    expect(world.housekeeping.isBusy).toBe(true);
    await world.stop();
    expect(world.failure).toBeUndefined();
    expect(runFiles(files)).toEqual([]);
    files = files.crash();
    records.crash();
    world = await open(files, records);
    await world.tidy();
    expect(runFiles(files).length).toBeGreaterThan(0);
    await expectAll(world, queue, range(0, 400));
    await world.stop();
  });

  it('Q28: one message unsettled for ever, many behind it: it pins itself, not the log', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queue = await world.declare('a');
    await fill(world, [queue], 1);
    for (let round = 0; round < 40; round += 1) {
      await fillFrom(world, queue, 1 + round * 30, 30);
      await world.settle(queue, range(1 + round * 30, 31 + round * 30));
      await world.tidy();
    }
    expect(world.log.bytes).toBeLessThan(SMALL_SPACE.windowBytes + 2 * SMALL_SPACE.segmentBytes);
    expect(world.runSet.bytes).toBeLessThan(2000);
    expect(world.runSet.size).toBeLessThanOrEqual(2);
    await expectAll(world, queue, [0]);
    await world.stop();
  });

  it('of a queue larger than a quarter of it goes into a run of its own', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const large = await world.declare('large', {}, 'stream');
    const small = [await world.declare('s1'), await world.declare('s2')];
    for (let at = 0; at < 60; at += 1) {
      await world.publish([
        ...range(0, 6).map((nth) => ({
          queues: [large],
          text: `${large}:${at * 6 + nth} ${PAYLOAD}`,
        })),
        ...small.map((queue) => ({ queues: [queue], text: `${queue}:${at} ${PAYLOAD}` })),
      ]);
    }
    await world.tidy();
    const owners = [...world.runSet.runs()].map((run) => run.only);
    expect(owners).toContain(large);
    expect(owners.filter((only) => only !== large).length).toBeGreaterThan(0);
    await expectAll(world, large, range(0, 360));
    for (const queue of small) await expectAll(world, queue, range(0, 60));
    await world.stop();
  });
});

async function fillFrom(
  world: SpaceWorld,
  queue: QueueId,
  from: number,
  count: number,
): Promise<void> {
  await world.publish(
    range(from, from + count).map((at) => ({ queues: [queue], text: `${queue}:${at} ${PAYLOAD}` })),
  );
}

describe('space comes back', () => {
  it('when what a run holds was settled: the file goes, on an idle queue too', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queue = await world.declare('a');
    await fill(world, [queue], 300);
    await world.tidy();
    expect(runFiles(files).length).toBeGreaterThan(0);
    for (let at = 0; at < 300; at += 50) await world.settle(queue, range(at, at + 50));
    await world.tidy();
    await world.checkpoint();
    expect(runFiles(files)).toEqual([]);
    expect(world.runSet.size).toBe(0);
    await world.stop();
  });

  it('when a queue is deleted', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const [gone, kept] = [await world.declare('gone'), await world.declare('kept')];
    await fill(world, [gone, kept], 400);
    await world.tidy();
    const before = world.runSet.bytes;
    await world.plain({ kind: 'delete-queue', queueId: gone });
    await world.tidy();
    await world.checkpoint();
    await world.plain({ kind: 'delete-queue', queueId: kept });
    await world.tidy();
    await world.checkpoint();
    expect(before).toBeGreaterThan(10_000);
    expect(runFiles(files)).toEqual([]);
    await world.stop();
  });

  it('Q31: but what is on its way elsewhere stays, also past the end of its queue', async () => {
    const files = new MemoryFiles();
    const records = new MemoryRecords();
    let world = await open(files, records);
    const queue = await world.declare('a', { deadLetter: 'dead' });
    await fill(world, [queue], 400);
    await world.settle(queue, [7, 390], 'discard');
    await world.settle(
      queue,
      range(0, 400).filter((offset) => offset !== 7 && offset !== 390),
    );
    await world.plain({ kind: 'delete-queue', queueId: queue });
    const other = await world.declare('b');
    await fill(world, [other], 400);
    await world.tidy();
    await world.checkpoint();
    await world.stop();
    world = await open(files, records);
    expect(world.log.bytes).toBeLessThan(SMALL_SPACE.windowBytes + 2 * SMALL_SPACE.segmentBytes);
    await expectAll(world, queue, [7, 390]);
    for (const intent of world.machine.openIntents(0, 10)) {
      world.intents.set(intent.number, intent.queueId);
      await world.plain({ kind: 'skip-intent', intent: intent.number, reason: 'no-target' });
    }
    await world.settle(other, range(0, 400));
    await world.tidy();
    await world.checkpoint();
    expect(runFiles(files)).toEqual([]);
    await world.stop();
  });

  it('Q7: of a stream by its retention, whole files at once and without a copy', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queue = await world.declare(
      's',
      { retention: { ...NO_RETENTION, messages: 200 } },
      'stream',
    );
    for (let from = 0; from < 2000; from += 100) {
      await fillFrom(world, queue, from, 50);
      await fillFrom(world, queue, from + 50, 50);
      await world.tidy();
    }
    await world.checkpoint();
    const start = world.machine.start(queue) ?? 0;
    expect(start).toBeGreaterThan(1500);
    await expectAll(world, queue, range(start, 2000));
    expect(world.runSet.bytes + world.log.bytes).toBeLessThan(60_000);
    expect(world.housekeeping.stats.dropped).toBeGreaterThan(3);
    await world.stop();
  });

  it('when most of a run was settled: it is rewritten, and the rest is what it was', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords(), {
      segmentBytes: 512 * 1024,
      windowBytes: 1024 * 1024,
      spillBufferBytes: 64 * 1024,
      blockBytes: 4096,
    });
    const queue = await world.declare('a');
    for (let at = 0; at < 12_000; at += 400) await fillFrom(world, queue, at, 400);
    await world.tidy();
    const before = world.runSet.bytes;
    expect(before).toBeGreaterThan(200_000);
    const wanted = range(0, 12_000).filter((offset) => offset % 10 === 0);
    const unwanted = range(0, 12_000).filter((offset) => offset % 10 !== 0);
    for (let at = 0; at < unwanted.length; at += 1000) {
      await world.settle(queue, unwanted.slice(at, at + 1000));
    }
    await world.tidy();
    await world.checkpoint();
    expect(world.housekeeping.stats.rewrites).toBeGreaterThan(0);
    expect(world.runSet.bytes).toBeLessThan(before / 4);
    expect(runFiles(files)).toHaveLength(world.runSet.size);
    await expectAll(world, queue, wanted);
    await world.stop();
  });

  it('and small runs are merged, so that their number stays bounded', async () => {
    const files = new MemoryFiles();
    const records = new MemoryRecords();
    let world = await open(files, records);
    const queues = [await world.declare('a'), await world.declare('b')];
    let most = 0;
    for (let round = 0; round < 60; round += 1) {
      for (const queue of queues) await fillFrom(world, queue, round * 20, 20);
      await world.tidy();
      most = Math.max(most, world.runSet.size);
    }
    expect(world.housekeeping.stats.spills).toBeGreaterThan(30);
    expect(most).toBeLessThan(20);
    for (const queue of queues) await expectAll(world, queue, range(0, 1200));
    await world.stop();
    world = await open(files, records);
    for (const queue of queues) await expectAll(world, queue, range(0, 1200));
    expect(runFiles(files)).toHaveLength(world.runSet.size);
    await world.stop();
  });
});
