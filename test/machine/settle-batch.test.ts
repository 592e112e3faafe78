import { fc } from '../support/properties.ts';
import { expect, it } from 'vitest';
import { GroupState } from '../../src/machine/group.ts';
import { DEFAULT_GROUP, type QueueId } from '../../src/machine/ids.ts';
import type { RecordData, RecordKey } from '../../src/machine/record-data.ts';
import { SETTLED_CHUNK } from '../../src/machine/settled-ranges.ts';
import { TestRecords } from './record-store.ts';

function rig() {
  const records = new TestRecords();
  const holder = { queueId: 1 as QueueId, groupLeaving: () => {}, groupLeft: () => {} };
  const group = new GroupState(DEFAULT_GROUP, holder, records.table);
  group.create(0);
  const load = (needs: (keys: RecordKey[]) => void) =>
    records.load(needs, (key: RecordKey, data: RecordData | undefined) => {
      const [kind, , , chunk] = key.split('/');
      if (data === undefined) throw new Error(`asked for ${key}, which does not exist`);
      if (kind === 'group') group.load(data);
      else if (kind === 'settled') group.loadSettled(Number(chunk), data);
      else group.loadAttempts(Number(chunk), data);
    });
  return { records, group, load };
}

it('several ranges in one: what they need is named before the first of them is settled', () => {
  const edge = fc
    .record({ chunk: fc.nat({ max: 4 }), at: fc.constantFrom(0, 1, 100, 2_000, 4_095) })
    .map(({ chunk, at }) => chunk * SETTLED_CHUNK + at);
  const range = fc
    .tuple(edge, edge)
    .filter(([a, b]) => a !== b)
    .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }));
  const batch = fc.array(range, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 5 }), fc.array(edge), (batches, requeued) => {
      const { records, group, load } = rig();
      const settled = new Set<number>();
      for (const offset of new Set(requeued)) group.setAttempts(offset, 1, 0);
      for (const ranges of batches) {
        records.saveAndEvict();
        load((keys) => {
          if (group.isResident) group.needsBatch(ranges, keys);
          else group.needs(0, keys);
        });
        for (const { from, to } of ranges) {
          const before = settled.size;
          for (let offset = from; offset < to; offset += 1) settled.add(offset);
          expect(group.settleRange(from, to)).toBe(settled.size - before);
        }
        let floor = 0;
        while (settled.has(floor)) floor += 1;
        expect(group.floor).toBe(floor);
      }
    }),
    { numRuns: 200 },
  );
});
