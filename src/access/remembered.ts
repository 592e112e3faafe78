/**
 * What a service answered lately, by question, each kind for a time. What was allowed and what was
 * denied are kept apart and bounded, so that guesses do not push out what was let in.
 */

import type { CalloutAnswer } from './callout.ts';

export interface RememberedLimits {
  /** For how long `allow` holds for the same question; 0: not at all. */
  readonly allowedMs: number;
  /** The same of `deny` and `ignore`. */
  readonly deniedMs: number;
  /** Of each of the two. */
  readonly maxKept: number;
}

export interface Kept {
  readonly answer: CalloutAnswer;
  /** By the clock of whoever keeps it. */
  readonly untilMs: number;
}

export class Remembered {
  readonly #limits: RememberedLimits;
  readonly #now: () => number;
  readonly #allowed = new Map<string, Kept>();
  readonly #denied = new Map<string, Kept>();
  #age = 0;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(limits: RememberedLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  /** Goes up with each `clear`. */
  get age(): number {
    return this.#age;
  }

  find(key: string): Kept | undefined {
    for (const kept of [this.#allowed, this.#denied]) {
      const found = kept.get(key);
      if (found === undefined) continue;
      if (this.#now() < found.untilMs) return found;
      kept.delete(key);
    }
    return undefined;
  }

  /** `age`: when it was asked; what was asked before a `clear` is not kept behind it. */
  keep(key: string, answer: CalloutAnswer, age: number): void {
    if (age !== this.#age) return;
    const { allowedMs, deniedMs, maxKept } = this.#limits;
    const isAllowed = answer.result === 'allow';
    const [kept, ms] = isAllowed ? [this.#allowed, allowedMs] : [this.#denied, deniedMs];
    if (ms === 0 || maxKept === 0) return;
    if (kept.size >= maxKept) {
      const [oldest = ''] = kept.keys();
      kept.delete(oldest);
    }
    kept.set(key, { answer, untilMs: this.#now() + ms });
  }

  clear(): void {
    this.#age++;
    this.#allowed.clear();
    this.#denied.clear();
  }
}
