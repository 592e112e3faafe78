import { describe, expect, test } from 'vitest';

import { StorageError } from '../../../storage/errors.ts';
import { Log } from '../../../storage/log/log.ts';
import type { LogIndex } from '../../../storage/log/positions.ts';
import { MemoryFiles, failure } from '../../support/memory-files.ts';
import {
  appendOne,
  at,
  bytesOf,
  DIRECTORY,
  fill,
  openSmall,
  payloadOf,
  readAll,
  segmentPaths,
  SMALL,
} from '../../support/small-log.ts';

const MODES = ['prewritten-dsync', 'fdatasync'] as const;

describe.each(MODES)('a log in mode %s', (syncMode) => {
  test('gives back what was appended, after a close and after a crash', async () => {
    const files = new MemoryFiles();
    const { log, recovery } = await openSmall(files, { syncMode });
    expect(recovery).toMatchObject({ created: true, faulty: [], tornTail: undefined });
    const index = log.append({
      epoch: 3,
      timestampMs: 1234,
      recordCount: 7,
      payload: [bytesOf('one, '), new Uint8Array(0), bytesOf('two')],
    });
    await log.appended(index);
    await fill(log, 60, { length: 500 });
    await log.setHardState({ term: 9, vote: 'näme' });
    const before = await readAll(log);
    expect(before[0]).toEqual({
      index: 1,
      epoch: 3,
      timestampMs: 1234,
      recordCount: 7,
      payload: bytesOf('one, two'),
    });
    expect(before).toHaveLength(61);
    for (const batch of before.slice(1)) expect(batch.payload).toEqual(payloadOf(batch.index, 500));
    const crashed = files.durableClone();
    await log.close();
    for (const image of [files, crashed]) {
      const again = await openSmall(image, { syncMode });
      expect(again.recovery).toMatchObject({ clean: image === files, faulty: [] });
      expect(await readAll(again.log)).toEqual(before);
      expect(again.log.hardState).toEqual({ term: 9, vote: 'näme' });
      expect(again.log.epochAt(at(1))).toBe(3);
      await again.log.close();
    }
  });

  test('D5: nothing is reported durable before the sync that covers it has returned', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, { syncMode });
    // Where the bytes of each index are safe, told by the disk and not by the log.
    const safe: number[] = [];
    let covered = 0;
    files.before = ({ operation, path }) => {
      if (!path.endsWith('.log')) return;
      const syncs = syncMode === 'fdatasync' ? operation === 'sync' : operation === 'write';
      // When the call begins, only what earlier calls made durable is safe.
      if (syncs) safe.push(covered);
    };
    const reports: { durable: number; calls: number }[] = [];
    log.onDurable((durable) => {
      covered = durable;
      reports.push({ durable, calls: safe.length });
    });
    for (let round = 0; round < 30; round += 1) {
      for (let nth = 0; nth <= round % 4; nth += 1) appendOne(log);
      await log.appended(log.last);
    }
    expect(reports.map(({ durable }) => durable)).toEqual(
      reports.map(({ durable }) => durable).toSorted((a, b) => a - b),
    );
    // A crash of the disk right at each report keeps what was reported.
    const survivor = files.crash();
    const { log: recovered } = await openSmall(survivor, { syncMode });
    expect(recovered.last).toBe(reports.at(-1)?.durable);
    expect(reports.every(({ calls }, nth) => calls > nth)).toBe(true);
    await recovered.close();
  });

  test('D5: a crash at the very moment of each report keeps all that was reported', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, { syncMode });
    const images: { durable: number; image: MemoryFiles }[] = [];
    log.onDurable((durable) => images.push({ durable, image: durableImage(files) }));
    for (let round = 0; round < 12; round += 1) {
      appendOne(log, { length: 700 });
      if (round % 3 === 2) await log.appended(log.last);
    }
    await log.appended(log.last);
    expect(images.length).toBeGreaterThan(3);
    for (const { durable, image } of images) {
      const { log: recovered, recovery } = await openSmall(image, { syncMode });
      expect(recovered.last).toBeGreaterThanOrEqual(durable);
      expect(recovery.faulty).toEqual([]);
      await recovered.close();
    }
  });

  test('D2: what was acknowledged just before a segment was sealed survives a crash', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, { syncMode });
    for (let round = 0; round < 40; round += 1) {
      const { segments } = log;
      await fill(log, 1, { length: 900 });
      if (log.segments === segments) continue;
      // The entry before the last one was the last of the sealed segment.
      const { log: recovered } = await openSmall(durableImage(files), { syncMode });
      expect(recovered.last).toBeGreaterThanOrEqual(log.durable);
      expect(await readAll(recovered)).toHaveLength(log.durable);
      await recovered.close();
    }
    expect(log.segments).toBeGreaterThan(5);
  });

  test('D3: a failed sync rejects who waits and who comes; nothing is tried again', async () => {
    const files = new MemoryFiles();
    const { log, failures } = await openSmall(files, { syncMode });
    await fill(log, 2);
    const broken = syncMode === 'fdatasync' ? 'sync' : 'write';
    let calls = 0;
    files.before = ({ operation, path }) => {
      if (operation !== broken || !path.endsWith('.log')) return;
      calls += 1;
      // Only the first fails: the next would succeed, as on Linux.
      if (calls === 1) throw failure('EIO', path);
    };
    const reports: number[] = [];
    log.onDurable((durable) => reports.push(durable));
    const first = appendOne(log);
    const second = appendOne(log);
    const refused = { name: 'StorageError', code: 'failed' };
    await expect(log.appended(first)).rejects.toMatchObject(refused);
    await expect(log.appended(second)).rejects.toMatchObject(refused);
    expect(() => appendOne(log)).toThrow(StorageError);
    await expect(log.setHardState({ term: 1, vote: '' })).rejects.toMatchObject(refused);
    await expect(log.truncateSuffix(at(1))).rejects.toMatchObject(refused);
    await expect(log.truncatePrefix(at(1))).rejects.toMatchObject(refused);
    expect(failures).toHaveLength(1);
    expect(failures[0]).toBe(log.failed);
    expect(failures[0]?.cause).toMatchObject({ code: 'EIO' });
    expect(reports).toEqual([]);
    expect(log.durable).toBe(2);
    await log.close();
    expect(calls).toBe(1);
    expect(reports).toEqual([]);
  });

  test('D7: appends that arrive during one sync share the next', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, { syncMode, segmentBytes: 1 << 20 });
    await fill(log, 1);
    const before = log.stats;
    const writers = Array.from({ length: 100 }, async () => {
      for (let nth = 0; nth < 20; nth += 1) await log.appended(appendOne(log, { length: 8 }));
    });
    await Promise.all(writers);
    const { appends, syncs } = log.stats;
    expect(appends - before.appends).toBe(2000);
    expect(syncs - before.syncs).toBeLessThanOrEqual(2000 / 40);
  });

  test('short writes go on where they stopped', async () => {
    const files = new MemoryFiles();
    files.shortBytes = 100;
    const { log } = await openSmall(files, { syncMode });
    await fill(log, 20, { length: 600 });
    expect(await readAll(log)).toHaveLength(20);
    const { log: recovered } = await openSmall(files.crash(), { syncMode });
    expect(await readAll(recovered)).toHaveLength(20);
  });

  test('no space on a write to the log itself is a failed write', async () => {
    const files = new MemoryFiles();
    const { log, failures } = await openSmall(files, { syncMode });
    await fill(log, 1);
    files.freeBytes = 100;
    const index = appendOne(log, { length: 600 });
    await expect(log.appended(index)).rejects.toMatchObject({ code: 'failed' });
    expect(failures[0]?.cause).toMatchObject({ code: 'ENOSPC' });
  });

  test('no byte of a segment is written twice, but zeros before data', async () => {
    const files = new MemoryFiles();
    let writes = 0;
    files.before = ({ operation, path, position = 0, length = 0 }) => {
      if (operation !== 'write' || !/\.(log|spare)$/.test(path)) return;
      writes += 1;
      const there = files.bytes(path).subarray(position, position + length);
      expect(
        there.every((byte) => byte === 0),
        `${path} at ${position}`,
      ).toBe(true);
    };
    const { log } = await openSmall(files, { syncMode });
    await fill(log, 30, { length: 500 });
    await log.truncateSuffix(at(22));
    await fill(log, 10, { length: 500 });
    await log.close();
    const { log: again } = await openSmall(files, { syncMode });
    await fill(again, 10, { length: 500 });
    await again.close();
    expect(writes).toBeGreaterThan(10);
  });
});

/** What a power cut right now would leave, without ending the running log. */
function durableImage(files: MemoryFiles): MemoryFiles {
  return files.durableClone();
}

describe('append', () => {
  test('copies the payload: the caller may use its bytes again at once', async () => {
    const { log } = await openSmall(new MemoryFiles());
    const bytes = bytesOf('as it was');
    log.append({ epoch: 1, timestampMs: 1, recordCount: 1, payload: [bytes] });
    bytes.fill(0);
    await log.appended(at(1));
    const outcome = await log.read(at(1), { maxBytes: 100 });
    expect(outcome).toMatchObject({ batches: [{ payload: bytesOf('as it was') }] });
  });

  test('refuses a payload above the limit, takes one larger than a whole write', async () => {
    const { log } = await openSmall(new MemoryFiles(), { maxBatchBytes: 20_000 });
    const append = (length: number): LogIndex => appendOne(log, { length });
    expect(() => append(20_001)).toThrow(expect.objectContaining({ code: 'too-large' }));
    const index = append(20_000);
    expect(index).toBe(1);
    await log.appended(append(1));
    expect((await readAll(log)).map(({ payload }) => payload.length)).toEqual([20_000, 1]);
  });

  test.each(MODES)('in %s: writes are told one after the other, and zeros apart', async (mode) => {
    const told: string[] = [];
    let zeros = 0;
    const { log } = await openSmall(new MemoryFiles(), {
      syncMode: mode,
      segmentBytes: 1024 * 1024,
      prewriteBytes: 64 * 1024,
      writing: () => told.push('writing'),
      written: () => told.push('written'),
      prewritten: (bytes) => {
        zeros += bytes;
      },
    });
    for (let nth = 0; nth < 3; nth += 1) await log.appended(appendOne(log));
    await log.close();
    const { writes } = log.stats;
    expect(writes).toBeGreaterThanOrEqual(3);
    const pairs = Array.from({ length: writes }, () => ['writing', 'written']);
    expect(told).toEqual(pairs.flat());
    if (mode === 'fdatasync') expect(zeros).toBe(0);
    else expect(zeros % (64 * 1024) === 0 && zeros > 0).toBe(true);
  });

  test('an epoch that goes back is a bug of the caller', async () => {
    const { log } = await openSmall(new MemoryFiles());
    appendOne(log, { epoch: 5 });
    expect(() => appendOne(log, { epoch: 4 })).toThrow('never goes back');
    appendOne(log, { epoch: 5 });
    await log.appended(at(2));
  });

  test('options out of their range are refused before anything is made', async () => {
    const files = new MemoryFiles();
    for (const wrong of [{ segmentBytes: 1 }, { idleMarkMs: -1 }, { maxWriteBytes: 0.5 }]) {
      await expect(openSmall(files, wrong)).rejects.toMatchObject({ code: 'out-of-range' });
    }
    const syncMode = 'none' as 'fdatasync';
    await expect(openSmall(files, { syncMode })).rejects.toMatchObject({ code: 'out-of-range' });
    expect(files.paths()).toEqual([]);
  });
});

describe('close', () => {
  test('C14: a closed log refuses late callers with an error', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 3);
    const reader = log.reader(at(1));
    await log.close();
    await log.close();
    const closed = { name: 'StorageError', code: 'closed' };
    expect(() => appendOne(log)).toThrow(expect.objectContaining(closed));
    expect(() => log.reader(at(1))).toThrow(expect.objectContaining(closed));
    await expect(log.setHardState({ term: 1, vote: '' })).rejects.toMatchObject(closed);
    await expect(log.read(at(1), { maxBytes: 1 })).rejects.toMatchObject(closed);
    await expect(reader.read({ maxBytes: 1 })).rejects.toMatchObject(closed);
    await expect(log.truncatePrefix(at(1))).rejects.toMatchObject(closed);
    await expect(log.truncateSuffix(at(1))).rejects.toMatchObject(closed);
  });

  test('waits for what was appended', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    for (let nth = 0; nth < 20; nth += 1) appendOne(log, { length: 700 });
    await log.close();
    const { log: again, recovery } = await openSmall(files);
    expect(again.last).toBe(20);
    expect(recovery.clean).toBe(true);
  });

  test('after it sealed segments are not read; after a crash all are', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 60, { length: 500 });
    const crashed = files.durableClone();
    await log.close();
    const clean = await openSmall(files);
    expect(clean.recovery).toMatchObject({ clean: true, segmentsScanned: 1 });
    expect(clean.recovery.segments).toBeGreaterThan(5);
    expect(await readAll(clean.log)).toHaveLength(60);
    const dirty = await openSmall(crashed);
    expect(dirty.recovery.segmentsScanned).toBe(dirty.recovery.segments);
  });

  test('the mark of it is gone, durably, before the first write', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 1);
    await log.close();
    const again = await openSmall(files);
    const crashed = files.durableClone();
    expect((await openSmall(crashed)).recovery.clean).toBe(false);
    expect(again.recovery.clean).toBe(true);
  });
});

describe('the mark after silence', () => {
  test('proves the tail, and never triggers another', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, { idleMarkMs: 1 });
    await fill(log, 1, { length: 3 });
    const path = segmentPaths(files)[0] ?? '';
    const marks = (): number => log.stats.marks;
    await until(() => marks() === 1 && log.stats.writes === 2);
    for (let turn = 0; turn < 20; turn += 1) await pause();
    expect(log.stats).toMatchObject({ marks: 1, writes: 2, appends: 1 });
    // A hole in the last entry is no torn write any more: the mark says that it was there.
    const image = files.durableClone();
    image.bytes(path).fill(0, 0, 83);
    const { log: damaged, recovery } = await openSmall(image);
    expect(recovery.tornTail).toBeUndefined();
    expect(damaged.faulty).toMatchObject([{ from: 1, through: 1 }]);
    await log.close();
    await damaged.close();
  });
});

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause();
}

describe('opening', () => {
  test('refuses segments without a manifest instead of taking them for nothing', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 1);
    await log.close();
    files.take(`${DIRECTORY}/manifest`);
    await expect(openSmall(files)).rejects.toMatchObject({ code: 'damaged' });
  });

  test('refuses a damaged manifest, and an unreadable disk, and changes nothing', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 30, { length: 500 });
    const broken = files.durableClone();
    broken.bytes(`${DIRECTORY}/manifest`)[20]! ^= 1;
    await expect(openSmall(broken)).rejects.toMatchObject({ code: 'damaged' });
    const unreadable = files.durableClone();
    unreadable.before = ({ operation, path }) => {
      if (operation === 'read' && path.endsWith('.log')) throw failure('EIO', path);
    };
    await expect(openSmall(unreadable)).rejects.toMatchObject({ code: 'failed' });
    unreadable.before = () => undefined;
    expect(await readAll((await openSmall(unreadable)).log)).toHaveLength(30);
  });

  test('removes what a crash left over, and nothing that is not its own', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 3);
    await log.close();
    const stem = `${DIRECTORY}/${'0'.repeat(18)}77-9`;
    const left = [
      `${stem}.log`,
      `${stem}.index`,
      `${DIRECTORY}/8.spare`,
      `${DIRECTORY}/manifest.new`,
    ];
    for (const path of left) files.put(path, bytesOf('left over'));
    files.put(`${DIRECTORY}/notes.txt`, bytesOf('mine'));
    const { recovery } = await openSmall(files);
    expect(recovery.removed.toSorted()).toEqual(
      left.map((path) => path.slice(DIRECTORY.length + 1)).toSorted(),
    );
    expect(files.paths()).toContain(`${DIRECTORY}/notes.txt`);
  });

  test('D8: a large write that a power cut tore is cut off, and the log goes on', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, { segmentBytes: 1 << 20, maxWriteBytes: 1 << 20 });
    await fill(log, 5);
    for (let nth = 0; nth < 20; nth += 1) appendOne(log, { length: 5000 });
    await log.appended(log.last);
    const image = files.durableClone();
    const path = segmentPaths(image)[0] ?? '';
    // One sector in the middle of the last write never reached the disk.
    image.bytes(path).fill(0, 512 * 60, 512 * 61);
    const { log: recovered, recovery } = await openSmall(image);
    expect(recovery.faulty).toEqual([]);
    expect(recovery.tornTail).toMatchObject({ segmentId: 1 });
    expect(recovered.last).toBeGreaterThanOrEqual(5);
    expect(recovered.last).toBeLessThan(25);
    const { last, segments } = recovered;
    await fill(recovered, 3);
    expect(recovered.segments).toBe(segments + 1);
    const all = await readAll(recovered);
    expect(all).toHaveLength(last + 3);
    await recovered.close();
    const again = await openSmall(image);
    expect(again.recovery).toMatchObject({ tornTail: undefined, faulty: [] });
    expect(await readAll(again.log)).toEqual(all);
  });

  test('an opening that is opened again after a crash in it decides the same', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 25, { length: 600 });
    const image = files.durableClone();
    const tail = image.bytes(segmentPaths(image).at(-1) ?? '');
    const end = tail.findLastIndex((byte) => byte !== 0);
    tail.fill(0, end - (end % 512));
    const expected = await openSmall(image.clone());
    expect(expected.recovery.tornTail).toBeDefined();
    let calls = 0;
    for (let limit = 1; ; limit += 1) {
      const twin = image.clone();
      calls = 0;
      twin.before = () => {
        calls += 1;
        if (calls > limit) throw failure('EIO', 'power is gone');
      };
      const opened = await openSmall(twin).catch(() => undefined);
      const survivor = twin.crash();
      const { log: recovered } = await openSmall(survivor);
      expect(recovered.last, `after ${limit} calls`).toBe(expected.log.last);
      expect(await readAll(recovered)).toEqual(await readAll(expected.log));
      if (opened !== undefined) break;
    }
    expect(calls).toBeGreaterThan(20);
  });
});

describe('a log of another id', () => {
  test('whose segment lies in the folder is faulty, and named', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 3);
    await log.close();
    const other = new MemoryFiles();
    const { log: stranger } = await Log.open({
      files: other,
      directory: DIRECTORY,
      now: () => 1,
      onFailure: () => undefined,
      ...SMALL,
    });
    await fill(stranger, 3);
    await stranger.close();
    const path = segmentPaths(files)[0] ?? '';
    files.put(path, other.bytes(path));
    const { recovery } = await openSmall(files);
    expect(recovery.faulty).toMatchObject([{ fault: 'foreign-log', from: 1 }]);
  });
});
