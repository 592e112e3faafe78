import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { Queue, QueueState } from '../../src/machine/queue.ts';
import { type RecordKey, groupKey, queueKey } from '../../src/machine/record-data.ts';
import { RecordTable } from '../../src/machine/record-table.ts';

function setUp() {
  const table = new RecordTable();
  const definition = {
    name: 'orders',
    type: 'classic',
    topics: ['$queue/orders'],
    limits: DEFAULT_LIMITS,
  } as const;
  return { table, state: new QueueState(4 as QueueId, definition, table) };
}

describe('a queue', () => {
  it('counts its messages from 0, and their bytes', () => {
    const { state } = setUp();
    state.create();
    expect([state.append(10), state.append(5)]).toEqual([0, 1]);
    expect(state.queue.toData()).toEqual([1, 2, 15]);
    expect(Queue.fromData([1, 2, 15]).toData()).toEqual([1, 2, 15]);
    expect([state.floor, state.nextOffset]).toEqual([0, 2]);
    expect([-1, 0, 1, 2].map((offset) => state.isUnsettled(offset))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(state.settle(0)).toBe(1);
    expect([state.floor, state.isUnsettled(0)]).toEqual([1, false]);
  });

  it('knows its floor once both of its records were loaded, in either order', () => {
    for (const isQueueFirst of [true, false]) {
      const { state } = setUp();
      const keys: RecordKey[] = [];
      state.missing(keys);
      expect(keys).toEqual([queueKey(4), groupKey(4, 0)]);
      expect(state.use()).toBe(false);
      if (isQueueFirst) state.loadQueue([1, 9, 0]);
      state.loadGroup([1, [5, 0], [], []]);
      expect(state.floor).toBe(isQueueFirst ? 5 : undefined);
      if (!isQueueFirst) state.loadQueue([1, 9, 0]);
      expect([state.floor, state.nextOffset, state.isResident]).toEqual([5, 9, true]);
    }
  });

  it('a record that is not in memory is never used as if it were empty', () => {
    const { state } = setUp();
    expect(() => state.append(1)).toThrow('not loaded');
    expect(() => state.queue).toThrow('not loaded');
    expect(() => state.remove()).toThrow('not loaded');
  });
});
