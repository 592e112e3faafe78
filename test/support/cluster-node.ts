/**
 * One node of a simulated cluster through its lives: the shards of the product with all that
 * composes them (`NodeShards`, `DurableShard`, `ShardKeeper`, `ClusterOperator`), over a disk and a
 * network in memory, with the clients of the product. Timers, time and randomness are those of the
 * system, which whoever uses this has replaced.
 *
 * A power cut may come at any point, also while the node starts. What its processes promised to
 * the disk is decided there; nothing of that life is heard any more.
 */

import type { Random } from '../../raft/simulation/random.ts';
import type { Status } from '../../raft/raft.ts';
import type { StorageError } from '../../storage/errors.ts';
import { DiskReserve } from '../../storage/disk-reserve.ts';
import type { Files } from '../../storage/files.ts';
import { openDataDirectory } from '../../storage/data-directory.ts';
import type { ClusterAdmin } from '../../src/admin/cluster-port.ts';
import type { ShardHere } from '../../src/node-shards.ts';
import { NodeShards } from '../../src/node-shards.ts';
import type { ShardSettings } from '../../src/options.ts';
import { ShardClient } from '../../src/shard/client.ts';
import type { ShardClientLimits } from '../../src/shard/client-options.ts';
import { type BatchPort, loopback } from '../../src/shard/port.ts';
import { QueueClients } from '../../src/shard/queue-clients.ts';
import type { RaftLog } from '../../src/shard/raft-log.ts';
import { ShardToShard } from '../../src/shard/shard-to-shard.ts';
import { newOperator } from '../../src/shard-host.ts';
import { ShardKeeper } from '../../src/shard-keeper.ts';
import type { Logger } from '../../src/telemetry/logger.ts';
import type { MemoryPeers, NodePeers } from './memory-peers.ts';
import { PromptDisk } from './prompt-disk.ts';
import { RecordsOnDisk } from './records-on-disk.ts';
import { turn } from './shard-world.ts';

export const DATA = '/data';
/** The least that there may be. */
const RESERVE_BYTES = 128 * 1024;
/** Of the event loop, that a checkpoint takes. */
const SYNC_TURNS = 12;

export interface ClusterNodeOptions {
  readonly id: string;
  readonly random: Random;
  readonly peers: MemoryPeers;
  /** As of a start. */
  settings(): ShardSettings;
  /** Where the others reach it. */
  readonly address: string;
  readonly clientLimits: Partial<ShardClientLimits>;
  /** Of queues that nobody uses, and that outlive every life. */
  readonly inMemory: ShardClient;
  /** A line of its log. */
  readonly said: (words: string, fields: object) => void;
}

/** From a start to the next power cut. */
interface Life {
  readonly peers: NodePeers;
  readonly clients: Map<number, ShardClient>;
  readonly ports: BatchPort[];
  /** Called when it is over. */
  readonly ended: (() => void)[];
  client: QueueClients | undefined;
  shards: NodeShards | undefined;
  keeper: ShardKeeper | undefined;
  cluster: ClusterAdmin | undefined;
  isOver: boolean;
}

export class ClusterNode {
  readonly id: string;
  readonly address: string;
  readonly disk: PromptDisk;
  /** Why its process is to end. */
  readonly failures: Error[] = [];
  readonly #options: ClusterNodeOptions;
  readonly #records: RecordsOnDisk;
  #life: Life | undefined;

  constructor(options: ClusterNodeOptions) {
    const { id, random, address } = options;
    this.id = id;
    this.address = address;
    this.#options = options;
    this.disk = new PromptDisk(random.stream('disk'));
    const syncing = random.stream('records');
    this.#records = new RecordsOnDisk(async () => {
      for (let turns = syncing.below(SYNC_TURNS); turns > 0; turns -= 1) await turn();
    });
  }

  /** Resolves when it is open; never, if the power goes first. */
  async start(): Promise<void> {
    const life = this.#begin();
    const { address } = this.#options;
    const settings = this.#options.settings();
    const files = this.disk.mount();
    const data = await openDataDirectory({ files, directory: DATA, now: Date.now, lock: noLock });
    const directory = data.path;
    const onChange = (): void => undefined;
    const reserve = await DiskReserve.open({
      files,
      directory,
      onChange,
      leastBytes: RESERVE_BYTES,
      reserveBytes: RESERVE_BYTES,
      fileBytes: RESERVE_BYTES / 2,
    });
    life.peers.setPeers(settings.peers?.nodes ?? []);
    const logger = this.#logger(life);
    const shards = await NodeShards.open({
      settings,
      port: this.#openPort(life, 0),
      openPort: (shard) => this.#openPort(life, shard),
      others: (own) => new ShardToShard({ own, client: (shard) => life.clients.get(shard) }),
      logger,
      onFailure: (error) => {
        if (!life.isOver) this.failures.push(error);
      },
      files,
      openRecords: this.#records.open,
      data,
      reserve,
      peers: life.peers,
    });
    life.shards = shards;
    life.keeper = new ShardKeeper({ settings, shards, address, logger });
    life.cluster = newOperator(settings, life.peers, shards);
  }

  /** `keep`: the chance of what was not synced. Nothing where it is down. */
  cut(keep: number, keepUnderWay: boolean): void {
    const life = this.#life;
    this.#life = undefined;
    if (life !== undefined) this.#end(life);
    this.disk.cutPower(keep);
    this.#records.crash(keepUnderWay);
    this.failures.length = 0;
  }

  /** Of one that is down: another disk takes the place of its own. */
  wipe(): void {
    this.disk.wipe();
  }

  /** Undefined: it is down, or opens its shards. */
  get shards(): NodeShards | undefined {
    return this.#life?.shards;
  }

  /** What an operator asks it; undefined as `shards`. */
  get cluster(): ClusterAdmin | undefined {
    return this.#life?.cluster;
  }

  /** Undefined: it has not reached a leader of shard 0 yet. */
  get client(): QueueClients | undefined {
    return this.#life?.client;
  }

  clientOf(shard: number): ShardClient | undefined {
    return this.#life?.clients.get(shard);
  }

  part(shard: number): ShardHere | undefined {
    return this.shards?.of(shard);
  }

  leads(shard: number): boolean {
    return this.part(shard)?.durable?.shard?.serves === true;
  }

  /** What its replica says of itself; undefined: there is none, or it is being opened. */
  replica(shard: number): Status | undefined {
    return this.raft(shard)?.status();
  }

  raft(shard: number): RaftLog | undefined {
    return this.part(shard)?.durable?.replica;
  }

  /** The name of its replica. */
  serverId(shard: number): string | undefined {
    return this.replica(shard)?.id;
  }

  /** Rejects when the power goes. */
  whileUp<Value>(action: Promise<Value>): Promise<Value> {
    const life = this.#life;
    return new Promise((resolve, reject) => {
      const over = (): void => reject(new PowerIsGone(this.id));
      if (life === undefined) over();
      life?.ended.push(over);
      action.then(resolve, reject);
    });
  }

  failNextCheckpoint(error: StorageError): void {
    this.#records.failNextWrite(error, (all) => this.#options.random.pick(all));
  }

  /** Folders in which a catch-up builds a replica now, whether they are there or not. */
  nextFolders(): readonly string[] {
    return this.disk.names
      .children(DATA)
      .filter((name) => name.startsWith('shard-'))
      .map((name) => {
        const current = this.disk.textOf(`${DATA}/${name}/current`) ?? '';
        const number = Number(/\d+/.exec(current)?.[0] ?? 0);
        return `${DATA}/${name}/replica-${number + 1}`;
      });
  }

  /** Something was spilled into a run, which is there. */
  get hasRuns(): boolean {
    const { names } = this.disk;
    return names.children(`${DATA}/shard-0/runs`).length > 0;
  }

  get isBuilding(): boolean {
    const { names } = this.disk;
    return this.nextFolders().some((folder) => names.children(`${folder}/log`).length > 0);
  }

  #begin(): Life {
    const { peers, id } = this.#options;
    const life: Life = {
      peers: peers.join(id),
      clients: new Map(),
      ports: [],
      ended: [],
      client: undefined,
      shards: undefined,
      keeper: undefined,
      cluster: undefined,
      isOver: false,
    };
    this.#life = life;
    return life;
  }

  #end(life: Life): void {
    life.isOver = true;
    life.keeper?.stop();
    for (const { durable, forwarding } of life.shards?.all ?? []) {
      durable?.replica?.abandon();
      forwarding.close();
    }
    for (const client of life.clients.values()) client.close();
    for (const port of life.ports) port.close();
    this.#options.peers.leave(this.id);
    for (const tell of life.ended.splice(0)) tell();
  }

  /** Of the shard; its client is there as soon as a leader is reached. */
  #openPort(life: Life, shard: number): BatchPort {
    const { clientLimits, id } = this.#options;
    const [port, far] = loopback();
    life.ports.push(port);
    const onFailed = (why: string): void => {
      if (!life.isOver) this.failures.push(new Error(why));
    };
    const logger = this.#logger(life);
    const limits = clientLimits;
    const opening = ShardClient.open({
      port,
      node: id,
      logger,
      isRouted: true,
      limits,
      onFailed,
    });
    opening.then(
      (client) => this.#reached(life, shard, client),
      (error: Error) => onFailed(error.message),
    );
    return far;
  }

  #reached(life: Life, shard: number, client: ShardClient): void {
    if (life.isOver) return;
    life.clients.set(shard, client);
    const { ackTimeoutMs } = this.#options.clientLimits;
    if (shard === 0) {
      life.client = new QueueClients(client, this.#options.inMemory, {
        isShared: true,
        ackTimeoutMs,
      });
    }
    const behindZero = shard === 0 ? [...life.clients.keys()] : [shard];
    for (const number of behindZero) {
      if (number !== 0) life.client?.addShard(number, life.clients.get(number) as ShardClient);
    }
  }

  #logger(life: Life): Logger {
    const say = (fields: object, words: string): void => {
      if (!life.isOver) this.#options.said(words, fields);
    };
    return { debug: () => undefined, info: say, warn: say, error: say };
  }
}

/** Its power is all that a process of it can lose. */
async function noLock(folder: string, files: Files): Promise<{ release(): Promise<void> }> {
  await files.makeDirectory(folder);
  return { release: () => Promise.resolve() };
}

/** Of a node on which somebody waited for an answer. */
export class PowerIsGone extends Error {
  constructor(node: string) {
    super(`the power of ${node} is gone`);
  }
}
