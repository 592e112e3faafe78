import { describe, expect, it } from 'vitest';
import { chooseRewrite, copyWanted } from '../../../storage/runs/compaction.ts';
import type { RunState } from '../../../storage/runs/compaction.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { DIRECTORY, runsIn, someValues, valueOf, writeRun } from '../../support/small-run.ts';

const MIB = 1024 * 1024;

function run(runId: number, state: Partial<RunState> = {}): RunState {
  const bytes = 64 * MIB;
  const whole = { bytes, values: 1000, wanted: 1000, isDamaged: false, goesWhole: false };
  return { runId, ...whole, ...state };
}

describe('which runs are rewritten', () => {
  it('none of which at least half is wanted, so that a backlog is written once', () => {
    const many = Array.from({ length: 100 }, (_none, nth) => run(nth + 1));
    expect(chooseRewrite(many)).toEqual([]);
    expect(chooseRewrite([run(1, { wanted: 500 })])).toEqual([]);
  });

  it('one of which less than half is wanted', () => {
    expect(chooseRewrite([run(1), run(2, { wanted: 499 })])).toEqual([2]);
  });

  it('of those the emptiest first, up to a bound of what is copied', () => {
    const sparse = Array.from({ length: 20 }, (_none, nth) => run(nth + 1, { wanted: 400 + nth }));
    const chosen = chooseRewrite(sparse);
    expect(chosen.slice(0, 2)).toEqual([1, 2]);
    expect(chosen.length).toBeLessThan(4);
  });

  it('none without anything wanted: it is dropped', () => {
    expect(chooseRewrite([run(1, { wanted: 0 })])).toEqual([]);
  });

  it('none that is damaged, and none that goes as a whole by itself', () => {
    const sparse = { wanted: 10 };
    expect(chooseRewrite([run(1, { ...sparse, isDamaged: true })])).toEqual([]);
    expect(chooseRewrite([run(1, { ...sparse, goesWhole: true })])).toEqual([]);
  });

  it('small ones of one size, as soon as there are eight: their number stays bounded', () => {
    const small = Array.from({ length: 8 }, (_none, nth) => run(nth + 1, { bytes: 100_000 }));
    expect(chooseRewrite(small.slice(0, 7))).toEqual([]);
    expect(chooseRewrite(small)).toHaveLength(8);
    const mixed = small.map((one, nth) => ({ ...one, bytes: nth < 4 ? 100_000 : 5_000_000 }));
    expect(chooseRewrite(mixed)).toEqual([]);
  });

  it('by what is wanted of them, not by what they were', () => {
    const shrunk = Array.from({ length: 8 }, (_none, nth) => run(nth + 1, { wanted: 1 }));
    expect(chooseRewrite(shrunk)).toHaveLength(8);
  });
});

describe('a rewrite', () => {
  it('copies what is wanted of several runs, in order, and tells what became of it', async () => {
    const runs = runsIn(new MemoryFiles());
    await writeRun(runs, 1, [
      { stream: 1, offset: 0, text: 'a' },
      { stream: 1, offset: 1, text: 'b' },
      { stream: 3, offset: 7, text: 'c' },
    ]);
    await writeRun(runs, 2, [
      { stream: 1, offset: 5, text: 'd' },
      { stream: 1, offset: 6, text: 'e' },
      { stream: 2, offset: 0, text: 'f' },
    ]);
    const output = await runs.create(3);
    const prepared: string[] = [];
    const outcome = await copyWanted({
      runs,
      output,
      pieces: [
        { runId: 1, stream: 1, first: 0, last: 1 },
        { runId: 2, stream: 1, first: 5, last: 6 },
        { runId: 2, stream: 2, first: 0, last: 0 },
        { runId: 1, stream: 3, first: 7, last: 7 },
      ],
      prepare: (stream, from, to) => {
        prepared.push(`${stream}:${from}-${to}`);
        return Promise.resolve();
      },
      wants: (stream, offset) => stream !== 2 && offset !== 5,
      rest: () => Promise.resolve(),
    });
    await output.finish();
    expect(outcome).toEqual({
      kind: 'copied',
      pieces: [
        { runId: 3, stream: 1, first: 0, last: 1, values: 2 },
        { runId: 3, stream: 1, first: 6, last: 6, values: 1 },
        { runId: 3, stream: 3, first: 7, last: 7, values: 1 },
      ],
    });
    expect(prepared).toContain('1:5-7');
    expect(await valueOf(runs, 3, { stream: 1, offset: 6 })).toBe('e');
    expect(await valueOf(runs, 3, { stream: 1, offset: 5 })).toBeUndefined();
    expect(await valueOf(runs, 3, { stream: 3, offset: 7 })).toBe('c');
  });

  it('that meets damage ends, and says where', async () => {
    const files = new MemoryFiles();
    const runs = runsIn(files);
    await writeRun(runs, 1, someValues());
    const bytes = files.bytes(`${DIRECTORY}/1.run`);
    bytes[160] = (bytes[160] as number) ^ 1;
    const output = await runs.create(2);
    const outcome = await copyWanted({
      runs,
      output,
      pieces: [{ runId: 1, stream: 1, first: 5, last: 11 }],
      prepare: () => Promise.resolve(),
      wants: () => true,
      rest: () => Promise.resolve(),
    });
    expect(outcome).toMatchObject({ kind: 'damaged', damage: { runId: 1, block: 0 } });
    await output.abandon();
    expect(files.paths()).toEqual([`${DIRECTORY}/1.run`]);
  });
});
