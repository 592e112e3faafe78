/** The clock and the randomness of the real world, behind their ports. */

import type { Clock, Timer } from './ports.ts';

class SystemTimer implements Timer {
  readonly #handle: NodeJS.Timeout;

  constructor(ms: number, action: () => void) {
    this.#handle = setTimeout(action, ms);
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  after: (ms, action) => new SystemTimer(ms, action),
  soon: (action) => queueMicrotask(action),
  later: (action) => void setImmediate(action),
};

/** From [0, 1), for election time-outs: two replicas that start together must not draw the same. */
export function systemRandom(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] as number) / 0x1_0000_0000;
}
