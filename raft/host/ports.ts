/**
 * What the host of a replica needs of the world: disk, network, clock, state machine.
 *
 * Each port has a real implementation and a simulated one. Calls return at once; what takes time is
 * told later, by a callback or a promise, and never from within the call. None of them throws but
 * where its contract says so. What a host has closed is not called any more, and what it still
 * tells is not heard.
 */

import type { Entry } from '../core/entry.ts';
import type { LogIndex, ServerId, Term } from '../core/ids.ts';
import type { FaultyRange, TermStart } from '../core/options.ts';
import type { HardState, SoftState } from '../core/ready.ts';
import type { ConfigurationAt } from '../core/configuration.ts';
import type { PeerMessage } from './peer-message.ts';

/** A part of the log that cannot be read, with words for people. */
export interface DamagedRange extends FaultyRange {
  /** File, position, what was found. */
  readonly detail: string;
}

export type DiskRead =
  /** Ascending without gaps from the index that was asked for; at least one. */
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }
  /** Nothing durable stands there: not any more, or not yet. */
  | { readonly kind: 'outside' }
  | { readonly kind: 'faulty'; readonly range: DamagedRange };

/** One piece of the ordered stream of writes; its parts are done in the order of the fields. */
export interface DiskWrite {
  /** Ascending; what `persisted` names. */
  readonly token: number;
  readonly hardState: HardState | undefined;
  /** Entries behind this index are cut off before `entries` are appended. */
  readonly truncateAfter: LogIndex | undefined;
  readonly entries: readonly Entry[];
  /** Each takes the place of what was damaged; the log behind them stays. */
  readonly repaired: readonly Entry[];
}

export interface DiskListener {
  /** This write and every earlier one are on stable storage. Tokens ascend. */
  persisted(token: number): void;
  /** Once: the first failed write. Nothing is persisted any more. */
  failed(error: Error): void;
}

/**
 * The log of one replica and its hard state, in one ordered stream of writes.
 *
 * What the host may assume: a write that was told persisted survives every crash; writes take
 * effect in the order of their calls; `read` returns checked entries only. What it must not do:
 * change a payload after `write`, or write entries that leave a gap.
 */
export interface Disk {
  /** First entry that is kept. */
  readonly start: LogIndex;
  /** Of the entry before `start`; 0 where there was none. */
  readonly termBeforeStart: Term;
  /** Last entry that was taken; `start - 1` in a log without entries. */
  readonly last: LogIndex;
  /** Last entry that is on stable storage. */
  readonly durable: LogIndex;
  /** Of the entries from `start` on, ascending. */
  readonly terms: readonly TermStart[];
  /** The last one that is on stable storage. */
  readonly hardState: HardState;
  /** Damage may hide a later one: this replica does not know for whom it has voted. */
  readonly hardStateUnsure: boolean;
  /** Ascending; empty on a sound log. */
  readonly faulty: readonly DamagedRange[];
  /** Once, before anything else is asked: finds out what was repaired in earlier lives. */
  recover(): Promise<void>;
  /** One listener. */
  listen(listener: DiskListener): void;
  write(write: DiskWrite): void;
  /** Durable entries from `from` on: the first whatever its size, and more up to `maxBytes`. */
  read(from: LogIndex, maxBytes: number): Promise<DiskRead>;
  /** Drops whole segments below; crash safe, and safe with reads under way. */
  truncatePrefix(firstKept: LogIndex): Promise<void>;
  /** Waits for what is on its way, and leaves the mark of a clean stop. */
  close(): Promise<void>;
}

export interface NetworkListener {
  /** Never one that was addressed to another replica or shard. */
  received(message: PeerMessage): void;
  /** One that was addressed to another replica of this node and shard, which is no more. */
  strayed?(message: PeerMessage): void;
  /** There is room for bulk to this peer again. */
  room(to: ServerId): void;
}

/**
 * Messages of one replica to the others of its shard: they may be lost, repeated, late and out of
 * order, and are never changed. Messages of one turn of the event loop to one node go out together;
 * votes and heartbeats are not held up by bulk.
 */
export interface Network {
  /** False: it was dropped, because too much waits for this peer. */
  send(message: PeerMessage): boolean;
  /** Whether bulk that waits for this peer is little enough for more of it. */
  hasRoom(to: ServerId): boolean;
  /** One listener. */
  listen(listener: NetworkListener): void;
}

export interface Timer {
  /** It is not called any more; harmless when it was. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since some start; never goes back, and is not moved by who sets the time. */
  monotonicMs(): number;
  /** Once, not before so many milliseconds have passed. */
  after(ms: number, action: () => void): Timer;
  /**
   * Again and again, for the first time within so many milliseconds; all who ask for the same
   * interval are called in one turn of the event loop. A turn that comes late is not made up for.
   */
  every(ms: number, action: () => void): Timer;
  /** As soon as what runs now has returned, before the event loop takes anything else. */
  soon(action: () => void): void;
  /** Behind what waits in the event loop now. */
  later(action: () => void): void;
}

/** Why a replica has ended without being asked. */
export type ReplicaEnd =
  /** A write failed: what is on the disk counts, and nothing was acknowledged since. */
  | { readonly kind: 'failed'; readonly error: Error }
  /** A checkpoint from a peer has become the current one: the replica is to be opened anew. */
  | { readonly kind: 'replaced'; readonly index: LogIndex }
  /** The cluster knows another one under its name: its log was lost, and it never comes back. */
  | { readonly kind: 'stranger' }
  /** The cluster was rescued and went on without it, as that member says (`Raft.rescue`). */
  | { readonly kind: 'givenUp'; readonly by: ServerId };

/**
 * The state machine behind a replica, and whoever hears what becomes of it. Called in turns of the
 * host and never from inside a call to it.
 */
export interface StateMachine {
  /**
   * Committed entries of all kinds, ascending, without gaps, each once, beginning behind the
   * checkpoint. `RaftNode.applied` is to be called when they are applied, and asks for more: so
   * much is handed over at a time (`applyBytes`). They may not be durable on this replica yet.
   */
  apply(entries: readonly Entry[]): void;
  roleChanged(state: SoftState): void;
  /** The configuration in use; active from its append on, and taken back when that is cut off. */
  configurationChanged(configuration: ConfigurationAt): void;
  /** A read has found it. Where there are peers, the replica gets the entries back from them. */
  damaged(range: DamagedRange): void;
  /** Once, and the last call. */
  ended(end: ReplicaEnd): void;
}
