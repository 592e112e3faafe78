import { describe, expect, test } from 'vitest';

import { failure, MemoryFiles } from '../../support/memory-files.ts';
import { appendOne, at, fill, openSmall, readAll, segmentPaths } from '../../support/small-log.ts';

describe('prefix truncation', () => {
  test('drops whole segments, and keeps the epoch before the start', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 10, { epoch: 1, length: 600 });
    await fill(log, 10, { epoch: 2, length: 600 });
    const before = segmentPaths(files).length;
    await log.truncatePrefix(at(12));
    expect(log.start).toBeGreaterThan(7);
    expect(log.start).toBeLessThanOrEqual(12);
    expect(segmentPaths(files).length).toBeLessThan(before);
    expect(log.epochAt(at(log.start - 1))).toBe(log.start - 1 <= 10 ? 1 : 2);
    const all = await readAll(log);
    expect(all[0]?.index).toBe(log.start);
    const { log: crashed } = await openSmall(files.crash());
    expect(crashed.start).toBe(log.start);
    expect(crashed.epochBeforeStart).toBe(log.epochBeforeStart);
    expect(await readAll(crashed)).toEqual(all);
  });

  test('never drops the last segment, and refuses what lies above the end', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 3);
    await log.truncatePrefix(at(4));
    expect(log.segments).toBe(1);
    await expect(log.truncatePrefix(at(5))).rejects.toMatchObject({ code: 'out-of-range' });
  });

  test('keeps a hard state whose segment goes', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await log.setHardState({ term: 8, vote: 'kept' });
    await fill(log, 30, { length: 600 });
    await log.truncatePrefix(at(30));
    expect(log.start).toBeGreaterThan(1);
    const { log: crashed } = await openSmall(files.crash());
    expect(crashed.hardState).toEqual({ term: 8, vote: 'kept' });
  });
});

describe('suffix truncation', () => {
  test('cuts at any index, and the log goes on there in a new segment', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 30, { epoch: 1, length: 500 });
    await log.close();
    for (let lastKept = 0; lastKept <= 30; lastKept += 1) {
      const twin = files.clone();
      const { log: cut } = await openSmall(twin);
      await cut.truncateSuffix(at(lastKept));
      expect(cut.last).toBe(lastKept);
      expect(cut.durable).toBe(lastKept);
      expect(cut.epochAt(at(lastKept + 1))).toBeUndefined();
      await fill(cut, 2, { epoch: 7, length: 100 });
      const all = await readAll(cut);
      expect(all.map(({ epoch }) => epoch)).toEqual([...Array(lastKept).fill(1), 7, 7]);
      for (const image of [twin.durableClone(), twin.crash()]) {
        const { log: again, recovery } = await openSmall(image);
        expect(recovery).toMatchObject({ faulty: [], tornTail: undefined });
        expect(await readAll(again)).toEqual(all);
      }
    }
  });

  test('keeps a hard state that is cut away with the entries', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 3);
    await log.setHardState({ term: 4, vote: 'x' });
    await fill(log, 3);
    await log.setHardState({ term: 5, vote: 'y' });
    await log.truncateSuffix(at(2));
    expect(log.hardState).toEqual({ term: 5, vote: 'y' });
    const { log: crashed } = await openSmall(files.crash());
    expect(crashed.hardState).toEqual({ term: 5, vote: 'y' });
    expect(crashed.last).toBe(2);
  });

  test('nothing to cut is nothing done; out of range is refused', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 3);
    const { segments } = log;
    await log.truncateSuffix(at(3));
    await fill(log, 1);
    expect(log.segments).toBe(segments);
    await expect(log.truncateSuffix(at(5))).rejects.toMatchObject({ code: 'out-of-range' });
  });

  test('appending while it runs is a bug of the caller', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 3);
    const cutting = log.truncateSuffix(at(1));
    expect(() => appendOne(log)).toThrow('nobody appends');
    await cutting;
    await fill(log, 1);
  });

  test('waits for entries that were appended just before', async () => {
    const { log } = await openSmall(new MemoryFiles());
    for (let nth = 0; nth < 10; nth += 1) appendOne(log, { length: 500 });
    await log.truncateSuffix(at(6));
    expect(await readAll(log)).toHaveLength(6);
  });
});

describe('a crash at every single call', () => {
  test.each([
    [
      'prefix',
      14,
      (log: { truncatePrefix: (i: never) => Promise<void> }) => log.truncatePrefix(at(14) as never),
    ],
    [
      'suffix',
      7,
      (log: { truncateSuffix: (i: never) => Promise<void> }) => log.truncateSuffix(at(7) as never),
    ],
  ] as const)(
    'of a %s truncation leaves the log before it or after it',
    async (kind, _index, cut) => {
      const files = new MemoryFiles();
      const { log } = await openSmall(files);
      await fill(log, 20, { length: 600 });
      await log.setHardState({ term: 2, vote: 'v' });
      await log.close();
      const outcomes = new Set<string>();
      for (let limit = 0, done = false; !done; limit += 1) {
        const twin = files.clone();
        const { log: victim } = await openSmall(twin);
        let calls = 0;
        twin.before = () => {
          calls += 1;
          if (calls > limit) throw failure('EIO', 'power is gone');
        };
        done = await cut(victim).then(
          () => true,
          () => false,
        );
        // What was never synced may be there or not: both.
        for (const image of [twin.durableClone(), twin.clone()]) {
          const { log: recovered, recovery } = await openSmall(image);
          expect(recovery).toMatchObject({ faulty: [], tornTail: undefined });
          expect(recovered.hardState).toEqual({ term: 2, vote: 'v' });
          expect(await readAll(recovered)).toHaveLength(recovered.last - recovered.start + 1);
          outcomes.add(`${recovered.start}-${recovered.last}`);
          expect(segmentPaths(image)).toHaveLength(recovered.segments);
        }
      }
      const [before, after, ...more] = [...outcomes];
      expect(before).toBe('1-20');
      expect(kind === 'suffix' ? after === '1-7' : after?.endsWith('-20')).toBe(true);
      expect(more).toEqual([]);
    },
  );
});
