import fc from 'fast-check';
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

  it('refuse data of another format or with a place outside the chunk', () => {
    expect(() => AttemptsChunk.fromData([2, []])).toThrow('unknown format');
    expect(() => AttemptsChunk.fromData([1, [4096, 1, 0]])).toThrow('outside the chunk');
    expect(() => AttemptsChunk.fromData([1, [1, 1]])).toThrow('a number was expected');
    expect(() => AttemptsChunk.fromData('x')).toThrow('a list was expected');
  });
});
