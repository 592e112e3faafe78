/**
 * How fast a total grows, a minute, as an average over a time that fades: what is `windowMs` old
 * counts a third of what is new. Of the last 1, 5 and 15 minutes. Pure but for what it keeps.
 */

export const MS_PER_MINUTE = 60_000;
const WINDOWS_MS = [1, 5, 15].map((minutes) => minutes * MS_PER_MINUTE);

export class Rate {
  readonly #averages = new Map(WINDOWS_MS.map((windowMs) => [windowMs, 0]));
  #total = 0;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** The total is `total` now; totals only grow. */
  add(total: number, nowMs: number): void {
    const passedMs = nowMs - this.#atMs;
    if (passedMs <= 0) return;
    const rate = ((total - this.#total) * MS_PER_MINUTE) / passedMs;
    for (const [windowMs, average] of this.#averages) {
      const share = 1 - Math.exp(-passedMs / windowMs);
      this.#averages.set(windowMs, average + (rate - average) * share);
    }
    this.#total = total;
    this.#atMs = nowMs;
  }

  average(windowMs: number): number {
    return this.#averages.get(windowMs) ?? 0;
  }
}
