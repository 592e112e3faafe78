/**
 * The clock and the randomness of the real world, behind their ports. Who asks for the same
 * interval in one thread shares one timer of the system: a wake-up costs more than what most of
 * them do in it.
 */

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

class Share implements Timer {
  readonly action: () => void;
  readonly #left: (share: Share) => void;

  constructor(action: () => void, left: (share: Share) => void) {
    this.action = action;
    this.#left = left;
  }

  cancel(): void {
    this.#left(this);
  }
}

/** One timer for all who share an interval; it runs as long as there are any. */
class Interval {
  readonly #ms: number;
  readonly #shares = new Set<Share>();
  #handle: NodeJS.Timeout | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  share(action: () => void): Timer {
    const share = new Share(action, (left) => this.#left(left));
    this.#shares.add(share);
    this.#handle ??= setInterval(() => this.#beat(), this.#ms);
    return share;
  }

  #beat(): void {
    for (const share of this.#shares) share.action();
  }

  #left(share: Share): void {
    this.#shares.delete(share);
    if (this.#shares.size > 0) return;
    clearInterval(this.#handle);
    this.#handle = undefined;
  }
}

/** By milliseconds. There are as many as the program has kinds of intervals. */
const intervals = new Map<number, Interval>();

function every(ms: number, action: () => void): Timer {
  const interval = intervals.get(ms) ?? new Interval(ms);
  intervals.set(ms, interval);
  return interval.share(action);
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  after: (ms, action) => new SystemTimer(ms, action),
  every,
  soon: (action) => queueMicrotask(action),
  later: (action) => void setImmediate(action),
};

/** From [0, 1), for election time-outs: two replicas that start together must not draw the same. */
export function systemRandom(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] as number) / 0x1_0000_0000;
}
