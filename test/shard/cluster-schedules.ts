/** Fault schedules of clusters, and whether they saw what they are for. */

import { expect, it } from 'vitest';
import { ClusterSchedule, SEEN } from '../support/cluster-schedule.ts';
import type { Seen } from '../support/cluster-schedule.ts';
import { ONLY, seedsFrom } from '../support/by-seed.ts';
import { withFakeTime } from '../support/node-cluster.ts';

/** So many schedules see everything; fewer need not. */
const ENOUGH = 40;

export function describeClusters(first: number, count: number): void {
  withFakeTime();
  const coverage = new Map<Seen, number>();

  it.each(seedsFrom(first, count))('seed %i: what was promised is kept', async (seed) => {
    const schedule = new ClusterSchedule(seed, coverage);
    try {
      await schedule.run();
    } catch (error) {
      if (ONLY !== undefined) process.stderr.write(`${schedule.trace.join('\n')}\n`);
      throw error;
    }
  });

  it.runIf(ONLY === undefined && count >= ENOUGH)('the schedules saw what they are for', () => {
    expect(SEEN.filter((what) => !coverage.has(what))).toEqual([]);
  });
}
