/** What becomes of an enqueue, a part of the ports of the broker (`ports.ts`). */

import type { Committed } from '../machine/committed.ts';

/** Why a publish was not stored. Closed; each protocol maps every one in one table. */
export const ENQUEUE_REFUSALS = [
  /** `ack_timeout` passed, or only a part is stored: it may be stored, and its key taken. */
  'timeout',
  /** The disk is inside its reserve. */
  'disk-full',
  /** A target queue is full and refuses (`reject-publish`). */
  'queue-full',
  /** None of the targets exists any more. */
  'no-queue',
  /** Larger than `max_message_size`. */
  'too-large',
  /** The store failed or is closed. */
  'unavailable',
  /** This node does not lead the shard, and does not forward (`cluster.write_policy: reject`). */
  'not-leader',
  /** A numbered producer: below its window, or more producers than the queue remembers. */
  'producer-refused',
  /** The session has a later owner. */
  'stale-owner',
  /** A user property that is an option (`x-delay`, ...) has a value that it cannot have. */
  'invalid-option',
  /** No queue takes it, and there are too many to make one more. */
  'too-many-queues',
  /** Its publisher has no right to it, or to have its queue made. */
  'not-authorized',
] as const;
export type EnqueueRefusal = (typeof ENQUEUE_REFUSALS)[number];

export interface EnqueueWaiter {
  /** Once for each `enqueue`; those to the same queues in the order of the calls. */
  enqueued(tag: number, outcome: Committed | EnqueueRefusal): void;
}
