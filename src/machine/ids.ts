/**
 * The numbers that name things in a shard, branded so that they cannot be mixed up.
 *
 * All are safe non-negative integers. A QueueId is never used again, also after its queue was
 * deleted, so that a settlement for a deleted queue cannot touch its successor. An Offset counts
 * the messages of one queue from 0. A LogIndex counts the entries of the shard's log from 1.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = number & { readonly [brand]: Name };

export type QueueId = Branded<'QueueId'>;
export type Offset = Branded<'Offset'>;
/** Names a consumer group within its queue. */
export type GroupId = Branded<'GroupId'>;
export type LogIndex = Branded<'LogIndex'>;

/**
 * Milliseconds since 1970-01-01 UTC as stamped on commands by the leader; never goes back within a
 * shard.
 */
export type StampMs = Branded<'StampMs'>;

/** The group named `default`: what a queue with `default_group: shared` has from its start on. */
export const DEFAULT_GROUP = 0 as GroupId;
export const DEFAULT_GROUP_NAME = 'default';

/** The shard's own queue in which delayed messages wait; no definition names it. */
export const DELAYED_QUEUE = 0 as QueueId;

/** Shards have numbers from 0 to below this. */
export const SHARDS_MAX = 64;
/** 2^40. A shard gives no more ids than this, and never those of another. */
const IDS_OF_SHARD = 1_099_511_627_776;

/** The first queueId that a new shard gives. */
export function firstQueueIdOf(shard: number): number {
  return shard * IDS_OF_SHARD + 1;
}

/**
 * In which shard a queue is: its id says so, for good. `SHARDS_MAX` or more: in none of them (a
 * queue in memory).
 */
export function shardOf(queueId: QueueId): number {
  return Math.floor(queueId / IDS_OF_SHARD);
}
