/**
 * Ticks for the core: one for each `tickMs` that has passed, told by a monotonic clock.
 *
 * After a stall (a pause of the process, a long collection) it gives at most `AT_ONCE_MAX` and
 * forgets the rest: what peers sent meanwhile waits in the event loop, and must be heard before
 * time runs out on them. A replica that has nobody to hear from or to speak to rests: it wakes a
 * few times a second, and an idle broker costs nothing.
 */

import type { Clock, Timer } from './ports.ts';

const AT_ONCE_MAX = 5;
const RESTING_MS = 250;

export class Ticker {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #tick: (count: number) => void;
  readonly #fire = (): void => this.#fired();
  #timer: Timer | undefined;
  /** Up to here, ticks were given. */
  #givenMs = 0;
  #rests = false;

  constructor(clock: Clock, tickMs: number, tick: (count: number) => void) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#tick = tick;
  }

  start(): void {
    this.#givenMs = this.#clock.monotonicMs();
    this.#timer = this.#clock.after(this.#tickMs, this.#fire);
  }

  rest(rests: boolean): void {
    if (this.#rests === rests) return;
    this.#rests = rests;
    if (rests || this.#timer === undefined) return;
    this.#timer.cancel();
    this.start();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #fired(): void {
    if (this.#timer === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    const passed = Math.floor((nowMs - this.#givenMs) / this.#tickMs);
    const count = Math.min(passed, AT_ONCE_MAX);
    this.#givenMs = passed > count ? nowMs : this.#givenMs + count * this.#tickMs;
    const due = this.#givenMs + this.#tickMs - nowMs;
    const waitMs = this.#rests ? RESTING_MS : Math.max(due, 0);
    this.#timer = this.#clock.after(waitMs, this.#fire);
    if (count > 0) this.#tick(count);
  }
}
