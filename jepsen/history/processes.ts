/**
 * Numbers of processes, as Jepsen counts them: one operation at a time each, and never again after
 * an operation of which nobody knows how it ended.
 */

export class Processes {
  readonly #free: number[] = [];
  #next = 0;

  take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    this.#next += 1;
    return this.#next - 1;
  }

  /** After `ok` or `fail`; after `info` the number is not given back. */
  giveBack(process: number): void {
    this.#free.push(process);
  }
}
