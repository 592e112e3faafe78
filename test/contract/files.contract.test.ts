/**
 * What every implementation of the port `storage/files.ts` has to do; the engine assumes no more.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Files, OpenFile, OpenOptions } from '../../storage/files.ts';
import { nodeFiles } from '../../storage/node-files.ts';
import { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';

const NEW: OpenOptions = { access: 'write', create: 'exclusive', durability: 'on-sync' };
const OLD: OpenOptions = { access: 'write', create: 'never', durability: 'on-sync' };
const READ: OpenOptions = { access: 'read', create: 'never', durability: 'on-sync' };

interface Subject {
  files: Files;
  directory: string;
  end(): Promise<void>;
}

const implementations: Record<string, () => Promise<Subject>> = {
  'node files': async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fluxmq-files-'));
    return { files: nodeFiles(), directory, end: () => rm(directory, { recursive: true }) };
  },
  'simulated disk': async () => {
    const files = new SimulatedDisk({ seed: 'contract', capacityBytes: 1 << 30 }).mount();
    await files.makeDirectory('/data');
    return { files, directory: '/data', end: () => Promise.resolve() };
  },
};

describe.each(Object.entries(implementations))('Files: %s', (_name, begin) => {
  let subject: Subject;
  let files: Files;
  const path = (name: string): string => `${subject.directory}/${name}`;

  beforeEach(async () => {
    subject = await begin();
    files = subject.files;
  });
  afterEach(() => subject.end());

  test('exclusive creation fails with EEXIST, opening what is not there with ENOENT', async () => {
    await (await files.open(path('a'), NEW)).close();
    await expect(files.open(path('a'), NEW)).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(files.open(path('b'), OLD)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(files.open(path('none/b'), NEW)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test.each(['on-sync', 'each-write'] as const)(
    'bytes written %s are read back',
    async (durability) => {
      const file = await files.open(path('a'), { ...NEW, durability });
      expect(await file.write(bytes('hello'), 3)).toBe(5);
      expect(await file.size()).toBe(8);
      await file.sync();
      expect(await contents(file)).toEqual(bytes('\0\0\0hello'));
      await file.close();
    },
  );

  test('reading stops at the end of the file and leaves the rest of the buffer', async () => {
    const file = await files.open(path('a'), NEW);
    await file.write(bytes('abc'), 0);
    const into = new Uint8Array(8).fill(7);
    expect(await file.read(into, 1)).toBe(2);
    expect(into).toEqual(new Uint8Array([98, 99, 7, 7, 7, 7, 7, 7]));
    expect(await file.read(into, 3)).toBe(0);
    expect(await file.read(into, 4000)).toBe(0);
    await file.close();
  });

  test('truncate cuts, and extends with zeros also where bytes have been', async () => {
    const file = await files.open(path('a'), NEW);
    await file.write(new Uint8Array(2000).fill(1), 0);
    await file.truncate(700);
    expect(await file.size()).toBe(700);
    await file.truncate(1500);
    expect(await contents(file)).toEqual(
      new Uint8Array([...new Uint8Array(700).fill(1), ...new Uint8Array(800)]),
    );
    await file.close();
  });

  test('a handle opened for reading refuses to write', async () => {
    await (await files.open(path('a'), NEW)).close();
    const file = await files.open(path('a'), READ);
    await expect(file.write(bytes('x'), 0)).rejects.toMatchObject({ code: 'EBADF' });
    await expect(file.truncate(0)).rejects.toMatchObject({ code: 'EINVAL' });
    await file.close();
  });

  test.each([-1, 0.5, Number.NaN, 2 ** 53])(
    '%d is no position, and nothing is written',
    async (no) => {
      const file = await files.open(path('a'), NEW);
      const refused = { code: 'ERR_OUT_OF_RANGE' };
      await expect(file.write(bytes('x'), no)).rejects.toMatchObject(refused);
      await expect(file.read(new Uint8Array(1), no)).rejects.toMatchObject(refused);
      await expect(file.truncate(no)).rejects.toMatchObject(refused);
      expect(await file.size()).toBe(0);
      await file.close();
    },
  );

  test('a closed handle refuses everything with EBADF', async () => {
    const file = await files.open(path('a'), NEW);
    await file.close();
    const refused = { code: 'EBADF' };
    await expect(file.read(new Uint8Array(1), 0)).rejects.toMatchObject(refused);
    await expect(file.write(bytes('x'), 0)).rejects.toMatchObject(refused);
    await expect(file.sync()).rejects.toMatchObject(refused);
    await expect(file.size()).rejects.toMatchObject(refused);
    await expect(file.truncate(0)).rejects.toMatchObject(refused);
    await expect(file.close()).rejects.toMatchObject(refused);
  });

  test('list gives names, sorted, folders among them, and not what lies deeper', async () => {
    await (await files.open(path('b'), NEW)).close();
    await (await files.open(path('a'), NEW)).close();
    await files.makeDirectory(path('c/d'));
    expect(await files.list(subject.directory)).toEqual(['a', 'b', 'c']);
    expect(await files.list(path('c'))).toEqual(['d']);
    await expect(files.list(path('none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('making a folder that is there changes nothing', async () => {
    await files.makeDirectory(path('c'));
    await (await files.open(path('c/a'), NEW)).close();
    await files.makeDirectory(path('c'));
    expect(await files.list(path('c'))).toEqual(['a']);
    await files.syncDirectory(path('c'));
    await expect(files.syncDirectory(path('none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('rename replaces its target; a missing source is ENOENT', async () => {
    await put(files, path('a'), bytes('new'));
    await put(files, path('b'), bytes('old'));
    await files.rename(path('a'), path('b'));
    expect(await files.list(subject.directory)).toEqual(['b']);
    const file = await files.open(path('b'), READ);
    expect(await contents(file)).toEqual(bytes('new'));
    await file.close();
    await expect(files.rename(path('a'), path('c'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a link is a second name: either may be removed; it takes the place of no other', async () => {
    await put(files, path('a'), bytes('twice'));
    await put(files, path('b'), bytes('other'));
    await files.makeDirectory(path('c'));
    await files.link(path('a'), path('c/a'));
    await files.syncDirectory(path('c'));
    await files.remove(path('a'));
    const file = await files.open(path('c/a'), READ);
    expect(await contents(file)).toEqual(bytes('twice'));
    await file.close();
    const link = (from: string, to: string): Promise<void> => files.link(path(from), path(to));
    await expect(link('c/a', 'b')).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(link('a', 'd')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(link('b', 'none/b')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a removed or replaced file stays readable through handles that are open', async () => {
    await put(files, path('a'), bytes('first'));
    await put(files, path('b'), bytes('second'));
    const removed = await files.open(path('a'), READ);
    const replaced = await files.open(path('b'), READ);
    await files.rename(path('a'), path('b'));
    await files.remove(path('b'));
    expect(await contents(removed)).toEqual(bytes('first'));
    expect(await contents(replaced)).toEqual(bytes('second'));
    await removed.close();
    await replaced.close();
    await expect(files.remove(path('b'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('calls made together on one handle all happen', async () => {
    const file = await files.open(path('a'), NEW);
    await Promise.all(
      Array.from({ length: 16 }, (_, at) => file.write(new Uint8Array(512).fill(at + 1), at * 512)),
    );
    const all = await contents(file);
    for (let at = 0; at < 16; at += 1) expect(all[at * 512 + 511]).toBe(at + 1);
    await file.close();
  });

  test('space tells free and total bytes of the disk', async () => {
    const space = await files.space(subject.directory);
    expect(space.freeBytes).toBeGreaterThan(0);
    expect(space.totalBytes).toBeGreaterThanOrEqual(space.freeBytes);
    await expect(files.space(path('none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

async function put(files: Files, path: string, content: Uint8Array): Promise<void> {
  const file = await files.open(path, NEW);
  await file.write(content, 0);
  await file.close();
}

async function contents(file: OpenFile): Promise<Uint8Array> {
  const into = new Uint8Array(await file.size());
  expect(await file.read(into, 0)).toBe(into.length);
  return into;
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}
