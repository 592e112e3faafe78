/**
 * The messages of the service `ClusterAdmin` of proto/admin.proto as objects: what the loader makes
 * of them (see messages.ts). Types only.
 */

interface Call<Request, Reply> {
  readonly request: Request;
  readonly reply: Reply;
}

export interface WireNodeLink {
  readonly id: string;
  readonly address: string;
  readonly sending: boolean;
  readonly receiving: boolean;
}

export interface WireProgress {
  readonly state: string;
  readonly match: number;
  readonly active: boolean;
  readonly caughtUp: boolean;
  readonly inReserve: boolean;
}

export interface WireMember {
  readonly id: string;
  readonly role: string;
  readonly address: string;
  readonly progress: WireProgress | null;
}

export interface WireReplica {
  readonly shard: number;
  readonly id: string;
  readonly role: string;
  readonly term: number;
  readonly leader?: string;
  readonly start: number;
  readonly last: number;
  readonly durable: number;
  readonly committed: number;
  readonly applied: number;
  readonly membersIndex: number;
  readonly members: readonly WireMember[];
  readonly leaderLast?: number;
  readonly transferTo?: string;
  readonly damagedRanges: number;
  readonly tailLost: boolean;
  readonly stateLost: boolean;
  readonly lastTerm: number;
  readonly survivors: readonly WireSurvivor[];
  readonly rescued: WireRescue | null;
}

export interface WireSurvivor {
  readonly id: string;
  readonly last?: number;
  readonly lastTerm?: number;
  readonly isCovered: boolean;
}

export interface WireRescue {
  readonly by: string;
  readonly atMs: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly givenUp: readonly string[];
}

interface WireRescueWish {
  readonly shard: number;
  readonly by: string;
  readonly giveUp: readonly string[];
  readonly evenIfShorter: boolean;
}

export interface WireShardPlace {
  readonly shard: number;
  readonly founders: readonly string[];
  readonly hosts: readonly string[];
}

export interface WireNode {
  readonly node: string;
  readonly cluster?: string;
  readonly address?: string;
  readonly links: readonly WireNodeLink[];
  readonly replicas: readonly WireReplica[];
  readonly elsewhere: readonly WireReplica[];
  readonly shards: readonly WireShardPlace[];
}

interface WireChange {
  readonly shard: number;
  readonly kind: string;
  readonly id: string;
  readonly address: string;
  readonly votes: boolean;
}

export interface WireAnswer {
  readonly outcome: string;
  readonly leader?: string;
}

/** Every call of the service, with what goes in and what comes back. */
export interface ClusterCalls {
  readonly Status: Call<Readonly<Record<never, never>>, WireNode>;
  readonly ChangeMembers: Call<WireChange, WireAnswer>;
  readonly TransferLead: Call<{ readonly shard: number; readonly to: string }, WireAnswer>;
  readonly Rescue: Call<WireRescueWish, WireAnswer>;
  readonly AddShard: Call<{ readonly shard: number }, WireAnswer>;
  readonly HostShard: Call<
    { readonly shard: number; readonly node: string; readonly isHost: boolean },
    WireAnswer
  >;
}
