/**
 * A clock that moves with its readings, as a real one does, in seeds from a million on: between two
 * readings of one turn a wait may end. In all other seeds a clock stands still within a turn, so
 * that what is said of them stays true.
 *
 * What is drawn here is drawn from a stream of its own, once for each reading.
 */

import type { Random } from './random.ts';

const FIRST_MOVING = 1_000_000;
/** Of the readings that are not near to one another. */
const APART = 0.2;
const FAR_APART = 0.02;
const NEAR_MS = 0.05;
const APART_MS = 0.5;
const FAR_APART_MS = 3;
const GRAINS = 1_000;

export function hasMovingClock(seed: number): boolean {
  return seed >= FIRST_MOVING;
}

/** Milliseconds from one reading to the next, mostly a small part of one; never 0. */
export function readingMs(random: Random): number {
  const kind = random.below(GRAINS) / GRAINS;
  const most = kind < FAR_APART ? FAR_APART_MS : kind < APART ? APART_MS : NEAR_MS;
  return (most * random.between(1, GRAINS)) / GRAINS;
}
