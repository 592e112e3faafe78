/**
 * What is to come and has not been delivered yet, for each group of each queue: how the drain knows
 * that it is done. It decides nothing about what is lost; the checkers read the history for that.
 */

interface OfGroup {
  readonly group: string;
  readonly missing: Set<string>;
  /** Delivered before it was known that it is to come, or without that ever being known. */
  readonly early: Set<string>;
}

export class Backlog {
  readonly #queues = new Map<string, readonly OfGroup[]>();
  #deliveredAt = performance.now();

  constructor(queues: readonly { readonly name: string; readonly groups: readonly string[] }[]) {
    for (const { name, groups } of queues) {
      this.#queues.set(
        name,
        groups.map((group) => ({ group, missing: new Set(), early: new Set() })),
      );
    }
  }

  /** Told once for each value: it is in the queue, or on its way there. */
  comes(queue: string, value: string): void {
    for (const { missing, early } of this.#queues.get(queue) ?? []) {
      if (!early.delete(value)) missing.add(value);
    }
  }

  delivered(queue: string, group: string, value: string): void {
    this.#deliveredAt = performance.now();
    const found = this.#queues.get(queue)?.find((each) => each.group === group);
    if (found?.missing.delete(value) === false) found.early.add(value);
  }

  missing(queue: string, group: string): number {
    const found = this.#queues.get(queue)?.find((each) => each.group === group);
    return found?.missing.size ?? 0;
  }

  /** Of the group that is furthest behind. */
  get behind(): number {
    return Math.max(0, ...[...this.#queues.values()].flat().map(({ missing }) => missing.size));
  }

  get quietMs(): number {
    return performance.now() - this.#deliveredAt;
  }
}
