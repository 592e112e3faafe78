import { describe, expect, it } from 'vitest';
import { MAX_RANGE } from '../../src/machine/command.ts';
import { DEFAULT_GROUP, type Offset, type QueueId } from '../../src/machine/ids.ts';
import { MachineDriver, Sender } from './machine-driver.ts';

function setUp() {
  const driver = new MachineDriver();
  const queueId = driver.declare('orders');
  const sender = new Sender(driver);
  const retain = (start: number, id = queueId) =>
    driver.run({ kind: 'retain', queueId: id, start: start as Offset });
  return { driver, queueId, sender, retain };
}

describe('the start of a queue', () => {
  it('rises for every group: nothing below is wanted, whoever had not settled it', () => {
    const { driver, queueId, sender, retain } = setUp();
    const ahead = driver.group(queueId, 'ahead');
    sender.fill(queueId, 10);
    driver.settleRange(queueId, [0, 8], { groupId: ahead });
    driver.settle(queueId, 2, 'requeue');
    driver.settle(queueId, 5);
    driver.settle(queueId, 6, 'requeue');
    expect(retain(5)).toEqual([
      { kind: 'ranged', queueId, groupId: DEFAULT_GROUP, from: 0, to: 5, floor: 6 },
      { kind: 'start-raised', queueId, start: 5 },
    ]);
    expect(driver.groups(queueId).map(({ floor, depth }) => [floor, depth])).toEqual([
      [6, 4],
      [8, 2],
    ]);
    expect(driver.dispatchStart(queueId).requeued).toMatchObject([{ offset: 6 }]);
    expect(driver.lowestWanted(queueId)).toBe(6);
  });

  it('never goes back, nor beyond the last message', () => {
    const { driver, queueId, sender, retain } = setUp();
    sender.fill(queueId, 4);
    expect(retain(3)).toHaveLength(2);
    expect(retain(3)).toEqual([]);
    expect(retain(1)).toEqual([]);
    expect(retain(99)).toMatchObject([{ from: 3, to: 4 }, { start: 4 }]);
    expect(retain(1, 99 as QueueId)).toEqual([]);
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 4, depth: 0 });
  });

  it('rises by bounded steps beyond the lowest floor', () => {
    const { driver, queueId, sender, retain } = setUp();
    sender.fill(queueId, MAX_RANGE + 100);
    expect(retain(MAX_RANGE + 50)).toMatchObject([{ to: MAX_RANGE }, { start: MAX_RANGE }]);
    expect(retain(MAX_RANGE + 50)).toMatchObject([{ to: MAX_RANGE + 50 }, {}]);
    driver.checkpoint();
    driver.restart();
    driver.groups(queueId);
    expect(driver.machine.start(queueId)).toBe(MAX_RANGE + 50);
  });
});
