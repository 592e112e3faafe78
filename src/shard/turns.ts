/**
 * When the shard works: at once for what was just committed, otherwise in the next turn of the
 * event loop, and by one timer for what is due later. Calls `work` until it says that nothing is
 * left, each time for at most `sliceMs`; between two slices the event loop takes what has arrived.
 * Knows nothing of what the work is.
 */

import type { Clock } from './stamp-clock.ts';

export interface TurnsOptions {
  readonly clock: Clock;
  readonly sliceMs: number;
  /** Works until `deadline` (monotonic milliseconds); true when something is left. */
  readonly work: (deadline: number) => boolean;
  /** Milliseconds until `work` is wanted although nothing happens; Infinity: not at all. */
  nextWake(): number;
  readonly failed: (error: unknown) => void;
}

const TIMER_MS_MAX = 0x7fff_ffff;

export class Turns {
  readonly #options: TurnsOptions;
  #scheduled: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #working = false;
  /** `wake` was called during the work. */
  #again = false;
  #resting = false;
  #stopped = false;
  #busyMs = 0;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** Time spent in work so far. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Work in the next turn; cheap to call often. */
  wake(): void {
    if (this.#working) this.#again = true;
    if (this.#working || this.#stopped || this.#scheduled !== undefined) return;
    this.#scheduled = setImmediate(() => {
      this.#scheduled = undefined;
      this.now();
    });
  }

  /** Work in this turn. */
  now(): void {
    if (this.#working) this.#again = true;
    if (this.#stopped || this.#working) return;
    const { clock, sliceMs, work, failed } = this.#options;
    const began = clock.monotonicMs();
    this.#working = true;
    this.#again = false;
    let more = false;
    try {
      more = work(began + sliceMs);
    } catch (error) {
      failed(error);
    }
    this.#working = false;
    this.#busyMs += clock.monotonicMs() - began;
    if (more || this.#again) this.wake();
    else this.#setTimer();
  }

  /** Resolves in a later turn of the event loop, behind what is waiting there now. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  /** Nothing is due by itself any more; `wake` still works. */
  rest(): void {
    this.#resting = true;
    clearTimeout(this.#timer);
  }

  stop(): void {
    this.#stopped = true;
    clearImmediate(this.#scheduled);
    this.rest();
  }

  #setTimer(): void {
    if (this.#resting) return;
    const { clock } = this.#options;
    const wait = this.#options.nextWake();
    const at = wait === Number.POSITIVE_INFINITY ? wait : clock.monotonicMs() + Math.max(wait, 0);
    if (at >= this.#timerAt && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    const ms = Math.min(Math.ceil(at - clock.monotonicMs()), TIMER_MS_MAX);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.now();
    }, ms);
  }
}
