/**
 * `npm run mutants -- [--seeds N] [--catches N] [--only NN,NN] [--jobs N] [--proven] [--record]`:
 * known bugs, each put into the source for a run of its own, and the simulator must catch it.
 * Prints one row each: in how many seeds it was caught, the first of them, by which check. Exit
 * status 1: one survived. `--proven`: first the seed that caught it before; `--record`: notes what
 * is found for that.
 */

import { join } from 'node:path';

import { Misuse } from '../support/options.ts';
import { asked, USAGE } from './command-line.ts';
import { hunt } from './hunt.ts';
import { MutantError, readMutants } from './mutant.ts';
import { readProven, writeProven } from './proven.ts';
import type { Proven } from './proven.ts';
import { byChecks } from './score.ts';
import type { Score } from './score.ts';

/** From `dist/test/mutants`. */
const ROOT = join(import.meta.dirname, '../../..');

async function main(args: readonly string[]): Promise<number> {
  const wanted = asked(args);
  const { seeds, first, catches, level, only } = wanted;
  const options = { root: ROOT, seeds, first };
  const all = await readMutants(join(ROOT, 'test/mutants/patches'));
  const mutants = all.filter(({ name }) => only?.some((one) => name.startsWith(one)) ?? true);
  if (mutants.length === 0) throw new MutantError(`no mutant is named ${only?.join(', ')}`);
  const proven = await readProven(ROOT);
  const found: Record<string, Proven> = { ...proven };
  const scores: Score[] = [];
  const left = mutants.values();
  const work = async (): Promise<void> => {
    for (const mutant of left) {
      const seed = wanted.proven ? proven[mutant.name]?.seed : undefined;
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
  await Promise.all(Array.from({ length: wanted.jobs }, work));
  if (wanted.record) await writeProven(ROOT, found);
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
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const isMisuse = error instanceof Misuse;
  if (!isMisuse && !(error instanceof MutantError)) throw error;
  process.stderr.write(`${error.message}\n${isMisuse ? `\n${USAGE}` : ''}`);
  process.exitCode = 2;
}
