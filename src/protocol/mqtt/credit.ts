/**
 * How many deliveries of a queue may be under way to one client: few at first, more with each batch
 * that it took whole, few again where messages are large. What it may hold unsettled is a bound of
 * its own, which the caller tells.
 */

const FIRST_BURST = 8;

export class CreditWindow {
  readonly #maxBurst: number;
  /** Bytes under way that are aimed at. */
  readonly #maxBytes: number;
  #burst: number;
  /** Granted and not arrived. */
  #credit: number;
  #largestBytes = 1;

  /** `maxBurst` deliveries may be under way at most, 1 to 65,535. */
  constructor(maxBurst: number, maxBytes: number) {
    this.#maxBurst = maxBurst;
    this.#maxBytes = maxBytes;
    this.#burst = Math.min(FIRST_BURST, maxBurst);
    this.#credit = this.#burst;
  }

  /** What is granted now and did not arrive; at first, what to ask for. */
  get outstanding(): number {
    return this.#credit;
  }

  arrived(bytes: number): void {
    this.#credit--;
    // It forgets slowly: one small message among large ones says nothing.
    this.#largestBytes = Math.max(bytes, 1, this.#largestBytes * 0.98);
  }

  batchEnd(): void {
    // All that was under way has arrived: more may be next time, once the socket has taken it.
    if (this.#credit === 0) this.#burst = Math.min(this.#burst * 2, this.#maxBurst);
  }

  /** How many more to ask for, where the client may get `room` more than it holds; 0: none now. */
  grant(room: number): number {
    const byBytes = Math.max(1, Math.floor(this.#maxBytes / this.#largestBytes));
    const more = Math.min(room, this.#burst, byBytes) - this.#credit;
    if (more <= 0) return 0;
    this.#credit += more;
    return more;
  }
}
