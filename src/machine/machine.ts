/**
 * The state machine of one shard (API; see the parts for what each does).
 */

import type { Command } from './command.ts';
import type { QueueDefinition } from './definitions.ts';
import type { DispatchStart } from './dispatch-policy.ts';
import type { Effects } from './effect.ts';
import type { GroupId, LogIndex, Offset, QueueId, StampMs } from './ids.ts';
import type { CapturedRecord, RecordData, RecordKey } from './record-data.ts';

export interface MachineOptions {
  /** Clean records kept beyond this many are evicted by `evict`; definitions do not count. */
  readonly maxResidentRecords: number;
}

export interface DefinedQueue {
  readonly queueId: QueueId;
  readonly definition: QueueDefinition;
}

export declare class Machine {
  constructor(options: MachineOptions);

  /** At the start: load what this names and ask again, until it is empty (the constant empty list). */
  startKeys(): readonly RecordKey[];
  /** What `apply(command)` needs and what is not resident. Load and ask again, until empty. In log order. */
  keys(command: Command): readonly RecordKey[];
  /** A record as the store has it; undefined when the store has none. A resident one is left as it is. */
  load(key: RecordKey, data: RecordData | undefined): void;
  /** `keys(command)` was empty just before. `index` may repeat (an entry has many commands). */
  apply(index: LogIndex, stamp: StampMs, command: Command, effects: Effects): void;

  /** Version of the rules in force. */
  get version(): number;
  /** The last index applied, 0 at first: replay starts behind it. */
  get lastIndex(): LogIndex;
  get lastStamp(): StampMs;

  /** Goes up whenever a definition changes. */
  get definitionsVersion(): number;
  /** In order of queueId. */
  queues(): DefinedQueue[];
  queueNamed(name: string): DefinedQueue | undefined;
  definition(queueId: QueueId): QueueDefinition | undefined;

  /** Lowest unsettled offset (= nextOffset when none is); undefined: unknown until `queueKeys` are loaded. */
  floor(queueId: QueueId): Offset | undefined;
  nextOffset(queueId: QueueId): Offset | undefined;
  /** Records to load so that `floor` and `nextOffset` are known. */
  queueKeys(queueId: QueueId): readonly RecordKey[];

  /** What `dispatchStart` needs and is not resident; load and ask again until empty. */
  dispatchKeys(queueId: QueueId, groupId: GroupId): readonly RecordKey[];
  /** The state from which a dispatch policy starts; from then on it lives by the effects. */
  dispatchStart(queueId: QueueId, groupId: GroupId): DispatchStart;

  /** Records changed since the last freeze. */
  get dirtyRecords(): number;
  /** Fixes the cut of a checkpoint at the state as it is; at once, however much is dirty. */
  freeze(): void;
  /** Adds up to `max` records of the cut to `into`; true when the cut is complete. Each key comes once. */
  capture(max: number, into: CapturedRecord[]): boolean;
  /** The cut is durable: its records may be evicted. Before it no other freeze. */
  thaw(): void;
  /** Drops clean records, least used first, down to the bound; examines at most `maxSteps`. */
  evict(maxSteps: number): number;
  get residentRecords(): number;
}
