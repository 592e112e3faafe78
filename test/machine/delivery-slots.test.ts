import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { Consumer } from '../../src/machine/consumer-ring.ts';
import {
  DeliverySlots,
  ENDING,
  NO_SLOT,
  REDELIVERED,
  SlotState,
} from '../../src/machine/delivery-slots.ts';

/** Offsets by age of their delivery, told by releasing them one after the other. */
function byAge(slots: DeliverySlots): number[] {
  const offsets: number[] = [];
  for (let slot = slots.oldest; slot !== NO_SLOT; slot = slots.oldest) {
    offsets.push(slots.offset(slot));
    slots.release(slot, SlotState.settling);
  }
  return offsets;
}

function byHolder(slots: DeliverySlots, consumer: Consumer): number[] {
  const offsets: number[] = [];
  for (let slot = consumer.firstHeld; slot !== NO_SLOT; slot = consumer.firstHeld) {
    offsets.push(slots.offset(slot));
    slots.release(slot, SlotState.settling);
  }
  return offsets;
}

describe('the slots of deliveries', () => {
  it('list what is held by age and by holder, whatever was taken out of the middle', () => {
    const action = fc.record({ offset: fc.nat({ max: 150 }), holder: fc.nat({ max: 2 }) });
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 400, size: 'max' }),
        fc.boolean(),
        (actions, isByAge) => {
          const slots = new DeliverySlots();
          const consumers = [1, 2, 3].map((id) => new Consumer(id));
          const held: { offset: number; holder: number }[] = [];
          for (const { offset, holder } of actions) {
            const slot = slots.find(offset);
            if (slot === NO_SLOT) {
              slots.hold(slots.add(offset), consumers[holder] as Consumer, 0);
              held.push({ offset, holder });
            } else {
              slots.release(slot, SlotState.settling);
              slots.remove(slot);
              held.splice(
                held.findIndex((each) => each.offset === offset),
                1,
              );
            }
            expect([slots.size, slots.held]).toEqual([held.length, held.length]);
          }
          if (isByAge) expect(byAge(slots)).toEqual(held.map(({ offset }) => offset));
          else {
            for (const [at, consumer] of consumers.entries()) {
              const own = held.filter(({ holder }) => holder === at).map(({ offset }) => offset);
              expect(byHolder(slots, consumer)).toEqual(own);
            }
          }
          expect(slots.held).toBe(0);
          expect(slots.oldest).toBe(NO_SLOT);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('a slot that is used again remembers nothing of its former message', () => {
    const slots = new DeliverySlots();
    const consumer = new Consumer(1);
    const slot = slots.add(5);
    slots.hold(slot, consumer, 10);
    slots.setNumber(slot, 77);
    slots.setAttempts(slot, 4, 99);
    slots.set(slot, REDELIVERED | ENDING);
    slots.release(slot, SlotState.due);
    slots.remove(slot);
    expect(slots.find(5)).toBe(NO_SLOT);
    expect(slots.add(6)).toBe(slot);
    expect([
      slots.offset(slot),
      slots.number(slot),
      slots.attempts(slot),
      slots.time(slot),
      slots.has(slot, REDELIVERED),
      slots.has(slot, ENDING),
      slots.holder(slot),
    ]).toEqual([6, 0, 0, 0, false, false, undefined]);
  });

  it('room that many messages took is given back when the last of them is gone', () => {
    const slots = new DeliverySlots();
    const consumer = new Consumer(1);
    for (let offset = 0; offset < 10_000; offset += 1) slots.hold(slots.add(offset), consumer, 0);
    expect(slots.capacity).toBeGreaterThanOrEqual(10_000);
    for (let slot = slots.oldest; slot !== NO_SLOT; slot = slots.oldest) {
      slots.release(slot, SlotState.settling);
      slots.remove(slot);
    }
    expect(slots.capacity).toBeLessThan(100);
    slots.hold(slots.add(7), consumer, 1);
    expect([slots.size, slots.held, slots.offset(slots.oldest)]).toEqual([1, 1, 7]);
  });

  it('what is held can neither be removed nor released twice', () => {
    const slots = new DeliverySlots();
    const slot = slots.add(1);
    slots.hold(slot, new Consumer(1), 0);
    expect(() => slots.remove(slot)).toThrow('while it is held');
    slots.release(slot, SlotState.later);
    expect(() => slots.release(slot, SlotState.later)).toThrow('without a holder');
  });
});
