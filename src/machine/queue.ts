/**
 * A queue: its definition, the first offset that is kept and the next one to be given, and the
 * directory of its groups.
 *
 * `Queue` is the record. `QueueState` is what is in memory of a queue: it tells its owner when the
 * first of the records comes and when the last one is evicted, and is forgotten then, but for two
 * numbers by which the shard knows what of the log is still wanted (`Known`).
 *
 * Invariant: `start` <= floor of each group <= `nextOffset`, and never does any of them go back,
 * but for the floor of a stream's group.
 */

import { assert } from './assert.ts';
import type { Known } from './definition-table.ts';
import type { QueueDefinition } from './definitions.ts';
import type { GroupView } from './effect.ts';
import { takesAll } from './filters.ts';
import { Group, type GroupHolder, GroupState } from './group.ts';
import { type GroupEntry, entryData, entryOf } from './group-entry.ts';
import {
  DEFAULT_GROUP,
  DEFAULT_GROUP_NAME,
  DELAYED_QUEUE,
  type GroupId,
  type Offset,
  type QueueId,
} from './ids.ts';
import {
  type RecordData,
  type RecordKey,
  countOf,
  groupKey,
  listOf,
  queueKey,
  stored,
} from './record-data.ts';
import { KnownLength } from './known-length.ts';
import type { QueueOwner } from './queue-owner.ts';
import { type RecordHolder, type RecordTable, Resident } from './record-table.ts';

export type NewGroup = Pick<GroupEntry, 'name' | 'kind' | 'filter'>;

export class Queue {
  nextOffset = 0;
  /** Stored bytes of all messages that ever came. */
  enqueuedBytes = 0;
  /** The first offset that is kept, whoever has settled what. */
  start = 0;
  /** Only grows: a groupId is never used again. `DEFAULT_GROUP` is given at the declaration. */
  nextGroupId = 1;
  /** In order of groupId. */
  groups: GroupEntry[] = [];

  static fromData(data: RecordData): Queue {
    const [format, nextOffset, enqueuedBytes, start, nextGroupId, groups] = listOf(data);
    assert(format === 1, 'queue: unknown format');
    const queue = new Queue();
    queue.nextOffset = countOf(nextOffset);
    queue.enqueuedBytes = countOf(enqueuedBytes);
    queue.start = countOf(start);
    queue.nextGroupId = countOf(nextGroupId);
    queue.groups = listOf(groups).map(entryOf);
    return queue;
  }

  static shared(): Queue {
    const queue = new Queue();
    queue.groups.push({
      groupId: DEFAULT_GROUP,
      name: DEFAULT_GROUP_NAME,
      kind: 'explicit',
      filter: '',
      filterFrom: 0,
      idleSince: 0,
      knownFloor: -1,
    });
    return queue;
  }

  toData(): RecordData {
    const groups = this.groups.map(entryData);
    return [1, this.nextOffset, this.enqueuedBytes, this.start, this.nextGroupId, groups];
  }
}

interface QueueStateParts {
  readonly table: RecordTable;
  readonly owner: QueueOwner<QueueState>;
  /** Default: nothing is known. */
  readonly known?: Known;
}

export class QueueState implements RecordHolder, GroupHolder {
  readonly queueId: QueueId;
  readonly #table: RecordTable;
  readonly #owner: QueueOwner<QueueState>;
  #definition: QueueDefinition;
  #record: Resident<Queue> | undefined;
  /** Groups of which anything is in memory; undefined: none. */
  #groups: Map<GroupId, GroupState> | undefined;
  /** The group that was used last. */
  #lastGroup: GroupState | undefined;
  /** Never too high; -1: not known. What is below is wanted by no group. */
  #knownWanted: number;
  #knownNextOffset: number;
  readonly #length = new KnownLength();
  #isPlain = false;
  #hasFilters = false;

  constructor(queueId: QueueId, definition: QueueDefinition, parts: QueueStateParts) {
    this.queueId = queueId;
    this.#definition = definition;
    this.#table = parts.table;
    this.#owner = parts.owner;
    this.#knownWanted = parts.known?.wanted ?? -1;
    this.#knownNextOffset = parts.known?.nextOffset ?? -1;
  }

  get definition(): QueueDefinition {
    return this.#definition;
  }

  set definition(definition: QueueDefinition) {
    this.#definition = definition;
    this.#length.forget();
    if (this.#record !== undefined) this.#recognize();
  }

  get isStream(): boolean {
    return this.#definition.type === 'stream';
  }

  /** A publish to it is nothing but an append: no filter, no bound. */
  get isPlain(): boolean {
    return this.#isPlain;
  }

  /** Some group does not take all; known while the queue's record is in memory. */
  get hasFilters(): boolean {
    return this.#hasFilters;
  }

  /** The records of the queue and of each group are in memory. */
  get isResident(): boolean {
    if (this.#record === undefined) return false;
    return this.#record.content.groups.every(({ groupId }) => this.#hasGroup(groupId));
  }

  get hasQueue(): boolean {
    return this.#record !== undefined;
  }

  get queue(): Queue {
    assert(this.#record !== undefined, 'queue: not loaded');
    return this.#record.content;
  }

  /** The record is about to change, or an entry of its directory. */
  touch(): void {
    assert(this.#record !== undefined, 'queue: not loaded');
    this.#table.touch(this.#record);
  }

  /** Undefined until the record was resident once. */
  get nextOffset(): Offset | undefined {
    if (this.#record !== undefined) return this.#record.content.nextOffset as Offset;
    return this.#knownNextOffset === -1 ? undefined : (this.#knownNextOffset as Offset);
  }

  /**
   * No group wants what is below. Exact when all is resident, never too high, and undefined until
   * all records were resident once.
   */
  get lowestWanted(): Offset | undefined {
    if (this.#record !== undefined) this.#rememberWanted(this.#record.content);
    return this.#knownWanted === -1 ? undefined : (this.#knownWanted as Offset);
  }

  create(): void {
    this.#record = new Resident(queueKey(this.queueId), new Queue(), this);
    this.#table.create(this.#record);
    this.#owner.woke(this);
    if (this.#definition.limits.defaultGroup === 'shared') {
      const group = { name: DEFAULT_GROUP_NAME, kind: 'explicit', filter: '' } as const;
      this.#addGroup(DEFAULT_GROUP, group, 0);
    }
    this.#recognize();
  }

  /** Without data: a queue that is as if new, with the group of all that are shared. */
  loadQueue(data: RecordData | undefined): void {
    const queue = data === undefined ? Queue.shared() : Queue.fromData(data);
    this.#record = new Resident(queueKey(this.queueId), queue, this);
    this.#table.adopt(this.#record);
    this.#owner.woke(this);
    this.#length.forget();
    this.#recognize();
  }

  /** Marks the queue's record as used; false when it is not resident. */
  use(): boolean {
    if (this.#record === undefined) return false;
    this.#record.used = true;
    return true;
  }

  /** Keys of the records of queue and groups that are not resident; ask again until none is. */
  missing(keys: RecordKey[]): void {
    const record = this.#record;
    if (record === undefined) {
      keys.push(queueKey(this.queueId));
      return;
    }
    record.used = true;
    for (const { groupId } of record.content.groups) {
      if (!this.#hasGroup(groupId)) keys.push(groupKey(this.queueId, groupId));
    }
  }

  /** The same for one group; false: there is no such group, or a key was added. */
  isGroupReady(groupId: GroupId, keys: RecordKey[]): boolean {
    if (!this.use()) {
      keys.push(queueKey(this.queueId));
      return false;
    }
    if (this.#hasGroup(groupId)) return true;
    if (this.entry(groupId) !== undefined) keys.push(groupKey(this.queueId, groupId));
    return false;
  }

  /** What of the group is in memory. */
  group(groupId: GroupId): GroupState | undefined {
    const last = this.#lastGroup;
    if (last !== undefined && last.groupId === groupId) return last;
    const group = this.#groups?.get(groupId);
    if (group !== undefined) this.#lastGroup = group;
    return group;
  }

  /** The group, whose record is resident. */
  loadedGroup(groupId: GroupId): GroupState {
    const group = this.group(groupId);
    assert(group?.isResident === true, 'queue: a group is not loaded');
    return group;
  }

  /** What is resident stays as it is, and what is no longer there is ignored. */
  loadGroup(groupId: GroupId, data: RecordData | undefined): void {
    if (this.#record === undefined || this.entry(groupId) === undefined) return;
    if (this.#hasGroup(groupId)) return;
    const content = this.queueId === DELAYED_QUEUE ? (data ?? new Group().toData()) : stored(data);
    (this.group(groupId) ?? this.#newState(groupId)).load(content);
  }

  /** Undefined: there is no such group. The record is resident. */
  entry(groupId: GroupId): GroupEntry | undefined {
    const { groups } = this.queue;
    let low = 0;
    let high = groups.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((groups[middle] as GroupEntry).groupId < groupId) low = middle + 1;
      else high = middle;
    }
    const entry = groups[low];
    return entry?.groupId === groupId ? entry : undefined;
  }

  named(name: string): GroupEntry | undefined {
    return this.queue.groups.find((entry) => entry.name === name);
  }

  /** The group's record is resident. */
  view(entry: GroupEntry): GroupView {
    const { groupId, name, kind, filter } = entry;
    const group = this.loadedGroup(groupId);
    const depth = group.depth(this.queue.nextOffset);
    return { groupId, name, kind, filter, floor: group.floor as Offset, depth };
  }

  raiseStart(to: number): void {
    this.touch();
    this.queue.start = to;
  }

  /** Everything below `floor` is settled for the new group, nothing else. */
  createGroup(group: NewGroup, floor: number): GroupEntry {
    this.touch();
    const { queue } = this;
    const groupId = queue.nextGroupId as GroupId;
    queue.nextGroupId += 1;
    const entry = this.#addGroup(groupId, group, floor);
    this.#length.forget();
    this.#recognize();
    return entry;
  }

  /** The group's record is resident. */
  removeGroup(groupId: GroupId): void {
    this.loadedGroup(groupId).remove();
    this.#forget(groupId);
    this.touch();
    const { queue } = this;
    queue.groups = queue.groups.filter((entry) => entry.groupId !== groupId);
    this.#length.forget();
    this.#recognize();
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
    this.#length.grew();
    return offset as Offset;
  }

  /** Is this an offset of the queue that the group has not settled? All needed is resident. */
  isUnsettled(group: GroupState, offset: number): boolean {
    return offset >= 0 && offset < this.queue.nextOffset && !group.isSettled(offset);
  }

  /** Messages leave it only at its start: it is a stream, or there is no group to settle any. */
  get isCountedFromStart(): boolean {
    return this.isStream || this.queue.groups.length === 0;
  }

  /** Could the length be `bound` or more? True when it takes the records of all groups to know. */
  mayReach(bound: number): boolean {
    if (this.isCountedFromStart) return this.queue.nextOffset - this.queue.start >= bound;
    return this.#length.mayHaveMessages(bound);
  }

  /** The same for its bytes: could they be above `bound` with so many more? */
  mayExceed(bound: number, more: number): boolean {
    return this.#length.mayHaveMoreBytes(bound, this.queue.enqueuedBytes + more);
  }

  /**
   * Unsettled messages of the group that has most of them; of a stream and of a queue without
   * groups, all that is kept. All records are resident. Remembered, with `bytesBelow` the lowest
   * floor, which is never too high, where somebody knows it.
   */
  length(bytesBelow = -1): number {
    const { nextOffset, start, groups } = this.queue;
    let longest = this.isCountedFromStart ? nextOffset - start : 0;
    if (!this.isCountedFromStart) {
      for (const { groupId } of groups) {
        longest = Math.max(longest, this.loadedGroup(groupId).depth(nextOffset));
      }
    }
    this.#length.measured(longest, bytesBelow);
    return longest;
  }

  /** Adds what `isWanted` needs for the offsets [from, to). */
  wantedNeeds(from: number, to: number, keys: RecordKey[]): void {
    this.missing(keys);
    if (keys.length > 0 || this.isStream) return;
    for (const { groupId } of this.queue.groups) {
      this.loadedGroup(groupId).missingBits(from, to, keys);
    }
  }

  /** Is the message kept, or wanted by a group? What is needed is resident. */
  isWanted(offset: number): boolean {
    const { start, nextOffset, groups } = this.queue;
    if (offset < start || offset >= nextOffset) return false;
    if (this.isCountedFromStart) return true;
    for (const { groupId } of groups) {
      if (!this.loadedGroup(groupId).isSettled(offset)) return true;
    }
    return false;
  }

  /** The records of all groups are resident. */
  remove(): void {
    assert(this.#record !== undefined, 'queue: not loaded');
    for (const { groupId } of this.queue.groups) this.loadedGroup(groupId).remove();
    this.#table.remove(this.#record);
    this.#record = undefined;
    this.#groups = undefined;
    this.#lastGroup = undefined;
  }

  evicted(): void {
    const { content } = this.#record as Resident<Queue>;
    this.#rememberWanted(content);
    this.#knownNextOffset = content.nextOffset;
    this.#record = undefined;
    this.#sleepIfEmpty();
  }

  groupLeaving(group: GroupState): void {
    const entry = this.#record === undefined ? undefined : this.entry(group.groupId);
    if (entry !== undefined) entry.knownFloor = group.floor;
  }

  groupLeft(group: GroupState): void {
    this.#forget(group.groupId);
    this.#sleepIfEmpty();
  }

  #sleepIfEmpty(): void {
    if (this.#record !== undefined || this.#groups !== undefined) return;
    this.#owner.slept(this, { wanted: this.#knownWanted, nextOffset: this.#knownNextOffset });
  }

  #hasGroup(groupId: GroupId): boolean {
    return this.group(groupId)?.isResident === true;
  }

  #newState(groupId: GroupId): GroupState {
    const group = new GroupState(groupId, this, this.#table);
    this.#groups ??= new Map();
    this.#groups.set(groupId, group);
    return group;
  }

  #addGroup(groupId: GroupId, group: NewGroup, floor: number): GroupEntry {
    const { queue } = this;
    const { name, kind, filter } = group;
    const filterFrom = takesAll(filter) ? 0 : queue.nextOffset;
    const entry = { groupId, name, kind, filter, filterFrom, idleSince: 0, knownFloor: -1 };
    queue.groups.push(entry);
    this.#newState(groupId).create(floor);
    return entry;
  }

  #forget(groupId: GroupId): void {
    this.#groups?.delete(groupId);
    if (this.#groups?.size === 0) this.#groups = undefined;
    if (this.#lastGroup?.groupId === groupId) this.#lastGroup = undefined;
  }

  #recognize(): void {
    const { maxMessages, maxBytes, ttlMs, retention } = this.#definition.limits;
    this.#hasFilters = !this.queue.groups.every(({ filter }) => takesAll(filter));
    this.#isPlain =
      !this.isStream &&
      maxMessages === 0 &&
      maxBytes === 0 &&
      ttlMs === 0 &&
      retention.ageMs === 0 &&
      retention.bytes === 0 &&
      retention.messages === 0 &&
      !this.#hasFilters;
  }

  #rememberWanted(queue: Queue): void {
    if (this.isStream || queue.groups.length === 0) {
      this.#knownWanted = queue.start;
      return;
    }
    let lowest = queue.nextOffset;
    for (const { groupId, knownFloor } of queue.groups) {
      const group = this.group(groupId);
      const floor = group?.isResident === true ? group.floor : knownFloor;
      // What was known before is still not too high: the floors of a classic queue only rise.
      if (floor === -1) return;
      lowest = Math.min(lowest, floor);
    }
    this.#knownWanted = lowest;
  }
}
