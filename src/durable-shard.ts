/**
 * One durable shard of a node through its lives: opens records, log, replica and shard over the
 * current folders, and opens them anew when a checkpoint from a peer has taken their place.
 *
 * A start that is refused has changed nothing that matters and leaves nothing open. When a replica
 * is replaced, the shard that was there is dropped as in a crash, and the new one is opened on the
 * same path as after a start; if that fails, the process is to end.
 */

import { crc32 } from 'node:zlib';
import { systemClock as raftClock, systemRandom } from '#raft';
import type { CatchUpPorts, Configuration, Member } from '#raft';
import { Log } from '#storage';
import type { DiskReserve, Files, RecordMend, Runs } from '#storage';
import type { RescueWish } from './admin/cluster-port.ts';
import type { RescueAnswer } from './cluster-operator.ts';
import type { ReplicaPeers } from './cluster/peer-transport.ts';
import { nodeOf } from './cluster/server-id.ts';
import type { Forwarding } from './forward-host.ts';
import { Lives } from './lives.ts';
import { type MemberRules, answerOfMembers } from './member-answers.ts';
import { NextReplica, type OpenRecords, logOptionsOf, runsOf } from './next-replica.ts';
import type { ShardMap } from './machine/shard-map.ts';
import { type ShardSettings, isOneShard } from './options.ts';
import type { ThreadPulse } from './ops/thread-pulse.ts';
import type { ReplicaFolders } from './replica-folders.ts';
import { orderRescue } from './rescue-order.ts';
import { ShardCatchUpSink } from './shard/catch-up-sink.ts';
import type { KeptRuns } from './shard/kept-runs.ts';
import { HELD_WINDOWS } from './shard/log-window.ts';
import type { OtherShards } from './shard/other-shards.ts';
import type { BatchPort } from './shard/port.ts';
import { RaftLog } from './shard/raft-log.ts';
import { ReplicaRecords } from './shard/replica-records.ts';
import { DEFAULT_SHARD_LIMITS, type ShardLimits } from './shard/shard-limits.ts';
import { Shard } from './shard/shard.ts';
import { noNetwork } from './shard/single-node.ts';
import { systemClock } from './shard/stamp-clock.ts';
import type { Logger } from './telemetry/logger.ts';

export interface DurableShardParts extends MemberRules {
  readonly number: number;
  readonly settings: ShardSettings;
  /** Of this node's client, which speaks to the shard itself; undefined: by a route. */
  readonly port: BatchPort | undefined;
  readonly logger: Logger;
  readonly pulse?: ThreadPulse;
  readonly onFailure: (error: Error) => void;
  readonly files: Files;
  readonly openRecords: OpenRecords;
  readonly folders: ReplicaFolders;
  readonly reserve: DiskReserve;
  /** Undefined: this node is alone. */
  readonly peers: ReplicaPeers | undefined;
  readonly forwarding: Forwarding;
  /** As of when it begins to serve; undefined: there are none. */
  readonly others: () => OtherShards | undefined;
  /** What the shard begins with, as this node's server id sees it. */
  founders(id: string): Configuration;
  /** It comes to a shard that is there: under an id that was never used. */
  readonly joins: boolean;
  /** All nodes that use the shard. */
  nodes(): readonly string[];
  membersChanged(members: readonly Member[]): void;
  /** Of shard 0. */
  readonly onShardMap?: (map: ShardMap) => void;
}

interface OpenedReplica {
  readonly log: Log;
  readonly replica: RaftLog;
  /** Zeros that were written ahead. */
  readonly prewritten: () => number;
}

/** What is open, from one opening to the next. */
interface Life {
  readonly closers: (() => Promise<void>)[];
  shard: Shard | undefined;
  replica: RaftLog | undefined;
  runs: Runs | undefined;
}

export class DurableShard {
  readonly #parts: DurableShardParts;
  readonly #sink: ShardCatchUpSink;
  readonly #lives: Lives<Life>;
  #bytesOfLives = 0;
  #clearing: Promise<void> = Promise.resolve();

  static async open(parts: DurableShardParts): Promise<DurableShard> {
    const durable = new DurableShard(parts);
    await durable.#open();
    return durable;
  }

  private constructor(parts: DurableShardParts) {
    this.#parts = parts;
    const next = new NextReplica(parts, () => this.#life.replica?.id);
    this.#sink = new ShardCatchUpSink(next, () => keptRunsOf(this.#life));
    this.#lives = new Lives(newLife(), parts.onFailure);
    parts.forwarding.shard = () => this.#life.shard;
  }

  get #life(): Life {
    return this.#lives.current;
  }

  /** Undefined: it is being opened, or has no state yet. */
  get shard(): Shard | undefined {
    return this.#life.shard;
  }

  /** Of the shard; of the replica alone while it has none. */
  async statsOfAll(): Promise<Map<string, number>> {
    const { shard, replica } = this.#life;
    if (shard !== undefined) return shard.statsOfAll();
    const stats = new Map(replica?.figures() ?? []);
    if (replica?.status()?.stateLost === true) stats.set('alarm/records-lost', 1);
    return stats;
  }

  /** Undefined: it is being opened. */
  get replica(): RaftLog | undefined {
    return this.#life.replica;
  }

  /** It is another server from now on: what it promised under its old id, nobody here knows. */
  renew(): void {
    const id = this.#life.replica?.status()?.id;
    if (id !== undefined) this.#stranger(this.#life, id);
  }

  /** For a start that is refused: nothing is written any more. */
  async abandon(): Promise<void> {
    await this.#lives.stop();
    await this.#clearing;
    await this.#life.shard?.discard();
    await closeAll(this.#life.closers);
  }

  async stop(): Promise<void> {
    await this.#lives.stop();
    const life = this.#life;
    try {
      await life.shard?.stop();
    } finally {
      await closeAll(life.closers);
      await this.#clearing;
    }
  }

  async #open(): Promise<void> {
    const life = newLife();
    this.#lives.begin(life);
    try {
      life.shard = await this.#openShard(life);
      const as = life.replica?.renamedTo;
      if (as !== undefined) {
        if (this.#lives.end(life)) await this.#openAs(life, as);
      } else if (life.shard !== undefined) this.#parts.forwarding.opened();
    } catch (error) {
      await closeAll(life.closers);
      throw error;
    }
  }

  /** A checkpoint from a peer is the current replica: the one that runs is over. */
  #replaced(life: Life): void {
    void this.#lives.endWith(life, async () => {
      const words = 'the shard has caught up by a checkpoint, and is opened anew';
      this.#parts.logger.info({ shard: this.#parts.number }, words);
      await this.#reopen(life);
      this.#clearing = this.#clearOlder();
    });
  }

  /** What the replica before has left; where it cannot go, it does at the next start. */
  async #clearOlder(): Promise<void> {
    const { folders, logger, number } = this.#parts;
    await this.#clearing;
    await folders.clearOlder().catch(({ message }: Error) => {
      const words = 'the replica before this one could not be removed: the next start removes it';
      logger.warn({ shard: number, error: message }, words);
    });
  }

  /** The directory of this node was lost: what it promised under its old id, it does not know. */
  #stranger(life: Life, was: string): void {
    void this.#lives.endWith(life, async () => {
      const { folders, settings, logger, number } = this.#parts;
      const id = await folders.newServerId(settings.node);
      const next =
        number === 0
          ? `waits as ${id}: fluxmq cluster replace ${was} ${id} HOST:PORT`
          : 'joins anew';
      const known = `the cluster knows another data directory of ${was}: this one is new`;
      const words = `${known}, so the replica ${next}`;
      logger.error({ shard: number, was, id }, words);
      await this.#reopen(life);
    });
  }

  /** To go on without all other members, and under another name: `rescue-order.ts`. */
  async rescue(wish: RescueWish): Promise<RescueAnswer> {
    const { settings, logger, folders, number } = this.#parts;
    const as = await folders.unusedServerId(settings.node);
    const life = this.#life;
    if (life.replica === undefined) return { kind: 'refused', code: 'no-shard' };
    const ordered = await orderRescue(life.replica, wish, { shard: number, as, logger });
    if (ordered.kind === 'refused') return ordered;
    await this.#lives.endWith(life, () => this.#openAs(life, ordered.as));
    return { kind: 'accepted' };
  }

  /** Under the name that its log knows it by. */
  async #openAs(life: Life, as: string): Promise<void> {
    const { folders, settings, logger } = this.#parts;
    if (nodeOf(as) !== settings.node) throw new Error(`${as} is not of node ${settings.node}`);
    await folders.takeServerId(as);
    logger.info({ as }, 'the replica has a new name after a rescue');
    await this.#reopen(life);
  }

  /** Nothing of it is deleted: it may have what those who went on have not. */
  #givenUp(life: Life, was: string, by: string): void {
    void this.#lives.endWith(life, async () => {
      const words =
        `the cluster went on without ${was}, by order of an operator: this replica takes part no ` +
        'more, and its files stay as they are; to join anew, move the data directory away, and ' +
        'start with cluster.join: true';
      this.#parts.logger.error({ was, by }, words);
      await this.#close(life);
      this.#parts.forwarding.onLead({ kind: 'nobody' });
    });
  }

  async #reopen(life: Life): Promise<void> {
    await this.#close(life);
    await this.#open();
  }

  async #close(life: Life): Promise<void> {
    const { shard } = life;
    life.replica = undefined;
    life.shard = undefined;
    await shard?.discard();
    await closeAll(life.closers);
  }

  /** Undefined: its records are lost, and a peer is asked for them. */
  async #openShard(life: Life): Promise<Shard | undefined> {
    const { folders, settings, port, logger, reserve, onFailure, number } = this.#parts;
    const { forwarding, onShardMap, others } = this.#parts;
    const found = await this.#findRecords();
    life.closers.push(() => found.close());
    const { log, replica, prewritten } = await this.#openReplica(life, found);
    const records = found.store;
    if (records === undefined) {
      if (replica.alone) throw found.refusal;
      await this.#waitForState(replica);
      return undefined;
    }
    const runs = runsOf(this.#parts, await folders.part('runs'), log.logId);
    life.runs = runs;
    life.closers.push(() => Promise.resolve(runs.close()));
    let spent = 0;
    return Shard.open({
      node: settings.node,
      log: replica,
      records,
      runs,
      port,
      number,
      ...(onShardMap === undefined ? {} : { onShardMap }),
      get others() {
        return others();
      },
      nodes: () => this.#parts.nodes(),
      onLead: (lead) => forwarding.onLead(lead),
      queues: this.#declared.filter(({ type }) => type !== 'ephemeral'),
      groups: this.#declared.length === 0 ? [] : settings.groups,
      limits: shardLimitsOf(settings),
      clock: systemClock,
      logger,
      inReserve: () => {
        const bytesWritten = log.stats.bytesWritten + runs.bytesWritten;
        reserve.spent(bytesWritten - spent);
        spent = bytesWritten;
        return reserve.state === 'inside-reserve';
      },
      moreStats: () => [
        ['bytes/log', this.#bytesOfLives + log.stats.bytesWritten],
        ['bytes/prewritten', prewritten()],
        ...replica.figures(),
        ['reads/from-replica', forwarding.messagesRead],
      ],
      ofMembers: (request) => {
        return answerOfMembers(replica, request, this.#parts);
      },
      diskFull: () => reserve.noteFull(),
      onFailure,
    });
  }

  /** Where there may be several shards, the node declares its queues when it reaches all. */
  get #declared(): ShardSettings['queues'] {
    const { settings, number } = this.#parts;
    return number === 0 && isOneShard(settings) ? settings.queues : [];
  }

  async #findRecords(): Promise<ReplicaRecords> {
    const { folders, files, openRecords, settings } = this.#parts;
    const directory = await folders.part('records');
    const folder = {
      open: (mend: RecordMend) => openRecords({ files, directory, mend }),
      clear: () => folders.clearPart('records'),
    };
    if (settings.peers === undefined) return ReplicaRecords.alone(folder);
    return ReplicaRecords.inCluster(folder);
  }

  /** Until a checkpoint of a peer has taken its place: `#replaced`. */
  #waitForState(replica: RaftLog): Promise<void> {
    const { forwarding, onFailure } = this.#parts;
    return replica.followWithoutState({
      follows: (server) =>
        forwarding.onLead(server === undefined ? { kind: 'nobody' } : { kind: 'there', server }),
      failed: (error) => onFailure(error),
    });
  }

  async #openReplica(life: Life, records: ReplicaRecords): Promise<OpenedReplica> {
    const { settings, logger, pulse, folders, reserve, peers, number, joins } = this.#parts;
    let replica: RaftLog | undefined;
    let early: Error | undefined;
    let zeros = 0;
    // Before the log is there: an empty directory is told by that.
    const id =
      settings.peers === undefined ? settings.node : await folders.serverId(settings.node, joins);
    const { log, recovery } = await Log.open({
      ...logOptionsOf(this.#parts, await folders.part('log')),
      writing: () => pulse?.writing(),
      written: () => pulse?.written(),
      prewritten: (bytes) => {
        zeros += bytes;
      },
      onFailure: (error) => {
        if (error.code === 'full') reserve.noteFull();
        if (replica === undefined) early = error;
        else replica.logFailed(error);
      },
    });
    // A shard that opened has closed the log itself; one that refused must not leave the mark of a
    // clean stop.
    life.closers.push(async () => {
      this.#bytesOfLives += log.stats.bytesWritten;
      await log.close('as-found');
    });
    const { clean, created, bytesScanned, tornTail, faulty } = recovery;
    const found = { clean, created, bytesScanned, tornTail: tornTail?.detail };
    logger.info({ shard: number, ...found }, 'log opened');
    for (const { detail } of faulty) logger.error({ shard: number, detail }, 'the log is damaged');
    if (peers !== undefined) await records.belongTo(log, number, logger);
    if (created && peers !== undefined && number === 0) {
      const words =
        'this node has no data yet: a cluster begins when all of its nodes are there; where it ' +
        'was a member before, it will take another id';
      logger.warn({}, words);
    }
    const network = peers?.network(number, id);
    if (network !== undefined) life.closers.push(() => Promise.resolve(network.close()));
    const made = await RaftLog.open({
      log,
      openRepairs: (how) => this.#openRepairs(how, (error) => replica?.logFailed(error)),
      id,
      founders: this.#parts.founders(id),
      incarnation: settings.peers && log.logId,
      checkpoint: records.checkpoint,
      network: network ?? noNetwork,
      catchUp: this.#catchUp(life),
      catchUpBytesPerSecond: settings.peers?.catchUpBytesPerSecond,
      clock: raftClock,
      random: systemRandom,
      membersChanged: ({ members }) => this.#parts.membersChanged(members),
      heldBytesMax: {
        transfers: settings.runs.windowBytes * HELD_WINDOWS.transfers,
        current: settings.runs.windowBytes * HELD_WINDOWS.current,
      },
      replaced: () => this.#replaced(life),
      stranger: () => this.#stranger(life, id),
      givenUp: (by) => this.#givenUp(life, id, by),
    });
    replica = made;
    life.replica = made;
    if (early !== undefined) made.logFailed(early);
    life.closers.push(() => Promise.resolve(made.abandon()));
    return { log, replica: made, prewritten: () => zeros };
  }

  /** Small and rarely written: nothing is written ahead for it. */
  async #openRepairs(
    how: 'if-there' | 'make',
    onFailure: (error: Error) => void,
  ): Promise<Log | undefined> {
    const { folders, files } = this.#parts;
    if (how === 'if-there' && !(await folders.has('repairs'))) return undefined;
    const directory = await folders.part('repairs');
    const syncMode = 'fdatasync';
    return (await Log.open({ files, directory, now: Date.now, syncMode, onFailure })).log;
  }

  #catchUp(life: Life): CatchUpPorts {
    const { logger } = this.#parts;
    return {
      source: {
        open: (least) => life.shard?.catchUpSource.open(least) ?? Promise.resolve(undefined),
      },
      sink: this.#sink,
      checksum: (bytes) => crc32(bytes),
      failed: ({ message }) => logger.warn({ error: message }, 'a catch-up broke off'),
    };
  }
}

function newLife(): Life {
  return { closers: [], shard: undefined, replica: undefined, runs: undefined };
}

function keptRunsOf({ shard, replica, runs }: Life): KeptRuns | undefined {
  const keeping = shard?.housekeeping;
  if (keeping === undefined || replica === undefined || runs === undefined) return undefined;
  return { runs, keeping, serveFrom: replica.serveFrom };
}

export function shardLimitsOf(settings: ShardSettings): ShardLimits {
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
    ...(settings.peers && { reattachGraceMs: settings.peers.reattachGraceMs }),
    windowBytes: settings.runs.windowBytes,
    windowMessages: settings.runs.windowMessages,
    spillBufferBytes: settings.runs.spillBufferBytes,
    compactionShare: settings.runs.compactionShare,
  };
}

/** Newest first; what is closed already closes again without a word. */
async function closeAll(closers: (() => Promise<void>)[]): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close().catch(() => undefined);
}
