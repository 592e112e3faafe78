/**
 * Runs the tests that a mutant names, with the mutant in their sources: one of them has to fail.
 * For bugs that lie where the simulator does not reach yet.
 */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { applyMutant, MutantError } from './mutant.ts';
import type { Mutant } from './mutant.ts';
import type { Score } from './score.ts';

const OUTPUT_MOST = 64 * 1024 * 1024;
/** Of fault schedules, where a mutant names those; the first that fails ends it. */
const SCHEDULES_MOST = '39';

interface Report {
  readonly numTotalTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly { readonly status: string; readonly title: string }[];
  }[];
}

export async function huntByTests(mutant: Mutant, root: string): Promise<Score> {
  for (const { file } of mutant.changes) {
    applyMutant(mutant, file, await readFile(join(root, file), 'utf8'));
  }
  const report = await run(mutant, root);
  const checks = new Map<string, number>();
  let message = '';
  for (const { name, assertionResults } of report.testResults) {
    for (const { status, title } of assertionResults) {
      if (status !== 'failed') continue;
      const file = name.slice(root.length + 1);
      checks.set(file, (checks.get(file) ?? 0) + 1);
      if (message === '') message = title;
    }
  }
  const { numTotalTests: ran, numFailedTests: caught } = report;
  return { mutant, unit: 'tests', ran, caught, firstSeed: undefined, tried: 0, checks, message };
}

function run({ name, by }: Mutant, root: string): Promise<Report> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--config', 'vitest.mutant.config.ts', '--reporter=json', ...by];
  const options = {
    cwd: root,
    maxBuffer: OUTPUT_MOST,
    env: { SCHEDULES: SCHEDULES_MOST, ...process.env, FLUXMQ_MUTANT: name },
  };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, options, (_error, stdout, stderr) => {
      const report = stdout.slice(Math.max(0, stdout.indexOf('{"numTotal')));
      try {
        resolve(JSON.parse(report) as Report);
      } catch {
        reject(new MutantError(`the tests for ${name} could not be run:\n${stderr.slice(-4000)}`));
      }
    });
  });
}
