/** Which replica of a data directory counts: one rename decides, and what is left over goes. */

import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nodeFiles, openDataDirectory } from '#storage';
import type { DataDirectory } from '#storage';
import { isBeside } from '../src/cluster/server-id.ts';
import { ReplicaFolders, partDirectory } from '../src/replica-folders.ts';

const files = nodeFiles();
let directory: string;
let data: DataDirectory;

beforeEach(async () => {
  const parent = join(import.meta.dirname, '.tmp');
  await mkdir(parent, { recursive: true });
  directory = await mkdtemp(join(parent, 'replica-folders-'));
  data = await openDataDirectory({ files, directory, now: Date.now });
});

afterEach(async () => {
  await data.close();
  await rm(directory, { recursive: true, force: true });
});

describe('the folders of a replica', () => {
  it('are those of the shard, until another one has become current', async () => {
    const first = await ReplicaFolders.open(files, data, 0);
    expect(await first.part('log')).toBe(join(directory, 'shard-0/log'));
    expect(await first.has('repairs')).toBe(false);
    await writeFile(join(await first.part('log'), 'one'), 'x');
    await writeFile(join(await first.nextPart('log'), 'two'), 'x');
    expect(await partDirectory(files, directory, 'log')).toBe(join(directory, 'shard-0/log'));
    await first.makeNextCurrent();
    expect(await first.part('log')).toBe(join(directory, 'shard-0/replica-1/log'));
    const again = await ReplicaFolders.open(files, data, 0);
    expect(await again.part('log')).toBe(join(directory, 'shard-0/replica-1/log'));
    expect(await partDirectory(files, directory, 'runs')).toBe(
      join(directory, 'shard-0/replica-1/runs'),
    );
    expect(await readdir(await again.part('log'))).toEqual(['two']);
    expect(await readdir(join(directory, 'shard-0/log'))).toEqual([]);
  });

  it('a replica that was never finished is cleared away, and the current one is untouched', async () => {
    const first = await ReplicaFolders.open(files, data, 0);
    await writeFile(join(await first.part('records'), 'kept'), 'x');
    await writeFile(join(await first.nextPart('records'), 'half'), 'x');
    const again = await ReplicaFolders.open(files, data, 0);
    expect(await readdir(await again.part('records'))).toEqual(['kept']);
    expect(await readdir(await again.nextPart('records'))).toEqual([]);
  });

  it('those before the current one go without a start, and the one that is built stays', async () => {
    const folders = await ReplicaFolders.open(files, data, 0);
    const put = async (of: Promise<string>): Promise<void> => writeFile(join(await of, 'x'), 'x');
    for (let replicas = 0; replicas < 3; replicas++) {
      await put(folders.part('runs'));
      await put(folders.nextPart('runs'));
      if (replicas < 2) await folders.makeNextCurrent();
    }
    await folders.clearOlder();
    const inRuns = (folder: string): Promise<string[]> => {
      return readdir(join(directory, 'shard-0', folder, 'runs'));
    };
    const left = ['', 'replica-1', 'replica-2', 'replica-3'].map(inRuns);
    expect(await Promise.all(left)).toEqual([[], [], ['x'], ['x']]);
  });

  it('each shard has its own, which dumps find by its folder', async () => {
    const zero = await ReplicaFolders.open(files, data, 0);
    const third = await ReplicaFolders.open(files, data, 3);
    await writeFile(join(await third.part('log'), 'one'), 'x');
    await writeFile(join(await third.nextPart('log'), 'two'), 'x');
    await third.makeNextCurrent();
    expect(await zero.part('log')).toBe(join(directory, 'shard-0/log'));
    const again = await ReplicaFolders.open(files, data, 3);
    expect(await again.part('log')).toBe(join(directory, 'shard-3/replica-1/log'));
    expect(await partDirectory(files, join(directory, 'shard-3'), 'log')).toBe(
      join(directory, 'shard-3/replica-1/log'),
    );
    expect(await partDirectory(files, directory, 'log')).toBe(join(directory, 'shard-0/log'));
  });

  it('a file that names no replica is refused, with its path', async () => {
    await ReplicaFolders.open(files, data, 0);
    const path = join(directory, 'shard-0/current');
    await writeFile(path, 'fluxmq-replica x\n');
    await expect(ReplicaFolders.open(files, data, 0)).rejects.toThrow(path);
    expect(await readFile(path, 'utf8')).toBe('fluxmq-replica x\n');
  });

  it('a replica keeps its name; one that joins a cluster gets a name of its own', async () => {
    const folders = await ReplicaFolders.open(files, data, 0);
    const id = await folders.serverId('n1', true);
    expect(id).toMatch(/^n1\+[a-z2-7]{16}$/);
    await folders.part('log');
    const again = await ReplicaFolders.open(files, data, 0);
    expect(await again.serverId('n1', false)).toBe(id);
    await expect(again.serverId('n2', true)).rejects.toThrow('says node n1, and node.id is n2');
  });

  it('a name is never given twice, whatever the clock says', async () => {
    vi.spyOn(Date, 'now').mockReturnValue(1_767_225_600_000);
    const folders = await ReplicaFolders.open(files, data, 0);
    const names = new Set<string>();
    for (let nth = 0; nth < 1_000; nth += 1) names.add(await folders.unusedServerId('n1'));
    names.add(await folders.serverId('n1', true));
    names.add(await folders.newServerId('n1'));
    expect(names.size).toBe(1_002);
    vi.restoreAllMocks();
  });

  it('names in other shards tell that they are of the directory in which shard 0 has its', async () => {
    const zero = await ReplicaFolders.open(files, data, 0);
    const third = await ReplicaFolders.open(files, data, 3);
    const before = await third.unusedServerId('n1');
    const first = await zero.serverId('n1', true);
    const id = await third.serverId('n1', true);
    const next = await third.newServerId('n1');
    expect([id, next].map((each) => isBeside(each, first))).toEqual([true, true]);
    expect(new Set([first, id, next]).size).toBe(3);
    expect(isBeside(before, first)).toBe(false);
    // Another directory of shard 0: the same disk is not there any more.
    expect(isBeside(next, await zero.newServerId('n1'))).toBe(false);
  });

  it('a name of before, with a number, is kept', async () => {
    const folders = await ReplicaFolders.open(files, data, 0);
    await folders.part('log');
    await folders.takeServerId('n1+1767225600');
    expect(await folders.serverId('n1', true)).toBe('n1+1767225600');
    expect(await folders.newServerId('n1')).toMatch(/^n1\+[a-z2-7]{16}$/);
  });

  it('a file that names no server is refused, with its path', async () => {
    const folders = await ReplicaFolders.open(files, data, 0);
    await folders.takeServerId('n1+x');
    const path = join(directory, 'shard-0/server');
    await expect(folders.serverId('n1', true)).rejects.toThrow(`${path} does not say whose`);
  });

  it('one with data from before there were names has the name of its node', async () => {
    const folders = await ReplicaFolders.open(files, data, 0);
    await folders.part('log');
    expect(await folders.serverId('n1', true)).toBe('n1');
  });
});
