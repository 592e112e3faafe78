/**
 * Records of one kind, each with a name of its own: those of them that are in memory.
 *
 * Which ones exist is known elsewhere (a head record says so), or does not matter (what the store
 * does not have is as if new); here is only where they are, and that the record table hears of each
 * change before it is made.
 */

import { assert } from './assert.ts';
import type { RecordData, RecordKey } from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';

/** A key that is named twice is loaded once: a command that needs thousands looks no further. */
const LOOK_BACK = 64;

/** How one kind of record is named, read from the store and begun. */
export interface RecordKind<T extends RecordContent, Name extends number | string> {
  /** A key is this, a slash, and the name. */
  readonly prefix: string;
  /** What stands behind prefix and slash. */
  nameOf(rest: string): Name;
  fromData(data: RecordData): T;
  fresh(): T;
}

export class RecordsOfKind<T extends RecordContent, Name extends number | string> {
  readonly #table: RecordTable;
  readonly #kind: RecordKind<T, Name>;
  readonly #resident = new Map<Name, Resident<T>>();
  readonly #holder: RecordHolder;

  constructor(table: RecordTable, kind: RecordKind<T, Name>) {
    this.#table = table;
    this.#kind = kind;
    this.#holder = { evicted: ({ key }) => this.#resident.delete(this.#nameOf(key)) };
  }

  key(name: Name): RecordKey {
    return `${this.#kind.prefix}/${name}` as RecordKey;
  }

  has(name: Name): boolean {
    return this.#resident.has(name);
  }

  /** To read; undefined when it is not in memory. */
  peek(name: Name): T | undefined {
    const resident = this.#resident.get(name);
    if (resident === undefined) return undefined;
    resident.used = true;
    return resident.content;
  }

  /** To read what must be in memory. */
  get(name: Name): T {
    const content = this.peek(name);
    assert(content !== undefined, 'records: one is not loaded');
    return content;
  }

  /** About to change. */
  change(name: Name): T {
    const resident = this.#resident.get(name);
    assert(resident !== undefined, 'records: one is not loaded');
    resident.used = true;
    this.#table.touch(resident);
    return resident.content;
  }

  /** One that does not exist yet. */
  create(name: Name): T {
    const resident = this.#keep(name, this.#kind.fresh());
    this.#table.create(resident);
    return resident.content;
  }

  /** Adds the key when the record is not in memory; true: it was added, or is there already. */
  need(name: Name, keys: RecordKey[]): boolean {
    if (this.peek(name) !== undefined) return false;
    const key = this.key(name);
    if (!keys.includes(key, Math.max(0, keys.length - LOOK_BACK))) keys.push(key);
    return true;
  }

  /** As the store has it; what it does not have is as if new. What is in memory stays as it is. */
  load(rest: string, data: RecordData | undefined): void {
    const name = this.#kind.nameOf(rest);
    if (this.has(name)) return;
    const content = data === undefined ? this.#kind.fresh() : this.#kind.fromData(data);
    this.#table.adopt(this.#keep(name, content));
  }

  /** It exists no more. */
  remove(name: Name): void {
    const resident = this.#resident.get(name);
    if (resident === undefined) {
      this.#table.removeAbsent(this.key(name));
      return;
    }
    this.#table.remove(resident);
    this.#resident.delete(name);
  }

  #nameOf(key: RecordKey): Name {
    return this.#kind.nameOf(key.slice(this.#kind.prefix.length + 1));
  }

  #keep(name: Name, content: T): Resident<T> {
    assert(!this.#resident.has(name), 'records: one twice');
    const resident = new Resident(this.key(name), content, this.#holder);
    this.#resident.set(name, resident);
    return resident;
  }
}

/** For names that are numbers. */
export function numberName(rest: string): number {
  return Number(rest);
}

/** For names that are words. */
export function wordName(rest: string): string {
  return rest;
}
