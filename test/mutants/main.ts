/**
 * `npm run mutants -- [--seeds N] [--catches N] [--only NN,NN]`: thirty known bugs, each put into
 * the source for a run of its own, and the simulator must catch it. Prints one row each: in how
 * many seeds it was caught, the first of them, by which check. Exit status 1: one survived.
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { hunt } from './hunt.ts';
import { MutantError, readMutants } from './mutant.ts';
import { byChecks } from './score.ts';

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
  },
});

function count(name: 'seeds' | 'first' | 'catches'): number {
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
  let survived = 0;
  const all = await readMutants(join(ROOT, 'test/mutants/patches'));
  const mutants = all.filter(({ name }) => asked?.some((one) => name.startsWith(one)) ?? true);
  if (mutants.length === 0) throw new MutantError(`no mutant is named ${values.only}`);
  for (const mutant of mutants) {
    const score = await hunt(mutant, { ...options, catches, level });
    if (score.caught === 0) survived += 1;
    const verdict =
      score.caught === 0 ? 'SURVIVED' : `${score.caught} of ${score.ran} ${score.unit}`;
    const first = score.firstSeed === undefined ? '' : `first ${score.firstSeed}`;
    const row = [mutant.name.padEnd(44), verdict.padEnd(18), first.padEnd(12), byChecks(score)];
    process.stdout.write(`${row.join(' ')}\n`);
  }
  process.stdout.write(`${mutants.length - survived} of ${mutants.length} mutants are caught\n`);
  return survived === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof MutantError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
