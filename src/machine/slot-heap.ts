/**
 * A binary heap of slots by (key, tie), lowest first, from which any slot can be removed in O(log
 * n).
 *
 * Keys lie in plain arrays of numbers, so an entry costs no object. A slot is in the heap at most
 * once.
 */

import { assert } from './assert.ts';

const ABSENT = -1;

export class SlotHeap {
  readonly #slots: number[] = [];
  readonly #keys: number[] = [];
  readonly #ties: number[] = [];
  /** Where a slot is in the heap. */
  #places = new Int32Array(0);
  /** Entries moved so far: what the heap costs, for tests and metrics. */
  steps = 0;

  get size(): number {
    return this.#slots.length;
  }

  /** The lowest slot, -1 when empty. */
  peek(): number {
    return this.#slots[0] ?? ABSENT;
  }

  /** The key of the lowest slot; Infinity when empty. */
  peekKey(): number {
    return this.#keys[0] ?? Infinity;
  }

  add(slot: number, key: number, tie: number): void {
    if (slot >= this.#places.length) this.#growTo(slot + 1);
    assert(this.#places[slot] === ABSENT, 'heap: the slot is in it already');
    const at = this.#slots.length;
    this.#slots.push(slot);
    this.#keys.push(key);
    this.#ties.push(tie);
    this.#places[slot] = at;
    this.#rise(at);
  }

  /** The lowest slot, taken out; -1 when empty. */
  pop(): number {
    const slot = this.peek();
    if (slot !== ABSENT) this.remove(slot);
    return slot;
  }

  remove(slot: number): void {
    const at = this.#places[slot] ?? ABSENT;
    assert(at !== ABSENT, 'heap: the slot is not in it');
    const last = this.#slots.length - 1;
    if (at !== last) this.#swap(at, last);
    this.#slots.pop();
    this.#keys.pop();
    this.#ties.pop();
    this.#places[slot] = ABSENT;
    if (at === last) return;
    const moved = this.#slots[at] as number;
    this.#rise(at);
    this.#sink(this.#places[moved] as number);
  }

  #isLess(a: number, b: number): boolean {
    const keyA = this.#keys[a] as number;
    const keyB = this.#keys[b] as number;
    return keyA < keyB || (keyA === keyB && (this.#ties[a] as number) < (this.#ties[b] as number));
  }

  #swap(a: number, b: number): void {
    this.steps += 1;
    const slotA = this.#slots[a] as number;
    const slotB = this.#slots[b] as number;
    this.#slots[a] = slotB;
    this.#slots[b] = slotA;
    this.#places[slotA] = b;
    this.#places[slotB] = a;
    const key = this.#keys[a] as number;
    this.#keys[a] = this.#keys[b] as number;
    this.#keys[b] = key;
    const tie = this.#ties[a] as number;
    this.#ties[a] = this.#ties[b] as number;
    this.#ties[b] = tie;
  }

  #rise(from: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!this.#isLess(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(from: number): void {
    const size = this.#slots.length;
    let at = from;
    for (;;) {
      const left = at * 2 + 1;
      if (left >= size) return;
      const child = left + 1 < size && this.#isLess(left + 1, left) ? left + 1 : left;
      if (!this.#isLess(child, at)) return;
      this.#swap(at, child);
      at = child;
    }
  }

  #growTo(least: number): void {
    const places = new Int32Array(Math.max(least, this.#places.length * 2, 64)).fill(ABSENT);
    places.set(this.#places);
    this.#places = places;
  }
}
