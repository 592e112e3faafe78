/**
 * When a shard begins a checkpoint: after so many bytes of log, after so many bytes of changed
 * records, or so long after the first change. Knows no clock and begins nothing.
 */

import type { ShardLimits } from './shard-limits.ts';

type Limits = Pick<ShardLimits, 'checkpointBytes' | 'checkpointLogBytes' | 'checkpointIntervalMs'>;

export class CheckpointTimes {
  readonly #limits: Limits;
  #logBytes = 0;
  #due = Number.POSITIVE_INFINITY;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Monotonic milliseconds, at the latest; Infinity: nothing has changed. */
  get due(): number {
    return this.#due;
  }

  committed(bytes: number): void {
    this.#logBytes += bytes;
  }

  /** What was committed so far will be in it. */
  begun(): void {
    this.#logBytes = 0;
    this.#due = Number.POSITIVE_INFINITY;
  }

  isDue(now: number, changed: { readonly runs: boolean; readonly bytes: number }): boolean {
    const { checkpointIntervalMs, checkpointLogBytes, checkpointBytes } = this.#limits;
    const isChanged = this.#logBytes > 0 || changed.runs;
    if (isChanged && this.#due === Number.POSITIVE_INFINITY) this.#due = now + checkpointIntervalMs;
    return (
      this.#logBytes >= checkpointLogBytes || changed.bytes >= checkpointBytes || now >= this.#due
    );
  }
}
