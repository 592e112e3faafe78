/** Groups whose settlements were lost: held, and released by what says where they stand. */
import { describe, expect, it } from 'vitest';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import {
  LOST_GROUPS_KEY,
  type LostGroup,
  lostGroupsData,
  lostGroupsOf,
} from '../../src/machine/lost-groups.ts';
import { MachineDriver, Sender } from './machine-driver.ts';

const DEFAULT = 0 as GroupId;

/** A queue of ten messages whose default group was lost, as a start finds it. */
function damaged(type: 'classic' | 'stream' = 'classic') {
  const before = new MachineDriver();
  const queueId = before.declare('orders', { defaultGroup: 'shared' }, type);
  const other = before.declare('other');
  new Sender(before).fill(queueId, 10);
  before.checkpoint();
  const [from, through] = [0 as Offset, 10 as Offset];
  const lost: LostGroup = { queueId, groupId: DEFAULT, name: 'default', from, through, held: true };
  before.store.set(LOST_GROUPS_KEY, lostGroupsData([lost]));
  const driver = new MachineDriver(1_000, before.store);
  driver.index = before.index;
  return { driver, queueId, other, lost };
}

function isHeld(driver: MachineDriver, queueId: QueueId, groupId = DEFAULT): boolean {
  return driver.dispatchStart(queueId, groupId).lost !== undefined;
}

describe('a group whose settlements were lost', () => {
  it('is told as held, by the record that says so, and no other group is', () => {
    const { driver, queueId, other, lost } = damaged();
    expect(driver.machine.lostGroups()).toEqual([lost]);
    expect(driver.machine.lostGroup(queueId, DEFAULT)).toEqual(lost);
    expect(driver.dispatchStart(queueId).lost).toEqual(lost);
    expect(isHeld(driver, other)).toBe(false);
    expect([driver.machine.goneBelow(queueId), driver.machine.goneBelow(other)]).toEqual([10, 0]);
    expect(lostGroupsOf(lostGroupsData([lost]))).toEqual([lost]);
  });

  it('stays so over checkpoints, evictions and restarts, and what is settled counts', () => {
    const { driver, queueId } = damaged();
    driver.settle(queueId, 3);
    driver.checkpoint();
    driver.evict();
    driver.restart();
    expect(isHeld(driver, queueId)).toBe(true);
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 0, depth: 9 });
  });

  it('is released by a seek, which never goes below its floor and is never refused', () => {
    for (const type of ['classic', 'stream'] as const) {
      const { driver, queueId } = damaged(type);
      driver.settleRange(queueId, [0, 2]);
      const position = { kind: 'first' } as const;
      const seek = { kind: 'seek-group', queueId, groupId: DEFAULT, position } as const;
      expect(driver.run(seek)).toContainEqual({
        kind: 'group-sought',
        queueId,
        groupId: DEFAULT,
        floor: 2,
      });
      expect(isHeld(driver, queueId)).toBe(false);
      driver.checkpoint();
      driver.restart();
      expect(isHeld(driver, queueId)).toBe(false);
      expect(driver.machine.lostGroups()).toEqual([]);
      // What all had settled is stored nowhere, also now.
      expect(driver.machine.goneBelow(queueId)).toBe(10);
    }
  });

  it('is released once nothing of what is unknown is left, and that is told once', () => {
    const { driver, queueId } = damaged();
    const released = { kind: 'group-released', queueId, groupId: DEFAULT };
    expect(driver.settleRange(queueId, [1, 10])).not.toContainEqual(released);
    expect(driver.settle(queueId, 0)).toContainEqual(released);
    expect(isHeld(driver, queueId)).toBe(false);
    expect(driver.settle(queueId, 0)).toEqual([]);
  });

  it('is released by a raised start of its queue', () => {
    const { driver, queueId } = damaged();
    const effects = driver.run({ kind: 'retain', queueId, start: 10 as Offset });
    expect(effects).toContainEqual({ kind: 'group-released', queueId, groupId: DEFAULT });
  });

  it('goes by its deletion; a new group gets what is kept, and is not held', () => {
    const { driver, queueId } = damaged();
    driver.run({ kind: 'delete-group', queueId, groupId: DEFAULT });
    expect(driver.machine.lostGroups()).toEqual([]);
    const again = driver.group(queueId, 'default');
    expect(isHeld(driver, queueId, again)).toBe(false);
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 0, depth: 10 });
    expect(driver.machine.goneBelow(queueId)).toBe(10);
  });

  it('is forgotten with its queue, and then no record is left of it', () => {
    const { driver, queueId } = damaged();
    driver.run({ kind: 'delete-queue', queueId });
    expect(driver.machine.goneBelow(queueId)).toBe(0);
    driver.checkpoint();
    expect(driver.store.has(LOST_GROUPS_KEY)).toBe(false);
  });
});
