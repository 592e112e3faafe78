import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import { DEFAULT_GROUP, type GroupId, type QueueId } from '../../src/machine/ids.ts';
import { Queue, QueueState } from '../../src/machine/queue.ts';
import {
  type CapturedRecord,
  type RecordKey,
  groupKey,
  queueKey,
} from '../../src/machine/record-data.ts';
import { RecordTable } from '../../src/machine/record-table.ts';

function setUp(limits: QueueLimits = DEFAULT_LIMITS) {
  const table = new RecordTable();
  const definition = {
    name: 'orders',
    type: 'classic',
    topics: ['$queue/orders'],
    limits,
  } as const;
  const owner = { woke: () => undefined, slept: () => undefined };
  return { table, state: new QueueState(4 as QueueId, definition, { table, owner }) };
}

const DIRECTORY = [
  [0, 'default', 0, '', 0, 0],
  [2, 'mail@eu', 1, 'eu/+', 7, 99],
];

describe('a queue', () => {
  it('counts its messages from 0, and their bytes', () => {
    const { state } = setUp();
    state.create();
    expect([state.append(10), state.append(5)]).toEqual([0, 1]);
    const data = [1, 2, 15, 0, 1, [[0, 'default', 0, '', 0, 0]]];
    expect(state.queue.toData()).toEqual(data);
    expect(Queue.fromData(data).toData()).toEqual(data);
    expect([state.lowestWanted, state.nextOffset]).toEqual([0, 2]);
    const group = state.loadedGroup(DEFAULT_GROUP);
    const unsettled = [-1, 0, 1, 2].map((offset) => state.isUnsettled(group, offset));
    expect(unsettled).toEqual([false, true, true, false]);
    group.settle(0);
    expect([state.lowestWanted, state.isUnsettled(group, 0)]).toEqual([1, false]);
  });

  it('its directory comes back as it was', () => {
    const data = [1, 9, 300, 4, 3, DIRECTORY];
    expect(Queue.fromData(structuredClone(data)).toData()).toEqual(data);
    expect(() => Queue.fromData([2])).toThrow('unknown format');
    expect(() => Queue.fromData([1, 0, 0, 0, 1, [[0, 'a', 7, '', 0, 0]]])).toThrow('unknown kind');
  });

  it('has no group at first where each client has one of its own', () => {
    const { state } = setUp({ ...DEFAULT_LIMITS, defaultGroup: 'client' });
    state.create();
    expect(state.queue.groups).toEqual([]);
    expect([state.isResident, state.lowestWanted]).toEqual([true, 0]);
  });

  it('names the records of its groups once it knows them, and then what is wanted', () => {
    const { state } = setUp();
    const missing = () => {
      const keys: RecordKey[] = [];
      state.missing(keys);
      return keys;
    };
    expect(missing()).toEqual([queueKey(4)]);
    expect([state.use(), state.nextOffset]).toEqual([false, undefined]);
    state.loadQueue([1, 9, 0, 0, 3, DIRECTORY]);
    expect(missing()).toEqual([groupKey(4, 0), groupKey(4, 2)]);
    state.loadGroup(1 as GroupId, undefined);
    state.loadGroup(DEFAULT_GROUP, [1, [7, 0], [], []]);
    expect([state.isResident, state.nextOffset, state.lowestWanted]).toEqual([false, 9, undefined]);
    state.loadGroup(2 as GroupId, [1, [5, 0], [], []]);
    expect([state.isResident, state.lowestWanted]).toEqual([true, 5]);
  });

  it('what is known of an evicted queue is never too high, and exact if nothing happened', () => {
    const { state, table } = setUp();
    state.create();
    for (let i = 0; i < 5; i += 1) state.append(1);
    const second = state.createGroup({ name: 'b', kind: 'explicit', filter: '' }, 0);
    state.loadedGroup(DEFAULT_GROUP).settleRange(0, 4);
    state.loadedGroup(second.groupId).settleRange(0, 3);
    const cut: CapturedRecord[] = [];
    table.freeze();
    while (!table.capture(100, cut));
    table.thaw();
    expect(table.evict(0, 100)).toBe(3);
    expect([state.hasQueue, state.nextOffset, state.lowestWanted]).toEqual([false, 5, 3]);
    const data = (key: RecordKey) => cut.find((each) => each.key === key)?.data ?? null;
    state.loadQueue(data(queueKey(4)));
    state.loadGroup(second.groupId, data(groupKey(4, second.groupId)));
    state.loadedGroup(second.groupId).settleRange(3, 5);
    expect(state.lowestWanted).toBe(3);
    state.loadGroup(DEFAULT_GROUP, data(groupKey(4, 0)));
    expect(state.lowestWanted).toBe(4);
  });

  it('a record that is not in memory is never used as if it were empty', () => {
    const { state } = setUp();
    expect(() => state.append(1)).toThrow('not loaded');
    expect(() => state.queue).toThrow('not loaded');
    expect(() => state.remove()).toThrow('not loaded');
    expect(() => state.loadedGroup(DEFAULT_GROUP)).toThrow('not loaded');
  });
});
