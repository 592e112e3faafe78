/**
 * How publishes become slow before they stop (docs/decisions/0051-slow-before-stop.md): they wait
 * for a part of the time, and come for one look in between. In memory alone.
 *
 * The end of a wait may come behind the last question of a turn: whoever was told to wait is woken
 * for it all the same.
 */

/** So long publishes wait at a time. */
const SLOW_MS_MAX = 2_000;

export class SlowDown {
  readonly #lookMs: number;
  /** Monotonic milliseconds. */
  #until = 0;
  /** Somebody was told to wait until then. */
  #isTold = false;

  /** `lookMs`: from one look to the next. */
  constructor(lookMs: number) {
    this.#lookMs = lookMs;
  }

  /** `waiting`: the part of the time that publishes are to wait, 0 to 1. */
  judge(now: number, waiting: number): void {
    if (waiting === 0) this.#until = 0;
    else if (now >= this.#until + this.#lookMs) {
      this.#until = now + Math.min(SLOW_MS_MAX, (this.#lookMs * waiting) / (1 - waiting));
    }
  }

  holdsBack(now: number): boolean {
    const isSlow = now < this.#until;
    this.#isTold ||= isSlow;
    return isSlow;
  }

  /** When `ended` is to be asked; Infinity: nobody waits. */
  get nextLook(): number {
    return this.#isTold ? this.#until : Number.POSITIVE_INFINITY;
  }

  /** True once for those who wait: they may go on, and another turn is wanted for them. */
  ended(now: number): boolean {
    const isOver = this.#isTold && now >= this.#until;
    if (isOver) this.#isTold = false;
    return isOver;
  }
}
