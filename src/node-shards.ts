/**
 * The durable shards of one node: shard 0, which has the map of the others, and of those each that
 * the map has. To every one leads a way from here; a replica of it lies here where the map names
 * this node as its host.
 *
 * Shard 0 is opened first. What its map names at the start is opened before the start is over, and
 * what comes later when it comes; a shard never goes again while the process lives. Where a row
 * names this node no more, its replica takes part until the others have removed it, keeps its
 * files, and is not opened at the next start.
 */

import type { Configuration, Member } from '#raft';
import type { DataDirectory, DiskReserve, Files } from '#storage';
import type { ReplicaPeers } from './cluster/peer-transport.ts';
import { nodeOf } from './cluster/server-id.ts';
import { writeAddress } from './config/values.ts';
import { DurableShard } from './durable-shard.ts';
import { Forwarding } from './forward-host.ts';
import { foundersOfRow, foundersOfZero } from './founders.ts';
import { LeaderBalance } from './leader-balance.ts';
import type { OpenRecords } from './next-replica.ts';
import { SHARDS_MAX } from './machine/ids.ts';
import type { ShardMap, ShardRow } from './machine/shard-map.ts';
import type { ShardSettings } from './options.ts';
import type { ThreadPulse } from './ops/thread-pulse.ts';
import { peerPlaces } from './peer-places.ts';
import { ReplicaFolders } from './replica-folders.ts';
import { LinksByShard } from './shard/links-by-shard.ts';
import type { OtherShards } from './shard/other-shards.ts';
import type { BatchPort } from './shard/port.ts';
import type { RaftLog } from './shard/raft-log.ts';
import type { Logger } from './telemetry/logger.ts';

export interface NodeShardsParts {
  readonly settings: ShardSettings;
  /** To the client of shard 0. */
  readonly port: BatchPort;
  /** To that of another one, which the main thread hears of by this call. */
  openPort(shard: number): BatchPort;
  /** Of a shard, where there are several. */
  others(shard: number): OtherShards;
  readonly logger: Logger;
  readonly pulse?: ThreadPulse;
  readonly onFailure: (error: Error) => void;
  readonly files: Files;
  readonly openRecords: OpenRecords;
  readonly data: DataDirectory;
  readonly reserve: DiskReserve;
  /** Undefined: this node is alone. */
  readonly peers: ReplicaPeers | undefined;
}

/** One shard, as this node has it. */
export interface ShardHere {
  readonly number: number;
  readonly forwarding: Forwarding;
  readonly balance: LeaderBalance;
  readonly port: BatchPort;
  /** Undefined: of shard 0. */
  row: ShardRow | undefined;
  /** Undefined: there is no replica here, or it is not open yet. */
  durable: DurableShard | undefined;
  isOpening: boolean;
}

const NO_MEMBERS: readonly Member[] = [];

export class NodeShards {
  readonly #parts: NodeShardsParts;
  readonly #links: LinksByShard | undefined;
  readonly #shards = new Map<number, ShardHere>();
  /** Members of each shard that has a replica here. */
  readonly #members = new Map<number, readonly Member[]>();
  #map: ShardMap = [];
  /** One after the other. */
  #opening: Promise<void> = Promise.resolve();
  #isOpen = false;
  #isStopped = false;

  /** Rejects where a shard that belongs here cannot be opened; then nothing is left open. */
  static async open(parts: NodeShardsParts): Promise<NodeShards> {
    const shards = new NodeShards(parts);
    const zero = shards.#add(0, parts.port);
    try {
      await shards.#openSoon(zero);
      // Those that the map of shard 0 has named meanwhile.
      await shards.#opening;
    } catch (error) {
      await shards.abandon();
      throw error;
    }
    shards.#isOpen = true;
    return shards;
  }

  private constructor(parts: NodeShardsParts) {
    this.#parts = parts;
    if (parts.peers === undefined) return;
    const links = new LinksByShard(SHARDS_MAX);
    this.#links = links;
    parts.peers.link({
      opened: (end) => links.opened(end),
      accepted: (end) => links.accepted(end),
    });
  }

  get map(): ShardMap {
    return this.#map;
  }

  get all(): Iterable<ShardHere> {
    return this.#shards.values();
  }

  of(number: number): ShardHere | undefined {
    return this.#shards.get(number);
  }

  /** Those that run, by shard. */
  get replicas(): ReadonlyMap<number, RaftLog> {
    const running = new Map<number, RaftLog>();
    for (const { number, durable } of this.#shards.values()) {
      if (durable?.replica !== undefined) running.set(number, durable.replica);
    }
    return running;
  }

  /** Of shard 0, and so of the cluster. */
  get members(): readonly Member[] {
    return this.#members.get(0) ?? NO_MEMBERS;
  }

  /** Whether this node is to have a replica. */
  isHost({ hosts }: ShardRow): boolean {
    const { node, peers } = this.#parts.settings;
    // Alone it may have had another name.
    return peers === undefined || hosts.includes(node);
  }

  /** For a start that is refused: nothing is written any more. */
  async abandon(): Promise<void> {
    await this.#end((durable) => durable.abandon());
  }

  /** All at once: each hands over where it leads. Rejects when one of them failed. */
  async stop(): Promise<void> {
    await this.#end((durable) => durable.stop());
  }

  async #end(how: (durable: DurableShard) => Promise<void>): Promise<void> {
    this.#isStopped = true;
    await this.#opening.catch(() => undefined);
    const all = [...this.#shards.values()];
    const open = all.flatMap(({ durable }) => durable ?? []);
    const ended = await Promise.allSettled(open.map((durable) => how(durable)));
    for (const { forwarding } of all) forwarding.close();
    const failed = ended.find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  #add(number: number, port: BatchPort): ShardHere {
    const { settings, peers, logger } = this.#parts;
    const forwarding = new Forwarding({
      number,
      node: settings.node,
      // Alone, its client speaks to the shard itself.
      port: peers === undefined ? undefined : port,
      links: this.#links,
      logger,
      readsReplica: settings.peers?.readsReplica === true,
    });
    const shard: ShardHere = {
      number,
      forwarding,
      balance: new LeaderBalance(),
      port,
      row: undefined,
      durable: undefined,
      isOpening: false,
    };
    this.#shards.set(number, shard);
    return shard;
  }

  /** In a turn of shard 0. */
  #mapTold(map: ShardMap): void {
    if (this.#isStopped) return;
    this.#map = map;
    for (const row of map) {
      const { number } = row;
      const shard = this.#shards.get(number) ?? this.#add(number, this.#parts.openPort(number));
      shard.row = row;
      shard.forwarding.hosts(row.hosts);
      if (!this.isHost(row) || shard.isOpening) continue;
      this.#openSoon(shard).catch((error: unknown) => {
        // Before, the start is refused by it.
        if (!this.#isOpen) return;
        this.#parts.onFailure(error instanceof Error ? error : new Error(String(error)));
      });
    }
  }

  #openSoon(shard: ShardHere): Promise<void> {
    shard.isOpening = true;
    this.#opening = this.#opening.then(() => this.#open(shard));
    return this.#opening;
  }

  async #open(shard: ShardHere): Promise<void> {
    if (this.#isStopped) return;
    const { settings, peers, data, logger, pulse, reserve, onFailure } = this.#parts;
    const { files, openRecords } = this.#parts;
    const { number, forwarding, row, balance, port } = shard;
    shard.durable = await DurableShard.open({
      number,
      settings,
      port: peers === undefined ? port : undefined,
      logger,
      ...(pulse === undefined ? {} : { pulse }),
      onFailure,
      files,
      openRecords,
      folders: await ReplicaFolders.open(files, data, number),
      reserve,
      peers,
      forwarding,
      others: () => (this.#areSeveral ? this.#parts.others(number) : undefined),
      founders: (id) => this.#foundersOf(row, id),
      joins: row === undefined ? settings.peers?.joins === true : !this.#isFounder(row),
      nodes: () => (peers === undefined ? [] : this.members.map(({ id }) => nodeOf(id))),
      membersChanged: (members) => this.#membersChanged(number, members),
      isHosted: (server) => shard.row?.hosts.includes(nodeOf(server)) !== false,
      mayLeave: (server) => number !== 0 || this.#mayLeave(server),
      transferred: () => balance.pause(performance.now()),
      ...(number === 0 ? { onShardMap: (map) => this.#mapTold(map) } : {}),
    });
  }

  /** Or may become so at any time. */
  get #areSeveral(): boolean {
    const { peers, shards } = this.#parts.settings;
    return peers !== undefined || shards.count > 1 || this.#map.length > 0;
  }

  /** No other shard is to lie on its node, or another replica of that stays in shard 0. */
  #mayLeave(server: string): boolean {
    const node = nodeOf(server);
    const isHost = this.#map.some(({ hosts }) => hosts.includes(node));
    return !isHost || this.members.some(({ id }) => id !== server && nodeOf(id) === node);
  }

  #isFounder({ founders }: ShardRow): boolean {
    return founders.includes(this.#parts.settings.node);
  }

  #foundersOf(row: ShardRow | undefined, id: string): Configuration {
    const { settings } = this.#parts;
    const { node, peers } = settings;
    if (row === undefined) return foundersOfZero(settings, id);
    if (peers === undefined) return { members: [{ id: node, role: 'voter', address: '' }] };
    const addressOf = (founder: string): string => {
      const member = this.members.find((each) => nodeOf(each.id) === founder);
      const place = peers.nodes.find((each) => each.id === founder);
      return place === undefined ? (member?.address ?? '') : writeAddress(place);
    };
    return foundersOfRow(row, { node, id }, addressOf);
  }

  #membersChanged(shard: number, members: readonly Member[]): void {
    this.#members.set(shard, members);
    const { settings, peers } = this.#parts;
    const all = [...this.#members.entries()].toSorted(([a], [b]) => a - b);
    if (settings.peers === undefined) return;
    peers?.setPeers(
      peerPlaces(
        settings.peers,
        all.flatMap(([, each]) => each),
      ),
    );
  }
}
