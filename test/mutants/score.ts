/** What came of the hunt for one mutant. */

import type { Mutant } from './mutant.ts';

export interface Hunt {
  /** Of the repository, with the compiled product in `dist`. */
  readonly root: string;
  readonly first: number;
  /** Seeds at the most. */
  readonly seeds: number;
  /** Enough when so many seeds have caught it. */
  readonly catches: number;
  /** A seed to be tried before all others. */
  readonly proven?: number | undefined;
  /** Default: the core alone for a bug of the core, because it runs more seeds in a minute. */
  readonly level?: Level | undefined;
}

export type Level = 'host' | 'core';

export interface Score {
  readonly mutant: Mutant;
  readonly unit: 'seeds' | 'tests';
  readonly ran: number;
  readonly caught: number;
  /** Of seeds. */
  readonly firstSeed: number | undefined;
  /** So many seeds were run until that one had caught it. */
  readonly tried: number;
  /** Check, or file of tests -> how often. */
  readonly checks: ReadonlyMap<string, number>;
  /** The first. */
  readonly message: string;
}

/** By which checks, the most frequent first. */
export function byChecks({ checks }: Score): string {
  const sorted = [...checks].toSorted(([, one], [, other]) => other - one);
  return sorted.map(([check, count]) => `${check} ${count}`).join(', ');
}
