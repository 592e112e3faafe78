/** The command line of the mutants: what it takes, and what is wrong with it. */

import { Misuse, optionsOf } from '../support/options.ts';
import type { Level } from './score.ts';

const SEEDS_MOST = 1_000_000;

export const USAGE = `npm run mutants -- [options]
  --seeds N      so many seeds for each, at the most (default 300)
  --first N      the first of them (default 1)
  --catches N    enough when so many seeds have caught it (default 3)
  --only NN,NN   those whose names begin so
  --level LEVEL  host or core (default: what the bug is a part of)
  --jobs N       so many mutants at a time (default 1)
  --proven       first the seed that caught it before
  --record       notes what is found for that
`;

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const OPTIONS = {
  seeds: text,
  first: text,
  catches: text,
  only: text,
  level: text,
  jobs: text,
  proven: flag,
  record: flag,
};

export interface Asked {
  readonly seeds: number;
  readonly first: number;
  readonly catches: number;
  readonly only: readonly string[] | undefined;
  readonly level: Level | undefined;
  readonly jobs: number;
  readonly proven: boolean;
  readonly record: boolean;
}

/** Throws `Misuse`. */
export function asked(args: readonly string[]): Asked {
  const { seeds, first, catches, only, level, jobs, ...flags } = optionsOf(args, OPTIONS);
  if (level !== undefined && level !== 'host' && level !== 'core') {
    throw new Misuse(`--level is host or core, not '${level}'`);
  }
  return {
    seeds: count('seeds', seeds ?? '300'),
    first: count('first', first ?? '1'),
    catches: count('catches', catches ?? '3'),
    jobs: count('jobs', jobs ?? '1'),
    only: only?.split(','),
    level,
    proven: flags.proven ?? false,
    record: flags.record ?? false,
  };
}

function count(name: string, given: string): number {
  const value = Number(given);
  if (Number.isSafeInteger(value) && value >= 1 && value <= SEEDS_MOST) return value;
  throw new Misuse(`--${name} is a number from 1 to ${SEEDS_MOST}, not '${given}'`);
}
