/**
 * A consumer group: its floor and settled ranges, and the attempts of what was requeued.
 *
 * `Group` is the record: floor, and which chunks of settled bits and attempts exist. `GroupState`
 * is the group with those of its records that are in memory; it tells the record table of every
 * change before it makes it. It never decides whose delivery a settlement comes from: the leader
 * did, before it proposed.
 */

import { assert } from './assert.ts';
import { AttemptsChunk } from './attempts.ts';
import { DEFAULT_GROUP } from './ids.ts';
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

export class GroupState implements SettledChunks, RecordHolder {
  readonly #queueId: number;
  readonly #table: RecordTable;
  #record: Resident<Group> | undefined;
  /** Made when first needed: an idle queue has none. */
  #settled: Map<number, Resident<SettledChunk>> | undefined;
  #attempts: Map<number, Resident<AttemptsChunk>> | undefined;

  constructor(queueId: number, table: RecordTable) {
    this.#queueId = queueId;
    this.#table = table;
  }

  get isResident(): boolean {
    return this.#record !== undefined;
  }

  get group(): Group {
    assert(this.#record !== undefined, 'group: not loaded');
    return this.#record.content;
  }

  create(): void {
    this.#record = new Resident(this.#groupKey(), new Group(), this);
    this.#table.create(this.#record);
  }

  load(data: RecordData): void {
    this.#record = new Resident(this.#groupKey(), Group.fromData(data), this);
    this.#table.adopt(this.#record);
  }

  loadSettled(chunk: number, data: RecordData): void {
    const key = settledKey(this.#queueId, DEFAULT_GROUP, chunk);
    const resident = new Resident(key, SettledChunk.fromData(data), this);
    this.#settled ??= new Map();
    this.#settled.set(chunk, resident);
    this.#table.adopt(resident);
  }

  loadAttempts(chunk: number, data: RecordData): void {
    const key = attemptsKey(this.#queueId, DEFAULT_GROUP, chunk);
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
    if (missing !== -1) keys.push(settledKey(this.#queueId, DEFAULT_GROUP, missing));
    const chunk = chunkOf(offset);
    if (record.content.attempts.has(chunk) && !this.hasAttempts(chunk)) {
      keys.push(attemptsKey(this.#queueId, DEFAULT_GROUP, chunk));
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

  /** Keys of every chunk that exists and is not resident. */
  missingChunks(): RecordKey[] {
    const { ranges, attempts } = this.group;
    const keys: RecordKey[] = [];
    for (const chunk of ranges.bitmaps()) {
      if (!this.hasSettled(chunk)) keys.push(settledKey(this.#queueId, DEFAULT_GROUP, chunk));
    }
    for (const chunk of ascending(attempts.keys())) {
      if (!this.hasAttempts(chunk)) keys.push(attemptsKey(this.#queueId, DEFAULT_GROUP, chunk));
    }
    return keys;
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
      resident = new Resident(
        attemptsKey(this.#queueId, DEFAULT_GROUP, chunk),
        new AttemptsChunk(),
        this,
      );
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
    const resident = new Resident(
      settledKey(this.#queueId, DEFAULT_GROUP, chunk),
      new SettledChunk(),
      this,
    );
    this.#settled ??= new Map();
    this.#settled.set(chunk, resident);
    this.#table.create(resident);
    return resident.content;
  }

  dropSettledChunk(chunk: number): void {
    const resident = this.#settled?.get(chunk);
    if (resident === undefined) {
      this.#table.removeAbsent(settledKey(this.#queueId, DEFAULT_GROUP, chunk));
      return;
    }
    this.#table.remove(resident);
    this.#settled?.delete(chunk);
  }

  evicted(resident: Resident<RecordContent>): void {
    if (resident === this.#record) {
      this.#record = undefined;
      return;
    }
    const chunk = Number(resident.key.slice(resident.key.lastIndexOf('/') + 1));
    if (this.#settled?.get(chunk) === resident) {
      this.#settled.delete(chunk);
      if (this.#settled.size === 0) this.#settled = undefined;
    } else if (this.#attempts?.get(chunk) === resident) {
      this.#attempts.delete(chunk);
      if (this.#attempts.size === 0) this.#attempts = undefined;
    }
  }

  #groupKey(): RecordKey {
    return groupKey(this.#queueId, DEFAULT_GROUP);
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

  #forgetAttempts(record: Group, offset: number): void {
    const chunk = chunkOf(offset);
    if (!record.attempts.has(chunk)) return;
    const resident = this.#attemptsOf(chunk);
    const at = offset - chunk * SETTLED_CHUNK;
    if (resident.content.attempts(at) === 0) return;
    if (resident.content.size === 1) {
      record.attempts.delete(chunk);
      this.#dropAttempts(chunk);
      return;
    }
    this.#table.touch(resident);
    resident.content.remove(at);
    record.attempts.set(chunk, resident.content.size);
  }

  #dropAttempts(chunk: number): void {
    const resident = this.#attempts?.get(chunk);
    if (resident === undefined) {
      this.#table.removeAbsent(attemptsKey(this.#queueId, DEFAULT_GROUP, chunk));
      return;
    }
    this.#table.remove(resident);
    this.#attempts?.delete(chunk);
  }
}

function ascending(chunks: Iterable<number>): number[] {
  return [...chunks].sort((a, b) => a - b);
}
