/**
 * The leases of all shards together (`route-lease.ts`): a publish may be routed while all of them
 * hold, since the queues of any shard may capture its topic. Holds nothing else, and asks nobody
 * while nobody publishes.
 */

import type { QueueFreshness } from '../broker/ports.ts';
import { ROUTE_STALE_MS, RouteLease, type RouteLeaseParts } from './route-lease.ts';

/** From then on a lease in use is asked for anew. */
const RENEW_AFTER_MS = ROUTE_STALE_MS / 2;

export interface RouteFreshnessOptions {
  readonly timeoutMs: number;
  readonly now: () => number;
}

export class RouteFreshness implements QueueFreshness {
  readonly timeoutMs: number;
  readonly now: () => number;
  readonly #leases: RouteLease[] = [];
  #listener: (() => void) | undefined;

  constructor({ timeoutMs, now }: RouteFreshnessOptions) {
    this.timeoutMs = timeoutMs;
    this.now = now;
  }

  add({ table, barrier }: Pick<RouteLeaseParts, 'table' | 'barrier'>): void {
    const answered = (): void => this.#listener?.();
    this.#leases.push(new RouteLease({ table, barrier, now: this.now, answered }));
  }

  covers(cameMs: number, nowMs: number): boolean {
    let asOf = Number.POSITIVE_INFINITY;
    for (const lease of this.#leases) if (lease.asOf < asOf) asOf = lease.asOf;
    if (asOf < nowMs - RENEW_AFTER_MS) this.#renew(nowMs);
    return asOf >= cameMs || asOf >= nowMs - ROUTE_STALE_MS;
  }

  onAnswer(listener: () => void): void {
    this.#listener = listener;
  }

  #renew(nowMs: number): void {
    for (const lease of this.#leases) if (lease.asOf < nowMs - RENEW_AFTER_MS) lease.ask();
  }
}
