/**
 * What a replica is started with: who it is, its limits, and what recovery found on its disk.
 *
 * Times are counted in ticks; the host gives the length of one. Everything has a default but the
 * identity, the random numbers and the recovered state.
 */

import type { ConfigurationAt } from './configuration.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';
import type { HardState } from './ready.ts';

export interface FaultyRange {
  readonly from: LogIndex;
  /** `undefined`: nothing valid lies behind, so nobody knows where it ends. */
  readonly through: LogIndex | undefined;
  /** Term of the entry at `through`, where its header is sound although its payload is not. */
  readonly throughTerm?: Term | undefined;
}

/** Entries from `firstIndex` on have `term`, until the next pair. */
export interface TermStart {
  readonly term: Term;
  readonly firstIndex: LogIndex;
}

/** What recovery found. A new replica: zeros, no terms, and the configuration it is made with. */
export interface Recovered {
  readonly hardState: HardState;
  /** First index of the log; entries before it are in the checkpoint. */
  readonly start: LogIndex;
  /** Term of the entry before `start`; 0 where there is none. */
  readonly termBeforeStart: Term;
  /** `start - 1` in a log without entries. */
  readonly last: LogIndex;
  /** Of the entries from `start` on, ascending. */
  readonly terms: readonly TermStart[];
  /**
   * Ascending by index: the one in use at the checkpoint, then each entry of kind `configuration`
   * behind that, in the log. Empty members: a replica that waits to be added.
   */
  readonly configurations: readonly ConfigurationAt[];
  /** Index of the checkpoint that the state machine stands at. */
  readonly applied: LogIndex;
  readonly faulty: readonly FaultyRange[];
  /** From `install`: see `Checkpoint.serveFrom`. */
  readonly serveFrom: LogIndex;
  /**
   * The state at the checkpoint cannot be read: `applied` is `start - 1`, and nothing is applied
   * before a checkpoint of a peer is installed. Log and vote are as sound as ever. Absent: false.
   */
  readonly stateLost?: boolean;
}

export interface Limits {
  readonly heartbeatTicks: number;
  /** An election time-out is drawn from [electionTicks, 2 * electionTicks). */
  readonly electionTicks: number;
  /** A leader whose oldest write is under way for longer steps down. */
  readonly diskStallTicks: number;
  /** Appends sent to a peer and not acknowledged. */
  readonly windowMessages: number;
  readonly windowBytes: number;
  /** Entries in one AppendEntries; the first is sent whatever its size. */
  readonly messageBytes: number;
  /** Largest payload that is proposed. */
  readonly entryBytes: number;
  /** Proposed and not committed; above it `busy`. */
  readonly uncommittedBytes: number;
  /** Entries kept in memory for peers that are a little behind. */
  readonly tailBytes: number;
  /** Handed out for apply and not reported applied. */
  readonly applyBytes: number;
  /** Reads that wait. */
  readonly pendingReads: number;
  /** Between two attempts to move leadership to the preferred server. */
  readonly balanceTicks: number;
}

export interface RaftOptions {
  readonly id: ServerId;
  readonly recovered: Recovered;
  readonly limits?: Partial<Limits>;
  /** From [0, 1), for election time-outs. */
  random(): number;
  /**
   * Name of the log that the replica has: another one whenever a log begins anew. With it a founder
   * that comes back without its log is found out; all founders have one, or none (`founding.ts`).
   */
  readonly incarnation?: string | undefined;
  /** Where leadership should be, if that server is there and has caught up. */
  readonly preferred?: ServerId | undefined;
}
