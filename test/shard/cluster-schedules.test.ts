/**
 * Three replicas of a shard under faults, by seeds.
 * One again:  SEED=123 npx vitest run test/shard/cluster-schedules.test.ts
 */

import { describe, expect, it } from 'vitest';
import { ClusterSchedule, SEEN } from '../support/cluster-schedule.ts';
import type { Seen } from '../support/cluster-schedule.ts';
import { ONLY, seedsFrom } from '../support/by-seed.ts';

const FIRST = Number(process.env['FIRST'] ?? 0);
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 20);

describe('three replicas under faults', () => {
  const coverage = new Map<Seen, number>();

  it.each(seedsFrom(FIRST, SCHEDULES))('seed %i: what was promised is kept', async (seed) => {
    await new ClusterSchedule(seed, coverage).run();
  });

  it.runIf(ONLY === undefined)('the schedules saw what they are for', () => {
    expect(SEEN.filter((what) => !coverage.has(what))).toEqual([]);
  });
});
