/**
 * The port between a shard and its replicated log: propose, entries in order, hard state.
 *
 * What the shard may assume: `propose` gives ascending indexes; `onCommitted` hands over every
 * entry once, in order, without gaps, beginning behind `committed` at the time of the call, and
 * only when it can no longer be lost (on a single node: when it is synced; in a group: when a
 * quorum synced it and it is synced here). What it must not do: change the bytes of a payload after
 * `propose`, or propose before `startTerm` resolved. When the log fails (its maker hears that,
 * once) nothing is committed any more, and what was proposed is of unknown outcome; a later
 * `propose` throws.
 *
 * A group may commit entries that this node did not propose, and may drop proposals when it loses
 * the lead: then `proposed` entries simply never come. The shard counts only what comes.
 */

import type { LogIndex } from '../machine/ids.ts';

export interface Proposal {
  readonly stampMs: number;
  readonly commandCount: number;
  readonly bytes: number;
  readonly payload: readonly Uint8Array[];
}

export interface ShardEntry extends Proposal {
  readonly index: LogIndex;
  readonly term: number;
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

export interface ShardLog {
  /** The same for as long as the log lives, and of no other log. */
  readonly id: string;
  /** First entry that is kept. */
  readonly start: LogIndex;
  /** Last entry, proposed ones included. */
  readonly last: LogIndex;
  readonly committed: LogIndex;
  /** Bytes on the disk. */
  readonly bytes: number;
  /** Oldest first. */
  readonly sealed: readonly SegmentExtent[];
  /** Where recovery found damage; empty on a sound log. */
  readonly faulty: readonly FaultyRange[];
  readonly stats: ShardLogStats;
  /** Begins a term above every earlier one and makes it durable; resolves with it. */
  startTerm(): Promise<number>;
  propose(proposal: Proposal): LogIndex;
  /** One listener; called with at least one entry. */
  onCommitted(listener: (entries: readonly ShardEntry[]) => void): void;
  /**
   * At least one entry if there is one, else up to `maxBytes` of payloads. Checked. With `into` the
   * payloads may lie there, and are gone when it is given again.
   */
  read(from: LogIndex, maxBytes: number, into?: Uint8Array): Promise<ReadOutcome>;
  /** Whole segments below; crash safe. */
  truncatePrefix(firstKept: LogIndex): Promise<void>;
  /** Waits for what is on its way, and leaves the mark of a clean stop. */
  close(): Promise<void>;
}
