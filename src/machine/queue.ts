/**
 * A classic queue: its definition, the next offset, and its one group.
 *
 * `Queue` is the record. `QueueState` exists for every queue that is defined and costs little while
 * the queue is idle: its records are evicted, and it keeps but the two numbers by which the shard
 * knows what of the log is still wanted (they cannot change while the records are away).
 */

import { assert } from './assert.ts';
import type { QueueDefinition } from './definitions.ts';
import { GroupState } from './group.ts';
import { DEFAULT_GROUP, type Offset, type QueueId } from './ids.ts';
import {
  type RecordData,
  type RecordKey,
  countOf,
  groupKey,
  listOf,
  queueKey,
} from './record-data.ts';
import { type RecordHolder, type RecordTable, Resident } from './record-table.ts';

export class Queue {
  nextOffset = 0;
  /** Stored bytes of all messages that ever came. */
  enqueuedBytes = 0;

  static fromData(data: RecordData): Queue {
    const [format, nextOffset, enqueuedBytes] = listOf(data);
    assert(format === 1, 'queue: unknown format');
    const queue = new Queue();
    queue.nextOffset = countOf(nextOffset);
    queue.enqueuedBytes = countOf(enqueuedBytes);
    return queue;
  }

  toData(): RecordData {
    return [1, this.nextOffset, this.enqueuedBytes];
  }
}

export class QueueState implements RecordHolder {
  readonly queueId: QueueId;
  definition: QueueDefinition;
  readonly group: GroupState;
  readonly #table: RecordTable;
  #record: Resident<Queue> | undefined;
  /** As they were when both records were last resident; -1 before that. */
  #knownFloor = -1;
  #knownNextOffset = -1;

  constructor(queueId: QueueId, definition: QueueDefinition, table: RecordTable) {
    this.queueId = queueId;
    this.definition = definition;
    this.#table = table;
    this.group = new GroupState(queueId, table);
  }

  /** Queue and group record are in memory. */
  get isResident(): boolean {
    return this.#record !== undefined && this.group.isResident;
  }

  get queue(): Queue {
    assert(this.#record !== undefined, 'queue: not loaded');
    return this.#record.content;
  }

  /** Undefined until both records were resident once. */
  get floor(): Offset | undefined {
    return this.#knownFloor === -1 ? undefined : (this.#knownFloor as Offset);
  }

  get nextOffset(): Offset | undefined {
    return this.#knownNextOffset === -1 ? undefined : (this.#knownNextOffset as Offset);
  }

  create(): void {
    this.#record = new Resident(queueKey(this.queueId), new Queue(), this);
    this.#table.create(this.#record);
    this.group.create();
    this.#know();
  }

  loadQueue(data: RecordData): void {
    this.#record = new Resident(queueKey(this.queueId), Queue.fromData(data), this);
    this.#table.adopt(this.#record);
    if (this.group.isResident) this.#know();
  }

  loadGroup(data: RecordData): void {
    this.group.load(data);
    if (this.#record !== undefined) this.#know();
  }

  hasQueue(): boolean {
    return this.#record !== undefined;
  }

  /** Marks the queue's record as used; false when it is not resident. */
  use(): boolean {
    if (this.#record === undefined) return false;
    this.#record.used = true;
    return true;
  }

  missing(keys: RecordKey[]): void {
    if (this.#record === undefined) keys.push(queueKey(this.queueId));
    if (!this.group.isResident) keys.push(groupKey(this.queueId, DEFAULT_GROUP));
  }

  /** Appends a message; its offset. */
  append(bytes: number): Offset {
    const record = this.#record;
    assert(record !== undefined, 'queue: not loaded');
    this.#table.touch(record);
    const queue = record.content;
    const offset = queue.nextOffset;
    queue.nextOffset = offset + 1;
    queue.enqueuedBytes += bytes;
    this.#knownNextOffset = offset + 1;
    return offset as Offset;
  }

  /** Is this an offset of the queue that no one has settled? Everything needed is resident. */
  isUnsettled(offset: number): boolean {
    return offset >= 0 && offset < this.queue.nextOffset && !this.group.isSettled(offset);
  }

  /** Settles an unsettled offset; the floor afterwards. */
  settle(offset: number): number {
    this.group.settle(offset);
    this.#knownFloor = this.group.group.ranges.floor;
    return this.#knownFloor;
  }

  remove(): void {
    assert(this.#record !== undefined, 'queue: not loaded');
    this.#table.remove(this.#record);
    this.#record = undefined;
    this.group.remove();
  }

  evicted(): void {
    this.#record = undefined;
  }

  #know(): void {
    this.#knownNextOffset = this.queue.nextOffset;
    this.#knownFloor = this.group.group.ranges.floor;
  }
}
