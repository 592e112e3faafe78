/**
 * `npm run mutants -- [--seeds N] [--catches N] [--only NN,NN] [--jobs N] [--proven] [--record]`:
 * known bugs, each put into the source for a run of its own, and the simulator must catch it.
 * Prints one row each: in how many seeds it was caught, the first of them, by which check. Exit
 * status 1: one survived. `--proven`: first the seed that caught it before; `--record`: notes what
 * is found for that.
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { hunt } from './hunt.ts';
import { MutantError, readMutants } from './mutant.ts';
import { readProven, writeProven } from './proven.ts';
import type { Proven } from './proven.ts';
import { byChecks } from './score.ts';
import type { Score } from './score.ts';

/** From `dist/test/mutants`. */
const ROOT = join(import.meta.dirname, '../../..');
const SEEDS_MOST = 1_000_000;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '300' },
    first: { type: 'string', default: '1' },
    catches: { type: 'string', default: '3' },
    only: { type: 'string' },
    level: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    proven: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
});

function count(name: 'seeds' | 'first' | 'catches' | 'jobs'): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value >= 1 && value <= SEEDS_MOST) return value;
  throw new MutantError(`--${name} is a number from 1 to ${SEEDS_MOST}`);
}

async function main(): Promise<number> {
  const asked = values.only?.split(',');
  const options = { root: ROOT, seeds: count('seeds'), first: count('first') };
  const catches = count('catches');
  const { level } = values;
  if (level !== undefined && level !== 'host' && level !== 'core') {
    throw new MutantError('--level is host or core');
  }
  const all = await readMutants(join(ROOT, 'test/mutants/patches'));
  const mutants = all.filter(({ name }) => asked?.some((one) => name.startsWith(one)) ?? true);
  if (mutants.length === 0) throw new MutantError(`no mutant is named ${values.only}`);
  const proven = await readProven(ROOT);
  const found: Record<string, Proven> = { ...proven };
  const scores: Score[] = [];
  const left = mutants.values();
  const work = async (): Promise<void> => {
    for (const mutant of left) {
      const seed = values.proven ? proven[mutant.name]?.seed : undefined;
      const score = await hunt(mutant, { ...options, catches, level, proven: seed });
      scores.push(score);
      process.stdout.write(`${rowOf(score)}\n`);
      const [check] = score.checks.keys();
      const { firstSeed, tried } = score;
      if (firstSeed !== undefined && check !== undefined && firstSeed !== seed) {
        found[mutant.name] = { seed: firstSeed, check, tried };
      }
    }
  };
  await Promise.all(Array.from({ length: count('jobs') }, work));
  if (values.record) await writeProven(ROOT, found);
  const survived = scores.filter(({ caught }) => caught === 0).length;
  process.stdout.write(`${mutants.length - survived} of ${mutants.length} mutants are caught\n`);
  return survived === 0 ? 0 : 1;
}

function rowOf(score: Score): string {
  const { mutant, caught, ran, unit, firstSeed } = score;
  const verdict = caught === 0 ? 'SURVIVED' : `${caught} of ${ran} ${unit}`;
  const first = firstSeed === undefined ? '' : `first ${firstSeed}`;
  return [mutant.name.padEnd(44), verdict.padEnd(18), first.padEnd(12), byChecks(score)].join(' ');
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof MutantError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
