import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Intent } from '../../src/machine/effect.ts';
import type { GroupId, Offset, QueueId, StampMs } from '../../src/machine/ids.ts';
import { MAX_OPEN_INTENTS, Outbox } from '../../src/machine/outbox.ts';
import type { RecordKey } from '../../src/machine/record-data.ts';
import { TestRecords } from './record-store.ts';

type Asked = Parameters<Outbox['open']>[0];

function asked(queueId: number, offset: number, more: Partial<Asked> = {}): Asked {
  return {
    reason: 'rejected',
    queueId: queueId as QueueId,
    groupId: 0 as GroupId,
    offset: offset as Offset,
    attempts: 3,
    stamp: 1_000 as StampMs,
    target: { kind: 'name', name: '$dlq/orders' },
    ...more,
  };
}

function started(records: TestRecords): Outbox {
  const outbox = new Outbox(records.table);
  records.load(
    (keys) => keys.push(...outbox.missing()),
    (key, data) => {
      if (key === 'outbox') outbox.loadHead(data);
      else outbox.loadChunk(Number(key.slice('intent/'.length)), data);
    },
  );
  return outbox;
}

function restarted(records: TestRecords): Outbox {
  records.save();
  const next = new TestRecords();
  for (const [key, data] of records.store) next.store.set(key, data);
  return started(next);
}

describe('the outbox', () => {
  it('numbers are never used again, also when all are closed and after a restart', () => {
    let records = new TestRecords();
    const outbox = started(records);
    expect([1, 2, 3].map((offset) => outbox.open(asked(1, offset)).number)).toEqual([1, 2, 3]);
    for (const number of [1, 2, 3]) outbox.close(number);
    expect(outbox.openCount).toBe(0);
    records.save();
    expect([...records.store.keys()]).toEqual(['outbox' as RecordKey]);
    const again = restarted(records);
    expect(again.open(asked(1, 4)).number).toBe(4);
    records = new TestRecords();
    expect(started(records).open(asked(1, 1)).number).toBe(1);
  });

  it('an intent comes back whole from its record', () => {
    const records = new TestRecords();
    const outbox = started(records);
    const targets: Intent['target'][] = [
      { kind: 'name', name: '$dlq/ö' },
      { kind: 'queues', queueIds: [3, 5] as QueueId[] },
      { kind: 'source' },
    ];
    for (const target of targets) outbox.open(asked(7, 9, { target, reason: 'moved' }));
    outbox.refuse(2);
    outbox.refuse(2);
    const before = outbox.after(0, 10);
    expect(before.map(({ refusals }) => refusals)).toEqual([0, 2, 0]);
    expect(restarted(records).after(0, 10)).toEqual(before);
  });

  it('keeps a payload wanted until the last intent that needs it is closed', () => {
    const outbox = started(new TestRecords());
    outbox.open(asked(1, 10));
    outbox.open(asked(1, 10, { groupId: 4 as GroupId }));
    outbox.open(asked(1, 20));
    expect(outbox.lowestWanted(1 as QueueId)).toBe(10);
    outbox.close(1);
    expect(outbox.wants(1 as QueueId, 10)).toBe(true);
    outbox.close(2);
    expect(outbox.wants(1 as QueueId, 10)).toBe(false);
    expect(outbox.lowestWanted(1 as QueueId)).toBe(20);
    expect(outbox.lowestWanted(2 as QueueId)).toBe(Number.POSITIVE_INFINITY);
  });

  it('is bounded, and says how much room there is', { timeout: 20_000 }, () => {
    const records = new TestRecords();
    const outbox = started(records);
    for (let i = 0; i < MAX_OPEN_INTENTS; i += 1) outbox.open(asked(1, i));
    expect(outbox.room).toBe(0);
    expect(() => outbox.open(asked(1, 1_000_000))).toThrow(/full/);
    const again = restarted(records);
    expect(again.openCount).toBe(MAX_OPEN_INTENTS);
    again.close(1);
    expect(again.room).toBe(1);
    expect(again.lowestWanted(1 as QueueId)).toBe(1);
  });

  it('opens, refusals and closings in any order agree with a list, over restarts', () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ open: fc.nat({ max: 3 }), offset: fc.nat({ max: 40 }) }),
      },
      { weight: 5, arbitrary: fc.record({ close: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ refuse: fc.nat() }) },
      { weight: 1, arbitrary: fc.constant('restart' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 900, size: 'max' }), (steps) => {
        let records = new TestRecords();
        let outbox = started(records);
        const open: Intent[] = [];
        let next = 1;
        for (const each of steps) {
          if (each === 'restart') {
            records.save();
            const fresh = new TestRecords();
            for (const [key, data] of records.store) fresh.store.set(key, data);
            records = fresh;
            outbox = started(records);
          } else if ('open' in each) {
            const ask = asked(each.open, each.offset);
            open.push({ ...ask, number: next, refusals: 0, route: undefined });
            expect(outbox.open(ask).number).toBe(next);
            next += 1;
          } else if (open.length > 0 && 'close' in each) {
            const [gone] = open.splice(each.close % open.length, 1) as [Intent];
            outbox.close(gone.number);
            expect(outbox.get(gone.number)).toBeUndefined();
          } else if (open.length > 0 && 'refuse' in each) {
            const at = each.refuse % open.length;
            const intent = open[at] as Intent;
            open[at] = { ...intent, refusals: intent.refusals + 1 };
            outbox.refuse(intent.number);
          }
          for (let queueId = 0; queueId < 4; queueId += 1) {
            const offsets = open.filter((x) => x.queueId === queueId).map(({ offset }) => offset);
            expect(outbox.lowestWanted(queueId as QueueId)).toBe(Math.min(...offsets));
            expect(outbox.leaving(queueId as QueueId)).toBe(new Set(offsets).size);
          }
        }
        expect(outbox.openCount).toBe(open.length);
        expect(outbox.after(0, 10_000)).toEqual(open);
        const middle = open[Math.floor(open.length / 2)]?.number ?? 0;
        const behind = open.filter(({ number }) => number > middle).slice(0, 5);
        expect(outbox.after(middle, 5)).toEqual(behind);
      }),
      { numRuns: 30 },
    );
  });
});
