/**
 * What several nodes say of themselves and of each other, put together: one row for each member of
 * each shard. A node's own word counts for itself, the leader's for how far the others are behind;
 * of two that take themselves for the leader, the one with the higher term is. Pure.
 */

import type { MemberStatus, NodeStatus, ReplicaStatus } from '../../admin/cluster-port.ts';

/** A node that was asked. */
export interface Answer {
  /** How it was asked for, where it did not answer. */
  readonly place: string;
  readonly status: NodeStatus | undefined;
}

export interface MemberRow {
  readonly shard: number;
  readonly id: string;
  /** Undefined: it answers, and is no member of its shard. */
  readonly member: MemberStatus | undefined;
  /** Its own word. */
  readonly replica: ReplicaStatus | undefined;
  readonly leads: boolean;
  /** The leader's word, or its own. */
  readonly last: number | undefined;
  /** Entries of the leader that it is not known to have. */
  readonly lag: number | undefined;
  readonly state: string;
}

export interface ShardView {
  readonly shard: number;
  /** Whoever knows best. */
  readonly view: ReplicaStatus;
  readonly leader: string | undefined;
  readonly rows: readonly MemberRow[];
}

export interface ClusterView {
  readonly cluster: string | undefined;
  readonly shards: readonly ShardView[];
  readonly silent: readonly string[];
  /** Nodes that answer and are no members: what would add them. */
  readonly strangers: readonly { readonly id: string; readonly address: string }[];
}

export function clusterView(answers: readonly Answer[]): ClusterView {
  const nodes = answers.flatMap(({ status }) => status ?? []);
  const shards = new Map<number, ReplicaStatus[]>();
  for (const { replicas, elsewhere } of nodes) {
    for (const replica of [...replicas, ...elsewhere]) {
      shards.set(replica.shard, [...(shards.get(replica.shard) ?? []), replica]);
    }
  }
  return {
    cluster: nodes.find(({ cluster }) => cluster !== undefined)?.cluster,
    shards: [...shards.entries()]
      .toSorted(([a], [b]) => a - b)
      .map(([shard, replicas]) => shardView(shard, replicas)),
    strangers: nodes.flatMap(({ address = '', replicas }) =>
      replicas
        // In the others a replica asks by itself.
        .filter(({ shard }) => shard === 0)
        .filter(({ id, members }) => !members.some((member) => member.id === id))
        .map(({ id }) => ({ id, address })),
    ),
    silent: answers.flatMap(({ status, place }) => (status === undefined ? [place] : [])),
  };
}

function shardView(shard: number, replicas: readonly ReplicaStatus[]): ShardView {
  const view = bestOf(replicas);
  const own = new Map(replicas.map((replica) => [replica.id, replica]));
  const rows = view.members.map((member) =>
    rowOf(view, { id: member.id, member, replica: own.get(member.id) }),
  );
  for (const replica of replicas) {
    if (rows.some(({ id }) => id === replica.id)) continue;
    rows.push(rowOf(view, { id: replica.id, member: undefined, replica }));
  }
  return { shard, view, leader: view.leader, rows };
}

/** The leader of the highest term, else whoever has most. */
function bestOf(replicas: readonly ReplicaStatus[]): ReplicaStatus {
  const leads = ({ role }: ReplicaStatus): number => (role === 'leader' ? 1 : 0);
  const [best] = replicas.toSorted(
    (a, b) =>
      leads(b) - leads(a) || b.term - a.term || b.committed - a.committed || b.last - a.last,
  );
  return best as ReplicaStatus;
}

function rowOf(
  view: ReplicaStatus,
  { id, member, replica }: Pick<MemberRow, 'id' | 'member' | 'replica'>,
): MemberRow {
  const isView = replica === view;
  const { leaderLast } = view;
  const leads = view.leader === id;
  const told = member?.progress?.match ?? replica?.last;
  const last = isView ? view.last : leads ? (leaderLast ?? replica?.last) : told;
  const isKnown = leaderLast !== undefined && last !== undefined;
  const lag = isKnown ? Math.max(0, leaderLast - last) : undefined;
  const state = stateOf({ view, member, replica });
  return { shard: view.shard, id, member, replica, leads, last, lag, state };
}

interface Seen {
  readonly view: ReplicaStatus;
  readonly member: MemberStatus | undefined;
  readonly replica: ReplicaStatus | undefined;
}

function stateOf({ view, member, replica }: Seen): string {
  if (member === undefined) return 'no member';
  if (replica?.role === 'stopped') return 'its disk failed';
  if (replica?.tailLost === true) return 'lost the end of its log';
  if (replica?.stateLost === true) return 'gets its records anew';
  if (replica === view) return view.transferTo === undefined ? '' : `hands over`;
  const { progress } = member;
  if (progress === undefined) return '';
  if (!progress.active) return 'away';
  if (progress.state === 'catch-up') return 'gets a checkpoint';
  if (progress.state === 'probe') return 'probing';
  if (!progress.caughtUp) return 'catching up';
  return progress.inReserve ? 'disk nearly full' : '';
}
