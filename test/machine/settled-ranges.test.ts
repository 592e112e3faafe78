import { fc } from '../support/properties.ts';
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

  it('settle stretches of any length as they settle one offset after the other', () => {
    const edge = fc.constantFrom(0, 1, SETTLED_CHUNK, SETTLED_CHUNK + 1, 2 * SETTLED_CHUNK - 1);
    const any = fc.oneof(edge, fc.nat({ max: 4 * SETTLED_CHUNK }));
    const step = fc.record({
      from: any,
      count: fc.oneof(fc.nat({ max: 40 }), edge, fc.nat({ max: 3 * SETTLED_CHUNK })),
      atFloor: fc.boolean(),
      single: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 14, size: 'max' }), (steps) => {
        const [ranges, chunks] = [new SettledRanges(), new Chunks()];
        const [naive, others] = [new SettledRanges(), new Chunks()];
        for (const { from: place, count, atFloor, single } of steps) {
          const from = atFloor ? ranges.floor : place;
          const to = from + (single ? 1 : count);
          let settled = 0;
          for (let offset = from; offset < to; offset += 1) {
            if (naive.has(offset, others)) continue;
            naive.settle(offset, others);
            settled += 1;
          }
          expect(ranges.missingInRange(from, to, chunks)).toBe(-1);
          expect(ranges.settleRange(from, to, chunks)).toBe(settled);
          expect([ranges.floor, ranges.above]).toEqual([naive.floor, naive.above]);
        }
        for (let offset = 0; offset < 8 * SETTLED_CHUNK; offset += 1) {
          if (ranges.has(offset, chunks) !== naive.has(offset, others)) {
            expect(offset).toBe('wrong');
          }
        }
        expect(ranges.bitmaps()).toEqual([...chunks.bitmaps.keys()].sort((a, b) => a - b));
      }),
      { numRuns: 150 },
    );
  });

  it('ask for no more bitmaps than a stretch cuts, and for each of those', () => {
    const [ranges, all] = [new SettledRanges(), new Chunks()];
    for (let chunk = 0; chunk < 6; chunk += 1) ranges.settle(chunk * SETTLED_CHUNK + 9, all);
    const none = new Chunks();
    const missing = (from: number, to: number) => ranges.missingInRange(from, to, none);
    expect(missing(SETTLED_CHUNK, 4 * SETTLED_CHUNK)).toBe(-1);
    expect(missing(SETTLED_CHUNK + 1, 4 * SETTLED_CHUNK)).toBe(1);
    expect(missing(SETTLED_CHUNK, 4 * SETTLED_CHUNK - 1)).toBe(3);
    expect(missing(0, 2 * SETTLED_CHUNK)).toBe(2);
    expect(missing(0, 9 * SETTLED_CHUNK)).toBe(-1);
    expect(() => ranges.settleRange(SETTLED_CHUNK + 1, SETTLED_CHUNK + 5, none)).toThrow();
    // The whole chunks lost their bitmaps without being looked at.
    ranges.settleRange(SETTLED_CHUNK, 4 * SETTLED_CHUNK, all);
    expect(ranges.wholeChunks()).toEqual([1, 2, 3]);
    expect([...all.bitmaps.keys()]).toEqual([0, 4, 5]);
  });

  it('find the offset behind so many unsettled ones', () => {
    const places = fc.uniqueArray(fc.nat({ max: 3 * SETTLED_CHUNK }), { maxLength: 300 });
    const count = fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 3 * SETTLED_CHUNK }));
    const property = fc.property(places, fc.boolean(), count, (offsets, whole, wanted) => {
      const [ranges, chunks] = [new SettledRanges(), new Chunks()];
      if (whole) ranges.settleRange(SETTLED_CHUNK, 2 * SETTLED_CHUNK, chunks);
      for (const offset of offsets) {
        if (!ranges.has(offset, chunks)) ranges.settle(offset, chunks);
      }
      let at = ranges.floor;
      for (let left = wanted; left > 0; at += 1) if (!ranges.has(at, chunks)) left -= 1;
      expect(ranges.behind(wanted, Number.MAX_SAFE_INTEGER, chunks)).toBe(at);
      expect(ranges.behind(wanted, ranges.floor + 7, chunks)).toBe(Math.min(at, ranges.floor + 7));
    });
    fc.assert(property, { numRuns: 200 });
    // Just behind a chunk, and the last one before its end.
    const [ranges, chunks] = [new SettledRanges(), new Chunks()];
    ranges.settle(5, chunks);
    expect(ranges.behind(SETTLED_CHUNK - 1, 1e9, chunks)).toBe(SETTLED_CHUNK);
    expect(ranges.behind(SETTLED_CHUNK, 1e9, chunks)).toBe(SETTLED_CHUNK + 1);
    expect(ranges.behind(SETTLED_CHUNK - 2, 1e9, chunks)).toBe(SETTLED_CHUNK - 1);
    expect(ranges.behind(6, 1e9, new Chunks())).toBe(-1);
  });

  it('begin anew where they are told', () => {
    const [ranges, chunks] = [new SettledRanges(), new Chunks()];
    ranges.settleRange(10, 3 * SETTLED_CHUNK, chunks);
    ranges.reset(7, chunks);
    expect([ranges.floor, ranges.above, chunks.bitmaps.size]).toEqual([7, 0, 0]);
    expect([ranges.has(6, chunks), ranges.has(7, chunks), ranges.has(10, chunks)]).toEqual([
      true,
      false,
      false,
    ]);
  });
});
