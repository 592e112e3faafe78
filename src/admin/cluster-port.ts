/**
 * The port `ClusterAdmin`: what an operator asks of this node as a member of its cluster. The
 * status is the word of the node's own replicas, whoever leads and also when nobody does; what a
 * leader knows of the others is told where that leader is reached. Plain data: it crosses threads
 * as it is.
 *
 * A change is a wish to the leader, wherever it is, made once: `accepted` says that it is in its
 * log and in use there, not that it is committed; whoever wants to know asks for the status until
 * it is.
 */

/** As the configuration of a shard has them; a joining one becomes a voter by itself. */
export const MEMBER_ROLES = ['voter', 'learner', 'joining'] as const;
export type MemberRole = (typeof MEMBER_ROLES)[number];

export const REPLICA_ROLES = [
  'leader',
  'follower',
  'pre-candidate',
  'candidate',
  'stopped',
] as const;
export type ReplicaRole = (typeof REPLICA_ROLES)[number];

/** How a leader sends: tries where they agree; sends on; has to give it a checkpoint first. */
export const PROGRESS_STATES = ['probe', 'replicate', 'catch-up'] as const;
export type ProgressState = (typeof PROGRESS_STATES)[number];

/** What a leader knows of another member. */
export interface MemberProgress {
  readonly state: ProgressState;
  /** Its log is known to be the leader's up to here. */
  readonly match: number;
  /** Heard from lately. */
  readonly active: boolean;
  /** Near enough to become a voter. */
  readonly caughtUp: boolean;
  /** Its disk is nearly full. */
  readonly inReserve: boolean;
}

export interface MemberStatus {
  readonly id: string;
  readonly role: MemberRole;
  readonly address: string;
  /** As the leader knows it; undefined for itself, and where it was not reached. */
  readonly progress: MemberProgress | undefined;
}

/** One shard, as this node's replica sees it. */
export interface ReplicaStatus {
  readonly shard: number;
  readonly id: string;
  readonly role: ReplicaRole;
  readonly term: number;
  /** Undefined: nobody that this replica has heard of. */
  readonly leader: string | undefined;
  readonly start: number;
  readonly last: number;
  readonly durable: number;
  readonly committed: number;
  readonly applied: number;
  /** Of the configuration in use; 0: the one that the cluster was made with. */
  readonly membersIndex: number;
  readonly members: readonly MemberStatus[];
  /** The last entry of the leader's log; undefined: it was not reached. */
  readonly leaderLast: number | undefined;
  /** Leadership is on its way there. */
  readonly transferTo: string | undefined;
  /** Ranges of its log that wait for repair. */
  readonly damagedRanges: number;
  /** It lost the end of its log, and does not vote before it has it again. */
  readonly tailLost: boolean;
  /** Its records are lost, and being got from its leader. */
  readonly stateLost: boolean;
  /** Of the last entry. */
  readonly lastTerm: number;
  /** Voters that it hears while nobody leads. */
  readonly survivors: readonly SurvivorStatus[];
  /** The cluster went on without its majority, the last time; undefined: never. */
  readonly rescued: RescueRecord | undefined;
}

export interface SurvivorStatus {
  readonly id: string;
  /** Where its log ends; undefined: it did not say yet. */
  readonly last: number | undefined;
  readonly lastTerm: number | undefined;
  /** The log of this node's replica is at least as new. */
  readonly isCovered: boolean;
}

/** As it lies in the log of every member. */
export interface RescueRecord {
  readonly by: string;
  readonly atMs: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly givenUp: readonly string[];
}

/** An order to go on with this node's replica alone. */
export interface RescueWish {
  /** Who orders it, for the record. */
  readonly by: string;
  /** All other members, by name. */
  readonly giveUp: readonly string[];
  /** Although another one that is heard has more. */
  readonly evenIfShorter: boolean;
}

/** The streams to another node. */
export interface NodeLink {
  readonly id: string;
  readonly address: string;
  readonly sending: boolean;
  readonly receiving: boolean;
}

/** A shard beside shard 0, as the map has it. */
export interface ShardPlace {
  readonly shard: number;
  readonly founders: readonly string[];
  /** Nodes that have a replica, or are to have one. */
  readonly hosts: readonly string[];
}

export interface NodeStatus {
  readonly node: string;
  /** Undefined: a single broker. */
  readonly cluster: string | undefined;
  /** Where the others reach it, by its own file; undefined: a single broker. */
  readonly address: string | undefined;
  readonly links: readonly NodeLink[];
  readonly replicas: readonly ReplicaStatus[];
  /** Leaders of shards without a replica that is to be here, as far as they were reached. */
  readonly elsewhere: readonly ReplicaStatus[];
  /** As far as this node knows. */
  readonly shards: readonly ShardPlace[];
}

export type MemberChange =
  | { readonly kind: 'add'; readonly id: string; readonly address: string; readonly votes: boolean }
  | { readonly kind: 'promote' | 'demote' | 'remove'; readonly id: string };

/** Why a change of members, or of the leader, was not made. Nothing was changed. */
export const CLUSTER_REFUSALS = [
  'not-leader',
  'transferring',
  'stopped',
  'not-ready',
  'pending',
  'already-member',
  /** Its id is one of those that a rescue gave up. */
  'given-up',
  'not-member',
  'not-learner',
  'not-voter',
  'not-caught-up',
  'last-voter',
  'already-leader',
  /** There is no such shard, or not this node's replica of it. */
  'no-shard',
  /** Nobody leads, or the leader was not reached: it is not known whether it was done. */
  'no-leader',
  /** It is to leave shard 0, and is to have replicas of others. */
  'has-shards',
  /** It is not part of a cluster: nobody could reach it. */
  'alone',
  /** An id or an address that cannot be one. */
  'invalid',
  /** The address is outside this machine, and the nodes talk without TLS. */
  'unprotected',
  /** Of a rescue: somebody leads. */
  'has-leader',
  /** A majority of the voters is heard. */
  'quorum',
  /** It has not listened to the others for long enough. */
  'listening',
  /** Another voter that is heard has more, or may have. */
  'shorter-log',
  /** Its log or its state is damaged. */
  'damaged',
  /** Those who are given up are not all other members. */
  'not-named',
] as const;
export type ClusterRefusal = (typeof CLUSTER_REFUSALS)[number];

export type ClusterAnswer =
  | { readonly kind: 'accepted' }
  | {
      readonly kind: 'refused';
      readonly code: ClusterRefusal;
      /** Who leads, where that is known. */
      readonly leader: string | undefined;
    };

export interface ClusterAdmin {
  status(): Promise<NodeStatus>;
  change(shard: number, change: MemberChange): Promise<ClusterAnswer>;
  /**
   * Accepted: it has begun, and ends with another leader or after an election time-out. Asked of
   * one that leads already, it stays there for a while, wherever else it would go by itself.
   */
  transfer(shard: number, to: string): Promise<ClusterAnswer>;
  /** Accepted: it is in this replica's log, durable; from then on the others are refused. */
  rescue(shard: number, wish: RescueWish): Promise<ClusterAnswer>;
  /** The next one; of one that is there nothing is changed. */
  addShard(shard: number): Promise<ClusterAnswer>;
  /** Whether a node is to have a replica of a shard other than 0; it follows by itself. */
  host(shard: number, node: string, isHost: boolean): Promise<ClusterAnswer>;
}
