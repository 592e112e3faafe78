/**
 * What a checker says of a history: valid or not, figures, and the anomalies with their time, so
 * that the report can mark them. However many there are, only the first are kept with their words.
 */

import type { Operation } from '../history/operation.ts';

const ANOMALIES_MAX = 100;

export interface Anomaly {
  /** Nanoseconds since the run began. */
  readonly time: number;
  readonly text: string;
}

export interface Verdict {
  readonly checker: string;
  readonly valid: boolean;
  readonly figures: Readonly<Record<string, number>>;
  readonly anomalies: readonly Anomaly[];
  /** Of all, also those whose words were not kept. */
  readonly anomalyCount: number;
  /** A table for the report, where numbers alone say too little. */
  readonly rows?: readonly (readonly string[])[];
}

/** What was asked of the run, as far as a checker needs it. */
export interface Asked {
  /** Kinds of faults. */
  readonly nemeses: readonly string[];
  /** Whether consumers were to reject some of the messages. */
  readonly rejects?: boolean;
  /** When the lead of a shard went to another node; nanoseconds of the history. */
  readonly leadMoves?: readonly number[];
}

export type Checker = (history: readonly Operation[], asked: Asked) => Verdict;

export class Findings {
  readonly #anomalies: Anomaly[] = [];
  #count = 0;

  add(time: number, text: string): void {
    this.#count += 1;
    if (this.#anomalies.length < ANOMALIES_MAX) this.#anomalies.push({ time, text });
  }

  /** Valid when nothing was found. */
  verdict(
    checker: string,
    figures: Readonly<Record<string, number>>,
    rows?: readonly (readonly string[])[],
  ): Verdict {
    return {
      checker,
      valid: this.#count === 0,
      figures,
      anomalies: this.#anomalies,
      anomalyCount: this.#count,
      ...(rows !== undefined && { rows }),
    };
  }
}
