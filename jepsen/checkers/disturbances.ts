/**
 * When things that were sent before may still have been under way: while a node or the network was
 * held up, and while the harness itself did not run. A delivery that left in time and arrives late
 * is no fault of the broker, so these intervals put off the moment from which one counts.
 */

import type { Operation } from '../history/operation.ts';
import { faultsOf } from './faults.ts';

const HOLD_UP = new Set(['pause', 'partition']);

interface Interval {
  readonly from: number;
  readonly to: number;
}

export class Disturbances {
  readonly #intervals: readonly Interval[];
  readonly #graceNs: number;

  /** `graceNs` is how long a delivery may be under way when nothing holds it up. */
  constructor(history: readonly Operation[], graceNs: number) {
    this.#graceNs = graceNs;
    const faults = faultsOf(history).filter(({ kind }) => HOLD_UP.has(kind));
    const stalls = history
      .filter((operation) => operation.f === 'stall')
      .map(({ time, value }) => ({ from: time - value * 1_000_000, to: time }));
    this.#intervals = [...faults, ...stalls].toSorted((a, b) => a.from - b.from);
  }

  /** The last moment at which something that left at `time` may arrive. */
  arrivalMax(time: number): number {
    let latest = time;
    for (const { from, to } of this.#intervals) {
      if (from > latest + this.#graceNs) break;
      if (to > latest) latest = to;
    }
    return latest + this.#graceNs;
  }
}
