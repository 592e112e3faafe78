/**
 * The harness as its users run it: some seconds against one broker that is killed and paused, with
 * a verdict, all the evidence, and nothing left running.
 */

import { execFile } from 'node:child_process';
import { readFile, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const PROGRAM = join(ROOT, 'dist/jepsen/main.js');

interface Ended {
  readonly code: number;
  readonly output: string;
}

function harness(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : 0;
      resolve({ code, output: stdout + stderr });
    });
  });
}

/** Command lines of processes whose configuration lies in the directory. */
async function processesOf(directory: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    // A process may end between the listing and the look at it.
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(directory));
}

let directory = '';
afterEach(async () => {
  if (directory !== '') await rm(directory, { recursive: true, force: true });
});

it('kills and pauses one broker, finds nothing wrong, and leaves evidence and no process', async () => {
  const options = ['--nodes', '1', '--nemesis', 'kill,pause', '--minutes', '0.3', '--rate', '50'];
  const { code, output } = await harness(...options);
  directory = /^evidence: (.*)$/m.exec(output)?.[1] ?? '';
  expect(output).toMatch(/Everything looks good/);
  expect(code).toBe(0);
  expect(output).toMatch(/ok {3}faults +kill [1-9]\d*, pause [1-9]/);
  const files = ['history.jsonl', 'history.edn', 'report.html', 'results.json', 'summary.txt'];
  for (const file of [...files, 'nodes/n1/broker.log']) {
    expect((await stat(join(directory, file))).size).toBeGreaterThan(100);
  }
  expect(await processesOf(directory)).toEqual([]);

  // The same evidence judged again says the same.
  const results = await readFile(join(directory, 'results.json'), 'utf8');
  expect((await harness('--check', directory)).code).toBe(0);
  expect(await readFile(join(directory, 'results.json'), 'utf8')).toBe(results);
});

it('says what is wrong with its options, with status 2', async () => {
  const { code, output } = await harness('--nodes', '2');
  expect(code).toBe(2);
  expect(output).toMatch(/^--nodes is 1, 3, 5, not '2'/);
});
