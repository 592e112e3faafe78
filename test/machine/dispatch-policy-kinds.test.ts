import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK, SettledChunk } from '../../src/machine/settled-ranges.ts';
import { BarePolicy, TERM } from './bare-policy.ts';

const VISIBILITY = DEFAULT_LIMITS.visibilityTimeoutMs;
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, at) => from + at);

describe('priorities', () => {
  const limits = { maxPriority: 9 };

  it('the higher level goes first, and each level is first in, first out', () => {
    const queue = new BarePolicy({ limits });
    queue.publish(0, 3, 9, 0, 3, 9, 1);
    queue.policy.attach(1, 100);
    expect(queue.offsets()).toEqual([2, 5, 1, 4, 6, 0, 3]);
    queue.publish(0, 2, 0, 4);
    expect(queue.offsets(2)).toEqual([10, 8]);
    queue.publish(9);
    expect(queue.offsets()).toEqual([11, 7, 9]);
  });

  it('a redelivery that is due goes ahead of every priority', () => {
    const queue = new BarePolicy({ limits });
    queue.publish(0);
    queue.policy.attach(1, 100);
    queue.who();
    queue.publish(9);
    queue.policy.settle(0 as Offset, TERM, 1, 'requeue');
    queue.policy.requeued(0 as Offset, 1, 0);
    expect(queue.offsets()).toEqual([0, 1]);
  });

  it('a priority above the highest of the queue counts as that, and none where it has none', () => {
    const capped = new BarePolicy({ limits: { maxPriority: 2 } });
    capped.publish(0, 2, 9, 1);
    capped.policy.attach(1, 100);
    expect(capped.offsets()).toEqual([1, 2, 3, 0]);
    const plain = new BarePolicy();
    plain.publish(0, 9, 5);
    plain.policy.attach(1, 100);
    expect(plain.offsets()).toEqual([0, 1, 2]);
  });

  it('those that the start tells are in force, but for what is settled or requeued', () => {
    const packed = new Uint8Array(SETTLED_CHUNK / 2);
    // 0: 5, 1: 5, 2: 9, 3: 9, 5: 1
    packed.set([0x55, 0x99, 0x10]);
    const second = new Uint8Array(SETTLED_CHUNK / 2);
    second.set([0x07]);
    const settled = new SettledChunk();
    settled.set(3);
    const queue = new BarePolicy({
      limits,
      start: {
        floor: 1 as Offset,
        nextOffset: (SETTLED_CHUNK + 2) as Offset,
        settled: new Map([[0, settled]]),
        priorities: new Map([
          [1, second],
          [0, packed],
        ]),
        requeued: [{ offset: 2, attempts: 1, notBefore: 50 }],
      },
    });
    queue.policy.attach(1, 6);
    expect(queue.offsets()).toEqual([SETTLED_CHUNK, 1, 5, 4, 6, 7]);
  });

  it('beyond the span a priority waits, and what is within it goes', () => {
    const queue = new BarePolicy({ limits: { ...limits, maxUnsettledSpan: 3 } });
    queue.publish(0, 0, 1, 0, 9, 5);
    queue.policy.attach(1, 100);
    expect(queue.offsets()).toEqual([2, 0, 1]);
    expect(queue.policy.stuck()).toBe(0);
    queue.settled(0, 1);
    expect(queue.offsets()).toEqual([3]);
    queue.settled(1, 3);
    expect(queue.policy.stuck()).toBeUndefined();
    expect(queue.offsets()).toEqual([4, 5]);
    expect(queue.policy.stuck()).toBeUndefined();
  });

  it('what is settled before its turn is never delivered, one by one or in a stretch', () => {
    const queue = new BarePolicy({ limits });
    queue.publish(...numbers(0, 3 * SETTLED_CHUNK).map((offset) => offset % 3));
    queue.settled(5, 0);
    queue.ranged(7, 2 * SETTLED_CHUNK + 7, 0);
    queue.policy.attach(1, 1_000_000);
    const got = queue.offsets(1_000_000);
    const left = numbers(0, 3 * SETTLED_CHUNK).filter(
      (offset) => offset !== 5 && (offset < 7 || offset >= 2 * SETTLED_CHUNK + 7),
    );
    const inOrder = [2, 1, 0].flatMap((level) => left.filter((offset) => offset % 3 === level));
    expect(got).toEqual(inOrder);
  });

  it('Q19: a claim costs the same before a backlog of a thousand and of a million', () => {
    const costs = [1_000, 1_000_000].map((count) => {
      const queue = new BarePolicy({ limits: { ...limits, maxUnsettledSpan: 4_194_304 } });
      for (let i = 0; i < count; i += 1) queue.publish(i % 7 === 0 ? 1 + (i % 9) : 0);
      queue.publish(9);
      queue.policy.attach(1, 1_000_000);
      queue.who(10);
      const before = queue.policy.steps;
      queue.who(100);
      return queue.policy.steps - before;
    });
    const [few = 0, many = 0] = costs;
    expect(few).toBeGreaterThan(0);
    expect(many).toBeLessThanOrEqual(few * 1.3);
  });

  it('the worst single claim passes no more than a chunk and the chunks that are used up', () => {
    const queue = new BarePolicy({ limits });
    for (let i = 0; i < 500_000; i += 1) queue.publish(i === 0 || i === 499_999 ? 9 : 0);
    queue.policy.attach(1, 2);
    expect(queue.offsets(1)).toEqual([0]);
    const before = queue.policy.steps;
    expect(queue.offsets(1)).toEqual([499_999]);
    expect(queue.policy.steps - before).toBeLessThan(2 * (SETTLED_CHUNK / 32) + 10);
  });
});

describe('a stretch that is settled', () => {
  it('takes new, held, waiting and withheld messages with it, and nothing else', () => {
    const queue = new BarePolicy();
    queue.publish(...numbers(0, 20).map(() => 0));
    queue.policy.attach(1, 6);
    expect(queue.offsets()).toEqual([0, 1, 2, 3, 4, 5]);
    queue.policy.withhold(2 as Offset);
    queue.policy.settle(3 as Offset, TERM, 4, 'requeue');
    queue.policy.requeued(3 as Offset, 1, 50);
    queue.ranged(1, 10, 0);
    expect(queue.policy.withheld).toEqual([]);
    expect([queue.policy.delivered, queue.policy.waiting, queue.policy.remembered]).toEqual([
      1, 0, 1,
    ]);
    queue.policy.grant(1, 100);
    expect(queue.offsets(100, 60)).toEqual(numbers(10, 20));
    expect(queue.policy.settle(3 as Offset, TERM, 4, 'complete')).toBe('settled');
    expect(queue.policy.settle(1 as Offset, TERM, 2, 'requeue')).toBe('stale');
  });

  it('also in the middle of what is new, over several chunks', () => {
    const end = 4 * SETTLED_CHUNK;
    const queue = new BarePolicy({ start: { nextOffset: end as Offset } });
    queue.ranged(100, end - 100, 0);
    queue.policy.attach(1, 1_000);
    expect(queue.offsets()).toEqual([...numbers(0, 100), ...numbers(end - 100, end)]);
  });

  it('never reaches beyond what there is: what comes later is new', () => {
    const queue = new BarePolicy();
    queue.publish(0, 0);
    queue.ranged(0, 100, 2);
    queue.publish(0);
    queue.policy.attach(1, 9);
    expect(queue.offsets()).toEqual([2]);
  });

  it('costs no more than its length or the messages remembered, whichever is less', () => {
    const cost = (slots: number, from: number, to: number): number => {
      const queue = new BarePolicy({ start: { nextOffset: 3_000_000 as Offset } });
      queue.policy.attach(1, slots);
      queue.who(slots);
      const before = queue.policy.steps;
      queue.ranged(from, to, to);
      return queue.policy.steps - before;
    };
    expect(cost(3, 0, 65_536)).toBeLessThanOrEqual(4);
    expect(cost(100_000, 50_000, 50_010)).toBeLessThanOrEqual(11);
  });

  it('from the floor on moves what may be delivered', () => {
    const queue = new BarePolicy({ limits: { maxUnsettledSpan: 3 } });
    queue.publish(0, 0, 0, 0, 0, 0);
    queue.policy.attach(1, 9);
    expect(queue.offsets()).toEqual([0, 1, 2]);
    expect(queue.policy.stuck()).toBe(0);
    queue.ranged(0, 4, 4);
    expect(queue.policy.floor).toBe(4);
    expect(queue.policy.delivered).toBe(0);
    expect(queue.offsets()).toEqual([4, 5]);
  });
});

describe('a single active consumer', () => {
  const limits = { singleActiveConsumer: true };

  it('is the one that is attached longest; the next one when it closes', () => {
    const queue = new BarePolicy({ limits });
    queue.publish(...numbers(0, 6).map(() => 0));
    for (const id of [4, 2, 7]) queue.policy.attach(id, 2);
    expect(queue.who()).toEqual(['4:0', '4:1']);
    queue.policy.grant(2, 5);
    expect(queue.who()).toEqual([]);
    expect(queue.policy.nextWake()).toBe(VISIBILITY);
    queue.policy.close(4, 'returned', []);
    expect(queue.who()).toEqual(['2:0', '2:1', '2:2', '2:3', '2:4', '2:5']);
    queue.policy.close(7, 'lost', []);
    queue.publish(0);
    expect(queue.who()).toEqual(['2:6']);
  });

  it('gets its own redelivery again, although others have credit', () => {
    const queue = new BarePolicy({ limits });
    queue.publish(0);
    queue.policy.attach(1, 5);
    queue.policy.attach(2, 5);
    queue.who();
    queue.policy.settle(0 as Offset, TERM, 1, 'requeue');
    queue.policy.requeued(0 as Offset, 1, 10);
    expect(queue.policy.nextWake()).toBe(10);
    expect(queue.who(9, 10)).toEqual(['1:0']);
  });

  it('begins and ends with the limits', () => {
    const queue = new BarePolicy();
    queue.publish(0, 0, 0, 0);
    queue.policy.attach(1, 9);
    queue.policy.attach(2, 9);
    expect(queue.who(2)).toEqual(['1:0', '2:1']);
    queue.policy.limitsChanged({ ...DEFAULT_LIMITS, ...limits });
    expect(queue.who(1)).toEqual(['1:2']);
    queue.policy.limitsChanged(DEFAULT_LIMITS);
    queue.publish(0);
    expect(queue.who(2)).toEqual(['2:3', '1:4']);
  });
});

describe('a stream', () => {
  const policy = { isStream: true };

  function held(count: number): BarePolicy {
    const queue = new BarePolicy({ policy });
    queue.publish(...numbers(0, count).map(() => 0));
    queue.policy.attach(1, count);
    queue.who();
    return queue;
  }

  it('a requeue of a client does nothing, and the delivery stays with its consumer', () => {
    const queue = held(1);
    expect(queue.policy.settle(0 as Offset, TERM, 1, 'requeue')).toBe('settled');
    expect(queue.policy.delivered).toBe(1);
    expect(queue.policy.settle(0 as Offset, TERM, 2, 'requeue')).toBe('stale');
    expect(queue.policy.settle(0 as Offset, TERM, 1, 'discard')).toBe('propose');
    expect(queue.policy.isEnding(0 as Offset)).toBe(true);
  });

  it('what timed out or was lost is due again at once: no attempt, nothing proposed', () => {
    const queue = held(3);
    const requeue: Offset[] = [];
    expect(queue.policy.expire(VISIBILITY, 2, requeue)).toBe(2);
    queue.policy.close(1, 'lost', requeue);
    expect(requeue).toEqual([]);
    queue.policy.attach(2, 9);
    expect(queue.offsets()).toEqual([0, 1, 2]);
    expect(numbers(0, 3).map((at) => queue.claims.attempt(at))).toEqual([1, 1, 1]);
    expect(numbers(0, 3).map((at) => queue.claims.redelivered(at))).toEqual([true, true, true]);
  });
});

describe('a claim that is passed over', () => {
  it('gives its consumer credit and turn back, and is not delivered again', () => {
    const queue = new BarePolicy();
    queue.publish(0, 0, 0);
    queue.policy.attach(1, 1);
    queue.policy.attach(2, 1);
    expect(queue.who()).toEqual(['1:0', '2:1']);
    expect(queue.policy.passOver(0 as Offset)).toBe(true);
    expect(queue.policy.isEnding(0 as Offset)).toBe(true);
    expect(queue.who()).toEqual(['1:2']);
    expect(queue.policy.settle(0 as Offset, TERM, 1, 'complete')).toBe('settled');
    expect(queue.policy.settle(0 as Offset, TERM, 1, 'requeue')).toBe('stale');
    queue.settled(0, 1);
    expect(queue.policy.remembered).toBe(2);
    expect(queue.policy.passOver(0 as Offset)).toBe(false);
  });

  it('is due again when its settlement could not be proposed', () => {
    const queue = new BarePolicy();
    queue.publish(0);
    queue.policy.attach(1, 1);
    queue.who(1, 5);
    queue.policy.passOver(0 as Offset);
    queue.policy.proposalFailed(0 as Offset, 5);
    expect(queue.who(1, 5)).toEqual(['1:0']);
    expect(queue.claims.attempt(0)).toBe(1);
  });

  it('Q21: claims that are put back newest first come again in their old turns', () => {
    const queue = new BarePolicy();
    queue.publish(...numbers(0, 6).map(() => 0));
    for (const id of [1, 2, 3]) queue.policy.attach(id, 9);
    expect(queue.who()).toEqual(['1:0', '2:1', '3:2', '1:3', '2:4', '3:5']);
    for (const offset of [5, 4, 3, 2, 1]) queue.policy.unclaim(offset as Offset);
    expect(queue.who()).toEqual(['2:1', '3:2', '1:3', '2:4', '3:5']);
  });
});

describe('a visibility timeout that is extended', () => {
  it('begins anew, and others pass in the order of their ages', () => {
    const queue = new BarePolicy();
    queue.publish(0, 0, 0);
    queue.policy.attach(1, 3);
    queue.who(1, 0);
    queue.who(1, 10);
    queue.who(1, 20);
    const first = { offset: 0 as Offset, term: TERM, deliveryNumber: 1 };
    expect(queue.policy.extend(first, 25)).toBe(true);
    expect(queue.policy.nextWake()).toBe(10 + VISIBILITY);
    const requeue: Offset[] = [];
    expect(queue.policy.expire(20 + VISIBILITY, 9, requeue)).toBe(2);
    expect(requeue).toEqual([1, 2]);
    expect(queue.policy.nextWake()).toBe(25 + VISIBILITY);
  });

  it('is refused to all but the current delivery', () => {
    const queue = new BarePolicy();
    queue.publish(0);
    queue.policy.attach(1, 3);
    queue.who(1);
    const delivery = { offset: 0 as Offset, term: TERM, deliveryNumber: 1 };
    expect(queue.policy.extend({ ...delivery, term: TERM - 1 }, 1)).toBe(false);
    expect(queue.policy.extend({ ...delivery, deliveryNumber: 2 }, 1)).toBe(false);
    expect(queue.policy.extend({ ...delivery, offset: 1 as Offset }, 1)).toBe(false);
    queue.policy.settle(0 as Offset, TERM, 1, 'complete');
    expect(queue.policy.extend(delivery, 1)).toBe(false);
  });
});

describe('a consumer that is watched', () => {
  it('hears of each delivery that ends, but not by its own end', () => {
    const queue = new BarePolicy();
    queue.publish(...numbers(0, 9).map(() => 0));
    queue.policy.attach(1, 6, true);
    queue.policy.attach(2, 3, false);
    expect(queue.who()).toHaveLength(9);
    const ofFirst = [0, 2, 4, 6, 7, 8];
    queue.policy.settle(0 as Offset, TERM, 1, 'complete');
    queue.policy.settle(1 as Offset, TERM, 2, 'complete');
    expect(queue.ended()).toEqual(['1:0']);
    queue.settled(0, 1);
    queue.settled(2, 1);
    expect(queue.ended()).toEqual(['1:2']);
    queue.ranged(3, 5, 1);
    expect(queue.ended()).toEqual(['1:4']);
    queue.policy.unclaim(6 as Offset);
    queue.policy.passOver(7 as Offset);
    expect(queue.ended()).toEqual([]);
    queue.who();
    queue.policy.expire(VISIBILITY, 9, []);
    expect(queue.ended().sort()).toEqual(['1:6', '1:8']);
    expect(ofFirst).toContain(8);
    queue.publish(0, 0);
    queue.policy.grant(1, 2);
    queue.who();
    queue.policy.close(1, 'returned', []);
    expect(queue.ended()).toEqual([]);
  });

  it('hears of all that it holds when the policy is replaced', () => {
    const queue = new BarePolicy();
    queue.publish(0, 0, 0);
    queue.policy.attach(1, 2, true);
    queue.policy.attach(2, 9);
    queue.who();
    expect(queue.policy.credit(1)).toBe(0);
    expect(queue.policy.credit(2)).toBe(8);
    queue.policy.retire();
    expect(queue.ended()).toEqual(['1:0', '1:2']);
  });
});

describe('a policy that replaces another', () => {
  it('never uses its delivery numbers', () => {
    const former = new BarePolicy();
    former.publish(0, 0);
    former.policy.attach(1, 9);
    former.who();
    const queue = new BarePolicy({
      start: { nextOffset: 2 as Offset },
      policy: { firstDeliveryNumber: former.policy.nextDeliveryNumber },
    });
    queue.policy.attach(1, 9);
    expect(queue.who()).toEqual(['1:0', '1:1']);
    expect([queue.claims.deliveryNumber(0), queue.claims.deliveryNumber(1)]).toEqual([3, 4]);
    expect(queue.policy.settle(0 as Offset, TERM, 1, 'requeue')).toBe('stale');
  });

  it('what is held of a stretch is told in order', () => {
    const queue = new BarePolicy();
    queue.publish(...numbers(0, 8).map(() => 0));
    queue.policy.attach(1, 6);
    queue.who(3, 0);
    queue.who(3, 1);
    queue.policy.extend({ offset: 1 as Offset, term: TERM, deliveryNumber: 2 }, 2);
    expect(queue.policy.heldIn(1 as Offset, 5 as Offset)).toEqual([1, 2, 3, 4]);
  });
});
