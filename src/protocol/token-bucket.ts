/**
 * A rate that may be saved up for a while: so many tokens a second, at most so many at once. What
 * is spent beyond them is a debt, which time pays off. Knows no clock: it is told the time.
 */

export interface Rate {
  /** Above 0. */
  readonly perSecond: number;
  /** Tokens that may be saved up, above 0. */
  readonly burst: number;
}

export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #atMs: number;

  /** Full at the start. */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#atMs = now;
  }

  /** Takes so many, whether they are there or not. */
  spend(count: number, now: number): void {
    this.#fill(now);
    this.#tokens -= count;
  }

  has(count: number, now: number): boolean {
    this.#fill(now);
    return this.#tokens >= count;
  }

  isFull(now: number): boolean {
    return this.has(this.#rate.burst, now);
  }

  #fill(now: number): void {
    const { perSecond, burst } = this.#rate;
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#atMs) * perSecond) / 1000);
    this.#atMs = now;
  }
}
