/**
 * What goes into a log and comes out of it: options, batches, outcomes of reads, the report of
 * recovery. Types only; the contract of each call stands at the class in `log.ts`.
 */

import type { StorageError } from '../errors.ts';
import type { Files } from '../files.ts';
import type { Epoch, FilePosition, LogIndex, SegmentId } from './positions.ts';

/**
 * How bytes reach stable storage. `prewritten-dsync`: files are filled with zeros ahead and opened
 * O_DSYNC, one hop for a write. `fdatasync`: the file grows, and each write is followed by
 * fdatasync. In both, large writes of a file that grows are copied while those before them are
 * synced (docs/decisions/0048-writes-beside-a-sync.md).
 */
export type SyncMode = 'prewritten-dsync' | 'fdatasync';

export interface LogOptions {
  readonly files: Files;
  /** The log's own folder; made if it is missing, in a parent that is there. */
  readonly directory: string;
  /** Wall clock in milliseconds, for the append time of batches that are no entries. */
  now(): number;
  /** Ranges and defaults of the numbers: `LOG_LIMITS`. */
  readonly segmentBytes?: number;
  readonly indexIntervalBytes?: number;
  readonly maxWriteBytes?: number;
  readonly maxBatchBytes?: number;
  /** Default `prewritten-dsync` (docs/decisions/0001-sync-mode.md). */
  readonly syncMode?: SyncMode;
  readonly prewriteBytes?: number;
  readonly copyBytes?: number;
  readonly unsyncedBytes?: number;
  readonly idleMarkMs?: number;
  /** 16 hexadecimal digits for a log that is created; default: random. */
  newLogId?(): string;
  /**
   * For a log that is created: it goes on behind an entry that it does not hold, because something
   * else has all up to there. A log that is there is opened as it is.
   */
  readonly beginsBehind?: EntryName;
  /**
   * Around each write with its sync, or each sync that runs beside copies, one after the other: for
   * whoever measures them.
   */
  writing?(): void;
  written?(): void;
  /** So many zeros were written ahead of the data. */
  prewritten?(bytes: number): void;
  /** Called once, with the first failed write or sync. The log takes nothing more after it. */
  onFailure(error: StorageError): void;
}

export interface EntryName {
  readonly index: number;
  readonly epoch: number;
}

export interface AppendBatch {
  /** Never below that of the batch before. */
  readonly epoch: number;
  readonly timestampMs: number;
  readonly recordCount: number;
  /**
   * Joined into one payload. Copied before `append` returns: the caller owns the bytes again then.
   */
  readonly payload: readonly Uint8Array[];
}

/**
 * A checked entry. The payload belongs to the caller, and may share its memory with its neighbours.
 */
export interface LogBatch {
  readonly index: LogIndex;
  readonly epoch: Epoch;
  readonly timestampMs: number;
  readonly recordCount: number;
  readonly payload: Uint8Array;
}

/** What the caller must not forget; durable together with the entries around it. */
export interface HardState {
  readonly term: number;
  readonly vote: string;
}

export const FAULTS = [
  'bad-header',
  'bad-payload',
  'wrong-chain',
  'wrong-order',
  'foreign-log',
  'misdirected',
  'missing-segment',
  'missing-bytes',
  'unreadable',
] as const;
export type Fault = (typeof FAULTS)[number];

/**
 * A part of the log that was durable, or may have been, and cannot be read. Never truncated by
 * itself.
 */
export interface FaultyRange {
  /** First entry that is lost. */
  readonly from: LogIndex;
  /**
   * Last entry that is lost. `from - 1`: no entry is lost, only a mark or hard state. `undefined`:
   * nothing valid lies behind, so nobody knows; such a log refuses appends until its suffix is
   * truncated to `from - 1`.
   */
  readonly through: LogIndex | undefined;
  /** Epoch of the entry, where its header is sound and it is the only one. */
  readonly epoch: Epoch | undefined;
  readonly fault: Fault;
  readonly segmentId: SegmentId;
  readonly position: FilePosition;
  /** First byte behind the range in its segment. */
  readonly end: FilePosition;
  /** True where a hard state may be lost with it and no later one is known. */
  readonly hardStateUnsure: boolean;
  /** For people: file, position, what was found. */
  readonly detail: string;
}

export type ReadOutcome =
  /** Ascending without gaps; empty where nothing is durable at `from` yet. */
  | { readonly kind: 'batches'; readonly batches: readonly LogBatch[] }
  /**
   * `from` was cut off at the front or the back, or something that this reader had passed was,
   * whatever stands there now: reposition within [start, last + 1].
   */
  | { readonly kind: 'truncated'; readonly start: LogIndex; readonly last: LogIndex }
  | { readonly kind: 'faulty'; readonly range: FaultyRange };

export interface ReadLimits {
  /** Payload bytes; the first batch is returned whatever its size. */
  readonly maxBytes: number;
  /**
   * Memory to read into where it is large enough; the payloads that are returned then lie in it,
   * and are the caller's until he gives it again. For who reads much and keeps nothing.
   */
  readonly into?: Uint8Array;
}

export interface TornTail {
  readonly segmentId: SegmentId;
  readonly position: FilePosition;
  readonly detail: string;
}

export interface RecoveryReport {
  /** There was no log: this one is new. */
  readonly created: boolean;
  /** The log was closed in order; sealed segments with a good index were not read. */
  readonly clean: boolean;
  /** Where an unfinished last write was cut off. Nothing acknowledged lay there. */
  readonly tornTail: TornTail | undefined;
  readonly faulty: readonly FaultyRange[];
  readonly segments: number;
  readonly segmentsScanned: number;
  readonly bytesScanned: number;
  readonly indexesRebuilt: number;
  /** Names of files that a crash had left over. */
  readonly removed: readonly string[];
}

export interface SegmentExtent {
  readonly first: LogIndex;
  /** `first - 1` in a segment without entries. */
  readonly last: LogIndex;
  /** Of its file. */
  readonly bytes: number;
}

export interface LogStats {
  readonly appends: number;
  readonly writes: number;
  readonly syncs: number;
  readonly bytesWritten: number;
  readonly marks: number;
  readonly segmentsCreated: number;
}
