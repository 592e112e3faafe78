/**
 * The operator of a fault schedule: the changes of `fluxmq cluster` by the very code of its
 * commands, each given at some node, broken off by lost power or for want of patience, and given
 * again until it succeeds.
 *
 * One change at a time. A disk is lost only between two of them, and only where each shard can do
 * without it, so that a majority of every configuration keeps what it has acknowledged: behind a
 * removal a shard may have two voters, until a node is added.
 */

import type { Random } from '../../raft/simulation/random.ts';
import { AdminError } from '../../src/broker/ports.ts';
import { CliError } from '../../src/cli/exit-codes.ts';
import { nodeOf } from '../../src/cluster/server-id.ts';
import { ClusterChanges } from '../../src/cli/operator/cluster-changes.ts';
import type { QueueDefinition } from '../../src/machine/definitions.ts';
import { type ClusterNode, PowerIsGone } from './cluster-node.ts';
import type { ClusterPower } from './cluster-power.ts';
import type { NodeCluster } from './node-cluster.ts';

export const OPERATIONS = [
  'node added',
  'learner added',
  'replica added',
  'node removed',
  'node replaced',
  'disk lost',
  'shard added',
  'command given again',
] as const;
export type Operation = (typeof OPERATIONS)[number];

const NODES_MAX = 7;
/** Of those that stay. */
const NODES_LEAST = 3;
const SHARDS_MAX = 3;
const LOOK_MS = 200;
const PATIENCE_MS = { least: 500, most: 15_000 };
const FIRST_NAME = 'a'.charCodeAt(0);

export interface ClusterOperationsOptions {
  readonly cluster: NodeCluster;
  readonly power: ClusterPower;
  readonly random: Random;
  /** Declared in the shard that is added. */
  readonly late: QueueDefinition;
  readonly saw: (what: Operation) => void;
  readonly said: (words: string) => void;
}

export class ClusterOperations {
  readonly #options: ClusterOperationsOptions;
  /** Nodes that were removed. */
  readonly #gone = new Set<string>();
  #underWay: string | undefined;
  #failed: Error | undefined;
  #lastProblem = '';
  #isLateThere = false;

  constructor(options: ClusterOperationsOptions) {
    this.#options = options;
  }

  /** What is under way, and why not yet; undefined: nothing. Throws what must not be. */
  get underWay(): string | undefined {
    if (this.#failed !== undefined) throw this.#failed;
    return this.#underWay === undefined ? undefined : `${this.#underWay}: ${this.#lastProblem}`;
  }

  /** The queue of the shard that was added is there. */
  get isLateThere(): boolean {
    return this.#isLateThere;
  }

  isGone(id: string): boolean {
    return this.#gone.has(id);
  }

  /** Those that stay. */
  get nodes(): readonly ClusterNode[] {
    return this.#options.cluster.nodes.filter(({ id }) => !this.#gone.has(id));
  }

  /** Without it a majority of the voters of each shard is left, by what is committed. */
  isSpare(node: ClusterNode): boolean {
    const { cluster } = this.#options;
    return cluster.shards.every((shard) => {
      const status = cluster.leaderOf(shard)?.replica(shard);
      if (status === undefined || status.configuration.index > status.commitIndex) return false;
      const { members } = status.configuration.configuration;
      const voters = members.filter(({ role }) => role === 'voter');
      const left = voters.filter(({ id }) => nodeOf(id) !== node.id);
      return left.length * 2 > voters.length;
    });
  }

  /** Some change, unless one is under way. */
  begin(): void {
    const { random } = this.#options;
    if (this.underWay !== undefined) return;
    const changes = [
      () => this.#add(),
      () => this.#add(),
      () => this.#addReplica(),
      () => this.#remove(),
      () => this.#replace(),
      () => this.#loseDisk(),
      () => this.#addShard(),
    ];
    random.pick(changes)();
  }

  /** Until it has succeeded. */
  async do(change: (changes: ClusterChanges) => Promise<void>): Promise<void> {
    const { random, saw, said } = this.#options;
    for (;;) {
      const node = random.pick(this.nodes);
      try {
        await this.#give(node, change);
        return;
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.#lastProblem = error.message;
        said(error.message);
        saw('command given again');
      }
      await pause();
    }
  }

  /** Once, at this node. */
  #give(node: ClusterNode, change: (changes: ClusterChanges) => Promise<void>): Promise<void> {
    const { random, said } = this.#options;
    const { cluster } = node;
    if (cluster === undefined) return Promise.reject(new PowerIsGone(node.id));
    const end = Date.now() + random.between(PATIENCE_MS.least, PATIENCE_MS.most);
    const changes = new ClusterChanges({
      cluster,
      say: (shard, { node: about, text }) => {
        said(`at ${node.id}, shard ${shard}, ${about}: ${text}`);
        return Promise.resolve();
      },
      pause: () => (node.cluster === cluster ? pause() : new Promise(() => undefined)),
      isOver: () => Date.now() > end,
    });
    return node.whileUp(change(changes));
  }

  #begun(what: Operation, change: () => Promise<void>): void {
    this.#underWay = what;
    this.#options.said(`begins: ${what}`);
    change().then(
      () => {
        this.#underWay = undefined;
        this.#options.saw(what);
      },
      (error: Error) => {
        this.#failed = error;
      },
    );
  }

  #add(): void {
    const learner = this.#options.random.chance(0.2);
    if (this.nodes.length >= NODES_MAX) return;
    this.#begun(learner ? 'learner added' : 'node added', async () => {
      const node = await this.#newNode();
      await this.do((changes) => changes.add(idOf(node), node.address, { learner }));
      this.#options.cluster.list(node.id, true);
    });
  }

  /** Of a shard on a node that may have none. */
  #addReplica(): void {
    const { random } = this.#options;
    const node = random.pick(this.nodes);
    this.#begun('replica added', () =>
      this.do((changes) => changes.add(idOf(node), node.address, { shard: 1 })),
    );
  }

  #remove(): void {
    const { random } = this.#options;
    if (this.nodes.length <= NODES_LEAST) return this.#add();
    const node = random.pick(this.nodes);
    this.#begun('node removed', async () => {
      const id = await this.#idOf(node);
      this.#gone.add(node.id);
      await this.do((changes) => changes.remove(id));
      this.#options.cluster.list(node.id, false);
    });
  }

  #replace(): void {
    const { random, cluster } = this.#options;
    if (cluster.nodes.length >= NODES_MAX) return;
    const old = random.pick(this.nodes);
    this.#begun('node replaced', async () => {
      const id = await this.#idOf(old);
      const node = await this.#newNode();
      this.#gone.add(old.id);
      await this.do((changes) => changes.replace(id, idOf(node), node.address));
      cluster.list(node.id, true);
      cluster.list(old.id, false);
    });
  }

  #loseDisk(): void {
    const { random, power, cluster } = this.#options;
    const node = random.pick(this.nodes);
    const was = node.serverId(0);
    if (was === undefined || !this.isSpare(node)) return this.#add();
    this.#begun('disk lost', async () => {
      power.wipe(node.id);
      // Else it finds out.
      if (random.chance(0.5)) cluster.joins(node.id);
      await pause();
      power.start(node.id);
      await this.do((changes) => {
        const id = idOf(node);
        if (id === was) throw new NotYet(`${id} does not know yet that its disk was lost`);
        return changes.replace(was, id, node.address);
      });
    });
  }

  #addShard(): void {
    const { cluster, late } = this.#options;
    const number = cluster.shards.length;
    if (number >= SHARDS_MAX) return;
    this.#begun('shard added', async () => {
      await this.do((changes) => changes.hosting(number).make());
      await this.#until(async (node) => {
        const [zero, shard] = [node.clientOf(0), node.clientOf(number)];
        if (zero === undefined || shard === undefined) throw new NotYet('it is not reached');
        const { version } = await zero.places.place(late.name, [number], '');
        await shard.admin.declare({ ...late, placed: version });
      });
      this.#isLateThere = true;
    });
  }

  /** At one node after the other, until it has succeeded. */
  async #until(action: (node: ClusterNode) => Promise<void>): Promise<void> {
    for (;;) {
      const node = this.#options.random.pick(this.nodes);
      try {
        await node.whileUp(action(node));
        return;
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.#lastProblem = error.message;
      }
      await pause();
    }
  }

  async #newNode(): Promise<ClusterNode> {
    const { cluster, power } = this.#options;
    const id = String.fromCharCode(FIRST_NAME + cluster.nodes.length);
    const node = await cluster.make(id);
    cluster.joins(id);
    power.begin(id);
    return node;
  }

  async #idOf(node: ClusterNode): Promise<string> {
    for (;;) {
      const id = node.serverId(0);
      if (id !== undefined) return id;
      await pause();
    }
  }
}

/** What its own status says. */
function idOf(node: ClusterNode): string {
  const id = node.serverId(0);
  if (id === undefined) throw new NotYet(`${node.id} does not answer`);
  return id;
}

class NotYet extends Error {}

function isPassing(error: unknown): error is Error {
  return [CliError, PowerIsGone, NotYet, AdminError].some((kind) => error instanceof kind);
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, LOOK_MS);
  });
}
