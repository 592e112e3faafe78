/**
 * The log on a disk that fails: errors of writes and syncs, a full disk, short and slow calls,
 * then a power cut. No durability is reported that was not there, and the first failure is the
 * last.
 *
 * A few schedules of each fault run on every change, all with `npm run test:long`.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { type Log, StorageError } from '../../../storage/storage.ts';
import { bySeed, ONLY, seedsFrom } from '../../support/by-seed.ts';
import { type Coverage, LogSchedule } from '../../support/log-schedule.ts';
import type { Fault } from '../../../raft/simulation/disk/faults.ts';
import { Random } from '../../../raft/simulation/random.ts';
import type { SimulatedDisk } from '../../../raft/simulation/disk/disk.ts';

const FILE = 'test/storage/log/crash-schedules-faults.test.ts';
const LOG_FILE = /\/log\/.*\.(log|spare)$/;

const FATAL: Record<string, Fault> = {
  'D3: a failed sync, the next one succeeds': { kind: 'eio', on: 'sync', path: LOG_FILE },
  'D3: a failed write': { kind: 'eio', on: 'write', path: LOG_FILE },
  'D10: no space left': { kind: 'enospc', on: 'write', path: LOG_FILE },
  'a failed write of the manifest': { kind: 'eio', on: 'write', path: /manifest/ },
  'a failed sync of the manifest': { kind: 'eio', on: 'sync', path: /manifest/ },
  'a failed rename': { kind: 'eio', on: 'rename' },
  'a failed creation': { kind: 'eio', on: 'open', path: /\/log\// },
  'a failed sync of the folder': { kind: 'eio', on: 'sync-directory', path: /log$/ },
  'a failed truncation': { kind: 'eio', on: 'truncate' },
  'a failed removal': { kind: 'eio', on: 'remove' },
};

const HARMLESS: Record<string, Fault> = {
  'short writes': { kind: 'short', on: 'write', times: 20 },
  'short reads': { kind: 'short', on: 'read', times: 20 },
  'slow writes': { kind: 'slow', on: 'write', times: 5, steps: 40 },
  'slow syncs': { kind: 'slow', on: 'sync', times: 5, steps: 40 },
};

/** Of each fault, so many schedules from that seed on. */
export function describeFaults(first: number, count: number): void {
  const seeds = seedsFrom(first, count);
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  describe('after the first failure nothing is durable any more, and nothing durable is lost', () => {
    test.each(Object.entries(FATAL))('%s', async (name, fault) => {
      let met = 0;
      for (const seed of seeds) {
        await bySeed(FILE, seed, async (disk) => {
          met += await withFault(disk, `${name} ${seed}`, fault);
        });
      }
      if (ONLY === undefined) expect(met, 'the fault was met').toBeGreaterThan(count / 10);
    });
  });

  describe('what is no failure changes nothing', () => {
    test.each(Object.entries(HARMLESS))('%s', async (name, fault) => {
      let met = 0;
      for (const seed of seeds) {
        await bySeed(FILE, seed, async (disk) => {
          const random = new Random(`${name} ${seed}`);
          const schedule = new LogSchedule(disk, random, coverage());
          await schedule.makeFolder();
          const injected = disk.inject({ ...fault, after: random.below(20) });
          const log = await schedule.open();
          await schedule.work(log, 12);
          expect(log.failed).toBeUndefined();
          met += injected.hits;
          disk.cutPower();
          await schedule.goesOn(await schedule.open());
        });
      }
      expect(met, 'the fault was met').toBeGreaterThan(0);
    });
  });
}

function coverage(): Coverage {
  return new Map();
}

/** 1 if the fault was met. */
async function withFault(disk: SimulatedDisk, seed: string, fault: Fault): Promise<number> {
  const random = new Random(seed);
  const schedule = new LogSchedule(disk, random, coverage());
  await schedule.makeFolder();
  // A schedule cuts a file once, if at all.
  const within = fault.on === 'truncate' ? 1 : random.pick([3, 12, 40]);
  const injected = disk.inject({ ...fault, after: random.below(within) });
  let log: Log | undefined;
  try {
    log = await schedule.open();
    await schedule.work(log, 25);
  } catch (error) {
    if (injected.hits === 0 || !(error instanceof StorageError)) throw error;
    expect(['failed', 'full']).toContain(error.code);
  }
  if (log !== undefined && schedule.failure !== undefined) await isOver(disk, log, schedule);
  // The process ends; what the kernel still had may reach the disk or not.
  disk.cutPower();
  await schedule.goesOn(await schedule.open());
  return injected.hits;
}

async function isOver(disk: SimulatedDisk, log: Log, schedule: LogSchedule): Promise<void> {
  const refused = expect.objectContaining({ name: 'StorageError', code: 'failed' });
  const { durable } = schedule.expectation;
  const entry = { epoch: 1_000_000, timestampMs: 1, recordCount: 1, payload: [] };
  expect(log.failed).toBe(schedule.failure);
  expect(() => log.append(entry)).toThrow(refused);
  await expect(log.setHardState({ term: 1_000_000, vote: '' })).rejects.toThrow(refused);
  await expect(log.truncatePrefix(log.start)).rejects.toThrow(refused);
  await expect(log.truncateSuffix(log.last)).rejects.toThrow(refused);
  await disk.settled();
  expect(log.durable).toBe(durable);
  await log.close().catch((error: unknown) => expect(error).toBeInstanceOf(StorageError));
  expect(schedule.expectation.durable).toBe(durable);
}
