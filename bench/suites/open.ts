/**
 * Opening a 10 GiB log: after a clean stop (sealed segments are not read), and after a crash (all
 * of it is read and checked) against reading the same files and their checksum.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { Log, nodeFiles } from '#storage';
import { scratchDirectory } from '../peers/peer.ts';
import { median } from '../report.ts';
import type { Suite } from './suite.ts';

const GIB = 2 ** 30;
const BATCH_BYTES = 64 * 1024;
const READ_BYTES = 1 << 20;
const FILL = fileURLToPath(new URL('./open-fill.js', import.meta.url));

/** Fills the log in a process of its own that ends without closing it, as a crash would. */
async function fill(directory: string, bytes: number): Promise<void> {
  const args = [FILL, directory, String(Math.ceil(bytes / BATCH_BYTES)), String(BATCH_BYTES)];
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`filling the log ended with ${String(code)}`);
}

async function openSeconds(directory: string): Promise<{ seconds: number; scanned: number }> {
  const from = performance.now();
  const { log, recovery } = await Log.open({
    files: nodeFiles(),
    directory,
    now: Date.now,
    onFailure: (error) => {
      throw error;
    },
  });
  const seconds = (performance.now() - from) / 1000;
  await log.close();
  return { seconds, scanned: recovery.bytesScanned };
}

/** The floor: every byte read once, in order, and checked. */
async function readSeconds(directory: string): Promise<{ seconds: number; bytes: number }> {
  const buffer = Buffer.alloc(READ_BYTES);
  let bytes = 0;
  let sum = 0;
  const from = performance.now();
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.log')) continue;
    const file = await open(join(directory, name), 'r');
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) break;
      sum = crc32(buffer.subarray(0, bytesRead), sum);
      bytes += bytesRead;
    }
    await file.close();
  }
  return { seconds: (performance.now() - from) / 1000, bytes };
}

async function logBytes(directory: string): Promise<number> {
  const names = await readdir(directory);
  const sizes = await Promise.all(names.map((name) => stat(join(directory, name))));
  return sizes.reduce((sum, one) => sum + one.size, 0);
}

export const openSuite: Suite = async (options) => {
  const clean: number[] = [];
  const crashed: number[] = [];
  const read: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    const parent = await scratchDirectory('open');
    const directory = join(parent, 'log');
    try {
      await fill(directory, options.smoke ? GIB / 16 : 10 * GIB);
      const bytes = await logBytes(directory);
      const floor = await readSeconds(directory);
      read.push(floor.bytes / floor.seconds);
      const afterCrash = await openSeconds(directory);
      crashed.push(afterCrash.scanned / afterCrash.seconds);
      const afterStop = await openSeconds(directory);
      clean.push(afterStop.seconds);
      options.progress(
        `${(bytes / GIB).toFixed(1)} GiB: read ${floor.seconds.toFixed(1)} s, ` +
          `open after a crash ${afterCrash.seconds.toFixed(1)} s, ` +
          `after a clean stop ${afterStop.seconds.toFixed(3)} s`,
      );
    } finally {
      await rm(parent, { recursive: true, force: true });
    }
  }
  const gib = (bytes: number): string => `${(bytes / GIB).toFixed(2)} GiB/s`;
  return [
    {
      what: 'opening a 10 GiB log after a clean stop',
      ours: `${median(clean).toFixed(3)} s`,
      peer: 'one second',
      ratio: median(clean),
      target: { at: 'most', ratio: 1 },
    },
    {
      what: 'opening a 10 GiB log after a crash',
      ours: gib(median(crashed)),
      peer: `reading the files and their checksum ${gib(median(read))}`,
      ratio: median(crashed.map((value, i) => value / (read[i] ?? 0))),
      target: { at: 'least', ratio: 0.7 },
    },
  ];
};
