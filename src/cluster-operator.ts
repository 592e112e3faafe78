/**
 * The port `ClusterAdmin` over the replicas of this node, in their thread: what they say of
 * themselves in words for operators, and changes of members and leader as calls to the core. A
 * change is asked of one replica, which makes it or says why not; nothing is tried twice here.
 */

import type {
  Changed,
  Member,
  MembershipChange,
  RescueRefusal,
  Role,
  Status,
  Transferred,
} from '#raft';
import type {
  ClusterAdmin,
  ClusterAnswer,
  ClusterRefusal,
  MemberChange,
  MemberProgress,
  MemberStatus,
  NodeStatus,
  ReplicaRole,
  ReplicaStatus,
  RescueWish,
} from './admin/cluster-port.ts';
import type { PeerState } from './cluster/peer.ts';
import { isServerId } from './cluster/server-id.ts';
import { isLoopback, readAddress, writeAddress } from './config/values.ts';
import type { ViewOfMember } from './shard/leader-view.ts';

/** As far as operators need it; undefined: it does not run yet, or is being replaced. */
export interface OperatedReplica {
  status(): Status | undefined;
  changeMembership(change: MembershipChange): Changed;
  transferLeadership(to: string): Transferred;
}

export type RescueAnswer =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly code: RescueRefusal | 'no-shard' | 'not-named' };

export interface ClusterOperatorOptions {
  readonly node: string;
  /** Undefined: a single broker. */
  readonly cluster:
    | {
        readonly id: string;
        /** Where the others reach this node. */
        readonly address: string;
        /** Also an address outside this machine may be told to others. */
        readonly mayLeaveMachine: boolean;
        peers(): readonly PeerState[];
      }
    | undefined;
  /** Of a shard that this node has. */
  readonly rescue: (shard: number, wish: RescueWish) => Promise<RescueAnswer>;
  /** Those that run, by shard. */
  readonly replicas: () => ReadonlyMap<number, OperatedReplica>;
}

export class ClusterOperator implements ClusterAdmin {
  readonly #options: ClusterOperatorOptions;

  constructor(options: ClusterOperatorOptions) {
    this.#options = options;
  }

  async status(): Promise<NodeStatus> {
    const { node, cluster, replicas } = this.#options;
    const links = (cluster?.peers() ?? []).map(({ id, host, port, sending, receiving }) => {
      return { id, address: writeAddress({ host, port }), sending, receiving };
    });
    const told = [...replicas()].flatMap(([shard, replica]) => {
      const status = replica.status();
      return status === undefined ? [] : [replicaStatus(shard, status)];
    });
    const { id, address } = cluster ?? {};
    return Promise.resolve({ node, cluster: id, address, links, replicas: told });
  }

  async change(shard: number, change: MemberChange): Promise<ClusterAnswer> {
    const { cluster } = this.#options;
    const replica = this.#running(shard);
    if (replica === undefined) return refused('no-shard');
    if (cluster === undefined) return refused('alone');
    const problem = change.kind === 'add' ? addProblem(change, cluster) : undefined;
    if (problem !== undefined) return refused(problem);
    return answerOf(replica.changeMembership(membershipChange(change)));
  }

  async transfer(shard: number, to: string): Promise<ClusterAnswer> {
    const replica = this.#running(shard);
    if (replica === undefined) return refused('no-shard');
    const transferred = replica.transferLeadership(to);
    if (transferred.kind === 'started') return { kind: 'accepted' };
    const leader = replica.status()?.leader;
    return { kind: 'refused', code: transferred.code, leader };
  }

  async rescue(shard: number, wish: RescueWish): Promise<ClusterAnswer> {
    const { cluster, rescue } = this.#options;
    const leader = this.#running(shard)?.status()?.leader;
    if (cluster === undefined) return refused('alone');
    if (!WHO.test(wish.by)) return refused('invalid');
    const answer = await rescue(shard, wish);
    return answer.kind === 'accepted' ? answer : { ...answer, leader };
  }

  #running(shard: number): OperatedReplica | undefined {
    const replica = this.#options.replicas().get(shard);
    return replica?.status() === undefined ? undefined : replica;
  }
}

/** Plain words of bounded length: they go into the log. */
const WHO = /^[\x20-\x7e]{1,128}$/;

function refused(code: ClusterRefusal): ClusterAnswer {
  return { kind: 'refused', code, leader: undefined };
}

function answerOf(changed: Changed): ClusterAnswer {
  if (changed.kind === 'accepted') return { kind: 'accepted' };
  return { kind: 'refused', code: changed.code, leader: changed.leader };
}

function addProblem(
  { id, address }: Extract<MemberChange, { kind: 'add' }>,
  { mayLeaveMachine }: { readonly mayLeaveMachine: boolean },
): ClusterRefusal | undefined {
  const read = readAddress(address);
  if (!isServerId(id) || !('value' in read)) return 'invalid';
  const { host, port } = read.value;
  if (port === 0 || host === '::' || host === '0.0.0.0') return 'invalid';
  return mayLeaveMachine || isLoopback(host) ? undefined : 'unprotected';
}

function membershipChange(change: MemberChange): MembershipChange {
  if (change.kind !== 'add') return change;
  const { id, address, votes } = change;
  return { kind: 'add', id, address, role: votes ? 'joining' : 'learner' };
}

function replicaStatus(shard: number, status: Status): ReplicaStatus {
  const { id, role, term, leader, start, accepted, durable, commitIndex, applied } = status;
  const { index: membersIndex, configuration } = status.configuration;
  const progress = new Map(status.peers.map((peer) => [peer.id, progressOf(peer)]));
  return {
    shard,
    id,
    role: roleOf(role),
    term,
    leader,
    start,
    last: accepted,
    durable,
    committed: commitIndex,
    applied,
    membersIndex,
    members: configuration.members.map((member) => memberOf(member, progress.get(member.id))),
    leaderLast: role === 'leader' ? accepted : undefined,
    transferTo: status.transferTo,
    damagedRanges: status.faulty.length,
    tailLost: status.tailLost,
    stateLost: status.stateLost,
    lastTerm: status.lastTerm,
    survivors: status.survivors.map(({ id: other, end, isCovered }) => {
      return { id: other, last: end?.index, lastTerm: end?.term, isCovered };
    }),
    rescued: configuration.rescue,
  };
}

function roleOf(role: Role): ReplicaRole {
  return role === 'preCandidate' ? 'pre-candidate' : role;
}

function memberOf({ id, role, address }: Member, progress?: MemberProgress): MemberStatus {
  return { id, role, address, progress };
}

export function progressOf(peer: ViewOfMember): MemberProgress {
  const { state, matchIndex, active, caughtUp, inReserve } = peer;
  const word = state === 'catchUp' ? 'catch-up' : state;
  return { state: word, match: matchIndex, active, caughtUp, inReserve };
}
