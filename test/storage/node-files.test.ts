/**
 * What only the real file system shows; everything else is in test/contract/files.contract.test.ts.
 */
import { mkdtemp, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { nodeFiles } from '../../storage/node-files.ts';

const files = nodeFiles();
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'fluxmq-node-files-'));
});
afterEach(() => rm(directory, { recursive: true }));

test('each-write opens with O_DSYNC, on-sync without', async () => {
  for (const durability of ['each-write', 'on-sync'] as const) {
    const path = join(directory, durability);
    const file = await files.open(path, { access: 'write', create: 'exclusive', durability });
    const dsync = ((await openFlags(path)) & 0o10000) !== 0;
    expect(dsync).toBe(durability === 'each-write');
    await file.close();
  }
});

test('close waits for calls under way: no write meets another file under its number', async () => {
  const path = join(directory, 'a');
  const file = await files.open(path, {
    access: 'write',
    create: 'exclusive',
    durability: 'on-sync',
  });
  const large = new Uint8Array(8 << 20).fill(9);
  const order: string[] = [];
  const writing = file.write(large, 0).then(() => order.push('written'));
  const closing = file.close().then(() => order.push('closed'));
  await Promise.all([writing, closing]);
  expect(order).toEqual(['written', 'closed']);
  expect((await stat(path)).size).toBe(large.length);
});

test('files and folders are for the owner alone', async () => {
  await files.makeDirectory(join(directory, 'x/y'));
  const path = join(directory, 'x/y/a');
  await (
    await files.open(path, { access: 'write', create: 'exclusive', durability: 'on-sync' })
  ).close();
  expect((await stat(join(directory, 'x'))).mode & 0o777).toBe(0o700);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

/** The flags the kernel has for the descriptor of this process that is open on `path`. */
async function openFlags(path: string): Promise<number> {
  for (let fd = 3; fd < 256; fd += 1) {
    const target = await readlink(`/proc/self/fd/${fd}`).catch(() => '');
    if (target !== path) continue;
    const info = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8');
    return Number.parseInt(/flags:\s*(\d+)/.exec(info)?.[1] ?? '', 8);
  }
  throw new Error(`no descriptor open on ${path}`);
}
