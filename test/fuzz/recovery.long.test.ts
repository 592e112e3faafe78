/**
 * Recovery fed with damage of all kinds, for FUZZ_SECONDS (default 40): it never throws, never
 * reads past its memory, never shows an entry that was not written, and loses none in silence.
 *
 * One again: FUZZ_SEED=123 npx vitest run --config vitest.long.config.ts
 * test/fuzz/recovery.long.test.ts
 */
import { expect, test } from 'vitest';

import { HEADER_BYTES } from '../../storage/log/batch.ts';
import type { FaultyRange, LogOptions } from '../../storage/log/log-types.ts';
import { recover, SegmentImage } from '../support/log-image.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { at, fill, openSmall, payloadOf, segmentPaths } from '../support/small-log.ts';
import { Random } from '../../raft/simulation/random.ts';

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 40);
const ONLY = process.env['FUZZ_SEED'];
const LAST = 40;
const LENGTH = 300;

async function bySeeds(
  share: number,
  run: (random: Random) => Promise<void> | void,
): Promise<void> {
  const until = performance.now() + SECONDS * 1000 * share;
  const first = ONLY === undefined ? Math.floor(Math.random() * 1e9) : Number(ONLY);
  let seed = first;
  do {
    try {
      await run(new Random(seed));
    } catch (cause) {
      throw new Error(`again with FUZZ_SEED=${seed}: ${String(cause)}`, { cause });
    }
    seed += 1;
  } while (ONLY === undefined && performance.now() < until);
  expect(seed).toBeGreaterThan(first);
}

/** Overwrites, zeroes, moves, repeats and cuts stretches of the bytes. */
function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  let out = Buffer.from(bytes);
  for (let count = random.between(1, 5); count > 0 && out.length > 0; count -= 1) {
    const from = random.below(out.length);
    const end = Math.min(out.length, from + random.between(1, random.pick([1, 8, 80, 600, 3000])));
    const to = random.below(out.length);
    switch (random.below(7)) {
      case 0:
        out[from] = (out[from] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        out.fill(random.below(256), from, end);
        break;
      case 2:
        out.fill(0, from - (from % 512), Math.min(out.length, end + 512 - (end % 512)));
        break;
      case 3:
        random.bytes(end - from).forEach((byte, nth) => (out[from + nth] = byte));
        break;
      case 4:
        out.copyWithin(to, from, end);
        break;
      case 5:
        out = Buffer.concat([out.subarray(0, to), out.subarray(from, end), out.subarray(to)]);
        break;
      default:
        out = out.subarray(0, from);
    }
  }
  return out;
}

test('the scanner takes any bytes, in windows of any size', { timeout: 900_000 }, async () => {
  const good = new SegmentImage();
  for (let index = 1; index <= 12; index += 1) {
    if (index % 4 === 0) good.add({ hardState: { term: index, vote: 'v' }, mark: good.here });
    good.add({ payload: payloadOf(index, (index * 131) % 1400) });
  }
  await bySeeds(0.4, (random) => {
    const segment = new SegmentImage();
    segment.raw(
      random.chance(0.1) ? random.bytes(random.below(5000)) : damaged(good.bytes, random),
    );
    const pieceBytes = random.pick([1 << 20, 4096, 700, 81]);
    const { faulty, end, cut } = recover([segment], { pieceBytes });
    expect(end.lastIndex).toBeLessThanOrEqual(12);
    if (cut !== undefined) expect(cut.position).toBeLessThan(segment.end);
    for (const range of faulty) expect(range.end).toBeLessThanOrEqual(segment.end + 1);
  });
});

test(
  'a damaged log opens, shows nothing that was not written, names what it lost',
  { timeout: 900_000 },
  async () => {
    const ways = [await wayOf({}), await wayOf({ segmentBytes: 32_768, copyBytes: 1 })];
    await bySeeds(0.6, async (random) => {
      const closed = random.chance(0.5);
      const { files, crashed } = random.pick(ways);
      const image = (closed ? files : crashed).clone();
      const paths = image.paths().filter((path) => !path.endsWith('manifest'));
      for (let count = random.between(1, 3); count > 0; count -= 1) {
        const path = random.pick(paths);
        if (random.chance(0.1)) image.take(path);
        else if (image.paths().includes(path)) image.put(path, damaged(image.bytes(path), random));
      }
      const before = image.clone();
      const { log: opened, recovery } = await openSmall(image);
      const named = await namedOf(opened);
      // Only the last segment may be torn; all before it are sealed, and named in the manifest. A
      // crashed one that reads as never written from some batch on has nothing that could tell.
      const told = recovery.tornTail === undefined && !named.open;
      if (told && (closed || !isBlankBehind(before, opened.last))) expect(opened.last).toBe(LAST);
      await opened.close();
      const again = await openSmall(image);
      expect((await namedOf(again.log)).lost).toEqual(named.lost);
      expect(segmentPaths(image).length).toBeLessThanOrEqual(again.log.segments);
    });
  },
);

interface Way {
  /** Of a log that was closed. */
  readonly files: MemoryFiles;
  /** Of the same before that. */
  readonly crashed: MemoryFiles;
}

/** Copied ones come without a wait for each, so that headers have the mark of a sync before. */
async function wayOf(options: Partial<LogOptions>): Promise<Way> {
  const files = new MemoryFiles();
  files.before = async ({ operation }) => {
    if (operation === 'sync') await new Promise((done) => setImmediate(done));
  };
  const { log } = await openSmall(files, options);
  const atOnce = options.copyBytes === undefined ? 4 : LAST;
  for (let left = LAST; left > 0; left -= atOnce) await fill(log, atOnce, { length: LENGTH });
  const { writes, syncs } = log.stats;
  expect(syncs < writes).toBe(options.copyBytes !== undefined);
  const crashed = files.durableClone();
  await log.close();
  return { files, crashed };
}

/** Nothing but zeros, or nothing, behind this entry in the last segment that is there. */
function isBlankBehind(image: MemoryFiles, last: number): boolean {
  const path = image
    .paths()
    .filter((each) => each.endsWith('.log'))
    .toSorted()
    .at(-1);
  if (path === undefined) return true;
  const firstIndex = Number(/(\d{20})-\d+\.log$/.exec(path)?.[1]);
  const end = Math.max(0, last - firstIndex + 1) * (HEADER_BYTES + LENGTH);
  return image.bytes(path).every((byte, nth) => nth < end || byte === 0);
}

interface Named {
  readonly lost: number[];
  readonly open: boolean;
}

async function namedOf(log: Awaited<ReturnType<typeof openSmall>>['log']): Promise<Named> {
  const lost: number[] = [];
  let index: number = log.start;
  while (index <= log.last) {
    const outcome = await log.read(at(index), { maxBytes: 2000 });
    if (outcome.kind === 'batches') {
      expect(outcome.batches.length).toBeGreaterThan(0);
      for (const batch of outcome.batches) {
        expect(batch.index).toBe(index);
        expect(batch.payload).toEqual(payloadOf(index, LENGTH));
        index += 1;
      }
    } else {
      const range: FaultyRange | undefined = outcome.kind === 'faulty' ? outcome.range : undefined;
      expect(range).toBeDefined();
      const through = range?.through ?? log.last;
      for (; index <= through; index += 1) lost.push(index);
    }
  }
  return { lost, open: log.faulty.some((range) => range.through === undefined) };
}
