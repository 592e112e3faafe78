/** When a checkpoint is due; the times are numbers here. */

import { describe, expect, it } from 'vitest';
import { CheckpointTimes } from '../../src/shard/checkpoint-times.ts';

const LIMITS = { checkpointBytes: 1_000, checkpointLogBytes: 1_000, checkpointIntervalMs: 60_000 };
const SMALL = { runs: false, bytes: 10 };

describe('a checkpoint', () => {
  it('comes so long after the first change, and not for later ones', () => {
    const times = new CheckpointTimes(LIMITS, () => false);
    expect([times.isDue(0, SMALL), times.due]).toEqual([false, Number.POSITIVE_INFINITY]);
    times.committed(10);
    expect([times.isDue(5, SMALL), times.due]).toEqual([false, 60_005]);
    times.committed(10);
    expect([times.isDue(60_004, SMALL), times.isDue(60_005, SMALL)]).toEqual([false, true]);
    times.begun();
    expect(times.isDue(70_000, SMALL)).toBe(false);
  });

  it('comes soon where the disk is short of space, also for what began to wait before', () => {
    let isShort = false;
    const times = new CheckpointTimes(LIMITS, () => isShort);
    times.committed(10);
    expect(times.isDue(0, SMALL)).toBe(false);
    isShort = true;
    expect([times.isDue(100, SMALL), times.due]).toEqual([false, 2_100]);
    expect([times.isDue(2_099, SMALL), times.isDue(2_100, SMALL)]).toEqual([false, true]);
    times.begun();
    expect([times.isDue(2_200, SMALL), times.due]).toEqual([false, Number.POSITIVE_INFINITY]);
  });

  it('comes at once for so many bytes of log, or of changed records', () => {
    const times = new CheckpointTimes(LIMITS, () => false);
    times.committed(999);
    expect(times.isDue(0, SMALL)).toBe(false);
    times.committed(1);
    expect(times.isDue(0, SMALL)).toBe(true);
    times.begun();
    expect(times.isDue(1, { runs: false, bytes: 1_000 })).toBe(true);
  });
});
