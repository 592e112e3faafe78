/**
 * Everything that the thread of the shards owns, opened in order and closed in the opposite one:
 * the lock on the data directory, the reserve of the disk, the records, the log, the shard. The
 * same code runs in the worker and, for `shards.thread: main` and for tests, beside the frontends.
 *
 * A start that is refused has changed nothing that matters and leaves nothing open.
 */

import { join } from 'node:path';
import { DiskReserve, Log, nodeFiles, Runs, openDataDirectory, openLevelRecords } from '#storage';
import type { DataDirectory, Files, RecordStore } from '#storage';
import type { ShardSettings } from './options.ts';
import type { BatchPort } from './shard/port.ts';
import type { ThreadPulse } from './ops/thread-pulse.ts';
import { DeclarationError } from './shard/declarations.ts';
import { DEFAULT_SHARD_LIMITS, type ShardLimits } from './shard/shard-limits.ts';
import { mendGroups } from './shard/mend-groups.ts';
import { Shard } from './shard/shard.ts';
import { SingleLog } from './shard/single-log.ts';
import { systemClock } from './shard/stamp-clock.ts';
import { firstIdInMemory } from './shard/volatile-ids.ts';
import { VolatileLog } from './shard/volatile-log.ts';
import { VolatileRecords } from './shard/volatile-records.ts';
import type { Logger } from './telemetry/logger.ts';

/** One shard for now; the names leave room for more. */
const SHARD_FOLDER = 'shard-0';
const LOG_FOLDER = 'log';
const RECORDS_FOLDER = 'records';
const RUNS_FOLDER = 'runs';
/** Sparse indexes of runs in memory. */
const RUN_INDEX_BYTES = 4 << 20;

/** Where the log lies in a data directory. */
export function logDirectory(dataDirectory: string): string {
  return join(dataDirectory, SHARD_FOLDER, LOG_FOLDER);
}

/** Where the runs lie in a data directory. */
export function runsDirectory(dataDirectory: string): string {
  return join(dataDirectory, SHARD_FOLDER, RUNS_FOLDER);
}

export interface ShardHostParts {
  readonly settings: ShardSettings;
  readonly port: BatchPort;
  /** Of the shard whose queues live in memory. */
  readonly volatilePort: BatchPort;
  readonly logger: Logger;
  /** Hears of each write of the log. */
  readonly pulse?: ThreadPulse;
  /** Called once, after the start: the store failed, and the process is to end. */
  readonly onFailure: (error: Error) => void;
  /** Numbers of the thread that it runs in, for the statistics. */
  readonly moreStats?: () => Iterable<readonly [name: string, value: number]>;
}

export interface ShardHost {
  /** Stores what is under way, writes the last checkpoint, and lets the data directory go. */
  stop(): Promise<void>;
}

/** Rejects with a StorageError or a DeclarationError when the start is refused. */
export async function openShardHost(parts: ShardHostParts): Promise<ShardHost> {
  const { settings } = parts;
  const files = nodeFiles();
  const directory = settings.dataDirectory;
  const data = await openDataDirectory({ files, directory, now: Date.now });
  const opened: (() => Promise<void>)[] = [() => data.close()];
  try {
    const reserve = await openReserve(parts, files, data);
    opened.push(() => reserve.close());
    const records = await openLevelRecords({
      files,
      directory: await data.folder(SHARD_FOLDER, RECORDS_FOLDER),
      mend: (damage) => mendGroups(damage),
    });
    opened.push(() => records.close());
    const shard = await openShard(parts, { files, data, reserve, records, opened });
    const inMemory = await openVolatileShard(parts, shard);
    return {
      stop: async () => {
        try {
          await Promise.all([shard.stop(), inMemory.stop()]);
        } finally {
          await closeAll(opened);
        }
      },
    };
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

function openReserve(
  { settings, logger }: ShardHostParts,
  files: Files,
  data: DataDirectory,
): Promise<DiskReserve> {
  const { segmentBytes, reserveBytes } = settings.storage;
  return DiskReserve.open({
    files,
    directory: data.path,
    leastBytes: 2 * segmentBytes,
    ...(reserveBytes === undefined ? {} : { reserveBytes }),
    onChange: (state, space) => {
      if (state === 'ok')
        logger.info({ ...space }, 'the disk has space again: publishes are taken');
      else logger.warn({ ...space }, 'the disk is inside its reserve: publishes are refused');
    },
  });
}

interface Opened {
  readonly files: Files;
  readonly data: DataDirectory;
  readonly reserve: DiskReserve;
  readonly records: RecordStore;
  readonly opened: (() => Promise<void>)[];
}

async function openRuns(on: Opened, owner: string, blockBytes: number): Promise<Runs> {
  return new Runs({
    files: on.files,
    directory: await on.data.folder(SHARD_FOLDER, RUNS_FOLDER),
    owner,
    blockBytes,
    indexCacheBytes: RUN_INDEX_BYTES,
    now: Date.now,
  });
}

function limitsOf(settings: ShardSettings): ShardLimits {
  return {
    ...DEFAULT_SHARD_LIMITS,
    checkpointBytes: settings.checkpointBytes,
    checkpointLogBytes: settings.checkpointLogBytes,
    checkpointIntervalMs: settings.checkpointIntervalMs,
    tailBytes: settings.cacheBytes,
    readBytes: settings.readCacheBytes,
    locationBytes: settings.locationBytes,
    residentRecordsMax: settings.maxResidentRecords,
    uncommittedBytesMax: settings.maxUncommittedBytes,
    outstandingBytesMax: settings.maxOutstandingBytes,
    windowBytes: settings.runs.windowBytes,
    windowMessages: settings.runs.windowMessages,
    spillBufferBytes: settings.runs.spillBufferBytes,
    compactionShare: settings.runs.compactionShare,
  };
}

async function openShard(parts: ShardHostParts, on: Opened): Promise<Shard> {
  const { settings, logger, port, pulse, onFailure } = parts;
  const { reserveBytes: _reserve, ...storage } = settings.storage;
  let shard: Shard | undefined;
  let early: Error | undefined;
  let zeros = 0;
  const { log, recovery } = await Log.open({
    files: on.files,
    directory: await on.data.folder(SHARD_FOLDER, LOG_FOLDER),
    now: Date.now,
    ...storage,
    writing: () => pulse?.writing(),
    written: () => pulse?.written(),
    prewritten: (bytes) => {
      zeros += bytes;
    },
    onFailure: (error) => {
      if (error.code === 'full') on.reserve.noteFull();
      if (shard === undefined) early = error;
      else shard.logFailed(error);
    },
  });
  // A shard that opened has closed the log itself; one that refused must not leave the mark of a
  // clean stop.
  on.opened.push(() => log.close('as-found'));
  const { clean, created, bytesScanned, tornTail, faulty } = recovery;
  logger.info({ clean, created, bytesScanned, tornTail: tornTail?.detail }, 'log opened');
  for (const { detail } of faulty) logger.error({ detail }, 'the log is damaged');
  const runs = await openRuns(on, log.logId, settings.runs.blockBytes);
  let spent = 0;
  shard = await Shard.open({
    node: settings.node,
    log: new SingleLog(log, settings.node),
    records: on.records,
    runs,
    port,
    queues: settings.queues.filter(({ type }) => type !== 'ephemeral'),
    groups: settings.groups,
    limits: limitsOf(settings),
    clock: systemClock,
    logger,
    inReserve: () => {
      const bytesWritten = log.stats.bytesWritten + runs.bytesWritten;
      on.reserve.spent(bytesWritten - spent);
      spent = bytesWritten;
      return on.reserve.state === 'inside-reserve';
    },
    moreStats: () => [
      ['disk/free', on.reserve.space.freeBytes],
      ['disk/inside-reserve', on.reserve.state === 'inside-reserve' ? 1 : 0],
      ['bytes/log', log.stats.bytesWritten],
      ['bytes/prewritten', zeros],
      ...(parts.moreStats?.() ?? []),
    ],
    diskFull: () => on.reserve.noteFull(),
    onFailure,
  });
  if (early !== undefined) shard.logFailed(early);
  return shard;
}

/** Of the shard in memory: its log is given back soon after its messages are settled. */
const VOLATILE_CHECKPOINT_BYTES = 4 << 20;
const VOLATILE_CHECKPOINT_MS = 1_000;

/** Queues that live in memory: the same shard over a log and records that are not kept. */
async function openVolatileShard(parts: ShardHostParts, durable: Shard): Promise<Shard> {
  const { settings, logger, volatilePort, onFailure } = parts;
  const queues = settings.queues.filter(({ type }) => type === 'ephemeral');
  for (const { name } of queues) {
    const there = durable.queueType(name);
    if (there === undefined) continue;
    const words = `queue ${name} exists with type ${there}, and is declared with type ephemeral`;
    throw new DeclarationError('exists', words);
  }
  const log = new VolatileLog();
  return Shard.open({
    node: settings.node,
    log,
    records: new VolatileRecords(),
    runs: undefined,
    port: volatilePort,
    queues,
    groups: settings.groups,
    firstQueueId: firstIdInMemory(Date.now()),
    limits: {
      ...limitsOf(settings),
      checkpointLogBytes: VOLATILE_CHECKPOINT_BYTES,
      checkpointIntervalMs: VOLATILE_CHECKPOINT_MS,
      // The log itself is in memory: nothing of it is kept twice.
      tailBytes: 0,
    },
    clock: systemClock,
    logger,
    inReserve: () => log.bytes > settings.ephemeralBytes,
    diskFull: () => undefined,
    onFailure,
  });
}

/** Newest first; what is closed already closes again without a word. */
async function closeAll(opened: (() => Promise<void>)[]): Promise<void> {
  for (const close of opened.splice(0).reverse()) await close().catch(() => undefined);
}
