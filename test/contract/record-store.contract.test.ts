/** What both record stores do; the shard and the simulator assume no more. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { fc } from '../support/properties.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { nodeFiles } from '../../storage/node-files.ts';
import { openLevelRecords } from '../../storage/records/level-records.ts';
import { MemoryRecords } from '../../storage/records/memory-records.ts';
import type { RecordStore } from '../../storage/records/record-store.ts';

interface Subject {
  open(): Promise<RecordStore>;
  /** What a process finds that starts after the one with the open store died. */
  crash(): Promise<void>;
  end(): Promise<void>;
}

const implementations: Record<string, () => Promise<Subject>> = {
  'classic-level': async () => {
    const root = await mkdtemp(join(tmpdir(), 'fluxmq-records-'));
    const opened: RecordStore[] = [];
    let generation = 0;
    const directory = (): string => join(root, `records-${generation}`);
    return {
      open: async () => {
        const store = await openLevelRecords({ directory: directory(), files: nodeFiles() });
        opened.push(store);
        return store;
      },
      // The files as they are at this instant, while the store has them open: a kill -9 leaves
      // these.
      crash: async () => {
        const from = directory();
        generation += 1;
        await cp(from, directory(), { recursive: true });
      },
      end: async () => {
        await Promise.all(opened.map((store) => store.close()));
        await rm(root, { recursive: true });
      },
    };
  },
  memory: () => {
    const disk = new MemoryRecords();
    return Promise.resolve({
      open: () => disk.open(),
      crash: () => Promise.resolve(disk.crash()),
      end: () => Promise.resolve(),
    });
  },
};

describe.each(Object.entries(implementations))('RecordStore: %s', (_name, begin) => {
  let subject: Subject;

  beforeEach(async () => {
    subject = await begin();
  });
  afterEach(() => subject.end());

  test('a new store has no checkpoint and no records', async () => {
    const store = await subject.open();
    expect(store.checkpoint).toBeUndefined();
    expect(await store.get('a')).toBeUndefined();
    expect(await all(store)).toEqual([]);
  });

  test('a checkpoint and its records come back after a close and after a crash', async () => {
    const first = await subject.open();
    const batch = first.begin();
    batch.put('a', bytes('1'));
    batch.put('b', bytes(''));
    await batch.write({ index: 7, term: 3, data: bytes('meta') });
    await subject.crash();
    const second = await subject.open();
    expect(second.checkpoint).toMatchObject({
      index: 7,
      term: 3,
      data: bytes('meta'),
      recordCount: 2,
    });
    expect(await second.getMany(['b', 'x', 'a'])).toEqual([bytes(''), undefined, bytes('1')]);
    await second.close();
    const third = await subject.open();
    expect(third.checkpoint).toEqual(second.checkpoint);
    expect(await third.get('a')).toEqual(bytes('1'));
  });

  test('nothing of a batch that was not written is seen, nor survives', async () => {
    const store = await subject.open();
    const batch = store.begin();
    batch.put('a', bytes('1'));
    expect(await store.get('a')).toBeUndefined();
    batch.discard();
    batch.discard();
    const other = store.begin();
    other.put('b', bytes('2'));
    await subject.crash();
    const again = await subject.open();
    expect(again.checkpoint).toBeUndefined();
    expect(await all(again)).toEqual([]);
  });

  test('number and sum do not depend on order or history; empty checkpoints count', async () => {
    const store = await subject.open();
    await write(store, 1, [
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
    ]);
    const wanted = store.checkpoint;
    await write(store, 2, [
      ['b', undefined],
      ['none', undefined],
      ['a', '9'],
      ['d', '4'],
    ]);
    expect(store.checkpoint?.recordCount).toBe(3);
    expect(store.checkpoint?.sum).not.toBe(wanted?.sum);
    await write(store, 3, [
      ['d', undefined],
      ['b', '5'],
      ['b', '2'],
      ['a', '1'],
      ['e', '1'],
      ['e', undefined],
    ]);
    await write(store, 3, []);
    expect(store.checkpoint).toMatchObject({ index: 3, recordCount: 3, sum: wanted?.sum });
  });

  test('iterate gives a prefix in the order of UTF-8, as of its first page', async () => {
    const store = await subject.open();
    const keys = ['q/\u{1f600}', 'q/\uffff', 'q/', 'q/a', 'q', 'r', 'q0', 'p/z', 'q/\u00e9'];
    await write(
      store,
      1,
      keys.map((key) => [key, key] as const),
    );
    const wanted = ['q/', 'q/a', 'q/\u00e9', 'q/\uffff', 'q/\u{1f600}'];
    expect((await all(store, 'q/')).map(([key]) => key)).toEqual(wanted);
    expect(await all(store, 'x')).toEqual([]);
    expect((await all(store, 'q/', 'q/a')).map(([key]) => key)).toEqual(wanted.slice(2));
    expect((await all(store, 'q/', 'q/b')).map(([key]) => key)).toEqual(wanted.slice(2));
    expect(await all(store, 'q/', 'q/\u{1f600}')).toEqual([]);
    expect((await all(store)).length).toBe(keys.length);
    const pages = store.iterate('');
    const first = await pages.next();
    await write(store, 2, [['zz', 'late']]);
    let count = first.done === true ? 0 : first.value.length;
    for await (const page of pages) count += page.length;
    expect(count).toBe(keys.length);
  });

  test('many records go through pages and groups', async () => {
    const store = await subject.open();
    const entries = Array.from({ length: 3000 }, (_, at) => [`k${at}`, `v${at}`] as const);
    await write(store, 1, entries);
    await write(
      store,
      2,
      entries.filter((_, at) => at % 3 === 0).map(([key]) => [key, undefined]),
    );
    expect(store.checkpoint?.recordCount).toBe(2000);
    await store.close();
    const again = await subject.open();
    expect(await all(again, 'k')).toHaveLength(2000);
    expect(await again.get('k1')).toEqual(bytes('v1'));
    expect(await again.get('k3')).toBeUndefined();
  });

  test('values belong to the caller, before and after', async () => {
    const store = await subject.open();
    const value = bytes('abc');
    const data = Buffer.from('xyz');
    const batch = store.begin();
    batch.put('a', value);
    value.fill(0);
    const writing = batch.write({ index: 1, term: 1, data });
    await writing;
    data.fill(0);
    expect(store.checkpoint?.data).toEqual(bytes('xyz'));
    (await store.get('a'))?.fill(0);
    expect(await store.get('a')).toEqual(bytes('abc'));
  });

  test('a second opener is refused with "locked" until the first has closed', async () => {
    const store = await subject.open();
    await expect(subject.open()).rejects.toMatchObject({ name: 'StorageError', code: 'locked' });
    await write(store, 1, [['a', '1']]);
    await store.close();
    expect(await (await subject.open()).get('a')).toEqual(bytes('1'));
  });

  test('after close everything is refused with "closed", and close again is nothing', async () => {
    const store = await subject.open();
    const batch = store.begin();
    const pages = store.iterate('a');
    await store.close();
    await store.close();
    const closed = { name: 'StorageError', code: 'closed' };
    await expect(store.get('a')).rejects.toMatchObject(closed);
    await expect(store.getMany(['a'])).rejects.toMatchObject(closed);
    await expect(pages.next()).rejects.toMatchObject(closed);
    expect(() => store.begin()).toThrow(expect.objectContaining(closed));
    expect(() => batch.put('a', bytes('1'))).toThrow(expect.objectContaining(closed));
    await expect(batch.write({ index: 1, term: 1, data: bytes('') })).rejects.toMatchObject(closed);
    batch.discard();
  });

  test('close waits for a write under way, and the write is durable', async () => {
    const store = await subject.open();
    const batch = store.begin();
    batch.put('a', bytes('1'));
    const order: string[] = [];
    const writing = batch
      .write({ index: 1, term: 1, data: bytes('') })
      .then(() => order.push('written'));
    const closing = store.close().then(() => order.push('closed'));
    await Promise.all([writing, closing]);
    expect(order).toEqual(['written', 'closed']);
    expect((await subject.open()).checkpoint?.index).toBe(1);
  });

  test('misuse is a bug: two batches, use after the end, bad keys, an earlier index', async () => {
    const store = await subject.open();
    const batch = store.begin();
    expect(() => store.begin()).toThrow('one batch');
    for (const key of ['', '\0a', '\ud800', 'x'.repeat(1025), '\u00e9'.repeat(513)]) {
      expect(() => batch.put(key, bytes(''))).toThrow('a record key');
      expect(() => batch.delete(key)).toThrow('a record key');
      await expect(store.get(key)).rejects.toThrow('a record key');
    }
    batch.put('\u00e9'.repeat(512), bytes('longest'));
    await batch.write({ index: 5, term: 1, data: bytes('') });
    expect(() => batch.delete('a')).toThrow('written or discarded');
    const earlier = store.begin();
    await expect(earlier.write({ index: 4, term: 1, data: bytes('') })).rejects.toThrow(
      'never go back',
    );
    expect(await store.get('\u00e9'.repeat(512))).toEqual(bytes('longest'));
  });

  test('behaves as a map whose last written state survives', async () => {
    const key = fc.constantFrom('a', 'b', 'c/1', 'c/2', '\u00e9');
    const change = fc.tuple(key, fc.option(fc.uint8Array({ maxLength: 600 }), { nil: undefined }));
    const step = fc.record({
      changes: fc.array(change, { maxLength: 6 }),
      ending: fc.constantFrom('write', 'write', 'discard', 'crash', 'reopen'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        const fresh = await begin();
        try {
          await againstMap(fresh, steps);
        } finally {
          await fresh.end();
        }
      }),
      { numRuns: 25 },
    );
  });
});

interface Step {
  changes: [string, Uint8Array | undefined][];
  ending: string;
}

async function againstMap(subject: Subject, steps: readonly Step[]): Promise<void> {
  const model = new Map<string, Uint8Array>();
  let store = await subject.open();
  let index = 0;
  for (const { changes, ending } of steps) {
    const batch = store.begin();
    for (const [key, value] of changes) {
      if (value === undefined) batch.delete(key);
      else batch.put(key, value);
    }
    if (ending === 'write') {
      index += 1;
      await batch.write({ index, term: 1, data: bytes('') });
      for (const [key, value] of changes) {
        if (value === undefined) model.delete(key);
        else model.set(key, value);
      }
    } else {
      if (ending === 'crash') await subject.crash();
      if (ending === 'reopen') await store.close();
      if (ending === 'discard') batch.discard();
      else store = await subject.open();
    }
    expect(store.checkpoint?.index ?? 0).toBe(index);
    expect(store.checkpoint?.recordCount ?? 0).toBe(model.size);
    const found = new Map(await all(store));
    expect(found).toEqual(model);
  }
}

async function write(
  store: RecordStore,
  index: number,
  changes: readonly (readonly [string, string | undefined])[],
): Promise<void> {
  const batch = store.begin();
  for (const [key, value] of changes) {
    if (value === undefined) batch.delete(key);
    else batch.put(key, bytes(value));
  }
  await batch.write({ index, term: 1, data: bytes('') });
}

async function all(
  store: RecordStore,
  prefix = '',
  behind?: string,
): Promise<[string, Uint8Array][]> {
  const found: [string, Uint8Array][] = [];
  for await (const page of store.iterate(prefix, behind)) {
    for (const { key, value } of page) found.push([key, value]);
  }
  return found;
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}
