import { describe, expect, it } from 'vitest';
import { Group, GroupState } from '../../src/machine/group.ts';
import { DEFAULT_GROUP, type QueueId } from '../../src/machine/ids.ts';
import {
  type CapturedRecord,
  type RecordKey,
  attemptsKey,
  groupKey,
  settledKey,
} from '../../src/machine/record-data.ts';
import { RecordTable } from '../../src/machine/record-table.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';

function setUp() {
  const table = new RecordTable();
  const left: GroupState[] = [];
  const holder = {
    queueId: 1 as QueueId,
    groupLeaving: () => {},
    groupLeft: (gone: GroupState) => void left.push(gone),
  };
  const group = new GroupState(DEFAULT_GROUP, holder, table);
  group.create(0);
  /** A durable checkpoint, and everything out of memory. */
  const evicted = () => {
    const cut: CapturedRecord[] = [];
    table.freeze();
    while (!table.capture(100, cut));
    table.thaw();
    table.evict(0, 1_000);
    return new Map(cut.map(({ key, data }) => [key, data]));
  };
  const needs = (offset: number) => {
    const keys: RecordKey[] = [];
    group.needs(offset, keys);
    return keys;
  };
  const missing = () => {
    const keys: RecordKey[] = [];
    group.missingChunks(keys);
    return keys;
  };
  return { table, group, evicted, needs, missing, left };
}

describe('a group', () => {
  it('names what a settlement needs, and works on with exactly that', () => {
    const { group, evicted, needs, missing, left } = setUp();
    group.settle(3);
    group.setAttempts(7, 2, 500);
    group.settle(SETTLED_CHUNK + 1);
    const store = evicted();
    expect(group.isResident).toBe(false);
    expect(left).toEqual([group]);
    expect(group.isReadyFor(7)).toBe(false);
    expect(needs(7)).toEqual([groupKey(1, 0)]);
    group.load(store.get(groupKey(1, 0)) ?? null);
    expect(needs(7)).toEqual([settledKey(1, 0, 0), attemptsKey(1, 0, 0)]);
    expect(missing()).toEqual([settledKey(1, 0, 0), settledKey(1, 0, 1), attemptsKey(1, 0, 0)]);
    expect(() => group.isSettled(3)).toThrow('not loaded');
    expect(() => group.attempts(7)).toThrow('not loaded');
    group.loadSettled(0, store.get(settledKey(1, 0, 0)) ?? null);
    group.loadAttempts(0, store.get(attemptsKey(1, 0, 0)) ?? null);
    expect(needs(7)).toEqual([]);
    expect(group.isReadyFor(7)).toBe(true);
    expect([group.isSettled(3), group.isSettled(4), group.attempts(7)]).toEqual([true, false, 2]);
  });

  it('its records change only after the table was told, and go when they are empty', () => {
    const { table, group, evicted } = setUp();
    group.settle(1);
    group.setAttempts(0, 1, 0);
    evicted();
    group.load([1, [0, 1], [0, 1], [0, 1]]);
    group.loadSettled(0, [1, Uint8Array.of(2, ...new Uint8Array(511))]);
    group.loadAttempts(0, [1, [0, 1, 0]]);
    expect(table.changed).toBe(0);
    group.settle(0);
    expect(table.changed).toBe(2);
    expect(group.group.ranges.floor).toBe(2);
    const cut = evicted();
    expect(cut.get(attemptsKey(1, 0, 0))).toBeUndefined();
    expect(cut.has(attemptsKey(1, 0, 0))).toBe(true);
  });

  it('its record comes back as it was', () => {
    const { group } = setUp();
    group.settle(9_000);
    group.settle(4);
    group.setAttempts(8_500, 1, 0);
    group.setAttempts(2, 1, 0);
    const data = group.group.toData();
    expect(Group.fromData(structuredClone(data)).toData()).toEqual(data);
    expect(data).toEqual([1, [0, 2], [0, 1, 2, 1], [0, 1, 2, 1]]);
    expect(() => Group.fromData([7])).toThrow('unknown format');
  });
});
