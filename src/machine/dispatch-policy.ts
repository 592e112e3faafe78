/**
 * Who gets which message next: the soft state of one group's deliveries on its leader. Pure: it
 * decides, the caller delivers and proposes. A delivery costs no log write, and nothing of this
 * survives a restart.
 *
 * - First in, first out; a redelivery that is due goes ahead of new messages, the lowest offset
 *   first.
 * - Round robin over the consumers with credit (`consumer-ring.ts`). A redelivery prefers another
 *   consumer than the one that had the message last; a lone consumer gets its own again.
 * - A delivery is named by (term, number). `requeue` and `discard` count only from the current one;
 *   a `complete` counts always, late or from a former holder.
 * - What a consumer holds longer than the visibility timeout, or held when it was lost, is proposed
 *   as a requeue: an attempt. What it hands back unprocessed is due at once and no attempt. A
 *   consumer that holds nothing has no deadline, however long it is idle.
 * - New messages go out only within `maxUnsettledSpan` of the floor; `stuck` names who holds them
 *   back.
 *
 * The invariant: every offset from the floor up to `cursor` is settled or has a slot; from `cursor`
 * on a message is new unless its bit is set in `#skip`. Claim and settlement cost the same however
 * many messages are delivered; a message that waits for its redelivery costs O(log n) of those that
 * wait.
 *
 * Times are stamps, the same clock as `notBefore`. Consumers are named by numbers of the caller,
 * each used once. An effect may be told that the start knew already.
 */

import { assert, isCount } from './assert.ts';
import type { Claims } from './claims.ts';
import type { SettleOutcome } from './command.ts';
import { Consumer, ConsumerRing } from './consumer-ring.ts';
import type { QueueLimits } from './definitions.ts';
import { DeliverySlots, ENDING, NO_SLOT, REDELIVERED, SlotState } from './delivery-slots.ts';
import type { Offset } from './ids.ts';
import { SETTLED_CHUNK, SettledChunk, chunkOf } from './settled-ranges.ts';
import { SlotHeap } from './slot-heap.ts';

export { Claims } from './claims.ts';

/** A group as it was when dispatching began; the policy owns the bitmaps from then on. */
export interface DispatchStart {
  readonly floor: Offset;
  readonly nextOffset: Offset;
  readonly limits: QueueLimits;
  /** Settled offsets above the floor, by chunk. */
  readonly settled: Map<number, SettledChunk>;
  /** Messages that were requeued and are not settled. */
  readonly requeued: readonly RequeuedMessage[];
}

export interface RequeuedMessage {
  readonly offset: number;
  readonly attempts: number;
  readonly notBefore: number;
}

/** What is to be done with a settlement that a client asked for. */
export type SettleVerdict =
  /** Propose a Settle command; tell `proposalFailed` if that cannot be done. */
  | 'propose'
  /** Settled already, or that is under way: nothing to do, and nothing wrong. */
  | 'settled'
  /**
   * A requeue or discard that is not from the current delivery, or an offset that does not exist.
   */
  | 'stale';

export interface DispatchPolicyOptions {
  readonly term: number;
  readonly start: DispatchStart;
  /**
   * Messages below this may have been delivered before the start: their delivery is a redelivery.
   */
  readonly seenBelow: number;
}

/**
 * Bounds what one claim does for messages whose backoff has ended; the rest follows with the next
 * one.
 */
const MAX_DUE_MOVES = 4096;

export class DispatchPolicy {
  readonly #term: number;
  readonly #seenBelow: number;
  #limits: QueueLimits;
  #floor: number;
  #nextOffset: number;
  /** The next offset that may be new. */
  #cursor: number;
  /** Offsets from `#cursor` on that are not new: settled, or in a slot. */
  readonly #skip: Map<number, SettledChunk>;
  readonly #consumers = new Map<number, Consumer>();
  readonly #ring = new ConsumerRing();
  readonly #slots = new DeliverySlots();
  /** Slots that are due, by offset, and those that will be, by time. */
  readonly #due = new SlotHeap();
  readonly #later = new SlotHeap();
  readonly #withheld = new Set<number>();
  #deliveryNumber = 0;
  #now = 0;
  #cursorSteps = 0;

  constructor(options: DispatchPolicyOptions) {
    const { start } = options;
    this.#term = options.term;
    this.#seenBelow = options.seenBelow;
    this.#limits = start.limits;
    this.#floor = start.floor;
    this.#cursor = start.floor;
    this.#nextOffset = start.nextOffset;
    this.#skip = start.settled;
    for (const message of start.requeued) {
      this.requeued(message.offset as Offset, message.attempts, message.notBefore);
    }
  }

  get consumers(): number {
    return this.#consumers.size;
  }

  /** Deliveries that consumers hold now. */
  get delivered(): number {
    return this.#slots.held;
  }

  /** Messages that wait for a redelivery. */
  get waiting(): number {
    return this.#due.size + this.#later.size;
  }

  /** Messages remembered one by one: delivered, being settled, waiting, withheld. */
  get remembered(): number {
    return this.#slots.size;
  }

  /** Messages whose payload cannot be read, ascending. */
  get withheld(): readonly Offset[] {
    return [...this.#withheld].sort((a, b) => a - b) as Offset[];
  }

  /** What loops in here have cost so far: entries moved in heaps, words passed by the cursor. */
  get steps(): number {
    return this.#due.steps + this.#later.steps + this.#cursorSteps;
  }

  // What apply did, told in its order.

  enqueued(offset: Offset): void {
    if (offset >= this.#nextOffset) this.#nextOffset = offset + 1;
  }

  settled(offset: Offset, floor: Offset): void {
    const slot = this.#slots.find(offset);
    if (slot !== NO_SLOT) this.#forget(slot);
    else if (offset >= this.#cursor) this.#skipAt(offset);
    if (floor > this.#floor) this.#floor = floor;
  }

  requeued(offset: Offset, attempts: number, notBefore: number): void {
    let slot = this.#slots.find(offset);
    if (slot === NO_SLOT) {
      // Settled in the meantime, or not yet delivered by this policy.
      if (offset < this.#cursor || this.#isSkipped(offset)) return;
      this.#skipAt(offset);
      slot = this.#slots.add(offset);
    } else {
      this.#leaveState(slot);
    }
    this.#slots.endDelivery(slot);
    this.#slots.setAttempts(slot, attempts, notBefore);
    this.#slots.set(slot, REDELIVERED);
    // A complete proposed behind the requeue will settle it: not to be delivered meanwhile.
    if (this.#slots.has(slot, ENDING)) this.#slots.setState(slot, SlotState.settling);
    else this.#wait(slot, notBefore);
  }

  limitsChanged(limits: QueueLimits): void {
    this.#limits = limits;
  }

  // Consumers.

  attach(id: number, credit: number): void {
    assert(!this.#consumers.has(id), 'policy: the consumer is attached already');
    const consumer = new Consumer(id);
    this.#consumers.set(id, consumer);
    this.grant(id, credit);
  }

  /**
   * Adds to the credit; nothing for a consumer that is gone. Credit comes back by this alone: a
   * delivery that timed out still fills its place at the consumer (receive maximum, prefetch).
   */
  grant(id: number, deliveries: number): void {
    assert(isCount(deliveries), 'policy: credit must be a count');
    const consumer = this.#consumers.get(id);
    if (consumer === undefined) return;
    consumer.credit += deliveries;
    this.#ring.join(consumer);
  }

  /**
   * Ends a consumer. `lost` adds what it held to `requeue`: the caller proposes for each a Settle
   * requeue with the cause `lost`. `returned` makes it due again at once, without an attempt.
   */
  close(id: number, how: 'lost' | 'returned', requeue: Offset[]): void {
    const consumer = this.#consumers.get(id);
    if (consumer === undefined) return;
    this.#consumers.delete(id);
    this.#ring.leave(consumer);
    consumer.isOpen = false;
    for (let slot = consumer.firstHeld; slot !== NO_SLOT; slot = consumer.firstHeld) {
      if (how === 'lost') {
        this.#slots.release(slot, SlotState.settling);
        requeue.push(this.#slots.offset(slot) as Offset);
      } else {
        this.#slots.release(slot, SlotState.due);
        this.#slots.endDelivery(slot);
        this.#slots.set(slot, REDELIVERED);
        this.#wait(slot, 0);
      }
    }
  }

  // Deliveries.

  /** Decides up to `max` deliveries and adds them to `into`; how many. */
  claim(now: number, max: number, into: Claims): number {
    this.#tick(now);
    this.#moveDue();
    let count = 0;
    while (count < max) {
      let consumer = this.#ring.first;
      if (consumer === undefined) break;
      let slot = this.#due.pop();
      if (slot === NO_SLOT) {
        if (!this.#hasNew()) break;
        slot = this.#slots.add(this.#cursor);
        this.#cursor += 1;
        if (this.#cursor % SETTLED_CHUNK === 0) this.#skip.delete(chunkOf(this.#cursor - 1));
      } else if (consumer === this.#slots.holder(slot) && consumer.next !== undefined) {
        consumer = consumer.next;
      }
      this.#deliver(slot, consumer, into);
      count += 1;
    }
    return count;
  }

  /** A client settles: may it be proposed? */
  settle(
    offset: Offset,
    term: number,
    deliveryNumber: number,
    outcome: SettleOutcome,
  ): SettleVerdict {
    const slots = this.#slots;
    const slot = slots.find(offset);
    if (outcome !== 'complete') {
      if (slot === NO_SLOT || slots.state(slot) !== SlotState.held) return 'stale';
      if (term !== this.#term || deliveryNumber !== slots.number(slot)) return 'stale';
      slots.release(slot, SlotState.settling);
      if (outcome === 'discard') slots.set(slot, ENDING);
      return 'propose';
    }
    if (slot === NO_SLOT) return this.#completeUnknown(offset);
    if (slots.has(slot, ENDING)) return 'settled';
    this.#leaveState(slot);
    slots.set(slot, ENDING);
    return 'propose';
  }

  /**
   * Adds up to `max` offsets whose visibility timeout passed: propose Settle requeue, cause
   * `timeout`.
   */
  expire(now: number, max: number, requeue: Offset[]): number {
    this.#tick(now);
    const slots = this.#slots;
    let count = 0;
    while (count < max) {
      const slot = slots.oldest;
      if (slot === NO_SLOT || slots.time(slot) + this.#limits.visibilityTimeoutMs > this.#now)
        break;
      slots.release(slot, SlotState.settling);
      requeue.push(slots.offset(slot) as Offset);
      count += 1;
    }
    return count;
  }

  /**
   * A proposal that `settle`, `expire` or `close` asked for was refused: the delivery goes on with
   * a new visibility timeout, or the message is due again if nobody holds it.
   */
  proposalFailed(offset: Offset, now: number): void {
    this.#tick(now);
    const slots = this.#slots;
    const slot = slots.find(offset);
    if (slot === NO_SLOT || slots.state(slot) !== SlotState.settling) return;
    slots.unset(slot, ENDING);
    const holder = slots.holder(slot);
    if (slots.number(slot) === 0) {
      this.#wait(slot, slots.time(slot));
    } else if (holder?.isOpen === true) {
      slots.hold(slot, holder, this.#now);
    } else {
      slots.endDelivery(slot);
      slots.set(slot, REDELIVERED);
      this.#wait(slot, 0);
    }
  }

  /**
   * A claimed delivery that never left: due again at once, credit back, and as if it had not been.
   */
  unclaim(offset: Offset): void {
    const slot = this.#takeBack(offset);
    if (slot !== NO_SLOT) this.#wait(slot, 0);
  }

  /**
   * The payload of a claimed delivery cannot be read: not delivered again by this policy, credit
   * back.
   */
  withhold(offset: Offset): void {
    const slot = this.#takeBack(offset);
    if (slot === NO_SLOT) return;
    this.#slots.setState(slot, SlotState.withheld);
    this.#withheld.add(offset);
  }

  /** When to call `expire` and `claim` although nothing happens: 0 is now, Infinity not at all. */
  nextWake(): number {
    const { oldest } = this.#slots;
    const deadline =
      oldest === NO_SLOT ? Infinity : this.#slots.time(oldest) + this.#limits.visibilityTimeoutMs;
    if (this.#ring.first === undefined) return deadline;
    if (this.#due.size > 0 || this.#hasNew()) return 0;
    return Math.min(deadline, this.#later.peekKey());
  }

  /** The unsettled offset that holds new messages back, if one does. */
  stuck(): Offset | undefined {
    if (this.#hasNew() || this.#cursor >= this.#nextOffset) return undefined;
    return this.#floor as Offset;
  }

  #tick(now: number): void {
    if (now > this.#now) this.#now = now;
  }

  #moveDue(): void {
    for (let moves = 0; moves < MAX_DUE_MOVES && this.#later.peekKey() <= this.#now; moves += 1) {
      const slot = this.#later.pop();
      this.#slots.setState(slot, SlotState.due);
      this.#due.add(slot, this.#slots.offset(slot), 0);
    }
  }

  #deliver(slot: number, consumer: Consumer, into: Claims): void {
    const slots = this.#slots;
    const offset = slots.offset(slot);
    this.#deliveryNumber += 1;
    slots.hold(slot, consumer, this.#now);
    slots.setNumber(slot, this.#deliveryNumber);
    this.#ring.serve(consumer);
    const redelivered = slots.has(slot, REDELIVERED) || offset < this.#seenBelow;
    into.finish(
      into.add(consumer.id, offset, this.#deliveryNumber),
      slots.attempts(slot) + 1,
      redelivered,
    );
  }

  /** A complete for a message that this policy does not remember. */
  #completeUnknown(offset: Offset): SettleVerdict {
    if (offset < 0 || offset >= this.#nextOffset) return 'stale';
    if (offset < this.#cursor || this.#isSkipped(offset)) return 'settled';
    // It was delivered in an earlier term and is new in this one: not to be delivered any more.
    this.#skipAt(offset);
    this.#slots.set(this.#slots.add(offset), ENDING | REDELIVERED);
    return 'propose';
  }

  /** The slot of a delivery that is held, taken from its holder with the credit given back. */
  #takeBack(offset: Offset): number {
    const slots = this.#slots;
    const slot = slots.find(offset);
    if (slot === NO_SLOT || slots.state(slot) !== SlotState.held) return NO_SLOT;
    const holder = slots.holder(slot) as Consumer;
    slots.release(slot, SlotState.due);
    slots.endDelivery(slot);
    holder.credit += 1;
    this.#ring.join(holder);
    return slot;
  }

  /** Takes a slot out of the list or heap that its state has; it is `settling` then. */
  #leaveState(slot: number): void {
    const slots = this.#slots;
    switch (slots.state(slot)) {
      case SlotState.held:
        slots.release(slot, SlotState.settling);
        return;
      case SlotState.later:
        this.#later.remove(slot);
        break;
      case SlotState.due:
        this.#due.remove(slot);
        break;
      case SlotState.withheld:
        this.#withheld.delete(slots.offset(slot));
        break;
      case SlotState.settling:
        return;
      case SlotState.free:
        assert(false, 'policy: a free slot');
    }
    slots.setState(slot, SlotState.settling);
  }

  #forget(slot: number): void {
    this.#leaveState(slot);
    this.#slots.remove(slot);
  }

  /** The message waits for its redelivery. */
  #wait(slot: number, notBefore: number): void {
    const offset = this.#slots.offset(slot);
    if (notBefore === 0) {
      this.#slots.setState(slot, SlotState.due);
      this.#due.add(slot, offset, 0);
    } else {
      this.#slots.setState(slot, SlotState.later);
      this.#later.add(slot, notBefore, offset);
    }
  }

  /**
   * Moves the cursor over what is not new; true when there is a new message that may be delivered.
   */
  #hasNew(): boolean {
    while (this.#skip.size > 0) {
      const chunk = chunkOf(this.#cursor);
      const bits = this.#skip.get(chunk);
      if (bits === undefined) break;
      const at = this.#cursor - chunk * SETTLED_CHUNK;
      const next = bits.nextClear(at);
      this.#cursorSteps += (next - at + 31) >>> 5;
      this.#cursor += next - at;
      if (next < SETTLED_CHUNK) break;
      this.#skip.delete(chunk);
    }
    return (
      this.#cursor < this.#nextOffset && this.#cursor - this.#floor < this.#limits.maxUnsettledSpan
    );
  }

  #isSkipped(offset: number): boolean {
    const chunk = chunkOf(offset);
    return this.#skip.get(chunk)?.has(offset - chunk * SETTLED_CHUNK) === true;
  }

  #skipAt(offset: number): void {
    const chunk = chunkOf(offset);
    let bits = this.#skip.get(chunk);
    if (bits === undefined) {
      bits = new SettledChunk();
      this.#skip.set(chunk, bits);
    }
    bits.set(offset - chunk * SETTLED_CHUNK);
  }
}
