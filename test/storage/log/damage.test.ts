/**
 * D4, the log's part: whatever is flipped or cut off, what is read is what was written, what is
 * lost is named, and only a torn tail is truncated.
 */
import { fc } from '../../support/properties.ts';
import { describe, expect, test } from 'vitest';

import { BatchKind } from '../../../storage/log/batch.ts';
import type { FaultyRange } from '../../../storage/log/log-types.ts';
import type { FilePosition } from '../../../storage/log/positions.ts';
import { recover, SegmentImage } from '../../support/log-image.ts';
import type { Written } from '../../support/log-image.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import {
  at,
  DIRECTORY,
  fill,
  indexPaths,
  openSmall,
  payloadOf,
  segmentPaths,
} from '../../support/small-log.ts';
import type { SmallLog } from '../../support/small-log.ts';

interface Batch extends Written {
  readonly kind: BatchKind;
  /** Of the entry, or the one that it repeats. */
  readonly index: number;
}

/** Entries of several sizes with a hard state and a mark between them. */
function image(): { segment: SegmentImage; batches: Batch[] } {
  const segment = new SegmentImage();
  const batches: Batch[] = [];
  let index = 0;
  for (const length of [0, 30, 700, -1, 5, 520, -2, 60]) {
    if (length >= 0) index += 1;
    if (length === -1) {
      const written = segment.add({ hardState: { term: 3, vote: 'abc' } });
      batches.push({ ...written, kind: BatchKind.hardState, index });
    } else if (length === -2) {
      const written = segment.add({ kind: BatchKind.mark, mark: segment.here });
      batches.push({ ...written, kind: BatchKind.mark, index });
    } else {
      const written = segment.add({ payload: payloadOf(index, length) });
      batches.push({ ...written, kind: BatchKind.entry, index });
    }
  }
  return { segment, batches };
}

describe('D4: small logs', () => {
  test('every bit flipped: exactly that batch is named, nothing is truncated', () => {
    const { segment, batches } = image();
    const last = batches.length - 1;
    for (const [nth, batch] of batches.entries()) {
      for (let position = batch.position; position < batch.end; position += 1) {
        segment.flip(position, position % 8);
        const { cut, faulty, end } = recover([segment], { pieceBytes: 1 << 20 });
        segment.flip(position, position % 8);
        const where = `batch ${nth}, byte ${position - batch.position}`;
        expect(cut, where).toBeUndefined();
        expect(faulty, where).toHaveLength(1);
        const inPayload = position >= batch.position + 80;
        const entry = batch.kind === BatchKind.entry;
        const from = entry ? batch.index : batch.index + 1;
        const through = nth === last && !inPayload ? undefined : batch.index;
        expect(faulty[0], where).toMatchObject({ from, through, position: batch.position });
        expect(faulty[0]?.epoch, where).toBe(entry && inPayload ? 1 : undefined);
        expect(end.lastIndex, where).toBe(nth === last && !inPayload ? 5 : 6);
      }
    }
  });

  test('every truncation length: torn at or above the mark, faulty below it', () => {
    const { segment, batches } = image();
    const bytes = Buffer.from(segment.bytes);
    const marked = batches.find(({ kind }) => kind === BatchKind.mark)?.position ?? 0;
    for (let length = 0; length <= bytes.length; length += 1) {
      segment.cut(0);
      segment.raw(bytes.subarray(0, length));
      const { cut, faulty, end } = recover([segment], { pieceBytes: 1 << 20 });
      const whole = batches.filter((batch) => batch.end <= length);
      const boundary = (whole.at(-1)?.end ?? 0) === length;
      expect(faulty, `length ${length}`).toEqual([]);
      expect(end.lastIndex).toBe(whole.at(-1)?.index ?? 0);
      if (boundary) expect(cut).toBeUndefined();
      else expect(cut).toMatchObject({ position: whole.at(-1)?.end ?? 0 });
    }
    for (let length = 0; length < marked; length += 1) {
      segment.cut(0);
      segment.raw(bytes.subarray(0, length));
      const manifest = { mark: { segmentId: segment.segmentId, position: marked as FilePosition } };
      const { cut, faulty } = recover([segment], { manifest, pieceBytes: 1 << 20 });
      expect(cut, `length ${length}`).toBeUndefined();
      expect(faulty.length, `length ${length}`).toBeGreaterThan(0);
    }
  });

  test('any damage anywhere: no index is lost in silence', () => {
    const { segment } = image();
    const bytes = Buffer.from(segment.bytes);
    const stretch = fc.tuple(fc.nat(bytes.length - 1), fc.nat(700), fc.constantFrom(0, 1, 255));
    fc.assert(
      fc.property(fc.array(stretch, { minLength: 1, maxLength: 4 }), (stretches) => {
        segment.patch(0, bytes);
        for (const [from, length, value] of stretches) {
          const end = Math.min(bytes.length, from + length);
          segment.patch(from, Buffer.alloc(end - from, value));
        }
        const { faulty, end, segments } = recover([segment]);
        const known = new Set<number>();
        for (const range of faulty) {
          for (let index: number = range.from; index <= (range.through ?? 6); index += 1)
            known.add(index);
        }
        // What is neither named nor cut off can be found.
        for (let index = 1; index <= end.lastIndex; index += 1) {
          if (known.has(index)) continue;
          expect(segments[0]?.sparse?.positionFor(at(index))).toBeDefined();
        }
        expect(end.lastIndex).toBeLessThanOrEqual(6);
      }),
      { numRuns: 1000 },
    );
    segment.patch(0, bytes);
  });
});

/**
 * Every entry that can be read is right, and every other one is named by a range or cut off above
 * `safe`.
 */
async function holds(
  { log }: SmallLog,
  last: number,
  safe: number,
): Promise<readonly FaultyRange[]> {
  let index = 1;
  while (index <= Math.min(last, log.last)) {
    const outcome = await log.read(at(index), { maxBytes: 4000 });
    if (outcome.kind === 'batches') {
      expect(outcome.batches.length).toBeGreaterThan(0);
      for (const batch of outcome.batches) {
        expect(batch.index).toBe(index);
        expect(batch.payload).toEqual(payloadOf(index, 300));
        index += 1;
      }
    } else {
      expect(outcome.kind).toBe('faulty');
      if (outcome.kind !== 'faulty') break;
      expect(outcome.range.from).toBeLessThanOrEqual(index);
      index = (outcome.range.through ?? last) + 1;
    }
  }
  const unknown = log.faulty.some((range) => range.through === undefined);
  if (!unknown) expect(log.last, 'what was safe is there or named').toBeGreaterThanOrEqual(safe);
  return log.faulty;
}

describe('D4: a log on disk', () => {
  async function built(): Promise<{ clean: MemoryFiles; crashed: MemoryFiles; last: number }> {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    for (let nth = 0; nth < 8; nth += 1) await fill(log, 4, { length: 300 });
    const crashed = files.durableClone();
    await log.close();
    return { clean: files, crashed, last: log.last };
  }

  test('a flipped bit is reported, also by a read long after the opening', async () => {
    const { clean, crashed, last } = await built();
    for (const image of [clean, crashed]) {
      for (const path of segmentPaths(image)) {
        const { length } = image.bytes(path);
        for (let position = 3; position < Math.min(length, 3900); position += 797) {
          const twin = image.clone();
          const bytes = twin.bytes(path);
          if (isPrewritten(bytes, position)) continue;
          bytes[position] = (bytes[position] ?? 0) ^ 4;
          const opened = await openSmall(twin);
          const faulty = await holds(opened, last, last);
          expect(faulty.length, `${path} ${position}`).toBeGreaterThan(0);
          expect(opened.recovery.tornTail).toBeUndefined();
          await opened.log.close();
          // Also what only a read has found is found by the next start.
          const again = await openSmall(twin);
          expect(again.recovery.faulty.length).toBeGreaterThan(0);
          await again.log.close();
        }
      }
    }
  });

  test('a segment cut short, emptied or lost is named', async () => {
    const { clean, crashed, last } = await built();
    for (const image of [clean, crashed]) {
      for (const path of segmentPaths(image).slice(0, -1)) {
        for (const length of [0, 1, 79, 80, 500, 1024, 3000, undefined]) {
          const twin = image.clone();
          if (length === undefined) twin.take(path);
          else twin.put(path, twin.bytes(path).subarray(0, length));
          const opened = await openSmall(twin);
          const faulty = await holds(opened, last, last);
          expect(faulty.length, `${path} ${length}`).toBeGreaterThan(0);
          await opened.log.close();
        }
      }
    }
  });

  test('a log that ends in unknown damage takes nothing until its suffix is cut', async () => {
    const { clean, last } = await built();
    const path = segmentPaths(clean).at(-1) ?? '';
    clean.take(`${DIRECTORY}/none`);
    const bytes = clean.bytes(path);
    const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
    // As after a crash: no clean mark that knows the last index.
    const { log } = await openSmall(clean);
    const twin = clean.durableClone();
    await log.close();
    twin.bytes(path)[end - 380 + 10]! ^= 1;
    const opened = await openSmall(twin);
    expect(opened.log.faulty).toMatchObject([{ from: last, through: undefined }]);
    expect(() =>
      opened.log.append({ epoch: 9, timestampMs: 1, recordCount: 1, payload: [] }),
    ).toThrow(expect.objectContaining({ code: 'damaged' }));
    const refused = { code: 'damaged' };
    await expect(opened.log.setHardState({ term: 9, vote: '' })).rejects.toMatchObject(refused);
    await opened.log.close();
    // A close does not make known what is not.
    const reopened = await openSmall(twin);
    expect(reopened.log.faulty).toMatchObject([{ from: last, through: undefined }]);
    await reopened.log.truncateSuffix(at(last - 1));
    expect(reopened.log.faulty).toEqual([]);
    await fill(reopened.log, 3, { length: 300 });
    await reopened.log.close();
    const again = await openSmall(twin);
    expect(again.recovery).toMatchObject({ clean: true, faulty: [], tornTail: undefined });
    expect(again.log.last).toBe(last + 2);
  });

  test('a last segment that was away and comes back is whole again', async () => {
    const { crashed, last } = await built();
    const path = segmentPaths(crashed).at(-1) ?? '';
    const bytes = Buffer.from(crashed.bytes(path));
    crashed.take(path);
    for (let round = 0; round < 2; round += 1) {
      const { log } = await openSmall(crashed);
      expect(log.faulty).toMatchObject([{ fault: 'missing-segment', through: undefined }]);
      expect(() => log.append({ epoch: 9, timestampMs: 1, recordCount: 1, payload: [] })).toThrow(
        expect.objectContaining({ code: 'damaged' }),
      );
      await log.close();
    }
    crashed.put(path, bytes);
    const opened = await openSmall(crashed);
    expect(opened.recovery.faulty).toEqual([]);
    await holds(opened, last, last);
    expect(opened.log.last).toBe(last);
  });

  test('a cut inside of damage is refused, at its edges it is made', async () => {
    const { crashed, last } = await built();
    const path = segmentPaths(crashed)[1] ?? '';
    crashed.bytes(path).fill(9, 380 * 2, 380 * 4);
    const { log } = await openSmall(crashed);
    const [range] = log.faulty;
    expect(range?.through).toBe((range?.from ?? 0) + 1);
    await expect(log.truncateSuffix(range?.from ?? at(0))).rejects.toMatchObject({
      code: 'damaged',
    });
    await log.truncateSuffix(at(last - 1));
    await log.truncateSuffix(range?.through ?? at(0));
    await fill(log, 2, { length: 300 });
    expect(log.faulty).toHaveLength(1);
    await log.truncateSuffix(at((range?.from ?? 0) - 1));
    expect(log.faulty).toEqual([]);
    await fill(log, 5, { length: 300 });
    await log.close();
    const again = await openSmall(crashed);
    expect(again.recovery.faulty).toEqual([]);
    await holds(again, again.log.last, again.log.last);
  });

  test('a bit that flips once on the way is not taken for damage', async () => {
    const { clean } = await built();
    const { log } = await openSmall(clean);
    let reads = 0;
    clean.before = ({ operation, path }) => {
      if (operation !== 'read' || !path.endsWith('.log')) return;
      reads += 1;
      // Wrong while the first read looks, right again for the second.
      const bytes = clean.bytes(path);
      if (reads <= 2) bytes[900] = (bytes[900] ?? 0) ^ 1;
    };
    const outcome = await log.read(at(3), { maxBytes: 100 });
    expect(outcome).toMatchObject({ kind: 'batches', batches: [{ index: 3 }] });
    expect(reads).toBe(2);
    expect(log.faulty).toEqual([]);
  });
});

function isPrewritten(bytes: Uint8Array, position: number): boolean {
  return bytes.subarray(position).every((byte) => byte === 0);
}

describe('indexes', () => {
  test('thrown away or spoilt they are built again, and everything reads the same', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 60, { length: 300 });
    await log.close();
    expect(indexPaths(files).length).toBeGreaterThan(3);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('keep', 'take', 'flip', 'cut', 'swap'), {
          minLength: 5,
          maxLength: 5,
        }),
        fc.nat(),
        async (fates, seed) => {
          const twin = files.clone();
          const paths = indexPaths(twin);
          for (const [nth, path] of paths.entries()) {
            const other = files.bytes(paths[(nth + 1) % paths.length] ?? path);
            spoil(twin, path, [fates[nth % 5] ?? 'keep', seed, other]);
          }
          const opened = await openSmall(twin);
          expect(opened.recovery.faulty).toEqual([]);
          await holds(opened, 60, 60);
          await opened.log.close();
          // What was built is what was there: bytes of a function of the log alone.
          for (const path of paths)
            expect(twin.bytes(path).equals(files.bytes(path)), path).toBe(true);
        },
      ),
      { numRuns: 15 },
    );
  });

  test('one that vanishes under an open log is built by the read that wants it', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files);
    await fill(log, 60, { length: 300 });
    await log.close();
    const opened = await openSmall(files);
    for (const path of indexPaths(files)) files.take(path);
    await holds(opened, 60, 60);
    expect(opened.log.faulty).toEqual([]);
  });
});

function spoil(
  files: MemoryFiles,
  path: string,
  [fate, seed, other]: readonly [string, number, Uint8Array],
): void {
  const bytes = files.bytes(path);
  if (fate === 'take') files.take(path);
  if (fate === 'flip') bytes[seed % bytes.length]! ^= 1 << (seed % 8);
  if (fate === 'cut') files.put(path, bytes.subarray(0, seed % bytes.length));
  if (fate === 'swap') files.put(path, other);
}
