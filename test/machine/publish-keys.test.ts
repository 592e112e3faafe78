import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { PublishKeys } from '../../src/machine/publish-keys.ts';
import { TestRecords } from './record-store.ts';

class Rig {
  readonly records = new TestRecords();
  readonly keys: PublishKeys;

  constructor(maxSessions?: number) {
    this.keys = new PublishKeys(this.records.table, maxSessions);
  }

  publish(session: string, packetId: number, ownerEpoch = 1): string {
    this.#load(session);
    const key = { session, packetId, ownerEpoch };
    const answer = this.keys.check(key);
    if (answer === 'new' || answer === 'known') this.keys.take(key);
    return answer;
  }

  release(session: string, packetId: number, ownerEpoch = 1): boolean {
    this.#load(session);
    return this.keys.release({ session, packetId, ownerEpoch });
  }

  end(session: string): void {
    this.#load(session);
    this.keys.end(session);
  }

  #load(session: string): void {
    this.records.load(
      (keys) => this.keys.needs(session, keys),
      (key, data) => {
        const slash = key.indexOf('/');
        this.keys.load(key.slice(0, slash) as 'session', key.slice(slash + 1), data);
      },
    );
  }
}

describe('keys of QoS 2 publishes', () => {
  it('Q26: a retry before the release stores nothing, the same packet id behind it is new', () => {
    const rig = new Rig();
    expect(rig.publish('s', 7)).toBe('new');
    rig.records.saveAndEvict();
    expect(rig.publish('s', 7)).toBe('known');
    expect(rig.publish('other', 7)).toBe('new');
    expect(rig.release('s', 7)).toBe(true);
    rig.records.saveAndEvict();
    expect(rig.publish('s', 7)).toBe('new');
    // A release that comes twice is no error.
    expect([rig.release('s', 7), rig.release('s', 7)]).toEqual([true, true]);
  });

  it('an owner from before a takeover stores and releases nothing', () => {
    const rig = new Rig();
    rig.publish('s', 1, 4);
    expect(rig.publish('s', 2, 3)).toBe('stale-owner');
    expect(rig.release('s', 1, 3)).toBe(false);
    expect(rig.publish('s', 1, 5)).toBe('known');
    expect(rig.publish('s', 2, 4)).toBe('stale-owner');
    expect(rig.release('s', 1, 6)).toBe(true);
    expect(rig.publish('s', 3, 5)).toBe('stale-owner');
    // The epochs of the next incarnation begin anew.
    rig.end('s');
    expect(rig.publish('s', 2, 1)).toBe('new');
  });

  it('the end of a session takes all its keys, whatever it had', () => {
    const rig = new Rig();
    for (let packetId = 1; packetId <= 65_535; packetId += 1) rig.publish('s', packetId);
    rig.records.saveAndEvict();
    expect(rig.publish('s', 65_535)).toBe('known');
    const before = rig.records.table.changed;
    rig.end('s');
    expect(rig.records.table.changed - before).toBeLessThanOrEqual(2);
    rig.records.saveAndEvict();
    expect([...rig.records.store]).toEqual([]);
  });

  it('at the bound a new session is refused, and a known one goes on', () => {
    const rig = new Rig(2);
    expect(['a', 'b', 'c'].map((session) => rig.publish(session, 1))).toEqual([
      'new',
      'new',
      'too-many',
    ]);
    expect(rig.publish('a', 2)).toBe('new');
    rig.end('b');
    rig.end('b');
    expect(rig.publish('c', 1)).toBe('new');
  });

  it('agree with sets, with evictions between', () => {
    const session = fc.constantFrom('a', 'b/c', '');
    const packetId = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 65_535 }));
    const step = fc.oneof(
      fc.record({ session, packetId, release: fc.boolean() }),
      fc.record({ end: session }),
      fc.constant('evict' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const rig = new Rig();
        const model = new Map<string, Set<number>>();
        for (const each of steps) {
          if (each === 'evict') rig.records.saveAndEvict();
          else if ('end' in each) {
            rig.end(each.end);
            model.delete(each.end);
          } else if (each.release) {
            rig.release(each.session, each.packetId);
            model.get(each.session)?.delete(each.packetId);
          } else {
            const own = model.get(each.session) ?? new Set();
            const expected = own.has(each.packetId) ? 'known' : 'new';
            expect(rig.publish(each.session, each.packetId)).toBe(expected);
            model.set(each.session, own.add(each.packetId));
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});
