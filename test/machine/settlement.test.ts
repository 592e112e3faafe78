import { describe, expect, it } from 'vitest';
import { MAX_RANGE } from '../../src/machine/command.ts';
import { DEFAULT_GROUP, type GroupId, type QueueId } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import { MachineDriver, Sender } from './machine-driver.ts';

function setUp(type: 'classic' | 'stream' = 'classic') {
  const driver = new MachineDriver();
  const queueId = driver.declare('orders', {}, type);
  const sender = new Sender(driver);
  return { driver, queueId, sender };
}

describe('a settlement', () => {
  it('is of one group: each settles for itself, and a message is wanted until all did', () => {
    const { driver, queueId, sender } = setUp();
    const other = driver.group(queueId, 'other');
    sender.fill(queueId, 2);
    driver.settle(queueId, 0);
    expect([driver.isWanted(queueId, 0), driver.lowestWanted(queueId)]).toEqual([true, 0]);
    expect(driver.settleOf({ queueId, groupId: other }, 0)).toMatchObject([
      { kind: 'settled', groupId: other, floor: 1 },
    ]);
    expect([driver.isWanted(queueId, 0), driver.lowestWanted(queueId)]).toEqual([false, 1]);
    driver.settleOf({ queueId, groupId: other }, 1, 'requeue');
    expect(driver.dispatchStart(queueId).requeued).toEqual([]);
    expect(driver.dispatchStart(queueId, other).requeued).toMatchObject([{ attempts: 1 }]);
  });

  it('on a stream moves the position alone: no attempts, no discard', () => {
    const { driver, queueId, sender } = setUp('stream');
    sender.fill(queueId, 3);
    for (let i = 0; i < 30; i += 1) {
      expect(driver.settle(queueId, 0, 'requeue')).toMatchObject([
        { kind: 'requeued', attempts: 0, notBefore: 0 },
      ]);
    }
    expect(driver.settle(queueId, 0, 'discard')).toMatchObject([
      { kind: 'settled', floor: 1, discarded: false },
    ]);
    expect(driver.isWanted(queueId, 0)).toBe(true);
    expect(driver.machine.depth(queueId)).toBe(3);
  });
});

describe('the settlement of a stretch', () => {
  it('settles what is left of it, and forgets attempts', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 10);
    driver.settle(queueId, 4);
    driver.settle(queueId, 2, 'requeue');
    driver.settle(queueId, 8, 'requeue');
    expect(driver.settleRange(queueId, [2, 6])).toEqual([
      { kind: 'ranged', queueId, groupId: DEFAULT_GROUP, from: 2, to: 6, floor: 0 },
    ]);
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 0, depth: 6 });
    expect(driver.dispatchStart(queueId).requeued).toMatchObject([{ offset: 8 }]);
    expect(driver.settleRange(queueId, [0, 99])).toMatchObject([{ from: 0, to: 10, floor: 10 }]);
  });

  it('tells of it also where nothing was left; a group or queue that is gone has none', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 3);
    driver.settleRange(queueId, [0, 3]);
    expect(driver.settleRange(queueId, [0, 2])).toMatchObject([{ from: 0, to: 2, floor: 3 }]);
    expect(driver.settleRange(queueId, [5, 9])).toMatchObject([{ from: 5, to: 5, floor: 3 }]);
    expect(driver.settleRange(queueId, [0, 2], { groupId: 4 as GroupId })).toEqual([]);
    expect(driver.settleRange(99 as QueueId, [0, 2])).toEqual([]);
  });

  it('says how many were dropped when they had expired', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 5);
    driver.settle(queueId, 1);
    expect(driver.settleRange(queueId, [0, 4], { cause: 'expired' })).toMatchObject([
      { kind: 'ranged', from: 0, to: 4, floor: 4 },
      { kind: 'dropped', from: 0, count: 3, why: 'expired' },
    ]);
    expect(driver.settleRange(queueId, [0, 4], { cause: 'expired' })).toHaveLength(1);
  });

  it('Q19: touches a handful of records however long, and at most MAX_RANGE offsets', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, MAX_RANGE + 2 * SETTLED_CHUNK);
    for (let at = 50; at < MAX_RANGE; at += 1_000) driver.settle(queueId, at);
    driver.settle(queueId, 3 * SETTLED_CHUNK + 1, 'requeue');
    driver.checkpoint();
    driver.restart();
    // The queue, the group, and the bitmaps at both ends; those between are not even read.
    const range = [10, 10 + MAX_RANGE + 999] as const;
    expect(driver.settleRange(queueId, range)).toMatchObject([{ from: 10, to: 10 + MAX_RANGE }]);
    expect(driver.machine.residentRecords).toBeLessThanOrEqual(5);
    driver.checkpoint();
    expect([...driver.store.keys()].filter((key) => key.startsWith('settled/'))).toHaveLength(2);
    expect([...driver.store.keys()].filter((key) => key.startsWith('attempts/'))).toEqual([]);
  });

  it('Q28: one message unsettled for ever, a million behind it: a few bytes and no payload', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 20_000);
    // The others come and go; what remains of them is a count for each 4,096.
    for (let at = 1; at < 20_000; at += 1) driver.settle(queueId, at);
    expect(driver.isWanted(queueId, 0)).toBe(true);
    for (const offset of [1, 2, 10_000, 19_999]) {
      expect(driver.isWanted(queueId, offset)).toBe(false);
    }
    driver.checkpoint();
    const bitmaps = [...driver.store.keys()].filter((key) => key.startsWith('settled/'));
    expect(bitmaps).toEqual([`settled/${queueId}/0/0`, `settled/${queueId}/0/4`]);
  });
});
