/**
 * What was asked for without an answer (settlements, closed consumers, ended sessions) and is not
 * known to be applied: kept until the leader says so, to be asked for again of the next one.
 *
 * ```
 *   add ---> unposted ---(its batch is posted)---> posted ---(worked)---> gone
 *                 \----------------------------------+---(session over)---> takeAll
 * ```
 */

export class Unworked<T> {
  readonly #items: T[] = [];
  /** The batch of each item that is posted; shorter than the items by those that are not. */
  readonly #batches: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    this.#items.push(item);
  }

  /** Everything that was added until now was posted, in this batch at the latest. */
  posted(batch: number): void {
    for (let left = this.#items.length - this.#batches.length; left > 0; left--) {
      this.#batches.push(batch);
    }
  }

  /** Everything in this batch and in those before is applied: what that was. */
  worked(batch: number): T[] {
    let count = 0;
    while (count < this.#batches.length && (this.#batches[count] as number) <= batch) count++;
    this.#batches.splice(0, count);
    return this.#items.splice(0, count);
  }

  /** Whoever was asked is gone; in the order of asking. */
  takeAll(): T[] {
    this.#batches.length = 0;
    return this.#items.splice(0);
  }
}
