import { describe, expect, it } from 'vitest';
import type { EnqueueCommand } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import { DEFAULT_GROUP, type QueueId, type StampMs } from '../../src/machine/ids.ts';
import { MachineDriver, type SeenEffect, Sender } from './machine-driver.ts';

function setUp(limits: Partial<QueueLimits> = {}, type: 'classic' | 'stream' = 'classic') {
  const driver = new MachineDriver();
  const queueId = driver.declare('orders', limits, type);
  const sender = new Sender(driver);
  const send = (topic = '$queue/orders', targets: QueueId[] = [queueId]) => {
    const effects = sender.send(targets, 100, { topic });
    sender.answeredUpTo = sender.number;
    return effects;
  };
  return { driver, queueId, sender, send };
}

function kinds(effects: readonly SeenEffect[]): string[] {
  return effects.map(({ kind }) => kind);
}

function outcome(effects: readonly SeenEffect[]): string | undefined {
  return effects.find((effect) => effect.kind === 'confirmed')?.outcome;
}

describe('filters of groups', () => {
  it('Q10: two groups each get all; a filter takes its messages and has settled the others', () => {
    const { driver, queueId, send } = setUp();
    const groupId = driver.group(queueId, 'mail@eu/+', { filter: 'eu/+' });
    driver.group(queueId, 'audit');
    send('$queue/orders/eu/1');
    const [enqueued, settled] = send('$queue/orders/us/1');
    expect(enqueued).toMatchObject({ kind: 'enqueued', offset: 1 });
    expect(settled).toMatchObject({ kind: 'settled', groupId, offset: 1, floor: 0 });
    send('$queue/orders/eu/2');
    expect(driver.groups(queueId).map(({ name, depth }) => `${name} ${depth}`)).toEqual([
      'default 3',
      'mail@eu/+ 2',
      'audit 3',
    ]);
  });

  it('Q10: one group name with two filters is two groups, or a refusal', () => {
    const { driver, queueId } = setUp();
    driver.group(queueId, 'mail@eu/+', { filter: 'eu/+' });
    driver.group(queueId, 'mail@us/+', { filter: 'us/+' });
    expect(driver.createGroup(queueId, 'mail@eu/+', { filter: 'us/+' })).toMatchObject([
      { kind: 'group-refused', reason: 'filter-differs', name: 'mail@eu/+' },
    ]);
    for (const filter of ['#/x', 'a+', '+#']) {
      expect(driver.createGroup(queueId, `mail@${filter}`, { filter })).toMatchObject([
        { kind: 'group-refused', reason: 'invalid' },
      ]);
    }
    expect(driver.groups(queueId)).toHaveLength(3);
  });

  it('a message that nobody takes is wanted by nobody', () => {
    const { driver, queueId, send } = setUp();
    driver.group(queueId, 'eu', { filter: 'eu' });
    driver.run({ kind: 'delete-group', queueId, groupId: DEFAULT_GROUP });
    send('$queue/orders/us');
    send('$queue/orders/eu');
    expect([0, 1].map((offset) => driver.isWanted(queueId, offset))).toEqual([false, true]);
    expect(driver.lowestWanted(queueId)).toBe(1);
  });

  it('a captured topic is matched as a whole', () => {
    const { driver, queueId, send } = setUp();
    driver.group(queueId, 'm', { filter: 'm/#' });
    send('m/1');
    send('$queue/orders/x/m');
    expect(driver.groups(queueId)[1]).toMatchObject({ name: 'm', depth: 1 });
  });
});

describe('a message of a numbered producer', () => {
  it('is filtered by its topic, also where the command reads that only when it is asked', () => {
    const { driver, queueId, sender } = setUp();
    const groupId = driver.group(queueId, 'eu', { filter: 'eu' });
    class Decoded implements EnqueueCommand {
      readonly kind = 'enqueue';
      readonly node = sender.node;
      readonly boot = sender.boot;
      readonly number = 1;
      readonly answeredUpTo = 0;
      readonly targets = [queueId];
      readonly bytes = 100;
      readonly options = {
        ttlMs: 0,
        priority: 0,
        delayMs: 0,
        producer: { id: 'p', sequence: 1 },
        key: undefined,
      };
      get topic(): string {
        return '$queue/orders/us';
      }
    }
    const effects = driver.run(new Decoded());
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: 'settled', groupId, offset: 0 }),
    );
  });
});

describe('maximum length', () => {
  it('Q17: reject-publish refuses at the bound, and takes again below it', () => {
    const { driver, queueId, send } = setUp({ maxMessages: 2 });
    expect([send(), send(), send()].map(outcome)).toEqual(['accepted', 'accepted', 'queue-full']);
    expect(driver.machine.nextOffset(queueId)).toBe(2);
    driver.settle(queueId, 1);
    expect([send(), send()].map(outcome)).toEqual(['accepted', 'queue-full']);
  });

  it('Q34: several targets, one full: stored nowhere, and so on every replica', () => {
    const { driver, queueId, send } = setUp({ maxMessages: 1 });
    const other = driver.declare('other');
    send();
    expect(kinds(send('$queue/orders', [other, queueId]))).toEqual(['confirmed']);
    expect(driver.machine.nextOffset(other)).toBe(0);
    driver.checkpoint();
    driver.restart();
    expect(outcome(send('$queue/orders', [other, queueId]))).toBe('queue-full');
  });

  it('Q17: the group that is behind most counts, and one that does not take it does not', () => {
    const { driver, queueId, send } = setUp({ maxMessages: 2 });
    driver.group(queueId, 'eu', { filter: 'eu' });
    send('$queue/orders/eu');
    send('$queue/orders/eu');
    driver.settleRange(queueId, [0, 2]);
    expect(outcome(send('$queue/orders/eu'))).toBe('queue-full');
    expect(outcome(send('$queue/orders/us'))).toBe('accepted');
  });

  it('Q17: drop-head settles the oldest of each group that would be above', () => {
    const { driver, queueId, send } = setUp({ maxMessages: 2, overflow: 'drop-head' });
    const slow = driver.group(queueId, 'slow');
    send();
    send();
    driver.settle(queueId, 0);
    expect(send()).toMatchObject([
      { kind: 'settled', groupId: slow, offset: 0, floor: 1, discarded: false },
      { kind: 'dropped', from: 0, count: 1, why: 'drop-head' },
      { kind: 'enqueued', offset: 2 },
      { kind: 'confirmed' },
    ]);
    expect(driver.groups(queueId).map(({ floor, depth }) => [floor, depth])).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it('drop-head passes what is settled, and what it drops has no attempts left', () => {
    const { driver, queueId, send } = setUp({ maxMessages: 3, overflow: 'drop-head' });
    for (let i = 0; i < 4; i += 1) {
      send();
      if (i === 0) driver.settle(queueId, 0, 'requeue');
      if (i === 1) driver.settle(queueId, 1);
    }
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 0, depth: 3 });
    send();
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 2, depth: 3 });
    expect(driver.dispatchStart(queueId).requeued).toEqual([]);
  });

  it('a bound that is lowered is reached in bounded steps', () => {
    const { driver, queueId, send } = setUp();
    for (let i = 0; i < 1_000; i += 1) send();
    const limits = { ...DEFAULT_LIMITS, maxMessages: 10, overflow: 'drop-head' } as const;
    driver.run({ kind: 'update-queue', queueId, limits });
    expect(send()).toMatchObject([
      { kind: 'ranged', from: 0, to: 256, floor: 256 },
      { kind: 'dropped', from: 0, count: 256 },
      { kind: 'enqueued', offset: 1_000 },
      { kind: 'confirmed' },
    ]);
    for (let i = 0; i < 5; i += 1) send();
    expect(driver.machine.depth(queueId)).toBe(10);
  });

  it('of a stream and of a queue without groups is all that is kept', () => {
    for (const type of ['classic', 'stream'] as const) {
      const limits = { maxMessages: 2, defaultGroup: 'client' } as const;
      const refusing = setUp(limits, type);
      const refused = [refusing.send(), refusing.send(), refusing.send()].map(outcome);
      expect(refused).toEqual(['accepted', 'accepted', 'queue-full']);
      const { send, driver, queueId } = setUp({ ...limits, overflow: 'drop-head' }, type);
      send();
      send();
      expect(send()).toMatchObject([
        { kind: 'start-raised', start: 1 },
        { kind: 'dropped', from: 0, count: 1 },
        { kind: 'enqueued' },
        { kind: 'confirmed' },
      ]);
      expect(driver.machine.start(queueId)).toBe(1);
    }
  });

  it('a new group that wants more than each of the others counts at once', () => {
    const { driver, queueId, send } = setUp({ maxMessages: 3 });
    const other = driver.group(queueId, 'other');
    for (let i = 0; i < 3; i += 1) send();
    driver.settle(queueId, 0);
    driver.settleOf({ queueId, groupId: other }, 1);
    expect(outcome(send())).toBe('accepted');
    driver.group(queueId, 'new');
    expect(driver.groups(queueId)[2]).toMatchObject({ depth: 4 });
    expect(outcome(send())).toBe('queue-full');
  });
});

describe('bounds of bytes', () => {
  it('Q17: a stream whose early marks are gone drops no more than has to go', () => {
    const bounds = { maxMessages: 3, maxBytes: 2_000, overflow: 'drop-head' } as const;
    const { driver, queueId, send } = setUp(bounds, 'stream');
    // One mark for each message; the first of them go with every 256th.
    for (let i = 0; i < 600; i += 1) {
      send();
      expect(driver.machine.start(queueId)).toBe(Math.max(0, i - 2));
    }
  });
});

describe('a bound of bytes that comes late', () => {
  it('Q17: drops no more than has to go, also where marks are far apart', () => {
    const { driver, queueId, send } = setUp({}, 'stream');
    for (let i = 0; i < 8; i += 1) send();
    const limits = { ...DEFAULT_LIMITS, maxBytes: 800, overflow: 'drop-head' } as const;
    driver.run({ kind: 'update-queue', queueId, limits });
    for (let start = 1; start < 5; start += 1) {
      send();
      expect(driver.machine.start(queueId)).toBe(start);
    }
  });
});

describe('retention by messages', () => {
  const retention = { ageMs: 0, bytes: 0, messages: 100 };

  it('Q7: without a policy, nothing goes that a group has not settled', () => {
    const { driver, queueId, send } = setUp({ defaultGroup: 'client' });
    for (let i = 0; i < 1_000; i += 1) send();
    expect(driver.machine.start(queueId)).toBe(0);
    driver.group(queueId, 'slow');
    const fast = driver.group(queueId, 'fast');
    driver.settleRange(queueId, [0, 900], { groupId: fast });
    expect(driver.lowestWanted(queueId)).toBe(0);
    expect(driver.isWanted(queueId, 0)).toBe(true);
  });

  it('Q7: it never removes more than it says, and at most a 256th less', () => {
    for (const type of ['classic', 'stream'] as const) {
      for (const messages of [1, 100, 600]) {
        const limits = { retention: { ...retention, messages }, defaultGroup: 'client' } as const;
        const { driver, queueId, send } = setUp(limits, type);
        for (let i = 1; i <= 1_000; i += 1) {
          send();
          const kept = i - (driver.machine.start(queueId) as number);
          expect(kept).toBeGreaterThanOrEqual(Math.min(i, messages));
          expect(kept).toBeLessThanOrEqual(messages + Math.floor(messages / 256));
        }
      }
    }
  });

  it('Q7: it goes over a slow group, and tells', () => {
    const { driver, queueId, send } = setUp({ retention });
    const fast = driver.group(queueId, 'fast');
    for (let i = 0; i < 100; i += 1) send();
    driver.settle(queueId, 0, 'requeue');
    driver.settleRange(queueId, [0, 50], { groupId: fast });
    expect(send().slice(0, 2)).toEqual([
      { kind: 'ranged', queueId, groupId: DEFAULT_GROUP, from: 0, to: 1, floor: 1 },
      { kind: 'start-raised', queueId, start: 1 },
    ]);
    expect(driver.groups(queueId).map(({ floor }) => floor)).toEqual([1, 50]);
    expect(driver.dispatchStart(queueId).requeued).toEqual([]);
    expect([0, 1].map((offset) => driver.isWanted(queueId, offset))).toEqual([false, true]);
  });

  it('Q7: what is settled of a classic queue is not there, and does not count', () => {
    const { driver, queueId, send } = setUp({ retention });
    for (let i = 0; i < 100; i += 1) send();
    driver.settleRange(queueId, [1, 100]);
    for (let i = 0; i < 99; i += 1) send();
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 0, depth: 100 });
  });
});

describe('retention by age', () => {
  it('goes by its timer alone: a message that comes makes room by number', () => {
    const { driver, queueId, send } = setUp({
      retention: { ageMs: 1_000, bytes: 0, messages: 2 },
    });
    send();
    send();
    driver.now += 5_000;
    send();
    expect(driver.machine.start(queueId)).toBe(1);
  });
});

describe('a plain queue', () => {
  it('asks for no record of a group, and one with a filter for that group alone', () => {
    const { driver, queueId, sender, send } = setUp();
    driver.group(queueId, 'eu', { filter: 'eu' });
    const other = driver.declare('other', { maxMessages: 5 });
    const plain = driver.declare('plain');
    send();
    driver.checkpoint();
    driver.restart();
    sender.number += 1;
    const asked = (targets: QueueId[]) => {
      const { node, boot, number } = sender;
      const place = { node, boot, number, answeredUpTo: 0, bytes: 1, options: undefined };
      const command = { kind: 'enqueue', ...place, topic: 'x', targets } as const;
      const keys: string[] = [];
      for (;;) {
        const more = driver.machine.keys(command, driver.now as StampMs);
        if (more.length === 0) return keys;
        keys.push(...more);
        for (const key of more) driver.machine.load(key, driver.store.get(key));
      }
    };
    expect(asked([plain])).toEqual(['stream/node-1', `queue/${plain}`]);
    expect(asked([queueId])).toEqual([`queue/${queueId}`, `group/${queueId}/1`]);
    expect(asked([other])).toEqual([`queue/${other}`, `group/${other}/0`]);
  });
});
