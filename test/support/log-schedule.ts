/**
 * One crash schedule of the log, decided by a seed alone: appends, hard states, truncations both
 * ways, reads, silence, closes, and the power cut at some step of the disk; then recovery, often
 * cut off too.
 *
 * Time stands still but for `silence`: the caller has to fake `setTimeout` (never `setImmediate`,
 * which drives the disk). Coverage is counted, so that a test can say that what it wants to see
 * was seen.
 */
import { expect, vi } from 'vitest';

import {
  type Files,
  Log,
  type LogOptions,
  type LogReader,
  type StorageError,
} from '../../storage/storage.ts';
import { CopyWatch } from './copy-watch.ts';
import { type Entry, LogExpectation } from './log-expectation.ts';
import type { Random } from '../../raft/simulation/random.ts';
import type { SimulatedDisk } from '../../raft/simulation/disk/disk.ts';

export const DIRECTORY = '/data/log';
const KIB = 1024;
const IDLE_MARK_MS = 100;

export const SEEN = [
  'cut',
  'cut in recovery',
  'torn tail',
  'nothing torn',
  'something lost that was never promised',
  'prefix truncation under way at the cut',
  'suffix truncation under way at the cut',
  'a copied write unsynced at the cut',
  'several copied writes unsynced at the cut',
  'closed in order',
  'mark after silence',
  'several segments',
  'left over files removed',
  'index rebuilt',
  'reader truncated',
] as const;
export type Seen = (typeof SEEN)[number];
export type Coverage = Map<Seen, number>;

type Index = Log['last'];

function smallOptions(random: Random): Omit<LogOptions, 'files' | 'onFailure'> {
  const tiny = random.chance(0.5);
  return {
    directory: DIRECTORY,
    now: () => 1_700_000_000_000,
    segmentBytes: tiny ? 4 * KIB : random.pick([8, 16, 64]) * KIB,
    indexIntervalBytes: tiny ? 512 : 4 * KIB,
    maxWriteBytes: tiny ? 4 * KIB : 64 * KIB,
    prewriteBytes: (tiny ? 4 : random.pick([4, 16])) * KIB,
    maxBatchBytes: 32 * KIB,
    idleMarkMs: random.chance(0.8) ? IDLE_MARK_MS : 0,
    syncMode: random.chance(0.75) ? 'prewritten-dsync' : 'fdatasync',
    newLogId: () => '0123456789abcdef',
    // Writes that lie side by side while neither is synced, between others that are.
    copyBytes: random.pick([1, 1, 1, 700, 64 * KIB]),
    unsyncedBytes: random.pick([2, 1024, 1024]) * KIB,
  };
}

/** A log and the workload upon it, over any number of boots of one disk. */
export class LogSchedule {
  readonly expectation = new LogExpectation();
  readonly coverage: Coverage;
  /** The first failure that the log told of, in this boot. */
  failure: StorageError | undefined;
  /** The last boot closed the log in order, and no opening was tried since. */
  closedInOrder = false;
  readonly #copies = new CopyWatch();
  readonly #disk: SimulatedDisk;
  readonly #random: Random;
  readonly #options: Omit<LogOptions, 'files' | 'onFailure'>;
  #files: Files | undefined;
  #epoch = 1;
  #term = 0;

  constructor(
    disk: SimulatedDisk,
    random: Random,
    coverage: Coverage,
    fixed: Partial<LogOptions> = {},
  ) {
    this.#disk = disk;
    this.#random = random;
    this.coverage = coverage;
    this.#options = { ...smallOptions(random.stream('options')), ...fixed };
  }

  /** The power went while the log was at work: what lay open then. */
  sawCut(): void {
    this.saw('cut');
    const { prefixUnderWay, suffixUnderWay } = this.expectation;
    if (prefixUnderWay) this.saw('prefix truncation under way at the cut');
    if (suffixUnderWay) this.saw('suffix truncation under way at the cut');
    if (this.#copies.unsynced > 0) this.saw('a copied write unsynced at the cut');
    if (this.#copies.unsynced > 1) this.saw('several copied writes unsynced at the cut');
  }

  saw(what: Seen): void {
    this.coverage.set(what, (this.coverage.get(what) ?? 0) + 1);
  }

  async makeFolder(): Promise<void> {
    const files = this.#disk.mount();
    await files.makeDirectory('/data');
    await files.syncDirectory('/');
  }

  /** Opens the log and holds it against everything promised before. */
  async open(): Promise<Log> {
    expect(this.#copies.wrong, 'the order of copies and syncs').toBeUndefined();
    this.failure = undefined;
    // Those of the process that died.
    vi.clearAllTimers();
    const lastBefore = this.expectation.last;
    const clean = this.closedInOrder;
    this.#files = this.#copies.over(this.#disk.mount());
    this.closedInOrder = false;
    const { log, recovery } = await Log.open({
      ...this.#options,
      files: this.#files,
      onFailure: (error) => {
        this.failure ??= error;
      },
    });
    expect(recovery.faulty, 'a power cut alone damages nothing').toEqual([]);
    if (clean) expect(recovery.clean, 'it was closed in order').toBe(true);
    this.saw(recovery.tornTail === undefined ? 'nothing torn' : 'torn tail');
    if (recovery.removed.length > 0) this.saw('left over files removed');
    if (recovery.indexesRebuilt > 0) this.saw('index rebuilt');
    if (log.last < lastBefore) this.saw('something lost that was never promised');
    await this.expectation.recovered(log);
    log.onDurable((index) => this.expectation.reportedDurable(index));
    await this.#nothingLeftOver(log);
    return log;
  }

  /** Opens without a look at what is in it. */
  async openUnchecked(): Promise<Log> {
    const onFailure = (error: StorageError): void => {
      this.failure ??= error;
    };
    const files = this.#copies.over(this.#disk.mount());
    return (await Log.open({ ...this.#options, files, onFailure })).log;
  }

  /** Appends and hard states, all durable, and a mark at the end that says so. */
  async fill(log: Log, steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) {
      const index = this.#append(log);
      if (this.#random.chance(0.2)) await this.#setHardState(log);
      if (this.#random.chance(0.4)) await log.appended(index);
    }
    await log.appended(log.last);
    await this.#silence(log);
  }

  /** Steps until the end, the power cut, or the failure of the log. */
  async work(log: Log, steps: number): Promise<void> {
    const reader = log.reader(log.start);
    const loose: Promise<void>[] = [];
    for (let step = 0; step < steps && this.failure === undefined; step += 1) {
      await this.#step(log, reader, loose);
    }
    await Promise.all(loose);
    if (log.segments > 1) this.saw('several segments');
    reader.close();
  }

  /** The log goes on: an append after recovery becomes durable and is read back. */
  async goesOn(log: Log): Promise<void> {
    const index = this.#append(log);
    await log.appended(index);
    expect(this.expectation.durable).toBe(index);
    await this.expectation.everythingReads(log);
  }

  async #step(log: Log, reader: LogReader, loose: Promise<void>[]): Promise<void> {
    const random = this.#random;
    const roll = random.below(100);
    if (roll < 20) return this.#stream(log);
    if (roll < 55) {
      let index: Index | undefined;
      for (let count = random.between(1, 6); count > 0; count -= 1) index = this.#append(log);
      if (index !== undefined && random.chance(0.5)) await log.appended(index);
      return;
    }
    if (roll < 65) return this.#now(loose, this.#setHardState(log));
    if (roll < 75) return this.#now(loose, this.#truncatePrefix(log));
    if (roll < 81) {
      await Promise.all(loose.splice(0));
      return this.#truncateSuffix(log);
    }
    if (roll < 85) return this.#read(log);
    if (roll < 95) return this.#follow(log, reader);
    return this.#silence(log);
  }

  /** Appends that come while others are written, as those of a follower that catches up do. */
  async #stream(log: Log): Promise<void> {
    for (let count = this.#random.between(8, 16); count > 0 && !this.failure; count -= 1) {
      this.#append(log);
      // A call of this boot, carried out when the disk comes to it; never, once the power is gone.
      await this.#files?.space(DIRECTORY);
    }
  }

  /** Awaits it now, or lets it run beside what comes next. */
  async #now(loose: Promise<void>[], work: Promise<void>): Promise<void> {
    if (this.#random.chance(0.5)) {
      await work;
      return;
    }
    // Met by whoever awaits all of them; until then it is nobody's.
    work.catch(() => undefined);
    loose.push(work);
  }

  #append(log: Log): Index {
    const random = this.#random;
    if (random.chance(0.05)) this.#epoch += random.between(1, 3);
    const payload = somePayload(random);
    const entry: Entry = {
      epoch: this.#epoch,
      timestampMs: 1_700_000_000_000 + random.below(1000),
      recordCount: random.between(1, 5),
      payload: payload.slice(),
    };
    const cut = random.below(payload.length + 1);
    const parts = [payload.subarray(0, cut), payload.subarray(cut)];
    const index = log.append({ ...entry, payload: random.chance(0.5) ? [payload] : parts });
    // The bytes are the caller's again.
    payload.fill(0xee);
    this.expectation.appended(index, entry);
    return index;
  }

  async #setHardState(log: Log): Promise<void> {
    this.#term += 1;
    const state = {
      term: this.#term,
      vote: this.#random.pick(['', 'node-1', 'n\u00f6de', 'x'.repeat(40)]),
    };
    const asked = this.expectation.hardStateAsked(state);
    await log.setHardState(state);
    this.expectation.hardStateDone(asked);
    expect(log.hardState.term).toBeGreaterThanOrEqual(state.term);
  }

  async #truncatePrefix(log: Log): Promise<void> {
    if (log.durable < log.start) return;
    const firstKept = this.#random.between(log.start, log.durable) as Index;
    this.expectation.prefixAsked(firstKept);
    await log.truncatePrefix(firstKept);
    this.expectation.prefixDone(log.start);
  }

  async #truncateSuffix(log: Log): Promise<void> {
    const far = this.#random.chance(0.2);
    const least = far ? log.start - 1 : Math.max(log.start - 1, log.last - 4);
    const lastKept = this.#random.between(least, log.last) as Index;
    this.expectation.suffixAsked(lastKept);
    await log.truncateSuffix(lastKept);
    this.expectation.suffixDone();
    expect(log.last).toBe(lastKept);
  }

  async #read(log: Log): Promise<void> {
    if (log.durable < log.start) return;
    const from = this.#random.between(log.start, log.durable) as Index;
    const outcome = await log.read(from, { maxBytes: this.#random.pick([1, 2000, 20_000]) });
    if (outcome.kind === 'truncated') expect(from).toBeLessThan(log.start);
    else expect(this.expectation.batchesAreRight(outcome, from)).toBeGreaterThan(0);
  }

  async #follow(log: Log, reader: LogReader): Promise<void> {
    if (await this.expectation.follows(log, reader)) this.saw('reader truncated');
  }

  /** Everything comes to rest, then the time of the mark passes. */
  async #silence(log: Log): Promise<void> {
    await this.#disk.settled();
    const before = log.stats.marks;
    vi.advanceTimersByTime(IDLE_MARK_MS);
    await this.#disk.settled();
    vi.advanceTimersByTime(IDLE_MARK_MS);
    await this.#disk.settled();
    const marks = log.stats.marks - before;
    expect(marks, 'a mark never triggers another').toBeLessThanOrEqual(1);
    if (marks === 1) this.saw('mark after silence');
  }

  async #nothingLeftOver(log: Log): Promise<void> {
    const names = await this.#disk.mount().list(DIRECTORY);
    const stems = names.filter((name) => name.endsWith('.log')).map((name) => name.slice(0, -4));
    expect(stems, 'one file for each segment').toHaveLength(log.segments);
    for (const name of names) {
      const known =
        name === 'manifest' ||
        stems.includes(name.slice(0, -4)) ||
        (name.endsWith('.index') && stems.includes(name.slice(0, -6))) ||
        name.endsWith('.spare');
      expect(known, `${name} is left over`).toBe(true);
    }
  }
}

/** Sizes around sectors, and contents that look like what was never written. */
function somePayload(random: Random): Uint8Array {
  const length = random.pick([
    0,
    random.below(64),
    random.between(300, 700),
    random.between(300, 700),
    random.between(400, 450),
    random.below(2000),
    random.below(6000),
  ]);
  const payload = random.chance(0.15) ? new Uint8Array(length) : random.bytes(length);
  if (random.chance(0.2)) payload.fill(0, random.below(length + 1));
  if (random.chance(0.1)) payload.fill(0, 0, random.below(length + 1));
  return payload;
}
