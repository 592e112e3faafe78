/**
 * Queues by id and by name, in columns: a small number (the slot) for each, and no object.
 *
 * The names lie one behind the other in one array of UTF-16 units; what else is known of a queue
 * lies in columns of whoever uses this, at the same slot. 100,000 queues cost some 5 MiB, and the
 * garbage collector has nothing to walk through. A slot is free again when its queue is removed,
 * and the space of names that are gone is won back when it makes up half of all.
 *
 * Never two queues with one id or one name: that is a bug of the caller. Pure: the host gives the
 * seed of the hash, so that nobody can choose names that collide. Nothing that is told depends on
 * it, so replicas may have different ones.
 */

import { assert } from './assert.ts';
import type { QueueId } from './ids.ts';
import { SlotIndex } from './slot-index.ts';

const NONE = -1;
const FIRST_CAPACITY = 64;
const FIRST_UNITS = 1_024;
/** FNV-1a over UTF-16 units. */
const HASH_BASIS = 0x811c9dc5;
const HASH_PRIME = 0x01000193;

/** What was in the column, in a larger one. */
export function grown<T extends { set(from: T): void }>(column: T, larger: T): T {
  larger.set(column);
  return larger;
}

export class QueueNames {
  readonly #basis: number;
  readonly #slots = new SlotIndex();
  #units = new Uint16Array(FIRST_UNITS);
  #unitsUsed = 0;
  #unitsGone = 0;
  #ids = new Float64Array(FIRST_CAPACITY);
  #starts = new Uint32Array(FIRST_CAPACITY);
  /** Of the names; 0: the slot is free. */
  #lengths = new Uint16Array(FIRST_CAPACITY);
  /** The next slot with the same hash, or the next free one. */
  #next = new Int32Array(FIRST_CAPACITY);
  /** The first slot of each hash; as many as there is room for slots. */
  #heads = new Int32Array(FIRST_CAPACITY).fill(NONE);
  #free = NONE;
  /** Slots that were ever given: all below. */
  #end = 0;

  /** `seed`: an integer of 32 bits. */
  constructor(seed: number) {
    this.#basis = HASH_BASIS ^ seed;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** So long must the columns of others be; it only grows. */
  get capacity(): number {
    return this.#ids.length;
  }

  /** -1: none. */
  slotOf(queueId: QueueId): number {
    return this.#slots.get(queueId);
  }

  /** -1: none. */
  slotNamed(name: string): number {
    let slot = this.#heads[this.#bucket(hashOf(name, this.#basis))] as number;
    while (slot !== NONE && !this.#isNamed(slot, name)) slot = this.#next[slot] as number;
    return slot;
  }

  id(slot: number): QueueId {
    return this.#ids[slot] as QueueId;
  }

  name(slot: number): string {
    const start = this.#starts[slot] as number;
    const units = this.#units.subarray(start, start + (this.#lengths[slot] as number));
    // A spread of an typed array goes through its iterator, and takes seven times as long.
    return String.fromCharCode.apply(undefined, units as ArrayLike<number> as number[]);
  }

  /** Neither the id nor the name is there, and the name is not empty; its slot. */
  add(queueId: QueueId, name: string): number {
    assert(this.slotOf(queueId) === NONE, 'queues: an id twice');
    assert(this.slotNamed(name) === NONE, 'queues: a name twice');
    assert(name.length > 0 && name.length < 65_536, 'queues: a name of no proper length');
    const slot = this.#take();
    this.#ids[slot] = queueId;
    this.#write(slot, name);
    this.#link(slot, hashOf(name, this.#basis));
    this.#slots.add(queueId, slot);
    return slot;
  }

  remove(slot: number): void {
    this.#unlink(slot);
    this.#slots.remove(this.#ids[slot] as number);
    this.#unitsGone += this.#lengths[slot] as number;
    this.#lengths[slot] = 0;
    this.#next[slot] = this.#free;
    this.#free = slot;
    if (this.#unitsGone > FIRST_UNITS && this.#unitsGone * 2 > this.#unitsUsed) this.#compact(0);
  }

  /** In order of the slots. */
  *slots(): Generator<number> {
    for (let slot = 0; slot < this.#end; slot += 1) {
      if (this.#lengths[slot] !== 0) yield slot;
    }
  }

  /** In ascending order. */
  sortedIds(): QueueId[] {
    const ids = new Float64Array(this.size);
    let at = 0;
    for (const slot of this.slots()) ids[at++] = this.#ids[slot] as number;
    return Array.from(ids.sort()) as QueueId[];
  }

  #take(): number {
    if (this.#free !== NONE) {
      const slot = this.#free;
      this.#free = this.#next[slot] as number;
      return slot;
    }
    if (this.#end === this.capacity) this.#grow(this.capacity * 2);
    this.#end += 1;
    return this.#end - 1;
  }

  #grow(capacity: number): void {
    this.#ids = grown(this.#ids, new Float64Array(capacity));
    this.#starts = grown(this.#starts, new Uint32Array(capacity));
    this.#lengths = grown(this.#lengths, new Uint16Array(capacity));
    this.#next = new Int32Array(capacity);
    this.#heads = new Int32Array(capacity).fill(NONE);
    for (const slot of this.slots()) this.#link(slot, this.#hashAt(slot));
  }

  #write(slot: number, name: string): void {
    if (this.#unitsUsed + name.length > this.#units.length) this.#compact(name.length);
    const start = this.#unitsUsed;
    for (let i = 0; i < name.length; i += 1) this.#units[start + i] = name.charCodeAt(i);
    this.#starts[slot] = start;
    this.#lengths[slot] = name.length;
    this.#unitsUsed += name.length;
  }

  /** Leaves out names that are gone; with room for `more` units and some. */
  #compact(more: number): void {
    const needed = this.#unitsUsed - this.#unitsGone + more;
    const units = new Uint16Array(Math.max(FIRST_UNITS, Math.ceil(needed * 1.5)));
    let used = 0;
    for (const slot of this.slots()) {
      const start = this.#starts[slot] as number;
      const length = this.#lengths[slot] as number;
      units.set(this.#units.subarray(start, start + length), used);
      this.#starts[slot] = used;
      used += length;
    }
    this.#units = units;
    this.#unitsUsed = used;
    this.#unitsGone = 0;
  }

  #link(slot: number, hash: number): void {
    const bucket = this.#bucket(hash);
    this.#next[slot] = this.#heads[bucket] as number;
    this.#heads[bucket] = slot;
  }

  #unlink(slot: number): void {
    const bucket = this.#bucket(this.#hashAt(slot));
    const behind = this.#next[slot] as number;
    let at = this.#heads[bucket] as number;
    if (at === slot) {
      this.#heads[bucket] = behind;
      return;
    }
    while (this.#next[at] !== slot) at = this.#next[at] as number;
    this.#next[at] = behind;
  }

  #isNamed(slot: number, name: string): boolean {
    if (this.#lengths[slot] !== name.length) return false;
    const start = this.#starts[slot] as number;
    for (let i = 0; i < name.length; i += 1) {
      if (this.#units[start + i] !== name.charCodeAt(i)) return false;
    }
    return true;
  }

  #hashAt(slot: number): number {
    const start = this.#starts[slot] as number;
    const end = start + (this.#lengths[slot] as number);
    let hash = this.#basis;
    for (let i = start; i < end; i += 1) {
      hash = Math.imul(hash ^ (this.#units[i] as number), HASH_PRIME);
    }
    return hash;
  }

  /** As many as slots, a power of two. */
  #bucket(hash: number): number {
    return (hash ^ (hash >>> 15)) & (this.#heads.length - 1);
  }
}

export function hashOf(name: string, basis: number): number {
  let hash = basis;
  for (let i = 0; i < name.length; i += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(i), HASH_PRIME);
  }
  return hash;
}
