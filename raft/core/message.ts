/**
 * What replicas say to each other: the RPCs of Raft figure 2 as single messages, and those of the
 * thesis that it needs (pre-vote 9.6, TimeoutNow 3.10, ReadIndex 6.4).
 *
 * Messages may be lost, repeated, late and out of order; the core takes all of that. A transport
 * must not change one. Checkpoints (InstallSnapshot, figure 13) travel outside the core: see
 * `Ready.catchUp` and `Raft.install`.
 */

import type { Entry } from './entry.ts';
import type { LogIndex, ServerId, Term } from './ids.ts';

interface Addressed {
  readonly from: ServerId;
  readonly to: ServerId;
  /** Sender's current term; of a pre-vote: the term it would campaign in. */
  readonly term: Term;
}

export interface RequestVote extends Addressed {
  readonly kind: 'requestVote';
  readonly lastLogIndex: LogIndex;
  readonly lastLogTerm: Term;
  readonly preVote: boolean;
  /** By order of the leader (TimeoutNow): not refused for having heard of it (thesis 4.2.3). */
  readonly transfer: boolean;
}

export interface RequestVoteReply extends Addressed {
  readonly kind: 'requestVoteReply';
  readonly voteGranted: boolean;
  readonly preVote: boolean;
  /** Of a server with an empty log: which one it is. Else empty. */
  readonly incarnation: string;
}

export interface AppendEntries extends Addressed {
  readonly kind: 'appendEntries';
  /** Which stay of the receiver in the cluster this belongs to; echoed by the reply. */
  readonly session: number;
  readonly prevLogIndex: LogIndex;
  readonly prevLogTerm: Term;
  readonly entries: readonly Entry[];
  readonly leaderCommit: LogIndex;
}

export interface AppendEntriesReply extends Addressed {
  readonly kind: 'appendEntriesReply';
  readonly session: number;
  readonly success: boolean;
  /** Success: everything up to here matches the leader's log and is durable. Else 0. */
  readonly matchIndex: LogIndex;
  /** Refused: the prevLogIndex of the request. Else 0. */
  readonly rejectedIndex: LogIndex;
  /** Refused: the highest index whose term may agree with the leader's, and that term. */
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
  /** Refused: from `rejectedIndex` on, what was acknowledged before is lost or damaged. */
  readonly tailLost: boolean;
  /** The sender's disk is inside its reserve (`Raft.reportReserve`). */
  readonly inReserve: boolean;
}

export interface Heartbeat extends Addressed {
  readonly kind: 'heartbeat';
  readonly session: number;
  readonly leaderCommit: LogIndex;
  /** Number of the newest round that confirms leadership for reads. */
  readonly round: number;
}

export interface HeartbeatReply extends Addressed {
  readonly kind: 'heartbeatReply';
  readonly session: number;
  readonly round: number;
  readonly inReserve: boolean;
}

export interface TimeoutNow extends Addressed {
  readonly kind: 'timeoutNow';
}

/** A follower asks the leader from which index on it may read. */
export interface ReadIndexRequest extends Addressed {
  readonly kind: 'readIndexRequest';
  readonly id: number;
}

export interface ReadIndexReply extends Addressed {
  readonly kind: 'readIndexReply';
  readonly id: number;
  /** 0: refused, ask again. */
  readonly index: LogIndex;
  /** Where the leader's log ended when it answered. */
  readonly lastLogIndex: LogIndex;
}

/** Asks for entries that were damaged here. */
export interface RepairRequest extends Addressed {
  readonly kind: 'repairRequest';
  readonly fromIndex: LogIndex;
  readonly throughIndex: LogIndex;
  /** An undamaged entry at or behind the range: who has it has the same range (log matching). */
  readonly anchorIndex: LogIndex;
  readonly anchorTerm: Term;
}

export type RepairAnswer = 'have' | 'dontHave' | 'unknown';

export interface RepairReply extends Addressed {
  readonly kind: 'repairReply';
  /** As they were asked: the log that asked may be another by now. */
  readonly fromIndex: LogIndex;
  readonly throughIndex: LogIndex;
  readonly anchorIndex: LogIndex;
  readonly anchorTerm: Term;
  /** A damaged or compacted copy is `unknown`, never `dontHave`. */
  readonly answer: RepairAnswer;
  /** `have`: entries from `fromIndex` on, as many as fit. */
  readonly entries: readonly Entry[];
}

export type Message =
  | RequestVote
  | RequestVoteReply
  | AppendEntries
  | AppendEntriesReply
  | Heartbeat
  | HeartbeatReply
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexReply
  | RepairRequest
  | RepairReply;

/** Whether it belongs on the channel for bulk; heartbeats and votes have one of their own. */
export function isBulk(message: Message): boolean {
  return message.kind === 'appendEntries' || message.kind === 'repairReply';
}
