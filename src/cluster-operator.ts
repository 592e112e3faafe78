/**
 * The port `ClusterAdmin` over the shards of this node, in their thread: what their replicas say of
 * themselves in words for operators, with what each leader knows where it is reached; and changes,
 * which go to whoever leads. Nothing is tried twice here.
 *
 * Its own word never waits longer than `LEADER_MS`, and never depends on another node.
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
import { CLUSTER_REFUSALS } from './admin/cluster-port.ts';
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
import { AdminError } from './broker/ports.ts';
import type { PeerState } from './cluster/peer.ts';
import { isServerId } from './cluster/server-id.ts';
import { isLoopback, readAddress, writeAddress } from './config/values.ts';
import type { ShardMap } from './machine/shard-map.ts';
import { type LeaderView, type ViewOfPeer, leaderViewIn } from './shard/leader-view.ts';
import { type MemberAnswer, type MemberRequest, memberAnswerIn } from './shard/member-requests.ts';
import type { PlainData } from './shard/record-codec.ts';

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
  readonly map: () => ShardMap;
  /** Of whoever leads the shard; rejects with an AdminError. */
  ask(shard: number, request: MemberRequest): Promise<PlainData>;
  /** In shard 0, wherever it is led; as `ask`. */
  readonly places: {
    addShard(number: number, founders: readonly string[]): Promise<void>;
    hostShard(number: number, node: string): Promise<void>;
    unhostShard(number: number, node: string): Promise<void>;
  };
  /** Who would found a shard of this number. */
  readonly foundersOf: (number: number) => readonly string[];
}

const LEADER_MS = 1_000;

export class ClusterOperator implements ClusterAdmin {
  readonly #options: ClusterOperatorOptions;

  constructor(options: ClusterOperatorOptions) {
    this.#options = options;
  }

  async status(): Promise<NodeStatus> {
    const { node, cluster, replicas, map } = this.#options;
    const links = (cluster?.peers() ?? []).map(({ id, host, port, sending, receiving }) => {
      return { id, address: writeAddress({ host, port }), sending, receiving };
    });
    const own = [...replicas()].flatMap(([shard, replica]) => {
      const status = replica.status();
      return status === undefined ? [] : [replicaStatus(shard, status)];
    });
    const others = map().filter(({ number, hosts }) => {
      const here = own.find(({ shard }) => shard === number);
      // One that is to be here no more hears nothing, once it was removed.
      return here === undefined || (here.role !== 'leader' && !hosts.includes(node));
    });
    const [told, elsewhere] = await Promise.all([
      Promise.all(own.map((replica) => this.#withLeader(replica))),
      Promise.all(others.map(({ number }) => this.#leaderOf(number))),
    ]);
    const { id, address } = cluster ?? {};
    const shards = map().map(({ number, founders, hosts }) => ({ shard: number, founders, hosts }));
    const known = elsewhere.flatMap((each) => each ?? []);
    return { node, cluster: id, address, links, replicas: told, elsewhere: known, shards };
  }

  async change(shard: number, change: MemberChange): Promise<ClusterAnswer> {
    const { cluster } = this.#options;
    if (cluster === undefined) return refused(this.#isKnown(shard) ? 'alone' : 'no-shard');
    const problem = change.kind === 'add' ? addProblem(change, cluster) : undefined;
    if (problem !== undefined) return refused(problem);
    const { kind: what, id } = change;
    const [address, votes] = change.kind === 'add' ? [change.address, change.votes] : ['', false];
    return this.#ask(shard, { kind: 'change-members', what, id, address, votes });
  }

  transfer(shard: number, to: string): Promise<ClusterAnswer> {
    return this.#ask(shard, { kind: 'transfer-lead', to });
  }

  async rescue(shard: number, wish: RescueWish): Promise<ClusterAnswer> {
    const { cluster, rescue, replicas } = this.#options;
    if (cluster === undefined) return refused(this.#isKnown(shard) ? 'alone' : 'no-shard');
    if (!WHO.test(wish.by)) return refused('invalid');
    const leader = replicas().get(shard)?.status()?.leader;
    const answer = await rescue(shard, wish);
    return answer.kind === 'accepted' ? answer : { ...answer, leader };
  }

  addShard(shard: number): Promise<ClusterAnswer> {
    const { places, foundersOf, cluster } = this.#options;
    if (cluster === undefined) return Promise.resolve(refused('alone'));
    if (this.#isKnown(shard)) return Promise.resolve({ kind: 'accepted' });
    return this.#done(() => places.addShard(shard, foundersOf(shard)));
  }

  host(shard: number, node: string, isHost: boolean): Promise<ClusterAnswer> {
    const { places, cluster } = this.#options;
    if (cluster === undefined) return Promise.resolve(refused('alone'));
    if (shard === 0 || !this.#isKnown(shard)) return Promise.resolve(refused('no-shard'));
    return this.#done(() =>
      isHost ? places.hostShard(shard, node) : places.unhostShard(shard, node),
    );
  }

  async #ask(shard: number, request: MemberRequest): Promise<ClusterAnswer> {
    if (!this.#isKnown(shard)) return refused('no-shard');
    try {
      return clusterAnswer(memberAnswerIn(await this.#options.ask(shard, request)));
    } catch (error) {
      return refusedBy(error);
    }
  }

  async #done(action: () => Promise<void>): Promise<ClusterAnswer> {
    try {
      await action();
      return { kind: 'accepted' };
    } catch (error) {
      return refusedBy(error);
    }
  }

  #isKnown(shard: number): boolean {
    const { replicas, map } = this.#options;
    return replicas().has(shard) || map().some(({ number }) => number === shard);
  }

  async #withLeader(replica: ReplicaStatus): Promise<ReplicaStatus> {
    if (replica.leader === undefined || replica.role === 'leader') return replica;
    const view = await this.#view(replica.shard);
    // Of another term: what was asked for and what is here do not fit together.
    if (view === undefined || view.term !== replica.term) return replica;
    const known = new Map(view.members.map(({ id, peer }) => [id, peer && progressOf(peer)]));
    const members = replica.members.map((member) => {
      return { ...member, progress: known.get(member.id) };
    });
    return { ...replica, leaderLast: view.last, members };
  }

  async #leaderOf(shard: number): Promise<ReplicaStatus | undefined> {
    const view = await this.#view(shard);
    if (view === undefined) return undefined;
    const { members, last, ...told } = view;
    return {
      ...told,
      shard,
      role: 'leader',
      leader: view.id,
      last,
      leaderLast: last,
      members: members.map(({ id, role, address, peer }) => {
        return { id, role, address, progress: peer && progressOf(peer) };
      }),
      damagedRanges: 0,
      tailLost: false,
      stateLost: false,
      lastTerm: view.term,
      survivors: [],
      rescued: undefined,
    };
  }

  /** Undefined: nobody answered in time, or whoever did leads no more. */
  async #view(shard: number): Promise<LeaderView | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), LEADER_MS);
    });
    const asked = this.#options.ask(shard, { kind: 'leader-view' }).then(leaderViewIn);
    try {
      return await Promise.race([asked.catch(() => undefined), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Plain words of bounded length: they go into the log. */
const WHO = /^[\x20-\x7e]{1,128}$/;

function refused(code: ClusterRefusal): ClusterAnswer {
  return { kind: 'refused', code, leader: undefined };
}

/** `invalid` is the word of shard 0 about its map; all else means that nobody was reached. */
function refusedBy(error: unknown): ClusterAnswer {
  if (!(error instanceof AdminError)) throw error;
  return refused(error.code === 'invalid' ? 'invalid' : 'no-leader');
}

function clusterAnswer({ code, leader }: MemberAnswer): ClusterAnswer {
  const known = CLUSTER_REFUSALS.find((each) => each === code);
  if (known === undefined) return { kind: 'accepted' };
  return { kind: 'refused', code: known, leader };
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

function progressOf(peer: ViewOfPeer): MemberProgress {
  const { state, matchIndex, active, caughtUp, inReserve } = peer;
  const word = state === 'catchUp' ? 'catch-up' : state;
  return { state: word, match: matchIndex, active, caughtUp, inReserve };
}
