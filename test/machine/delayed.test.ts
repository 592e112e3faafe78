import { describe, expect, it } from 'vitest';
import { DELAYED_CHUNK, Delayed } from '../../src/machine/delayed.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { TestRecords } from './record-store.ts';

function rig() {
  const records = new TestRecords();
  const delayed = new Delayed(records.table);
  const load = (offset: number) =>
    records.load(
      (keys) => delayed.needs(offset, keys),
      (key, data) => delayed.load(key.slice('delayed/'.length), data),
    );
  return { records, delayed, load };
}

describe('targets of delayed messages', () => {
  it('come back whole, once, in any order, over evictions; and leave nothing behind', () => {
    const { records, delayed, load } = rig();
    const count = DELAYED_CHUNK * 2 + 10;
    const targetsOf = (offset: number) => [1 + (offset % 3), 9] as QueueId[];
    for (let offset = 0; offset < count; offset += 1) {
      load(offset);
      delayed.add(offset, targetsOf(offset));
      if (offset % 100 === 0) records.saveAndEvict();
    }
    records.saveAndEvict();
    for (let i = 0; i < count; i += 1) {
      const offset = (i * 7) % count;
      load(offset);
      expect(delayed.take(offset)).toEqual(targetsOf(offset));
      expect(() => delayed.take(offset)).toThrow(/no such message/);
      if (i % 90 === 0) records.saveAndEvict();
    }
    records.saveAndEvict();
    expect([...records.store.keys()]).toEqual([]);
  });

  it('a command may fill its list of targets again', () => {
    const { delayed, load } = rig();
    const targets = [4] as QueueId[];
    load(0);
    delayed.add(0, targets);
    targets[0] = 5 as QueueId;
    delayed.add(1, targets);
    expect([delayed.take(0), delayed.take(1)]).toEqual([[4], [5]]);
  });
});
