/**
 * When things that were sent before may still have been under way: while a node or the network was
 * held up, and while the harness itself did not run. A delivery that left in time and arrives late
 * is no fault of the broker, so these intervals put off the moment from which one counts.
 *
 * A cut loses packets silently, and TCP sends what was lost again at intervals that double (RFC
 * 6298, 5.5): so it may come as long after the cut as the cut was long.
 */

import type { Operation } from '../history/operation.ts';
import { faultsOf } from './faults.ts';

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
    const faults = faultsOf(history).flatMap(({ kind, from, to }): Interval[] => {
      if (kind === 'pause') return [{ from, to }];
      return kind === 'partition' ? [{ from, to: to + (to - from) }] : [];
    });
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
