/**
 * The messages that a dispatch policy has to remember one by one: held by a consumer, being
 * settled, or waiting for a redelivery.
 *
 * A message has a slot; what is known of it lies in columns, so that it costs some 60 bytes and no
 * object. Two lists go through the slots that are held: by age of the delivery (for the visibility
 * timeout: the oldest is first, as long as `now` never goes back), and by holder. Each operation is
 * O(1).
 */

import { assert } from './assert.ts';
import type { Consumer } from './consumer-ring.ts';

export const SlotState = { free: 0, held: 1, settling: 2, later: 3, due: 4, withheld: 5 } as const;
export type SlotState = (typeof SlotState)[keyof typeof SlotState];

export const NO_SLOT = -1;
const FIRST_CAPACITY = 8;

/** Bits of a slot's flags. */
export const REDELIVERED = 1;
/** A complete or discard is proposed; without it a slot that is settling has a requeue proposed. */
export const ENDING = 2;

export class DeliverySlots {
  readonly #byOffset = new Map<number, number>();
  readonly #free: number[] = [];
  #used = 0;
  #held = 0;
  #oldest = NO_SLOT;
  #youngest = NO_SLOT;
  readonly #holder: (Consumer | undefined)[] = [];
  #offset = new Float64Array(FIRST_CAPACITY);
  /** When it was delivered (held), or before when it is not to be (later). */
  #time = new Float64Array(FIRST_CAPACITY);
  #number = new Float64Array(FIRST_CAPACITY);
  #attempts = new Uint32Array(FIRST_CAPACITY);
  #state = new Uint8Array(FIRST_CAPACITY);
  #flags = new Uint8Array(FIRST_CAPACITY);
  #older = new Int32Array(FIRST_CAPACITY);
  #younger = new Int32Array(FIRST_CAPACITY);
  #heldBefore = new Int32Array(FIRST_CAPACITY);
  #heldAfter = new Int32Array(FIRST_CAPACITY);

  get size(): number {
    return this.#byOffset.size;
  }

  /** Slots that a consumer holds. */
  get held(): number {
    return this.#held;
  }

  /** The slot that was delivered longest ago. */
  get oldest(): number {
    return this.#oldest;
  }

  find(offset: number): number {
    return this.#byOffset.get(offset) ?? NO_SLOT;
  }

  /** A slot for a message that has none; free of everything but its offset. */
  add(offset: number): number {
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = this.#used;
      this.#used += 1;
      if (slot === this.#offset.length) this.#grow();
    }
    this.#byOffset.set(offset, slot);
    this.#offset[slot] = offset;
    this.#time[slot] = 0;
    this.#number[slot] = 0;
    this.#attempts[slot] = 0;
    this.#flags[slot] = 0;
    this.#holder[slot] = undefined;
    this.#state[slot] = SlotState.settling;
    return slot;
  }

  /** The slot is not held. */
  remove(slot: number): void {
    assert(this.#state[slot] !== SlotState.held, 'slots: removed while it is held');
    this.#byOffset.delete(this.#offset[slot] as number);
    this.#state[slot] = SlotState.free;
    this.#holder[slot] = undefined;
    this.#free.push(slot);
  }

  offset(slot: number): number {
    return this.#offset[slot] as number;
  }

  time(slot: number): number {
    return this.#time[slot] as number;
  }

  /** The number of the current delivery; 0 when there is none. */
  number(slot: number): number {
    return this.#number[slot] as number;
  }

  attempts(slot: number): number {
    return this.#attempts[slot] as number;
  }

  state(slot: number): SlotState {
    return this.#state[slot] as SlotState;
  }

  /** Who holds it, or held it last. */
  holder(slot: number): Consumer | undefined {
    return this.#holder[slot];
  }

  /** As if nobody ever held it. */
  forgetHolder(slot: number): void {
    this.#holder[slot] = undefined;
  }

  has(slot: number, flag: number): boolean {
    return ((this.#flags[slot] as number) & flag) !== 0;
  }

  set(slot: number, flag: number): void {
    this.#flags[slot] = (this.#flags[slot] as number) | flag;
  }

  unset(slot: number, flag: number): void {
    this.#flags[slot] = (this.#flags[slot] as number) & ~flag;
  }

  setState(slot: number, state: SlotState): void {
    this.#state[slot] = state;
  }

  setAttempts(slot: number, attempts: number, notBefore: number): void {
    this.#attempts[slot] = attempts;
    this.#time[slot] = notBefore;
  }

  setNumber(slot: number, number: number): void {
    this.#number[slot] = number;
  }

  endDelivery(slot: number): void {
    this.#number[slot] = 0;
  }

  /** The consumer holds it from now on. */
  hold(slot: number, consumer: Consumer, now: number): void {
    this.#state[slot] = SlotState.held;
    this.#holder[slot] = consumer;
    this.#time[slot] = now;
    this.#held += 1;
    this.#becomeYoungest(slot);

    this.#heldBefore[slot] = consumer.lastHeld;
    this.#heldAfter[slot] = NO_SLOT;
    if (consumer.lastHeld === NO_SLOT) consumer.firstHeld = slot;
    else this.#heldAfter[consumer.lastHeld] = slot;
    consumer.lastHeld = slot;
  }

  /** Nobody holds it any more; it goes on in another state, and remembers its last holder. */
  release(slot: number, state: SlotState): void {
    assert(this.#state[slot] === SlotState.held, 'slots: released without a holder');
    this.#state[slot] = state;
    this.#held -= 1;
    this.#leaveAges(slot);

    const consumer = this.#holder[slot] as Consumer;
    const before = this.#heldBefore[slot] as number;
    const after = this.#heldAfter[slot] as number;
    if (before === NO_SLOT) consumer.firstHeld = after;
    else this.#heldAfter[before] = after;
    if (after === NO_SLOT) consumer.lastHeld = before;
    else this.#heldBefore[after] = before;
  }

  /** As if it were delivered only now: the youngest, by the same consumer. */
  renew(slot: number, now: number): void {
    assert(this.#state[slot] === SlotState.held, 'slots: renewed without a holder');
    this.#leaveAges(slot);
    this.#time[slot] = now;
    this.#becomeYoungest(slot);
  }

  /** Offsets of [from, to) that are held, ascending. */
  heldIn(from: number, to: number): number[] {
    const held: number[] = [];
    for (let slot = this.#oldest; slot !== NO_SLOT; slot = this.#younger[slot] as number) {
      const offset = this.#offset[slot] as number;
      if (offset >= from && offset < to) held.push(offset);
    }
    return held.sort((a, b) => a - b);
  }

  /** Offsets that have a slot. */
  offsets(): IterableIterator<number> {
    return this.#byOffset.keys();
  }

  #becomeYoungest(slot: number): void {
    this.#older[slot] = this.#youngest;
    this.#younger[slot] = NO_SLOT;
    if (this.#youngest === NO_SLOT) this.#oldest = slot;
    else this.#younger[this.#youngest] = slot;
    this.#youngest = slot;
  }

  #leaveAges(slot: number): void {
    const older = this.#older[slot] as number;
    const younger = this.#younger[slot] as number;
    if (older === NO_SLOT) this.#oldest = younger;
    else this.#younger[older] = younger;
    if (younger === NO_SLOT) this.#youngest = older;
    else this.#older[younger] = older;
  }

  #grow(): void {
    const capacity = this.#offset.length * 2;
    this.#offset = copied(this.#offset, new Float64Array(capacity));
    this.#time = copied(this.#time, new Float64Array(capacity));
    this.#number = copied(this.#number, new Float64Array(capacity));
    this.#attempts = copied(this.#attempts, new Uint32Array(capacity));
    this.#state = copied(this.#state, new Uint8Array(capacity));
    this.#flags = copied(this.#flags, new Uint8Array(capacity));
    this.#older = copied(this.#older, new Int32Array(capacity));
    this.#younger = copied(this.#younger, new Int32Array(capacity));
    this.#heldBefore = copied(this.#heldBefore, new Int32Array(capacity));
    this.#heldAfter = copied(this.#heldAfter, new Int32Array(capacity));
  }
}

function copied<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
