/** What every suite gets and gives. */

import type { Finding } from '../report.ts';

export interface SuiteOptions {
  /** Rounds a figure; each round runs the two sides one after the other, and the median counts. */
  readonly rounds: number;
  /** Smoke: a hundredth of the work, to show that the suite runs. Its figures mean nothing. */
  readonly smoke: boolean;
  /** Of the suites that run for a time and not for a count. */
  readonly minutes: number;
  /**
   * Our broker without those that it is compared with, which need not be installed; asked only of
   * the suites in `main.ts` that can.
   */
  readonly alone: boolean;
  /** Of our broker, in those suites; one more may be taken behind it, and an inspector's. */
  readonly port: number;
  readonly progress: (line: string) => void;
}

export type Suite = (options: SuiteOptions) => Promise<Finding[]>;

export function scaled(count: number, options: SuiteOptions): number {
  return options.smoke ? Math.max(640, Math.floor(count / 100)) : count;
}
