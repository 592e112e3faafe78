import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  SETTLED_CHUNK,
  SettledChunk,
  type SettledChunks,
  SettledRanges,
} from '../../src/machine/settled-ranges.ts';

/** All bitmaps in a map, and how often one was asked for. */
class Chunks implements SettledChunks {
  readonly bitmaps = new Map<number, SettledChunk>();
  asked = 0;

  settledChunk(chunk: number): SettledChunk | undefined {
    this.asked += 1;
    return this.bitmaps.get(chunk);
  }

  changeSettledChunk(chunk: number, fresh: boolean): SettledChunk {
    this.asked += 1;
    if (this.bitmaps.has(chunk) === fresh) throw new Error('fresh and there, or neither');
    const bitmap = this.bitmaps.get(chunk) ?? new SettledChunk();
    this.bitmaps.set(chunk, bitmap);
    return bitmap;
  }

  dropSettledChunk(chunk: number): void {
    if (!this.bitmaps.delete(chunk)) throw new Error('dropped twice');
  }
}

function reloaded(ranges: SettledRanges): SettledRanges {
  return SettledRanges.fromData(ranges.floorData(), ranges.countsData());
}

describe('settled ranges', () => {
  it('agree with a set of offsets, whatever the order', () => {
    const block = fc.record({
      from: fc.integer({ min: 0, max: 3 * SETTLED_CHUNK }),
      atFloor: fc.boolean(),
      count: fc.integer({ min: 1, max: SETTLED_CHUNK + 50 }),
      step: fc.constantFrom(1, 1, 2, 3),
      backwards: fc.boolean(),
      reload: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(block, { maxLength: 12, size: 'max' }), (blocks) => {
        let ranges = new SettledRanges();
        const chunks = new Chunks();
        const settled = new Set<number>();
        let floor = 0;
        for (const { from: any, atFloor, count, step, backwards, reload } of blocks) {
          const from = atFloor ? floor : any;
          for (let i = 0; i < count; i += step) {
            const offset = from + (backwards ? count - 1 - i : i);
            if (ranges.missing(offset, chunks) !== -1) expect(offset).toBe('missing');
            if (ranges.has(offset, chunks) !== settled.has(offset)) expect(offset).toBe('wrong');
            if (settled.has(offset)) continue;
            ranges.settle(offset, chunks);
            settled.add(offset);
            while (settled.has(floor)) floor += 1;
            if (ranges.floor !== floor) expect(ranges.floor).toBe(floor);
          }
          expect(ranges.above).toBe(settled.size - floor);
          if (reload) {
            ranges = reloaded(ranges);
            for (const [chunk, bitmap] of chunks.bitmaps) {
              chunks.bitmaps.set(chunk, SettledChunk.fromData(bitmap.toData()));
            }
          }
          expect(ranges.bitmaps()).toEqual([...chunks.bitmaps.keys()].sort((a, b) => a - b));
          const lowest = Math.min(...ranges.bitmaps(), ...ranges.wholeChunks());
          expect(lowest).toBeGreaterThanOrEqual(Math.floor(floor / SETTLED_CHUNK));
        }
        for (let offset = 0; offset < floor + 5 * SETTLED_CHUNK; offset += 1) {
          if (ranges.has(offset, chunks) !== settled.has(offset)) expect(offset).toBe('wrong');
        }
      }),
      { numRuns: 60 },
    );
  });

  it('settling in order needs no bitmap at all', () => {
    const ranges = new SettledRanges();
    const chunks = new Chunks();
    for (let offset = 0; offset < 3 * SETTLED_CHUNK; offset += 1) ranges.settle(offset, chunks);
    expect(ranges.floor).toBe(3 * SETTLED_CHUNK);
    expect(chunks.asked).toBe(0);
  });

  it('Q28: a million settled behind one that is not cost a count for each chunk', () => {
    const ranges = new SettledRanges();
    const chunks = new Chunks();
    for (let offset = 1; offset <= 1_000_000; offset += 1) ranges.settle(offset, chunks);
    expect(ranges.floor).toBe(0);
    // The first and the last chunk are settled in part; all others need no bitmap.
    expect(ranges.bitmaps()).toEqual([0, Math.floor(1_000_000 / SETTLED_CHUNK)]);
    expect(ranges.wholeChunks()).toHaveLength(243);
    chunks.asked = 0;
    ranges.settle(0, chunks);
    expect(ranges.floor).toBe(1_000_001);
    expect(ranges.above).toBe(0);
    expect(chunks.asked).toBeLessThanOrEqual(4);
    expect(ranges.wholeChunks()).toEqual([]);
  });

  it('name a bitmap that is not there before it is needed, also where the floor will end', () => {
    const ranges = new SettledRanges();
    const chunks = new Chunks();
    for (let offset = 1; offset < SETTLED_CHUNK + 10; offset += 1) ranges.settle(offset, chunks);
    const [first, second] = [chunks.bitmaps.get(0), chunks.bitmaps.get(1)];
    chunks.bitmaps.clear();
    expect(ranges.missing(5, chunks)).toBe(0);
    chunks.bitmaps.set(0, first as SettledChunk);
    expect(ranges.missing(5, chunks)).toBe(-1);
    expect(ranges.missing(0, chunks)).toBe(1);
    expect(() => ranges.settle(0, chunks)).toThrow('not loaded');
    chunks.bitmaps.set(1, second as SettledChunk);
    expect(ranges.missing(0, chunks)).toBe(-1);
  });

  it('a bitmap finds the next clear place from any place on', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat({ max: SETTLED_CHUNK - 1 }), { maxLength: 80 }),
        fc.nat({ max: SETTLED_CHUNK - 1 }),
        (clear, from) => {
          const bitmap = SettledChunk.whole();
          const open = new SettledChunk();
          for (let at = 0; at < SETTLED_CHUNK; at += 1) if (!clear.includes(at)) open.set(at);
          const expected = Math.min(SETTLED_CHUNK, ...clear.filter((at) => at >= from));
          expect(open.nextClear(from)).toBe(expected);
          expect(bitmap.nextClear(from)).toBe(SETTLED_CHUNK);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('a copy and the data of a bitmap share no memory with it', () => {
    const bitmap = new SettledChunk();
    bitmap.set(7);
    const copy = bitmap.copy();
    const data = bitmap.toData();
    bitmap.set(8);
    expect(copy.has(8)).toBe(false);
    expect(SettledChunk.fromData(data).has(8)).toBe(false);
    expect(SettledChunk.fromData(data).has(7)).toBe(true);
  });
});
