/**
 * The nodes that may route by a lease (`route-lease.ts`) and whom this leader cannot tell that the
 * queues have changed: those whose session with it is over, and, at the beginning of its term,
 * those that were served by the leader before and have not come yet.
 *
 * ```
 *   term begins ---> may hold ---(comes)--------> is told itself
 *   left -------------^    \-----(time is over)-> holds none
 * ```
 *
 * Who comes again has given up what it held before it said so. A node that is down for longer than
 * a lease holds nobody up. Soft state of the leader.
 */

import { ROUTE_STALE_MARGIN_MS, ROUTE_STALE_MS } from './route-lease.ts';

/** In milliseconds; a lease that was given at a moment is over so long behind it, on any clock. */
export const LEASE_OVER_MS = ROUTE_STALE_MS + ROUTE_STALE_MARGIN_MS;

interface Waiting {
  readonly nodes: Set<string>;
  readonly over: () => void;
}

export class LeaseHolders {
  readonly #monotonicMs: () => number;
  /** Until when each may hold one. */
  readonly #until = new Map<string, number>();
  readonly #waiting = new Set<Waiting>();

  /** `nodes`: all that route to this shard. The term has begun: nobody else gives leases. */
  constructor(nodes: Iterable<string>, monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
    for (const node of nodes) this.left(node);
  }

  /** Its session is over. */
  left(node: string): void {
    this.#until.set(node, this.#monotonicMs() + LEASE_OVER_MS);
  }

  /** It has a session, and has begun to listen in it. */
  came(node: string): void {
    this.#until.delete(node);
    for (const { nodes, over } of this.#waiting) {
      nodes.delete(node);
      if (nodes.size === 0) over();
    }
  }

  /** Resolves when none of those that may hold a lease now does any more. */
  async over(): Promise<void> {
    const now = this.#monotonicMs();
    let last = now;
    for (const [node, until] of this.#until) {
      if (until <= now) this.#until.delete(node);
      else last = Math.max(last, until);
    }
    if (this.#until.size === 0) return;
    const nodes = new Set(this.#until.keys());
    let timer: NodeJS.Timeout | undefined;
    let waiting: Waiting | undefined;
    await new Promise<void>((resolve) => {
      waiting = { nodes, over: resolve };
      this.#waiting.add(waiting);
      timer = setTimeout(resolve, Math.ceil(last - now));
    });
    clearTimeout(timer);
    if (waiting !== undefined) this.#waiting.delete(waiting);
  }
}
