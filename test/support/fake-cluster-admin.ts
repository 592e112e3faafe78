/**
 * The port `ClusterAdmin` in memory, for what stands in front of it: it has one scripted node, and
 * answers changes by what it was told to.
 */

import type {
  ClusterAdmin,
  ClusterAnswer,
  MemberChange,
  NodeStatus,
  ReplicaStatus,
  RescueWish,
} from '../../src/admin/cluster-port.ts';

export function replica(more: Partial<ReplicaStatus> = {}): ReplicaStatus {
  return {
    shard: 0,
    id: 'n1',
    role: 'follower',
    term: 3,
    leader: 'n2',
    start: 1,
    last: 90,
    durable: 90,
    committed: 88,
    applied: 87,
    membersIndex: 0,
    members: ['n1', 'n2', 'n3'].map((id) => ({
      id,
      role: 'voter',
      address: `${id}.example:7000`,
      progress: undefined,
    })),
    leaderLast: undefined,
    transferTo: undefined,
    damagedRanges: 0,
    tailLost: false,
    stateLost: false,
    lastTerm: 3,
    survivors: [],
    rescued: undefined,
    ...more,
  };
}

export class FakeClusterAdmin implements ClusterAdmin {
  /** As they came. */
  readonly asked: string[] = [];
  node: NodeStatus = {
    node: 'n1',
    cluster: 'c',
    address: 'n1.example:7000',
    links: [],
    replicas: [replica()],
    elsewhere: [],
    shards: [],
  };
  /** In order; accepted when there is none. */
  readonly answers: ClusterAnswer[] = [];
  /** What a look makes of the node, for the next one. */
  looked: () => void = () => undefined;
  /** What an accepted change makes of the node. */
  changed: (change: MemberChange) => void = () => undefined;
  transferred: (to: string) => void = () => undefined;
  /** What an accepted rescue makes of the node. */
  rescued: () => void = () => undefined;
  /** What an accepted wish about the map makes of the node. */
  mapped: (shard: number, node: string | undefined, isHost: boolean) => void = () => undefined;

  async status(): Promise<NodeStatus> {
    const { node } = this;
    this.looked();
    return Promise.resolve(node);
  }

  async change(shard: number, change: MemberChange): Promise<ClusterAnswer> {
    this.asked.push(`${shard} ${JSON.stringify(change)}`);
    const answer = this.#answer();
    if (answer.kind === 'accepted') this.changed(change);
    return Promise.resolve(answer);
  }

  async transfer(shard: number, to: string): Promise<ClusterAnswer> {
    this.asked.push(`${shard} transfer ${to}`);
    const answer = this.#answer();
    if (answer.kind === 'accepted') this.transferred(to);
    return Promise.resolve(answer);
  }

  async rescue(shard: number, wish: RescueWish): Promise<ClusterAnswer> {
    this.asked.push(`${shard} rescue ${JSON.stringify(wish)}`);
    const answer = this.#answer();
    if (answer.kind === 'accepted') this.rescued();
    return Promise.resolve(answer);
  }

  async addShard(shard: number): Promise<ClusterAnswer> {
    this.asked.push(`add shard ${shard}`);
    const answer = this.#answer();
    if (answer.kind === 'accepted') this.mapped(shard, undefined, true);
    return Promise.resolve(answer);
  }

  async host(shard: number, node: string, isHost: boolean): Promise<ClusterAnswer> {
    this.asked.push(`${shard} ${isHost ? 'host' : 'unhost'} ${node}`);
    const answer = this.#answer();
    if (answer.kind === 'accepted') this.mapped(shard, node, isHost);
    return Promise.resolve(answer);
  }

  #answer(): ClusterAnswer {
    return this.answers.shift() ?? { kind: 'accepted' };
  }
}
