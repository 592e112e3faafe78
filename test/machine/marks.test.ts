import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { MARK_MS, Marks } from '../../src/machine/marks.ts';
import type { RecordKey } from '../../src/machine/record-data.ts';
import { type RetentionStep, retentionStep } from '../../src/machine/retention.ts';
import { TestRecords } from './record-store.ts';

interface Message {
  readonly stamp: number;
  readonly bytes: number;
}

/** One queue with all its messages beside its marks. */
class Rig {
  records = new TestRecords();
  marks = new Marks(this.records.table);
  readonly messages: Message[] = [];
  start = 0;
  bytes = 0;
  now = 1_000_000;
  readonly step: number;

  constructor(step = Number.POSITIVE_INFINITY) {
    this.step = step;
  }

  get end() {
    return { offset: this.messages.length, bytes: this.bytes };
  }

  /** A message; without a mark: the queue has no use for marks at the moment. */
  append(bytes: number, marked = true): void {
    const offset = this.messages.length;
    const asked = { offset, stamp: this.now, bytes: this.bytes, step: this.step };
    if (marked) {
      this.load((keys) => this.marks.needsToAppend(1, asked, keys));
      this.marks.append(1, asked, bytes);
    }
    this.messages.push({ stamp: this.now, bytes });
    this.bytes += bytes;
  }

  /** One step of retention; what it says, in force. */
  retain(retention: { ageMs: number; bytes: number }): RetentionStep {
    const { start, now, bytes } = this;
    const nextOffset = this.messages.length;
    const limits = { ...retention, messages: 0 };
    const kept = {
      queueId: 1,
      start,
      nextOffset,
      bytes,
      retention: limits,
      now,
      coming: undefined,
    };
    this.load((keys) => {
      if (!this.marks.needsHead(1, keys)) retentionStep(this.marks, kept, keys);
    });
    const step = retentionStep(this.marks, kept, []);
    if (step === undefined) throw new Error('not loaded');
    this.start = step.start;
    this.marks.drop(1, step.mark);
    return step;
  }

  retainAll(retention: { ageMs: number; bytes: number }): RetentionStep {
    for (;;) {
      const { start } = this;
      const step = this.retain(retention);
      if (step.start === start) return step;
    }
  }

  load(needs: (keys: RecordKey[]) => void): void {
    this.records.load(needs, (key, data) => {
      const slash = key.indexOf('/');
      const kind = key.slice(0, slash) as 'marks' | 'mark' | 'marktop';
      this.marks.load(kind, key.slice(slash + 1), data);
    });
  }

  restart(): void {
    this.records.save();
    const next = new TestRecords();
    for (const [key, data] of this.records.store) next.store.set(key, data);
    this.records = next;
    this.marks = new Marks(next.table);
    this.load((keys) => void this.marks.needsHead(1, keys));
  }
}

function headed(step?: number): Rig {
  const rig = new Rig(step);
  rig.load((keys) => void rig.marks.needsHead(1, keys));
  return rig;
}

describe('marks', () => {
  it('come with the first message, then by count, by time and by bytes', () => {
    const rig = headed(1_000);
    for (let i = 0; i < 300; i += 1) rig.append(1);
    expect(rig.marks.range(1)).toMatchObject({ first: 0, end: 2 });
    rig.now += MARK_MS;
    rig.append(1_000);
    expect(rig.marks.range(1).end).toBe(3);
    rig.append(1);
    expect(rig.marks.range(1).end).toBe(4);
  });

  it('a look-up in a long queue reads two chunks', () => {
    const rig = headed();
    // A second apart: each message has a mark, so that all three levels are there.
    for (let i = 0; i < 140_000; i += 1) {
      rig.append(10);
      rig.now += MARK_MS;
      if (i % 10_000 === 0) rig.records.saveAndEvict();
    }
    rig.records.saveAndEvict();
    for (const offset of [0, 1, 255, 256, 65_535, 65_536, 99_999, 139_999]) {
      rig.records.saveAndEvict();
      rig.load((keys) => void rig.marks.needsHead(1, keys));
      rig.records.mostLoaded = 0;
      const find = { column: 'offset', value: offset } as const;
      rig.load((keys) => void rig.marks.find(1, find, keys));
      expect(rig.marks.find(1, find, [])).toBe(offset);
      expect(rig.records.mostLoaded).toBeLessThanOrEqual(2);
    }
  });

  it('the offset of a time is never too late, and at most a second too early', () => {
    const arrivals = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3_000 })), {
      maxLength: 700,
      size: 'max',
    });
    fc.assert(
      fc.property(arrivals, fc.array(fc.nat({ max: 1_000_000 })), (gaps, picks) => {
        const rig = headed();
        for (const [at, gap] of gaps.entries()) {
          rig.now += gap;
          rig.append(5);
          if (at % 100 === 99) rig.records.saveAndEvict();
          rig.load((keys) => void rig.marks.needsHead(1, keys));
        }
        for (const pick of picks) {
          const ms = 1_000_000 - 10 + (pick % (rig.now - 1_000_000 + 3_000));
          const asked = { ms, end: rig.messages.length };
          rig.load((keys) => void rig.marks.offsetAt(1, asked, keys));
          const found = rig.marks.offsetAt(1, asked, []) ?? 0;
          const exact = rig.messages.findIndex(({ stamp }) => stamp >= ms);
          const first = exact === -1 ? rig.messages.length : exact;
          expect(found).toBeLessThanOrEqual(first);
          if (found < first) {
            expect((rig.messages[found] as Message).stamp).toBeGreaterThan(ms - MARK_MS);
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it('bytes below an offset are exact at marks, and close between them', () => {
    const rig = headed(100);
    let exact = 0;
    for (let i = 0; i < 2_000; i += 1) {
      rig.append(100 + (i % 7));
      exact += 100 + (i % 7);
      // Each message is above the step, so each has a mark.
      const asked = { offset: i, end: rig.end };
      expect(rig.marks.bytesBelow(1, asked, [])).toBe(exact - 100 - (i % 7));
    }
    const coarse = headed();
    for (let i = 0; i < 2_000; i += 1) coarse.append(100);
    expect(coarse.marks.bytesBelow(1, { offset: 777, end: coarse.end }, [])).toBe(77_700);
    expect(coarse.marks.bytesBelow(1, { offset: 2_000, end: coarse.end }, [])).toBe(200_000);
  });
});

describe('retention', () => {
  it('Q7: by bytes: exactly as many small messages as fit, and never the newest', () => {
    const rig = headed(Math.floor(10_000 / 256));
    for (let i = 0; i < 25; i += 1) {
      rig.append(1_000);
      rig.retain({ ageMs: 0, bytes: 10_000 });
    }
    expect(rig.start).toBe(15);
    rig.append(50_000);
    rig.retain({ ageMs: 0, bytes: 10_000 });
    expect(rig.start).toBe(25);
  });

  it('Q7: by age: says when it has something to do, and then does it', () => {
    const rig = headed();
    rig.append(10);
    rig.append(10);
    const first = rig.retain({ ageMs: 5_000, bytes: 0 });
    expect(rig.start).toBe(0);
    expect(first.checkAt).toBe(rig.now + 5_000 + MARK_MS - 1);
    rig.now = first.checkAt - 1;
    rig.retain({ ageMs: 5_000, bytes: 0 });
    expect(rig.start).toBe(0);
    rig.now += 1;
    expect(rig.retain({ ageMs: 5_000, bytes: 0 }).checkAt).toBe(Number.POSITIVE_INFINITY);
    expect(rig.start).toBe(2);
  });

  it('Q7: never removes what is inside the bound, and leaves little of what is outside', () => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          count: fc.constantFrom(1, 1, 3, 300),
          bytes: fc.integer({ min: 1, max: 900 }),
          gap: fc.constantFrom(0, 0, 1, 40, 700, 5_000),
          marked: fc.constantFrom(true, true, true, true, false),
        }),
      },
      { weight: 3, arbitrary: fc.record({ wait: fc.integer({ min: 0, max: 20_000 }) }) },
      { weight: 2, arbitrary: fc.constantFrom('evict' as const, 'restart' as const) },
    );
    const limits = fc.record({
      ageMs: fc.constantFrom(0, 1_000, 10_000),
      bytes: fc.constantFrom(0, 3_000, 40_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), limits, (steps, retention) => {
        const rig = headed(retention.bytes === 0 ? undefined : Math.floor(retention.bytes / 256));
        let gaps = false;
        for (const each of steps) {
          if (each === 'evict') rig.records.saveAndEvict();
          else if (each === 'restart') rig.restart();
          else if ('wait' in each) rig.now += each.wait;
          else {
            for (let i = 0; i < each.count; i += 1) {
              rig.append(each.bytes, each.marked);
              rig.now += each.gap;
            }
            gaps ||= !each.marked;
          }
          const before = rig.start;
          const { checkAt } = rig.retainAll(retention);
          let bytes = rig.messages.slice(rig.start).reduce((sum, each2) => sum + each2.bytes, 0);
          for (let offset = rig.start - 1; offset >= before; offset -= 1) {
            const { stamp, bytes: own } = rig.messages[offset] as Message;
            bytes += own;
            const isOld = retention.ageMs > 0 && stamp <= rig.now - retention.ageMs;
            const isMuch = retention.bytes > 0 && bytes > retention.bytes;
            if (!isOld && !isMuch) expect({ offset, isOld, isMuch }).toBe('outside');
          }
          const oldest = rig.messages[rig.start];
          if (gaps || oldest === undefined) continue;
          const left = rig.messages.slice(rig.start).reduce((sum, each2) => sum + each2.bytes, 0);
          if (retention.bytes > 0) {
            const most = retention.bytes + Math.floor(retention.bytes / 256) + 2 * 900;
            expect(left).toBeLessThanOrEqual(most);
          }
          if (retention.ageMs > 0) {
            expect(oldest.stamp).toBeGreaterThan(rig.now - retention.ageMs - MARK_MS);
            expect(checkAt).toBeGreaterThan(rig.now);
            expect(checkAt).toBeLessThan(oldest.stamp + retention.ageMs + MARK_MS);
          }
        }
        rig.load((keys) => void rig.marks.needsHead(1, keys));
        rig.marks.remove(1);
        expect(rig.records.dump()).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});
