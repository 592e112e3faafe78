/** The program `fluxmq` before Node.js runs: what it sets, what it leaves, what it hands on. */

import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REPOSITORY } from '../support/broker-process.ts';
import { output } from './operator.ts';

const LAUNCHER = join(REPOSITORY, 'src/cli/fluxmq.sh');
const MAIN = join(REPOSITORY, 'dist/src/cli/main.js');

let folder: string;
/** Prints what it was given; ends with 7. */
const NODE = `#!/bin/sh
printf '%s\\n' "$UV_THREADPOOL_SIZE" "$MALLOC_ARENA_MAX"
for each in "$@"; do printf '%s\\n' "$each"; done
exit 7
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fluxmq-launcher-'));
  await mkdir(join(folder, 'bin'));
  await writeFile(join(folder, 'bin', 'node'), NODE);
  await chmod(join(folder, 'bin', 'node'), 0o755);
});
afterAll(() => rm(folder, { recursive: true }));

async function started(program: string, env: string[], args: string[]): Promise<string[]> {
  const path = `PATH=${join(folder, 'bin')}:/usr/bin:/bin`;
  const { stdout, status } = await output('env', ['-i', path, ...env, program, ...args]);
  expect(status).toBe(7);
  return stdout.trimEnd().split('\n');
}

describe('the launcher', () => {
  test('sets what Node.js must know before, and hands arguments and exit status on', async () => {
    const args = ['queue', 'show', 'two words', '*', ''];
    const [threads, arenas, nursery, main, ...rest] = await started(LAUNCHER, [], [...args, 'end']);
    expect([threads, arenas]).toEqual(['16', '2']);
    expect(nursery).toBe('--max-semi-space-size=4');
    expect(join(main ?? '')).toBe(MAIN);
    expect(rest).toEqual([...args, 'end']);
  });

  test('tells V8 what the broker needs, and that for no other command', async () => {
    const given = await started(LAUNCHER, [], ['start', 'x']);
    expect(given.slice(2, 5)).toEqual([
      '--max-semi-space-size=4',
      '--interrupt-budget=12000',
      '--initial-old-space-size=64',
    ]);
    expect(given[5]).toMatch(/^--v8-pool-size=[1-4]$/);
    expect(join(given[6] ?? '')).toBe(MAIN);
    expect(given.slice(7)).toEqual(['start', 'x']);
  });

  test.each([
    ['echo 1', 1],
    ['echo 2', 1],
    ['echo 3', 1],
    ['echo 4', 2],
    ['echo 7', 3],
    ['echo 64', 4],
  ])('gives V8 helpers for half of the cores: %s', async (cores, helpers) => {
    const nproc = join(folder, 'bin', 'nproc');
    await writeFile(nproc, `#!/bin/sh\n${cores}\n`);
    await chmod(nproc, 0o755);
    const given = await started(LAUNCHER, [], ['start']);
    await rm(nproc);
    expect(given).toContain(`--v8-pool-size=${helpers}`);
  });

  test('leaves what the environment says', async () => {
    const env = ['UV_THREADPOOL_SIZE=4', 'MALLOC_ARENA_MAX=9'];
    expect((await started(LAUNCHER, env, [])).slice(0, 2)).toEqual(['4', '9']);
  });

  test('finds the program through links, as npm makes them', async () => {
    await symlink(LAUNCHER, join(folder, 'first'));
    await symlink('first', join(folder, 'fluxmq'));
    const [, , , main = ''] = await started(join(folder, 'fluxmq'), [], []);
    expect(join(main)).toBe(MAIN);
  });
});
