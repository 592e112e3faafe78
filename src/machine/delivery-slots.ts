/**
 * The messages that a dispatch policy has to remember one by one: held by a consumer, being
 * settled, or waiting for a redelivery.
 *
 * A message has a slot: a row of numbers, so that it costs some 60 bytes and no object, and what is
 * looked at together lies together. Two lists go through the slots that are held: by age of the
 * delivery (for the visibility timeout: the oldest is first, as long as `now` never goes back), and
 * by holder. Each operation is O(1).
 */

import { assert } from './assert.ts';
import type { Consumer } from './consumer-ring.ts';
import { SlotIndex } from './slot-index.ts';

export const SlotState = { free: 0, held: 1, settling: 2, later: 3, due: 4, withheld: 5 } as const;
export type SlotState = (typeof SlotState)[keyof typeof SlotState];

export const NO_SLOT = -1;
const FIRST_CAPACITY = 8;
/** With more room than this the memory is given back when no message is left. */
const KEPT_CAPACITY = 4096;

const OFFSET = 0;
/** When it was delivered (held), or before when it is not to be (later). */
const TIME = 1;
const NUMBER = 2;
const NUMBERS = 3;

/** Neighbours in the lists by age and by holder. */
const OLDER = 0;
const YOUNGER = 1;
const HELD_BEFORE = 2;
const HELD_AFTER = 3;
const ATTEMPTS = 4;
const STATE = 5;
const FLAGS = 6;
const LINKS = 7;

/** Bits of a slot's flags. */
export const REDELIVERED = 1;
/** A complete or discard is proposed; without it a slot that is settling has a requeue proposed. */
export const ENDING = 2;

export class DeliverySlots {
  readonly #index = new SlotIndex();
  readonly #free: number[] = [];
  #used = 0;
  #held = 0;
  #oldest = NO_SLOT;
  #youngest = NO_SLOT;
  readonly #holder: (Consumer | undefined)[] = [];
  /** Rows of `OFFSET`, `TIME`, `NUMBER`. */
  #numbers = new Float64Array(FIRST_CAPACITY * NUMBERS);
  /** Rows of `OLDER` to `FLAGS`. */
  #links = new Int32Array(FIRST_CAPACITY * LINKS);

  get size(): number {
    return this.#index.size;
  }

  /** Messages that there is room for. */
  get capacity(): number {
    return this.#links.length / LINKS;
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
    return this.#index.get(offset);
  }

  /** A slot for a message that has none; free of everything but its offset. */
  add(offset: number): number {
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = this.#used;
      this.#used += 1;
      if (slot === this.capacity) this.#grow();
    }
    this.#index.add(offset, slot);
    this.#numbers[slot * NUMBERS + OFFSET] = offset;
    this.#numbers[slot * NUMBERS + TIME] = 0;
    this.#numbers[slot * NUMBERS + NUMBER] = 0;
    this.#links[slot * LINKS + ATTEMPTS] = 0;
    this.#links[slot * LINKS + FLAGS] = 0;
    this.#holder[slot] = undefined;
    this.#links[slot * LINKS + STATE] = SlotState.settling;
    return slot;
  }

  /** The slot is not held. */
  remove(slot: number): void {
    assert(this.#links[slot * LINKS + STATE] !== SlotState.held, 'slots: removed while it is held');
    this.#index.remove(this.#numbers[slot * NUMBERS + OFFSET] as number);
    this.#links[slot * LINKS + STATE] = SlotState.free;
    this.#holder[slot] = undefined;
    this.#free.push(slot);
    if (this.#index.size === 0 && this.capacity > KEPT_CAPACITY) this.#shrink();
  }

  offset(slot: number): number {
    return this.#numbers[slot * NUMBERS + OFFSET] as number;
  }

  time(slot: number): number {
    return this.#numbers[slot * NUMBERS + TIME] as number;
  }

  /** The number of the current delivery; 0 when there is none. */
  number(slot: number): number {
    return this.#numbers[slot * NUMBERS + NUMBER] as number;
  }

  attempts(slot: number): number {
    return this.#links[slot * LINKS + ATTEMPTS] as number;
  }

  state(slot: number): SlotState {
    return this.#links[slot * LINKS + STATE] as SlotState;
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
    return ((this.#links[slot * LINKS + FLAGS] as number) & flag) !== 0;
  }

  set(slot: number, flag: number): void {
    this.#links[slot * LINKS + FLAGS] = (this.#links[slot * LINKS + FLAGS] as number) | flag;
  }

  unset(slot: number, flag: number): void {
    this.#links[slot * LINKS + FLAGS] = (this.#links[slot * LINKS + FLAGS] as number) & ~flag;
  }

  setState(slot: number, state: SlotState): void {
    this.#links[slot * LINKS + STATE] = state;
  }

  setAttempts(slot: number, attempts: number, notBefore = this.time(slot)): void {
    this.#links[slot * LINKS + ATTEMPTS] = attempts;
    this.#numbers[slot * NUMBERS + TIME] = notBefore;
  }

  setNumber(slot: number, number: number): void {
    this.#numbers[slot * NUMBERS + NUMBER] = number;
  }

  endDelivery(slot: number): void {
    this.#numbers[slot * NUMBERS + NUMBER] = 0;
  }

  /** The consumer holds it from now on. */
  hold(slot: number, consumer: Consumer, now: number): void {
    this.#links[slot * LINKS + STATE] = SlotState.held;
    this.#holder[slot] = consumer;
    this.#numbers[slot * NUMBERS + TIME] = now;
    this.#held += 1;
    this.#becomeYoungest(slot);

    this.#links[slot * LINKS + HELD_BEFORE] = consumer.lastHeld;
    this.#links[slot * LINKS + HELD_AFTER] = NO_SLOT;
    if (consumer.lastHeld === NO_SLOT) consumer.firstHeld = slot;
    else this.#links[consumer.lastHeld * LINKS + HELD_AFTER] = slot;
    consumer.lastHeld = slot;
  }

  /** Nobody holds it any more; it goes on in another state, and remembers its last holder. */
  release(slot: number, state: SlotState): void {
    assert(
      this.#links[slot * LINKS + STATE] === SlotState.held,
      'slots: released without a holder',
    );
    this.#links[slot * LINKS + STATE] = state;
    this.#held -= 1;
    this.#leaveAges(slot);

    const consumer = this.#holder[slot] as Consumer;
    const before = this.#links[slot * LINKS + HELD_BEFORE] as number;
    const after = this.#links[slot * LINKS + HELD_AFTER] as number;
    if (before === NO_SLOT) consumer.firstHeld = after;
    else this.#links[before * LINKS + HELD_AFTER] = after;
    if (after === NO_SLOT) consumer.lastHeld = before;
    else this.#links[after * LINKS + HELD_BEFORE] = before;
  }

  /** As if it were delivered only now: the youngest, by the same consumer. */
  renew(slot: number, now: number): void {
    assert(this.#links[slot * LINKS + STATE] === SlotState.held, 'slots: renewed without a holder');
    this.#leaveAges(slot);
    this.#numbers[slot * NUMBERS + TIME] = now;
    this.#becomeYoungest(slot);
  }

  /** Offsets of [from, to) that are held, ascending. */
  heldIn(from: number, to: number): number[] {
    const held: number[] = [];
    for (
      let slot = this.#oldest;
      slot !== NO_SLOT;
      slot = this.#links[slot * LINKS + YOUNGER] as number
    ) {
      const offset = this.#numbers[slot * NUMBERS + OFFSET] as number;
      if (offset >= from && offset < to) held.push(offset);
    }
    return held.sort((a, b) => a - b);
  }

  /** Adds the slots of [from, to) to `into`; how many places were looked at. */
  collect(from: number, to: number, into: number[]): number {
    return this.#index.collect(from, to, into);
  }

  #becomeYoungest(slot: number): void {
    this.#links[slot * LINKS + OLDER] = this.#youngest;
    this.#links[slot * LINKS + YOUNGER] = NO_SLOT;
    if (this.#youngest === NO_SLOT) this.#oldest = slot;
    else this.#links[this.#youngest * LINKS + YOUNGER] = slot;
    this.#youngest = slot;
  }

  #leaveAges(slot: number): void {
    const older = this.#links[slot * LINKS + OLDER] as number;
    const younger = this.#links[slot * LINKS + YOUNGER] as number;
    if (older === NO_SLOT) this.#oldest = younger;
    else this.#links[older * LINKS + YOUNGER] = younger;
    if (younger === NO_SLOT) this.#youngest = older;
    else this.#links[younger * LINKS + OLDER] = older;
  }

  /** No slot is in use. */
  #shrink(): void {
    this.#used = 0;
    this.#free.length = 0;
    this.#holder.length = 0;
    this.#numbers = new Float64Array(FIRST_CAPACITY * NUMBERS);
    this.#links = new Int32Array(FIRST_CAPACITY * LINKS);
  }

  #grow(): void {
    this.#numbers = copied(this.#numbers, new Float64Array(this.#numbers.length * 2));
    this.#links = copied(this.#links, new Int32Array(this.#links.length * 2));
  }
}

function copied<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
