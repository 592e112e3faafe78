/**
 * The numbers of messages on their way to queues of other shards: which one comes next towards each
 * shard, and which are open.
 *
 * A number is given once, and means one message and one target for as long as it is open: what
 * became of it there is remembered there until it is told that the number is not open any more. So
 * the lowest open number bounds what the other shard has to remember, and no number is given that
 * lies `ROUTES_MAX` or more above it.
 *
 * Which numbers come next is stored in the head of the outbox; which are open follows from the
 * intents. In memory whole, for at most `SHARDS_MAX` shards.
 */

import { assert } from './assert.ts';
import { type RecordData, countOf } from './record-data.ts';

/** Open numbers towards one shard lie so close together. */
export const ROUTES_MAX = 1_024;

export class Routes {
  /** By shard; 1 where none was given. */
  readonly #next = new Map<number, number>();
  readonly #open = new Map<number, Set<number>>();

  /** From the rows of the head: shard, next number, ... */
  restore(rows: readonly RecordData[]): void {
    for (let i = 0; i < rows.length; i += 2) {
      this.#next.set(countOf(rows[i]), countOf(rows[i + 1]));
    }
  }

  toRows(): number[] {
    return [...this.#next].flat();
  }

  /** An open one, as an intent of the store says. */
  add(shard: number, number: number): void {
    let open = this.#open.get(shard);
    if (open === undefined) {
      open = new Set();
      this.#open.set(shard, open);
    }
    assert(!open.has(number), 'routes: a number twice');
    open.add(number);
  }

  /** Undefined: too many are open, or one of them for too long. */
  give(shard: number): number | undefined {
    const next = this.#next.get(shard) ?? 1;
    if (next - this.lowest(shard) >= ROUTES_MAX) return undefined;
    this.#next.set(shard, next + 1);
    this.add(shard, next);
    return next;
  }

  remove(shard: number, number: number): void {
    const open = this.#open.get(shard);
    assert(open?.delete(number) === true, 'routes: no such number');
    if (open.size === 0) this.#open.delete(shard);
  }

  /** The other shard knows of higher numbers: those up to below `next` are not given any more. */
  skipTo(shard: number, next: number): void {
    if (next > (this.#next.get(shard) ?? 1)) this.#next.set(shard, next);
  }

  /** The lowest open number; where none is open, the one that comes next. */
  lowest(shard: number): number {
    let lowest = this.#next.get(shard) ?? 1;
    for (const number of this.#open.get(shard) ?? []) if (number < lowest) lowest = number;
    return lowest;
  }
}
