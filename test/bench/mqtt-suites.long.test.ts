/**
 * The benchmark suites of MQTT, each at its smallest and against our broker alone, so that one that
 * stopped working is found before somebody wants its figures. What the figures are is not judged;
 * that all are there and above 0 is.
 */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { isFree } from '../../jepsen/cluster/free-port.ts';
import { REPOSITORY } from '../support/broker-process.ts';

const MAIN = join(REPOSITORY, 'dist/bench/main.js');
/** With their figures. */
const SUITES = [
  ['connections', 2],
  ['qos0', 3],
  ['acknowledged', 4],
  ['latency', 4],
  ['subscriptions', 2],
  ['storm', 2],
  ['mqtt-hostile', 2],
] as const;
/** Two for each suite, and the inspector of `connections`. */
const OFFSETS = [...Array(2 * SUITES.length).keys(), 60];
const TRIES = 100;

let port: number;

async function freePorts(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    // Below those that the system gives to clients, and those of `freePort`.
    const first = 10_000 + Math.floor(Math.random() * 8_000);
    const free = await Promise.all(OFFSETS.map((offset) => isFree(first + offset)));
    if (!free.includes(false)) return first;
  }
  throw new Error('no ports are free');
}

beforeAll(async () => {
  port = await freePorts();
});

test.concurrent.each(SUITES)('the suite %s has its %i figures', async (suite, figures) => {
  const own = port + 2 * SUITES.findIndex(([name]) => name === suite);
  const args = ['--suite', suite, '--smoke', '--rounds', '1', '--alone', '--port', String(own)];
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args]);
  const rows = stdout.split('\n').filter((line) => line.startsWith('| '));
  const cells = rows.slice(1).map((row) => row.split(' | ')[1] ?? '');
  expect(cells.length).toBe(figures);
  for (const cell of cells) expect(Number.parseFloat(cell)).toBeGreaterThan(0);
});

test('a port without --alone, or a suite that needs a peer with it, is refused', async () => {
  const refused = (...args: string[]): Promise<unknown> =>
    promisify(execFile)(process.execPath, [MAIN, '--smoke', ...args]).then(
      () => 0,
      ({ code }: { readonly code: number }) => code,
    );
  expect(await refused('--suite', 'subscriptions', '--port', String(port))).toBe(2);
  expect(await refused('--suite', 'publish', '--alone')).toBe(2);
});
