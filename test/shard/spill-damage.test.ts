/** What damage and a full disk do to payloads outside of the log's window: named, no more. */

import { describe, expect, it } from 'vitest';
import { MemoryRecords } from '../../storage/storage.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { LOG_FOLDER, RUNS_FOLDER, SMALL_SPACE, SpaceWorld } from '../support/space-world.ts';

const PAYLOAD = 'y'.repeat(120);

async function open(files: MemoryFiles, records: MemoryRecords, limits = {}): Promise<SpaceWorld> {
  return SpaceWorld.open(files, await records.open(), { ...SMALL_SPACE, ...limits });
}

async function fill(
  world: SpaceWorld,
  queue: QueueId,
  { from, count }: { from: number; count: number },
): Promise<void> {
  for (let at = from; at < from + count; at += 10) {
    const batch = Array.from({ length: 10 }, (_none, nth) => ({
      queues: [queue],
      text: `${at + nth} ${PAYLOAD}`,
    }));
    await world.publish(batch);
  }
}

async function lostAmong(world: SpaceWorld, queue: QueueId, count: number): Promise<number[]> {
  const lost: number[] = [];
  for (let offset = 0; offset < count; offset += 1) {
    const read = await world.read(queue, offset);
    if (read.startsWith('lost: ')) lost.push(offset);
    else expect(read).toBe(`${offset} ${PAYLOAD}`);
  }
  return lost;
}

function runFiles(files: MemoryFiles): string[] {
  return files.paths().filter((path) => path.startsWith(RUNS_FOLDER));
}

describe('damage', () => {
  it('D4: a bit flipped in a run loses one block; the alarm names file and offsets', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queue = await world.declare('orders');
    await fill(world, queue, { from: 0, count: 400 });
    await world.tidy();
    const path = runFiles(files)[0] as string;
    const bytes = files.bytes(path);
    bytes[300] = (bytes[300] as number) ^ 4;
    const lost = await lostAmong(world, queue, 400);
    expect(lost.length).toBeGreaterThan(0);
    expect(lost.length).toBeLessThan(10);
    expect(lost.at(-1)).toBe((lost[0] as number) + lost.length - 1);
    expect(await world.read(queue, lost[0] as number)).toContain(path);
    const alarm = world.alarmLines.join('\n');
    expect(alarm).toContain('run-damaged');
    expect(alarm).toContain(path);
    expect(alarm).toMatch(/orders \d+-\d+/);
    await world.stop();
  });

  it('D4: a damaged run is not rewritten, so that what is lost keeps its name', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords(), { windowBytes: 4096 });
    const queue = await world.declare('orders');
    await fill(world, queue, { from: 0, count: 60 });
    await world.tidy();
    const path = runFiles(files)[0] as string;
    files.bytes(path)[300] = 0xee;
    for (let from = 60; from < 2000; from += 60) {
      await fill(world, queue, { from, count: 60 });
      await world.tidy();
    }
    expect(world.housekeeping.stats.rewrites).toBeGreaterThan(0);
    expect(runFiles(files)).toContain(path);
    expect((await lostAmong(world, queue, 60)).length).toBeGreaterThan(0);
    await world.settle(
      queue,
      Array.from({ length: 2000 }, (_none, at) => at),
    );
    await world.tidy();
    await world.checkpoint();
    expect(runFiles(files), 'unwanted, it goes all the same').not.toContain(path);
    await world.stop();
  });

  it('a run that is named and missing degrades its queues: offsets are told, the rest goes on', async () => {
    const files = new MemoryFiles();
    const records = new MemoryRecords();
    let world = await open(files, records);
    const queue = await world.declare('orders');
    const other = await world.declare('other');
    for (let from = 0; from < 300; from += 100) {
      await fill(world, queue, { from, count: 100 });
      await world.tidy();
    }
    await fill(world, other, { from: 0, count: 100 });
    await world.tidy();
    await world.stop();
    const path = runFiles(files)[0] as string;
    files.take(path);
    world = await open(files, records);
    const lost = await lostAmong(world, queue, 300);
    expect(lost.length).toBeGreaterThan(0);
    expect(lost.length).toBeLessThan(300);
    expect(await world.read(queue, lost[0] as number)).toContain('is missing');
    expect(world.alarmLines.join('\n')).toMatch(/is missing \(the run holds orders 0-\d+/);
    expect(await lostAmong(world, other, 100)).toEqual([]);
    await fill(world, queue, { from: 300, count: 10 });
    await world.stop();
  });

  it('D4: what was damaged in the log when its segment left stays named, over restarts', async () => {
    const files = new MemoryFiles();
    const records = new MemoryRecords();
    let world = await open(files, records, { windowBytes: 1 << 20 });
    const queue = await world.declare('orders');
    await fill(world, queue, { from: 0, count: 400 });
    await world.checkpoint();
    const path = files.paths().find((one) => one.startsWith(LOG_FOLDER) && one.endsWith('.log'));
    files.bytes(path as string)[2000] = 0xff;
    await world.stop();
    world = await open(files, records, { windowBytes: 8192 });
    await world.tidy();
    expect(world.log.start).toBeGreaterThan(1);
    const lost = await lostAmong(world, queue, 400);
    expect(lost.length).toBeGreaterThan(0);
    expect(lost.length).toBeLessThan(30);
    expect(await world.read(queue, lost[0] as number)).toContain('damaged part of the log');
    await world.stop();
    world = await open(files, records);
    expect(await lostAmong(world, queue, 400)).toEqual(lost);
    await world.settle(queue, lost);
    await world.tidy();
    await world.checkpoint();
    expect([...world.runSet.runs()].every((run) => run.lost === undefined)).toBe(true);
    await world.stop();
  });
});

describe('a disk that is full or fails', () => {
  it('D10: a spill that finds no room leaves no file, and is done when there is room', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const queue = await world.declare('orders');
    files.before = (call) => {
      if (call.operation === 'write' && call.path.startsWith(RUNS_FOLDER)) {
        throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
      }
    };
    await fill(world, queue, { from: 0, count: 400 });
    await world.tidy(200);
    expect(world.failure).toBeUndefined();
    expect(world.housekeeping.stats.full).toBeGreaterThan(0);
    expect(world.housekeeping.isLate, 'publishes are held back').toBe(true);
    const alarms = world.alarmLines.join('\n');
    expect(alarms).toContain('spill-late');
    expect(alarms).toContain('publishes wait where this node leads');
    expect(runFiles(files)).toEqual([]);
    expect(await lostAmong(world, queue, 400)).toEqual([]);
    files.before = () => undefined;
    await world.tidy();
    expect(world.housekeeping.isLate).toBe(false);
    expect(runFiles(files).length).toBeGreaterThan(0);
    expect(await lostAmong(world, queue, 400)).toEqual([]);
    await world.stop();
  });

  it('a spill that found no room is tried again although nothing else happens', async () => {
    const files = new MemoryFiles();
    const world = await open(files, new MemoryRecords());
    const { housekeeping } = world;
    const queue = await world.declare('orders');
    while (world.log.bytes < SMALL_SPACE.windowBytes * 1.4) {
      await fill(world, queue, { from: 0, count: 1 });
    }
    files.before = (call) => {
      if (call.operation === 'write' && call.path.startsWith(RUNS_FOLDER)) {
        throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
      }
    };
    const over = async (): Promise<void> => {
      while (housekeeping.isBusy) await new Promise((resolve) => setImmediate(resolve));
    };
    world.monotonicMs = 5000;
    housekeeping.look();
    await over();
    expect([housekeeping.stats.full, housekeeping.isLate]).toEqual([1, false]);
    // Somebody comes shortly before it is due.
    world.monotonicMs += 950;
    housekeeping.look();
    files.before = () => undefined;
    for (let looks = 0; looks < 20 && housekeeping.nextLook !== Infinity; looks++) {
      world.monotonicMs = Math.max(world.monotonicMs, housekeeping.nextLook);
      housekeeping.look();
      await over();
    }
    expect(housekeeping.stats.spills).toBe(1);
    await world.stop();
  });

  for (const operation of ['write', 'sync', 'rename']) {
    it(`EIO on ${operation} of a run ends the shard, and loses nothing`, async () => {
      const files = new MemoryFiles();
      const records = new MemoryRecords();
      let world = await open(files, records);
      const queue = await world.declare('orders');
      files.before = (call) => {
        if (call.operation === operation && call.path.startsWith(RUNS_FOLDER)) {
          throw Object.assign(new Error('EIO'), { code: 'EIO' });
        }
      };
      await fill(world, queue, { from: 0, count: 400 });
      await expect(world.tidy()).rejects.toMatchObject({ code: 'failed' });
      const left = files.crash();
      records.crash();
      world = await open(left, records);
      expect(runFiles(left)).toEqual([]);
      expect(await lostAmong(world, queue, 400)).toEqual([]);
      await world.stop();
    });
  }
});
