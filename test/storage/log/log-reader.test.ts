import { describe, expect, test } from 'vitest';

import { MemoryFiles } from '../../support/memory-files.ts';
import { at, fill, openSmall, payloadOf, readAll } from '../../support/small-log.ts';

describe('reading', () => {
  test('from any index, with any limit: at least one batch, in order, not above it', async () => {
    const { log } = await openSmall(new MemoryFiles());
    for (let nth = 0; nth < 40; nth += 1) await fill(log, 1, { length: (nth * 97) % 900 });
    for (let from = 1; from <= 40; from += 1) {
      for (const maxBytes of [0, 1, 500, 5000, 1 << 20]) {
        const outcome = await log.read(at(from), { maxBytes });
        if (outcome.kind !== 'batches') throw new Error(outcome.kind);
        const { batches } = outcome;
        expect(batches.length).toBeGreaterThan(0);
        expect(batches.map(({ index }) => index)).toEqual(batches.map((_batch, nth) => from + nth));
        const bytes = batches.reduce((sum, { payload }) => sum + payload.length, 0);
        if (batches.length > 1) expect(bytes).toBeLessThanOrEqual(maxBytes);
        for (const { index, payload } of batches) {
          expect(payload).toEqual(payloadOf(index, payload.length));
        }
      }
    }
  });

  test('into memory of the caller, where it is large enough, and else into its own', async () => {
    const { log } = await openSmall(new MemoryFiles());
    for (let nth = 0; nth < 30; nth += 1) await fill(log, 1, { length: (nth * 97) % 900 });
    for (const size of [0, 100, 64 * 1024]) {
      const into = new Uint8Array(size);
      let lent = 0;
      for (let from = 1; from <= 30;) {
        const outcome = await log.read(at(from), { maxBytes: 2000, into });
        if (outcome.kind !== 'batches') throw new Error(outcome.kind);
        for (const { index, payload } of outcome.batches) {
          expect(payload).toEqual(payloadOf(index, payload.length));
          if (payload.buffer === into.buffer) lent += 1;
        }
        from += outcome.batches.length;
      }
      expect(lent > 0).toBe(size === 64 * 1024);
    }
  });

  test('outside of the log it says where the log is', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 20, { length: 600 });
    await log.truncatePrefix(at(15));
    const { start } = log;
    const where = { kind: 'truncated', start, last: 20 };
    expect(await log.read(at(start - 1), { maxBytes: 1 })).toEqual(where);
    expect(await log.read(at(0), { maxBytes: 1 })).toEqual(where);
    expect(await log.read(at(22), { maxBytes: 1 })).toEqual(where);
    expect(await log.read(at(21), { maxBytes: 1 })).toEqual({ kind: 'batches', batches: [] });
  });

  test('what is not durable yet is not shown', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 1);
    log.append({ epoch: 1, timestampMs: 1, recordCount: 1, payload: [] });
    expect(await log.read(at(2), { maxBytes: 1 })).toEqual({ kind: 'batches', batches: [] });
    await log.appended(at(2));
    expect(await log.read(at(2), { maxBytes: 1 })).toMatchObject({ batches: [{ index: 2 }] });
  });

  test('a batch larger than the first read is read whole', async () => {
    const { log } = await openSmall(new MemoryFiles(), { maxBatchBytes: 4 << 20 });
    await fill(log, 2, { length: 3 << 20 });
    expect((await readAll(log)).map(({ payload }) => payload.length)).toEqual([3 << 20, 3 << 20]);
  });

  test('marks and hard states are invisible', async () => {
    const { log } = await openSmall(new MemoryFiles());
    for (let nth = 1; nth <= 10; nth += 1) {
      await log.setHardState({ term: nth, vote: '' });
      await fill(log, 1);
    }
    expect((await readAll(log)).map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test('by time: no entry with that time or a later one lies before the index given', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 60, { length: 300 });
    for (let index = 1; index <= 60; index += 7) {
      const from = await log.indexForTime(1000 + index);
      expect(from).toBeLessThanOrEqual(index);
      expect(from).toBeGreaterThan(index - 10);
    }
    expect(await log.indexForTime(9999)).toBe(61);
  });
});

describe('a reader', () => {
  test('follows the log as it grows', async () => {
    const { log } = await openSmall(new MemoryFiles());
    const reader = log.reader(at(1));
    let seen = 0;
    for (let round = 0; round < 30; round += 1) {
      await fill(log, round % 3, { length: 400 });
      for (;;) {
        const outcome = await reader.read({ maxBytes: 300 });
        if (outcome.kind !== 'batches') throw new Error(outcome.kind);
        if (outcome.batches.length === 0) break;
        for (const { index } of outcome.batches) expect(index).toBe((seen += 1));
      }
    }
    expect(seen).toBe(log.durable);
    reader.close();
  });

  test('in a segment that is dropped it reads on, through the handle that it holds', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 20, { length: 600 });
    const reader = log.reader(at(1));
    await reader.read({ maxBytes: 1 });
    let held: (() => void) | undefined;
    const inFlight = new Promise<void>((resolve) => (held = resolve));
    files.before = async ({ operation, path }) => {
      if (operation === 'read' && path.includes('00001-')) await inFlight;
    };
    const reading = reader.read({ maxBytes: 600 });
    await log.truncatePrefix(at(20));
    held?.();
    expect(await reading).toMatchObject({ kind: 'batches', batches: [{ index: 2 }] });
    expect(await reader.read({ maxBytes: 1 })).toEqual({
      kind: 'truncated',
      start: log.start,
      last: 20,
    });
    reader.reposition(log.start);
    expect(await reader.read({ maxBytes: 1 })).toMatchObject({ batches: [{ index: log.start }] });
    reader.close();
  });

  test('past a cut it is told, also when the log has grown over its place again', async () => {
    const { log } = await openSmall(new MemoryFiles());
    await fill(log, 10, { epoch: 1 });
    const reader = log.reader(at(8));
    const behind = log.reader(at(3));
    await reader.read({ maxBytes: 1 });
    await behind.read({ maxBytes: 1 });
    await log.truncateSuffix(at(5));
    await fill(log, 10, { epoch: 2 });
    expect(await reader.read({ maxBytes: 1 })).toMatchObject({ kind: 'truncated' });
    expect(await behind.read({ maxBytes: 1 })).toMatchObject({ batches: [{ index: 4, epoch: 1 }] });
    reader.reposition(at(6));
    expect(await reader.read({ maxBytes: 1 })).toMatchObject({ batches: [{ index: 6, epoch: 2 }] });
  });

  test('a read that a cut overtakes never shows what was cut', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 10, { length: 100 });
    let held: (() => void) | undefined;
    const inFlight = new Promise<void>((resolve) => (held = resolve));
    let reads = 0;
    files.before = async ({ operation, path }) => {
      if (operation === 'read' && path.endsWith('.log') && (reads += 1) === 1) await inFlight;
    };
    const reading = log.read(at(4), { maxBytes: 10_000 });
    await log.truncateSuffix(at(5));
    held?.();
    expect(await reading).toMatchObject({ kind: 'truncated', last: 5 });
    expect(log.faulty).toEqual([]);
    expect(await log.read(at(4), { maxBytes: 10_000 })).toMatchObject({ kind: 'batches' });
  });

  test('closed in the middle of a read it lets go when the read is over', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 3);
    const reader = log.reader(at(1));
    const reading = reader.read({ maxBytes: 1 });
    reader.close();
    expect(await reading).toMatchObject({ kind: 'batches' });
    await expect(reader.read({ maxBytes: 1 })).rejects.toThrow('a reader that is open');
  });
});
