/**
 * What happens to a cluster in a fault schedule: lost power, nodes that are away until what they
 * lack has left the log, disks that fail, refuse and hang, broken links, lost messages, and leads
 * that are handed over.
 */

import type { Fault } from '../../raft/simulation/disk/faults.ts';
import type { Random } from '../../raft/simulation/random.ts';
import { StorageError } from '../../storage/errors.ts';
import type { ClusterNode } from './cluster-node.ts';
import { type ClusterPower, INJECTED } from './cluster-power.ts';
import type { NodeCluster } from './node-cluster.ts';
import { turn } from './shard-world.ts';

/** In steps. */
const LONG = 400;
const SHORT = 10;

export const FAULTS = [
  'all without power',
  'isolated',
  'links broken',
  'messages lost',
  'slow disk',
  'disk failed',
  'lead handed over',
] as const;
export type FaultKind = (typeof FAULTS)[number];

export interface ClusterFaultsOptions {
  readonly cluster: NodeCluster;
  readonly power: ClusterPower;
  readonly random: Random;
  /** Everybody goes on for so many steps. */
  readonly work: (steps: number) => Promise<void>;
  readonly saw: (what: FaultKind) => void;
}

export class ClusterFaults {
  readonly #options: ClusterFaultsOptions;
  readonly #random: Random;
  #faults = 0;

  constructor(options: ClusterFaultsOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  async next(): Promise<void> {
    this.#faults += 1;
    const faults: readonly ((node: ClusterNode) => Promise<void>)[] = [
      (node) => this.#away(node),
      (node) => this.#behind(node),
      (node) => this.#behind(node),
      (node) => this.#behind(node),
      () => this.#allAway(),
      (node) => this.#isolate(node),
      () => this.#lossy(),
      (node) => this.#failing(node),
      (node) => this.#failing(node),
      (node) => this.#slow(node),
      (node) => this.#recordsFail(node),
      () => this.#breakLinks(),
      (node) => this.#handOver(node),
    ];
    await this.#random.pick(faults)(this.#random.pick(this.#options.cluster.nodes));
  }

  async #away({ id }: ClusterNode): Promise<void> {
    const { power, work } = this.#options;
    power.cut(id);
    await work(this.#random.pick([5, 60]));
    power.start(id);
    // And once more before it is up, now and then.
    if (!this.#random.chance(0.2)) return;
    await work(this.#random.below(3));
    power.cut(id);
    await work(SHORT);
    power.start(id);
  }

  /** What it lacks has left the log, and while it gets it something else happens. */
  async #behind(node: ClusterNode): Promise<void> {
    const { power, work, cluster } = this.#options;
    power.cut(node.id);
    await work(LONG);
    power.start(node.id);
    await work(this.#random.below(30));
    const others = cluster.nodes.filter((other) => other !== node);
    const next = nextOf(node);
    const troubles: readonly (() => Promise<void>)[] = [
      () => this.#failing(node, next),
      () => this.#failing(node, next),
      () => this.#slow(node),
      () => this.#lossy(),
      () => this.#away(node),
      () => this.#away(this.#random.pick(others)),
      () => this.#handOver(this.#random.pick(others)),
    ];
    await this.#random.pick(troubles)();
    await work(this.#random.below(100));
  }

  async #allAway(): Promise<void> {
    const { power, work, saw, cluster } = this.#options;
    saw('all without power');
    const { nodes } = cluster;
    for (const { id } of nodes) power.cut(id);
    await work(this.#random.below(20));
    for (const { id } of nodes) {
      power.start(id);
      await work(this.#random.below(30));
    }
  }

  async #isolate({ id }: ClusterNode): Promise<void> {
    const { cluster, work, saw } = this.#options;
    saw('isolated');
    cluster.peers.isolate(id);
    await work(this.#random.pick([30, 300, 600]));
    cluster.peers.heal();
  }

  async #lossy(): Promise<void> {
    const { cluster, work, saw } = this.#options;
    const share = this.#random.pick([0.05, 0.3]);
    const random = this.#random.stream(`loss ${this.#faults}`);
    saw('messages lost');
    cluster.peers.passes = () => !random.chance(share);
    await work(this.#random.between(50, 300));
    cluster.peers.passes = () => true;
  }

  /** One call fails, or some; of runs, of the log, or of what a catch-up builds. */
  async #failing(
    node: ClusterNode,
    path: RegExp = this.#random.pick([/\/runs\//, /\/log\//, nextOf(node)]),
  ): Promise<void> {
    const { disk } = node;
    const faults: readonly Omit<Fault, 'path'>[][] = [
      [{ kind: 'eio', on: 'write' }],
      [{ kind: 'enospc', on: 'write' }],
      [{ kind: 'eio', on: 'sync' }],
      [{ kind: 'eio', on: 'rename' }],
      [
        { kind: 'enospc', on: 'write' },
        { kind: 'eio', on: 'sync' },
      ],
    ];
    const injected = this.#random.pick(faults).map((fault) => {
      const when = { after: this.#random.below(8), times: this.#random.between(1, 3) };
      return disk.inject({ ...fault, ...when, path });
    });
    await this.#options.work(this.#random.between(50, 400));
    disk.clearFaults();
    if (injected.some(({ hits }) => hits > 0)) this.#options.saw('disk failed');
  }

  async #slow({ disk }: ClusterNode): Promise<void> {
    this.#options.saw('slow disk');
    const turns = this.#random.pick([4, 40]);
    disk.before = async () => {
      for (let left = turns; left > 0; left -= 1) await turn();
    };
    await this.#options.work(this.#random.between(50, 200));
    disk.before = () => undefined;
  }

  async #recordsFail(node: ClusterNode): Promise<void> {
    node.failNextCheckpoint(new StorageError('failed', INJECTED));
    await this.#options.work(this.#random.between(50, 200));
  }

  #breakLinks(): Promise<void> {
    this.#options.saw('links broken');
    this.#options.cluster.peers.links.breakAll();
    return this.#options.work(SHORT);
  }

  async #handOver(to: ClusterNode): Promise<void> {
    const { cluster, work, saw } = this.#options;
    const shard = this.#random.pick(cluster.shards);
    const id = to.serverId(shard);
    const leader = cluster.leaderOf(shard);
    if (leader === undefined || leader === to || id === undefined) return;
    const answer = leader.raft(shard)?.transferLeadership(id);
    if (answer?.kind === 'started') saw('lead handed over');
    await work(SHORT);
  }
}

function nextOf(node: ClusterNode): RegExp {
  return new RegExp(
    node
      .nextFolders()
      .map((folder) => `^${folder}/`)
      .join('|'),
  );
}
