/**
 * Who gets which message next: the soft state of one group's deliveries on its leader. Pure: it
 * decides, the caller delivers and proposes. A delivery costs no log write, and nothing of this
 * survives a restart.
 *
 * - First in, first out, the higher priority first; a redelivery that is due goes ahead of new
 *   messages, the lowest offset first.
 * - Round robin over the consumers with credit (`consumer-ring.ts`). A redelivery prefers another
 *   consumer than the one that had the message last; a lone consumer gets its own again.
 *   With a single active consumer the one that is attached longest gets all, the next when it ends.
 * - A delivery is named by (term, number). `requeue` and `discard` count only from the current one;
 *   a `complete` counts always, late or from a former holder.
 * - What a consumer holds longer than the visibility timeout, or held when it was lost, is proposed
 *   as a requeue: an attempt. What it hands back unprocessed is due at once and no attempt. A
 *   consumer that holds nothing has no deadline, however long it is idle.
 * - A stream counts no attempts: what would be one is due at once, and nothing is proposed. A
 *   client's requeue leaves the delivery with its consumer.
 * - New messages go out only within `maxUnsettledSpan` of the floor; `stuck` names who holds them
 *   back.
 *
 * The invariant: a message is new (`new-messages.ts`), or settled, or has a slot, and never two of
 * them; what was settled in a stretch has none. Claim and settlement cost the same however many
 * messages are delivered or new, whatever their priorities; a message that waits for its redelivery
 * costs O(log n) of those that wait, a stretch no more than the lesser of its length and the slots.
 *
 * Times are stamps, the same clock as `notBefore`. Consumers are named by numbers of the caller,
 * each used once. An effect may be told that the start knew already.
 */

import { AdoptedDeliveries } from './adopted-deliveries.ts';
import { assert } from './assert.ts';
import { Claims } from './claims.ts';
import type { SettleOutcome } from './command.ts';
import type { Consumer } from './consumer-ring.ts';
import { ConsumerRoster } from './consumer-roster.ts';
import type { QueueLimits } from './definitions.ts';
import { DeliverySlots, ENDING, NO_SLOT, REDELIVERED, SlotState } from './delivery-slots.ts';
import type { DeliveryName, DispatchPolicyOptions, SettleVerdict } from './dispatch-start.ts';
import type { Offset } from './ids.ts';
import { NewMessages } from './new-messages.ts';
import { WaitingSlots } from './waiting-slots.ts';

export type {
  DeliveryName,
  DispatchPolicyOptions,
  DispatchStart,
  SettleVerdict,
} from './dispatch-start.ts';
export { Claims } from './claims.ts';

export class DispatchPolicy {
  readonly #term: number;
  readonly #seenBelow: number;
  readonly #isStream: boolean;
  #limits: QueueLimits;
  readonly #new: NewMessages;
  readonly #consumers = new ConsumerRoster();
  readonly #slots = new DeliverySlots();
  readonly #adopted: AdoptedDeliveries;
  readonly #waiting = new WaitingSlots(this.#slots);
  readonly #withheld = new Set<number>();
  #nextDeliveryNumber: number;
  #now = 0;
  #rangeSteps = 0;
  /** Deliveries of watched consumers that ended, but by `close`. The caller reads and clears. */
  readonly ended = new Claims();

  constructor(options: DispatchPolicyOptions) {
    const { start } = options;
    this.#term = options.term;
    this.#adopted = new AdoptedDeliveries(options.term, this.#slots);
    this.#seenBelow = options.seenBelow;
    this.#isStream = options.isStream;
    this.#nextDeliveryNumber = options.firstDeliveryNumber;
    this.#limits = start.limits;
    this.#new = new NewMessages(start);
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
    return this.#waiting.size;
  }

  /** Messages remembered one by one: delivered, being settled, waiting, withheld. */
  get remembered(): number {
    return this.#slots.size;
  }

  get withheldCount(): number {
    return this.#withheld.size;
  }

  /** Messages whose payload cannot be read, ascending. */
  get withheld(): readonly Offset[] {
    return [...this.#withheld].sort((a, b) => a - b) as Offset[];
  }

  /** The lowest unsettled offset. */
  get floor(): Offset {
    return this.#new.floor as Offset;
  }

  get nextOffset(): Offset {
    return this.#new.nextOffset as Offset;
  }

  /** For a policy that replaces this one. */
  get nextDeliveryNumber(): number {
    return this.#nextDeliveryNumber;
  }

  /**
   * What loops in here have cost so far: entries moved in heaps, words passed by cursors, offsets
   * looked up for stretches.
   */
  get steps(): number {
    return this.#waiting.steps + this.#new.steps + this.#rangeSteps;
  }

  /** A complete or discard of this message is proposed. */
  isEnding(offset: Offset): boolean {
    const slot = this.#slots.find(offset);
    return slot !== NO_SLOT && this.#slots.has(slot, ENDING);
  }

  /** What consumers hold of [from, to), ascending. */
  heldIn(from: Offset, to: Offset): Offset[] {
    return this.#slots.heldIn(from, to) as Offset[];
  }

  // What apply did, told in its order.

  enqueued(offset: Offset, priority: number): void {
    this.#new.enqueued(offset, Math.min(priority, this.#limits.maxPriority));
  }

  settled(offset: Offset, floor: Offset): void {
    const slot = this.#slots.find(offset);
    if (slot === NO_SLOT) this.#new.take(offset);
    else this.#forget(slot);
    this.#new.raiseFloor(floor);
  }

  /** All of [from, to) is settled. */
  ranged(from: Offset, to: Offset, floor: Offset): void {
    const end = Math.min(to, this.#new.nextOffset);
    if (this.#slots.size > 0) {
      const slots: number[] = [];
      this.#rangeSteps += this.#slots.collect(from, end, slots);
      for (const slot of slots) this.#forget(slot);
    }
    this.#new.takeRange(from, end);
    this.#new.raiseFloor(floor);
  }

  requeued(offset: Offset, attempts: number, notBefore: number): void {
    let slot = this.#slots.find(offset);
    if (slot === NO_SLOT) {
      // Settled in the meantime, or not yet delivered by this policy.
      if (!this.#new.has(offset)) return;
      this.#new.take(offset);
      slot = this.#slots.add(offset);
    } else if (this.#slots.state(slot) === SlotState.held) {
      // It is of an earlier delivery, from before a seek: who holds it by now keeps it.
      this.#slots.setAttempts(slot, attempts);
      return;
    } else this.#leaveState(slot);
    this.#slots.endDelivery(slot);
    this.#slots.setAttempts(slot, attempts, notBefore);
    this.#slots.set(slot, REDELIVERED);
    // A complete proposed behind the requeue will settle it: not to be delivered meanwhile.
    if (this.#slots.has(slot, ENDING)) this.#slots.setState(slot, SlotState.settling);
    else this.#waiting.add(slot, notBefore);
  }

  limitsChanged(limits: QueueLimits): void {
    this.#limits = limits;
  }

  // Consumers.

  /** `isWatched`: its deliveries that end are told in `ended`. */
  attach(id: number, credit: number, isWatched = false): void {
    this.#consumers.attach(id, isWatched);
    this.#consumers.grant(id, credit);
  }

  /** What the consumer may still be given. */
  credit(id: number): number {
    return this.#consumers.get(id)?.credit ?? 0;
  }

  /**
   * Adds to the credit; nothing for a consumer that is gone. Credit comes back by this alone: a
   * delivery that timed out still fills its place at the consumer (receive maximum, prefetch).
   */
  grant(id: number, deliveries: number): void {
    this.#consumers.grant(id, deliveries);
  }

  /** False: it is given nothing until it may take again, whatever its credit. */
  mayTake(id: number, may: boolean): void {
    this.#consumers.mayTake(id, may);
  }

  /**
   * The consumer holds a delivery from before it was attached: it goes on, with a new visibility
   * timeout. Of several the youngest counts. False: somebody else has it, or it is settled.
   */
  adopt(id: number, name: DeliveryName, now: number): boolean {
    this.#tick(now);
    const { offset, term, deliveryNumber } = name;
    const consumer = this.#consumers.get(id);
    if (consumer === undefined || term > this.#term) return false;
    const slots = this.#slots;
    let slot = slots.find(offset);
    if (slot === NO_SLOT) {
      if (term === this.#term || !this.#new.has(offset)) return false;
      this.#new.take(offset);
      slot = slots.add(offset);
    } else if (!this.#adopted.mayHave(slot, name)) return false;
    else this.#leaveState(slot);
    slots.hold(slot, consumer, this.#now);
    slots.setNumber(slot, deliveryNumber);
    slots.set(slot, REDELIVERED);
    this.#adopted.add(name);
    return true;
  }

  /**
   * Ends a consumer. `lost` adds what it held to `requeue`: the caller proposes for each a Settle
   * requeue with the cause `lost`. `returned` makes it due again at once, without an attempt.
   */
  close(id: number, how: 'lost' | 'returned', requeue: Offset[]): void {
    const consumer = this.#consumers.get(id);
    if (consumer === undefined) return;
    this.#consumers.remove(consumer);
    const isAttempt = how === 'lost' && !this.#isStream;
    for (let slot = consumer.firstHeld; slot !== NO_SLOT; slot = consumer.firstHeld) {
      this.#adopted.end(this.#slots.offset(slot));
      if (isAttempt) {
        this.#slots.release(slot, SlotState.settling);
        requeue.push(this.#slots.offset(slot) as Offset);
      } else {
        this.#slots.release(slot, SlotState.due);
        this.#waitAgain(slot);
      }
    }
  }

  /** Nothing is delivered by this policy any more: what is held ends for those who are watched. */
  retire(): void {
    const slots = this.#slots;
    for (let slot = slots.oldest; slot !== NO_SLOT; slot = slots.oldest) {
      this.#release(slot, SlotState.settling);
    }
  }

  // Deliveries.

  /** Decides up to `max` deliveries and adds them to `into`; how many. */
  claim(now: number, max: number, into: Claims): number {
    this.#tick(now);
    this.#waiting.tick(this.#now);
    let count = 0;
    const { maxUnsettledSpan, singleActiveConsumer } = this.#limits;
    while (count < max) {
      let consumer = this.#consumers.turn(singleActiveConsumer);
      if (consumer === undefined) break;
      let slot = this.#waiting.pop();
      if (slot === NO_SLOT) {
        const offset = this.#new.next(maxUnsettledSpan);
        if (offset === -1) break;
        this.#new.take(offset);
        slot = this.#slots.add(offset);
      } else if (!singleActiveConsumer && consumer === this.#slots.holder(slot)) {
        consumer = consumer.next ?? consumer;
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
      if (!this.#adopted.isCurrent(slot, { offset, term, deliveryNumber })) return 'stale';
      if (outcome === 'requeue' && this.#isStream) return 'settled';
      this.#release(slot, SlotState.settling);
      if (outcome === 'discard') slots.set(slot, ENDING);
      return 'propose';
    }
    if (slot === NO_SLOT) return this.#completeUnknown(offset);
    if (slots.has(slot, ENDING)) return 'settled';
    this.#leaveState(slot);
    slots.set(slot, ENDING);
    return 'propose';
  }

  /** Its visibility timeout begins anew; false when it is not the current delivery. */
  extend({ offset, term, deliveryNumber }: DeliveryName, now: number): boolean {
    this.#tick(now);
    const slots = this.#slots;
    const slot = slots.find(offset);
    if (slot === NO_SLOT || slots.state(slot) !== SlotState.held) return false;
    if (!this.#adopted.isCurrent(slot, { offset, term, deliveryNumber })) return false;
    slots.renew(slot, this.#now);
    return true;
  }

  /**
   * Ends up to `max` deliveries whose visibility timeout passed and adds them to `requeue`: propose
   * Settle requeue, cause `timeout`. Those of a stream are due again instead. How many ended.
   */
  expire(now: number, max: number, requeue: Offset[]): number {
    this.#tick(now);
    const slots = this.#slots;
    let count = 0;
    while (count < max) {
      const slot = slots.oldest;
      if (slot === NO_SLOT) break;
      if (slots.time(slot) + this.#limits.visibilityTimeoutMs > this.#now) break;
      this.#release(slot, SlotState.settling);
      if (this.#isStream) this.#waitAgain(slot);
      else requeue.push(slots.offset(slot) as Offset);
      count += 1;
    }
    return count;
  }

  /**
   * A proposal that `settle`, `expire`, `close` or `passOver` asked for was refused: the delivery
   * goes on with a new visibility timeout, or the message is due again if nobody holds it.
   */
  proposalFailed(offset: Offset, now: number): void {
    this.#tick(now);
    const slots = this.#slots;
    const slot = slots.find(offset);
    if (slot === NO_SLOT || slots.state(slot) !== SlotState.settling) return;
    slots.unset(slot, ENDING);
    const holder = slots.holder(slot);
    if (slots.number(slot) === 0) this.#waiting.add(slot, slots.time(slot));
    else if (holder?.isOpen === true) slots.hold(slot, holder, this.#now);
    else this.#waitAgain(slot);
  }

  /**
   * A claimed delivery that never left: due again at once, credit back, and as if it had not been.
   */
  unclaim(offset: Offset): void {
    const slot = this.#takeBack(offset);
    if (slot === NO_SLOT) return;
    this.#slots.forgetHolder(slot);
    this.#waiting.add(slot, 0);
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

  /**
   * A claimed delivery is not for this group, or its message has expired: propose Settle complete.
   * Never delivered again by this policy, credit back; false when it is not claimed any more.
   */
  passOver(offset: Offset): boolean {
    const slot = this.#takeBack(offset);
    if (slot === NO_SLOT) return false;
    this.#slots.setState(slot, SlotState.settling);
    this.#slots.set(slot, ENDING);
    return true;
  }

  /** When to call `expire` and `claim` although nothing happens: 0 is now, Infinity not at all. */
  nextWake(): number {
    const { oldest } = this.#slots;
    const deadline =
      oldest === NO_SLOT ? Infinity : this.#slots.time(oldest) + this.#limits.visibilityTimeoutMs;
    if (this.#consumers.turn(this.#limits.singleActiveConsumer) === undefined) return deadline;
    if (this.#new.next(this.#limits.maxUnsettledSpan) !== -1) return 0;
    return Math.min(deadline, this.#waiting.next);
  }

  /** The unsettled offset that holds new messages back, if one does. */
  stuck(): Offset | undefined {
    if (this.#new.next(this.#limits.maxUnsettledSpan) !== -1) return undefined;
    return this.#new.areBeyond ? this.floor : undefined;
  }

  #tick(now: number): void {
    if (now > this.#now) this.#now = now;
  }

  #deliver(slot: number, consumer: Consumer, into: Claims): void {
    const slots = this.#slots;
    const offset = slots.offset(slot);
    const number = this.#nextDeliveryNumber++;
    slots.hold(slot, consumer, this.#now);
    slots.setNumber(slot, number);
    this.#consumers.serve(consumer);
    const redelivered = slots.has(slot, REDELIVERED) || offset < this.#seenBelow;
    into.finish(into.add(consumer.id, offset, number), slots.attempts(slot) + 1, redelivered);
  }

  /** A complete for a message that this policy does not remember. */
  #completeUnknown(offset: Offset): SettleVerdict {
    if (offset < 0 || offset >= this.#new.nextOffset) return 'stale';
    if (!this.#new.has(offset)) return 'settled';
    // It was delivered in an earlier term and is new in this one: not to be delivered any more.
    this.#new.take(offset);
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
    this.#consumers.repeat(holder);
    return slot;
  }

  /** Its consumer holds it no more, and hears of it if it is watched. */
  #release(slot: number, state: SlotState): void {
    const slots = this.#slots;
    const holder = slots.holder(slot);
    if (holder?.isWatched === true) {
      const { ended } = this;
      ended.finish(ended.add(holder.id, slots.offset(slot), slots.number(slot)), 0, false);
    }
    this.#adopted.end(slots.offset(slot));
    slots.release(slot, state);
  }

  /** Takes a slot out of the list or heap that its state has; it is `settling` then. */
  #leaveState(slot: number): void {
    const slots = this.#slots;
    switch (slots.state(slot)) {
      case SlotState.held:
        this.#release(slot, SlotState.settling);
        return;
      case SlotState.later:
      case SlotState.due:
        this.#waiting.remove(slot);
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

  /** Due at once, marked as a redelivery, and no attempt. */
  #waitAgain(slot: number): void {
    this.#slots.endDelivery(slot);
    this.#slots.set(slot, REDELIVERED);
    this.#waiting.add(slot, 0);
  }
}
