/**
 * Time of the process that moves with its readings, over timers that are faked already: each
 * reading of `performance.now` is later than the one before it, now and then just behind the next
 * timer. Timers count from the last reading, and come up to a millisecond before their time, as
 * those of the system do, which count in whole ones. `Date` and intervals stand still within a turn.
 *
 * It never runs ahead of the faked clock by more than it is allowed to; from there on it waits.
 */

import { readingMs } from '../../raft/simulation/moving-clock.ts';
import type { Random } from '../../raft/simulation/random.ts';

/** Of the readings: behind the next timer. */
const BEHIND_A_TIMER = 0.005;

/** Until the result is called. */
export function moveWithReadings(random: Random, aheadMsMost: number): () => void {
  const { performance, setTimeout } = globalThis;
  const still = performance.now;
  let lastMs = still.call(performance);
  let dueMs: number[] = [];
  const nextDueMs = (): number => {
    dueMs = dueMs.filter((each) => each > lastMs);
    return Math.min(...dueMs);
  };
  performance.now = () => {
    const stillMs = still.call(performance);
    const mostMs = stillMs + aheadMsMost;
    lastMs = Math.max(lastMs, stillMs);
    const stepMs = readingMs(random);
    const fromMs = random.chance(BEHIND_A_TIMER) ? nextDueMs() : lastMs;
    if (fromMs + stepMs <= mostMs) lastMs = fromMs + stepMs;
    return lastMs;
  };
  const wait = (action: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): unknown => {
    const aheadMs = Math.max(0, Math.floor(lastMs - still.call(performance)));
    dueMs.push(still.call(performance) + aheadMs + ms);
    return setTimeout(action, ms + aheadMs, ...args);
  };
  globalThis.setTimeout = wait as typeof setTimeout;
  return () => {
    performance.now = still;
    globalThis.setTimeout = setTimeout;
  };
}
