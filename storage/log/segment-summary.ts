/**
 * What is known of a segment without reading it: kept in memory for each, and in its index file.
 */

import type { EpochStart } from './epoch-cache.ts';
import type { FilePosition, LogIndex, SegmentId } from './positions.ts';

export interface SegmentSummary {
  readonly segmentId: SegmentId;
  readonly firstIndex: LogIndex;
  /** `firstIndex - 1` where it holds no entry. */
  readonly lastIndex: LogIndex;
  /** One past its last byte of data. */
  readonly end: FilePosition;
  /** Header CRC of its last batch; undefined where that is not known. */
  readonly endChain: number | undefined;
  /** Largest append time of the log up to its end. */
  readonly largestTimeMs: number;
  /** Epochs that begin in it. */
  readonly epochs: readonly EpochStart[];
}
