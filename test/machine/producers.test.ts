import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { PRODUCER_WINDOW, Producers } from '../../src/machine/producers.ts';
import { TestRecords } from './record-store.ts';

const LIFE = 10_000;

class Rig {
  readonly records = new TestRecords();
  readonly producers = new Producers(this.records.table);
  now = 1_000;
  /** Timers as the wheel would have them. */
  readonly timers: { serial: number; due: number }[] = [];

  send(id: string, sequence: number, max = 100): string {
    const asked = { queueId: 1, id, sequence };
    this.#load((keys) => this.producers.needsToCheck(asked, keys));
    const answer = this.producers.check(asked, max);
    if (answer === 'new') {
      const serial = this.producers.take(asked, this.now);
      if (serial > 0) this.timers.push({ serial, due: this.now + LIFE });
    }
    return answer;
  }

  fire(expiresMs = LIFE): void {
    const due = this.timers.filter((timer) => timer.due <= this.now);
    for (const timer of due) {
      const { serial } = timer;
      this.#load((keys) => this.producers.needsToExpire(1, { from: serial, count: 1 }, keys));
      timer.due = this.producers.expire({ queueId: 1, serial }, { now: this.now, expiresMs });
    }
    const left = this.timers.filter((timer) => timer.due > 0);
    this.timers.splice(0, this.timers.length, ...left);
  }

  get count(): number {
    this.#load((keys) => this.producers.needsToExpire(1, { from: 1, count: 0 }, keys));
    return this.producers.count(1);
  }

  #load(needs: Parameters<TestRecords['load']>[0]): void {
    this.records.load(needs, (key, data) => {
      const slash = key.indexOf('/');
      const kind = key.slice(0, slash) as 'producers' | 'producer' | 'serials';
      this.producers.load(kind, key.slice(slash + 1), data);
    });
  }
}

describe('numbered producers', () => {
  it('take each sequence once, in any order within the window', () => {
    const rig = new Rig();
    expect([5, 3, 5, 4, 3].map((sequence) => rig.send('p', sequence))).toEqual([
      'new',
      'new',
      'duplicate',
      'new',
      'duplicate',
    ]);
    expect(rig.send('p', PRODUCER_WINDOW + 4)).toBe('new');
    // 4 is the last that has left the window: nobody knows any more.
    expect([3, 4].map((sequence) => rig.send('p', sequence))).toEqual(['refused', 'refused']);
    expect([5, 6].map((sequence) => rig.send('p', sequence))).toEqual(['duplicate', 'new']);
  });

  it('an id may hold anything, and is another producer in another case', () => {
    const rig = new Rig();
    for (const id of ['a/b', 'a', '__proto__', 'é', '0', ' ']) {
      expect(rig.send(id, 1)).toBe('new');
      rig.records.saveAndEvict();
      expect(rig.send(id, 1)).toBe('duplicate');
    }
  });

  it('an id that is empty or longer than 255 characters is refused', () => {
    const rig = new Rig();
    expect(['', 'x'.repeat(256), 'x'.repeat(255)].map((id) => rig.send(id, 1))).toEqual([
      'refused',
      'refused',
      'new',
    ]);
  });

  it('at the bound a new one is refused, and a known one goes on', () => {
    const rig = new Rig();
    for (let i = 0; i < 3; i += 1) expect(rig.send(`p${i}`, 1, 3)).toBe('new');
    expect(rig.send('p3', 1, 3)).toBe('refused');
    expect(rig.send('p0', 2, 3)).toBe('new');
    rig.now += LIFE;
    rig.fire();
    expect(rig.send('p3', 1, 3)).toBe('new');
  });

  it('is forgotten its time after the last message, not after the first', () => {
    const rig = new Rig();
    rig.send('p', 1);
    rig.now += LIFE - 1;
    rig.send('p', 2);
    rig.now += LIFE - 1;
    rig.fire();
    expect(rig.send('p', 1)).toBe('duplicate');
    rig.now += LIFE;
    rig.fire();
    expect(rig.count).toBe(0);
    rig.records.saveAndEvict();
    expect([...rig.records.store.keys()]).toEqual([]);
  });

  it('agree with sets of sequences, with evictions between', () => {
    const step = fc.oneof(
      {
        weight: 9,
        arbitrary: fc.record({
          id: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
          ahead: fc.oneof(
            fc.integer({ min: -1_100, max: 3 }),
            fc.constantFrom(1, 1, 1, 900, 5_000),
          ),
        }),
      },
      { weight: 2, arbitrary: fc.record({ wait: fc.integer({ min: 1, max: LIFE }) }) },
      { weight: 2, arbitrary: fc.constant('evict' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const rig = new Rig();
        const model = new Map<string, { seen: Set<number>; highest: number; at: number }>();
        for (const each of steps) {
          if (each === 'evict') rig.records.saveAndEvict();
          else if ('wait' in each) {
            rig.now += each.wait;
            rig.fire();
            for (const [id, { at }] of model) if (at + LIFE <= rig.now) model.delete(id);
          } else {
            const own = model.get(each.id);
            const sequence = Math.max(0, (own?.highest ?? 2_000) + each.ahead);
            let expected = 'new';
            if (own === undefined) expected = model.size < 3 ? 'new' : 'refused';
            else if (sequence <= own.highest - PRODUCER_WINDOW) expected = 'refused';
            else if (own.seen.has(sequence)) expected = 'duplicate';
            expect(rig.send(each.id, sequence, 3)).toBe(expected);
            if (expected !== 'new') continue;
            const now = own ?? { seen: new Set(), highest: 0, at: 0 };
            now.seen.add(sequence);
            now.highest = Math.max(now.highest, sequence);
            now.at = rig.now;
            model.set(each.id, now);
          }
          expect(rig.count).toBe(model.size);
        }
      }),
      { numRuns: 100 },
    );
  });
});
