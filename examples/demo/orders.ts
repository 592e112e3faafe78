/**
 * What the demo knows of each order: who sent it, whether the broker acknowledged it, and how often
 * it was delivered. The verdict compares ids, not counts.
 */

export class OrderBook {
  readonly #acknowledged = new Set<string>();
  readonly #deliveries = new Map<string, number>();
  #delivered = 0;
  #redelivered = 0;
  #settled = 0;

  acknowledge(id: string): void {
    this.#acknowledged.add(id);
  }

  deliver(id: string, redelivery: boolean): void {
    this.#delivered += 1;
    if (redelivery) this.#redelivered += 1;
    this.#deliveries.set(id, (this.#deliveries.get(id) ?? 0) + 1);
  }

  settle(): void {
    this.#settled += 1;
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  get delivered(): number {
    return this.#delivered;
  }

  get redelivered(): number {
    return this.#redelivered;
  }

  get settled(): number {
    return this.#settled;
  }

  /** Orders that reached a consumer at least once. */
  get distinct(): number {
    return this.#deliveries.size;
  }

  /** Acknowledged by the broker and never delivered: must be empty at the end. */
  lost(): string[] {
    return [...this.#acknowledged].filter((id) => !this.#deliveries.has(id));
  }
}
