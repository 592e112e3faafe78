/**
 * Entries of a store that were durable and went bad: which, and what of them can still be told.
 *
 * In the middle of a log their place is known. At its end either the header of the last one is
 * sound, or nothing is, and then nobody knows where the log ended.
 */

import type { Entry, FaultyRange } from '../raft.ts';
import type { Random } from './random.ts';

const MOST = 4;

export interface Struck {
  readonly text: string;
  /** What is behind cannot even be counted. */
  readonly entriesLeft: number;
}

export class StoredDamage {
  readonly #indexes = new Set<number>();
  #unknownFrom: number | undefined;

  get isEmpty(): boolean {
    return this.#indexes.size === 0 && this.#unknownFrom === undefined;
  }

  /** Nothing may follow it before it is cut off. */
  get isEndUnknown(): boolean {
    return this.#unknownFrom !== undefined;
  }

  get indexes(): readonly number[] {
    return [...this.#indexes];
  }

  hides(index: number): boolean {
    return this.#indexes.has(index);
  }

  /** An end below the checkpoint is not simulated: such a replica refuses to start. */
  strike(entries: readonly Entry[], checkpoint: number, random: Random): Struck | undefined {
    const last = entries.at(-1)?.index;
    const first = entries[0]?.index;
    if (last === undefined || first === undefined) return undefined;
    const how = random.pick(['middle', 'end', 'unknown end']);
    const count = random.between(1, Math.min(MOST, entries.length));
    if (how === 'unknown end') {
      if (last - count < checkpoint) return undefined;
      this.#unknownFrom = last - count + 1;
      this.#cutIndexes(this.#unknownFrom - 1);
      const text = `entries ${this.#unknownFrom} to the end`;
      return { text, entriesLeft: entries.length - count };
    }
    const from = how === 'end' ? last - count + 1 : random.between(first, last - count + 1);
    for (let index = from; index < from + count; index += 1) this.#indexes.add(index);
    return { text: `entries ${from} to ${from + count - 1}`, entriesLeft: entries.length };
  }

  /** As recovery tells it. */
  faulty(entries: readonly Entry[]): FaultyRange[] {
    const ranges: FaultyRange[] = [];
    let range: { from: number; through: number; throughTerm: number | undefined } | undefined;
    for (const { index, term } of entries) {
      if (!this.#indexes.has(index)) {
        range = undefined;
        continue;
      }
      if (range === undefined) {
        range = { from: index, through: index, throughTerm: term };
        ranges.push(range);
      }
      range.through = index;
      range.throughTerm = term;
    }
    if (this.#unknownFrom !== undefined) {
      ranges.push({ from: this.#unknownFrom, through: undefined });
    }
    return ranges;
  }

  repaired(index: number): void {
    this.#indexes.delete(index);
  }

  cutSuffix(lastKept: number): void {
    this.#cutIndexes(lastKept);
    if (this.#unknownFrom !== undefined && this.#unknownFrom > lastKept) {
      this.#unknownFrom = undefined;
    }
  }

  cutPrefix(firstKept: number): void {
    for (const index of this.#indexes) if (index < firstKept) this.#indexes.delete(index);
  }

  #cutIndexes(lastKept: number): void {
    for (const index of this.#indexes) if (index > lastKept) this.#indexes.delete(index);
  }
}
