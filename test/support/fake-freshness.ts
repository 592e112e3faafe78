/** A `QueueFreshness` whose clock, and whose answers, are those of the test. */

import type { QueueFreshness } from '../../src/broker/queue-freshness.ts';

export class FakeFreshness implements QueueFreshness {
  readonly timeoutMs = 10_000;
  nowMs = 1_000;
  /** Everything is known as of this moment. */
  asOf = Number.NEGATIVE_INFINITY;
  asked = 0;
  #listener: () => void = () => undefined;

  now(): number {
    return this.nowMs;
  }

  covers(cameMs: number, nowMs: number): boolean {
    this.asked++;
    return this.asOf >= cameMs || this.asOf >= nowMs - 500;
  }

  onAnswer(listener: () => void): void {
    this.#listener = listener;
  }

  answer(asOf = this.nowMs): void {
    this.asOf = asOf;
    this.#listener();
  }
}
