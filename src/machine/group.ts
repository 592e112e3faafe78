/**
 * A consumer group: its floor and settled ranges, and the attempts of what was requeued.
 *
 * `Group` is the record: floor, and which chunks of settled bits and attempts exist. `GroupState`
 * is the group with those of its records that are in memory; it tells the record table of every
 * change before it makes it, and exists only as long as one of its records is in memory. It never
 * decides whose delivery a settlement comes from: the leader did, before it proposed. Its name and
 * filter stand in the record of its queue.
 */

import { assert } from './assert.ts';
import { AttemptsChunk } from './attempts.ts';
import type { GroupId, QueueId } from './ids.ts';
import {
  type RecordData,
  type RecordKey,
  attemptsKey,
  countOf,
  groupKey,
  listOf,
  settledKey,
} from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';
import { type OffsetRange, chunksToSettle } from './settle-batch.ts';
import {
  SETTLED_CHUNK,
  SettledChunk,
  type SettledChunks,
  SettledRanges,
  chunkOf,
} from './settled-ranges.ts';

export class Group {
  readonly ranges: SettledRanges;
  /** How many messages of each chunk have attempts. */
  readonly attempts = new Map<number, number>();

  constructor(ranges = new SettledRanges()) {
    this.ranges = ranges;
  }

  static fromData(data: RecordData): Group {
    const [format, floor, counts, attempts] = listOf(data);
    assert(format === 1, 'group: unknown format');
    const group = new Group(SettledRanges.fromData(floor, counts));
    const pairs = listOf(attempts);
    for (let i = 0; i < pairs.length; i += 2)
      group.attempts.set(countOf(pairs[i]), countOf(pairs[i + 1]));
    return group;
  }

  toData(): RecordData {
    const attempts = [...this.attempts].sort(([a], [b]) => a - b).flat();
    return [1, this.ranges.floorData(), this.ranges.countsData(), attempts];
  }
}

/** Who has the states of the groups: the queue. */
export interface GroupHolder {
  readonly queueId: QueueId;
  /** The group's own record is about to leave the memory. */
  groupLeaving(group: GroupState): void;
  /** Nothing of it is in memory any more. */
  groupLeft(group: GroupState): void;
}

export class GroupState implements SettledChunks, RecordHolder {
  readonly groupId: GroupId;
  readonly #holder: GroupHolder;
  readonly #table: RecordTable;
  #record: Resident<Group> | undefined;
  /** Made when first needed: an idle queue has none. */
  #settled: Map<number, Resident<SettledChunk>> | undefined;
  #attempts: Map<number, Resident<AttemptsChunk>> | undefined;

  constructor(groupId: GroupId, holder: GroupHolder, table: RecordTable) {
    this.groupId = groupId;
    this.#holder = holder;
    this.#table = table;
  }

  get isResident(): boolean {
    return this.#record !== undefined;
  }

  get group(): Group {
    assert(this.#record !== undefined, 'group: not loaded');
    return this.#record.content;
  }

  /** The lowest unsettled offset. */
  get floor(): number {
    return this.group.ranges.floor;
  }

  /** Unsettled messages of a queue whose next offset is this. */
  depth(nextOffset: number): number {
    const { floor, above } = this.group.ranges;
    return nextOffset - floor - above;
  }

  /** A new group, with everything below `floor` settled. */
  create(floor: number): void {
    const group = new Group();
    group.ranges.reset(floor, this);
    this.#record = new Resident(this.#groupKey(), group, this);
    this.#table.create(this.#record);
  }

  load(data: RecordData): void {
    this.#record = new Resident(this.#groupKey(), Group.fromData(data), this);
    this.#table.adopt(this.#record);
  }

  loadSettled(chunk: number, data: RecordData): void {
    const key = this.#settledKey(chunk);
    const resident = new Resident(key, SettledChunk.fromData(data), this);
    this.#settled ??= new Map();
    this.#settled.set(chunk, resident);
    this.#table.adopt(resident);
  }

  loadAttempts(chunk: number, data: RecordData): void {
    const key = this.#attemptsKey(chunk);
    const resident = new Resident(key, AttemptsChunk.fromData(data), this);
    this.#attempts ??= new Map();
    this.#attempts.set(chunk, resident);
    this.#table.adopt(resident);
  }

  hasSettled(chunk: number): boolean {
    return this.#settled?.has(chunk) === true;
  }

  hasAttempts(chunk: number): boolean {
    return this.#attempts?.has(chunk) === true;
  }

  /** There is such a bitmap, and it is not resident. */
  lacksSettled(chunk: number): boolean {
    return this.#record?.content.ranges.hasBitmap(chunk) === true && !this.hasSettled(chunk);
  }

  /** There are such attempts, and they are not resident. */
  lacksAttempts(chunk: number): boolean {
    return this.#record?.content.attempts.has(chunk) === true && !this.hasAttempts(chunk);
  }

  /** Adds the key of a record that a settlement of this offset needs and that is not resident. */
  needs(offset: number, keys: RecordKey[]): void {
    const record = this.#record;
    if (record === undefined) {
      keys.push(this.#groupKey());
      return;
    }
    record.used = true;
    const missing = record.content.ranges.missing(offset, this);
    if (missing !== -1) keys.push(this.#settledKey(missing));
    const chunk = chunkOf(offset);
    if (record.content.attempts.has(chunk) && !this.hasAttempts(chunk)) {
      keys.push(this.#attemptsKey(chunk));
    }
  }

  /** The same without the list: nothing is missing. */
  isReadyFor(offset: number): boolean {
    const record = this.#record;
    if (record === undefined) return false;
    record.used = true;
    const { attempts, ranges } = record.content;
    if (attempts.size > 0) {
      const chunk = chunkOf(offset);
      if (attempts.has(chunk) && !this.hasAttempts(chunk)) return false;
    }
    return ranges.missing(offset, this) === -1;
  }

  /** What `settleRange` needs and is not resident; the rest of it when asked again. */
  needsRange(from: number, to: number, keys: RecordKey[]): void {
    const record = this.#record;
    if (record === undefined) {
      keys.push(this.#groupKey());
      return;
    }
    record.used = true;
    const { attempts, ranges } = record.content;
    const missing = ranges.missingInRange(from, to, this);
    if (missing !== -1) keys.push(this.#settledKey(missing));
    for (const chunk of attempts.keys()) {
      if (isCutBy(chunk, from, to) && !this.hasAttempts(chunk)) keys.push(this.#attemptsKey(chunk));
    }
  }

  /** The offset behind the first `count` unsettled ones, at most `limit`; -1: a key was added. */
  behind(count: number, limit: number, keys: RecordKey[]): number {
    const at = this.group.ranges.behind(count, limit, this);
    if (at >= 0) return at;
    keys.push(this.#settledKey(-1 - at));
    return -1;
  }

  /** Keys of the bitmaps in [from, to) that are not resident. */
  missingBits(from: number, to: number, keys: RecordKey[]): void {
    const { ranges } = this.group;
    for (let chunk = chunkOf(from); chunk * SETTLED_CHUNK < to; chunk += 1) {
      if ((chunk + 1) * SETTLED_CHUNK <= ranges.floor) continue;
      if (ranges.hasBitmap(chunk) && !this.hasSettled(chunk)) keys.push(this.#settledKey(chunk));
    }
  }

  /** Keys of the attempts in [from, to) that are not resident. */
  missingAttempts(from: number, to: number, keys: RecordKey[]): void {
    for (const chunk of this.group.attempts.keys()) {
      const isIn = chunk * SETTLED_CHUNK < to && (chunk + 1) * SETTLED_CHUNK > from;
      const key = isIn && !this.hasAttempts(chunk) ? this.#attemptsKey(chunk) : undefined;
      if (key !== undefined && !keys.includes(key)) keys.push(key);
    }
  }

  /**
   * What `settleRange` needs for several ranges one after the other: their edges, and what the
   * floor may come to while they are settled.
   */
  needsBatch(ranges: readonly OffsetRange[], keys: RecordKey[]): void {
    const { ranges: settled } = this.group;
    for (const { from, to } of ranges) this.missingAttempts(from, to, keys);
    for (const chunk of chunksToSettle(settled, ranges)) {
      if (settled.hasBitmap(chunk) && !this.hasSettled(chunk)) keys.push(this.#settledKey(chunk));
    }
  }

  /** Keys of every chunk that exists and is not resident. */
  missingChunks(keys: RecordKey[]): void {
    const { ranges, attempts } = this.group;
    for (const chunk of ranges.bitmaps()) {
      if (!this.hasSettled(chunk)) keys.push(this.#settledKey(chunk));
    }
    for (const chunk of ascending(attempts.keys())) {
      if (!this.hasAttempts(chunk)) keys.push(this.#attemptsKey(chunk));
    }
  }

  isSettled(offset: number): boolean {
    return this.group.ranges.has(offset, this);
  }

  /** Settles an offset that is not settled; what it had of attempts is forgotten. */
  settle(offset: number): void {
    const record = this.#touched();
    record.ranges.settle(offset, this);
    if (record.attempts.size > 0) this.#forgetAttempts(record, offset);
  }

  /** Settles all of [from, to) that is not settled, and forgets attempts; how many that were. */
  settleRange(from: number, to: number): number {
    const record = this.#touched();
    const settled = record.ranges.settleRange(from, to, this);
    for (const chunk of record.attempts.keys()) this.#forgetAttemptsIn(record, chunk, { from, to });
    return settled;
  }

  /** Everything below `floor` is settled and nothing else, whatever was before. */
  reset(floor: number): void {
    const record = this.#touched();
    record.ranges.reset(floor, this);
    for (const chunk of ascending(record.attempts.keys())) this.#dropAttempts(chunk);
    record.attempts.clear();
  }

  /** Settles in this new group what all of `groups` have settled of a chunk; all is resident. */
  adoptCommon(chunk: number, groups: readonly GroupState[]): void {
    const bits = SettledChunk.whole();
    for (const group of groups) {
      const theirs = group.#bitsOf(chunk);
      if (theirs === undefined) return;
      bits.intersect(theirs);
    }
    this.#touched().ranges.adopt(chunk, bits, this);
  }

  attempts(offset: number): number {
    const chunk = chunkOf(offset);
    if (!this.group.attempts.has(chunk)) return 0;
    return this.#attemptsOf(chunk).content.attempts(offset - chunk * SETTLED_CHUNK);
  }

  /** Stores the attempts of an offset that is not settled. */
  setAttempts(offset: number, attempts: number, notBefore: number): void {
    const chunk = chunkOf(offset);
    const group = this.group;
    let resident: Resident<AttemptsChunk>;
    if (group.attempts.has(chunk)) {
      resident = this.#attemptsOf(chunk);
      this.#table.touch(resident);
    } else {
      resident = new Resident(this.#attemptsKey(chunk), new AttemptsChunk(), this);
      this.#attempts ??= new Map();
      this.#attempts.set(chunk, resident);
      this.#table.create(resident);
    }
    resident.content.set(offset - chunk * SETTLED_CHUNK, attempts, notBefore);
    if (group.attempts.get(chunk) !== resident.content.size) {
      this.#touched().attempts.set(chunk, resident.content.size);
    }
  }

  /** Copies of the settled bits above the floor, by chunk. All chunks are resident. */
  copySettled(): Map<number, SettledChunk> {
    const { ranges } = this.group;
    const copies = new Map<number, SettledChunk>();
    for (const chunk of ranges.bitmaps()) {
      const bitmap = this.settledChunk(chunk);
      assert(bitmap !== undefined, 'group: a bitmap is not loaded');
      copies.set(chunk, bitmap.copy());
    }
    for (const chunk of ranges.wholeChunks()) copies.set(chunk, SettledChunk.whole());
    return copies;
  }

  /** What was requeued and is not settled, ascending. All chunks are resident. */
  requeued(): { offset: number; attempts: number; notBefore: number }[] {
    return ascending(this.group.attempts.keys()).flatMap((chunk) =>
      this.#attemptsOf(chunk)
        .content.rows()
        .map(({ at, attempts, notBefore }) => ({
          offset: chunk * SETTLED_CHUNK + at,
          attempts,
          notBefore,
        })),
    );
  }

  /** Removes all records of the group. The group itself is resident. */
  remove(): void {
    const { ranges, attempts } = this.group;
    for (const chunk of ranges.bitmaps()) this.dropSettledChunk(chunk);
    for (const chunk of ascending(attempts.keys())) this.#dropAttempts(chunk);
    if (this.#record !== undefined) this.#table.remove(this.#record);
    this.#record = undefined;
  }

  settledChunk(chunk: number): SettledChunk | undefined {
    const resident = this.#settled?.get(chunk);
    if (resident === undefined) return undefined;
    resident.used = true;
    return resident.content;
  }

  changeSettledChunk(chunk: number, fresh: boolean): SettledChunk {
    if (!fresh) {
      const resident = this.#settled?.get(chunk);
      assert(resident !== undefined, 'group: a bitmap is not loaded');
      this.#table.touch(resident);
      return resident.content;
    }
    const resident = new Resident(this.#settledKey(chunk), new SettledChunk(), this);
    this.#settled ??= new Map();
    this.#settled.set(chunk, resident);
    this.#table.create(resident);
    return resident.content;
  }

  dropSettledChunk(chunk: number): void {
    const resident = this.#settled?.get(chunk);
    if (resident === undefined) {
      this.#table.removeAbsent(this.#settledKey(chunk));
      return;
    }
    this.#table.remove(resident);
    this.#settled?.delete(chunk);
  }

  evicted(resident: Resident<RecordContent>): void {
    if (resident === this.#record) {
      this.#holder.groupLeaving(this);
      this.#record = undefined;
    } else {
      const chunk = Number(resident.key.slice(resident.key.lastIndexOf('/') + 1));
      if (this.#settled?.get(chunk) === resident) this.#settled.delete(chunk);
      else if (this.#attempts?.get(chunk) === resident) this.#attempts.delete(chunk);
    }
    if (this.#settled?.size === 0) this.#settled = undefined;
    if (this.#attempts?.size === 0) this.#attempts = undefined;
    if ((this.#record ?? this.#settled ?? this.#attempts) === undefined) {
      this.#holder.groupLeft(this);
    }
  }

  #groupKey(): RecordKey {
    return groupKey(this.#holder.queueId, this.groupId);
  }

  #settledKey(chunk: number): RecordKey {
    return settledKey(this.#holder.queueId, this.groupId, chunk);
  }

  #attemptsKey(chunk: number): RecordKey {
    return attemptsKey(this.#holder.queueId, this.groupId, chunk);
  }

  /** The record, about to change. */
  #touched(): Group {
    const record = this.#record;
    assert(record !== undefined, 'group: not loaded');
    this.#table.touch(record);
    return record.content;
  }

  #attemptsOf(chunk: number): Resident<AttemptsChunk> {
    const resident = this.#attempts?.get(chunk);
    assert(resident !== undefined, 'group: attempts are not loaded');
    resident.used = true;
    return resident;
  }

  /** The settled bits of a chunk, those below the floor included; undefined: none. A copy. */
  #bitsOf(chunk: number): SettledChunk | undefined {
    const { ranges } = this.group;
    const begin = chunk * SETTLED_CHUNK;
    const count = ranges.countIn(chunk);
    if (begin + SETTLED_CHUNK <= ranges.floor || count === SETTLED_CHUNK) {
      return SettledChunk.whole();
    }
    if (count === 0 && begin >= ranges.floor) return undefined;
    const bits = count === 0 ? new SettledChunk() : this.settledChunk(chunk)?.copy();
    assert(bits !== undefined, 'group: a bitmap is not loaded');
    if (begin < ranges.floor) bits.fill(0, ranges.floor - begin);
    return bits;
  }

  #forgetAttempts(record: Group, offset: number): void {
    const chunk = chunkOf(offset);
    if (!record.attempts.has(chunk)) return;
    this.#forgetAttemptsIn(record, chunk, { from: offset, to: offset + 1 });
  }

  /** Forgets the attempts of one chunk that lie in the range. */
  #forgetAttemptsIn(record: Group, chunk: number, range: { from: number; to: number }): void {
    const begin = chunk * SETTLED_CHUNK;
    const from = Math.max(0, range.from - begin);
    const to = Math.min(SETTLED_CHUNK, range.to - begin);
    if (from >= to) return;
    if (to - from < SETTLED_CHUNK) {
      const resident = this.#attemptsOf(chunk);
      if (!resident.content.hasIn(from, to)) return;
      this.#table.touch(resident);
      resident.content.removeRange(from, to);
      if (resident.content.size > 0) {
        record.attempts.set(chunk, resident.content.size);
        return;
      }
    }
    record.attempts.delete(chunk);
    this.#dropAttempts(chunk);
  }

  #dropAttempts(chunk: number): void {
    const resident = this.#attempts?.get(chunk);
    if (resident === undefined) {
      this.#table.removeAbsent(this.#attemptsKey(chunk));
      return;
    }
    this.#table.remove(resident);
    this.#attempts?.delete(chunk);
  }
}

/** Does the range hold a part of the chunk, and not all of it? */
function isCutBy(chunk: number, from: number, to: number): boolean {
  const begin = chunk * SETTLED_CHUNK;
  const end = begin + SETTLED_CHUNK;
  return from < end && to > begin && (from > begin || to < end);
}

function ascending(chunks: Iterable<number>): number[] {
  return [...chunks].sort((a, b) => a - b);
}
