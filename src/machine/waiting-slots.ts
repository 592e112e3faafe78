/**
 * The messages of a group that wait for a redelivery: those that are due, by offset, and those that
 * will be, by time.
 *
 * Sets the state of the slots that it takes: `due` or `later`. A message costs O(log n) of those
 * that wait.
 */

import { type DeliverySlots, NO_SLOT, SlotState } from './delivery-slots.ts';
import { SlotHeap } from './slot-heap.ts';

/**
 * Bounds what one look does for messages whose backoff has ended; the rest follows with the next
 * one.
 */
const MAX_DUE_MOVES = 4096;

export class WaitingSlots {
  readonly #slots: DeliverySlots;
  readonly #due = new SlotHeap();
  readonly #later = new SlotHeap();

  constructor(slots: DeliverySlots) {
    this.#slots = slots;
  }

  get size(): number {
    return this.#due.size + this.#later.size;
  }

  /** Entries moved in heaps so far. */
  get steps(): number {
    return this.#due.steps + this.#later.steps;
  }

  /** When the next one is due: 0 is now, Infinity never. */
  get next(): number {
    return this.#due.size > 0 ? 0 : this.#later.peekKey();
  }

  /** `notBefore` 0: at once. */
  add(slot: number, notBefore: number): void {
    const offset = this.#slots.offset(slot);
    if (notBefore === 0) {
      this.#slots.setState(slot, SlotState.due);
      this.#due.add(slot, offset, 0);
    } else {
      this.#slots.setState(slot, SlotState.later);
      this.#later.add(slot, notBefore, offset);
    }
  }

  /** Takes out one that waits; its state is still as it was. */
  remove(slot: number): void {
    if (this.#slots.state(slot) === SlotState.due) this.#due.remove(slot);
    else this.#later.remove(slot);
  }

  /** Makes due what is by now. */
  tick(now: number): void {
    for (let moves = 0; moves < MAX_DUE_MOVES && this.#later.peekKey() <= now; moves += 1) {
      this.add(this.#later.pop(), 0);
    }
  }

  /** The lowest that is due, taken out; `NO_SLOT`: none is. */
  pop(): number {
    return this.#due.size === 0 ? NO_SLOT : this.#due.pop();
  }
}
