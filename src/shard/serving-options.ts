/**
 * What a shard that leads is made of (`serving.ts`): the parts of the shard that it works with, and
 * what it asks of whoever made it. Types only.
 */

import type { QueueDefinition } from '../machine/definitions.ts';
import type { LogIndex } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { Alarms } from './alarms.ts';
import type { DeliveryMarks } from './checkpoint.ts';
import type { MemberRequest } from './member-requests.ts';
import type { OtherShards } from './other-shards.ts';
import type { Payloads } from './payloads.ts';
import type { BatchPort } from './port.ts';
import type { PlainData } from './record-codec.ts';
import type { RecordLoader } from './record-loader.ts';
import type { RetainedReads } from './retained-reads.ts';
import type { ShardLimits } from './shard-limits.ts';
import type { ShardLog } from './shard-log.ts';
import type { ShardLogger } from './shard-logger.ts';
import type { ConfiguredGroup } from './shard-options.ts';
import type { StampClock } from './stamp-clock.ts';

export interface ServingOptions {
  readonly term: number;
  /** Of the shard. */
  readonly number: number;
  /** Undefined: there are none, and nothing leaves this one. */
  readonly others: OtherShards | undefined;
  /** What may have been delivered before this term began. */
  readonly marks: DeliveryMarks;
  readonly machine: Machine;
  readonly loader: RecordLoader;
  readonly payloads: Payloads;
  readonly alarms: Alarms;
  readonly log: ShardLog;
  /** Of the one sender that is served without a route; undefined: there is none. */
  readonly port: BatchPort | undefined;
  /** Whose consumers may hold deliveries of the leader before. */
  readonly nodes: readonly string[];
  readonly limits: ShardLimits;
  readonly logger: ShardLogger;
  /** Declared, or brought to these limits, before the port is served. */
  readonly queues: readonly QueueDefinition[];
  readonly groups: readonly ConfiguredGroup[];
  readonly stamps: StampClock;
  readonly applier: {
    readonly index: LogIndex;
    whenApplied(index: LogIndex): Promise<void>;
  };
  readonly inReserve: () => boolean;
  /** Publishes are to wait. */
  readonly holdsBack: () => boolean;
  readonly monotonicMs: () => number;
  /** Calls `action` once between two entries. */
  readonly atBoundary: (action: () => void) => Promise<void>;
  /** What operators ask of the leader about its members; undefined: it has none. */
  readonly ofMembers: ((request: MemberRequest) => PlainData) | undefined;
  /** What is asked of the queue of retained messages. */
  readonly retained: Pick<RetainedReads, 'answer'>;
  /** The numbers of the whole shard, encoded. */
  readonly stats: () => Promise<Uint8Array>;
  readonly stop: () => Promise<void>;
  /** Its queues live in memory, and go when nobody uses them any more. */
  readonly isVolatile: boolean;
  /** The shard has stopped. */
  readonly closed: () => boolean;
  readonly wake: () => void;
  readonly failed: (error: unknown) => void;
}
