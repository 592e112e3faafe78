/**
 * Time of the process that moves with its readings, over timers that are faked already: each
 * reading of `performance.now` is later than the one before it, now and then just behind the next
 * timer (`MovingClock`). Timers count from the last reading. `Date` and intervals stand still
 * within a turn.
 */

import { MovingClock } from '../../raft/simulation/moving-clock.ts';
import type { Random } from '../../raft/simulation/random.ts';

/** Of the readings: behind the next timer. */
const BEHIND_A_TIMER = 0.005;

/** Until the result is called. `aheadMsMost`: of the faked clock. */
export function moveWithReadings(random: Random, aheadMsMost: number): () => void {
  const { performance, setTimeout } = globalThis;
  const still = performance.now.bind(performance);
  const clock = new MovingClock(random, aheadMsMost);
  /** Of timers that were set, also of those that were cleared. */
  let dueMs: number[] = [];
  const nextDueMs = (): number => {
    dueMs = dueMs.filter((each) => each > clock.lastMs);
    return Math.min(...dueMs);
  };
  performance.now = () => {
    const dueAtMs = random.chance(BEHIND_A_TIMER) ? nextDueMs() : 0;
    return clock.read(still(), dueAtMs);
  };
  const wait = (action: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): unknown => {
    const laterMs = ms + clock.aheadMs(still());
    dueMs.push(still() + laterMs);
    return setTimeout(action, laterMs, ...args);
  };
  globalThis.setTimeout = wait as typeof setTimeout;
  return () => {
    performance.now = still;
    globalThis.setTimeout = setTimeout;
  };
}
