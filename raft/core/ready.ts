/**
 * What a host has to do: one `Ready` holds everything that the calls since the last one have led
 * to. Taking it (`Raft.ready()`) is taking the duty; each is executed once, in order.
 *
 * There is no list of acknowledgements: votes and append acknowledgements are held inside the core
 * and appear in `send` of a later Ready, after `persisted(token)`. So a host may send and write at
 * the same time, and cannot acknowledge what is not durable.
 */

import type { ConfigurationAt } from './configuration.ts';
import type { Entry } from './entry.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { Message } from './message.ts';

export interface HardState {
  readonly term: Term;
  readonly vote: ServerId | undefined;
  /**
   * The end of the log was damaged and cut off, so it may have acknowledged what it does not have:
   * it neither votes nor stands for election until it has all that its leader has. Absent: false.
   */
  readonly tailLost?: boolean;
}

/** A checkpoint that replaces the log: state of the cluster at `index` (Raft 7). */
export interface Installed {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: ConfigurationAt;
  /** The log holds this very entry: what follows it stays (figure 13, rule 6). */
  readonly keepSuffix: boolean;
  /** To be stored with it: see `Recovered.serveFrom`. */
  readonly serveFrom: LogIndex;
}

/**
 * One piece of the ordered stream of writes. The host does its parts in the order of the fields, as
 * one stream with the pieces before and after it, and calls `persisted(token)` when all of it is on
 * stable storage. Tokens ascend; `persisted(n)` speaks for all up to n.
 */
export interface Persist {
  readonly token: number;
  readonly hardState: HardState | undefined;
  /** Make this checkpoint the current one; the log starts at `index + 1`. */
  readonly snapshot: Installed | undefined;
  /** Entries behind this index go away before `entries` are appended. */
  readonly truncateAfter: LogIndex | undefined;
  readonly entries: readonly Entry[];
  /** Each takes the place of what was damaged; the log behind them stays. */
  readonly repaired: readonly Entry[];
}

/** For this server's own state machine; for a peer that is behind; for one that repairs its log. */
export type FetchReason = 'apply' | 'replicate' | 'repair';

/** `persist` and `send` of entries need none of it; answered by `fetched` or `fetchFailed`. */
export interface Fetch {
  readonly id: number;
  /** What for: a host may let those for `replicate` wait. */
  readonly reason: FetchReason;
  /** All durable in this replica's log. The first is wanted whatever its size. */
  readonly from: LogIndex;
  readonly through: LogIndex;
  readonly maxBytes: number;
}

/** This peer needs a checkpoint: its next entry lies before the log's start, or it has asked. */
export interface CatchUp {
  readonly to: ServerId;
  readonly session: number;
  /** An older one is of no use to it; 0: any is. */
  readonly least: LogIndex;
}

export interface Read {
  /** As given to `readIndex`. */
  readonly id: number;
  /** Everything up to here has been applied. `undefined`: refused; the host asks again. */
  readonly index: LogIndex | undefined;
}

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader' | 'stopped';

export interface SoftState {
  readonly role: Role;
  readonly term: Term;
  readonly leader: ServerId | undefined;
}

export interface Ready {
  readonly send: readonly Message[];
  readonly persist: Persist | undefined;
  /**
   * Committed entries to apply, in order, all kinds. They may not yet be durable on this replica.
   * The core hands out no more than `applyBytesMax` before it hears `applied`.
   */
  readonly apply: readonly Entry[];
  readonly reads: readonly Read[];
  readonly fetch: readonly Fetch[];
  readonly catchUp: readonly CatchUp[];
  /** Where it has changed. */
  readonly soft: SoftState | undefined;
  /** The configuration in use, where it has changed: active from its append on (thesis 4.1). */
  readonly configuration: ConfigurationAt | undefined;
  /** Commit index, where it has grown. */
  readonly commitIndex: LogIndex | undefined;
}
