/**
 * The port `ClusterAdmin` of a node: its own word, and what its leader knows of the others, where
 * that leader is reached in time. A node that does not lead asks for it the way its clients'
 * publishes go; its own answer never waits longer than `LEADER_MS`, and never depends on it.
 */

import type {
  ClusterAdmin,
  ClusterAnswer,
  MemberChange,
  MemberProgress,
  NodeStatus,
  ReplicaStatus,
  RescueWish,
} from './admin/cluster-port.ts';
import { progressOf } from './cluster-operator.ts';
import type { LeaderView } from './shard/leader-view.ts';

const LEADER_MS = 1_000;
/** The one that is led from afar for now. */
const SHARD = 0;

export class StatusWithLeader implements ClusterAdmin {
  readonly #own: ClusterAdmin;
  /** Undefined: there is no way to a leader yet. */
  leaderView: (() => Promise<LeaderView | undefined>) | undefined;

  constructor(own: ClusterAdmin) {
    this.#own = own;
  }

  async status(): Promise<NodeStatus> {
    const status = await this.#own.status();
    const shard = status.replicas.find((replica) => replica.shard === SHARD);
    if (shard?.leader === undefined || shard.role === 'leader') return status;
    const view = await this.#asked();
    // Of another term: what was asked for and what is here do not fit together.
    if (view === undefined || view.term !== shard.term) return status;
    const replicas = status.replicas.map((replica) =>
      replica === shard ? withView(replica, view) : replica,
    );
    return { ...status, replicas };
  }

  change(shard: number, change: MemberChange): Promise<ClusterAnswer> {
    return this.#own.change(shard, change);
  }

  transfer(shard: number, to: string): Promise<ClusterAnswer> {
    return this.#own.transfer(shard, to);
  }

  rescue(shard: number, wish: RescueWish): Promise<ClusterAnswer> {
    return this.#own.rescue(shard, wish);
  }

  /** Undefined: nobody answered in time, or whoever did leads no more. */
  async #asked(): Promise<LeaderView | undefined> {
    if (this.leaderView === undefined) return undefined;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), LEADER_MS);
    });
    try {
      return await Promise.race([this.leaderView().catch(() => undefined), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function withView(replica: ReplicaStatus, { last, members }: LeaderView): ReplicaStatus {
  const known = new Map<string, MemberProgress>(
    members.map((member) => [member.id, progressOf(member)]),
  );
  return {
    ...replica,
    leaderLast: last,
    members: replica.members.map((member) => ({ ...member, progress: known.get(member.id) })),
  };
}
