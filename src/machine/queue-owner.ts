/**
 * Between a queue that is in memory and who keeps it there: a `QueueState` lives as long as one of
 * its records is resident, and what it leaves behind is two numbers.
 */

import type { Known } from './definition-table.ts';

/** Who keeps the states of queues while there is something in them. */
export interface QueueOwner<State> {
  /** Something of the queue is in memory from now on. */
  woke(state: State): void;
  /** Nothing is any more; never during `apply`. */
  slept(state: State, known: Known): void;
}
