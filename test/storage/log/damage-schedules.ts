/**
 * The log over damaged files: whatever goes bad below the durable mark is named, never truncated,
 * and never read as something else.
 *
 * A few schedules of each damage run on every change, all with `npm run test:long`.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { type FaultyRange, type Log, StorageError } from '../../../storage/storage.ts';
import { bySeed, ONLY, seedsFrom } from '../../support/by-seed.ts';
import { DIRECTORY, LogSchedule } from '../../support/log-schedule.ts';
import { Random } from '../../../raft/simulation/random.ts';
import type { SimulatedDisk } from '../../../raft/simulation/disk/disk.ts';

const FILE = 'test/storage/log/crash-schedules-damage.test.ts';
const HEADER_BYTES = 80;
const SECTOR_BYTES = 512;

interface Damaged {
  /** Every entry may be gone or unreadable; in no case may one be another. */
  readonly manifest?: boolean;
}

type Damage = (disk: SimulatedDisk, random: Random) => Promise<Damaged | undefined>;

/** Done to files at rest, after a clean stop or a power cut. */
const AT_REST: Record<string, Damage> = {
  'D4: a flipped bit in a segment': async (disk, random) => {
    const { path, end } = await someSegment(disk, random);
    disk.flipBit(path, random.below(end), random.below(8));
    return {};
  },
  'D4: a zeroed sector below the last mark': async (disk, random) => {
    const { path, end } = await someSegment(disk, random);
    // The sector with the last mark is apart: zeroed, it looks like a write that never was.
    const sectors = Math.floor((end - HEADER_BYTES - 4) / SECTOR_BYTES);
    if (sectors < 1) return undefined;
    disk.zeroSector(path, random.below(sectors));
    return {};
  },
  'a lost segment': async (disk, random) => {
    disk.loseFile((await someSegment(disk, random)).path);
    return {};
  },
  'a flipped bit in an index': async (disk, random) => {
    const path = await someFile(disk, random, '.index');
    if (path === undefined) return undefined;
    disk.flipBit(path, random.below(disk.bytesOf(path).length), random.below(8));
    return {};
  },
  'a lost index': async (disk, random) => {
    const path = await someFile(disk, random, '.index');
    if (path !== undefined) disk.loseFile(path);
    return {};
  },
  'a flipped bit in the manifest': (disk, random) => {
    const path = `${DIRECTORY}/manifest`;
    disk.flipBit(path, random.below(disk.bytesOf(path).length), random.below(8));
    return Promise.resolve({ manifest: true });
  },
  'a lost manifest': (disk) => {
    disk.loseFile(`${DIRECTORY}/manifest`);
    return Promise.resolve({ manifest: true });
  },
};

/** Of each damage, so many schedules from that seed on. */
export function describeDamage(first: number, count: number): void {
  const seeds = seedsFrom(first, count);
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  describe('damage at rest', () => {
    test.each(Object.entries(AT_REST))('%s is named or changes nothing', async (name, damage) => {
      let named = 0;
      let hurt = 0;
      for (const seed of seeds) {
        await bySeed(FILE, seed, async (disk) => {
          const random = new Random(`${name} ${seed}`);
          const schedule = new LogSchedule(disk, random, new Map(), { idleMarkMs: 100 });
          const before = await filled(disk, schedule, random.chance(0.5));
          const damaged = await damage(disk, random);
          if (damaged === undefined) return;
          hurt += 1;
          named += await isNamedOrRight(schedule, before, damaged);
        });
      }
      if (ONLY !== undefined) return;
      expect(hurt).toBeGreaterThan(count / 4);
      if (name.includes('index')) expect(named, 'an index can always be rebuilt').toBe(0);
      else expect(named).toBeGreaterThan(count / 4);
    });
  });

  describe('damage while it is written', () => {
    test.each(['lost', 'misdirected', 'flipped'] as const)(
      'a %s write is named once anything was written after it',
      async (kind) => {
        let met = 0;
        let named = 0;
        for (const seed of seeds) {
          await bySeed(FILE, seed, async (disk) => {
            const random = new Random(`${kind} ${seed}`);
            const schedule = new LogSchedule(disk, random, new Map(), { idleMarkMs: 100 });
            const fault = { kind, on: 'write', path: /\.log$/ } as const;
            const injected = disk.inject({ ...fault, after: random.below(20) });
            const before = await filled(disk, schedule, random.chance(0.3));
            met += injected.hits;
            if (injected.hits > 0) named += await isNamedOrRight(schedule, before, {});
          });
        }
        if (ONLY !== undefined) return;
        expect(met).toBeGreaterThan(count / 4);
        expect(named).toBeGreaterThan(met / 4);
      },
    );
  });
}

interface Before {
  readonly start: number;
  readonly last: number;
  readonly hardState: Log['hardState'];
}

/** A log with some segments, an idle tail that is marked, then a stop of either kind. */
async function filled(disk: SimulatedDisk, schedule: LogSchedule, clean: boolean): Promise<Before> {
  await schedule.makeFolder();
  const log = await schedule.open();
  await schedule.fill(log, 40);
  const { start, last, hardState } = log;
  expect(log.durable).toBe(last);
  if (clean) await log.close();
  disk.cutPower(1);
  return { start, last, hardState };
}

/** 1 if something was named. Every entry of before reads as it was, or lies in a named range. */
async function isNamedOrRight(
  schedule: LogSchedule,
  before: Before,
  damaged: Damaged,
): Promise<number> {
  let log: Log;
  try {
    log = await schedule.openUnchecked();
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'damaged') throw error;
    return 1;
  }
  expect(damaged.manifest ?? false, 'a log without its manifest does not open').toBe(false);
  expect(log.start).toBe(before.start);
  const wrong = await unreadable(log, schedule, before.last);
  const ranges = log.faulty;
  for (const index of wrong) {
    expect(
      ranges.some((range) => covers(range, index)),
      `${index} is lost and not named`,
    ).toBe(true);
  }
  const { term, vote } = log.hardState;
  if (term !== before.hardState.term || vote !== before.hardState.vote) {
    expect(
      ranges.some((range) => range.hardStateUnsure),
      'the lost hard state is told',
    ).toBe(true);
  }
  await goesOnBehind(log);
  return ranges.length > 0 ? 1 : 0;
}

/** Indexes of [start, last] that do not read; what reads is what was written. */
async function unreadable(log: Log, schedule: LogSchedule, last: number): Promise<number[]> {
  const lost: number[] = [];
  let from: number = log.start;
  while (from <= last) {
    const outcome = await log.read(from as Log['last'], { maxBytes: 8000 });
    if (outcome.kind === 'batches' && outcome.batches.length > 0) {
      for (const batch of outcome.batches) {
        expect(batch.index).toBe(from);
        expect(schedule.expectation.isEntry(batch), `${from} is what was written`).toBe(true);
        from += 1;
      }
      continue;
    }
    if (outcome.kind === 'faulty') expect(covers(outcome.range, from)).toBe(true);
    lost.push(from);
    from += 1;
  }
  return lost;
}

function covers(range: FaultyRange, index: number): boolean {
  return index >= range.from && (range.through === undefined || index <= range.through);
}

/** Behind damage of known length a log takes appends; behind the other, once it was cut. */
async function goesOnBehind(log: Log): Promise<void> {
  const entry = { epoch: 1_000_000, timestampMs: 1, recordCount: 1, payload: [Buffer.from('on')] };
  const open = log.faulty.find((range) => range.through === undefined);
  if (open !== undefined) {
    expect(() => log.append(entry)).toThrow(expect.objectContaining({ code: 'damaged' }));
    await log.truncateSuffix((open.from - 1) as Log['last']);
  }
  const index = log.append(entry);
  await log.appended(index);
  const outcome = await log.read(index, { maxBytes: 100 });
  expect(outcome.kind).toBe('batches');
  await log.close();
}

async function someSegment(
  disk: SimulatedDisk,
  random: Random,
): Promise<{ path: string; end: number }> {
  const names = await disk.mount().list(DIRECTORY);
  const written = names
    .filter((name) => name.endsWith('.log'))
    .map((name) => `${DIRECTORY}/${name}`)
    .map((path) => ({ path, end: disk.bytesOf(path).findLastIndex((byte) => byte !== 0) + 1 }))
    .filter(({ end }) => end > 0);
  return random.pick(written);
}

async function someFile(
  disk: SimulatedDisk,
  random: Random,
  ending: string,
): Promise<string | undefined> {
  const names = await disk.mount().list(DIRECTORY);
  const paths = names.filter((name) => name.endsWith(ending)).map((name) => `${DIRECTORY}/${name}`);
  return paths.length === 0 ? undefined : random.pick(paths);
}
