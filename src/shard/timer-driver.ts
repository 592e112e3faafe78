/**
 * Proposes the firing of timers when one is due: one command at a time, each a bounded step of
 * `apply`, until none is due any more. Timers are records of the machine, so that nothing is lost
 * here: a command that was never applied is proposed again after the start.
 */

import type { FireTimersCommand } from '../machine/command.ts';
import type { LogIndex } from '../machine/ids.ts';

export interface TimerOptions {
  /** Stamp of the next timer; Infinity: there is none. */
  readonly nextTimer: () => number;
  /** The last index that is applied whole. */
  readonly applied: () => LogIndex;
  /** The index of its entry; undefined: nothing is taken any more. */
  readonly propose: (command: FireTimersCommand) => LogIndex | undefined;
  readonly now: () => number;
}

/** Timers that one command fires: bounds what one apply touches. */
const FIRE_MAX = 1024;
const FIRE: FireTimersCommand = { kind: 'fire-timers', max: FIRE_MAX };

export class TimerDriver {
  readonly #options: TimerOptions;
  /** The entry of the command that is under way. */
  #proposed = 0;
  #fired = 0;

  constructor(options: TimerOptions) {
    this.#options = options;
  }

  /** Commands proposed so far. */
  get fired(): number {
    return this.#fired;
  }

  /** When `drive` wants to be called although nothing happens; Infinity: not at all. */
  get nextWake(): number {
    return this.#isUnderWay ? Number.POSITIVE_INFINITY : this.#options.nextTimer();
  }

  drive(): void {
    const { nextTimer, propose, now } = this.#options;
    if (this.#isUnderWay || nextTimer() > now()) return;
    const index = propose(FIRE);
    if (index === undefined) return;
    this.#proposed = index;
    this.#fired++;
  }

  get #isUnderWay(): boolean {
    return this.#proposed > this.#options.applied();
  }
}
