/**
 * Three brokers under kills, pauses, partitions and lost disks: nothing that was acknowledged is
 * lost, nothing comes twice after its settlement, order holds, the replicas are equal, and
 * everything works again after the last heal. The long runs are made by hand
 * (docs/verification.md).
 */

import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const PROGRAM = join(import.meta.dirname, '../../dist/jepsen/main.js');

interface Ended {
  readonly code: number;
  readonly output: string;
}

function harness(args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : 0;
      resolve({ code, output: stdout + stderr });
    });
  });
}

it.each([
  ['auto', '3', 'kill,pause,partition'],
  ['proxy', '2', 'kill,partition,wipe'],
])('keep their word on a network by %s, with %s shards, under %s', async (...about) => {
  const [network, shards, nemesis] = about;
  const faults = ['--nodes', '3', '--shards', shards, '--nemesis', nemesis, '--minutes', '1'];
  const { code, output } = await harness([...faults, '--rate', '60', '--network', network]);
  // A failed run leaves its evidence.
  expect(output).toMatch(/Everything looks good/);
  expect(code).toBe(0);
  const directory = /^evidence: (.*)$/m.exec(output)?.[1];
  if (directory !== undefined) await rm(directory, { recursive: true });
});
