/**
 * Runs the simulator against one mutant, in a process of its own, and tells in which seeds and by
 * which checks it was caught.
 */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { runSeed } from '../../raft/simulation/run-seed.ts';
import { MutantError } from './mutant.ts';
import type { Mutant } from './mutant.ts';

export interface Hunt {
  readonly root: string;
  readonly first: number;
  /** Seeds at the most. */
  readonly seeds: number;
  /** Enough when so many seeds have caught it. */
  readonly catches: number;
  /** Default: the core alone for a bug of the core, because it runs more seeds in a minute. */
  readonly level?: 'host' | 'core' | undefined;
}

export interface Score {
  readonly level: 'host' | 'core';
  readonly mutant: Mutant;
  readonly ran: number;
  readonly caught: number;
  readonly firstSeed: number | undefined;
  /** Check -> seeds. */
  readonly checks: ReadonlyMap<string, number>;
  /** The first message. */
  readonly message: string;
}

interface Line {
  readonly seed?: number;
  readonly check?: string;
  readonly message?: string;
  readonly ran?: number;
  readonly caught?: number;
}

export async function hunt(mutant: Mutant, options: Hunt): Promise<Score> {
  const { root, first, seeds, catches } = options;
  const script = join(root, 'dist/test/mutants/run-one.js');
  const level = options.level ?? levelFor(mutant);
  const args = [script, root, mutant.name, level, ...[first, seeds, catches].map(String)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-4000)));
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  const checks = new Map<string, number>();
  let firstSeed: number | undefined;
  let message = '';
  let last: Line = {};
  for await (const text of createInterface({ input: child.stdout })) {
    last = JSON.parse(text) as Line;
    if (last.check === undefined) continue;
    if (firstSeed === undefined) {
      firstSeed = last.seed;
      message = last.message ?? '';
    }
    checks.set(last.check, (checks.get(last.check) ?? 0) + 1);
  }
  const code = await ended;
  if (code !== 0 || last.ran === undefined) {
    throw new MutantError(`${mutant.name} could not be run (${code}):\n${errors}`);
  }
  return { level, mutant, ran: last.ran, caught: last.caught ?? 0, firstSeed, checks, message };
}

/** The first seed that caught it holds without it, or it is not the mutant that was caught. */
export async function confirmed({ firstSeed, level, mutant }: Score): Promise<void> {
  if (firstSeed === undefined) return;
  const { violation } = await runSeed(firstSeed, { level });
  if (violation === undefined) return;
  const text = `seed ${firstSeed} fails without ${mutant.name} too`;
  throw new MutantError(`${text}: ${violation.message}`);
}

function levelFor({ changes }: Mutant): 'host' | 'core' {
  return changes.every(({ file }) => file.startsWith('raft/core/')) ? 'core' : 'host';
}

/** By which checks, the most frequent first. */
export function byChecks({ checks }: Score): string {
  const sorted = [...checks].toSorted(([, one], [, other]) => other - one);
  return sorted.map(([check, count]) => `${check} ${count}`).join(', ');
}
