/**
 * Two shards on the same three nodes, each with its logs, replicas and network in memory
 * (`ShardCluster`), on one clock; on each node the client of the product over both of them. What
 * shards send each other goes through these clients, as in the product.
 */

import type { Random } from '../../raft/simulation/random.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import type { ShardClient } from '../../src/shard/client.ts';
import { QueueClients } from '../../src/shard/queue-clients.ts';
import type { ShardLimits } from '../../src/shard/shard-limits.ts';
import { ShardToShard } from '../../src/shard/shard-to-shard.ts';
import { TestClock } from '../raft/host/hosts.ts';
import { openVolatile } from './many-shards.ts';
import { ShardCluster } from './shard-cluster.ts';
import type { ShardNode } from './shard-cluster.ts';
import { turn } from './shard-world.ts';

export const NODES = ['a', 'b', 'c'];
const ACK_TIMEOUT_MS = 3_000;
const STEPS_MAX = 20_000;
/** Of the event loop, that a checkpoint takes. */
const SYNC_TURNS = 12;

export class ShardPair {
  readonly shards: readonly [ShardCluster, ShardCluster];
  /** Called before each step. */
  before: () => void = () => undefined;
  readonly #random: Random;
  /** Of each node, queues in memory, which nobody uses. */
  readonly #inMemory = new Map<string, ShardClient>();

  constructor(random: Random, heldBytesMax: ShardCluster['heldBytesMax']) {
    this.#random = random;
    const clock = new TestClock();
    this.shards = [this.#shard(0, clock, heldBytesMax), this.#shard(1, clock, heldBytesMax)];
  }

  #shard(
    number: number,
    clock: TestClock,
    heldBytesMax: ShardCluster['heldBytesMax'],
  ): ShardCluster {
    const limits = { ackTimeoutMs: ACK_TIMEOUT_MS, batchBytes: 8_192 };
    const shard = new ShardCluster(NODES, limits, clock);
    shard.number = number;
    shard.heldBytesMax = heldBytesMax;
    shard.queues = () => [];
    shard.others = (node) =>
      new ShardToShard({ own: number, client: (at) => this.shards[at]?.node(node).routed });
    const syncing = this.#random.stream(`records ${number}`);
    shard.syncing = async () => {
      for (let turns = syncing.below(SYNC_TURNS); turns > 0; turns -= 1) await turn();
    };
    return shard;
  }

  /** All nodes, with clients that have reached both shards. */
  async start(limits: Partial<ShardLimits>): Promise<void> {
    for (const shard of this.shards) await shard.start(limits);
    for (const id of NODES) {
      this.#inMemory.set(id, (await this.done(openVolatile())).client);
    }
    await this.until('all are reached', () => NODES.every((id) => this.clientsAt(id)));
    const [zero] = this.clientsAt('a') as readonly [ShardClient, ShardClient];
    await this.done(zero.places.addShard(1, NODES));
  }

  /** As the product does it: placed by shard 0, declared in that shard. */
  async declare(shard: number, definition: QueueDefinition): Promise<void> {
    const clients = this.clientsAt('a') as readonly [ShardClient, ShardClient];
    const place = await this.done(clients[0].places.place(definition.name, [shard], ''));
    const placed = shard === 0 ? undefined : place.version;
    await this.done(clients[shard]?.admin.declare({ ...definition, placed }) as Promise<unknown>);
  }

  /** The client of a node over its clients of both shards. */
  join(node: string, [zero, one]: readonly ShardClient[]): QueueClients {
    const { clock } = this.shards[0];
    const all = new QueueClients(zero as ShardClient, this.#inMemory.get(node) as ShardClient, {
      isShared: true,
      ackTimeoutMs: ACK_TIMEOUT_MS,
      monotonicMs: () => clock.nowMs,
    });
    all.addShard(1, one as ShardClient);
    return all;
  }

  async step(): Promise<void> {
    this.before();
    // They share a clock, which is moved once.
    await this.shards[1].step(0);
    await this.shards[0].step();
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    for (let steps = 0; steps < STEPS_MAX; steps += 1) {
      if (holds()) return;
      await this.step();
    }
    throw new Error(`it never came to be: ${what}`);
  }

  async done<T>(promise: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => void (isOver = true);
    promise.then(over, over);
    await this.until('an answer', () => isOver);
    return promise;
  }

  /** Of one node, of each shard. */
  partsOf(id: string): readonly ShardNode[] {
    return this.shards.map((shard) => shard.node(id));
  }

  /** Undefined: not all of them are there. */
  clientsAt(id: string): readonly ShardClient[] | undefined {
    const clients = this.partsOf(id).flatMap(({ routed }) => routed ?? []);
    return clients.length === this.shards.length ? clients : undefined;
  }

  /** Every shard is open, and can be spoken to, on every node. */
  get isUp(): boolean {
    return NODES.every((id) => {
      const isOpen = this.partsOf(id).every(({ shard }) => shard !== undefined);
      return isOpen && this.clientsAt(id) !== undefined;
    });
  }
}
