/**
 * Signs of life, of all connections of a node at once, so that an idle one wakes once for them:
 * each time, whoever said nothing since the time before sends an empty batch, and whoever heard
 * nothing for so many times is taken for dead. A node that stood still itself counts one time of
 * it, and then reads what came meanwhile.
 */

import { PULSE_MS } from './peer-limits.ts';

export interface Living {
  pulse(): void;
}

export class Pulse {
  readonly #living = new Set<Living>();
  #timer: NodeJS.Timeout | undefined;

  add(living: Living): void {
    this.#living.add(living);
    this.#timer ??= setInterval(() => this.#beat(), PULSE_MS);
  }

  /** Harmless for one that is not there. */
  delete(living: Living): void {
    this.#living.delete(living);
    if (this.#living.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #beat(): void {
    for (const living of this.#living) living.pulse();
  }
}
