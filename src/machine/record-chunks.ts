/**
 * Records of one kind that are named by a number: those of them that are in memory.
 *
 * Which ones exist is known elsewhere (a head record says so); here is only where they are, and
 * that the record table hears of each change before it is made. Nothing is held while none is in
 * memory but an empty object.
 */

import { assert } from './assert.ts';
import type { RecordData, RecordKey } from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';

/** How one kind of record is named, read from the store and begun. */
export interface ChunkKind<T extends RecordContent> {
  /** Ends with a slash and the number. */
  key(number: number): RecordKey;
  fromData(data: RecordData): T;
  fresh(): T;
}

export class RecordChunks<T extends RecordContent> implements RecordHolder {
  readonly #table: RecordTable;
  readonly #kind: ChunkKind<T>;
  #resident: Map<number, Resident<T>> | undefined;

  constructor(table: RecordTable, kind: ChunkKind<T>) {
    this.#table = table;
    this.#kind = kind;
  }

  key(number: number): RecordKey {
    return this.#kind.key(number);
  }

  has(number: number): boolean {
    return this.#resident?.has(number) === true;
  }

  /** To read; undefined when it is not in memory (or does not exist). */
  peek(number: number): T | undefined {
    const resident = this.#resident?.get(number);
    if (resident === undefined) return undefined;
    resident.used = true;
    return resident.content;
  }

  /** To read what must be in memory. */
  get(number: number): T {
    const content = this.peek(number);
    assert(content !== undefined, 'record-chunks: a record is not loaded');
    return content;
  }

  /** About to change. */
  change(number: number): T {
    const resident = this.#resident?.get(number);
    assert(resident !== undefined, 'record-chunks: a record is not loaded');
    resident.used = true;
    this.#table.touch(resident);
    return resident.content;
  }

  /** One that does not exist yet. */
  create(number: number): T {
    const resident = this.#keep(number, this.#kind.fresh());
    this.#table.create(resident);
    return resident.content;
  }

  /** As the store has it; one that is in memory is left as it is. */
  load(number: number, data: RecordData): void {
    if (this.has(number)) return;
    this.#table.adopt(this.#keep(number, this.#kind.fromData(data)));
  }

  /** It exists no more. */
  remove(number: number): void {
    const resident = this.#resident?.get(number);
    if (resident === undefined) {
      this.#table.removeAbsent(this.#kind.key(number));
      return;
    }
    this.#table.remove(resident);
    this.#forget(number);
  }

  evicted({ key }: Resident<RecordContent>): void {
    this.#forget(Number(key.slice(key.lastIndexOf('/') + 1)));
  }

  #keep(number: number, content: T): Resident<T> {
    const resident = new Resident(this.#kind.key(number), content, this);
    this.#resident ??= new Map();
    assert(!this.#resident.has(number), 'record-chunks: a record twice');
    this.#resident.set(number, resident);
    return resident;
  }

  #forget(number: number): void {
    this.#resident?.delete(number);
    if (this.#resident?.size === 0) this.#resident = undefined;
  }
}
