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
    const times = this.#times;
    let at = times.push(time) - 1;
    this.#turns.push(0);
    this.#sleepers.push(sleeper);
    // Those with the same time were set before.
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if ((times[parent] as number) <= time) break;
      this.#move(parent, at);
      at = parent;
    }
    times[at] = time;
    this.#turns[at] = this.#nextTurn++;
    this.#sleepers[at] = sleeper;
  }

  #pop(): T | undefined {
    const times = this.#times;
    const turns = this.#turns;
    const sleepers = this.#sleepers;
    const first = sleepers[0];
    const time = times.pop() as number;
    const turn = turns.pop() as number;
    const sleeper = sleepers.pop() as T;
    const { length } = times;
    if (length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#isBefore(child + 1, child)) child++;
      const childTime = times[child] as number;
      if (time < childTime || (time === childTime && turn < (turns[child] as number))) break;
      this.#move(child, at);
      at = child;
    }
    times[at] = time;
    turns[at] = turn;
    sleepers[at] = sleeper;
    return first;
  }

  #isBefore(one: number, other: number): boolean {
    const times = this.#times;
    const turns = this.#turns;
    const later = (times[one] as number) - (times[other] as number);
    return later < 0 || (later === 0 && (turns[one] as number) < (turns[other] as number));
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from] as number;
    this.#turns[to] = this.#turns[from] as number;
    this.#sleepers[to] = this.#sleepers[from] as T;
  }
}
