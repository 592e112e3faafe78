/**
 * So many at a time, so many that wait, in order; the next is turned away. What is behind it takes
 * the thread pool, which the disk needs too, or another service.
 */

export interface GateLimits {
  readonly maxAtATime: number;
  readonly maxWaiting: number;
}

export class Gate {
  readonly #limits: GateLimits;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** False: too many wait. Whoever gets true calls `leave`. */
  async enter(): Promise<boolean> {
    if (this.#running < this.#limits.maxAtATime) {
      this.#running++;
      return true;
    }
    if (this.#waiting.length >= this.#limits.maxWaiting) return false;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return true;
  }

  /** The place goes to the next one as it is. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}
