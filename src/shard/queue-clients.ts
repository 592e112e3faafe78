/**
 * One `QueueClient` over all shards: shard 0, those behind it, and the one whose queues live in
 * memory. A queue's id tells in which it is.
 *
 * A publish to one shard goes straight to the client of that shard. One that goes to several is
 * told once, when all of them know (`Joiner`); it is not atomic. The outcomes of different shards
 * have no common order. Keys are released wherever they may be (`KeyedSessions`). A queue that no
 * shard shows is looked for by `lookUp`, in a cluster alone (`LookUps`).
 *
 * Nothing is stored here. Shards are added while it runs, and never go. What needs all of them
 * waits for those that there are and that were not added yet (`ReachedShards`).
 */

import {
  AdminError,
  type ConsumeRequest,
  type ConsumerSink,
  type EnqueueWaiter,
  type EnqueueWish,
  type Origin,
  type PublishKey,
  type PublishPart,
  type QueueClient,
  type QueueConsumer,
  type QueueDirectory,
  type QueueInfo,
  type RetainedSource,
  type SettleRequest,
  type SettleWaiter,
} from '../broker/ports.ts';
import type { Message } from '../broker/message.ts';
import { MAX_TARGETS } from '../machine/command.ts';
import { type QueueId, firstQueueIdOf, shardOf } from '../machine/ids.ts';
import { AdminOfAll } from './admin-of-all.ts';
import type { ShardClient } from './client.ts';
import { SHARD_CLIENT_DEFAULTS } from './client-options.ts';
import { DirectoryOfAll } from './directory-of-all.ts';
import { Joiner } from './joiner.ts';
import { KeyedSessions } from './keyed-sessions.ts';
import { KeysInMemory } from './keys-in-memory.ts';
import { LookUps } from './look-ups.ts';
import { keyedPartsOf, partsOf, type Targeted } from './publish-parts.ts';
import { ReachedShards } from './reached-shards.ts';
import { RouteFreshness } from './route-freshness.ts';
import { SessionsOfAll } from './session-store.ts';
import { systemClock } from './stamp-clock.ts';
import { isInMemory } from './volatile-ids.ts';
import { CodecError } from './wire.ts';

const FIRST_ID_BEHIND_ZERO = firstQueueIdOf(1);

type GoneListener = Parameters<QueueClient['onGone']>[0];

export interface QueueClientsOptions {
  /** Other nodes change the queues too; default no. */
  readonly isShared?: boolean;
  /** How long a queue that is not known is looked for; default as that of a publish. */
  readonly ackTimeoutMs?: number | undefined;
  /** Durable sessions that there may be, on all nodes; default no bound. */
  readonly maxSessions?: number | undefined;
  /** By which routes are current or not; default that of the system. */
  readonly monotonicMs?: () => number;
}

export class QueueClients implements QueueClient {
  readonly isShared: boolean;
  readonly freshness: RouteFreshness | undefined;
  readonly admin: AdminOfAll;
  readonly sessions: SessionsOfAll;
  readonly queues: QueueDirectory;
  readonly #zero: ShardClient;
  readonly #inMemory: ShardClient;
  /** Behind shard 0, by number. */
  readonly #others = new Map<number, ShardClient>();
  /** Both, and the others in the order in which they came. */
  readonly #all: ShardClient[];
  readonly #shards: ReachedShards;
  /** Of each client the list of it alone. */
  readonly #alone = new Map<ShardClient, readonly ShardClient[]>();
  readonly #keys: KeyedSessions<ShardClient>;
  readonly #keysInMemory: KeysInMemory;
  readonly #joiner: Joiner;
  readonly #lookUps: LookUps;
  readonly #writableListeners: (() => void)[] = [];
  #goneListener: GoneListener | undefined;

  constructor(zero: ShardClient, inMemory: ShardClient, options: QueueClientsOptions = {}) {
    this.#zero = zero;
    this.#inMemory = inMemory;
    this.#all = [zero, inMemory];
    for (const client of this.#all) this.#alone.set(client, [client]);
    this.isShared = options.isShared === true;
    const timeoutMs = options.ackTimeoutMs ?? SHARD_CLIENT_DEFAULTS.ackTimeoutMs;
    if (this.isShared) {
      const now = options.monotonicMs ?? ((): number => systemClock.monotonicMs());
      this.freshness = new RouteFreshness({ timeoutMs, now });
      this.freshness.add({ table: zero.queues, barrier: () => this.#zeroIsKnown() });
    }
    this.#shards = new ReachedShards({
      map: () => zero.places.shardMap(),
      isClosed: () => zero.isClosed,
      isShared: this.isShared,
      timeoutMs,
    });
    this.#keys = new KeyedSessions(
      zero,
      () => this.#all,
      () => this.#isNoneMissing(),
    );
    this.#keysInMemory = new KeysInMemory({
      isShared: this.isShared,
      sessionsMax: options.maxSessions ?? Number.POSITIVE_INFINITY,
      end: (name) => inMemory.endSession(name),
      over: (shard, sessions) => this.#overIn(shard, sessions),
    });
    this.#joiner = new Joiner((key) => this.#keys.released(key));
    this.#lookUps = new LookUps({
      where: async (name) => (await zero.places.where(name))?.shard,
      barrier: (shard) => this.#barrierOf(shard, timeoutMs),
      timeoutMs,
    });
    this.queues = new DirectoryOfAll({ all: this.#all, of: (queueId) => this.#of(queueId) });
    this.admin = new AdminOfAll({
      zero,
      inMemory,
      others: this.#others,
      missing: () => this.#shards.missing(),
      lookUp: this.isShared ? (name) => this.lookUp(name) : undefined,
    });
    this.sessions = new SessionsOfAll({
      queues: this.queues,
      shardOf: (queueId) => this.#of(queueId),
      unreached: this.#shards.doneWithout,
      lookUp: this.isShared ? (name) => this.lookUp(name) : undefined,
      declare: (definition) => this.admin.declareSession(definition),
      maxSessions: options.maxSessions ?? Number.POSITIVE_INFINITY,
      keysAreEverywhere: (session, ownerEpoch) => {
        this.#keys.everywhere(session, ownerEpoch);
        this.#keysInMemory.claimed(session, ownerEpoch);
      },
      keyIsIn: (queueId, key) => this.#noteKey({ ownerEpoch: 0, ...key }, this.#of(queueId)),
      keysAreForgotten: (session, ownerEpoch) => this.#keys.forget(session, ownerEpoch),
      enqueue: (queueId, replayed, waiter) => {
        const { message, origin, step } = replayed;
        this.enqueue([queueId], message, origin, waiter, step.at, step);
      },
      endKeys: (session) => {
        for (const client of this.#all) if (client !== inMemory) client.endSession(session);
        this.#keysInMemory.ended(session);
        this.#keys.ended(session);
      },
    });
    this.sessions.addShard(zero);
  }

  /**
   * The shard is there from now on; its client is open, and is closed and stopped by this. True:
   * the start went on without it.
   */
  addShard(number: number, client: ShardClient): boolean {
    this.#others.set(number, client);
    this.#all.push(client);
    this.#alone.set(client, [client]);
    this.sessions.addShard(client);
    const barrier = (): Promise<boolean> => client.places.barrier().then(() => true);
    this.freshness?.add({ table: client.queues, barrier });
    for (const listener of this.#writableListeners) client.onWritable(listener);
    if (this.#goneListener !== undefined) client.onGone(this.#goneListener);
    return this.#shards.add(number);
  }

  /** `ReachedShards.complete`: before that nobody knows which topics the queues capture. */
  complete(withinMs: number, signal?: AbortSignal): Promise<readonly number[]> {
    return this.#shards.complete(withinMs, signal);
  }

  /** Resolves when so many shards can be spoken to, or that takes longer than `withinMs`. */
  reached(count: number, withinMs: number): Promise<void> {
    const behindZero = Array.from({ length: count - 1 }, (_none, nth) => nth + 1);
    return this.#shards.reached(behindZero, withinMs);
  }

  /** That can be spoken to, without the one in memory. */
  get shardCount(): number {
    return this.#others.size + 1;
  }

  /** Of a queue that is in a log; undefined: none that this node was told of. */
  loggedType(name: string): QueueInfo['type'] | undefined {
    for (const { queues } of [this.#zero, ...this.#others.values()]) {
      const found = queues.named(name);
      if (found !== undefined) return found.type;
    }
    return undefined;
  }

  get retained(): RetainedSource {
    return this.#zero.retained;
  }

  get isClosed(): boolean {
    return this.#zero.isClosed;
  }

  /**
   * As a barrier of shard 0; false: there is a shard that cannot be spoken to yet, and queues of it
   * may capture what is published.
   */
  async #zeroIsKnown(): Promise<boolean> {
    const map = await this.#zero.places.shardMap();
    return map.every(({ number }) => number === 0 || this.#others.has(number));
  }

  /** False: a shard that there is cannot be spoken to in time, or nobody knows. */
  #isNoneMissing(): Promise<boolean> {
    return this.#shards.missing().then(
      (missing) => missing.length === 0,
      (error: unknown) => {
        if (error instanceof AdminError || error instanceof CodecError) return false;
        throw error;
      },
    );
  }

  /** Lives that are over, of sessions of this shard; none: nobody says so. */
  #overIn(shard: number, lives: readonly string[]): Promise<readonly string[]> {
    const client = shard === 0 ? this.#zero : this.#others.get(shard);
    if (client === undefined) return Promise.resolve([]);
    return client.places.overKeys(lives).catch((error: unknown) => {
      if (error instanceof AdminError || error instanceof CodecError) return [];
      throw error;
    });
  }

  /** When it was added. */
  async #barrierOf(shard: number, withinMs: number): Promise<void> {
    await this.#shards.reached(shard === 0 ? [] : [shard], withinMs);
    const client = shard === 0 ? this.#zero : this.#others.get(shard);
    if (client === undefined) throw new AdminError('unavailable', `shard ${shard} is not reached`);
    await client.places.barrier();
  }

  get leader(): string {
    return this.#zero.leader;
  }

  get version(): number {
    let version = 0;
    for (const client of this.#all) version += client.version;
    return version;
  }

  get writable(): boolean {
    for (const client of this.#all) if (!client.writable) return false;
    return true;
  }

  onWritable(listener: () => void): void {
    const told = (): void => {
      if (this.writable) listener();
    };
    this.#writableListeners.push(told);
    for (const client of this.#all) client.onWritable(told);
  }

  /** Not of one that went to several shards: the others may have stored it. */
  onGone(listener: GoneListener): void {
    this.#goneListener = (gone) => gone.waiter !== this.#joiner && listener(gone);
    for (const client of this.#all) client.onGone(this.#goneListener);
  }

  lookUp(name: string): Promise<boolean> {
    return this.isShared ? this.#lookUps.find(name) : Promise.resolve(true);
  }

  enqueue(
    targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
    key?: EnqueueWish,
  ): void {
    const client = targets.length > MAX_TARGETS ? undefined : this.#ofAll(targets);
    if (client === undefined) {
      this.#enqueueApart(targets, message, { origin, waiter, tag, key });
      return;
    }
    const ownKey = publishKeyIn(key);
    if (ownKey === undefined) {
      client.enqueue(targets, message, origin, waiter, tag, key);
      return;
    }
    this.#noteKey(ownKey, client);
    client.enqueue(targets, message, origin, waiter, tag, this.#keyFor(client, ownKey));
  }

  /** As this shard is told the key of a publish. */
  #keyFor(client: ShardClient, key: PublishKey): PublishKey {
    return client === this.#inMemory ? this.#keysInMemory.published(key) : key;
  }

  /** The shard in which all of them are. */
  #ofAll(targets: readonly QueueId[]): ShardClient | undefined {
    const [first] = targets;
    if (first === undefined) return this.#zero;
    const client = this.#of(first);
    for (let at = 1; at < targets.length; at++) {
      if (this.#of(targets[at] as QueueId) !== client) return undefined;
    }
    return client;
  }

  #enqueueApart(
    targets: readonly QueueId[],
    message: Message,
    from: {
      readonly origin: Origin;
      readonly waiter: EnqueueWaiter;
      readonly tag: number;
      readonly key: EnqueueWish | undefined;
    },
  ): void {
    const { origin, waiter, tag, key } = from;
    const parts = new Map<ShardClient, QueueId[]>();
    for (const target of targets) {
      const client = this.#of(target);
      const part = parts.get(client);
      if (part === undefined) parts.set(client, [target]);
      else part.push(target);
    }
    const ownKey = publishKeyIn(key);
    if (ownKey !== undefined) this.#keys.note(ownKey, [...parts.keys()]);
    const commands = [...parts].flatMap(([client, part]) =>
      partsOf(part, ownKey && this.#keyFor(client, ownKey)).map((each) => ({ client, ...each })),
    );
    const joined = { parts: commands.length, isKeyed: ownKey !== undefined };
    const place = this.#joiner.begin(waiter, tag, joined);
    for (const { client, queueIds, key: partKey } of commands) {
      client.enqueue(queueIds, message, origin, this.#joiner, place, partKey);
    }
  }

  enqueueParts(parts: readonly PublishPart[], origin: Origin, key: PublishKey): void {
    const byClient = new Map<ShardClient, Targeted[]>();
    for (const part of parts) {
      for (const queueId of part.targets) {
        const client = this.#of(queueId);
        const targets = byClient.get(client);
        if (targets === undefined) byClient.set(client, [{ queueId, part }]);
        else targets.push({ queueId, part });
      }
    }
    const [only] = byClient.keys();
    if (only !== undefined && byClient.size === 1) this.#noteKey(key, only);
    else this.#keys.note(key, [...byClient.keys()]);
    const commands = [...byClient].flatMap(([client, targets]) =>
      keyedPartsOf(targets, this.#keyFor(client, key)).map((each) => ({ client, ...each })),
    );
    const counts = new Map<PublishPart, number>();
    for (const { part } of commands) counts.set(part, (counts.get(part) ?? 0) + 1);
    const places = new Map<PublishPart, number>();
    for (const [part, count] of counts) {
      const joined = { parts: count, isKeyed: true };
      places.set(part, this.#joiner.begin(part.waiter, part.tag, joined));
    }
    for (const { client, queueIds, part, key: partKey } of commands) {
      const place = places.get(part) as number;
      client.enqueue(queueIds, part.message, origin, this.#joiner, place, partKey);
    }
  }

  #noteKey(key: PublishKey, client: ShardClient): void {
    if (client === this.#zero && this.#others.size === 0) this.#keys.toFirst(key);
    else this.#keys.note(key, this.#alone.get(client) ?? [client]);
  }

  release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void {
    const unsure = this.#keys.unsure(key);
    if (unsure === undefined) {
      this.#release(key, waiter, tag);
      return;
    }
    void unsure.then((isSure) => {
      // A session that is not of this node any more has nothing to release here.
      if (isSure && this.#keys.of(key) !== undefined) this.#release(key, waiter, tag);
      else waiter.enqueued(tag, 'unavailable');
    });
  }

  #release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void {
    const shards = this.#keys.of(key);
    if (shards === undefined) {
      this.#zero.release(key, waiter, tag);
      return;
    }
    const joined = { parts: shards.length, isKeyed: false, releases: key };
    const place = this.#joiner.begin(waiter, tag, joined);
    for (const client of shards) {
      const own = client === this.#inMemory ? this.#keysInMemory.released(key) : key;
      client.release(own, this.#joiner, place);
    }
  }

  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    return this.#of(request.queueId).consume(request, sink);
  }

  settle(request: SettleRequest, waiter: SettleWaiter, tag: number): void {
    this.#of(request.queueId).settle(request, waiter, tag);
  }

  /** Sessions whose keys in memory were forgotten for want of room. */
  get keysCrowdedOut(): number {
    return this.#keysInMemory.crowdedOut;
  }

  /** Resolves when all are closed; what is in memory is gone then. */
  async stop(): Promise<void> {
    await Promise.all(this.#all.map((client) => client.stop()));
  }

  close(): void {
    this.#shards.close();
    for (const client of this.#all) client.close();
  }

  /** Where nobody has the id, shard 0 says so. */
  #of(queueId: QueueId): ShardClient {
    if (queueId < FIRST_ID_BEHIND_ZERO) return this.#zero;
    if (isInMemory(queueId)) return this.#inMemory;
    return this.#others.get(shardOf(queueId)) ?? this.#zero;
  }
}

function publishKeyIn(wish: EnqueueWish | undefined): PublishKey | undefined {
  return wish === undefined || wish === 'as-it-is' || 'run' in wish ? undefined : wish;
}
