/**
 * Looks at one segment of an open log as recovery would: every byte, in bounded memory. For damage
 * that a read has met, and for the chain at a cut; it changes nothing.
 */

import type { LogState } from './log-state.ts';
import type { FaultyRange } from './log-types.ts';
import type { FilePosition } from './positions.ts';
import type { SegmentHold } from './segment-handles.ts';
import { Recovery } from './recovery.ts';
import type { RecoveryDecision } from './recovery.ts';
import { ScanBuffers, scanFile } from './scan-file.ts';
import { SegmentScanner } from './scanner.ts';
import type { ScanSink } from './scanner.ts';
import type { SparseIndex } from './sparse-index.ts';

export interface SegmentCheck {
  /** What cannot be read, up to the durable end. */
  readonly ranges: readonly FaultyRange[];
  /** An index that leads around it. */
  readonly sparse: SparseIndex | undefined;
}

export async function checkSegment(state: LogState, hold: SegmentHold): Promise<SegmentCheck> {
  const { lastIndex, end } = hold.source;
  const { faulty, segments } = await recoverUpTo(state, hold, end);
  const ranges = faulty.map((range) => ({ ...range, through: range.through ?? lastIndex }));
  return { ranges, sparse: segments[0]?.sparse };
}

/** Recovery's decision over the segment as if it ended, synced, at `end`. */
export async function recoverUpTo(
  state: LogState,
  hold: SegmentHold,
  end: FilePosition,
): Promise<RecoveryDecision> {
  const { segmentId, firstIndex } = hold.source;
  const kept = { segmentId, firstIndex, length: end };
  const manifest = {
    ...state.manifest(false),
    start: firstIndex,
    mark: { segmentId, position: end },
    segments: [kept],
  };
  const recovery = new Recovery(manifest, state.settings.indexIntervalBytes);
  recovery.begin(kept);
  await scanHeld(state, hold, { sink: recovery, end: await readable(hold, end) });
  return recovery.finish();
}

/** Feeds the segment, up to `end`, to a sink. */
export async function scanHeld(
  state: LogState,
  { source: segment, file }: SegmentHold,
  { sink, end }: { sink: ScanSink; end: number },
): Promise<void> {
  const { segmentId } = segment;
  const scanner = new SegmentScanner({ logId: state.logIdHalves, segmentId, end }, sink);
  await scanFile(file, scanner, { end, buffers: new ScanBuffers() });
}

/** The file may have become shorter than its segment: that is damage too. */
async function readable({ file }: SegmentHold, end: number): Promise<number> {
  return Math.min(end, await file.size());
}
