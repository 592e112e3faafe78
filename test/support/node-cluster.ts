/**
 * A cluster of nodes as the product composes them (`ClusterNode`), in one process: a network in
 * memory, and time that moves when the test says so. Nodes come while it runs; which shards there
 * are, and where they lie, is theirs to decide.
 *
 * Timers and clocks of the process are replaced as long as the test runs (`withFakeTime`).
 */

import { afterEach, beforeEach, vi } from 'vitest';
import type { Random } from '../../raft/simulation/random.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import { type ShardSettings, shardSettings } from '../../src/options.ts';
import type { ShardClient } from '../../src/shard/client.ts';
import { ClusterNode, DATA } from './cluster-node.ts';
import { openVolatile } from './many-shards.ts';
import { MemoryPeers } from './memory-peers.ts';
import { turn } from './shard-world.ts';

/** Of a step. */
export const TICK_MS = 10;
const STEPS_MAX = 20_000;
const TURNS = 4;
const FIRST_PORT = 7_001;
const ACK_TIMEOUT_MS = 3_000;

/** Of a node, apart from who it is and whom it knows. */
export type NodeWishes = Partial<Omit<ShardSettings, 'node' | 'peers'>>;

export interface NodeClusterOptions {
  readonly random: Random;
  /** Those that it begins with. */
  readonly nodes: readonly string[];
  readonly wishes: NodeWishes;
  /** A line of a node's log. */
  readonly said: (node: string, words: string, fields: object) => void;
}

/**
 * From the same time on in each test. A timer of real time would come after any number of steps.
 */
export function withFakeTime(): void {
  beforeEach(() => {
    const timers = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] as const;
    vi.useFakeTimers({ toFake: [...timers, 'Date', 'performance'] });
  });
  // Nodes of an earlier test would go on beside those of the next one.
  afterEach(() => {
    vi.clearAllTimers();
    vi.useRealTimers();
  });
}

export class NodeCluster {
  readonly peers = new MemoryPeers();
  /** Called before each step. */
  before: () => void = () => undefined;
  readonly #options: NodeClusterOptions;
  readonly #nodes = new Map<string, ClusterNode>();
  /** That the files of all nodes name, as of their next start. */
  readonly #listed: Set<string>;
  /** Whose files say that they join. */
  readonly #joining = new Set<string>();

  constructor(options: NodeClusterOptions) {
    this.#options = options;
    this.#listed = new Set(options.nodes);
  }

  get nodes(): readonly ClusterNode[] {
    return [...this.#nodes.values()];
  }

  node(id: string): ClusterNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** Numbers of those that some node knows, from 0 on. */
  get shards(): readonly number[] {
    const known = this.nodes.map(({ shards }) => shards?.map.length ?? 0);
    return Array.from({ length: Math.max(...known) + 1 }, (_none, number) => number);
  }

  leaderOf(shard: number): ClusterNode | undefined {
    return this.nodes.find((node) => node.leads(shard));
  }

  /** All that it begins with, with clients that have reached both shards. */
  async start(): Promise<void> {
    const { nodes } = this.#options;
    for (const id of nodes) await this.make(id);
    await this.done(Promise.all(this.nodes.map((node) => node.start())));
    await this.until('all are reached', () =>
      this.nodes.every((node) => node.clientOf(0) !== undefined && node.clientOf(1) !== undefined),
    );
  }

  /** In the files of all nodes, or not any more. */
  list(id: string, isThere: boolean): void {
    if (isThere) this.#listed.add(id);
    else this.#listed.delete(id);
  }

  /** From its next start on it comes to a cluster that runs. */
  joins(id: string): void {
    this.#joining.add(id);
  }

  /** Not started yet. */
  async make(id: string): Promise<ClusterNode> {
    const { random, said } = this.#options;
    const { client } = await this.done(openVolatile());
    const node = new ClusterNode({
      id,
      random: random.stream(`node ${id}`),
      peers: this.peers,
      settings: () => this.#settings(id),
      address: `127.0.0.1:${portOf(id)}`,
      clientLimits: { ackTimeoutMs: ACK_TIMEOUT_MS, batchBytes: 8_192 },
      inMemory: client,
      said: (words, fields) => said(id, words, fields),
    });
    this.#nodes.set(id, node);
    return node;
  }

  #settings(id: string): ShardSettings {
    const known = new Set([...this.#listed, id]);
    const config = parseConfig({ file: { yaml: '', name: 'test' } });
    const place = (node: string) => ({ id: node, host: '127.0.0.1', port: portOf(node) });
    const peers: ShardSettings['peers'] = {
      cluster: 'test',
      listen: place(id),
      nodes: [...known].toSorted().map(place),
      tls: undefined,
      backlogBytes: 1 << 24,
      catchUpBytesPerSecond: 1 << 24,
      rejects: false,
      readsReplica: true,
      reattachGraceMs: 2_000,
      startGraceMs: 10_000,
      joins: this.#joining.has(id),
    };
    const shards = { count: 2, replicas: 3 };
    const own = { node: id, queues: [], groups: [], shards, ...this.#options.wishes };
    return { ...shardSettings(config, DATA, false), ...own, peers };
  }

  /** As the product does it: placed by shard 0, declared in that shard. */
  async declare(shard: number, definition: QueueDefinition): Promise<void> {
    const [first] = this.nodes as [ClusterNode];
    const zero = first.clientOf(0) as ShardClient;
    const place = await this.done(zero.places.place(definition.name, [shard], ''));
    const placed = shard === 0 ? undefined : place.version;
    await this.done(
      (first.clientOf(shard) as ShardClient).admin.declare({ ...definition, placed }),
    );
  }

  async step(): Promise<void> {
    this.before();
    for (let twice = 2; twice > 0; twice -= 1) {
      this.peers.deliver();
      for (let turns = TURNS; turns > 0; turns -= 1) await turn();
    }
    vi.advanceTimersByTime(TICK_MS);
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
}

function portOf(id: string): number {
  return FIRST_PORT + id.charCodeAt(0);
}
