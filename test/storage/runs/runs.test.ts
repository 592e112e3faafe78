import { fc } from '../../support/properties.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { StorageError } from '../../../storage/errors.ts';
import { MemoryFiles, failure } from '../../support/memory-files.ts';
import { DIRECTORY, runsIn, someValues, valueOf, writeRun } from '../../support/small-run.ts';

describe('a run', () => {
  it('gives back every value under its key, and nothing under others', async () => {
    const runs = runsIn(new MemoryFiles());
    const values = someValues();
    const finished = await writeRun(runs, 1, values);
    expect(finished.values).toBe(values.length);
    expect(finished.blocks).toBeGreaterThan(3);
    for (const { stream, offset, text } of values) {
      expect(await valueOf(runs, 1, { stream, offset })).toBe(text);
    }
    for (const [stream, offset] of [
      [0, 0],
      [1, 4],
      [1, 12],
      [2, 1],
      [3, 0],
      [2 ** 40, 2 ** 50 + 3],
      [2 ** 41, 0],
    ] as const) {
      expect(await valueOf(runs, 1, { stream, offset }), `${stream}/${offset}`).toBeUndefined();
    }
  });

  it('is the same for any sorted keys, any sizes, any size of a block', async () => {
    const key = fc.record({ stream: fc.nat(3), offset: fc.nat(200), bytes: fc.nat(90) });
    const keys = fc.uniqueArray(key, {
      selector: ({ stream, offset }) => `${stream}/${offset}`,
      minLength: 1,
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(keys, fc.integer({ min: 1, max: 400 }), async (drawn, blockBytes) => {
        const runs = runsIn(new MemoryFiles(), { blockBytes });
        const values = drawn
          .toSorted((a, b) => a.stream - b.stream || a.offset - b.offset)
          .map(({ stream, offset, bytes }) => ({ stream, offset, text: 'v'.repeat(bytes) }));
        await writeRun(runs, 1, values);
        for (const value of values) expect(await valueOf(runs, 1, value)).toBe(value.text);
        let seen = 0;
        let from = { stream: 0, offset: 0 };
        for (;;) {
          const read = await runs.read(1, from, { maxBytes: 300 });
          if (read.kind !== 'blocks') break;
          for (const block of read.blocks) seen += block.values;
          const last = read.blocks.at(-1)?.last ?? from;
          from = { stream: last.stream, offset: last.offset + 1 };
        }
        expect(seen).toBe(values.length);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses keys that do not ascend', async () => {
    const writer = await runsIn(new MemoryFiles()).create(1);
    writer.add(2, 5, Buffer.from('x'));
    expect(() => writer.add(2, 5, Buffer.from('x'))).toThrow('ascend');
    expect(() => writer.add(1, 9, Buffer.from('x'))).toThrow('ascend');
    await writer.abandon();
  });

  it('has its name only when every byte is synced, and its name is durable then', async () => {
    const files = new MemoryFiles();
    files.tracing = true;
    await writeRun(runsIn(files), 7, someValues());
    const steps = files.trace.map(({ operation }) => operation);
    expect(steps.lastIndexOf('sync')).toBeGreaterThan(steps.lastIndexOf('write'));
    expect(steps.indexOf('rename')).toBeGreaterThan(steps.lastIndexOf('sync'));
    expect(steps.at(-1)).toBe('sync-directory');
    expect(files.paths()).toEqual([`${DIRECTORY}/7.run`]);
  });

  it('is written in parts where the disk takes parts, and read in parts', async () => {
    const files = new MemoryFiles();
    files.shortBytes = 13;
    const runs = runsIn(files);
    await writeRun(runs, 1, someValues());
    for (const value of someValues()) expect(await valueOf(runs, 1, value)).toBe(value.text);
  });

  it('stays readable to who reads it while it is removed', async () => {
    const files = new MemoryFiles();
    const runs = runsIn(files);
    await writeRun(runs, 1, someValues());
    const reading = valueOf(runs, 1, { stream: 1, offset: 5 });
    await Promise.all([runs.remove([1]), reading]);
    expect(await reading).toBe('a5');
    expect(files.paths()).toEqual([]);
  });

  it('of another owner is damage, not data', async () => {
    const files = new MemoryFiles();
    await writeRun(runsIn(files, { owner: 'ffffffffffffffff' }), 1, someValues());
    expect(await valueOf(runsIn(files), 1, { stream: 1, offset: 5 })).toBe('lost');
  });

  it('that is missing is named', async () => {
    const read = await runsIn(new MemoryFiles()).read(3, { stream: 1, offset: 1 }, { maxBytes: 1 });
    expect(read).toMatchObject({ kind: 'damaged', damage: { fault: 'missing-file', runId: 3 } });
  });

  it('is adopted under a second name, durably, and stays when the first one goes', async () => {
    const files = new MemoryFiles();
    const [value] = someValues() as [ReturnType<typeof someValues>[number]];
    const from = runsIn(files);
    const { fileBytes: bytes } = await writeRun(from, 1, someValues());
    for (const runId of [3, 4]) await writeRun(from, runId, someValues());
    files.put(`${DIRECTORY}/4.run`, files.bytes(`${DIRECTORY}/4.run`).subarray(0, bytes - 1));
    const runs = [1, 2, 3, 4].map((runId) => ({ runId, bytes }));
    const [into, other] = [{ directory: '/next' }, { directory: '/other', owner: '00'.repeat(8) }];
    expect([...(await runsIn(files, into).adopt(from, runs))]).toEqual([1, 3]);
    expect([...(await runsIn(files, other).adopt(from, runs))]).toEqual([]);
    const disk = files.crash();
    await runsIn(disk).remove([1, 3]);
    const left = runsIn(disk, into);
    expect(await valueOf(left, 1, value)).toBe(value.text);
    expect(await left.keepOnly(new Set([1, 3]))).toEqual({ removed: [], missing: [] });
  });

  it('that is adopted is told as failed where its name cannot be made durable', async () => {
    const files = new MemoryFiles();
    const from = runsIn(files);
    const { fileBytes: bytes } = await writeRun(from, 1, someValues());
    files.before = ({ operation }) => {
      if (operation === 'sync-directory') throw failure('EIO', '/next');
    };
    const adopting = runsIn(files, { directory: '/next' }).adopt(from, [{ runId: 1, bytes }]);
    await expect(adopting).rejects.toMatchObject({ code: 'failed' });
  });

  it('keeps sparse indexes up to a bound', async () => {
    const runs = runsIn(new MemoryFiles());
    for (let runId = 1; runId <= 20; runId += 1) {
      await writeRun(runs, runId, someValues());
      await valueOf(runs, runId, { stream: 1, offset: 5 });
    }
    expect(runs.indexBytes).toBeGreaterThan(0);
    expect(runs.indexBytes).toBeLessThanOrEqual(4096);
    expect(await valueOf(runs, 1, { stream: 1, offset: 6 })).toBe('a6');
  });
});

describe('the folder of the runs', () => {
  it('loses what nobody names and what was not finished, and leaves foreign files alone', async () => {
    const files = new MemoryFiles();
    const runs = runsIn(files);
    for (const runId of [1, 2, 12]) await writeRun(runs, runId, someValues());
    files.put(`${DIRECTORY}/13.run.new`, Buffer.from('half'));
    files.put(`${DIRECTORY}/notes.txt`, Buffer.from('mine'));
    const { removed, missing } = await runs.keepOnly(new Set([2, 5]));
    expect(removed.toSorted()).toEqual(['1.run', '12.run', '13.run.new']);
    expect(missing).toEqual([5]);
    expect(files.paths()).toEqual([`${DIRECTORY}/2.run`, `${DIRECTORY}/notes.txt`]);
  });

  it('takes nothing more when it is closed', async () => {
    const runs = runsIn(new MemoryFiles());
    runs.close();
    await expect(runs.read(1, { stream: 1, offset: 1 }, { maxBytes: 1 })).rejects.toMatchObject({
      code: 'closed',
    });
  });
});

describe('a disk that fails a run', () => {
  for (const operation of ['open', 'write', 'sync', 'rename', 'sync-directory']) {
    it(`EIO on ${operation} is told as failed, and nothing stays`, async () => {
      const files = new MemoryFiles();
      const runs = runsIn(files);
      files.before = (call) => {
        if (call.operation === operation) throw failure('EIO', call.path);
      };
      const writer = await runs.create(1).catch((error: unknown) => error as StorageError);
      if (writer instanceof StorageError) {
        expect(writer.code).toBe('failed');
        return;
      }
      for (const value of someValues()) {
        writer.add(value.stream, value.offset, Buffer.from(value.text));
      }
      await expect(writer.finish()).rejects.toMatchObject({ code: 'failed' });
      files.before = () => undefined;
      await writer.abandon();
      expect(files.paths()).toEqual([]);
    });
  }

  it('ENOSPC is told as full, and the same run can be written when there is room', async () => {
    const files = new MemoryFiles();
    const runs = runsIn(files);
    files.freeBytes = 100;
    const writer = await runs.create(1);
    writer.add(1, 1, Buffer.alloc(500));
    await expect(writer.finish()).rejects.toMatchObject({ code: 'full' });
    await writer.abandon();
    files.freeBytes = 1_000_000;
    await writeRun(runs, 1, someValues());
    expect(await valueOf(runs, 1, { stream: 1, offset: 5 })).toBe('a5');
  });
});

it('the bytes of format 1 are what they were, and are read', async () => {
  const files = new MemoryFiles();
  await writeRun(runsIn(files), 9, someValues());
  const golden = await readFile(join(import.meta.dirname, '../../fixtures/run-v1.hex'), 'utf8');
  const hex = files.bytes(`${DIRECTORY}/9.run`).toString('hex');
  expect(hex).toBe(golden.replaceAll(/\s/g, ''));
  expect(hex).toContain('efcdab8967452301');
});
