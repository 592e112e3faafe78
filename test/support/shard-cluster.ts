/**
 * Three shards that are replicas of each other: real logs and runs over files in memory, a network
 * of lists, a clock that the test moves, and with it every timer. A plain client speaks to the
 * shard of its own node, and is heard while that one leads; a routed one is that of the product,
 * and reaches whoever leads over links of lists.
 */

import { crc32 } from 'node:zlib';
import { onTestFinished, vi } from 'vitest';
import type { Network, NetworkListener, PeerMessage } from '#raft';
import { Log } from '../../storage/log/log.ts';
import type { LogOptions } from '../../storage/log/log-types.ts';
import { MemoryRecords } from '../../storage/records/memory-records.ts';
import { Runs } from '../../storage/runs/runs.ts';
import { ShardClient } from '../../src/shard/client.ts';
import type { ShardClientLimits } from '../../src/shard/client-options.ts';
import { type Lead, LeaderRoute, type LeaderRouteOptions } from '../../src/shard/leader-route.ts';
import { LinksOfShard } from '../../src/shard/links-of-shard.ts';
import type { BatchPort } from '../../src/shard/port.ts';
import { ShardCatchUpSink } from '../../src/shard/catch-up-sink.ts';
import type { MadeReplica, ReplicaMaker } from '../../src/shard/catch-up-sink.ts';
import { loopback } from '../../src/shard/port.ts';
import { encodeStats } from '../../src/shard/requests.ts';
import { RaftLog } from '../../src/shard/raft-log.ts';
import type { ShardToShard } from '../../src/shard/shard-to-shard.ts';
import { DEFAULT_SHARD_LIMITS } from '../../src/shard/shard-limits.ts';
import type { ShardLimits } from '../../src/shard/shard-limits.ts';
import type { ShardMap } from '../../src/machine/shard-map.ts';
import type { QueueDefinition, QueueLimits } from '../../src/machine/definitions.ts';
import type { ShardLead } from '../../src/shard/shard-options.ts';
import { Shard } from '../../src/shard/shard.ts';
import { TestClock } from '../raft/host/hosts.ts';
import { MemoryFiles } from './memory-files.ts';
import { MemoryLinks } from './memory-links.ts';
import { openRepairsLog } from './repairs-log.ts';
import { PlainClient, queue, turn } from './shard-world.ts';

interface Logger {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

const PARTS = ['data', 'repairs', 'runs'];
const TICK_MS = 10;
const STEPS_MAX = 20_000;
const QUEUE = 'orders';

export class ShardNode implements ReplicaMaker {
  readonly id: string;
  readonly #cluster: ShardCluster;
  records: MemoryRecords;
  /** Of the replica that is current; the next one is built beside it. */
  number = 1;
  replacements = 0;
  #limits: Partial<ShardLimits> = {};
  #sink = this.#newSink();
  #nextRecords: MemoryRecords;
  #nextLogId: string | undefined;
  files = new MemoryFiles();
  raftLog: RaftLog | undefined;
  log: Log | undefined;
  shard: Shard | undefined;
  client: PlainClient | undefined;
  readonly failures: Error[] = [];
  readonly errors: string[] = [];
  /** Why streams were not read from its replica any more. */
  readonly unread: string[] = [];
  /** Who leads, as the shard has told. */
  readonly told: ShardLead[] = [];
  shardMap: ShardMap | undefined;
  listener: NetworkListener | undefined;
  /** Instead of the plain one. */
  routed: ShardClient | undefined;
  #route: LeaderRoute | undefined;

  constructor(cluster: ShardCluster, id: string) {
    this.#cluster = cluster;
    this.id = id;
    this.records = new MemoryRecords(() => cluster.syncing());
    this.#nextRecords = this.records;
  }

  async start(limits: Partial<ShardLimits> = this.#limits): Promise<void> {
    this.#limits = limits;
    const { clock } = this.#cluster;
    const made: { log?: RaftLog } = {};
    const { log } = await Log.open({
      ...this.#storage(this.number),
      onFailure: (error) => made.log?.logFailed(error),
    });
    const records = await this.records.open();
    const raftLog = await RaftLog.open({
      log,
      openRepairs: (how) => this.#openRepairs(how),
      id: this.id,
      founders: { members: this.#cluster.members },
      checkpoint: records.checkpoint,
      network: this.#network(),
      catchUp: {
        source: {
          open: (least) => this.shard?.catchUpSource.open(least) ?? Promise.resolve(undefined),
        },
        sink: this.#sink,
        checksum: (bytes) => crc32(bytes),
        failed: ({ message }) => void this.errors.push(message),
      },
      clock,
      random: () => this.#cluster.random(this.id),
      heldBytesMax: this.#cluster.heldBytesMax,
      replaced: () => this.#replaced(),
    });
    made.log = raftLog;
    this.log = log;
    this.raftLog = raftLog;
    const [near, far] = loopback();
    const { isRouted } = this.#cluster;
    const logger = {
      info: () => undefined,
      warn: () => undefined,
      error: (fields: Record<string, unknown>, message: string) =>
        void this.errors.push(`${message} ${JSON.stringify(fields)}`),
    };
    this.shard = await Shard.open({
      node: this.id,
      log: raftLog,
      records,
      runs: this.#runs(this.number, log.logId),
      port: isRouted ? undefined : far,
      nodes: () => (isRouted ? this.#cluster.nodes.map(({ id }) => id) : []),
      number: this.#cluster.number,
      others: this.#cluster.others?.(this.id),
      queues: this.#cluster.queues(),
      limits: { ...DEFAULT_SHARD_LIMITS, ...limits },
      clock: { wallMs: () => 1_700_000_000_000, monotonicMs: () => clock.monotonicMs() },
      logger,
      inReserve: () => false,
      diskFull: () => undefined,
      onLead: (lead) => {
        this.told.push(lead);
        this.#route?.leads(asLead(lead));
      },
      onShardMap: (map) => {
        this.shardMap = map;
      },
      onFailure: (error) => void this.failures.push(error),
    });
    if (!isRouted) this.client = new PlainClient(near, this.id);
    else if (this.#route === undefined) this.#openRoute(far, { near, logger });
    this.#route?.opened();
  }

  #openRoute(port: BatchPort, { near, logger }: { near: BatchPort; logger: Logger }): void {
    const { links, clock } = this.#cluster;
    const serve = (session: BatchPort): boolean => this.shard?.serve(session) === true;
    const leader = (): string => '';
    const routes = (): LeaderRoute[] => [route];
    const ofShard = new LinksOfShard({
      shard: this.#cluster.number,
      logger,
      routes,
      serve,
      leader,
    });
    const route = new LeaderRoute({
      node: this.id,
      port,
      serve,
      link: (node) => ofShard.to(node),
      answer: async () => encodeStats((await this.shard?.statsOfAll()) ?? new Map()),
      after: (ms, action) => clock.after(ms, action),
      ...(this.#cluster.readsReplica ? { replica: this.#replica() } : {}),
    });
    this.#route = route;
    route.leads(asLead(this.told.at(-1) ?? { kind: 'nobody' }));
    links.join(this.id, ofShard);
    const silent = { debug: () => undefined, ...logger };
    const opening = ShardClient.open({
      port: near,
      node: this.id,
      logger: silent,
      isRouted: true,
      limits: this.#cluster.clientLimits,
      clock: { wallMs: () => 0, monotonicMs: () => clock.monotonicMs() },
      onFailed: (why) => void this.errors.push(why),
    });
    opening.then(
      (client) => {
        this.routed = client;
      },
      (error: unknown) => void this.errors.push(String(error)),
    );
  }

  #replica(): NonNullable<LeaderRouteOptions['replica']> {
    return {
      reads: () => (this.shard?.failure === undefined ? this.shard?.reads : undefined),
      told: (why) => void this.unread.push(why),
    };
  }

  /** Messages of streams that were read from its replica, since it started. */
  get messagesRead(): number {
    return this.#route?.messagesRead ?? 0;
  }

  /** For the sink: a replica beside the current one. */
  async make(
    { index, term }: { readonly index: number; readonly term: number },
    keepsRuns: boolean,
  ): Promise<MadeReplica> {
    const number = this.number + 1;
    this.#clear(number, keepsRuns ? ['data', 'repairs'] : PARTS);
    const logId = keepsRuns ? this.#nextLogId : this.raftLog?.id;
    const { log } = await Log.open({
      ...this.#storage(number),
      beginsBehind: { index, epoch: term },
      ...(logId === undefined ? {} : { newLogId: () => logId }),
      onFailure: () => undefined,
    });
    this.#nextLogId = log.logId;
    this.#nextRecords = new MemoryRecords(() => this.#cluster.syncing());
    const records = await this.#nextRecords.open();
    const makeCurrent = (): Promise<void> => {
      this.number = number;
      this.records = this.#nextRecords;
      return Promise.resolve();
    };
    return { log, records, runs: this.#runs(number, log.logId), makeCurrent };
  }

  clear(): Promise<void> {
    this.#clear(this.number + 1, PARTS);
    return Promise.resolve();
  }

  #clear(number: number, parts: readonly string[]): void {
    for (const path of this.files.paths()) {
      if (parts.some((part) => path.startsWith(`/${part}-${number}/`))) this.files.take(path);
    }
  }

  #newSink(): ShardCatchUpSink {
    return new ShardCatchUpSink(this, () => {
      const { shard, raftLog } = this;
      const keeping = shard?.housekeeping;
      if (keeping === undefined || raftLog === undefined) return undefined;
      const runs = this.#runs(this.number, raftLog.id);
      return { runs, keeping, serveFrom: raftLog.serveFrom };
    });
  }

  #replaced(): void {
    this.replacements++;
    const { shard } = this;
    this.shard = undefined;
    this.listener = undefined;
    shard
      ?.discard()
      .then(() => this.start())
      .catch((error: unknown) => void this.failures.push(error as Error));
  }

  #storage(number: number): Omit<LogOptions, 'onFailure'> {
    return {
      files: this.files,
      directory: `/data-${number}/log`,
      now: () => 0,
      segmentBytes: 16_384,
      prewriteBytes: 4096,
      idleMarkMs: 0,
    };
  }

  #runs(number: number, owner: string): Runs {
    return new Runs({
      files: this.files,
      directory: `/runs-${number}`,
      owner,
      blockBytes: 4096,
      indexCacheBytes: 4096,
      now: () => 0,
    });
  }

  /** The power goes. `keepUnderWay`: a checkpoint that was being written is there all the same. */
  crash(keepUnderWay = false): void {
    this.raftLog?.abandon();
    this.listener = undefined;
    this.#cluster.links.leave(this.id);
    this.routed?.close();
    this.routed = undefined;
    this.#route?.close();
    this.#route = undefined;
    this.shard = undefined;
    this.client = undefined;
    this.files = this.files.crash();
    this.records.crash(keepUnderWay);
    this.#sink = this.#newSink();
  }

  get leads(): boolean {
    return this.shard?.serves === true;
  }

  get applied(): number {
    return this.shard?.appliedIndex ?? 0;
  }

  stat(name: string): number | undefined {
    return this.shard?.stats().get(name);
  }

  #openRepairs(how: 'if-there' | 'make'): Promise<Log | undefined> {
    const onFailure = (error: Error): void => this.raftLog?.logFailed(error);
    const directory = `/repairs-${this.number}/log`;
    return openRepairsLog({ files: this.files, directory, onFailure }, how);
  }

  #network(): Network {
    return {
      send: (message) => this.#cluster.send(this.id, message),
      hasRoom: () => true,
      listen: (listener) => {
        this.listener = listener;
      },
    };
  }
}

function asLead(lead: ShardLead): Lead {
  return lead.kind === 'there' ? { kind: 'there', node: lead.server } : lead;
}

export class ShardCluster {
  readonly nodes: readonly ShardNode[];
  readonly members;
  readonly clock: TestClock;
  readonly cut = new Set<string>();
  readonly links = new MemoryLinks();
  readonly isRouted: boolean;
  readonly clientLimits: Partial<ShardClientLimits>;
  queueLimits: Partial<QueueLimits> = {};
  queueType: 'classic' | 'stream' = 'classic';
  /** Of the shard. */
  number = 0;
  /** The other shards, as the one at a node sees them. */
  others: ((node: string) => ShardToShard) | undefined;
  /** Of the file. */
  queues: () => readonly QueueDefinition[] = () => [
    { ...queue(QUEUE, this.queueLimits), type: this.queueType },
  ];
  /** Awaited by each write of records before it is durable. */
  syncing: () => Promise<void> = () => Promise.resolve();
  /** Streams are read from the replica of each node. */
  readsReplica = true;
  heldBytesMax = { transfers: Number.MAX_SAFE_INTEGER, current: Number.MAX_SAFE_INTEGER };
  /** Of what would be delivered; false: it is lost. */
  passes: (message: PeerMessage) => boolean = () => true;
  #onTheirWay: PeerMessage[] = [];
  #draws = 0;

  constructor(
    ids: readonly string[] = ['a', 'b', 'c'],
    routed?: Partial<ShardClientLimits>,
    clock = new TestClock(),
  ) {
    this.clock = clock;
    this.isRouted = routed !== undefined;
    this.clientLimits = routed ?? {};
    this.members = ids.map((id) => ({ id, role: 'voter', address: id }) as const);
    this.nodes = ids.map((id) => new ShardNode(this, id));
  }

  async start(limits: Partial<ShardLimits> = {}): Promise<void> {
    // A timer of real time would come after any number of steps.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    for (const node of this.nodes) await node.start(limits);
  }

  node(id: string): ShardNode {
    const found = this.nodes.find((node) => node.id === id);
    if (found === undefined) throw new Error(`no node ${id}`);
    return found;
  }

  random(id: string): number {
    this.#draws += 1;
    const draw = Math.imul(this.#draws * 2654435761 + id.charCodeAt(0), 40503) >>> 0;
    return draw / 0x1_0000_0000;
  }

  send(from: string, message: PeerMessage): boolean {
    if (!this.cut.has(`${from}>${message.to}`)) this.#onTheirWay.push(message);
    return true;
  }

  isolate(id: string): void {
    for (const { id: other } of this.nodes) {
      if (other === id) continue;
      this.cut.add(`${id}>${other}`).add(`${other}>${id}`);
    }
    this.links.isolate(id);
  }

  /** `passedMs` of time pass. */
  async step(passedMs = TICK_MS): Promise<void> {
    for (const message of this.#onTheirWay.splice(0)) {
      if (this.passes(message)) this.node(message.to).listener?.received(message);
    }
    this.links.carry();
    for (let turns = 0; turns < 4; turns++) await turn();
    this.clock.advance(passedMs);
    vi.advanceTimersByTime(passedMs);
  }

  async until(holds: () => boolean): Promise<void> {
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      if (holds()) return;
      await this.step();
    }
    throw new Error(`it never came to hold: ${holds.toString()}`);
  }

  /** Time passes until it is settled. */
  async done<T>(promise: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => void (isOver = true);
    promise.then(over, over);
    await this.until(() => isOver);
    return promise;
  }

  /** Everybody reaches everybody again. */
  heal(): void {
    this.cut.clear();
    this.links.heal();
  }

  /** The client of this node, when it has reached a leader once. */
  async routedClient(id: string): Promise<ShardClient> {
    await this.until(() => this.node(id).routed !== undefined);
    return this.node(id).routed as ShardClient;
  }

  /** One that serves. */
  async leading(but?: ShardNode): Promise<ShardNode> {
    const find = (): ShardNode | undefined => this.nodes.find((node) => node.leads && node !== but);
    await this.until(() => find() !== undefined);
    return find() as ShardNode;
  }

  /** One that serves, and whose client has been heard. */
  async leader(
    but?: ShardNode,
  ): Promise<{ node: ShardNode; client: PlainClient; queueId: number }> {
    const find = (): ShardNode | undefined => this.nodes.find((node) => node.leads && node !== but);
    await this.until(() => find() !== undefined);
    const node = find() as ShardNode;
    const client = node.client as PlainClient;
    client.hello();
    await this.until(() => client.boot > 0 && client.knowsAll);
    return { node, client, queueId: client.queues.get(QUEUE) ?? -1 };
  }
}
