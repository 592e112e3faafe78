/**
 * The enqueues whose outcome is not known yet, in the order of their calls: a ring of parallel
 * columns, so that a message costs no allocation.
 *
 * ```
 *        head          untold                tail
 *   ------|--------------|---------------------|------
 *         | timed out:   | their waiters       |
 *         | told, but    | have not heard      |
 *         | unknown      | anything            |
 * ```
 *
 * head <= untold <= tail. Each waiter is told exactly once, in order. A number that timed out stays
 * in the ring until its outcome comes, and is never given to another message. A message that was
 * refused here, and so has no number, waits in the ring for its turn to be told. A waiter may call
 * back into the ring.
 */

import type { EnqueueRefusal, EnqueueWaiter } from '../broker/ports.ts';
import { committedBy } from './effects.ts';
import type { Refusal } from './shard-frames.ts';

/** What a message costs here beyond its bytes, for the bounds. */
export const PENDING_OVERHEAD_BYTES = 64;

const FIRST_CAPACITY = 1024;
/** Instead of a number: refused here. */
const NO_NUMBER = 0;
const NO_REFUSALS: readonly Refusal[] = [];

export interface Confirmed {
  readonly upTo: number;
  /** Ascending by number. */
  readonly refusals: readonly Refusal[];
}

/** True: it sees to the publish, and tells its waiter. */
type GoneNumber = (number: number, waiter: EnqueueWaiter, tag: number) => boolean;

export class Pending {
  /** Monotonic milliseconds, set by the owner once a turn: when what is added now arrived. */
  now = 0;
  readonly #gone: GoneNumber | undefined;
  #capacity = FIRST_CAPACITY;
  #waiters: (EnqueueWaiter | undefined)[] = new Array<undefined>(FIRST_CAPACITY);
  /** Of those that were refused here. */
  #refused: (EnqueueRefusal | undefined)[] = new Array<undefined>(FIRST_CAPACITY);
  #tags = new Float64Array(FIRST_CAPACITY);
  #numbers = new Float64Array(FIRST_CAPACITY);
  #bytes = new Float64Array(FIRST_CAPACITY);
  #arrived = new Float64Array(FIRST_CAPACITY);
  #head = 0;
  #untold = 0;
  #tail = 0;
  #lastNumber = 0;
  #answeredUpTo = 0;
  #totalBytes = 0;
  /** Of numbers whose outcome is known and cannot be told yet. */
  #refusals: readonly Refusal[] = NO_REFUSALS;
  #refusalAt = 0;

  /** `gone` hears first of a number that found none of its queues. */
  constructor(gone?: GoneNumber) {
    this.#gone = gone;
  }

  /** The number that was given last; 0: none. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** The outcomes of this number and of all below are known. */
  get answeredUpTo(): number {
    return this.#answeredUpTo;
  }

  /** Of all in the ring, with a share for the place of each. */
  get bytes(): number {
    return this.#totalBytes;
  }

  /** Numbers without an outcome, and refusals that wait behind them. */
  get size(): number {
    return this.#tail - this.#head;
  }

  /** When the oldest that was told nothing arrived; Infinity: there is none. */
  get oldest(): number {
    if (this.#untold === this.#tail) return Number.POSITIVE_INFINITY;
    return this.#arrived[this.#slot(this.#untold)] as number;
  }

  /** The next number is this message's. */
  add(waiter: EnqueueWaiter, tag: number, bytes: number): void {
    const slot = this.#push(waiter, tag);
    const cost = bytes + PENDING_OVERHEAD_BYTES;
    this.#numbers[slot] = ++this.#lastNumber;
    this.#bytes[slot] = cost;
    this.#totalBytes += cost;
  }

  /**
   * Tells the refusal when all before it are told; the owner calls `confirm` or `tellRefused`
   * later.
   */
  refuse(waiter: EnqueueWaiter, tag: number, refusal: EnqueueRefusal): void {
    const slot = this.#push(waiter, tag);
    this.#numbers[slot] = NO_NUMBER;
    this.#bytes[slot] = PENDING_OVERHEAD_BYTES;
    this.#refused[slot] = refusal;
    this.#totalBytes += PENDING_OVERHEAD_BYTES;
  }

  /** Tells everyone up to a number what became of his message; false: there is no such number. */
  confirm(confirmed: Confirmed): boolean {
    const { upTo, refusals } = confirmed;
    if (upTo > this.#lastNumber) return false;
    if (upTo > this.#answeredUpTo) this.#answeredUpTo = upTo;
    if (refusals.length > 0) {
      const untold = this.#refusals.slice(this.#refusalAt);
      this.#refusals = untold.length === 0 ? refusals : [...untold, ...refusals];
      this.#refusalAt = 0;
    }
    this.#tell();
    return true;
  }

  /** Everyone up to the answered number. */
  #tell(): void {
    const confirmed = { upTo: this.#answeredUpTo };
    // Not those that a waiter adds meanwhile: they are told in a later turn.
    for (let left = this.size; left > 0; left--) {
      const slot = this.#slot(this.#head);
      const number = this.#numbers[slot] as number;
      if (number > confirmed.upTo) break;
      const waiter = this.#waiters[slot];
      const tag = this.#tags[slot] as number;
      let outcome: EnqueueRefusal | undefined;
      if (number === NO_NUMBER) outcome = this.#refused[slot];
      else if (this.#refusals !== NO_REFUSALS) outcome = this.#refusalOf(number);
      this.#pop(slot);
      if (waiter === undefined) continue;
      // Never on the way of what is stored.
      if (outcome === 'no-queue' && this.#gone?.(number, waiter, tag) === true) continue;
      waiter.enqueued(tag, outcome ?? committedBy(confirmed, number));
    }
    if (this.#refusalAt === this.#refusals.length) {
      this.#refusals = NO_REFUSALS;
      this.#refusalAt = 0;
    }
  }

  /** Asked for numbers in their order. */
  #refusalOf(number: number): EnqueueRefusal | undefined {
    const refusals = this.#refusals;
    while (this.#refusalAt < refusals.length) {
      const refusal = refusals[this.#refusalAt] as Refusal;
      if (refusal.number > number) return undefined;
      this.#refusalAt++;
      if (refusal.number === number) return refusal.reason;
    }
    return undefined;
  }

  /** Tells the refusals that nothing is before any more. */
  tellRefused(): void {
    if (this.#head < this.#tail && this.#numbers[this.#slot(this.#head)] === NO_NUMBER) {
      this.confirm({ upTo: this.#answeredUpTo, refusals: [] });
    }
  }

  /** Tells those that arrived at `before` or earlier that their time is over. */
  expire(before: number): void {
    while (this.#untold < this.#tail) {
      const slot = this.#slot(this.#untold);
      if ((this.#arrived[slot] as number) > before) return;
      const waiter = this.#waiters[slot];
      // He is told, and must not be pinned for as long as a number may stay unknown.
      this.#waiters[slot] = undefined;
      this.#untold++;
      waiter?.enqueued(this.#tags[slot] as number, this.#refused[slot] ?? 'timeout');
    }
  }

  /** The store is gone: everyone who is in the ring and was told nothing hears it. */
  fail(): void {
    for (let left = this.size; left > 0; left--) {
      const slot = this.#slot(this.#head);
      const waiter = this.#waiters[slot];
      const known = this.#refused[slot];
      const tag = this.#tags[slot] as number;
      this.#pop(slot);
      waiter?.enqueued(tag, known ?? 'unavailable');
    }
  }

  #slot(at: number): number {
    return at & (this.#capacity - 1);
  }

  #push(waiter: EnqueueWaiter, tag: number): number {
    if (this.#tail - this.#head === this.#capacity) this.#grow();
    const slot = this.#slot(this.#tail++);
    this.#waiters[slot] = waiter;
    this.#tags[slot] = tag;
    this.#arrived[slot] = this.now;
    return slot;
  }

  #pop(slot: number): void {
    this.#waiters[slot] = undefined;
    this.#refused[slot] = undefined;
    this.#totalBytes -= this.#bytes[slot] as number;
    this.#head++;
    if (this.#untold < this.#head) this.#untold = this.#head;
  }

  #grow(): void {
    const { length } = this.#tags;
    const turn = this.#slot(this.#head);
    this.#waiters = [...turned(this.#waiters, turn), ...new Array<undefined>(length)];
    this.#refused = [...turned(this.#refused, turn), ...new Array<undefined>(length)];
    this.#tags = grown(this.#tags, turn);
    this.#numbers = grown(this.#numbers, turn);
    this.#bytes = grown(this.#bytes, turn);
    this.#arrived = grown(this.#arrived, turn);
    this.#capacity = length * 2;
    this.#untold -= this.#head;
    this.#tail -= this.#head;
    this.#head = 0;
  }
}

/** The ring's full column from its head on. */
function turned<T>(column: readonly T[], head: number): T[] {
  return [...column.slice(head), ...column.slice(0, head)];
}

function grown(column: Float64Array, head: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(column.length * 2);
  larger.set(column.subarray(head), 0);
  larger.set(column.subarray(0, head), column.length - head);
  return larger;
}
