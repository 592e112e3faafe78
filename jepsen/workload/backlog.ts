/**
 * What was acknowledged and has not been delivered yet, for each group: how the drain knows that it
 * is done. It decides nothing about what is lost; the checkers read the history for that.
 */

export class Backlog {
  readonly #missing = new Map<string, Set<string>>();
  /** Delivered before the publisher heard of its acknowledgement, or never acknowledged. */
  readonly #early = new Map<string, Set<string>>();
  #deliveredAt = performance.now();

  constructor(groups: readonly string[]) {
    for (const group of groups) {
      this.#missing.set(group, new Set());
      this.#early.set(group, new Set());
    }
  }

  acknowledged(value: string): void {
    for (const [group, missing] of this.#missing) {
      if (this.#early.get(group)?.delete(value) !== true) missing.add(value);
    }
  }

  delivered(group: string, value: string): void {
    this.#deliveredAt = performance.now();
    if (this.#missing.get(group)?.delete(value) !== true) this.#early.get(group)?.add(value);
  }

  missing(group: string): number {
    return this.#missing.get(group)?.size ?? 0;
  }

  get isEmpty(): boolean {
    return [...this.#missing.values()].every(({ size }) => size === 0);
  }

  get quietMs(): number {
    return performance.now() - this.#deliveredAt;
  }
}
