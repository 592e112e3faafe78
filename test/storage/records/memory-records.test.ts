/** What only the store in memory can be asked: power cuts inside a write, failures, damage. */
import { describe, expect, test } from 'vitest';

import { StorageError } from '../../../storage/errors.ts';
import { MemoryRecords } from '../../../storage/records/memory-records.ts';
import type { RecordStore } from '../../../storage/records/record-store.ts';

const NOTHING = new Uint8Array(0);

async function writeOne(store: RecordStore, index: number, keys: readonly string[]): Promise<void> {
  const batch = store.begin();
  for (const key of keys) batch.put(key, Buffer.from(`${key}@${index}`));
  await batch.write({ index, term: 1, data: NOTHING });
}

describe('a power cut in a write', () => {
  test.each([
    [false, 1],
    [true, 2],
  ])('keeps all of it or nothing (kept: %s), and the write never returns', async (kept, index) => {
    let syncing = (): Promise<void> => Promise.resolve();
    const disk = new MemoryRecords(() => syncing());
    const store = await disk.open();
    await writeOne(store, 1, ['a', 'b']);
    let reached: () => void = () => undefined;
    const inSync = new Promise<void>((resolve) => (reached = resolve));
    syncing = () => {
      reached();
      return new Promise<never>(() => undefined);
    };
    let answered = false;
    void writeOne(store, 2, ['b', 'c']).finally(() => (answered = true));
    await inSync;
    disk.crash(kept);
    void store.get('a').finally(() => (answered = true));
    const again = await disk.open();
    expect(again.checkpoint?.index).toBe(index);
    expect(Buffer.from((await again.get('b')) ?? []).toString()).toBe(`b@${index}`);
    expect((await again.get('c')) !== undefined).toBe(kept);
    expect(answered).toBe(false);
  });
});

describe('a write that fails', () => {
  test.each(['full', 'failed'] as const)(
    'with "%s" ends the writing, not the reading',
    async (code) => {
      const disk = new MemoryRecords();
      const store = await disk.open();
      await writeOne(store, 1, ['a']);
      disk.failNextWrite(new StorageError(code, 'as asked'));
      await expect(writeOne(store, 2, ['a'])).rejects.toMatchObject({ code });
      expect(store.checkpoint?.index).toBe(1);
      expect(Buffer.from((await store.get('a')) ?? []).toString()).toBe('a@1');
      expect(() => store.begin()).toThrow(expect.objectContaining({ code: 'failed' }));
      await store.close();
      const again = await disk.open();
      await writeOne(again, 2, ['a']);
      expect(again.checkpoint?.index).toBe(2);
    },
  );
});

describe('damage', () => {
  async function written(): Promise<MemoryRecords> {
    const disk = new MemoryRecords();
    const store = await disk.open();
    await writeOne(store, 1, ['queue/1', 'queue/2', 'queue/3']);
    await store.close();
    return disk;
  }

  test('a flipped byte is named at open', async () => {
    const disk = await written();
    disk.damage('queue/2', (stored) => stored.map((byte, at) => (at === 6 ? byte ^ 1 : byte)));
    await expect(disk.open()).rejects.toMatchObject({
      code: 'damaged',
      message: expect.stringContaining('"queue/2"'),
    });
  });

  test('a record that is gone is named by the count, one of another state by the sum', async () => {
    const gone = await written();
    gone.damage('queue/2', () => undefined);
    await expect(gone.open()).rejects.toMatchObject({
      message: expect.stringContaining('has 2 records'),
    });

    const other = new MemoryRecords();
    const store = await other.open();
    await writeOne(store, 1, ['queue/1', 'queue/2']);
    let older: Uint8Array = NOTHING;
    other.damage('queue/2', (stored) => (older = stored));
    await writeOne(store, 2, ['queue/2']);
    await store.close();
    other.damage('queue/2', () => older);
    await expect(other.open()).rejects.toMatchObject({
      code: 'damaged',
      message: expect.stringContaining('sum of the checkpoint at index 2'),
    });
  });

  test('a checkpoint that is gone from under its records is damage, not a new store', async () => {
    const disk = await written();
    disk.damage('\0checkpoint', () => undefined);
    await expect(disk.open()).rejects.toMatchObject({ code: 'damaged' });
    // The refused opener left no lock behind.
    await expect(disk.open()).rejects.toMatchObject({ code: 'damaged' });
  });

  test('that comes after the pass at open is named by reads, pages and batches', async () => {
    const disk = await written();
    const store = await disk.open();
    disk.damage('queue/2', (stored) => stored.subarray(0, 5));
    const named = { code: 'damaged', message: expect.stringContaining('"queue/2"') };
    await expect(store.getMany(['queue/1', 'queue/2'])).rejects.toMatchObject(named);
    await expect(store.iterate('queue/').next()).rejects.toMatchObject(named);
    expect(await store.get('queue/1')).toBeDefined();
    await expect(writeOne(store, 2, ['queue/2'])).rejects.toMatchObject(named);
    expect(store.checkpoint?.index).toBe(1);
  });
});
