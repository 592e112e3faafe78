/**
 * Everything that the thread of the shards owns, opened in order and closed in the opposite one:
 * the lock on the data directory, the reserve of the disk, the streams to other nodes, the shards.
 * The same code runs in the worker and, for `shards.thread: main` and for tests, beside the
 * frontends.
 *
 * A start that is refused has changed nothing that matters and leaves nothing open.
 */

import { DiskReserve, nodeFiles, openDataDirectory, openLevelRecords } from '#storage';
import type { DataDirectory, Files } from '#storage';
import type { ClusterAdmin, RescueWish } from './admin/cluster-port.ts';
import type { PeerTransport, ReplicaPeers } from './cluster/peer-transport.ts';
import { writeAddress } from './config/values.ts';
import { ClusterOperator } from './cluster-operator.ts';
import type { RescueAnswer } from './cluster-operator.ts';
import { shardLimitsOf } from './durable-shard.ts';
import { NodeShards } from './node-shards.ts';
import type { ShardSettings } from './options.ts';
import type { ThreadPulse } from './ops/thread-pulse.ts';
import { mayLeaveMachine } from './peer-places.ts';
import { sumOfShards } from './shard-figures.ts';
import { ShardKeeper } from './shard-keeper.ts';
import { foundersOf } from './shard-plan.ts';
import { AdminError } from './broker/ports.ts';
import { DeclarationError } from './shard/declarations.ts';
import type { PlainData } from './shard/record-codec.ts';
import type { OtherShards } from './shard/other-shards.ts';
import type { ShardRequest } from './shard/requests.ts';
import { PlaceClient } from './shard/place-client.ts';
import type { BatchPort } from './shard/port.ts';
import { Shard } from './shard/shard.ts';
import { systemClock } from './shard/stamp-clock.ts';
import { firstIdInMemory } from './shard/volatile-ids.ts';
import { VolatileLog } from './shard/volatile-log.ts';
import { VolatileRecords } from './shard/volatile-records.ts';
import type { Logger } from './telemetry/logger.ts';

export interface ShardHostParts {
  readonly settings: ShardSettings;
  /** Of shard 0. */
  readonly port: BatchPort;
  /** A way to the client of a shard that there is beside it; once for each, at any time. */
  openPort(shard: number): BatchPort;
  /** What a shard asks the others; where there is one shard alone it asks nothing. */
  others(shard: number): OtherShards;
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
    const peers = await peersOf(parts);
    if (peers !== undefined) opened.push(() => peers.stop());
    const { port, logger, pulse, onFailure } = parts;
    const shards = await NodeShards.open({
      settings,
      port,
      openPort: (shard) => parts.openPort(shard),
      others: (shard) => parts.others(shard),
      logger,
      ...(pulse === undefined ? {} : { pulse }),
      onFailure,
      files,
      openRecords: openLevelRecords,
      data,
      reserve,
      peers,
    });
    opened.push(() => shards.abandon());
    const inMemory = await openVolatileShard(parts, shards);
    opened.pop();
    const keeper = new ShardKeeper({ settings, shards, address: addressOf(settings), logger });
    return {
      cluster: newOperator(settings, peers, shards),
      stats: async () => {
        const figures = await figuresOfAll(shards, inMemory);
        const more = [...(parts.moreStats?.() ?? []), ...(peers?.stats() ?? [])];
        for (const [name, value] of [...ofDisk(reserve), ...more]) figures.set(name, value);
        return figures;
      },
      stop: async () => {
        keeper.stop();
        try {
          await Promise.all([shards.stop(), inMemory.stop()]);
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

/** What operators ask of this node, over its shards. */
export function newOperator(
  settings: ShardSettings,
  peers: ReplicaPeers | undefined,
  shards: NodeShards,
): ClusterOperator {
  const { node } = settings;
  const ask = async (number: number, request: ShardRequest): Promise<PlainData> => {
    const shard = shards.of(number);
    if (shard !== undefined) return shard.forwarding.asks.ask(request);
    throw new AdminError('unavailable', `this node knows no shard ${number} yet`);
  };
  const common = {
    node,
    ask,
    rescue: (number: number, wish: RescueWish): Promise<RescueAnswer> => {
      const durable = shards.of(number)?.durable;
      if (durable !== undefined) return durable.rescue(wish);
      return Promise.resolve({ kind: 'refused', code: 'no-shard' });
    },
    replicas: () => shards.replicas,
    map: () => shards.map,
    places: new PlaceClient((request) => ask(0, request)),
    foundersOf: (number: number) => foundersOf(number, settings.shards.replicas, shards.members),
  };
  if (settings.peers === undefined || peers === undefined) {
    return new ClusterOperator({ ...common, cluster: undefined });
  }
  const cluster = {
    id: settings.peers.cluster,
    address: addressOf(settings),
    mayLeaveMachine: mayLeaveMachine(settings.peers),
    peers: () => peers.peers,
  };
  return new ClusterOperator({ ...common, cluster });
}

/** Where the others reach this node, by its own file; '': it is alone. */
function addressOf({ node, peers }: ShardSettings): string {
  if (peers === undefined) return '';
  return writeAddress(peers.nodes.find(({ id }) => id === node) ?? peers.listen);
}

async function figuresOfAll(shards: NodeShards, inMemory: Shard): Promise<Map<string, number>> {
  const open = [...shards.all].flatMap(({ number, durable }) => {
    return durable?.replica === undefined ? [] : [{ number, durable }];
  });
  const [ofMemory, ...durable] = await Promise.all([
    inMemory.statsOfAll(),
    ...open.map((each) => each.durable.statsOfAll()),
  ]);
  const numbered = durable.map((figures, nth) => ({ shard: open[nth]?.number ?? 0, figures }));
  return sumOfShards(numbered, ofMemory);
}

function ofDisk({ space, state }: DiskReserve): [name: string, value: number][] {
  return [
    ['disk/free', space.freeBytes],
    ['disk/inside-reserve', state === 'inside-reserve' ? 1 : 0],
  ];
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
async function openVolatileShard(parts: ShardHostParts, shards: NodeShards): Promise<Shard> {
  const { settings, logger, volatilePort, onFailure } = parts;
  const queues = settings.queues.filter(({ type }) => type === 'ephemeral');
  for (const { name } of queues) {
    const there = shards.of(0)?.durable?.shard?.queueType(name);
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
