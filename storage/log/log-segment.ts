/**
 * A segment as the open log knows it: its place in the log, how far it is durable, its sparse
 * index, which may note entries that are not durable yet, behind all that are.
 *
 * Changed only by the writer, when a sync has ended, and by truncation. `generation` rises when its
 * end is cut, so that a read under way knows that what it found may be gone.
 */

import type { EpochStart } from './epoch-cache.ts';
import type { FilePosition, LogIndex, SegmentId } from './positions.ts';
import type { SegmentSummary } from './segment-summary.ts';
import type { SparseIndex } from './sparse-index.ts';

export interface LogSegment {
  readonly segmentId: SegmentId;
  readonly firstIndex: LogIndex;
  readonly path: string;
  readonly indexPath: string;
  /** Durable, as are chain and time. */
  lastIndex: LogIndex;
  /** One past the last durable byte of data. */
  end: FilePosition;
  endChain: number | undefined;
  largestTimeMs: number;
  /** undefined: sealed, and to be loaded from the index file when somebody asks. */
  sparse: SparseIndex | undefined;
  /** Nothing is written to it any more. */
  sealed: boolean;
  /** Without any known damage. */
  sound: boolean;
  /** The file is not there. */
  missing: boolean;
  /** Size of the file, zeros written ahead included. */
  fileBytes: number;
}

export function summaryOf(segment: LogSegment, starts: readonly EpochStart[]): SegmentSummary {
  const { segmentId, firstIndex, lastIndex, end, endChain, largestTimeMs } = segment;
  const epochs = starts.filter((start) => {
    return start.firstIndex >= firstIndex && start.firstIndex <= lastIndex;
  });
  return { segmentId, firstIndex, lastIndex, end, endChain, largestTimeMs, epochs };
}
