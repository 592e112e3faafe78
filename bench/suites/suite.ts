/** What every suite gets and gives. */

import type { Finding } from '../report.ts';

export interface SuiteOptions {
  /** Rounds a figure; each round runs the two sides one after the other, and the median counts. */
  readonly rounds: number;
  /** Smoke: a hundredth of the work, to show that the suite runs. Its figures mean nothing. */
  readonly smoke: boolean;
  /** Of the suites that run for a time and not for a count. */
  readonly minutes: number;
  readonly progress: (line: string) => void;
}

export type Suite = (options: SuiteOptions) => Promise<Finding[]>;

export function scaled(count: number, options: SuiteOptions): number {
  return options.smoke ? Math.max(640, Math.floor(count / 100)) : count;
}
