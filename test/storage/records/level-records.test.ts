/**
 * LevelDB's files damaged and cut behind its back: the store opens at a checkpoint that was
 * written, with exactly its records, or says `damaged`. Never other data.
 */
import {
  cp,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { StorageError } from '../../../storage/errors.ts';
import { nodeFiles } from '../../../storage/node-files.ts';
import { openLevelRecords } from '../../../storage/records/level-records.ts';
import type { RecordStore } from '../../../storage/records/record-store.ts';
import { Random } from '../../../raft/simulation/random.ts';

const CHECKPOINTS = 6;
const RECORDS = 60;

type State = ReadonlyMap<string, string>;

let root: string;
let original: string;
/** By index of the checkpoint; 0 is the empty store. */
const states: State[] = [new Map()];

function open(directory: string): Promise<RecordStore> {
  return openLevelRecords({ directory, files: nodeFiles(), writeBufferBytes: 64 * 1024 });
}

/**
 * Six checkpoints: tables on disk, then a log with several batches, as a killed process leaves
 * them.
 */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fluxmq-level-'));
  const random = new Random('classic-level');
  let store = await open(join(root, 'live'));
  for (let index = 1; index <= CHECKPOINTS; index += 1) {
    const state = new Map(states[index - 1]);
    const batch = store.begin();
    for (let at = 0; at < RECORDS; at += 1) {
      const key = `record/${random.below(200)}`;
      if (random.chance(0.2)) {
        state.delete(key);
        batch.delete(key);
      } else {
        const value = `${key} at ${index} `.repeat(random.between(1, 20));
        state.set(key, value);
        batch.put(key, Buffer.from(value));
      }
    }
    await batch.write({ index, term: 1, data: new Uint8Array(0) });
    states.push(state);
    if (index === 3) {
      await store.close();
      store = await open(join(root, 'live'));
    }
  }
  original = join(root, 'original');
  await cp(join(root, 'live'), original, { recursive: true });
  await store.close();
});
afterAll(() => rm(root, { recursive: true }));

test('the files as they are open at the last checkpoint', async () => {
  expect(await outcomeOf(() => Promise.resolve())).toBe(`index ${CHECKPOINTS}`);
});

test('a killed process leaves no lock, a living one is "locked", folder named', async () => {
  const directory = join(root, 'lock');
  const store = await open(directory);
  await expect(open(directory)).rejects.toMatchObject({
    code: 'locked',
    message: expect.stringContaining(directory),
  });
  await cp(directory, `${directory}-killed`, { recursive: true });
  await (await open(`${directory}-killed`)).close();
  await store.close();
});

test('options out of range are refused before anything is touched', async () => {
  const directory = join(root, 'range');
  for (const options of [
    { cacheBytes: 1 },
    { writeBufferBytes: 0.5 },
    { writeBufferBytes: 2 ** 40 },
  ]) {
    await expect(openLevelRecords({ directory, files: nodeFiles(), ...options })).rejects.toThrow(
      RangeError,
    );
  }
  await expect(stat(directory)).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('never other data', () => {
  test('with any byte flipped', async () => {
    const random = new Random('flip');
    const outcomes = new Map<string, number>();
    for (const { name, size } of await fileSizes()) {
      const flips = name.endsWith('.log') || name.endsWith('.ldb') ? 40 : Math.min(size, 8);
      for (let flip = 0; flip < flips && size > 0; flip += 1) {
        const at = random.below(size);
        const bit = random.below(8);
        const outcome = await outcomeOf(async (directory) => {
          const bytes = await readFile(join(directory, name));
          bytes[at] = (bytes[at] as number) ^ (1 << bit);
          await writeFile(join(directory, name), bytes);
        });
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    }
    expect(outcomes.get('damaged')).toBeGreaterThan(10);
    expect(outcomes.size).toBeGreaterThan(1);
  });

  test('with the log cut at any length, and with its last synced batches so dropped', async () => {
    const log = (await fileSizes()).findLast(({ name }) => name.endsWith('.log'));
    expect(log?.size).toBeGreaterThan(1000);
    const outcomes = new Set<string>();
    const random = new Random('cut');
    for (let cut = 0; cut < 40; cut += 1) {
      const length = random.below(log?.size ?? 0);
      outcomes.add(
        await outcomeOf((directory) => truncate(join(directory, log?.name ?? ''), length)),
      );
    }
    // LevelDB forgets without a word: what is left is an earlier checkpoint, whole.
    expect([...outcomes].toSorted()).toEqual(['index 3', 'index 4', 'index 5']);
  });

  test('with any file lost', async () => {
    for (const { name } of await fileSizes()) {
      const outcome = await outcomeOf((directory) => unlink(join(directory, name)));
      expect(outcome, name).toMatch(/^(index \d|damaged|failed)$/);
    }
  });
});

async function fileSizes(): Promise<{ name: string; size: number }[]> {
  const names = (await readdir(original)).toSorted();
  return Promise.all(
    names.map(async (name) => ({ name, size: (await stat(join(original, name))).size })),
  );
}

let copies = 0;

/**
 * Opens a copy damaged so; checks that all it gives is a state that was written, and tells which.
 */
async function outcomeOf(damage: (directory: string) => Promise<void>): Promise<string> {
  const directory = join(root, `copy-${(copies += 1)}`);
  await cp(original, directory, { recursive: true });
  await damage(directory);
  let store: RecordStore | undefined;
  try {
    store = await open(directory);
    const index = store.checkpoint?.index ?? 0;
    const found = new Map<string, string>();
    for await (const page of store.iterate('')) {
      for (const { key, value } of page) found.set(key, Buffer.from(value).toString());
    }
    expect(found).toEqual(states[index]);
    return `index ${index}`;
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  } finally {
    await store?.close();
    await rm(directory, { recursive: true });
  }
}
