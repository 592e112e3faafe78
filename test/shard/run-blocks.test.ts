import { beforeEach, describe, expect, it } from 'vitest';
import type { Runs } from '#storage';
import { RunBlocks } from '../../src/shard/run-blocks.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { runsIn, writeRun } from '../support/small-run.ts';

const RUN = 1;
const STREAM = 7;
const BLOCK = 1_000;
const BUFFER = 8 * BLOCK;
const VALUES = 2_000;

const textOf = (offset: number): string => `${offset} `.repeat(9);

let runs: Runs;

beforeEach(async () => {
  runs = runsIn(new MemoryFiles(), { blockBytes: BLOCK });
  const offsets = Array.from({ length: VALUES }, (_, offset) => offset);
  const values = offsets.map((offset) => ({ stream: STREAM, offset, text: textOf(offset) }));
  await writeRun(runs, RUN, values);
});

/** Reads on from there, as much as one buffer takes; where it ends. */
async function read(cache: RunBlocks, offset: number, maxBytes = BUFFER): Promise<number> {
  const into = cache.take();
  const found = await runs.read(RUN, { stream: STREAM, offset }, { maxBytes, into });
  if (found.kind !== 'blocks') throw new Error(found.kind);
  cache.add(RUN, found.blocks, into);
  return (found.blocks.at(-1)?.last.offset ?? 0) + 1;
}

/** Undefined: it is not here. */
function textIn(cache: RunBlocks, offset: number): string | undefined {
  const block = cache.find(RUN, STREAM, offset)?.block;
  const value = block?.find(STREAM, offset) ?? -1;
  if (block === undefined || value === -1) return undefined;
  return Buffer.from(block.bytes.subarray(block.start(value), block.end(value))).toString();
}

describe('what was read from runs', () => {
  it('is copied by slice, so that it stays what it was when the buffer is read into again', async () => {
    const cache = new RunBlocks(2 * BUFFER, BUFFER);
    let next = await read(cache, 0);
    const block = cache.find(RUN, STREAM, 0)?.block;
    const value = block?.find(STREAM, 0) ?? -1;
    const copy = block?.bytes.slice(block.start(value), block.end(value));
    while (next < 1_000) next = await read(cache, next);
    expect(Buffer.from(copy ?? []).toString()).toBe(textOf(0));
  });

  it('is there until the bound is passed, the oldest read out first', async () => {
    const cache = new RunBlocks(3 * BUFFER, BUFFER);
    let next = 0;
    while (next < 1_000) next = await read(cache, next);
    expect(textIn(cache, 0)).toBeUndefined();
    expect(textIn(cache, next - 1)).toBe(textOf(next - 1));
    expect(cache.bytes).toBeLessThanOrEqual(3 * BUFFER);
  });

  it('is read into the same few buffers, and whatever is still found is what was written', async () => {
    const cache = new RunBlocks(3 * BUFFER, BUFFER);
    const memory = new Set<unknown>();
    for (let next = 0; next < VALUES;) {
      next = await read(cache, next);
      memory.add(cache.find(RUN, STREAM, next - 1)?.block?.bytes.buffer);
      for (let offset = 0; offset < next; offset++) {
        expect([undefined, textOf(offset)]).toContain(textIn(cache, offset));
      }
    }
    expect(memory.size).toBeLessThan(6);
  });

  it('who keeps a block beyond its time finds it empty, and not another one', async () => {
    const cache = new RunBlocks(BUFFER, BUFFER);
    await read(cache, 0);
    const kept = cache.find(RUN, STREAM, 0);
    expect(kept?.block?.find(STREAM, 0)).toBe(0);
    await read(cache, 500);
    expect(kept?.block).toBeUndefined();
  });

  it('two reads at once have a buffer each', () => {
    const cache = new RunBlocks(BUFFER, BUFFER);
    expect(cache.take()).not.toBe(cache.take());
  });

  it('a block that came with two reads stays while the later one is kept', async () => {
    const cache = new RunBlocks(2 * BUFFER, BUFFER);
    await read(cache, 0);
    await read(cache, 0);
    await read(cache, 1_000);
    expect(textIn(cache, 0)).toBe(textOf(0));
  });

  it('the newest read is kept, however large it is, and its buffer where it lies elsewhere', async () => {
    const cache = new RunBlocks(BUFFER, BUFFER);
    const buffer = cache.take();
    const place = { stream: STREAM, offset: 0 };
    const found = await runs.read(RUN, place, { maxBytes: 4 * BUFFER, into: buffer });
    if (found.kind !== 'blocks') throw new Error(found.kind);
    cache.add(RUN, found.blocks, buffer);
    expect(cache.bytes).toBeGreaterThan(2 * BUFFER);
    expect(textIn(cache, 0)).toBe(textOf(0));
    expect(cache.take()).toBe(buffer);
    await read(cache, 1_500);
    expect(textIn(cache, 0)).toBeUndefined();
    expect(cache.bytes).toBe(BUFFER);
  });
});
