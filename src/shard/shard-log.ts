/**
 * The port between a shard and its replicated log: who leads, propose, entries in order.
 *
 * What the shard may assume: after `follow`, `committed` hands over every entry once, in order,
 * without gaps, and only when it can no longer be lost, whoever proposed it; `leads` comes before
 * anything that this node proposed in that term; nothing is called from inside a call of the shard.
 * What it must not do: change the bytes of a payload after `propose`. When the log fails, what was
 * proposed is of unknown outcome, and a later `propose` throws.
 *
 * What was proposed may never come: when the lead is lost, other entries may take its place. An
 * entry that comes may not be synced on this node yet, because a quorum of others has it: `synced`
 * waits for that, and no checkpoint may be ahead of it.
 */

import type { HeldFor } from '#raft';
import type { LogIndex } from '../machine/ids.ts';

export interface Proposal {
  readonly stampMs: number;
  readonly commandCount: number;
  readonly bytes: number;
  readonly payload: readonly Uint8Array[];
}

export interface ShardEntry {
  readonly index: LogIndex;
  readonly term: number;
  /** Of the payload: 0 where the entry has no commands, and only takes its place. */
  readonly bytes: number;
  readonly payload: readonly Uint8Array[];
}

/** Indexes [from, through] that cannot be read: their bytes are damaged. */
export interface FaultyRange {
  readonly from: LogIndex;
  readonly through: LogIndex;
  /** For people: file, position, what was found. */
  readonly detail: string;
}

export type ReadOutcome =
  | { readonly kind: 'entries'; readonly entries: readonly ShardEntry[] }
  /** The log begins behind `from`, or ends before it. */
  | { readonly kind: 'outside' }
  | { readonly kind: 'faulty'; readonly range: FaultyRange };

/** A segment that is sealed: it can go as a whole. */
export interface SegmentExtent {
  readonly first: LogIndex;
  readonly last: LogIndex;
  /** Of its file. */
  readonly bytes: number;
}

export interface ShardLogStats {
  readonly appends: number;
  readonly writes: number;
  readonly syncs: number;
  /** On the disk now. */
  readonly bytes: number;
  readonly segments: number;
}

export interface ShardLogFollower {
  /** At least one. Further ones come as `applied` is told. */
  committed(entries: readonly ShardEntry[]): void;
  /** This node leads in this term; every entry of an earlier term lies before `first`. */
  leads(term: number, first: LogIndex): void;
  /** It does not lead, or no more. Undefined: nobody knows who does. */
  follows(leader: string | undefined): void;
  /** Once, and the last call: nothing is committed any more. */
  failed(error: Error): void;
}

export interface ShardLog {
  /** The same for as long as the log lives, and of no other log. */
  readonly id: string;
  /** No other node can lead. Before it is followed: as far as the checkpoint knows. */
  readonly alone: boolean;
  /** First entry that is kept. */
  readonly start: LogIndex;
  /** Last entry, also one that may never be committed. */
  readonly last: LogIndex;
  readonly committed: LogIndex;
  /** Bytes on the disk. */
  readonly bytes: number;
  /** Oldest first. */
  readonly sealed: readonly SegmentExtent[];
  /** Where recovery found damage; empty on a sound log. */
  readonly faulty: readonly FaultyRange[];
  readonly stats: ShardLogStats;
  /**
   * Once: takes part from now on; entries begin behind `behind`, which is applied. Rejects where
   * the log is not fit for it; nothing has changed then.
   */
  follow(behind: LogIndex, follower: ShardLogFollower): Promise<void>;
  /** Everything up to here is applied. Cheap to call often. */
  applied(index: LogIndex): void;
  /** Asks who leads what is committed, instead of waiting to be told. Absent: it always knows. */
  hasten?(): void;
  /**
   * `held`: not now, because the lead is being handed over, or too much is under way; propose it
   * again, before all others.
   * `lost`: this node does not lead any more, which `follows` tells.
   */
  propose(proposal: Proposal): LogIndex | 'held' | 'lost';
  /**
   * `done`, later, with an index at or above all that was committed anywhere before this call, and
   * is handed over up to there; or undefined: this node does not lead, or not yet for sure.
   */
  readIndex(done: (index: LogIndex | undefined) => void): void;
  /** The group that the entry at `index` was committed in, encoded, for a checkpoint there. */
  membersAt(index: LogIndex): Uint8Array;
  /** Resolves when this entry, which was committed, is on stable storage here. */
  synced(index: LogIndex): Promise<void>;
  /**
   * At least one entry if there is one, else up to `maxBytes` of payloads. Checked. With `into` the
   * payloads may lie there, and are gone when it is given again.
   */
  read(from: LogIndex, maxBytes: number, into?: Uint8Array): Promise<ReadOutcome>;
  /** Whole segments below; crash safe. `heldFor`: whose part of it stays. */
  truncatePrefix(firstKept: LogIndex, heldFor: HeldFor): Promise<void>;
  /** Waits for what is on its way, and leaves the mark of a clean stop. */
  close(): Promise<void>;
}
