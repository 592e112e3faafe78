/** Single damaged records: mended where all else is proved whole, and refused everywhere else. */
import { describe, expect, it } from 'vitest';
import { StorageError } from '../../../storage/errors.ts';
import { MemoryRecords } from '../../../storage/records/memory-records.ts';
import type { RecordDamage, RecordStore } from '../../../storage/records/record-store.ts';

const NOTE = { index: 7, term: 3, data: Uint8Array.of(1, 2) };

async function filled(): Promise<MemoryRecords> {
  const records = new MemoryRecords();
  const store = await records.open();
  const batch = store.begin();
  for (const key of ['a', 'b', 'c', 'd']) batch.put(key, Buffer.from(`value of ${key}`));
  await batch.write(NOTE);
  await store.close();
  return records;
}

/** Byte 0 to 3 is the checksum. */
function flip(at: number): (stored: Uint8Array) => Uint8Array {
  return (stored) => {
    stored[at] = (stored[at] as number) ^ 0x10;
    return stored;
  };
}

async function textOf(store: RecordStore, key: string): Promise<string | undefined> {
  const value = await store.get(key);
  return value === undefined ? undefined : Buffer.from(value).toString();
}

const put = [{ key: 'b', value: Buffer.from('mended') }];

describe('a damaged record', () => {
  it('is shown with what is whole, and what is put in its place stays', async () => {
    const records = await filled();
    records.damage('b', flip(6));
    let seen: RecordDamage | undefined;
    let whole: string[] = [];
    const store = await records.open(async (damage) => {
      seen = damage;
      expect(await damage.get('b')).toBeUndefined();
      expect(await damage.get('nothing')).toBeUndefined();
      for await (const page of damage.iterate(''))
        whole = [...whole, ...page.map(({ key }) => key)];
      return { put, remove: ['d'] };
    });
    expect(seen).toMatchObject({ unreadable: ['b'], checkpoint: NOTE });
    expect(whole).toEqual(['a', 'c', 'd']);
    expect(store.checkpoint).toMatchObject({ ...NOTE, recordCount: 3 });
    await store.close();
    const again = await records.open();
    expect(await textOf(again, 'b')).toBe('mended');
    expect(await textOf(again, 'a')).toBe('value of a');
    expect(await textOf(again, 'd')).toBeUndefined();
  });

  it('goes where nothing is put in its place', async () => {
    const records = await filled();
    records.damage('b', flip(6));
    const store = await records.open(async () => ({ put: [], remove: [] }));
    expect(store.checkpoint?.recordCount).toBe(3);
    expect(await textOf(store, 'b')).toBeUndefined();
  });

  it('without anybody who mends it, is refused with every key named', async () => {
    const records = await filled();
    records.damage('b', flip(6));
    records.damage('c', flip(9));
    await expect(records.open()).rejects.toMatchObject({
      code: 'damaged',
      message: 'records "b", "c" of the record store do not match their checksums',
    });
  });

  it('that is refused by who mends changes nothing', async () => {
    const records = await filled();
    records.damage('b', flip(6));
    const refused = new StorageError('damaged', 'not this one');
    await expect(records.open(() => Promise.reject(refused))).rejects.toBe(refused);
    const store = await records.open(async ({ unreadable }) => {
      expect(unreadable).toEqual(['b']);
      return { put, remove: [] };
    });
    expect(await textOf(store, 'b')).toBe('mended');
  });

  it('is mended again where the power went while it was', async () => {
    for (const keepUnderWay of [false, true]) {
      const records = await filled();
      records.damage('b', flip(6));
      let mends = 0;
      const mend = async (): Promise<{ put: typeof put; remove: [] }> => {
        mends += 1;
        return { put, remove: [] };
      };
      const first = records.open(mend);
      // Its process lost its power: what becomes of it is nobody's any more.
      first.catch(() => undefined);
      while (mends === 0) await Promise.resolve();
      records.crash(keepUnderWay);
      const store = await records.open(mend);
      expect(await textOf(store, 'b')).toBe('mended');
      expect(await textOf(store, 'a')).toBe('value of a');
    }
  });
});

describe('nothing is mended', () => {
  const never = (): Promise<never> => Promise.reject(new Error('asked to mend'));

  it('where the checksum itself is damaged, so that nothing is proved of the others', async () => {
    const records = await filled();
    records.damage('b', flip(1));
    await expect(records.open(never)).rejects.toMatchObject({
      code: 'damaged',
      message: expect.stringMatching(/do not match the sum .* record "b"/),
    });
  });

  it('where a record is missing too, or shorter than its checksum', async () => {
    const records = await filled();
    records.damage('b', flip(6));
    records.damage('c', () => undefined);
    await expect(records.open(never)).rejects.toMatchObject({
      code: 'damaged',
      message: expect.stringMatching(/3 records where .* has 4; record "b"/),
    });
    const short = await filled();
    short.damage('b', (stored) => stored.subarray(0, 2));
    await expect(short.open(never)).rejects.toMatchObject({ code: 'damaged' });
  });

  it('where an older version of another record has come up', async () => {
    const records = await filled();
    const before = new Map<string, Uint8Array>();
    records.damage('a', (stored) => {
      before.set('a', stored.slice());
      return stored;
    });
    const store = await records.open();
    const batch = store.begin();
    batch.put('a', Buffer.from('newer'));
    await batch.write({ ...NOTE, index: 8 });
    await store.close();
    records.damage('a', () => before.get('a'));
    records.damage('b', flip(6));
    await expect(records.open(never)).rejects.toMatchObject({ code: 'damaged' });
  });
});
