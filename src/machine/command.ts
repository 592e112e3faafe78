/**
 * What a shard's log says: every durable change is one of these commands.
 *
 * A command is data. The machine keeps no reference to it after `apply` returned, nor to its
 * `targets`, so a hot path may fill one object again and again; the strings, topics and limits of a
 * declaration are kept and must not change. Limits travel in the command and not in a node's
 * configuration, or two configuration files would make two states.
 */

import type { QueueLimits, QueueType } from './definitions.ts';
import type { GroupId, Offset, QueueId } from './ids.ts';

/**
 * Why a leader gives a stream's number away without a message (`void`); the sender hears it as a
 * refusal.
 */
export const VOID_REASONS = ['disk-full', 'queue-full', 'too-large', 'unavailable'] as const;
export type VoidReason = (typeof VOID_REASONS)[number];

export const SETTLE_OUTCOMES = ['complete', 'requeue', 'discard'] as const;
export type SettleOutcome = (typeof SETTLE_OUTCOMES)[number];

/**
 * Who asked for a settlement: the client, a visibility timeout, a lost connection, a hand-back
 * unprocessed.
 */
export const SETTLE_CAUSES = ['client', 'timeout', 'lost', 'returned'] as const;
export type SettleCause = (typeof SETTLE_CAUSES)[number];

/** Starts the stream of a sender anew: its boot goes up by one, its numbers start again at 1. */
export interface OpenStreamCommand {
  readonly kind: 'open-stream';
  readonly node: string;
}

/** The place of a command in its sender's stream; see `streams.ts`. */
export interface NumberedCommand {
  readonly node: string;
  readonly boot: number;
  /** From 1, without gaps. */
  readonly number: number;
  /** The sender knows the outcome of this number and of all below it. */
  readonly answeredUpTo: number;
}

export interface EnqueueCommand extends NumberedCommand {
  readonly kind: 'enqueue';
  /**
   * At most `MAX_TARGETS`; a queue named twice is appended to once; one that is gone is skipped.
   */
  readonly targets: readonly QueueId[];
  /** Stored size of the message. */
  readonly bytes: number;
}

export interface VoidCommand extends NumberedCommand {
  readonly kind: 'void';
  readonly reason: VoidReason;
}

export interface SettleCommand {
  readonly kind: 'settle';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly offset: Offset;
  readonly outcome: SettleOutcome;
  /** Matters for `requeue` alone. */
  readonly cause: SettleCause;
}

export interface DeclareQueueCommand {
  readonly kind: 'declare-queue';
  readonly name: string;
  readonly type: QueueType;
  readonly topics: readonly string[];
  readonly limits: QueueLimits;
}

export interface UpdateQueueCommand {
  readonly kind: 'update-queue';
  readonly queueId: QueueId;
  readonly limits: QueueLimits;
}

export interface DeleteQueueCommand {
  readonly kind: 'delete-queue';
  readonly queueId: QueueId;
}

/** Raises the version of the rules; proposed once every voter knows it. */
export interface SetVersionCommand {
  readonly kind: 'set-version';
  readonly version: number;
}

export type Command =
  | OpenStreamCommand
  | EnqueueCommand
  | VoidCommand
  | SettleCommand
  | DeclareQueueCommand
  | UpdateQueueCommand
  | DeleteQueueCommand
  | SetVersionCommand;

/** Bounds what one `apply` touches. */
export const MAX_TARGETS = 256;
