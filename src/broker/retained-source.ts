/**
 * The port between the broker and the shard that keeps retained messages: an internal queue, to
 * which each publish with RETAIN is appended, and of which each node reads every message in order.
 *
 * The order of the queue is what counts: of two messages of a topic the one with the higher offset
 * is the newer, on every node. What a newer one has taken the place of is settled by the node that
 * leads, and is gone then.
 */

import type { QueueId } from '../machine/ids.ts';
import type { Origin } from './consumer.ts';
import type { Message } from './message.ts';

export interface StoredRetained {
  readonly offset: number;
  /** Its bytes are its own; an empty payload says that the topic has none any more. */
  readonly message: Message;
  readonly origin: Origin;
  /** Milliseconds since it was published, by the clock of this node; from 0. */
  readonly ageMs: number;
}

/** A stretch of the queue, in order. */
export interface RetainedPart {
  readonly from: number;
  /** Everything below was looked at. */
  readonly next: number;
  /** What is still kept of it. */
  readonly messages: readonly StoredRetained[];
  /** All that this node has published with a stream number up to this one is below `next`. */
  readonly ownUpTo: number;
  /** This node leads: what is kept no more is its to settle. */
  readonly leads: boolean;
}

/** Offsets [from, to). */
export type OffsetRange = readonly [from: number, to: number];

/** Every promise rejects with an error when nobody could answer; all may be asked again. */
export interface RetainedSource {
  /** Makes the queue, where it is not there; its id, to which publishes with RETAIN go. */
  open(): Promise<QueueId>;
  /** As of now, by the word of who leads: all that was acknowledged anywhere lies below. */
  end(): Promise<number>;
  /**
   * The messages from `from` on, as far as this node has them; waits for one where there is none.
   * `until`: it is known that there are messages up to there.
   */
  read(from: number, until: number): Promise<RetainedPart>;
  /** Which offsets of [from, to) are kept, as far as `end` (above `from`), ascending. */
  kept(
    from: number,
    to: number,
  ): Promise<{ readonly end: number; readonly ranges: readonly OffsetRange[] }>;
  /** Nobody needs these any more. Ascending; done in this order. */
  settle(ranges: readonly OffsetRange[]): Promise<void>;
  /** Nothing can be read any more, and never again. */
  readonly isClosed: boolean;
}
