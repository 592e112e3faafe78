/**
 * What the demo knows of each order: whether the broker acknowledged it, and what became of it in
 * each group. The verdict compares ids, not counts.
 */

export class OrderBook {
  readonly acknowledged = new Set<string>();
  readonly #done = new Map<string, Set<string>>();
  readonly #counts = new Map<string, number>();
  readonly #history = new Map<string, number>();
  #historyOffset = -1;
  #historyInOrder = true;

  /** A worker of the group is done with it, as the broker confirmed. */
  done(group: string, id: string): void {
    const ids = this.#done.get(group) ?? new Set();
    this.#done.set(group, ids.add(id));
  }

  count(what: string): void {
    this.#counts.set(what, this.counted(what) + 1);
  }

  counted(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** Orders that the group is done with. */
  finished(group: string): number {
    return this.#done.get(group)?.size ?? 0;
  }

  /** The late reader saw it. */
  read(id: string, offset: number): void {
    if (this.#history.has(id) && offset > this.#historyOffset) this.count('stored twice');
    this.#history.set(id, offset);
    if (offset < this.#historyOffset) this.#historyInOrder = false;
    this.#historyOffset = Math.max(this.#historyOffset, offset);
  }

  get readDistinct(): number {
    return this.#history.size;
  }

  get historyInOrder(): boolean {
    return this.#historyInOrder;
  }

  /** Acknowledged, and not finished in the group: must be empty at the end. */
  missing(group: string): string[] {
    const ids = this.#done.get(group);
    return [...this.acknowledged].filter((id) => ids?.has(id) !== true);
  }

  /** Acknowledged, and not in the stream: must be empty at the end. */
  unread(): string[] {
    return [...this.acknowledged].filter((id) => !this.#history.has(id));
  }
}
