import { describe, expect, it } from 'vitest';
import type { EnqueueOptions } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits, type QueueType } from '../../src/machine/definitions.ts';
import { DEFAULT_GROUP, DELAYED_QUEUE, type Offset, type QueueId } from '../../src/machine/ids.ts';
import { MachineDriver, PLAIN, type SeenEffect, Sender } from './machine-driver.ts';

class Rig {
  readonly driver = new MachineDriver();
  readonly sender = new Sender(this.driver);

  declare(name: string, limits: Partial<QueueLimits> = {}, type?: QueueType): QueueId {
    return this.driver.declare(name, limits, type);
  }

  send(queueIds: QueueId[], options: Partial<EnqueueOptions> = {}, bytes = 100): SeenEffect[] {
    const { sender } = this;
    sender.number += 1;
    const { node, boot, number } = sender;
    const all = { ...PLAIN, ...options };
    const effects = this.driver.run({
      kind: 'enqueue',
      node,
      boot,
      number,
      answeredUpTo: number - 1,
      targets: queueIds,
      bytes,
      topic: '$queue/q',
      options: Object.keys(options).length === 0 ? undefined : all,
    });
    sender.answeredUpTo = number;
    return effects;
  }

  outcome(queueIds: QueueId[], options: Partial<EnqueueOptions> = {}, bytes = 100) {
    return this.sender.outcome(this.send(queueIds, options, bytes));
  }

  /** Fires all that is due after so long. */
  wait(ms: number): SeenEffect[] {
    const { driver } = this;
    driver.now += ms;
    const effects: SeenEffect[] = [];
    for (let steps = 0; driver.machine.nextTimer() <= driver.now; steps += 1) {
      if (steps > 1_000) throw new Error('no end of timers');
      effects.push(...driver.run({ kind: 'fire-timers', max: 1_000 }));
    }
    return effects;
  }

  /** All records go to the store, and out of memory. */
  forget(): void {
    this.driver.checkpoint();
    this.driver.restart();
  }

  depth(queueId: QueueId): number | undefined {
    this.driver.groups(queueId);
    return this.driver.machine.depth(queueId);
  }
}

function kinds(effects: readonly SeenEffect[]): string[] {
  return effects.map(({ kind }) => kind);
}

describe('time to live', () => {
  it('Q8: an expired message is never pending, in any type and for any group', () => {
    for (const type of ['classic', 'stream'] as const) {
      const rig = new Rig();
      const queueId = rig.declare('q', { ttlMs: 5_000 }, type);
      const groupId = rig.driver.group(queueId, 'audit');
      for (let i = 0; i < 3; i += 1) rig.send([queueId]);
      rig.send([queueId], { ttlMs: 60_000 });
      rig.forget();
      rig.driver.settle(queueId, 1, 'complete', 'client');
      expect(rig.wait(4_900)).toEqual([]);
      const effects = rig.wait(200);
      expect(effects).toMatchObject([
        { kind: 'ranged', groupId: DEFAULT_GROUP, from: 0, to: 4, floor: 4 },
        { kind: 'ranged', groupId, from: 0, to: 4, floor: 4 },
        { kind: 'dropped', from: 0, count: 4, why: 'expired' },
      ]);
      expect(rig.driver.groups(queueId).map(({ depth }) => depth)).toEqual([0, 0]);
    }
  });

  it('Q8: the smaller of the two counts, and without one a message lives for ever', () => {
    const rig = new Rig();
    const bounded = rig.declare('bounded', { ttlMs: 10_000 });
    const free = rig.declare('free');
    rig.send([bounded, free], { ttlMs: 2_000 });
    rig.send([bounded, free], { ttlMs: 20_000 });
    rig.send([bounded, free]);
    expect(kinds(rig.wait(2_100))).toEqual(['ranged', 'dropped', 'ranged', 'dropped']);
    expect(kinds(rig.wait(8_000))).toEqual(['ranged', 'dropped']);
    expect(kinds(rig.wait(10_000))).toEqual(['ranged', 'dropped']);
    expect([rig.depth(bounded), rig.depth(free)]).toEqual([0, 1]);
    expect(rig.driver.machine.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  it('Q8: in a queue without a group it goes from the start', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { ttlMs: 1_000, defaultGroup: 'client' });
    rig.send([queueId]);
    expect(rig.wait(1_100)).toMatchObject([
      { kind: 'start-raised', start: 1 },
      { kind: 'dropped', count: 1 },
    ]);
  });
});

describe('dead letters', () => {
  it('Q4: after exactly as many attempts as the limit says, with their number', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { deliveryLimit: 3, deadLetter: '$dlq/q' });
    rig.send([queueId]);
    for (const attempts of [1, 2]) {
      expect(rig.driver.settle(queueId, 0, 'requeue')).toMatchObject([{ attempts }]);
    }
    const intent = { number: 1, reason: 'delivery-limit', queueId, offset: 0, attempts: 3 };
    expect(rig.driver.settle(queueId, 0, 'requeue', 'lost')).toMatchObject([
      { kind: 'settled', discarded: true, floor: 1 },
      { kind: 'intent-opened', intent: { ...intent, target: { kind: 'name', name: '$dlq/q' } } },
    ]);
  });

  it('Q6 Q31: its payload is wanted until the transfer, which does not double', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { deadLetter: '$dlq/q' });
    const dead = rig.declare('$dlq/q', { maxMessages: 1 });
    for (let i = 0; i < 2; i += 1) rig.send([queueId]);
    for (const offset of [0, 1]) rig.driver.settle(queueId, offset, 'discard');
    expect(rig.driver.lowestWanted(queueId)).toBe(0);
    rig.driver.run({ kind: 'delete-queue', queueId });
    rig.forget();
    const { machine } = rig.driver;
    expect(machine.heldQueues()).toEqual([DELAYED_QUEUE, dead, queueId]);
    expect(machine.lowestWanted(queueId)).toBe(0);
    expect(machine.isWanted(queueId, 1 as Offset)).toBe(true);
    const transfer = (intent: number) =>
      rig.driver.run({
        kind: 'transfer',
        intent,
        targets: [dead],
        bytes: 120,
        topic: '$queue/$dlq/q',
        options: undefined,
      });
    expect(transfer(1)).toMatchObject([
      { kind: 'enqueued', queueId: dead, offset: 0 },
      { kind: 'intent-closed', intent: 1, how: 'transferred' },
    ]);
    expect(transfer(1)).toEqual([]);
    expect(transfer(2)).toEqual([{ kind: 'transfer-refused', intent: 2, queueId: dead }]);
    expect(machine.openIntents(0, 10)).toMatchObject([{ number: 2, refusals: 1 }]);
    const skip = { kind: 'skip-intent', intent: 2, reason: 'unreadable' } as const;
    expect(rig.driver.run(skip)).toMatchObject([{ how: 'unreadable' }]);
    expect(rig.driver.run(skip)).toEqual([]);
    expect(machine.lowestWanted(queueId)).toBeUndefined();
  });

  it('without a dead-letter queue a message that is given up is dropped', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { deliveryLimit: 1 });
    rig.send([queueId]);
    expect(kinds(rig.driver.settle(queueId, 0, 'requeue'))).toEqual(['settled']);
  });

  it('a move opens intents for what is unsettled, in slices, and says how far it came', () => {
    const rig = new Rig();
    const from = rig.declare('$dlq/q');
    for (let i = 0; i < 300; i += 1) rig.send([from]);
    rig.driver.settle(from, 5, 'complete');
    const move = (at: number) =>
      rig.driver.run({
        kind: 'move-range',
        queueId: from,
        groupId: DEFAULT_GROUP,
        from: at as Offset,
        to: 1_000 as Offset,
        target: 'source',
      });
    rig.forget();
    const first = move(0);
    expect(first.filter(({ kind }) => kind === 'intent-opened')).toHaveLength(256);
    expect(first.at(-1)).toMatchObject({ kind: 'ranged', from: 0, to: 257, floor: 257 });
    expect(move(257).at(-1)).toMatchObject({ from: 257, to: 300, floor: 300 });
    expect(move(300)).toMatchObject([{ kind: 'ranged', from: 300, to: 300 }]);
    expect(rig.driver.machine.openIntentCount).toBe(299);
    expect(rig.driver.machine.leaving(from)).toBe(299);
  });

  it('nothing is lost while the outbox is full: dead letters wait, moves do not begin', () => {
    const rig = new Rig();
    const retry = { minMs: 100, maxMs: 7_000, multiplier: 2, jitter: 0 };
    const queueId = rig.declare('q', { deadLetter: 'dead', deliveryLimit: 2, retry });
    const other = rig.declare('other');
    for (let i = 0; i < 65_536; i += 1) rig.send([other]);
    for (let at = 0; at < 65_536; at += 256) {
      rig.driver.run({
        kind: 'move-range',
        queueId: other,
        groupId: DEFAULT_GROUP,
        from: at as Offset,
        to: (at + 256) as Offset,
        target: queueId,
      });
    }
    rig.send([queueId]);
    const due = rig.driver.now + 7_000;
    expect(rig.driver.settle(queueId, 0, 'discard')).toMatchObject([
      { kind: 'requeued', attempts: 1, notBefore: due },
    ]);
    expect(rig.driver.settle(queueId, 0, 'requeue')).toMatchObject([
      { kind: 'requeued', attempts: 1, notBefore: due },
    ]);
    rig.send([other], { delayMs: 1_000 });
    expect(rig.wait(2_000)).toEqual([]);
    rig.driver.run({ kind: 'skip-intent', intent: 9, reason: 'no-target' });
    expect(kinds(rig.wait(0))).toEqual(['intent-opened']);
    rig.driver.run({ kind: 'skip-intent', intent: 10, reason: 'no-target' });
    expect(kinds(rig.driver.settle(queueId, 0, 'requeue'))).toEqual(['settled', 'intent-opened']);
  });
});

describe('delayed messages', () => {
  it('wait in a queue of the shard, and go to their queues when they are due', () => {
    const rig = new Rig();
    const [a, b] = [rig.declare('a'), rig.declare('b')];
    expect(rig.send([a, b], { delayMs: 3_000 })).toMatchObject([
      { kind: 'enqueued', queueId: DELAYED_QUEUE, offset: 0 },
      { kind: 'confirmed', outcome: 'accepted' },
    ]);
    rig.forget();
    const wanted = () => rig.driver.lowestWanted(DELAYED_QUEUE);
    expect(wanted()).toBe(0);
    expect(rig.wait(2_900)).toEqual([]);
    const target = { kind: 'queues', queueIds: [a, b] };
    expect(rig.wait(200)).toMatchObject([
      { kind: 'intent-opened', intent: { reason: 'delayed', queueId: DELAYED_QUEUE, target } },
    ]);
    expect(wanted()).toBe(0);
    const transfer = { kind: 'transfer', intent: 1, targets: [a, b], bytes: 5 } as const;
    rig.driver.run({ ...transfer, topic: 'x', options: undefined });
    expect(wanted()).toBe(1);
    expect([rig.depth(a), rig.depth(b)]).toEqual([1, 1]);
  });

  it('a delay without a queue is refused, and no command names the queue of the shard', () => {
    const rig = new Rig();
    expect(rig.outcome([99 as QueueId], { delayMs: 3_000 })).toBe('no-queue');
    expect(rig.outcome([DELAYED_QUEUE])).toBe('no-queue');
    expect(rig.driver.machine.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('bounds of bytes', () => {
  it('Q17: reject-publish refuses what is above, and goes on when there is room', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { maxBytes: 1_000, overflow: 'reject-publish' });
    const outcomes = Array.from({ length: 12 }, () => rig.outcome([queueId]));
    expect(outcomes.filter((each) => each === 'accepted')).toHaveLength(10);
    expect(outcomes.slice(10)).toEqual(['queue-full', 'queue-full']);
    rig.forget();
    // Out of order too: what is settled is not there.
    rig.driver.settle(queueId, 5, 'complete');
    expect([rig.outcome([queueId]), rig.outcome([queueId])]).toEqual(['accepted', 'queue-full']);
    for (const overflow of ['drop-head', 'reject-publish'] as const) {
      const tiny = rig.declare(overflow, { maxBytes: 99, overflow });
      expect(rig.outcome([tiny])).toBe('queue-full');
    }
  });

  it('Q17: drop-head lets the oldest go, as many as need be, of the slow group alone', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { maxBytes: 1_000, overflow: 'drop-head' });
    const fast = rig.driver.group(queueId, 'fast');
    for (let i = 0; i < 10; i += 1) rig.send([queueId]);
    rig.driver.settleRange(queueId, [0, 8], { groupId: fast });
    rig.forget();
    expect(rig.send([queueId], {}, 250)).toMatchObject([
      { kind: 'ranged', groupId: DEFAULT_GROUP, from: 0, to: 3, floor: 3 },
      { kind: 'dropped', from: 0, count: 3, why: 'drop-head' },
      { kind: 'enqueued', offset: 10 },
      { kind: 'confirmed', outcome: 'accepted' },
    ]);
    expect(rig.driver.groups(queueId).map(({ depth }) => depth)).toEqual([8, 3]);
  });

  it('Q17: a bound that is set later counts what is there by the average', () => {
    const rig = new Rig();
    const queueId = rig.declare('q');
    for (let i = 0; i < 100; i += 1) rig.send([queueId]);
    const limits = { ...DEFAULT_LIMITS, maxBytes: 10_050 };
    rig.driver.run({ kind: 'update-queue', queueId, limits });
    expect(rig.outcome([queueId])).toBe('queue-full');
    rig.driver.settle(queueId, 50, 'complete');
    expect(rig.outcome([queueId])).toBe('accepted');
  });
});

describe('retention', () => {
  it('Q7: by age, by itself, over all groups; what is younger stays', () => {
    for (const type of ['classic', 'stream'] as const) {
      const rig = new Rig();
      const retention = { ageMs: 10_000, bytes: 0, messages: 0 };
      const queueId = rig.declare('q', { retention }, type);
      for (let i = 0; i < 5; i += 1) rig.send([queueId]);
      rig.wait(5_000);
      rig.send([queueId]);
      rig.forget();
      expect(rig.wait(4_900)).toEqual([]);
      expect(rig.wait(1_200)).toMatchObject([
        { kind: 'ranged', from: 0, to: 5 },
        { kind: 'start-raised', start: 5 },
      ]);
      expect(rig.wait(5_000)).toMatchObject([
        { kind: 'ranged' },
        { kind: 'start-raised', start: 6 },
      ]);
      expect(rig.driver.machine.nextTimer()).toBe(Number.POSITIVE_INFINITY);
      rig.send([queueId]);
      expect(kinds(rig.wait(11_100))).toEqual(['ranged', 'start-raised']);
    }
  });

  it('Q7: new limits of retention count for what is there already', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', {}, 'stream');
    for (let i = 0; i < 50; i += 1) rig.send([queueId]);
    const retain = (retention: QueueLimits['retention']) => {
      rig.driver.run({ kind: 'update-queue', queueId, limits: { ...DEFAULT_LIMITS, retention } });
      rig.wait(0);
      return rig.driver.machine.start(queueId);
    };
    rig.forget();
    expect(retain({ ageMs: 0, bytes: 0, messages: 20 })).toBe(30);
    expect(retain({ ageMs: 3_600_000, bytes: 0, messages: 0 })).toBe(30);
    expect(kinds(rig.wait(3_601_200))).toEqual(['ranged', 'start-raised']);
    expect(rig.driver.machine.start(queueId)).toBe(50);
  });

  it('Q9: a time is an offset, at most a second early', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', {}, 'stream');
    const times: number[] = [];
    for (let i = 0; i < 40; i += 1) {
      rig.send([queueId]);
      times.push(rig.driver.now);
      rig.wait(500);
    }
    rig.forget();
    for (const at of [0, 7, 39]) {
      const offset = rig.driver.offsetAt(queueId, { kind: 'time', ms: times[at] as number });
      expect(offset).toBeLessThanOrEqual(at);
      expect(offset).toBeGreaterThan(at - 3);
    }
    expect(rig.driver.offsetAt(queueId, { kind: 'time', ms: rig.driver.now + 9_999 })).toBe(40);
  });
});

describe('priorities', () => {
  it('come with the effect, bounded by the queue, and after a restart', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { maxPriority: 5 });
    const plain = rig.declare('plain');
    const priorities = [0, 3, 9].map((priority) =>
      rig
        .send([queueId, plain], { priority })
        .flatMap((effect) => (effect.kind === 'enqueued' ? [effect.priority] : [])),
    );
    expect(priorities).toEqual([
      [0, 0],
      [3, 0],
      [5, 0],
    ]);
    rig.forget();
    const packed = rig.driver.dispatchStart(queueId).priorities?.get(0);
    expect([...(packed ?? [])].slice(0, 2)).toEqual([0x30, 0x05]);
    expect(rig.driver.dispatchStart(plain).priorities).toBeUndefined();
  });
});

describe('exactly once', () => {
  it('Q26: a QoS 2 retry stores nothing again, and a new message with its packet id does', () => {
    const rig = new Rig();
    const queueId = rig.declare('q');
    const key = { session: 's', ownerEpoch: 2, packetId: 7 };
    const release = (ownerEpoch = 2) => {
      rig.sender.number += 1;
      const { node, boot, number } = rig.sender;
      const place = { node, boot, number, answeredUpTo: number - 1 };
      const effects = rig.driver.run({ kind: 'release', ...place, key: { ...key, ownerEpoch } });
      return rig.sender.outcome(effects);
    };
    expect(kinds(rig.send([queueId], { key }))).toEqual(['enqueued', 'confirmed']);
    rig.forget();
    expect(rig.send([queueId], { key })).toMatchObject([
      { kind: 'confirmed', outcome: 'accepted' },
    ]);
    expect(release(1)).toBe('stale-owner');
    expect(release()).toBe('accepted');
    expect(kinds(rig.send([queueId], { key }))).toEqual(['enqueued', 'confirmed']);
    expect(rig.outcome([queueId], { key: { ...key, ownerEpoch: 1 } })).toBe('stale-owner');
    rig.driver.run({ kind: 'end-session', session: 's' });
    expect(kinds(rig.send([queueId], { key }))).toEqual(['enqueued', 'confirmed']);
    expect(rig.depth(queueId)).toBe(3);
  });

  it('Q26: what was refused left no key', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { maxMessages: 1 });
    rig.send([queueId]);
    const key = { session: 's', ownerEpoch: 1, packetId: 1 };
    const producer = { id: 'p', sequence: 1 };
    expect(rig.outcome([queueId], { key, producer })).toBe('queue-full');
    rig.driver.settle(queueId, 0, 'complete');
    expect(kinds(rig.send([queueId], { key, producer }))).toEqual(['enqueued', 'confirmed']);
  });

  it('Q32: a sequence is taken once by each queue, also where one of two had it', () => {
    const rig = new Rig();
    const [a, b] = [rig.declare('a'), rig.declare('b', { maxProducers: 1 })];
    const producer = { id: 'p', sequence: 1 };
    rig.send([a], { producer });
    rig.forget();
    expect(rig.send([a, b], { producer })).toMatchObject([
      { kind: 'enqueued', queueId: b },
      { outcome: 'accepted' },
    ]);
    expect(rig.send([a, b], { producer })).toMatchObject([{ outcome: 'duplicate' }]);
    expect(rig.outcome([a, b], { producer: { id: 'q', sequence: 1 } })).toBe('producer-refused');
    expect([rig.depth(a), rig.depth(b)]).toEqual([1, 1]);
    rig.wait(DEFAULT_LIMITS.producerExpiresMs + 100);
    expect(rig.outcome([b], { producer: { id: 'q', sequence: 1 } })).toBe('accepted');
  });

  it('a producer of a queue that is gone leaves nothing behind', () => {
    const rig = new Rig();
    const queueId = rig.declare('q');
    for (let i = 0; i < 100; i += 1)
      rig.send([queueId], { producer: { id: `p${i}`, sequence: 1 } });
    rig.driver.run({ kind: 'delete-queue', queueId });
    rig.wait(DEFAULT_LIMITS.producerExpiresMs + 100);
    const left = rig.driver.dump().map(([key]) => key.split('/')[0]);
    expect(left.filter((kind) => kind?.startsWith('producer') === true)).toEqual([]);
    expect(left).not.toContain('serials');
  });
});

describe('automatic groups', () => {
  it('Q29: one that nobody is in is gone after its time; a busy one is asked about', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { groupExpiresMs: 10_000 });
    const groupId = rig.driver.group(queueId, 'client-7', { groupKind: 'automatic' });
    rig.send([queueId]);
    const idle = (is: boolean) =>
      rig.driver.run({ kind: 'idle-group', queueId, groupId, idle: is });
    expect(rig.wait(10_100)).toEqual([{ kind: 'group-check', queueId, groupId }]);
    rig.forget();
    idle(true);
    idle(false);
    expect(rig.wait(10_000)).toMatchObject([{ kind: 'group-check' }]);
    rig.wait(3_000);
    idle(true);
    expect(rig.wait(9_900)).toEqual([]);
    expect(rig.wait(200)).toMatchObject([{ kind: 'group-deleted', groupId, why: 'expired' }]);
    expect(rig.driver.groups(queueId)).toHaveLength(1);
    expect(rig.driver.machine.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  it('Q29: two thousand random client ids leave nothing behind', () => {
    const rig = new Rig();
    const queueId = rig.declare('q', { defaultGroup: 'client', maxGroups: 10_000 }, 'stream');
    for (let i = 0; i < 2_000; i += 1) {
      const groupId = rig.driver.group(queueId, `r${i}`, { groupKind: 'automatic' });
      rig.driver.run({ kind: 'idle-group', queueId, groupId, idle: true });
    }
    const gone = rig.wait(DEFAULT_LIMITS.groupExpiresMs + 100);
    expect(gone.filter(({ kind }) => kind === 'group-deleted')).toHaveLength(2_000);
    expect(
      rig.driver
        .dump()
        .map(([key]) => key)
        .filter((key) => key.startsWith('group')),
    ).toEqual([]);
  });
});
