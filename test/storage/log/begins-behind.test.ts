/** A new log that goes on behind an entry that it does not hold. */

import { describe, expect, test } from 'vitest';
import { MemoryFiles } from '../../support/memory-files.ts';
import { appendOne, at, fill, openSmall, readAll } from '../../support/small-log.ts';

const MODES = ['prewritten-dsync', 'fdatasync'] as const;

describe.each(MODES)('a log in mode %s', (syncMode) => {
  test('a new log goes on behind an entry that it does not hold, also after a crash', async () => {
    const files = new MemoryFiles();
    const beginsBehind = { index: 41, epoch: 7 };
    const { log } = await openSmall(files, { syncMode, beginsBehind });
    expect(log).toMatchObject({ start: 42, last: 41, epochBeforeStart: 7, lastEpoch: 7 });
    expect(log.epochs).toEqual([]);
    const empty = files.durableClone();
    expect(() => appendOne(log, { epoch: 6 })).toThrow('never goes back');
    await fill(log, 80, { epoch: 8 });
    const full = files.durableClone();
    const other = { index: 3, epoch: 1 };
    const again = await openSmall(empty, { syncMode, beginsBehind: other });
    expect(again.log).toMatchObject({ start: 42, last: 41, epochBeforeStart: 7 });
    const { log: filled, recovery } = await openSmall(full, { syncMode });
    expect(recovery.faulty).toEqual([]);
    expect(filled).toMatchObject({ start: 42, last: 121 });
    expect(filled.epochs).toEqual([{ epoch: 8, firstIndex: 42 }]);
    expect(filled.epochAt(at(41))).toBe(7);
    expect(await readAll(filled)).toHaveLength(80);
  });
});
