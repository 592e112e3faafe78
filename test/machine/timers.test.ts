import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { TICK_MS, Timers } from '../../src/machine/timers.ts';
import type { Timer } from '../../src/machine/timer-chunk.ts';
import { TestRecords } from './record-store.ts';

const START = 1_700_000_000_000;
const DAY = 24 * 3_600_000;

class Rig {
  readonly records = new TestRecords();
  timers = this.#fresh();
  now = START;

  add(timer: Timer): void {
    const { now } = this;
    this.#load((keys) => this.timers.needsToAdd(timer.due, now, keys));
    this.timers.add(timer, now);
  }

  /** One step: what fired. */
  step(max: number, rest = false): { kind: string; queueId: number; number: number }[] {
    const { now } = this;
    this.#load((keys) => this.timers.needsToStep(now, keys));
    const due = this.timers.due(now, max);
    if (due.length === 0) {
      this.timers.deal(now);
      return [];
    }
    const last = due.at(-1);
    const cut = rest && last !== undefined && last.count > 1 ? 1 : 0;
    this.timers.take(now, due.length - cut, cut);
    return due.flatMap(({ kind, queueId, from, count }, at) =>
      Array.from({ length: cut === 1 && at === due.length - 1 ? 1 : count }, (_, i) => ({
        kind,
        queueId,
        number: from + i,
      })),
    );
  }

  /** Steps until the wheel has nothing to do. */
  run(max = 100, rest = false): { kind: string; queueId: number; number: number }[] {
    const fired = [];
    for (let steps = 0; this.timers.next() <= this.now; steps += 1) {
      if (steps > 10_000) throw new Error('no end');
      fired.push(...this.step(max, rest));
    }
    return fired;
  }

  restart(): void {
    this.records.save();
    const { store } = this.records;
    const next = new TestRecords();
    for (const [key, data] of store) next.store.set(key, data);
    Object.assign(this, { records: next });
    this.timers = this.#fresh();
  }

  #fresh(): Timers {
    const timers = new Timers('timers', this.records.table);
    timers.loadHead(structuredClone(this.records.store.get(timers.headKey)));
    return timers;
  }

  #load(needs: Parameters<TestRecords['load']>[0]): void {
    this.records.load(needs, (key, data) =>
      this.timers.loadChunk(key.slice('timers/'.length), data),
    );
  }
}

function expiry(due: number, number: number, queueId = 1): Timer {
  return { due, kind: 'expiry', queueId, number };
}

describe('timers', () => {
  it('fire at their time or up to a tick later, never before', () => {
    const rig = new Rig();
    rig.add(expiry(START + 1_234, 7));
    expect(rig.timers.next()).toBeGreaterThanOrEqual(START + 1_234);
    expect(rig.timers.next()).toBeLessThan(START + 1_234 + TICK_MS);
    rig.now = START + 1_233;
    expect(rig.run()).toEqual([]);
    rig.now = rig.timers.next();
    expect(rig.run()).toEqual([{ kind: 'expiry', queueId: 1, number: 7 }]);
    expect(rig.timers.next()).toBe(Number.POSITIVE_INFINITY);
  });

  it('those of consecutive offsets that are due together are one row', () => {
    const rig = new Rig();
    // Three queues by turns, as a topic that several queues capture.
    for (let offset = 0; offset < 3_000; offset += 1) {
      for (const queueId of [1, 2, 3]) rig.add(expiry(START + 60_000, offset, queueId));
    }
    rig.now = START + 60_000;
    const due = (() => {
      while (rig.timers.due(rig.now, 10).length === 0) rig.step(0);
      return rig.timers.due(rig.now, 10);
    })();
    expect(due).toEqual(
      [1, 2, 3].map((queueId) => ({
        kind: 'expiry',
        queueId,
        from: 0,
        count: 3_000,
      })),
    );
    rig.timers.take(rig.now, 1, 1_000);
    expect(rig.timers.due(rig.now, 1)).toEqual([
      { kind: 'expiry', queueId: 2, from: 1_000, count: 2_000 },
    ]);
    expect(rig.run()).toHaveLength(5_000);
  });

  it('Q30: thirty thousand over thirty days: each step loads and writes a bounded number', () => {
    const rig = new Rig();
    const count = 30_000;
    const expected = new Map<number, number>();
    for (let i = 0; i < count; i += 1) {
      // A step that shares no factor with the span spreads them as chance would.
      const due = START + 1 + ((i * 2_654_435_761) % (30 * DAY));
      expected.set(i, due);
      rig.add(expiry(due, i * 2));
      if (i % 10_000 === 0) rig.records.saveAndEvict();
    }
    rig.records.saveAndEvict();
    rig.records.mostLoaded = 0;
    expect(rig.records.table.size).toBe(0);
    let fired = 0;
    let most = 0;
    while (rig.timers.next() !== Number.POSITIVE_INFINITY) {
      rig.now = Math.max(rig.now, rig.timers.next());
      const before = rig.records.table.changed;
      const due = rig.step(256);
      most = Math.max(most, rig.records.table.changed - before);
      for (const { number } of due) {
        const time = expected.get(number / 2) as number;
        if (rig.now < time || rig.now >= time + TICK_MS) expect(rig.now - time).toBe('in time');
        fired += 1;
      }
      if (rig.records.table.size > 2_000) rig.records.saveAndEvict();
    }
    expect(fired).toBe(count);
    expect(most).toBeLessThanOrEqual(600);
    expect(rig.records.mostLoaded).toBeLessThanOrEqual(600);
    expect(rig.records.dump().map(([key]) => key)).toEqual(['timers']);
  });

  it('every one fires once and in time, with loads, evictions and restarts between', () => {
    const add = fc.record({
      in: fc.oneof(
        fc.integer({ min: -5_000, max: 5_000 }),
        fc.integer({ min: 0, max: 400_000 }),
        fc.integer({ min: 0, max: 3 * DAY }),
        fc.integer({ min: 0, max: 3_650 * DAY }),
      ),
      queueId: fc.integer({ min: 1, max: 3 }),
      burst: fc.constantFrom(1, 1, 1, 20, 1_200),
      same: fc.boolean(),
    });
    const wait = fc.record({
      wait: fc.oneof(
        fc.integer({ min: 0, max: 2_000 }),
        fc.integer({ min: 0, max: 300_000 }),
        fc.integer({ min: 0, max: 4 * DAY }),
      ),
      max: fc.constantFrom(1, 7, 500),
      rest: fc.boolean(),
    });
    const step = fc.oneof(
      { weight: 6, arbitrary: add },
      { weight: 6, arbitrary: wait },
      { weight: 2, arbitrary: fc.constant('evict' as const) },
      { weight: 1, arbitrary: fc.constant('restart' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, twin) => {
        const rig = new Rig();
        // The twin keeps all in memory: what is evicted must change nothing.
        const other = twin ? new Rig() : undefined;
        const open = new Map<string, number>();
        let next = 0;
        const check = (fired: { queueId: number; number: number }[]) => {
          for (const { queueId, number } of fired) {
            const due = open.get(`${queueId}/${number}`);
            if (due === undefined || rig.now < due) expect({ queueId, number, due }).toBe('due');
            open.delete(`${queueId}/${number}`);
          }
          const late = [...open].filter(([, due]) => due <= rig.now - TICK_MS);
          expect(late).toEqual([]);
        };
        for (const each of steps) {
          if (each === 'evict') rig.records.saveAndEvict();
          else if (each === 'restart') rig.restart();
          else if ('wait' in each) {
            rig.now += each.wait;
            const fired = rig.run(each.max, each.rest);
            check(fired);
            if (other !== undefined) {
              other.now = rig.now;
              expect(other.run(each.max, each.rest)).toEqual(fired);
            }
          } else {
            for (let i = 0; i < each.burst; i += 1) {
              next += each.same ? 1 : 2;
              const due = rig.now + each.in + (each.same ? 0 : i * 37);
              const timer = { due, kind: 'delayed' as const, queueId: each.queueId, number: next };
              open.set(`${each.queueId}/${next}`, due);
              rig.add(timer);
              other?.add(timer);
            }
          }
        }
        if (other !== undefined) expect(rig.records.dump()).toEqual(other.records.dump());
        while (open.size > 0) {
          rig.now = Math.max(rig.now, rig.timers.next());
          check(rig.run());
        }
        expect(
          rig.records
            .dump()
            .map(([key]) => key)
            .filter((key) => key !== 'timers'),
        ).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });
});
