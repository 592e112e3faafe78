/**
 * When a shard begins a checkpoint: after so many bytes of log, after so many bytes of changed
 * records, or so long after the first change; soon where the disk is inside its reserve, since the
 * log that nobody wants any more goes with a checkpoint. Knows no clock and begins nothing.
 */

import type { ShardLimits } from './shard-limits.ts';

type Limits = Pick<ShardLimits, 'checkpointBytes' | 'checkpointLogBytes' | 'checkpointIntervalMs'>;

/** After the first change, where space is short. */
const SHORT_OF_SPACE_MS = 2_000;

export class CheckpointTimes {
  readonly #limits: Limits;
  readonly #isShortOfSpace: () => boolean;
  #logBytes = 0;
  #due = Number.POSITIVE_INFINITY;

  constructor(limits: Limits, isShortOfSpace: () => boolean) {
    this.#limits = limits;
    this.#isShortOfSpace = isShortOfSpace;
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
    if (isChanged) {
      const waitMs = this.#isShortOfSpace()
        ? Math.min(SHORT_OF_SPACE_MS, checkpointIntervalMs)
        : checkpointIntervalMs;
      // What began to wait before space ran short comes sooner.
      this.#due = Math.min(this.#due, now + waitMs);
    }
    return (
      this.#logBytes >= checkpointLogBytes || changed.bytes >= checkpointBytes || now >= this.#due
    );
  }
}
