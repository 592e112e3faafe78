import { describe, expect, it } from 'vitest';
import { Claims, DispatchPolicy } from '../../src/machine/dispatch-policy.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import { BarePolicy } from './bare-policy.ts';
import { type Delivered, PolicyDriver, TERM } from './policy-driver.ts';

const VISIBILITY = DEFAULT_LIMITS.visibilityTimeoutMs;

function setUp(messages: number, credits: readonly number[], limits = {}) {
  const queue = new PolicyDriver(limits);
  queue.publish(messages);
  for (const [at, credit] of credits.entries()) queue.policy.attach(at + 1, credit);
  return queue;
}

describe('what is delivered', () => {
  it('first in, first out, and nothing beyond the credit', () => {
    const queue = setUp(5, [3]);
    expect(queue.who()).toEqual(['1:0', '1:1', '1:2']);
    expect(queue.who()).toEqual([]);
    queue.policy.grant(1, 1);
    expect(queue.claim()).toEqual([
      { consumer: 1, offset: 3, number: 4, attempt: 1, redelivered: false },
    ]);
    expect(queue.policy.delivered).toBe(4);
  });

  it('Q21: round robin is round robin, in one claim and message by message', () => {
    const queue = setUp(6, [9, 9, 9]);
    expect(queue.who()).toEqual(['1:0', '2:1', '3:2', '1:3', '2:4', '3:5']);
    const single: string[] = [];
    for (let i = 0; i < 6; i += 1) {
      queue.publish(1);
      single.push(...queue.who());
    }
    expect(single).toEqual(['1:6', '2:7', '3:8', '1:9', '2:10', '3:11']);
  });

  it('Q21: consumers that settle at once keep their turns', () => {
    const queue = setUp(0, [1, 1, 1]);
    const turns: number[] = [];
    for (let i = 0; i < 9; i += 1) {
      queue.publish(1);
      for (const delivery of queue.claim()) {
        turns.push(delivery.consumer);
        queue.settle(delivery);
        queue.policy.grant(delivery.consumer, 1);
      }
    }
    expect(turns).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3]);
  });

  it('a redelivery that is due goes ahead of new messages, the lowest offset first', () => {
    const queue = setUp(6, [4]);
    const first = queue.claim();
    for (const at of [2, 0, 3]) queue.settle(first[at] as Delivered, 'requeue');
    queue.policy.grant(1, 9);
    queue.wait(99);
    expect(queue.who(1)).toEqual(['1:4']);
    queue.wait(1);
    expect(queue.who()).toEqual(['1:0', '1:2', '1:3', '1:5']);
  });

  it('nothing that is settled, also when it was settled before the start', () => {
    const queue = setUp(3 * SETTLED_CHUNK, []);
    for (let offset = 3; offset < 2 * SETTLED_CHUNK + 5; offset += 1) {
      if (offset !== 4_000) queue.propose(offset, 'complete', 'client');
    }
    queue.propose(1, 'requeue', 'lost');
    queue.newPolicy();
    queue.policy.attach(1, 6);
    expect(queue.who()).toEqual(['1:1', '1:0', '1:2', '1:4000', '1:8197', '1:8198']);
  });

  it('an effect that the start knew already changes nothing', () => {
    const queue = setUp(4, []);
    const effects = [
      ...queue.driver.settle(queue.queueId, 1, 'requeue'),
      ...queue.driver.settle(queue.queueId, 2, 'requeue', 'lost'),
      ...queue.driver.settle(queue.queueId, 2),
    ];
    queue.newPolicy();
    queue.tell(effects.slice(0, 2));
    queue.policy.attach(1, 9);
    expect(queue.who()).toEqual(['1:0', '1:3']);
    queue.tell(effects);
    expect([queue.policy.waiting, queue.policy.remembered]).toEqual([1, 3]);
  });

  it('what may have been delivered before the start is marked as a redelivery, no attempt', () => {
    const queue = setUp(3, []);
    queue.newPolicy(2);
    queue.policy.attach(1, 9);
    expect(queue.claim().map(({ redelivered }) => redelivered)).toEqual([true, true, false]);
  });
});

describe('what comes again', () => {
  it('Q1: three delivered, the first settled, the consumer dies: the other two, in order', () => {
    const queue = setUp(3, [3]);
    const [first] = queue.claim();
    queue.settle(first as Delivered);
    expect(queue.close(1, 'lost')).toEqual([1, 2]);
    queue.policy.attach(2, 9);
    expect(queue.claim()).toMatchObject([
      { consumer: 2, offset: 1, attempt: 2, redelivered: true },
      { consumer: 2, offset: 2, attempt: 2, redelivered: true },
    ]);
    expect(queue.who()).toEqual([]);
  });

  it('Q2: a nack comes again to some member after the configured backoff, count + 1', () => {
    const queue = setUp(1, [9, 9]);
    for (const [attempt, backoff] of [
      [1, 100],
      [2, 200],
      [3, 400],
    ] as const) {
      const [delivery] = queue.claim();
      expect(delivery).toMatchObject({ offset: 0, attempt, redelivered: attempt > 1 });
      expect(queue.settle(delivery as Delivered, 'requeue')).toBe('propose');
      expect(queue.policy.nextWake()).toBe(queue.now + backoff);
      queue.wait(backoff - 1);
      expect(queue.who()).toEqual([]);
      queue.wait(1);
    }
    expect(queue.claim()).toMatchObject([{ attempt: 4 }]);
  });

  it('Q3: a lone consumer gets its own timed-out message again', () => {
    const queue = setUp(1, [9]);
    expect(queue.who()).toEqual(['1:0']);
    queue.wait(VISIBILITY - 1);
    expect(queue.expire()).toEqual([]);
    expect(queue.policy.nextWake()).toBe(queue.now + 1);
    queue.wait(1);
    expect(queue.expire()).toEqual([0]);
    expect(queue.claim()).toMatchObject([
      { consumer: 1, offset: 0, attempt: 2, redelivered: true },
    ]);
  });

  it('Q4: two consumers that never settle: attempts are a visibility timeout apart', () => {
    const queue = setUp(1, [99, 99], { deliveryLimit: 7 });
    const times: number[] = [];
    const holders: number[] = [];
    const begin = queue.now;
    while (times.length < 6) {
      for (const { consumer } of queue.claim()) {
        times.push(queue.now - begin);
        holders.push(consumer);
      }
      queue.driver.now = queue.policy.nextWake();
      queue.expire();
    }
    const steps = times.slice(1).map((time, i) => time - (times[i] as number));
    expect(steps).toEqual([VISIBILITY, VISIBILITY, VISIBILITY, VISIBILITY, VISIBILITY]);
    expect(holders).toEqual([1, 2, 1, 2, 1, 2]);
  });

  it('work is stolen: another consumer with credit is preferred to the last holder', () => {
    const queue = setUp(1, [9]);
    queue.claim();
    queue.policy.attach(2, 9);
    queue.wait(VISIBILITY);
    queue.expire();
    expect(queue.who()).toEqual(['2:0']);
  });

  it('what is handed back is due at once, without an attempt, marked as a redelivery', () => {
    const queue = setUp(2, [9]);
    queue.claim();
    expect(queue.close(1, 'returned')).toEqual([]);
    queue.policy.attach(2, 9);
    expect(queue.claim()).toMatchObject([
      { consumer: 2, offset: 0, attempt: 1, redelivered: true },
      { consumer: 2, offset: 1, attempt: 1, redelivered: true },
    ]);
  });

  it('Q22: an idle consumer is not a dead one', () => {
    const queue = setUp(0, [1]);
    expect(queue.policy.nextWake()).toBe(Infinity);
    queue.wait(1_000 * VISIBILITY);
    expect(queue.expire()).toEqual([]);
    queue.publish(1);
    expect(queue.policy.nextWake()).toBe(0);
    const [delivery] = queue.claim();
    expect(delivery).toMatchObject({ consumer: 1, attempt: 1 });
    queue.settle(delivery as Delivered);
    expect(queue.policy.nextWake()).toBe(Infinity);
  });
});

describe('who may settle', () => {
  it('Q27: a late requeue from a former holder does not hit the present one', () => {
    const queue = setUp(1, [9, 9]);
    const [former] = queue.claim() as [Delivered];
    queue.wait(VISIBILITY);
    queue.expire();
    const [present] = queue.claim() as [Delivered];
    for (const outcome of ['requeue', 'discard'] as const) {
      expect(queue.settle(former, outcome)).toBe('stale');
    }
    expect(queue.policy.delivered).toBe(1);
    expect(queue.settle(present, 'requeue', TERM - 1)).toBe('stale');
    expect(queue.settle(present, 'requeue')).toBe('propose');
  });

  it('Q27: a late complete counts, wherever the message is by then', () => {
    const waiting = setUp(1, [9]);
    const [first] = waiting.claim() as [Delivered];
    waiting.settle(first, 'requeue');
    expect(waiting.settle(first)).toBe('propose');
    waiting.wait(1_000_000);
    expect(waiting.who()).toEqual([]);

    const elsewhere = setUp(1, [9, 9]);
    const [former] = elsewhere.claim() as [Delivered];
    elsewhere.wait(VISIBILITY);
    elsewhere.expire();
    const [present] = elsewhere.claim() as [Delivered];
    expect(elsewhere.settle(former)).toBe('propose');
    expect(elsewhere.policy.delivered).toBe(0);
    expect(elsewhere.settle(present)).toBe('settled');
    expect(elsewhere.settle(present, 'requeue')).toBe('stale');
  });

  it('Q27: after a change of leader only a complete counts', () => {
    const queue = setUp(2, [9]);
    const [first, second] = queue.claim() as [Delivered, Delivered];
    queue.newPolicy(2, TERM + 1);
    queue.policy.attach(7, 9);
    expect(queue.settle(first)).toBe('propose');
    expect(queue.settle(first)).toBe('settled');
    expect(queue.settle(second, 'requeue')).toBe('stale');
    expect(queue.who()).toEqual(['7:1']);
    expect(queue.settle(second, 'requeue')).toBe('stale');
  });

  it('Q27: a requeue that was proposed before a seek leaves the delivery behind it alone', () => {
    const bare = new BarePolicy();
    bare.publish(0, 0);
    for (const consumer of [1, 2]) bare.policy.attach(consumer, 10);
    const held = bare.who();
    expect(held).toHaveLength(2);
    bare.policy.requeued(0 as Offset, 1, 0);
    expect(bare.who()).toEqual([]);
    expect(bare.policy.delivered).toBe(2);
  });

  it('a complete between the proposal of a requeue and its apply wins', () => {
    const queue = setUp(1, [9]);
    const [delivery] = queue.claim() as [Delivered];
    queue.wait(VISIBILITY);
    const expired: Offset[] = [];
    queue.policy.expire(queue.now, 10, expired);
    expect(expired).toEqual([0]);
    expect(queue.policy.settle(delivery.offset, TERM, delivery.number, 'complete')).toBe('propose');
    queue.propose(0, 'requeue', 'timeout');
    expect(queue.who()).toEqual([]);
    queue.propose(0, 'complete', 'client');
    expect(queue.who()).toEqual([]);
    expect(queue.policy.remembered).toBe(0);
  });

  it('an offset that does not exist is stale, one that was settled is settled', () => {
    const queue = setUp(2, [1]);
    const [delivery] = queue.claim() as [Delivered];
    queue.settle(delivery);
    expect(queue.settle(delivery)).toBe('settled');
    expect(queue.settle({ ...delivery, offset: 2 as Offset })).toBe('stale');
    expect(queue.settle({ ...delivery, offset: -1 as Offset })).toBe('stale');
  });

  it('a message whose settlement is under way is neither expired nor lost nor delivered', () => {
    const queue = setUp(1, [9]);
    const [delivery] = queue.claim() as [Delivered];
    expect(queue.policy.settle(delivery.offset, TERM, delivery.number, 'complete')).toBe('propose');
    queue.wait(10 * VISIBILITY);
    expect(queue.expire()).toEqual([]);
    expect(queue.close(1, 'lost')).toEqual([]);
    queue.policy.attach(2, 9);
    expect(queue.who()).toEqual([]);
  });

  it('a proposal that was refused leaves the delivery with its holder, and a new timeout', () => {
    const queue = setUp(1, [9]);
    const [delivery] = queue.claim() as [Delivered];
    queue.policy.settle(delivery.offset, TERM, delivery.number, 'discard');
    queue.wait(1_000);
    queue.policy.proposalFailed(delivery.offset, queue.now);
    expect(queue.policy.delivered).toBe(1);
    expect(queue.policy.nextWake()).toBe(queue.now + VISIBILITY);
    expect(queue.settle(delivery, 'requeue')).toBe('propose');
  });

  it('a proposal that was refused makes the message due if its holder is gone', () => {
    const queue = setUp(2, [9]);
    queue.claim();
    const lost: Offset[] = [];
    queue.policy.close(1, 'lost', lost);
    for (const offset of lost) queue.policy.proposalFailed(offset, queue.now);
    queue.policy.attach(2, 9);
    expect(queue.claim()).toMatchObject([
      { offset: 0, attempt: 1, redelivered: true },
      { offset: 1, attempt: 1, redelivered: true },
    ]);
  });

  it('a refused proposal of a late complete leaves the backoff as it was', () => {
    const queue = setUp(1, [9]);
    const [delivery] = queue.claim() as [Delivered];
    queue.settle(delivery, 'requeue');
    queue.policy.settle(delivery.offset, TERM, delivery.number, 'complete');
    queue.policy.proposalFailed(delivery.offset, queue.now);
    expect(queue.policy.nextWake()).toBe(queue.now + 100);
  });
});

describe('consumers and claims that end early', () => {
  it('a claim that never left is as if it had not been', () => {
    const queue = setUp(3, [1, 1]);
    const [first] = queue.claim() as [Delivered, Delivered];
    queue.policy.unclaim(first.offset);
    expect(queue.claim()).toMatchObject([
      { consumer: 1, offset: 0, attempt: 1, redelivered: false },
    ]);
    queue.policy.unclaim(99 as Offset);
  });

  it('Q24: a message that cannot be read is withheld, and the others go on', () => {
    const queue = setUp(3, [1], { maxUnsettledSpan: 2 });
    const [first] = queue.claim() as [Delivered];
    queue.policy.withhold(first.offset);
    expect(queue.policy.withheld).toEqual([0]);
    const [second] = queue.claim() as [Delivered];
    expect(second).toMatchObject({ consumer: 1, offset: 1 });
    queue.settle(second);
    queue.policy.grant(1, 1);
    expect(queue.who()).toEqual([]);
    expect(queue.policy.stuck()).toBe(0);
    queue.propose(0, 'discard', 'client');
    expect(queue.policy.withheld).toEqual([]);
    expect(queue.who()).toEqual(['1:2']);
  });

  it('a consumer that is closed gets nothing more, whatever it is still granted', () => {
    const queue = setUp(2, [0]);
    queue.policy.grant(1, 1);
    queue.close(1, 'returned');
    queue.policy.grant(1, 5);
    expect(queue.close(1, 'lost')).toEqual([]);
    expect(queue.who()).toEqual([]);
    expect(queue.policy.consumers).toBe(0);
    expect(() => queue.policy.attach(2, -1)).toThrow('count');
    expect(() => queue.policy.attach(2, 1)).toThrow('attached already');
  });
});

describe('max_unsettled_span', () => {
  it('beyond it only redeliveries go out, and the stuck offset is named', () => {
    const queue = setUp(10, [99, 99], { maxUnsettledSpan: 4 });
    const held = queue.claim();
    expect(held.map(({ offset }) => offset)).toEqual([0, 1, 2, 3]);
    for (const delivery of held.slice(1)) queue.settle(delivery);
    expect(queue.who()).toEqual([]);
    expect(queue.policy.stuck()).toBe(0);
    queue.settle(held[0] as Delivered, 'requeue');
    queue.wait(100);
    expect(queue.policy.nextWake()).toBeLessThanOrEqual(queue.now);
    const [again] = queue.claim() as [Delivered];
    expect(again.offset).toBe(0);
    queue.settle(again);
    expect(queue.policy.stuck()).toBeUndefined();
    expect(queue.claim().map(({ offset }) => offset)).toEqual([4, 5, 6, 7]);
  });

  it('and the visibility timeout follow an update of the limits at once', () => {
    const queue = setUp(3, [9], { maxUnsettledSpan: 1 });
    expect(queue.who()).toEqual(['1:0']);
    const limits = { ...DEFAULT_LIMITS, maxUnsettledSpan: 2, visibilityTimeoutMs: 50 };
    queue.driver.run({ kind: 'update-queue', queueId: queue.queueId, limits });
    queue.policy.limitsChanged(limits);
    expect(queue.who()).toEqual(['1:1']);
    expect(queue.policy.nextWake()).toBe(queue.now + 50);
  });
});

describe('Q19: cost', () => {
  /** A policy with this many messages delivered and not settled. */
  function pending(count: number) {
    const policy = new DispatchPolicy({
      term: 1,
      start: {
        floor: 0 as Offset,
        nextOffset: (count + 1_000) as Offset,
        limits: DEFAULT_LIMITS,
        settled: new Map(),
        priorities: undefined,
        requeued: [],
      },
      seenBelow: 0,
      isStream: false,
      firstDeliveryNumber: 1,
    });
    const claims = new Claims();
    for (let id = 1; id <= 8; id += 1) policy.attach(id, count + 1_000);
    policy.claim(0, count, claims);
    return { policy, claims };
  }

  it('of claim, ack and nack does not grow with the pending set', () => {
    const costs = [10, 1_000, 1_000_000].map((count) => {
      const { policy, claims } = pending(count);
      expect(policy.delivered).toBe(count);
      const cost = (act: () => void) => {
        const [before, size] = [policy.steps, policy.remembered];
        act();
        return [policy.steps - before, policy.remembered - size];
      };
      const middle = Math.floor(count / 2) as Offset;
      const number = claims.deliveryNumber(middle);
      return {
        claim: cost(() => policy.claim(1, 1, claims)),
        ack: cost(() => {
          expect(policy.settle(0 as Offset, 1, 1, 'complete')).toBe('propose');
          policy.settled(0 as Offset, 1 as Offset);
        }),
        nack: cost(() => {
          expect(policy.settle(middle, 1, number, 'requeue')).toBe('propose');
          policy.requeued(middle, 1, 1_000);
        }),
        expire: cost(() => expect(policy.expire(1, 1, [])).toBe(0)),
        wake: cost(() => void policy.nextWake()),
      };
    });
    expect(costs[1]).toEqual(costs[0]);
    expect(costs[2]).toEqual(costs[0]);
  });

  it('of a redelivery grows with the logarithm of those that wait, not of those delivered', () => {
    const { policy, claims } = pending(100_000);
    for (let offset = 0; offset < 50_000; offset += 1) {
      policy.settle(offset as Offset, 1, offset + 1, 'requeue');
      policy.requeued(offset as Offset, 1, 1_000 + ((offset * 7_919) % 50_000));
    }
    expect(policy.waiting).toBe(50_000);
    const before = policy.steps;
    policy.settle(60_000 as Offset, 1, 60_001, 'requeue');
    policy.requeued(60_000 as Offset, 1, 1);
    policy.claim(1, 1, claims);
    expect(policy.steps - before).toBeLessThan(60);
  });

  it('nothing is remembered of what was settled', () => {
    const { policy } = pending(10_000);
    for (let offset = 0; offset < 10_000; offset += 1) {
      policy.settle(offset as Offset, 1, offset + 1, 'complete');
      policy.settled(offset as Offset, (offset + 1) as Offset);
    }
    expect([policy.remembered, policy.delivered, policy.waiting]).toEqual([0, 0, 0]);
  });
});
