/**
 * One timer for many: which of the sleepers is due first, and of those with the same time, which
 * was set to it first. A binary heap; a sleeper that is set again keeps its old place in the heap
 * until that comes up and is skipped, so that moving a deadline costs O(log n) and removing one
 * costs nothing. Knows no clock and sets no timer.
 */

export interface Sleeper {
  /** When it wants to wake; Infinity: not at all. Written by the heap alone. */
  wakeAt: number;
}

export class WakeHeap<T extends Sleeper> {
  readonly #times: number[] = [];
  /** Who was set first has a lower one. */
  readonly #turns: number[] = [];
  readonly #sleepers: T[] = [];
  #nextTurn = 0;

  /**
   * When to call `due` next; Infinity: nobody sleeps. May be early for one that was set later
   * again.
   */
  get next(): number {
    return this.#times[0] ?? Number.POSITIVE_INFINITY;
  }

  set(sleeper: T, wakeAt: number): void {
    if (sleeper.wakeAt === wakeAt) return;
    sleeper.wakeAt = wakeAt;
    if (wakeAt !== Number.POSITIVE_INFINITY) this.#push(wakeAt, sleeper);
  }

  /** Takes one that is due at `now`; undefined when none is. */
  due(now: number): T | undefined {
    while (this.next <= now) {
      const wakeAt = this.next;
      const sleeper = this.#pop();
      if (sleeper !== undefined && sleeper.wakeAt === wakeAt) {
        sleeper.wakeAt = Number.POSITIVE_INFINITY;
        return sleeper;
      }
    }
    return undefined;
  }

  #push(time: number, sleeper: T): void {
    let at = this.#times.push(time) - 1;
    this.#turns.push(this.#nextTurn++);
    this.#sleepers.push(sleeper);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (this.#isBefore(parent, at)) break;
      this.#swap(parent, at);
      at = parent;
    }
  }

  #pop(): T | undefined {
    this.#swap(0, this.#times.length - 1);
    this.#times.pop();
    this.#turns.pop();
    const first = this.#sleepers.pop();
    const { length } = this.#times;
    for (let at = 0; ;) {
      let child = at * 2 + 1;
      if (child >= length) return first;
      if (child + 1 < length && this.#isBefore(child + 1, child)) child++;
      if (this.#isBefore(at, child)) return first;
      this.#swap(child, at);
      at = child;
    }
  }

  #isBefore(one: number, other: number): boolean {
    const times = this.#times;
    const turns = this.#turns;
    const later = (times[one] as number) - (times[other] as number);
    return later < 0 || (later === 0 && (turns[one] as number) < (turns[other] as number));
  }

  #swap(one: number, other: number): void {
    swap(this.#times, one, other);
    swap(this.#turns, one, other);
    swap(this.#sleepers, one, other);
  }
}

function swap<E>(all: E[], one: number, other: number): void {
  const kept = all[one] as E;
  all[one] = all[other] as E;
  all[other] = kept;
}
