/**
 * A clock that moves with its readings, as a real one does, in seeds from a million on: between two
 * readings of one turn a wait may end. In all other seeds a clock stands still within a turn, so
 * that what is said of them stays true.
 *
 * It never goes back, and never runs ahead of the clock below it by more than it is allowed to:
 * there it waits. What is drawn is drawn from a stream of its own, the same for each reading.
 */

import type { Random } from './random.ts';

export const FIRST_MOVING = 1_000_000;
/** Of the readings that are not near to the one before. */
const APART = 0.2;
const FAR_APART = 0.02;
/** Powers of two: sums and differences of readings are exact, however long a process runs. */
const NEAR_MS = 1 / 16;
const APART_MS = 1 / 2;
const FAR_APART_MS = 4;
const GRAINS = 1_024;

export function hasMovingClock(seed: number): boolean {
  return seed >= FIRST_MOVING;
}

export class MovingClock {
  readonly #random: Random;
  readonly #aheadMsMost: number;
  #lastMs = 0;

  constructor(random: Random, aheadMsMost: number) {
    this.#random = random;
    this.#aheadMsMost = aheadMsMost;
  }

  /** Of the last reading. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** A little later than the reading before, and behind `dueMs`, if that is not too far ahead. */
  read(stillMs: number, dueMs = 0): number {
    this.#lastMs = Math.max(this.#lastMs, stillMs);
    const nextMs = Math.max(this.#lastMs, dueMs) + this.#stepMs();
    if (nextMs <= stillMs + this.#aheadMsMost) this.#lastMs = nextMs;
    return this.#lastMs;
  }

  /**
   * So much longer a timer takes by the clock below it. In whole milliseconds, as those of the
   * system count: it comes up to one before its time.
   */
  aheadMs(stillMs: number): number {
    return Math.max(0, Math.floor(this.#lastMs - stillMs));
  }

  /** Mostly a small part of a millisecond; never 0. */
  #stepMs(): number {
    const kind = this.#random.below(GRAINS) / GRAINS;
    const most = kind < FAR_APART ? FAR_APART_MS : kind < APART ? APART_MS : NEAR_MS;
    return (most * this.#random.between(1, GRAINS)) / GRAINS;
  }
}
