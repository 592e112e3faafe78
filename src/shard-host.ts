/**
 * Everything that the thread of the shards owns, opened in order and closed in the opposite one:
 * the lock on the data directory, the reserve of the disk, the records, the log, the shard. The
 * same code runs in the worker and, for `shards.thread: main` and for tests, beside the frontends.
 *
 * A start that is refused has changed nothing that matters and leaves nothing open.
 */

import { DiskReserve, nodeFiles, openDataDirectory } from '#storage';
import type { DataDirectory, Files } from '#storage';
import type { ClusterAdmin, RescueWish } from './admin/cluster-port.ts';
import type { PeerTransport } from './cluster/peer-transport.ts';
import { writeAddress } from './config/values.ts';
import { ClusterOperator } from './cluster-operator.ts';
import type { RescueAnswer } from './cluster-operator.ts';
import { DurableShard, shardLimitsOf } from './durable-shard.ts';
import type { ShardSettings } from './options.ts';
import type { ThreadPulse } from './ops/thread-pulse.ts';
import { mayLeaveMachine } from './peer-places.ts';
import { ReplicaFolders } from './replica-folders.ts';
import { DeclarationError } from './shard/declarations.ts';
import type { BatchPort } from './shard/port.ts';
import { Shard } from './shard/shard.ts';
import { systemClock } from './shard/stamp-clock.ts';
import { firstIdInMemory } from './shard/volatile-ids.ts';
import { VolatileLog } from './shard/volatile-log.ts';
import { VolatileRecords } from './shard/volatile-records.ts';
import type { Logger } from './telemetry/logger.ts';

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
  readonly cluster: ClusterAdmin;
  /** The numbers of this node's shards, whoever leads. */
  stats(): Promise<Map<string, number>>;
  /** Stores what is under way, writes the last checkpoint, and lets the data directory go. */
  stop(): Promise<void>;
}

/** Rejects with a StorageError, a DeclarationError or a PeerStartError: the start is refused. */
export async function openShardHost(parts: ShardHostParts): Promise<ShardHost> {
  const { settings } = parts;
  const files = nodeFiles();
  const directory = settings.dataDirectory;
  const data = await openDataDirectory({ files, directory, now: Date.now });
  const opened: (() => Promise<void>)[] = [() => data.close()];
  try {
    const reserve = await openReserve(parts, files, data);
    opened.push(() => reserve.close());
    const folders = await ReplicaFolders.open(files, data);
    const peers = await peersOf(parts);
    if (peers !== undefined) opened.push(() => peers.stop());
    const { port, logger, pulse, onFailure } = parts;
    const durable = await DurableShard.open({
      settings,
      port,
      logger,
      ...(pulse === undefined ? {} : { pulse }),
      onFailure,
      moreStats: () => [...(parts.moreStats?.() ?? []), ...(peers?.stats() ?? [])],
      files,
      folders,
      reserve,
      peers,
    });
    opened.push(() => durable.abandon());
    const inMemory = await openVolatileShard(parts, durable);
    opened.pop();
    return {
      cluster: newOperator(settings, peers, durable),
      stats: () => statsOfBoth(durable, inMemory),
      stop: async () => {
        try {
          await Promise.all([durable.stop(), inMemory.stop()]);
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

/** What a broker alone does not need is not loaded. */
async function peersOf({ settings, logger }: ShardHostParts): Promise<PeerTransport | undefined> {
  const { node, peers } = settings;
  if (peers === undefined) return undefined;
  const { openPeers } = await import('./peer-host.ts');
  return openPeers(node, peers, logger);
}

function newOperator(
  { node, peers: settings }: ShardSettings,
  peers: PeerTransport | undefined,
  durable: DurableShard,
): ClusterOperator {
  const replicas = () => durable.replicas;
  const rescue = (shard: number, wish: RescueWish): Promise<RescueAnswer> => {
    if (durable.replicas.has(shard)) return durable.rescue(wish);
    return Promise.resolve({ kind: 'refused', code: 'no-shard' });
  };
  if (settings === undefined || peers === undefined) {
    return new ClusterOperator({ node, cluster: undefined, replicas, rescue });
  }
  const cluster = {
    id: settings.cluster,
    address: writeAddress(settings.nodes.find(({ id }) => id === node) ?? settings.listen),
    mayLeaveMachine: mayLeaveMachine(settings),
    peers: () => peers.peers,
  };
  return new ClusterOperator({ node, cluster, replicas, rescue });
}

/** The durable shard's, with what is counted by queue and by message in memory beside it. */
async function statsOfBoth(durable: DurableShard, inMemory: Shard): Promise<Map<string, number>> {
  const [stats, others] = await Promise.all([durable.statsOfAll(), inMemory.statsOfAll()]);
  for (const [name, value] of others) {
    if (name.includes('\0')) stats.set(name, value);
    else if (name.startsWith('messages/')) stats.set(name, (stats.get(name) ?? 0) + value);
    else if (name === 'log/bytes') stats.set('memory/bytes', value);
  }
  return stats;
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

/** Of the shard in memory: its log is given back soon after its messages are settled. */
const VOLATILE_CHECKPOINT_BYTES = 4 << 20;
const VOLATILE_CHECKPOINT_MS = 1_000;

/** Queues that live in memory: the same shard over a log and records that are not kept. */
async function openVolatileShard(parts: ShardHostParts, durable: DurableShard): Promise<Shard> {
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
      ...shardLimitsOf(settings),
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
