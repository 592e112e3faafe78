/**
 * Whether another service is asked at all. So many failures in a row, and it is left alone for a
 * while; then one question goes through, and its outcome decides. Who is not let through is told at
 * once, so a service that hangs takes neither places nor time.
 */

export interface CircuitLimits {
  /** In a row. */
  readonly failures: number;
  readonly pauseMs: number;
}

export class Circuit {
  readonly #limits: CircuitLimits;
  readonly #now: () => number;
  #failures = 0;
  #openUntilMs = Number.NEGATIVE_INFINITY;
  #isProbed = false;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(limits: CircuitLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  get isOpen(): boolean {
    return this.#failures >= this.#limits.failures;
  }

  /** Whoever is let through tells `succeeded` or `failed`. */
  enter(): boolean {
    if (!this.isOpen) return true;
    if (this.#isProbed || this.#now() < this.#openUntilMs) return false;
    this.#isProbed = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#isProbed = false;
  }

  failed(): void {
    this.#failures++;
    this.#isProbed = false;
    if (this.isOpen) this.#openUntilMs = this.#now() + this.#limits.pauseMs;
  }
}
