/**
 * Gives the sparse index of any segment: the live one, the index file's, or one built anew from the
 * log where that file is missing or bad. A few of sealed segments stay in memory, those last asked
 * for.
 */

import { readIndexFile } from './index-file.ts';
import type { LogSegment } from './log-segment.ts';
import type { LogState } from './log-state.ts';
import { BatchKind } from './batch.ts';
import type { BatchHeader } from './batch.ts';
import type { FilePosition, LogIndex } from './positions.ts';
import type { SegmentHold } from './segment-handles.ts';
import { scanHeld } from './segment-check.ts';
import type { ScanSink } from './scanner.ts';
import { SparseIndex } from './sparse-index.ts';

const MAX_LOADED = 32;

export class SegmentIndexes {
  readonly #state: LogState;
  /** Sealed segments whose index was loaded, in the order of last use. */
  readonly #loaded = new Set<LogSegment>();

  constructor(state: LogState) {
    this.#state = state;
  }

  /** The index of the segment that `hold` holds; built from its file if need be. */
  async sparse(hold: SegmentHold): Promise<SparseIndex> {
    const { source: segment } = hold;
    if (segment.sparse !== undefined) {
      if (this.#loaded.delete(segment)) this.#loaded.add(segment);
      return segment.sparse;
    }
    const { files, indexIntervalBytes } = this.#state.settings;
    const { generation } = this.#state;
    const found = await readIndexFile(files, segment.indexPath);
    const fits =
      found?.logId === this.#state.logId &&
      found.summary.segmentId === segment.segmentId &&
      found.summary.end === segment.end;
    let sparse = fits ? found.sparse : undefined;
    if (sparse === undefined) {
      const builder = new IndexBuilder(segment.firstIndex, indexIntervalBytes);
      await scanHeld(this.#state, hold, { sink: builder, end: segment.end });
      ({ sparse } = builder);
    }
    // A cut meanwhile: what was read may show more than there is; the next call reads again.
    if (generation === this.#state.generation) this.#keep(segment, sparse);
    return sparse;
  }

  /** A sealed segment whose index was live until now. */
  adopt(segment: LogSegment): void {
    if (segment.sparse !== undefined) this.#keep(segment, segment.sparse);
  }

  forget(segment: LogSegment): void {
    this.#loaded.delete(segment);
  }

  #keep(segment: LogSegment, sparse: SparseIndex): void {
    segment.sparse ??= sparse;
    this.#loaded.add(segment);
    for (const oldest of this.#loaded) {
      if (this.#loaded.size <= MAX_LOADED) return;
      this.#loaded.delete(oldest);
      oldest.sparse = undefined;
    }
  }
}

/** Notes entries as they come; behind a bad stretch it begins anew. */
class IndexBuilder implements ScanSink {
  readonly sparse: SparseIndex;
  #largestTimeMs = 0;
  #lastIndex = 0;

  constructor(firstIndex: LogIndex, intervalBytes: number) {
    this.sparse = new SparseIndex(firstIndex, intervalBytes);
    this.#lastIndex = firstIndex - 1;
  }

  batch(header: BatchHeader): void {
    if (header.kind !== BatchKind.entry) return;
    // A stale batch is no place to start from.
    if (header.index <= this.#lastIndex) return this.sparse.force();
    this.#lastIndex = header.index;
    this.#largestTimeMs = Math.max(this.#largestTimeMs, header.timestampMs);
    const position = header.position as FilePosition;
    this.sparse.note(header.index as LogIndex, position, this.#largestTimeMs);
  }

  bad(): void {
    this.sparse.force();
  }

  end(): void {
    this.sparse.force();
  }
}
