/**
 * Several shards of one process behind one client: each with a log, records and runs in memory, and
 * one whose queues live in memory. Nothing but the event loop moves them.
 */

import { MemoryRecords } from '../../storage/records/memory-records.ts';
import { Runs } from '../../storage/runs/runs.ts';
import type { Message } from '../../src/broker/message.ts';
import type { ConsumerSink, Delivery, QueueConsumer, QueueId } from '../../src/broker/ports.ts';
import { DEFAULT_LIMITS, type QueueDefinition } from '../../src/machine/definitions.ts';
import { ShardClient } from '../../src/shard/client.ts';
import { loopback } from '../../src/shard/port.ts';
import { QueueClients, type QueueClientsOptions } from '../../src/shard/queue-clients.ts';
import { DEFAULT_SHARD_LIMITS } from '../../src/shard/shard-limits.ts';
import type { ShardOptions } from '../../src/shard/shard-options.ts';
import { Shard } from '../../src/shard/shard.ts';
import { ShardToShard } from '../../src/shard/shard-to-shard.ts';
import { firstIdInMemory } from '../../src/shard/volatile-ids.ts';
import { VolatileLog } from '../../src/shard/volatile-log.ts';
import { VolatileRecords } from '../../src/shard/volatile-records.ts';
import { MemoryFiles } from './memory-files.ts';
import { MemoryLogDisk } from './memory-shard-log.ts';
import { until } from './shard-world.ts';

const NODE = 'node-1';
const silent = { debug() {}, info() {}, warn() {}, error() {} };
export const ORIGIN = { clientId: 'c', protocol: 'mqtt' } as const;

interface OneShard {
  readonly shard: Shard;
  readonly client: ShardClient;
}

interface Shared {
  /** Added to the time that passes. */
  readonly ahead: { ms: number };
  /** By shard; filled as they come. */
  readonly clients: Map<number, ShardClient>;
}

/** What of shard 0 outlives a crash. */
export class DiskOfZero {
  readonly log = new MemoryLogDisk();
  readonly records = new MemoryRecords();
  files = new MemoryFiles();

  /** The power goes. */
  crash(): void {
    this.log.crash();
    this.records.crash();
    this.files = this.files.crash();
  }
}

export class ManyShards {
  readonly client: QueueClients;
  readonly #ahead: Shared['ahead'];
  readonly zero: Shard;
  readonly clients: Map<number, ShardClient>;

  private constructor(
    zero: OneShard,
    inMemory: OneShard,
    { ahead, clients, ...options }: QueueClientsOptions & Shared,
  ) {
    this.zero = zero.shard;
    this.#ahead = ahead;
    this.clients = clients;
    this.clients.set(0, zero.client);
    this.client = new QueueClients(zero.client, inMemory.client, options);
  }

  /** Shard 0 and the one in memory. */
  static async open(
    options: QueueClientsOptions = {},
    disk = new DiskOfZero(),
  ): Promise<ManyShards> {
    const ahead = { ms: 0 };
    const clients = new Map<number, ShardClient>();
    const zero = await openShard(0, { ahead, clients }, disk);
    return new ManyShards(zero, await openVolatile(), { ...options, ahead, clients });
  }

  /** The next shard is in the map, and open; it is not spoken to before `reach`. */
  async make(number: number): Promise<void> {
    await this.zero.addShard(number, [NODE]);
    const shared = { ahead: this.#ahead, clients: this.clients };
    const { client } = await openShard(number, shared);
    this.clients.set(number, client);
  }

  /** As `QueueClients.addShard`. */
  reach(number: number): boolean {
    return this.client.addShard(number, this.clients.get(number) as ShardClient);
  }

  /** So much time passes at once, for all shards. */
  async wait(ms: number): Promise<void> {
    this.#ahead.ms += ms;
    // Whoever sleeps until then hears of it by being asked for something.
    for (const client of this.clients.values()) await client.stats();
  }

  /** The client of another node, with queues of its own in memory. */
  async clientElsewhere(): Promise<QueueClients> {
    const zero = this.clients.get(0) as ShardClient;
    const client = new QueueClients(zero, (await openVolatile()).client, { isShared: true });
    for (const [number, other] of this.clients) if (number > 0) client.addShard(number, other);
    return client;
  }

  idOf(name: string): QueueId {
    const queue = this.client.queues.named(name);
    if (queue === undefined) throw new Error(`no queue ${name}`);
    return queue.queueId;
  }

  consume(name: string, credit = 100): Taker {
    return new Taker(this.client, this.idOf(name), credit);
  }
}

/** Takes and settles all that it is given. */
export class Taker implements ConsumerSink {
  readonly texts: string[] = [];
  readonly #consumer: QueueConsumer;

  constructor(client: QueueClients, queueId: QueueId, credit: number) {
    const none = { group: undefined, filter: '', start: undefined, manual: false };
    this.#consumer = client.consume({ ...none, queueId, clientId: 't', credit }, this);
  }

  attached(): void {}
  batchEnd(): void {}
  ended(): void {}
  cancelled(): void {}

  delivered({ message, offset, term, deliveryNumber }: Delivery): void {
    this.texts.push(Buffer.from(message.payload).toString());
    this.#consumer.settle(offset, term, deliveryNumber, 'complete');
    this.#consumer.grant(1);
  }

  async got(count: number): Promise<readonly string[]> {
    await until(() => this.texts.length >= count);
    return this.texts;
  }
}

export function messageOf(text: string): Message {
  const set = { qos: 1, retain: false, properties: undefined } as const;
  return { topic: 't', payload: Buffer.from(text), ...set };
}

/** What becomes of one publish. */
export async function publish(
  client: QueueClients,
  targets: readonly QueueId[],
  text: string,
  key?: Parameters<QueueClients['enqueue']>[5],
): Promise<unknown> {
  return answered((waiter) => client.enqueue(targets, messageOf(text), ORIGIN, waiter, 1, key));
}

export async function answered(
  call: (waiter: { enqueued(tag: number, outcome: unknown): void }) => void,
): Promise<unknown> {
  const told: unknown[] = [];
  call({ enqueued: (_tag, outcome) => void told.push(outcome) });
  await until(() => told.length > 0);
  return told[0];
}

export function definition(name: string, more: Partial<QueueDefinition> = {}): QueueDefinition {
  return { name, type: 'classic', topics: [`$queue/${name}/#`], limits: DEFAULT_LIMITS, ...more };
}

type Own = Pick<ShardOptions, 'log' | 'records' | 'runs'> & Partial<ShardOptions>;

async function open(own: Own): Promise<OneShard> {
  const [near, port] = loopback();
  const shard = await Shard.open({
    node: NODE,
    port,
    queues: [],
    limits: DEFAULT_SHARD_LIMITS,
    clock: { wallMs: () => 1_700_000_000_000, monotonicMs: () => performance.now() },
    logger: silent,
    inReserve: () => false,
    diskFull: () => undefined,
    onFailure: (error) => {
      throw error;
    },
    ...own,
  });
  return { shard, client: await ShardClient.open({ port: near, node: NODE, logger: silent }) };
}

async function openShard(
  number: number,
  { ahead, clients }: Shared,
  disk = new DiskOfZero(),
): Promise<OneShard> {
  const log = disk.log.open('auto');
  const runs = new Runs({
    files: disk.files,
    directory: '/runs',
    owner: log.id,
    blockBytes: 4096,
    indexCacheBytes: 4096,
    now: () => 0,
  });
  const clock = {
    wallMs: () => 1_700_000_000_000,
    monotonicMs: () => performance.now() + ahead.ms,
  };
  const others = new ShardToShard({ own: number, client: (shard) => clients.get(shard) });
  return open({ log, records: await disk.records.open(), runs, number, clock, others });
}

/** The one whose queues live in memory. */
export function openVolatile(): Promise<OneShard> {
  const firstQueueId = firstIdInMemory(1_700_000_000_000);
  const log = new VolatileLog();
  return open({ log, records: new VolatileRecords(), runs: undefined, firstQueueId });
}
