/**
 * What a dispatch policy is given, and its words: how a group stood when its deliveries began, and
 * how a settlement that a client asked for is judged. Plain data.
 */

import type { QueueLimits } from './definitions.ts';
import type { Offset } from './ids.ts';
import type { NewMessagesStart } from './new-messages.ts';

/** A group as it was when dispatching began. */
export interface DispatchStart extends NewMessagesStart {
  readonly limits: QueueLimits;
  /** Messages that were requeued and are not settled. */
  readonly requeued: readonly RequeuedMessage[];
}

export interface RequeuedMessage {
  readonly offset: number;
  readonly attempts: number;
  readonly notBefore: number;
}

/** What is to be done with a settlement that a client asked for. */
export type SettleVerdict =
  /** Propose a Settle command; tell `proposalFailed` if that cannot be done. */
  | 'propose'
  /**
   * Settled already, or that is under way, or a requeue in a stream: nothing to do, and nothing
   * wrong.
   */
  | 'settled'
  /**
   * A requeue or discard that is not from the current delivery, or an offset that does not exist.
   */
  | 'stale';

export interface DispatchPolicyOptions {
  readonly term: number;
  readonly start: DispatchStart;
  /**
   * Messages below this may have been delivered before the start: their delivery is a redelivery.
   */
  readonly seenBelow: number;
  /** The group is of a stream, or of a session: no attempts are counted. */
  readonly isStream: boolean;
  /**
   * The number of the first delivery: above those of a policy that this one replaces in the same
   * term.
   */
  readonly firstDeliveryNumber: number;
}

/** A delivery, as its consumer names it. */
export interface DeliveryName {
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
}
