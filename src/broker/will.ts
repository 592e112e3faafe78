/**
 * Wills that wait for their delay after the connection was lost (MQTT 5.0 section 3.1.3.2.2).
 *
 * One a client at most. Whose session ends meanwhile is published at once, whose client comes back
 * never. In memory: a will that waits while the broker dies is lost, and the documentation says so.
 */

import type { Clock, Will } from './ports.ts';

interface WaitingWill {
  readonly will: Will;
  readonly dueMs: number;
}

export class Wills {
  readonly #clock: Clock;
  readonly #publish: (will: Will) => void;
  readonly #waiting = new Map<string, WaitingWill>();

  constructor(clock: Clock, publish: (will: Will) => void) {
    this.#clock = clock;
    this.#publish = publish;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  after(will: Will, delayMs: number): void {
    this.now(will.origin.clientId);
    if (delayMs <= 0) this.#publish(will);
    else this.#waiting.set(will.origin.clientId, { will, dueMs: this.#clock.now() + delayMs });
  }

  cancel(clientId: string): void {
    this.#waiting.delete(clientId);
  }

  now(clientId: string): void {
    const waiting = this.#waiting.get(clientId);
    if (waiting === undefined) return;
    this.#waiting.delete(clientId);
    this.#publish(waiting.will);
  }

  /** Publishes those that are due; their number is bounded by that of the sessions. */
  tick(): void {
    const now = this.#clock.now();
    for (const [clientId, { dueMs }] of this.#waiting) {
      if (dueMs <= now) this.now(clientId);
    }
  }
}
