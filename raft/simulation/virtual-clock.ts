/**
 * The clock of one node: an offset from the kernel's time and a rate, both changed while it runs.
 *
 * It is monotonic, as the clock that Raft counts with is; the wall clock of a node is the same
 * clock with another offset, which may jump. Some clocks move with each reading (`MovingClock`).
 */

import type { Timer } from './event-heap.ts';
import type { Kernel } from './kernel.ts';
import type { MovingClock } from './moving-clock.ts';

const RATE_LEAST = 0.1;
const RATE_MOST = 10;

export class VirtualClock {
  readonly #kernel: Kernel;
  readonly #moving: MovingClock | undefined;
  #wallOffsetUs: number;
  #rate = 1;
  #baseUs: number;
  #localBaseUs = 0;

  /** `moving`: how it moves within an event; undefined: it stands still there. */
  constructor(kernel: Kernel, wallOffsetUs: number, moving?: MovingClock) {
    this.#kernel = kernel;
    this.#moving = moving;
    this.#wallOffsetUs = wallOffsetUs;
    this.#baseUs = kernel.nowUs;
  }

  get rate(): number {
    return this.#rate;
  }

  monotonicMs(): number {
    const stillMs = this.#localUs() / 1000;
    return this.#moving?.read(stillMs) ?? stillMs;
  }

  wallMs(): number {
    return Math.floor((this.#localUs() + this.#wallOffsetUs) / 1000);
  }

  /** Goes on from where it stands, faster or slower. Timers that wait keep their time. */
  setRate(rate: number): void {
    if (!(rate >= RATE_LEAST && rate <= RATE_MOST)) {
      throw new Error(`the rate of a clock is ${RATE_LEAST} to ${RATE_MOST}, not ${rate}`);
    }
    this.#localBaseUs = this.#localUs();
    this.#baseUs = this.#kernel.nowUs;
    this.#rate = rate;
  }

  jumpWall(byUs: number): void {
    this.#wallOffsetUs += byUs;
  }

  /** After that much of this clock's own time. */
  after(localMs: number, run: () => void): Timer {
    const aheadMs = this.#moving?.aheadMs(this.#localUs() / 1000) ?? 0;
    const us = Math.round(((localMs + aheadMs) * 1000) / this.#rate);
    return this.#kernel.after(Math.max(1, us), run);
  }

  #localUs(): number {
    return this.#localBaseUs + (this.#kernel.nowUs - this.#baseUs) * this.#rate;
  }
}
