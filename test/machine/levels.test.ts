import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { LEVELS_CHUNK, Levels } from '../../src/machine/levels.ts';
import { TestRecords } from './record-store.ts';

class Rig {
  readonly records = new TestRecords();
  readonly levels = new Levels(this.records.table);

  set(offset: number, priority: number): void {
    this.load((keys) => this.levels.needsToSet(1, offset, keys));
    this.levels.set(1, offset, priority);
  }

  drop(offset: number): void {
    this.load((keys) => void this.levels.needsHead(1, keys));
    this.levels.drop(1, offset);
  }

  read(from: number, offset: number): number {
    this.load((keys) => this.levels.needsToCopy(1, from, keys));
    const packed = this.levels.copy(1, from)?.get(Math.floor(offset / LEVELS_CHUNK));
    const at = offset % LEVELS_CHUNK;
    return packed === undefined ? 0 : ((packed[at >>> 1] as number) >>> ((at & 1) * 4)) & 15;
  }

  load(needs: Parameters<TestRecords['load']>[0]): void {
    this.records.load(needs, (key, data) => {
      const slash = key.indexOf('/');
      this.levels.load(key.slice(0, slash) as 'level', key.slice(slash + 1), data);
    });
  }
}

describe('priorities of messages', () => {
  it('are what they were set to, with evictions and drops between', () => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ skip: fc.nat({ max: 3_000 }), priority: fc.nat({ max: 9 }) }),
      },
      { weight: 1, arbitrary: fc.record({ drop: fc.nat({ max: 6_000 }) }) },
      { weight: 2, arbitrary: fc.constant('evict' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const rig = new Rig();
        const model = new Map<number, number>();
        let next = 0;
        let floor = 0;
        for (const each of steps) {
          if (each === 'evict') rig.records.saveAndEvict();
          else if ('drop' in each) {
            floor = Math.min(next, floor + each.drop);
            rig.drop(floor);
          } else {
            if (each.priority > 0) rig.set(next, each.priority);
            model.set(next, each.priority);
            next += 1 + each.skip;
          }
        }
        for (const [offset, priority] of model) {
          if (offset >= floor) expect(rig.read(floor, offset)).toBe(priority);
        }
        rig.drop(next + LEVELS_CHUNK);
        expect(
          rig.records
            .dump()
            .map(([key]) => key)
            .filter((key) => key !== 'levels/1'),
        ).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('there is nothing to copy where no message has one', () => {
    const rig = new Rig();
    rig.load((keys) => rig.levels.needsToCopy(1, 0, keys));
    expect(rig.levels.copy(1, 0)).toBeUndefined();
  });
});
