/**
 * One replica of one Raft cluster: deterministic, without I/O (Raft figure 2; thesis 3, 4, 6.4).
 *
 * The host calls it with what happens (messages, ticks, requests, completions) and then takes
 * `ready()` until it is undefined. It may do many calls before it takes one: whatever came together
 * is then one write and one message a peer. Calls come from one thread and never from inside one
 * another.
 *
 * What it must never do: let a vote or an acknowledgement out before what it speaks of is durable,
 * decide by the order of a Map, or look at a clock. After an assertion it is not to be used again.
 */

import type { Configuration, ConfigurationAt, MembershipChange } from './configuration.ts';
import type { Entry } from './entry.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { Message } from './message.ts';
import type { FaultyRange, RaftOptions } from './options.ts';
import type { Changed, InstallOutcome, Proposed, Transferred } from './outcome.ts';
import type { Ready, Role } from './ready.ts';
import type { Status } from './status.ts';

/** A checkpoint that the host has fetched and can make the current one. */
export interface Checkpoint {
  readonly index: LogIndex;
  /** Term of the entry at `index`. */
  readonly term: Term;
  /** In use at `index`. */
  readonly configuration: ConfigurationAt;
  /**
   * It neither leads nor serves reads before this is applied: the highest index at which something
   * of the transfer was told gone. At least `index`.
   */
  readonly serveFrom: LogIndex;
}

/** `gone`: the log's start has moved past it. `faulty`: damaged here. `failed`: ask again. */
export type FetchFailure = 'gone' | 'faulty' | 'failed';

export class Raft {
  constructor(_options: RaftOptions) {
    throw new Error('not built');
  }

  /** What is left to do, once; undefined where there is nothing. */
  ready(): Ready | undefined {
    throw new Error('not built');
  }

  /** A message from a peer, of whatever age. One that is addressed to another is ignored. */
  step(_message: Message): void {
    throw new Error('not built');
  }

  /** One unit of time has passed. */
  tick(): void {
    throw new Error('not built');
  }

  /** The payload is the core's from here on: it must not change. */
  propose(_payload: Uint8Array, _local?: unknown): Proposed {
    throw new Error('not built');
  }

  /**
   * Answered by `Ready.reads` with the same id, once this replica has applied everything that was
   * committed when it was asked (thesis 6.4); a follower asks its leader. Ids are the host's,
   * and not to be used twice.
   */
  readIndex(_id: number): void {
    throw new Error('not built');
  }

  /** Ends with a new leader, or by itself after an election time-out (thesis 3.10). */
  transferLeadership(_to: ServerId): Transferred {
    throw new Error('not built');
  }

  changeMembership(_change: MembershipChange): Changed {
    throw new Error('not built');
  }

  /** Where leadership should be from now on; `undefined`: anywhere. */
  setPreferred(_id: ServerId | undefined): void {
    throw new Error('not built');
  }

  /** All pieces of the stream of writes up to this token are on stable storage. */
  persisted(_token: number): void {
    throw new Error('not built');
  }

  /** A write or a sync failed. There is no second try: this replica does nothing any more. */
  persistFailed(): void {
    throw new Error('not built');
  }

  /** The state machine has applied everything up to this index. */
  applied(_index: LogIndex): void {
    throw new Error('not built');
  }

  /** Ascending without gaps from `Fetch.from`, at least one; checked against the log's terms. */
  fetched(_id: number, _entries: readonly Entry[]): void {
    throw new Error('not built');
  }

  fetchFailed(_id: number, _reason: FetchFailure): void {
    throw new Error('not built');
  }

  /**
   * The checkpoint covers everything before this index, and the log starts here now. At most one
   * above what is applied and durable.
   */
  compacted(_start: LogIndex): void {
    throw new Error('not built');
  }

  /** On the leader: a transfer asked for by `Ready.catchUp` is over, well or not. */
  catchUpEnded(_to: ServerId, _session: number): void {
    throw new Error('not built');
  }

  /**
   * On the receiver: comes out as `Persist.snapshot`. Nothing is applied between the call and its
   * `persisted`; then the state machine stands at its index.
   */
  install(_checkpoint: Checkpoint): InstallOutcome {
    throw new Error('not built');
  }

  /** A read has found entries of this replica's log damaged. */
  damaged(_range: FaultyRange): void {
    throw new Error('not built');
  }

  /** Whether the disk is inside its reserve; goes to the leader with each reply. */
  reportReserve(_inReserve: boolean): void {
    throw new Error('not built');
  }

  /** Of a leader: itself or a voter that it hears from is inside its reserve. */
  get quorumInReserve(): boolean {
    throw new Error('not built');
  }

  /**
   * A cluster that has lost its quorum for good goes on with this configuration alone. What only
   * the lost servers had is lost. For an operator's order, never for a program's decision.
   */
  rescue(_configuration: Configuration): Changed {
    throw new Error('not built');
  }

  /** The configuration in use at this index, for a checkpoint there. Not before the log's start. */
  configurationAt(_index: LogIndex): ConfigurationAt {
    throw new Error('not built');
  }

  /** Term of the entry, from one before the log's start to its end; else undefined. */
  termAt(_index: LogIndex): Term | undefined {
    throw new Error('not built');
  }

  get role(): Role {
    throw new Error('not built');
  }

  get term(): Term {
    throw new Error('not built');
  }

  get leader(): ServerId | undefined {
    throw new Error('not built');
  }

  get commitIndex(): LogIndex {
    throw new Error('not built');
  }

  status(): Status {
    throw new Error('not built');
  }
}
