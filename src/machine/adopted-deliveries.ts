/**
 * Deliveries that were made before a dispatch policy began and that their consumers still hold: the
 * term that is part of each one's name. All others were made in the policy's own term, and cost
 * nothing here.
 */

import { type DeliverySlots, SlotState } from './delivery-slots.ts';
import type { DeliveryName } from './dispatch-start.ts';

export class AdoptedDeliveries {
  readonly #term: number;
  readonly #slots: DeliverySlots;
  /** By offset. */
  readonly #terms = new Map<number, number>();

  /** `term`: the policy's. */
  constructor(term: number, slots: DeliverySlots) {
    this.#term = term;
    this.#slots = slots;
  }

  /** The slot's delivery is the one of this name. */
  isCurrent(slot: number, { offset, term, deliveryNumber }: DeliveryName): boolean {
    return deliveryNumber === this.#slots.number(slot) && term === this.#termOf(offset);
  }

  /** Who says that he holds it may have the slot: nobody else does, by a younger delivery. */
  mayHave(slot: number, { offset, term, deliveryNumber }: DeliveryName): boolean {
    const slots = this.#slots;
    switch (slots.state(slot)) {
      case SlotState.held: {
        const other = this.#termOf(offset);
        return term > other || (term === other && deliveryNumber >= slots.number(slot));
      }
      case SlotState.later:
      case SlotState.due:
        // Not one that this policy has delivered and taken back.
        return slots.holder(slot) === undefined && term < this.#term;
      default:
        return false;
    }
  }

  add({ offset, term }: DeliveryName): void {
    if (term === this.#term) this.#terms.delete(offset);
    else this.#terms.set(offset, term);
  }

  /** Nobody holds it any more. */
  end(offset: number): void {
    if (this.#terms.size > 0) this.#terms.delete(offset);
  }

  #termOf(offset: number): number {
    if (this.#terms.size === 0) return this.#term;
    return this.#terms.get(offset) ?? this.#term;
  }
}
