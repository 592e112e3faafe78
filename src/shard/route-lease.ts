/**
 * For how long this node may route by what a shard told it of its queues.
 *
 * ```
 *   t0: the clock is read, a barrier is asked ---> answered ---> may be used until t0 + 500 ms
 *                                                      \---> covers whatever came before t0
 * ```
 *
 * A barrier proves that whoever tells the queues led at t0 or later, and comes behind all changes
 * that were committed by then. A leader tells no SUBACK before every node that may hold a lease has
 * worked off the change, or that lease is over (`lease-holders.ts`): so a publish that comes behind
 * the SUBACK finds the session, or no lease. No timer ends a lease: whoever routes reads the clock,
 * so that a process that was stopped cannot use an old one.
 *
 * The answer to a barrier counts only for the telling of the queues in which it was asked: another
 * leader, one who is deposed and does not know it, may tell older ones.
 */

import { AdminError } from '../broker/ports.ts';
import type { QueueTable } from './queue-table.ts';
import { ShardError } from './shard-error.ts';

/**
 * What a node knows of the queues of a shard may be used for so long, in milliseconds, from the
 * moment at which it asked. The same on all nodes of a cluster: no configuration changes it.
 */
export const ROUTE_STALE_MS = 500;
/**
 * A leader waits so much longer than a lease lasts, in milliseconds: for clocks of nodes of which
 * one runs up to a tenth faster than the other, and for timers that fire early.
 */
export const ROUTE_STALE_MARGIN_MS = 50;

export interface RouteLeaseParts {
  readonly table: Pick<QueueTable, 'asOf' | 'tellings' | 'proven'>;
  /**
   * Resolves when the table shows what was committed before this call; false: it is not everything
   * all the same. Rejects with an AdminError or ShardError when nobody could be asked.
   */
  readonly barrier: () => Promise<boolean>;
  readonly now: () => number;
  /** A question was answered, or could not be. */
  readonly answered: () => void;
}

export class RouteLease {
  readonly #parts: RouteLeaseParts;
  #isAsking = false;

  constructor(parts: RouteLeaseParts) {
    this.#parts = parts;
  }

  /** The table shows everything that anybody was told before this moment. */
  get asOf(): number {
    return this.#parts.table.asOf;
  }

  /** Unless that is under way. */
  ask(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const { table, barrier, now, answered } = this.#parts;
    const { tellings } = table;
    const askedAt = now();
    const isComplete = await barrier().catch(nobodyThere);
    this.#isAsking = false;
    if (isComplete && table.tellings === tellings) table.proven(askedAt);
    answered();
  }
}

function nobodyThere(error: unknown): false {
  if (error instanceof AdminError || error instanceof ShardError) return false;
  throw error;
}
