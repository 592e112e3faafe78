/**
 * The shards that there are beside shard 0, in which their map lies: who founded each, and which
 * nodes have a replica of it.
 *
 * A row is made once, in order of number, and never goes: a queue's id names its shard for good.
 * Its founders stay as they were; hosts come and go. The first founder is the one that leads, where
 * that can be chosen.
 */

export interface ShardRow {
  /** From 1, without gaps. */
  readonly number: number;
  /** Node ids; the first voters. */
  readonly founders: readonly string[];
  /** Nodes that have a replica, or are to have one; at first the founders. */
  readonly hosts: readonly string[];
}

/** In order of number. */
export type ShardMap = readonly ShardRow[];
