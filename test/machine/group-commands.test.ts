import { describe, expect, it } from 'vitest';
import type { Position } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import { DEFAULT_GROUP, type GroupId, type QueueId } from '../../src/machine/ids.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import { MachineDriver, Sender } from './machine-driver.ts';

function setUp(limits: Partial<QueueLimits> = {}, type: 'classic' | 'stream' = 'classic') {
  const driver = new MachineDriver();
  const queueId = driver.declare('orders', limits, type);
  const sender = new Sender(driver);
  const seek = (groupId: GroupId, position: Position) =>
    driver.run({ kind: 'seek-group', queueId, groupId, position });
  return { driver, queueId, sender, seek };
}

function remove(driver: MachineDriver, queueId: QueueId, groupId: GroupId) {
  return driver.run({ kind: 'delete-group', queueId, groupId });
}

describe('a new group', () => {
  it('of a classic queue has settled what all others have, by their states', () => {
    const { driver, queueId, sender } = setUp();
    const second = driver.group(queueId, 'second');
    sender.fill(queueId, 3 * SETTLED_CHUNK);
    driver.settleRange(queueId, [0, 10]);
    driver.settleRange(queueId, [100, 3 * SETTLED_CHUNK - 5]);
    driver.settleRange(queueId, [0, 4], { groupId: second });
    driver.settleRange(queueId, [6, 2 * SETTLED_CHUNK], { groupId: second });
    // Nothing is in memory, and no payload is looked at.
    driver.checkpoint();
    driver.restart();
    const third = driver.group(queueId, 'third');
    expect(driver.groups(queueId)[2]).toMatchObject({ floor: 4 });
    const { settled } = driver.dispatchStart(queueId, third);
    const isSettled = (offset: number) =>
      settled.get(Math.floor(offset / SETTLED_CHUNK))?.has(offset % SETTLED_CHUNK) === true;
    for (let offset = 4; offset < 3 * SETTLED_CHUNK; offset += 1) {
      const byFirst = offset < 10 || (offset >= 100 && offset < 3 * SETTLED_CHUNK - 5);
      const bySecond = offset >= 6 && offset < 2 * SETTLED_CHUNK;
      if (isSettled(offset) !== (byFirst && bySecond)) expect(offset).toBe('wrong');
    }
  });

  it('of a queue without groups begins at its start', () => {
    const { driver, queueId, sender } = setUp({ defaultGroup: 'client' });
    sender.fill(queueId, 5);
    driver.run({ kind: 'retain', queueId, start: 2 as never });
    driver.group(queueId, 'a');
    expect(driver.groups(queueId)[0]).toMatchObject({ groupId: 1, floor: 2, depth: 3 });
  });

  it('begins where its consumer or the queue says, on a stream and ahead on a classic one', () => {
    for (const type of ['classic', 'stream'] as const) {
      const { driver, queueId, sender } = setUp({ groupStart: 'next' }, type);
      sender.fill(queueId, 6);
      const floors = (
        [
          undefined,
          { kind: 'first' },
          { kind: 'last' },
          { kind: 'next' },
          { kind: 'offset', offset: 4 },
          { kind: 'offset', offset: 99 },
        ] as const
      ).map((start, at) => {
        driver.group(queueId, `g${at}`, { start });
        return driver.groups(queueId).at(-1)?.floor;
      });
      expect(floors).toEqual([6, 0, 5, 6, 4, 6]);
    }
  });

  it('a classic one that is to begin where others are done begins behind that', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 6);
    driver.settleRange(queueId, [0, 3]);
    driver.group(queueId, 'a', { start: { kind: 'offset', offset: 1 } });
    expect(driver.groups(queueId)[1]).toMatchObject({ floor: 3, depth: 3 });
  });

  it('is made once: with the same filter it is there already', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 2);
    const created = driver.createGroup(queueId, 'a', { filter: 'x/#' });
    expect(created).toMatchObject([{ kind: 'group-created', created: true, group: { depth: 2 } }]);
    sender.fill(queueId, 1, '$queue/orders/x');
    const again = driver.createGroup(queueId, 'a', { filter: 'x/#', groupKind: 'automatic' });
    expect(again).toMatchObject([
      { kind: 'group-created', created: false, group: { kind: 'explicit', depth: 3 } },
    ]);
    expect(driver.dispatchStart(queueId, 1 as GroupId)).toMatchObject({
      filter: 'x/#',
      filterFrom: 2,
    });
  });

  it('Q17: is refused beyond max_groups, with a hostile name, and where there is no queue', () => {
    const { driver, queueId } = setUp({ maxGroups: 2 });
    driver.group(queueId, 'x'.repeat(255));
    const reason = (name: string, id = queueId) =>
      driver.createGroup(id, name).map((effect) => ('reason' in effect ? effect.reason : effect));
    expect(reason('b')).toEqual(['too-many']);
    for (const name of ['', 'x'.repeat(256), 'a\0', 'a\nb', '\u0085', '\ud800']) {
      expect(reason(name)).toEqual(['invalid']);
    }
    expect(reason('b', 99 as QueueId)).toEqual(['no-queue']);
    expect(driver.groups(queueId)).toHaveLength(2);
  });
});

describe('a group that is deleted', () => {
  it('takes its records along, and its id never comes back', () => {
    const { driver, queueId, sender } = setUp();
    const first = driver.group(queueId, 'a');
    sender.fill(queueId, 100);
    driver.settleOf({ queueId, groupId: first }, 50);
    driver.settleOf({ queueId, groupId: first }, 51, 'requeue');
    driver.checkpoint();
    const records = () => [...driver.store.keys()].filter((key) => key.includes(`/1/${first}`));
    expect(records()).toHaveLength(3);
    driver.restart();
    expect(remove(driver, queueId, first)).toEqual([
      { kind: 'group-deleted', queueId, groupId: first, name: 'a', why: 'asked' },
    ]);
    driver.checkpoint();
    expect(records()).toEqual([]);
    expect(driver.group(queueId, 'a')).toBe(first + 1);
    // Q25: what still comes for the old one touches nothing.
    expect(driver.settleOf({ queueId, groupId: first }, 0)).toEqual([]);
    expect(remove(driver, queueId, first)).toMatchObject([{ reason: 'no-group' }]);
    expect(remove(driver, 99 as QueueId, first)).toMatchObject([{ reason: 'no-queue' }]);
  });

  it('and was the last of a classic queue leaves its floor as the start', () => {
    const { driver, queueId, sender } = setUp();
    sender.fill(queueId, 5);
    driver.settleRange(queueId, [0, 3]);
    expect(remove(driver, queueId, DEFAULT_GROUP)).toMatchObject([
      { kind: 'group-deleted' },
      { kind: 'start-raised', start: 3 },
    ]);
    expect(driver.lowestWanted(queueId)).toBe(3);
    driver.group(queueId, 'default');
    expect(driver.groups(queueId)[0]).toMatchObject({ groupId: 1, floor: 3 });
  });

  it('of a stream leaves its messages', () => {
    const { driver, queueId, sender } = setUp({}, 'stream');
    sender.fill(queueId, 5);
    driver.settleRange(queueId, [0, 3]);
    expect(remove(driver, queueId, DEFAULT_GROUP)).toHaveLength(1);
    expect([driver.lowestWanted(queueId), driver.isWanted(queueId, 0)]).toEqual([0, true]);
  });
});

describe('a seek', () => {
  it('on a stream goes anywhere, and what is above is wanted again', () => {
    const { driver, queueId, sender, seek } = setUp({}, 'stream');
    sender.fill(queueId, 10);
    driver.settleRange(queueId, [0, 8]);
    driver.settleRange(queueId, [9, 10]);
    const told = (position: Position) => seek(DEFAULT_GROUP, position);
    const floors = [
      { kind: 'offset', offset: 3 },
      { kind: 'last' },
      { kind: 'first' },
      { kind: 'next' },
    ] as const;
    expect(floors.flatMap(told)).toEqual(
      [3, 9, 0, 10].map((floor) => ({
        kind: 'group-sought',
        queueId,
        groupId: DEFAULT_GROUP,
        floor,
      })),
    );
    told({ kind: 'offset', offset: 7 });
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 7, depth: 3 });
  });

  it('back on a stream with a filter leaves the filtering to the leader again', () => {
    const { driver, queueId, sender, seek } = setUp({}, 'stream');
    const groupId = driver.group(queueId, 'eu', { filter: 'eu' });
    sender.fill(queueId, 3, '$queue/orders/us');
    expect(driver.dispatchStart(queueId, groupId)).toMatchObject({ floor: 3, filterFrom: 0 });
    seek(groupId, { kind: 'first' });
    expect(driver.dispatchStart(queueId, groupId)).toMatchObject({ floor: 0, filterFrom: 3 });
    sender.fill(queueId, 1, '$queue/orders/us');
    expect(driver.groups(queueId)[1]).toMatchObject({ floor: 0, depth: 3 });
  });

  it('on a classic queue goes forward alone', () => {
    const { driver, queueId, sender, seek } = setUp();
    sender.fill(queueId, 10);
    driver.settleRange(queueId, [0, 4]);
    driver.settle(queueId, 7);
    driver.settle(queueId, 5, 'requeue');
    expect(seek(DEFAULT_GROUP, { kind: 'first' })).toMatchObject([
      { kind: 'group-refused', reason: 'not-back', name: 'default' },
    ]);
    expect(seek(DEFAULT_GROUP, { kind: 'offset', offset: 6 })).toMatchObject([{ floor: 6 }]);
    expect(driver.groups(queueId)[0]).toMatchObject({ floor: 6, depth: 3 });
    expect(driver.dispatchStart(queueId).requeued).toEqual([]);
    expect(seek(9 as GroupId, { kind: 'next' })).toMatchObject([{ reason: 'no-group' }]);
  });
});

describe('the offset of a time', () => {
  it('never passes a message of that time, also where marks were made only for a while', () => {
    const driver = new MachineDriver();
    const age = { ageMs: 3_600_000, bytes: 0, messages: 0 };
    const queueId = driver.declare('orders', { retention: age });
    const sender = new Sender(driver);
    sender.fill(queueId, 2);
    driver.run({ kind: 'update-queue', queueId, limits: DEFAULT_LIMITS });
    driver.now += 60_000;
    sender.fill(queueId, 2);
    expect(driver.offsetAt(queueId, { kind: 'time', ms: driver.now })).toBe(2);
    expect(driver.offsetAt(queueId, { kind: 'time', ms: driver.now - 60_000 })).toBe(0);
  });
});

describe('an idle group', () => {
  it('remembers since when, if it is automatic', () => {
    const { driver, queueId } = setUp();
    const automatic = driver.group(queueId, 'x', { groupKind: 'automatic' });
    const since = () => {
      driver.checkpoint();
      const [, , , , , groups] = driver.store.get(`queue/${queueId}` as never) as never[][];
      return (groups as unknown as number[][]).map((row) => row[5]);
    };
    const idle = (groupId: GroupId, is: boolean) =>
      driver.run({ kind: 'idle-group', queueId, groupId, idle: is });
    idle(DEFAULT_GROUP, true);
    idle(automatic, true);
    const first = driver.now;
    driver.now += 500;
    expect(idle(automatic, true)).toEqual([]);
    expect(since()).toEqual([0, first]);
    idle(automatic, false);
    idle(7 as GroupId, true);
    expect(since()).toEqual([0, 0]);
  });
});
