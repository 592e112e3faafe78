/** Every byte of a small run flipped, and every length that it can be cut to. */

import { describe, expect, it } from 'vitest';
import { RUN_HEADER_BYTES } from '../../../storage/runs/run-format.ts';
import { inspectRun } from '../../../storage/runs/inspect-run.ts';
import { StorageError } from '../../../storage/errors.ts';
import { MemoryFiles, failure } from '../../support/memory-files.ts';
import { DIRECTORY, runsIn, someValues, valueOf, writeRun } from '../../support/small-run.ts';

const PATH = `${DIRECTORY}/1.run`;

async function wholeRun(): Promise<{ bytes: Buffer; blocks: { from: number; to: number }[] }> {
  const files = new MemoryFiles();
  await writeRun(runsIn(files), 1, someValues());
  const blocks: { from: number; to: number }[] = [];
  for await (const seen of inspectRun({ files, path: PATH })) {
    if (seen.kind !== 'block') continue;
    blocks.push({ from: seen.position, to: seen.position + seen.block.bytes.length });
  }
  return { bytes: files.bytes(PATH), blocks };
}

/** How many values are lost; every other one is as it was written. */
async function lostIn(bytes: Uint8Array): Promise<number> {
  const files = new MemoryFiles();
  files.put(PATH, bytes);
  const runs = runsIn(files);
  let lost = 0;
  for (const value of someValues()) {
    const read = await valueOf(runs, 1, value);
    if (read === 'lost') lost += 1;
    else expect(read).toBe(value.text);
  }
  return lost;
}

/** What a look from outside says is damaged. */
async function damageIn(bytes: Uint8Array): Promise<string[]> {
  const files = new MemoryFiles();
  files.put(PATH, bytes);
  const damage: string[] = [];
  try {
    for await (const seen of inspectRun({ files, path: PATH })) {
      if (seen.kind === 'damage') damage.push(seen.damage.fault);
      if (seen.kind !== 'run') continue;
      if (seen.header === undefined) damage.push('header');
      if (seen.footer === undefined) damage.push('footer');
      if (seen.index === 'damaged') damage.push('index');
    }
  } catch (error) {
    expect(error).toBeInstanceOf(StorageError);
    damage.push('not ours');
  }
  return damage;
}

describe('a damaged run', () => {
  it('D4: one flipped bit is named, and loses at most the block that it lies in', async () => {
    const { bytes, blocks } = await wholeRun();
    const perBlock = new Map<number, number>();
    for (let at = 0; at < bytes.length; at += 1) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
      const lost = await lostIn(flipped);
      const block = blocks.findIndex(({ from, to }) => from <= at && at < to);
      if (block === -1) expect(lost, `byte ${at} is in no block`).toBe(0);
      else perBlock.set(block, Math.max(perBlock.get(block) ?? 0, lost));
      expect((await damageIn(flipped)).length, `byte ${at} is found`).toBeGreaterThan(0);
    }
    expect(perBlock.size).toBe(blocks.length);
    const all = [...perBlock.values()].reduce((sum, lost) => sum + lost, 0);
    expect(all, 'each block loses its own values, no others').toBe(someValues().length);
  });

  it('D4: cut to any length, it keeps every whole block and names the rest', async () => {
    const { bytes, blocks } = await wholeRun();
    for (let length = 0; length < bytes.length; length += 1) {
      const cut = bytes.subarray(0, length);
      const lost = await lostIn(cut);
      const whole = blocks.filter(({ to }) => to <= length).length;
      if (whole === blocks.length) expect(lost, `length ${length}`).toBe(0);
      else if (whole === 0) expect(lost, `length ${length}`).toBe(someValues().length);
      else expect(lost, `length ${length}`).toBeGreaterThan(0);
      expect((await damageIn(cut)).length, `length ${length}`).toBeGreaterThan(0);
    }
  });

  it('index and a block gone together: the neighbours are still there', async () => {
    const { bytes, blocks } = await wholeRun();
    const middle = blocks[2] as { from: number; to: number };
    const broken = Buffer.from(bytes.subarray(0, bytes.length - 70));
    broken.fill(0xff, middle.from, middle.from + 20);
    const lost = await lostIn(broken);
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(someValues().length / 2);
  });

  it('a bit that flips on the way is read again and is no damage', async () => {
    const { bytes } = await wholeRun();
    const files = new MemoryFiles();
    files.put(PATH, bytes);
    const runs = runsIn(files);
    await valueOf(runs, 1, { stream: 1, offset: 5 });
    let reads = 0;
    const sound = files.bytes(PATH);
    files.before = (call) => {
      if (call.operation !== 'read') return;
      reads += 1;
      const seen = Buffer.from(bytes);
      if (reads === 1) seen[RUN_HEADER_BYTES + 100] = (seen[RUN_HEADER_BYTES + 100] as number) ^ 1;
      seen.copy(sound);
    };
    expect(await valueOf(runs, 1, { stream: 1, offset: 5 })).toBe('a5');
    expect(reads).toBe(2);
  });

  it('one place that the disk does not give hides its block alone', async () => {
    const { bytes, blocks } = await wholeRun();
    const bad = blocks[1] as { from: number; to: number };
    const files = new MemoryFiles();
    files.put(PATH, bytes);
    files.before = ({ operation, position = 0, length = 0, path }) => {
      if (operation !== 'read') return;
      if (position < bad.to && bad.from < position + length) throw failure('EIO', path);
    };
    const runs = runsIn(files);
    let lost = 0;
    for (const value of someValues()) {
      const read = await valueOf(runs, 1, value);
      if (read === 'lost') lost += 1;
      else expect(read).toBe(value.text);
    }
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(someValues().length / 2);
  });

  it('a file that is no run is said to be none', async () => {
    const files = new MemoryFiles();
    files.put(
      PATH,
      Buffer.from('something else entirely, and long enough to be looked at'.repeat(9)),
    );
    await expect(inspectRun({ files, path: PATH }).next()).rejects.toMatchObject({
      code: 'unknown-format',
    });
  });
});
