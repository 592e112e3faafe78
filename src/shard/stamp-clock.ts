/**
 * The stamps of the leader: wall-clock milliseconds that advance by the monotonic clock and never
 * go back.
 *
 * The wall clock is read once, when the term begins; a clock that is set back or forth meanwhile
 * changes nothing. A stamp is never below the last one that the state has seen, also after a
 * restart with an older wall clock. Nothing else in the shard may read a clock for state.
 */

import type { StampMs } from '../machine/ids.ts';

export interface Clock {
  /** Milliseconds since 1970-01-01 UTC. */
  wallMs(): number;
  /** Milliseconds since some start; never goes back. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

export class StampClock {
  readonly #clock: Clock;
  readonly #baseMs: number;
  #last: number;

  /** `lastStamp`: the highest stamp in the log and the records, 0 if there is none. */
  constructor(clock: Clock, lastStamp: number) {
    this.#clock = clock;
    this.#baseMs = Math.max(clock.wallMs(), lastStamp) - clock.monotonicMs();
    this.#last = lastStamp;
  }

  now(): StampMs {
    const stamp = Math.floor(this.#baseMs + this.#clock.monotonicMs());
    if (stamp > this.#last) this.#last = stamp;
    return this.#last as StampMs;
  }
}
