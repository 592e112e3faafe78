/** Fault schedules of clusters, and whether they saw what they are for. */

import { expect, it, vi } from 'vitest';
import { ClusterSchedule, SEEN } from '../support/cluster-schedule.ts';
import type { Seen } from '../support/cluster-schedule.ts';
import { ONLY } from '../support/by-seed.ts';
import { withFakeTime } from '../support/node-cluster.ts';

vi.mock('node:crypto', async (original) => {
  const { seededTokens } = await import('../support/seeded-tokens.ts');
  return { ...(await original<object>()), ...seededTokens };
});

vi.mock('node:timers/promises', async (original) => {
  const { fakedPauses } = await import('../support/faked-pauses.ts');
  return { ...(await original<object>()), ...fakedPauses };
});

/** So many schedules see everything; fewer need not. */
const ENOUGH = 40;

export function describeClusters(seeds: readonly number[]): void {
  withFakeTime();
  const coverage = new Map<Seen, number>();

  it.each([...new Set(seeds)])('seed %i: what was promised is kept', async (seed) => {
    const schedule = new ClusterSchedule(seed, coverage);
    try {
      await schedule.run();
    } catch (error) {
      if (ONLY !== undefined) process.stderr.write(`${schedule.trace.join('\n')}\n`);
      throw error;
    }
  });

  it.runIf(seeds.length >= ENOUGH)('the schedules saw what they are for', () => {
    expect(SEEN.filter((what) => !coverage.has(what))).toEqual([]);
  });
}

/** Two tests in one process, behind whatever ran there before. */
export function describeGate(seed: number): void {
  withFakeTime();
  const traces: (readonly string[])[] = [];

  it.each(['once', 'and again'])('a seed has one trace: %s', async () => {
    const schedule = new ClusterSchedule(seed, new Map());
    await schedule.run();
    traces.push(schedule.trace);
    expect(schedule.trace).toEqual(traces[0]);
  });
}
