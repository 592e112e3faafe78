/** Deliveries of an earlier term that their consumers still hold go on under the next leader. */

import { describe, expect, it } from 'vitest';
import type { Offset } from '../../src/machine/ids.ts';
import { BarePolicy, TERM } from './bare-policy.ts';

const before = (offset: number, deliveryNumber: number, term = TERM - 1) => ({
  offset: offset as Offset,
  term,
  deliveryNumber,
});

/** Three messages that the leader before may have delivered, and two consumers. */
function taken(): BarePolicy {
  const bare = new BarePolicy({ start: { nextOffset: 3 as Offset } });
  bare.policy.attach(1, 10);
  bare.policy.attach(2, 10);
  return bare;
}

describe('a delivery of the leader before', () => {
  it('goes to nobody else once its consumer has claimed it', () => {
    const bare = taken();
    expect(bare.policy.adopt(1, before(1, 70), 0)).toBe(true);
    expect(bare.offsets()).toEqual([0, 2]);
    expect(bare.policy.delivered).toBe(3);
  });

  it('is current by its old name: a requeue counts, once, and is an attempt of the message', () => {
    const bare = taken();
    bare.policy.adopt(1, before(1, 70), 0);
    expect(bare.policy.settle(1 as Offset, TERM, 70, 'requeue')).toBe('stale');
    expect(bare.policy.settle(1 as Offset, TERM - 1, 71, 'requeue')).toBe('stale');
    expect(bare.policy.settle(1 as Offset, TERM - 1, 70, 'requeue')).toBe('propose');
    expect(bare.policy.settle(1 as Offset, TERM - 1, 70, 'requeue')).toBe('stale');
    bare.policy.requeued(1 as Offset, 1, 0);
    expect(bare.offsets().toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
    // Its new delivery has a name of this term.
    expect(bare.policy.settle(1 as Offset, TERM - 1, 70, 'discard')).toBe('stale');
  });

  it('may be extended, discarded and completed', () => {
    const bare = taken();
    for (const offset of [0, 1, 2]) bare.policy.adopt(1, before(offset, 70 + offset), 0);
    expect(bare.policy.extend(before(0, 70), 5)).toBe(true);
    expect(bare.policy.extend(before(0, 70, TERM), 5)).toBe(false);
    expect(bare.policy.settle(1 as Offset, TERM - 1, 71, 'discard')).toBe('propose');
    expect(bare.policy.settle(2 as Offset, TERM - 1, 72, 'complete')).toBe('propose');
  });

  it('is the younger one of two who claim the same message', () => {
    const bare = taken();
    expect(bare.policy.adopt(1, before(0, 70, TERM - 2), 0)).toBe(true);
    expect(bare.policy.adopt(2, before(0, 12), 0)).toBe(true);
    expect(bare.policy.adopt(1, before(0, 11), 0)).toBe(false);
    expect(bare.policy.settle(0 as Offset, TERM - 2, 70, 'requeue')).toBe('stale');
    expect(bare.policy.settle(0 as Offset, TERM - 1, 12, 'requeue')).toBe('propose');
  });

  it('is not claimed any more when the message was delivered anew, settled, or never was', () => {
    const bare = taken();
    expect(bare.offsets(1)).toEqual([0]);
    expect(bare.policy.adopt(2, before(0, 70), 0)).toBe(false);
    bare.settled(1, 0);
    expect(bare.policy.adopt(2, before(1, 71), 0)).toBe(false);
    expect(bare.policy.adopt(2, before(9, 72), 0)).toBe(false);
    expect(bare.policy.adopt(2, before(2, 73, TERM + 1), 0)).toBe(false);
    expect(bare.policy.adopt(3, before(2, 73), 0)).toBe(false);
  });

  it('comes out of the wait for a redelivery that the leader before had not begun', () => {
    const requeued = [{ offset: 1, attempts: 2, notBefore: 1_000 }];
    const bare = new BarePolicy({ start: { nextOffset: 3 as Offset, requeued } });
    bare.policy.attach(1, 10);
    expect(bare.policy.adopt(1, before(1, 70), 0)).toBe(true);
    expect(bare.offsets(10, 2_000)).toEqual([0, 2]);
    const lost: Offset[] = [];
    bare.policy.close(1, 'lost', lost);
    expect(lost.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
  });

  it('of this term goes from a consumer that is awaited to the one that comes for it', () => {
    const bare = taken();
    bare.policy.mayTake(2, false);
    expect(bare.who(2)).toEqual(['1:0', '1:1']);
    const number = bare.claims.deliveryNumber(1);
    bare.policy.mayTake(1, false);
    expect(bare.offsets()).toEqual([]);
    bare.policy.attach(3, 1);
    expect(bare.policy.adopt(3, before(1, number, TERM), 0)).toBe(true);
    bare.policy.close(1, 'returned', []);
    expect(bare.policy.settle(1 as Offset, TERM, number, 'requeue')).toBe('propose');
    expect(bare.who()).toEqual(['3:0']);
  });

  it('a consumer that is paused is given nothing, and all that it may have afterwards', () => {
    const bare = taken();
    bare.policy.mayTake(1, false);
    bare.policy.mayTake(2, false);
    bare.policy.grant(1, 5);
    expect(bare.who()).toEqual([]);
    bare.policy.mayTake(1, true);
    expect(bare.who()).toEqual(['1:0', '1:1', '1:2']);
  });
});
