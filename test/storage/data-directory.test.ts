import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  DATA_FORMAT_VERSION,
  openDataDirectory,
  type DataDirectory,
} from '../../storage/data-directory.ts';
import { nodeFiles } from '../../storage/node-files.ts';
import { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';

const built = new URL('../../dist/storage/storage.js', import.meta.url).href;
const HOLD = `
  const { openDataDirectory, nodeFiles } = await import(process.env.BUILT ?? '');
  const { parentPort } = await import('node:worker_threads');
  const say = (what) => (parentPort === null ? console.log(what) : parentPort.postMessage(what));
  const options = { files: nodeFiles(), directory: process.env.DIRECTORY, now: Date.now };
  await openDataDirectory(options).then(
    () => say('held'),
    (error) => say(error.code),
  );
  setInterval(() => undefined, 1000);
`;

let root: string;
let directory: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fluxmq-data-'));
  directory = join(root, 'a/b/data');
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(root, { recursive: true });
});

function open(path = directory): Promise<DataDirectory> {
  return openDataDirectory({ files: nodeFiles(), directory: path, now: () => 0 });
}

/** Another process that holds the directory. */
async function holdElsewhere(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLD], {
    env: { ...process.env, BUILT: built, DIRECTORY: directory },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const said = await new Promise<string>((resolve) => {
    child.stdout?.once('data', (data: Buffer) => resolve(data.toString().trim()));
    child.once('exit', (code) => resolve(`exit ${code}`));
  });
  expect(said).toBe('held');
  return child;
}

describe('the lock', () => {
  test('refuses a second broker, naming pid, host and directory; lets the next in', async () => {
    const first = await open();
    await expect(open()).rejects.toMatchObject({
      name: 'StorageError',
      code: 'locked',
      message:
        `${directory} is in use by another broker ` +
        `(pid ${process.pid} on ${hostname()}, since 1970-01-01T00:00:00.000Z)`,
    });
    await first.close();
    await first.close();
    await (await open()).close();
  });

  test('of a process that was killed never blocks a restart, whatever its pid is now', async () => {
    const child = await holdElsewhere();
    await expect(open()).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining(`pid ${child.pid} on`),
    });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    // The owner file still tells of the dead one; and here of a pid that lives, as if given again.
    const owner = join(directory, 'lock/owner');
    expect(await readFile(owner, 'utf8')).toContain(`"pid":${child.pid}`);
    await writeFile(owner, JSON.stringify({ pid: process.pid, host: hostname(), since: 'x' }));
    await (await open()).close();
  });

  test('holds against another thread of the same process', async () => {
    const held = await open();
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(HOLD)}`), {
      env: { ...process.env, BUILT: built, DIRECTORY: directory },
    });
    const said = await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
    expect(said).toBe('locked');
    await held.close();
  });

  test('is refused with "pid unknown" where the owner file is missing or odd', async () => {
    const held = await open();
    const owner = join(directory, 'lock/owner');
    for (const text of [
      '',
      '{"pid":1}',
      '{"pid":1,"host":"\\u001b[31m","since":"x"}',
      'null',
      '\xff{',
    ]) {
      await writeFile(owner, text);
      await expect(open()).rejects.toMatchObject({
        message: expect.stringContaining('(pid unknown)'),
      });
    }
    await rm(owner);
    await expect(open()).rejects.toMatchObject({
      message: expect.stringContaining('(pid unknown)'),
    });
    await held.close();
  });
});

describe('the format', () => {
  test('is written once and accepted again', async () => {
    await (await open()).close();
    expect(await readFile(join(directory, 'format'), 'utf8')).toBe(
      `fluxmq-data ${DATA_FORMAT_VERSION}\n`,
    );
    await (await open()).close();
    expect(await readdir(directory)).toEqual(['format', 'lock']);
  });

  test('newer is refused, unreadable is damaged, both are left as they are', async () => {
    await (await open()).close();
    const path = join(directory, 'format');
    for (const [text, code] of [
      [`fluxmq-data ${DATA_FORMAT_VERSION + 1}\n`, 'unknown-format'],
      ['', 'damaged'],
      ['fluxmq-data 0\n', 'damaged'],
      ['fluxmq-data 1', 'damaged'],
      ['x'.repeat(5000), 'damaged'],
    ] as const) {
      await writeFile(path, text);
      await expect(open()).rejects.toMatchObject({
        code,
        message: expect.stringContaining(directory),
      });
      expect(await readFile(path, 'utf8')).toBe(text);
    }
    await writeFile(path, 'fluxmq-data 1\n');
    await (await open()).close();
  });

  test('a folder with contents of others is not taken, and not touched', async () => {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'thesis.txt'), 'x');
    await expect(open()).rejects.toMatchObject({
      code: 'unknown-format',
      message: expect.stringContaining('"thesis.txt"'),
    });
    expect(await readdir(directory)).toEqual(['thesis.txt']);
    await rm(join(directory, 'thesis.txt'));
    await mkdir(join(directory, 'lost+found'));
    await (await open()).close();
  });

  test('survives a power cut at any instant of the first start', async () => {
    let whole = 0;
    for (let seed = 0; seed < 150; seed += 1) {
      const disk = new SimulatedDisk({ seed });
      const options = (): Parameters<typeof openDataDirectory>[0] => ({
        files: disk.mount(),
        directory: '/var/data',
        now: () => 0,
        lock: async (folder, files) => {
          await files.makeDirectory(folder);
          return { release: () => Promise.resolve() };
        },
      });
      disk.cutPowerAfter(seed % 50);
      const first = await disk.run(openDataDirectory(options()));
      if (!first.cut) {
        whole += 1;
        disk.cutPowerAfter(Number.POSITIVE_INFINITY);
        await first.value.folder('shard-0', 'log');
        disk.cutPower();
        const files = disk.mount();
        expect(await files.list('/var/data')).toContain('format');
        expect(await files.list('/var/data/shard-0')).toEqual(['log']);
      }
      await (await openDataDirectory(options())).close();
    }
    expect(whole).toBeGreaterThan(10);
    expect(whole).toBeLessThan(140);
  });
});

describe('folders', () => {
  test('Q16: hostile names never become a path', async () => {
    const data = await open();
    const hostile = [
      '..',
      '../../x',
      '',
      '/',
      '\0',
      '$dlq',
      '.',
      'a/b',
      'A',
      '-a',
      'x'.repeat(65_536),
    ];
    for (const name of hostile) {
      await expect(data.folder('queues', name), name.slice(0, 10)).rejects.toThrow('plain name');
    }
    await expect(data.folder('lock')).rejects.toThrow('to itself');
    expect(await readdir(root, { recursive: true })).not.toContain('x');
    expect(await data.folder('shard-0', 'lock')).toBe(join(directory, 'shard-0/lock'));
    await data.close();
    await expect(data.folder('late')).rejects.toMatchObject({ code: 'closed' });
  });
});
