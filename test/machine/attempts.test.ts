import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { AttemptsChunk } from '../../src/machine/attempts.ts';

describe('the attempts of a chunk', () => {
  it('agree with a map, and come back from their data', () => {
    const step = fc.record({
      at: fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 4095 })),
      attempts: fc.integer({ min: 1, max: 2 ** 31 }),
      notBefore: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        let chunk = new AttemptsChunk();
        const model = new Map<number, { at: number; attempts: number; notBefore: number }>();
        for (const { at, attempts, notBefore, remove } of steps) {
          if (remove) expect(chunk.remove(at)).toBe(model.delete(at));
          else {
            chunk.set(at, attempts, notBefore);
            model.set(at, { at, attempts, notBefore });
          }
          expect(chunk.attempts(at)).toBe(model.get(at)?.attempts ?? 0);
        }
        chunk = AttemptsChunk.fromData(chunk.toData());
        expect(chunk.size).toBe(model.size);
        expect(chunk.rows()).toEqual([...model.values()].sort((a, b) => a.at - b.at));
      }),
      { numRuns: 100 },
    );
  });

  it('go by stretches too', () => {
    const chunk = new AttemptsChunk();
    for (const at of [0, 3, 4, 9, 4095]) chunk.set(at, at + 1, at * 10);
    expect([chunk.hasIn(1, 3), chunk.hasIn(1, 4), chunk.hasIn(10, 4095)]).toEqual([
      false,
      true,
      false,
    ]);
    expect([chunk.removeRange(3, 9), chunk.removeRange(3, 9)]).toEqual([true, false]);
    expect(chunk.rows()).toEqual(
      [0, 9, 4095].map((at) => ({ at, attempts: at + 1, notBefore: at * 10 })),
    );
    chunk.removeRange(0, 4096);
    expect(chunk.size).toBe(0);
  });

  it('refuse data of another format or with a place outside the chunk', () => {
    expect(() => AttemptsChunk.fromData([2, []])).toThrow('unknown format');
    expect(() => AttemptsChunk.fromData([1, [4096, 1, 0]])).toThrow('outside the chunk');
    expect(() => AttemptsChunk.fromData([1, [1, 1]])).toThrow('a number was expected');
    expect(() => AttemptsChunk.fromData('x')).toThrow('a list was expected');
  });
});
