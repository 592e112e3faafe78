/**
 * Large writes of a log while the sync of the one before is under way: what may go on beside it,
 * what waits for it, and what nobody is told before it has ended.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { decodeHeader, emptyHeader, HEADER_BYTES, windowOver } from '../../../storage/log/batch.ts';
import { deferred } from '../../../storage/log/deferred.ts';
import type { Deferred } from '../../../storage/log/deferred.ts';
import type { Log } from '../../../storage/log/log.ts';
import type { LogOptions } from '../../../storage/log/log-types.ts';
import { failure, MemoryFiles } from '../../support/memory-files.ts';
import type { MemoryCall } from '../../support/memory-files.ts';
import { appendOne, at, DIRECTORY, fill, openSmall, readAll } from '../../support/small-log.ts';

const LARGE = 3000;
const SMALL = 100;
/** Durable before a test begins. */
const FIRST = 3;
/** Each entry is a write of its own, and from 1,000 bytes on one that may be copied. */
const OPTIONS = {
  segmentBytes: 64 * 1024,
  prewriteBytes: 4096,
  maxWriteBytes: 4096,
  copyBytes: 1000,
} as const;
const REFUSED = { name: 'StorageError', code: 'failed' };

/**
 * A log whose last writes were large, so that no zeros lie ahead, and that are many; with calls
 * that can be held.
 */
class World {
  readonly files = new MemoryFiles();
  readonly calls: MemoryCall[] = [];
  readonly reports: number[] = [];
  /** Calls under way of what is held, in order; the test ends them. */
  readonly held: Deferred[] = [];
  hold: 'sync' | 'write' | undefined;
  log!: Log;

  async open(options: Partial<LogOptions>): Promise<void> {
    const { log } = await openSmall(this.files, { ...OPTIONS, ...options });
    this.log = log;
    for (let nth = 1; nth < FIRST; nth += 1) await fill(log, 1, { length: LARGE });
    log.onDurable((durable) => this.reports.push(durable));
    this.files.before = async (call) => {
      this.calls.push(call);
      if (call.operation !== this.hold || !call.path.endsWith('.log')) return;
      const held = deferred();
      this.held.push(held);
      await held.promise;
    };
  }

  /** A large write comes while one is under way: it is copied, and its sync is held. */
  async press(): Promise<void> {
    this.hold = 'write';
    await this.append(2);
    const before = this.log.last - 1;
    this.hold = 'sync';
    await this.let();
    // In mode fdatasync that one has a sync of its own.
    if (this.log.durable < before) await this.let();
  }

  /** So many large writes are copied behind what is durable; the sync of the first is held. */
  async start(count: number): Promise<void> {
    await this.press();
    this.reports.length = 0;
    const copy = this.calls.findLastIndex(({ operation }) => operation === 'write');
    this.calls.splice(0, copy);
    await this.append(count - 1);
  }

  /** The first call that is held ends, well or not. */
  async let(error?: Error): Promise<void> {
    const held = this.held.shift();
    if (error === undefined) held?.resolve();
    else held?.reject(error);
    await turns();
  }

  /** Appends entries of one length, each a write of its own as soon as the log takes it. */
  async append(count: number, length = LARGE): Promise<void> {
    for (let nth = 0; nth < count; nth += 1) {
      appendOne(this.log, { length });
      await turns();
    }
  }

  done(operation: string, path = '.log'): number {
    return this.calls.filter((call) => call.operation === operation && call.path.includes(path))
      .length;
  }

  /** The durable mark in the header of each entry of the first segment. */
  marks(): number[] {
    const path = this.files.paths().find((each) => each.endsWith('.log')) ?? '';
    const window = windowOver(new Uint8Array(this.files.bytes(path)));
    const header = emptyHeader();
    const marks: number[] = [];
    for (let position = 0; decodeHeader(window, position, header);) {
      marks.push(header.markPosition);
      position += HEADER_BYTES + header.payloadLength;
      if (position + HEADER_BYTES > window.bytes.length) break;
    }
    return marks;
  }
}

async function turns(): Promise<void> {
  for (let left = 4; left > 0; left -= 1) await new Promise((done) => setImmediate(done));
}

const END = (LARGE + HEADER_BYTES) * FIRST;

describe.each(['prewritten-dsync', 'fdatasync'] as const)('in mode %s', (syncMode) => {
  let world: World;
  beforeEach(async () => {
    world = new World();
    await world.open({ syncMode });
  });

  test('a large write is copied while the one before is synced, and neither is durable', async () => {
    const { log } = world;
    await world.start(3);
    expect(world.held).toHaveLength(1);
    expect(world.done('write')).toBe(3);
    expect([log.last, log.durable]).toEqual([FIRST + 3, FIRST]);
    expect(world.reports).toEqual([]);
    expect(await log.read(at(FIRST + 1), { maxBytes: 1 })).toEqual({
      kind: 'batches',
      batches: [],
    });
    expect((await readAll(log)).length).toBe(FIRST);
    expect(await log.indexForTime(1000 + FIRST + 1)).toBe(FIRST + 1);
    let told = 0;
    const waiting = [1, 2, 3].map((nth) => log.appended(at(FIRST + nth)).then(() => (told += 1)));
    // The first sync covers the first copy, the second both others.
    await world.let();
    expect([log.durable, told]).toEqual([FIRST + 1, 1]);
    expect((await readAll(log)).length).toBe(FIRST + 1);
    await world.let();
    expect([log.durable, told]).toEqual([FIRST + 3, 3]);
    expect(world.reports).toEqual([FIRST + 1, FIRST + 3]);
    expect(world.held).toEqual([]);
    await Promise.all(waiting);
  });

  test('what was copied and not synced is lost with the power, what was synced is not', async () => {
    await world.start(2);
    await world.let();
    const { log } = await openSmall(world.files.crash(), OPTIONS);
    expect(log.last).toBe(FIRST + 2);
    // A sync of these files covers all that was written when it ends: here it does not end.
    const other = new World();
    await other.open({ syncMode });
    await other.start(2);
    const left = await openSmall(other.files.crash(), OPTIONS);
    expect(left.log.last).toBe(FIRST);
  });

  test('the mark in a header is what was known to be synced when it was placed', async () => {
    await world.start(2);
    await world.let();
    await world.append(1);
    const one = LARGE + HEADER_BYTES;
    expect(world.marks().slice(FIRST)).toEqual([END, END, END + one]);
  });

  test('a small write waits until all is synced, and what comes meanwhile is written with it', async () => {
    await world.start(1);
    await world.append(1, SMALL);
    await world.append(3, SMALL);
    expect(world.done('write')).toBe(1);
    world.hold = undefined;
    await world.let();
    expect(world.done('write')).toBe(2);
    expect(world.log.durable).toBe(FIRST + 5);
    expect(world.reports).toEqual([FIRST + 1, FIRST + 5]);
  });

  test('small writes that grow to a large one while they wait are copied', async () => {
    await world.start(1);
    await world.append(4, 200);
    expect(world.done('write')).toBe(2);
    expect(world.log.durable).toBe(FIRST);
  });

  test.each([
    ['a cut of the back', (log: Log) => log.truncateSuffix(at(FIRST))],
    ['a hard state of its own', (log: Log) => log.truncateSuffix(log.last, { term: 9, vote: 'a' })],
    ['the end of the log', (log: Log) => log.close()],
  ] as const)('%s waits until all is synced', async (_, change) => {
    await world.start(2);
    let done = false;
    const changed = change(world.log).then(() => (done = true));
    await turns();
    await world.let();
    expect([done, world.done('open', 'manifest'), world.log.durable]).toEqual([
      false,
      0,
      FIRST + 1,
    ]);
    world.hold = undefined;
    await world.let();
    await changed;
    expect(world.done('open', 'manifest')).toBe(1);
  });

  test('a roll-over waits until all is synced', async () => {
    const { log } = world;
    while ((log.last + 2) * (LARGE + HEADER_BYTES) < OPTIONS.segmentBytes) await world.append(1);
    const last = log.last + 1;
    // The first of them that is copied ends the segment.
    await world.press();
    await world.append(1);
    const before = [log.segments, world.done('rename'), world.done('open', 'manifest')];
    expect([...before, log.durable]).toEqual([1, 0, 0, last]);
    await world.let();
    expect([log.segments, log.durable]).toEqual([2, last + 1]);
    expect(log.sealed).toMatchObject([{ first: 1, last: last + 1 }]);
    await world.let();
    expect(log.durable).toBe(last + 2);
  });

  test('a hard state is taken when the sync that covers it has ended', async () => {
    const { log } = world;
    await world.start(1);
    const state = { term: 4, vote: 'b' };
    let done = false;
    const set = log.setHardState(state).then(() => (done = true));
    await world.append(1);
    expect(world.done('write')).toBe(2);
    await world.let();
    expect([done, log.hardState.term]).toEqual([false, 0]);
    await world.let();
    expect([done, log.hardState]).toEqual([true, state]);
    await set;
  });

  test('a hard state alone leaves the last entry as what was copied before it has it', async () => {
    const other = new World();
    await other.open({ syncMode, copyBytes: 1 });
    const { log } = other;
    await other.start(2);
    const set = log.setHardState({ term: 4, vote: '' });
    await turns();
    expect(other.done('write')).toBe(3);
    await other.let();
    await other.let();
    await set;
    expect([log.durable, other.reports]).toEqual([FIRST + 2, [FIRST + 1, FIRST + 2]]);
  });

  test('the unsynced are bounded', async () => {
    const bounded = new World();
    await bounded.open({ syncMode, unsyncedBytes: 2 * (LARGE + HEADER_BYTES) });
    await bounded.start(4);
    expect(bounded.done('write')).toBe(2);
    await bounded.let();
    expect(bounded.done('write')).toBe(3);
    bounded.hold = undefined;
    await bounded.let();
    await bounded.let();
    expect(bounded.log.durable).toBe(FIRST + 4);
  });

  test('a copy begins when the one before has ended, and only then its buffer is used again', async () => {
    await world.start(1);
    world.hold = 'write';
    await world.append(5);
    expect([world.done('write'), world.done('sync')]).toEqual([2, 1]);
    while (world.held.length > 0) await world.let();
    await world.log.appended(at(FIRST + 6));
    expect(await readAll(world.log)).toHaveLength(FIRST + 6);
    const { log, recovery } = await openSmall(world.files.crash(), OPTIONS);
    expect(recovery.faulty).toEqual([]);
    expect(await readAll(log)).toHaveLength(FIRST + 6);
  });

  test('a failed sync ends the log for what was copied, what waits and what comes', async () => {
    const { log } = world;
    await world.start(3);
    await world.append(1, SMALL);
    const state = expect(log.setHardState({ term: 5, vote: '' })).rejects.toMatchObject(REFUSED);
    const waiting = [1, 2, 3, 4].map((nth) => {
      return expect(log.appended(at(FIRST + nth))).rejects.toMatchObject(REFUSED);
    });
    const calls = world.done('write');
    await world.let(failure('EIO', DIRECTORY));
    await Promise.all([...waiting, state]);
    expect(log.failed).toMatchObject(REFUSED);
    expect([world.reports, log.durable, log.hardState.term]).toEqual([[], FIRST, 0]);
    expect(() => appendOne(log)).toThrow('failed');
    await expect(log.appended(at(FIRST + 1))).rejects.toMatchObject(REFUSED);
    await log.close();
    expect([world.done('write'), world.done('sync')]).toEqual([calls, 1]);
    expect(world.reports).toEqual([]);
  });

  test('a sync that ends well after a failed copy reports nothing', async () => {
    const { log } = world;
    await world.start(2);
    const waiting = [1, 2, 3].map((nth) => {
      return expect(log.appended(at(Math.min(log.last, FIRST + nth)))).rejects.toMatchObject(
        REFUSED,
      );
    });
    const [sync] = world.held.splice(0);
    world.hold = 'write';
    await world.append(1);
    expect(world.held).toHaveLength(1);
    await world.let(failure('EIO', DIRECTORY));
    expect(log.failed).toMatchObject(REFUSED);
    sync?.resolve();
    await turns();
    await Promise.all(waiting);
    expect([world.reports, log.durable]).toEqual([[], FIRST]);
    expect(world.done('sync')).toBe(1);
    await log.close();
  });

  test('a copy that ends after a failed sync counts for nothing', async () => {
    const { log } = world;
    await world.start(1);
    const [sync] = world.held.splice(0);
    world.hold = 'write';
    await world.append(1);
    const waiting = expect(log.appended(at(FIRST + 2))).rejects.toMatchObject(REFUSED);
    sync?.reject(failure('EIO', DIRECTORY));
    await turns();
    await world.let();
    await waiting;
    expect([world.reports, world.done('sync')]).toEqual([[], 1]);
    await log.close();
  });
});

describe('the way of a write', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test('is the old one where zeros lie ahead, however large it is', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, { ...OPTIONS, prewriteBytes: 64 * 1024 });
    for (let nth = 0; nth < 10; nth += 1) await fill(log, 1, { length: SMALL });
    files.tracing = true;
    await fill(log, 1, { length: LARGE });
    const data = files.trace.filter(({ path }) => path.endsWith('.log'));
    expect(data).toMatchObject([{ operation: 'write', length: LARGE + HEADER_BYTES }]);
    await log.close();
  });

  test('is the old one where nothing comes while one is under way', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, OPTIONS);
    await fill(log, 1, { length: LARGE });
    files.tracing = true;
    for (let nth = 0; nth < 5; nth += 1) await fill(log, 1, { length: LARGE });
    expect(files.trace.map(({ operation }) => operation)).toEqual(Array(5).fill('write'));
    await log.close();
  });

  test('goes on from one segment to the next', async () => {
    const files = new MemoryFiles();
    const { log } = await openSmall(files, OPTIONS);
    files.tracing = true;
    await fill(log, 30, { length: LARGE });
    expect(log.segments).toBe(2);
    const path = files.paths().findLast((each) => each.endsWith('.log'));
    const calls = files.trace.filter((call) => call.path === path).map((call) => call.operation);
    // The handle for copies is opened with the first of them.
    expect(calls.slice(calls.indexOf('open'), calls.indexOf('write'))).toEqual(
      Array(3).fill('open'),
    );
    await log.close();
  });

  test('after silence the mark waits for the sync, and covers all of it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const world = new World();
    await world.open({ idleMarkMs: 100 });
    world.hold = 'sync';
    await world.start(2);
    vi.advanceTimersByTime(100);
    await turns();
    expect(world.log.stats.marks).toBe(0);
    await world.let();
    await world.let();
    world.hold = undefined;
    vi.advanceTimersByTime(100);
    await turns();
    expect(world.log.stats.marks).toBe(1);
    expect(world.marks().at(-1)).toBe((LARGE + HEADER_BYTES) * (FIRST + 2));
    await world.log.close();
  });

  test('is told: each sync beside copies counts as one write of those who measure', async () => {
    const told: string[] = [];
    const world = new World();
    await world.open({ writing: () => told.push('writing'), written: () => told.push('written') });
    await world.start(1);
    expect(told.at(-1)).toBe('writing');
    const { writes, syncs } = world.log.stats;
    await world.append(2);
    await world.let();
    await world.let();
    expect(world.log.stats).toMatchObject({ writes: writes + 2, syncs: syncs + 2 });
    const pairs = Array.from({ length: syncs + 2 }, () => ['writing', 'written']);
    expect(told).toEqual(pairs.flat());
    await world.log.close();
  });
});
