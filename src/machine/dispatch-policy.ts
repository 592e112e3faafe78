/**
 * Who gets which message next: the pure soft state of one group's deliveries on the leader (API).
 *
 * Times are stamps of the leader (the same clock as `notBefore`). Nothing here is durable; a delivery costs
 * no log write. Consumers are named by numbers that the caller gives and never uses again.
 */

import type { QueueLimits } from './definitions.ts';
import type { Offset } from './ids.ts';
import type { SettleOutcome } from './command.ts';

/** A group as it was when dispatching began. */
export interface DispatchStart {
  readonly floor: Offset;
  readonly nextOffset: Offset;
  readonly limits: QueueLimits;
  /** Settled offsets above the floor, a bitmap of 4,096 bits for each chunk that has any; copies. */
  readonly settled: ReadonlyMap<number, Uint32Array>;
  /** Messages that were requeued and are not settled. */
  readonly requeued: readonly { offset: number; attempts: number; notBefore: number }[];
}

/** Deliveries that `claim` decided, in columns that are used again. */
export declare class Claims {
  get length(): number;
  clear(): void;
  consumer(at: number): number;
  offset(at: number): Offset;
  deliveryNumber(at: number): number;
  /** 1 for the first. */
  attempt(at: number): number;
  redelivered(at: number): boolean;
}

/** What is to be done with a settlement that a client asked for. */
export type SettleVerdict =
  /** Propose a Settle command; tell `proposalFailed` if that cannot be done. */
  | 'propose'
  /** Settled already, or under way: nothing to do, and nothing wrong. */
  | 'settled'
  /** A requeue or discard that is not from the current delivery, or an offset that was never delivered. */
  | 'stale';

export interface DispatchPolicyOptions {
  readonly term: number;
  readonly start: DispatchStart;
  /** Messages below this may have been delivered before `start`: their delivery is marked redelivered. */
  readonly seenBelow: number;
}

export declare class DispatchPolicy {
  constructor(options: DispatchPolicyOptions);

  // What apply did, in its order.
  enqueued(offset: Offset): void;
  settled(offset: Offset, floor: Offset): void;
  requeued(offset: Offset, attempts: number, notBefore: number): void;
  limitsChanged(limits: QueueLimits): void;

  // Consumers.
  attach(consumer: number, credit: number): void;
  grant(consumer: number, deliveries: number): void;
  /**
   * `lost`: adds to `requeue` the offsets for which the caller proposes Settle requeue with cause `lost`;
   * `returned`: what it held is due again at once, without an attempt.
   */
  close(consumer: number, how: 'lost' | 'returned', requeue: Offset[]): void;
  get consumers(): number;

  // Deliveries.
  /** Decides up to `max` deliveries into `into` (added, not cleared); the count. */
  claim(now: number, max: number, into: Claims): number;
  settle(offset: Offset, term: number, deliveryNumber: number, outcome: SettleOutcome): SettleVerdict;
  /** Adds up to `max` offsets whose visibility timeout passed: propose Settle requeue, cause `timeout`. */
  expire(now: number, max: number, requeue: Offset[]): number;
  /** A proposal that `settle`, `expire` or `close` asked for was refused: as if it had not been asked. */
  proposalFailed(offset: Offset, now: number): void;
  /** A claimed delivery that never left: back at once with its credit, no attempt, no redelivery mark. */
  unclaim(offset: Offset): void;
  /** The payload cannot be read: not delivered again while this policy lives; credit goes back. */
  withhold(offset: Offset): void;

  /** When to call `expire` and `claim` next although nothing happens; Infinity: not at all. */
  nextWake(): number;
  /** The offset that holds new messages back (`max_unsettled_span`), if one does. */
  stuck(): Offset | undefined;
  /** Deliveries held by consumers now. */
  get delivered(): number;
  /** Messages waiting for a redelivery. */
  get waiting(): number;
  get withheld(): readonly Offset[];
}
