/**
 * One timer for many: which of the sleepers is due first. A binary heap; a sleeper that is set
 * again keeps its old place in the heap until that comes up and is skipped, so that moving a
 * deadline costs O(log n) and removing one costs nothing. Knows no clock and sets no timer.
 */

export interface Sleeper {
  /** When it wants to wake; Infinity: not at all. Written by the heap alone. */
  wakeAt: number;
}

export class WakeHeap<T extends Sleeper> {
  readonly #times: number[] = [];
  readonly #sleepers: T[] = [];

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
    const sleepers = this.#sleepers;
    let at = times.length;
    times.push(time);
    sleepers.push(sleeper);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if ((times[parent] as number) <= time) break;
      times[at] = times[parent] as number;
      sleepers[at] = sleepers[parent] as T;
      at = parent;
    }
    times[at] = time;
    sleepers[at] = sleeper;
  }

  #pop(): T | undefined {
    const times = this.#times;
    const sleepers = this.#sleepers;
    const first = sleepers[0];
    const time = times.pop();
    const sleeper = sleepers.pop();
    if (time === undefined || sleeper === undefined || times.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= times.length) break;
      if (child + 1 < times.length && (times[child + 1] as number) < (times[child] as number))
        child++;
      if ((times[child] as number) >= time) break;
      times[at] = times[child] as number;
      sleepers[at] = sleepers[child] as T;
      at = child;
    }
    times[at] = time;
    sleepers[at] = sleeper;
    return first;
  }
}
