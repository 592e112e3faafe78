/**
 * Ticks for the core: one for each `tickMs` that has passed, told by a monotonic clock.
 *
 * How often it wakes for them is the replica's pace. While somebody leads, nothing is due before
 * the next heartbeat: it wakes once for each of those, together with all other replicas of the
 * node, and gives what has passed at once; who waits for heartbeats is told before it hears one,
 * so that it counts from that moment. A replica that has nobody to hear from or to speak to rests,
 * and an idle broker costs nothing. After a stall (a pause of the process, a long
 * collection) it gives no more than it does in one go anyway, and forgets the rest: what peers
 * sent meanwhile waits in the event loop, and must be heard before time runs out on them.
 */

import type { Clock, Timer } from './ports.ts';

const AT_ONCE_MAX = 5;
const RESTING_MS = 250;
/** Timers of the system count in whole milliseconds, and may come so much before their time. */
const EARLY_MS = 1;

export type Pace = 'each-tick' | 'calm' | 'resting';

export interface TickerOptions {
  readonly clock: Clock;
  readonly tickMs: number;
  /** From one heartbeat to the next. */
  readonly calmTicks: number;
  readonly tick: (count: number) => void;
}

export class Ticker {
  readonly #options: TickerOptions;
  readonly #fire = (): void => this.#fired();
  #timer: Timer | undefined;
  /** Up to here, ticks were given. */
  #givenMs = 0;
  #pace: Pace = 'each-tick';

  constructor(options: TickerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#givenMs = this.#options.clock.monotonicMs();
    this.#wait();
  }

  pace(pace: Pace): void {
    const before = this.#pace;
    if (before === pace) return;
    this.#pace = pace;
    if (this.#timer === undefined) return;
    // What has passed at rest is nobody's time; all else is told.
    if (before === 'resting') this.#givenMs = this.#options.clock.monotonicMs();
    this.#timer.cancel();
    this.#wait();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Something is about to happen: what has passed until now comes before it. */
  tell(): void {
    if (this.#timer === undefined || this.#pace !== 'calm') return;
    const count = this.#passed();
    if (count > 0) this.#options.tick(count);
  }

  #fired(): void {
    if (this.#timer === undefined) return;
    const count = this.#passed();
    if (this.#pace === 'each-tick') this.#wait();
    if (count > 0) this.#options.tick(count);
  }

  /** Since it was asked last. */
  #passed(): number {
    const { clock, tickMs, calmTicks } = this.#options;
    const nowMs = clock.monotonicMs();
    const passed = Math.floor((nowMs - this.#givenMs + EARLY_MS) / tickMs);
    const count = Math.min(passed, this.#pace === 'calm' ? calmTicks : AT_ONCE_MAX);
    this.#givenMs = passed > count ? nowMs : this.#givenMs + count * tickMs;
    return count;
  }

  #wait(): void {
    const { clock, tickMs, calmTicks } = this.#options;
    switch (this.#pace) {
      case 'each-tick': {
        const dueMs = this.#givenMs + tickMs - clock.monotonicMs();
        this.#timer = clock.after(Math.max(dueMs, 0), this.#fire);
        break;
      }
      case 'calm':
        this.#timer = clock.every(calmTicks * tickMs, this.#fire);
        break;
      case 'resting':
        this.#timer = clock.every(RESTING_MS, this.#fire);
        break;
    }
  }
}
