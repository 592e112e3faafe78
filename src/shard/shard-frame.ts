/** What the frames from the shard to its client say, once they are read. Types, and one list. */

import type { CancelReason, EnqueueRefusal, QueueInfo, SettleAnswer } from '../broker/ports.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../machine/ids.ts';

/** Why a number was refused; a timeout is the client's own word. The list only grows at its end. */
export const REFUSAL_REASONS = [
  'no-queue',
  'disk-full',
  'queue-full',
  'too-large',
  'unavailable',
  'producer-refused',
  'stale-owner',
] as const satisfies readonly EnqueueRefusal[];
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** What changed since it was told last. */
export interface QueueChanges {
  readonly queues: readonly QueueInfo[];
  readonly gone: readonly QueueId[];
  /** Nothing is left to be told. */
  readonly complete: boolean;
}

export interface Refusal {
  readonly number: number;
  readonly reason: RefusalReason;
}

/** All of a delivery but its term and its message. */
export interface DeliveryFrameHeader {
  readonly consumer: number;
  readonly queueId: QueueId;
  readonly offset: Offset;
  readonly deliveryNumber: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

/** A stored message inside of some bytes. */
export interface StoredSlice {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

export interface DeliveryFrame extends DeliveryFrameHeader, StoredSlice {
  readonly kind: 'delivery';
  readonly term: number;
}

/** Of the route; 0: nobody is reached now. */
export interface SessionFrame {
  readonly kind: 'session';
  readonly session: number;
  /** As far as this node knows, '' unknown. */
  readonly leader: string;
  /** The replica of this node can be read. */
  readonly readsHere: boolean;
}

/** Deliveries one after the other, of messages that the sender's own replica holds. */
export interface NamedFrame {
  readonly kind: 'named';
  readonly consumer: number;
  readonly queueId: QueueId;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
  /** So many: offsets and delivery numbers go up by one. */
  readonly count: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  /** A replica that has applied this entry has them all. */
  readonly index: LogIndex;
}

export type ShardFrame =
  | { readonly kind: 'opened'; readonly boot: number }
  | ({ readonly kind: 'queues' } & QueueChanges)
  | { readonly kind: 'confirmed'; readonly upTo: number; readonly refusals: readonly Refusal[] }
  | { readonly kind: 'busy' }
  | { readonly kind: 'resume' }
  | DeliveryFrame
  | {
      readonly kind: 'cancelled';
      readonly consumer: number;
      readonly reason: CancelReason;
      readonly detail: string;
    }
  | {
      readonly kind: 'attached';
      readonly consumer: number;
      readonly groupId: GroupId;
      readonly group: string;
    }
  | { readonly kind: 'settled'; readonly tag: number; readonly answer: SettleAnswer }
  | {
      readonly kind: 'ended';
      readonly consumer: number;
      readonly offset: Offset;
      readonly deliveryNumber: number;
    }
  /** The body is a view of the batch. */
  | {
      readonly kind: 'reply';
      readonly id: number;
      readonly accepted: boolean;
      readonly body: Uint8Array;
    }
  | SessionFrame
  | NamedFrame
  /** Of the route: the deliveries of this batch are read from this node's replica. */
  | { readonly kind: 'filled' }
  /** Of the route: what this consumer is to get cannot be read here. */
  | { readonly kind: 'unread'; readonly consumer: number }
  | { readonly kind: 'worked'; readonly batches: number }
  | { readonly kind: 'failed'; readonly why: string };
