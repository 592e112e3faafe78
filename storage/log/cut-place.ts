/**
 * Where the log is cut so that an entry is the last: the byte behind it and behind the marks and
 * hard states that follow it, and the chain that goes on from there. Reads only; what it cannot
 * find for damage it refuses.
 *
 * In a sound segment it walks over a few headers; in a damaged one it scans as recovery does,
 * because the chain behind damage is what recovery will find there.
 */

import { assert } from '../assert.ts';
import { StorageError } from '../errors.ts';
import { BatchKind, decodeHeader, emptyHeader, HEADER_BYTES, windowOver } from './batch.ts';
import type { BatchHeader } from './batch.ts';
import { readFully } from './file-bytes.ts';
import type { LogSegment } from './log-segment.ts';
import type { LogState } from './log-state.ts';
import type { FaultyRange } from './log-types.ts';
import type { FilePosition, LogIndex } from './positions.ts';
import type { SegmentHandles, SegmentHold } from './segment-handles.ts';
import type { BadStretch, ScanSink } from './scanner.ts';
import { recoverUpTo, scanHeld } from './segment-check.ts';
import type { SegmentIndexes } from './segment-indexes.ts';

export interface CutPlace {
  /** So many segments stay, the last of them up to `position`. */
  readonly keep: number;
  readonly position: FilePosition;
  /** Header CRC of the last batch that stays; undefined where that is not known. */
  readonly chain: number | undefined;
}

export interface CutLog {
  readonly state: LogState;
  readonly handles: SegmentHandles;
  readonly indexes: SegmentIndexes;
}

export async function findCut(log: CutLog, lastKept: LogIndex): Promise<CutPlace> {
  const { state } = log;
  const { segments } = state;
  const first = (lastKept + 1) as LogIndex;
  const fault = state.faulty.find((range) => range.from === first);
  const at = fault
    ? segments.findIndex((segment) => segment.segmentId === fault.segmentId)
    : segments.findLastIndex((segment) => segment.firstIndex <= first);
  const segment = segments[at];
  assert(segment !== undefined, 'a segment holds what is cut');
  const whole = segment.missing || fault?.position === 0;
  if (whole || (segment.firstIndex === first && fault === undefined)) return wholeUpTo(log, at);
  const hold = await log.handles.hold(segment);
  try {
    const place = segment.sound
      ? await walkToCut(log, hold, first)
      : await scanToCut(log, hold, { first, fault });
    return { keep: at + 1, ...place };
  } finally {
    hold.release();
  }
}

type InSegment = Omit<CutPlace, 'keep'>;

function wholeUpTo({ state }: CutLog, keep: number): CutPlace {
  const last = state.segments[keep - 1];
  return { keep, position: last?.end ?? (0 as FilePosition), chain: last?.endChain };
}

async function walkToCut(log: CutLog, hold: SegmentHold, first: LogIndex): Promise<InSegment> {
  const { source: segment, file } = hold;
  const sparse = await log.indexes.sparse(hold);
  const window = windowOver(new Uint8Array(HEADER_BYTES));
  const header = emptyHeader();
  let chain: number | undefined;
  let position: number = sparse.positionFor((first - 1) as LogIndex) ?? 0;
  while (position < segment.end) {
    await readFully(file, window.bytes, position);
    const sound = decodeHeader(window, 0, header);
    if (!sound || header.position !== position || header.segmentId !== segment.segmentId) {
      throw refused(segment, `bad header at byte ${position}`);
    }
    if (header.kind === BatchKind.entry && header.index >= first) break;
    chain = header.headerCrc;
    position += HEADER_BYTES + header.payloadLength;
  }
  assert(chain !== undefined, 'a sound batch stands before the cut');
  return { position: position as FilePosition, chain };
}

async function scanToCut(
  log: CutLog,
  hold: SegmentHold,
  { first, fault }: { first: LogIndex; fault: FaultyRange | undefined },
): Promise<InSegment> {
  const { source: segment } = hold;
  const finder = new EntryFinder(first);
  if (fault === undefined) await scanHeld(log.state, hold, { sink: finder, end: segment.end });
  const position = fault?.position ?? finder.position;
  if (position === undefined) throw refused(segment, `entry ${first} cannot be found`);
  const { end } = await recoverUpTo(log.state, hold, position);
  return { position, chain: end.chain };
}

/** Finds where an entry begins, if its header is sound. */
class EntryFinder implements ScanSink {
  readonly #index: LogIndex;
  position: FilePosition | undefined;

  constructor(index: LogIndex) {
    this.#index = index;
  }

  batch(header: BatchHeader): void {
    if (header.kind !== BatchKind.entry || header.index !== this.#index) return;
    this.position ??= header.position as FilePosition;
  }

  bad({ header }: BadStretch): void {
    if (header !== undefined) this.batch(header);
  }

  end(): void {
    // Nothing to note: an entry that was not met is not there.
  }
}

function refused(segment: LogSegment, why: string): StorageError {
  return new StorageError('damaged', `segment ${segment.segmentId} cannot be cut: ${why}`);
}
