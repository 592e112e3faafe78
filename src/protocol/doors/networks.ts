/**
 * What each network has at a door: its connections, and how fast it opens them. So nobody takes the
 * places of all others, or the time that accepting costs.
 *
 * Bounded by the connections that are open, and beside them by `IDLE_MAX` networks that have none
 * and are remembered until they may open as many as ever. Of more than these the one that left
 * first is forgotten, and begins anew.
 */

import { type Rate, TokenBucket } from '../token-bucket.ts';

export interface NetworkLimits {
  /** At a time; 0: no bound. */
  readonly maxConnections: number;
  /** Of new connections; undefined: no bound. */
  readonly rate: Rate | undefined;
}

export type NetworkRefusal = 'connections' | 'rate';

interface Network {
  connections: number;
  readonly bucket: TokenBucket | undefined;
}

export const IDLE_MAX = 16_384;

export class Networks {
  readonly #limits: NetworkLimits;
  readonly #here = new Map<string, Network>();
  /** Without connections, in the order in which they lost their last one. */
  readonly #idle = new Map<string, Network>();

  constructor(limits: NetworkLimits) {
    this.#limits = limits;
  }

  /** All that are known, with connections or without. */
  get count(): number {
    return this.#here.size + this.#idle.size;
  }

  /** Undefined: it is in, and `leave` is owed for it. */
  enter(name: string, now: number): NetworkRefusal | undefined {
    const { maxConnections } = this.#limits;
    const network = this.#here.get(name) ?? this.#idle.get(name) ?? this.#stranger(now);
    if (maxConnections > 0 && network.connections >= maxConnections) return 'connections';
    if (network.bucket?.has(1, now) === false) return 'rate';
    network.bucket?.spend(1, now);
    if (network.connections++ === 0) {
      this.#idle.delete(name);
      this.#here.set(name, network);
    }
    return undefined;
  }

  leave(name: string, now: number): void {
    const network = this.#here.get(name);
    if (network === undefined || --network.connections > 0) return;
    this.#here.delete(name);
    if (network.bucket?.isFull(now) !== false) return;
    if (this.#idle.size >= IDLE_MAX) this.#forgetOne();
    this.#idle.set(name, network);
  }

  /** Forgets those that time made equal to strangers. */
  sweep(now: number): void {
    for (const [name, network] of this.#idle) {
      // Those behind it left later, and are seen when it is gone.
      if (network.bucket?.isFull(now) === false) return;
      this.#idle.delete(name);
    }
  }

  #stranger(now: number): Network {
    const { rate } = this.#limits;
    return { connections: 0, bucket: rate && new TokenBucket(rate, now) };
  }

  #forgetOne(): void {
    for (const name of this.#idle.keys()) {
      this.#idle.delete(name);
      return;
    }
  }
}
