/**
 * The deliveries of a queue, a part of the ports of the broker (`ports.ts`): what reaches a
 * consumer, how it settles, and why it ends.
 *
 * No promise and no closure a message.
 */

import type { Offset, QueueId } from '../machine/ids.ts';
import type { Message } from './message.ts';

/** Who published: stamped by the broker under the reserved `_flux.` prefix. */
export interface Origin {
  readonly clientId: string;
  /** Undefined: it did not say who it is. */
  readonly user?: string | undefined;
  readonly protocol: 'mqtt';
}

export type SettleOutcome = 'complete' | 'requeue' | 'discard';

export interface Delivery {
  readonly queueId: QueueId;
  readonly queueName: string;
  readonly groupName: string;
  readonly offset: Offset;
  /** (term, number) names this delivery; a requeue or discard counts only from the current one. */
  readonly term: number;
  readonly deliveryNumber: number;
  /** 1 for the first delivery attempt; redelivery without an attempt keeps it. */
  readonly attempt: number;
  readonly redelivered: boolean;
  /** Who published it. */
  readonly origin: Origin;
  /** Milliseconds since 1970-01-01 UTC; message expiry counts from here. */
  readonly publishedAtMs: number;
  /** Its bytes are views that are valid during the call only. */
  readonly message: Message;
}

/** Implemented by a frontend; lives as long as its consumer. */
export interface ConsumerSink {
  /** Once, before the first delivery: the group exists, and this consumer is its member. */
  attached(groupName: string): void;
  delivered(delivery: Delivery): void;
  /** After the deliveries of one batch: time to write to the socket once. */
  batchEnd(): void;
  /**
   * Of a manual consumer alone: a delivery of its ended otherwise than by `close`, and its place is
   * free again (the credit comes back by `grant` alone).
   */
  ended(offset: Offset, deliveryNumber: number): void;
  /** Nothing follows. `refused`: it was never a member; `detail` says why, for people. */
  cancelled(reason: CancelReason, detail: string): void;
}

/** On the wire by its place in this list, so the list only grows at its end. */
export const CANCEL_REASONS = [
  'queue-deleted',
  'unavailable',
  'group-deleted',
  'refused',
  /** Of a session's queue: another owner has claimed the session. */
  'taken-over',
] as const;
export type CancelReason = (typeof CANCEL_REASONS)[number];

export interface QueueConsumer {
  /** More deliveries may be sent: adds to the credit. */
  grant(deliveries: number): void;
  /**
   * Idempotent. `complete` counts always, also after `close`; the others only from the current
   * delivery, and not after `close`.
   */
  settle(offset: Offset, term: number, deliveryNumber: number, outcome: SettleOutcome): void;
  /**
   * Ends the consumer. `lost`: its connection died, and what it held counts as an attempt;
   * `returned`: it handed back what it held unprocessed, which does not count.
   */
  close(how: 'lost' | 'returned'): void;
}
