/**
 * What was seen, by name: faults that were requested and those that were installed, rare branches,
 * operations. Counters of many seeds are added up for the closing table.
 */

export class Counters {
  readonly #counts = new Map<string, number>();

  add(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  addAll(other: Counters): void {
    for (const [name, count] of other.#counts) this.add(name, count);
  }

  /** Ascending by name. */
  entries(): [string, number][] {
    return [...this.#counts].toSorted(([one], [other]) => (one < other ? -1 : 1));
  }
}
