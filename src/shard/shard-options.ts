/** What a shard is made of: its stores, its port, its limits. Types only. */

import type { RecordStore, Runs } from '#storage';
import type { Position } from '../machine/command.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import type { ShardMap } from '../machine/shard-map.ts';
import type { MemberRequest } from './member-requests.ts';
import type { OtherShards } from './other-shards.ts';
import type { BatchPort } from './port.ts';
import type { PlainData } from './record-codec.ts';
import type { ShardLimits } from './shard-limits.ts';
import type { ShardLog } from './shard-log.ts';
import type { ShardLogger } from './shard-logger.ts';
import type { Clock } from './stamp-clock.ts';

/** Who serves the shard, as far as this node knows. */
export type ShardLead =
  | { readonly kind: 'here' }
  /** A replica's name, as in `ShardLogFollower.follows`. */
  | { readonly kind: 'there'; readonly server: string }
  | { readonly kind: 'nobody' };

export interface ShardOptions {
  readonly node: string;
  readonly log: ShardLog;
  /** Closed by the shard. */
  readonly records: RecordStore;
  /** Closed by the shard. Undefined: payloads stay in the log, for a shard in memory. */
  readonly runs: Runs | undefined;
  /** Of the one sender that is served without a route; undefined: `Shard.serve` serves them. */
  readonly port: BatchPort | undefined;
  /** Nodes whose consumers may hold what another leader delivered; default none. */
  readonly nodes?: () => readonly string[];
  /**
   * The queues of the configuration: declared, or brought to these limits, before anybody is
   * served.
   */
  readonly queues: readonly QueueDefinition[];
  /** Explicit groups of theirs, made where they are missing. */
  readonly groups?: readonly ConfiguredGroup[];
  readonly limits: ShardLimits;
  readonly clock: Clock;
  readonly logger: ShardLogger;
  /** The disk is inside its reserve. */
  inReserve(): boolean;
  /** A write of a run found no room. */
  diskFull(): void;
  /**
   * Which of the shards this is, 0 to below `SHARDS_MAX`; default 0, in which the names of the
   * queues of all shards are, and the map of the shards.
   */
  readonly number?: number;
  /** Of a shard in memory: the first queueId that it gives. */
  readonly firstQueueId?: number;
  /** Of shard 0, whether it leads or not: the map as of its start, and whenever it is another. */
  readonly onShardMap?: (map: ShardMap) => void;
  /** The way to other shards; absent: there are none, and nothing leaves this one. */
  readonly others?: OtherShards | undefined;
  /** Numbers of what is around the shard, for its statistics. */
  readonly moreStats?: () => Iterable<readonly [name: string, value: number]>;
  /** In turns of the shard; `here` from when the port is served. */
  readonly onLead?: (lead: ShardLead) => void;
  /** What is asked of the leader about its members; absent: there are none. */
  readonly ofMembers?: (request: MemberRequest) => PlainData;
  /** Once; nothing works any more, and the process is to end. */
  readonly onFailure: (error: Error) => void;
}

export interface ConfiguredGroup {
  readonly queue: string;
  /** With its filter: `mail@eu/+`. */
  readonly name: string;
  readonly filter: string;
  readonly start: Position | undefined;
}
