/**
 * Reads durable entries and checks every byte of what it returns: header, payload, log, segment, position and
 * order. What does not hold is read once more (a flip on the way is not damage) and then named as faulty.
 *
 * Nobody waits for a reader: the segment may be unlinked meanwhile (the open handle stays valid) or its end
 * cut (the generation tells, and the reader gets `truncated`). It never returns an index above `durable`.
 */

import { BatchKind, decodeHeader, emptyHeader, HEADER_BYTES, windowOver } from './batch.ts';
import type { BatchHeader, Window } from './batch.ts';
import { crc32 } from './checksum.ts';
import { hasCode, readFully, uninitialised } from './file-bytes.ts';
import type { LogSegment } from './log-segment.ts';
import type { LogState } from './log-state.ts';
import type { Fault, FaultyRange, LogBatch, ReadLimits, ReadOutcome } from './log-types.ts';
import type { Epoch, FilePosition, LogIndex } from './positions.ts';
import type { Hold } from './read-handles.ts';
import type { SegmentIndexes } from './segment-indexes.ts';
import type { SparseIndex } from './sparse-index.ts';

const MAX_FIRST_READ_BYTES = 1024 * 1024;

/** Where a reader goes on: the position of the entry `index` in its segment. */
export interface ReadPlace {
  segment: LogSegment;
  index: LogIndex;
  position: number;
  generation: number;
}

interface Walk {
  readonly hold: Hold;
  readonly next: LogIndex;
  readonly position: number;
  readonly limits: ReadLimits;
  /** No entry at or behind this index. */
  readonly before: number;
  readonly end: number;
}

interface Walked {
  readonly batches: LogBatch[];
  readonly position: number;
  readonly fault: { readonly kind: Fault; readonly position: number } | undefined;
}

/** What `from` means without looking at the disk; undefined: there is something to read. */
export function outcomeWithoutReading(state: LogState, from: LogIndex): ReadOutcome | undefined {
  if (from < state.start || from > state.last + 1) {
    return { kind: 'truncated', start: state.start, last: state.last };
  }
  const range = state.faultAt(from);
  if (range !== undefined) return { kind: 'faulty', range };
  return from > state.durable ? { kind: 'batches', batches: [] } : undefined;
}

/** Reads from the held segment, which is the one that holds `from`; moves `place` on. */
export async function readFrom(
  { state, indexes }: { state: LogState; indexes: SegmentIndexes },
  hold: Hold,
  request: { from: LogIndex; limits: ReadLimits; place: ReadPlace | undefined },
): Promise<{ outcome: ReadOutcome; place: ReadPlace | undefined }> {
  const { segment } = hold;
  const { generation } = state;
  const { from, limits, place } = request;
  try {
    const sparse = await indexes.sparse(hold);
    const fits =
      place?.segment === segment && place.index === from && place.generation === generation;
    const walk: Walk = {
      hold,
      next: from,
      position: fits ? place.position : (sparse.positionFor(from) ?? 0),
      limits,
      before: Math.min(state.nextFaultFrom(from), state.durable + 1),
      end: segment.end,
    };
    let walked = await walkOver(state, walk);
    if (walked.fault !== undefined) walked = await walkOver(state, walk);
    if (generation !== state.generation) return cutMeanwhile(state, from);
    return concluded(state, { walk, walked, sparse });
  } catch (error) {
    if (generation !== state.generation) return cutMeanwhile(state, from);
    if (!hasCode(error, 'EIO')) throw error;
    const fault = { kind: 'unreadable', position: 0 } as const;
    const sparse = segment.sparse;
    return {
      outcome: { kind: 'faulty', range: noteFault(state, { segment, from, fault, sparse }) },
      place: undefined,
    };
  }
}

function cutMeanwhile(state: LogState, from: LogIndex): { outcome: ReadOutcome; place: undefined } {
  const outcome = outcomeWithoutReading(state, from);
  // The entry is there still, but what was read may be a mixture: the caller asks again.
  return {
    outcome: outcome ?? { kind: 'truncated', start: state.start, last: state.last },
    place: undefined,
  };
}

function concluded(
  state: LogState,
  { walk, walked, sparse }: { walk: Walk; walked: Walked; sparse: SparseIndex },
): { outcome: ReadOutcome; place: ReadPlace | undefined } {
  const { segment } = walk.hold;
  const { batches, fault } = walked;
  if (batches.length > 0) {
    const index = (walk.next + batches.length) as LogIndex;
    const { generation } = state;
    const place = { segment, index, position: walked.position, generation };
    return { outcome: { kind: 'batches', batches }, place };
  }
  const found = fault ?? { kind: 'missing-bytes', position: walked.position };
  const range = noteFault(state, { segment, from: walk.next, fault: found, sparse });
  return { outcome: { kind: 'faulty', range }, place: undefined };
}

/** Damage that came after recovery: kept in mind, so that a close does not call the log sound. */
function noteFault(
  state: LogState,
  found: {
    segment: LogSegment;
    from: LogIndex;
    fault: { readonly kind: Fault; readonly position: number };
    sparse: SparseIndex | undefined;
  },
): FaultyRange {
  const { segment, from, fault, sparse } = found;
  segment.sound = false;
  const position = fault.position as FilePosition;
  const behind = sparse?.entryBehind(position);
  const through = Math.min((behind?.index ?? segment.lastIndex + 1) - 1, segment.lastIndex);
  const range: FaultyRange = {
    from,
    through: Math.max(from, through) as LogIndex,
    epoch: undefined,
    fault: fault.kind,
    segmentId: segment.segmentId,
    position,
    end: behind?.position ?? segment.end,
    hardStateUnsure: false,
    detail: `segment ${segment.segmentId} from byte ${position} on: ${fault.kind} when it was read`,
  };
  state.faulty = [...state.faulty, range].toSorted((a, b) => a.from - b.from);
  return range;
}

async function walkOver(state: LogState, walk: Walk): Promise<Walked> {
  const { file } = walk.hold;
  const { indexIntervalBytes } = state.settings;
  const wanted = Math.min(
    walk.limits.maxBytes + indexIntervalBytes + HEADER_BYTES,
    MAX_FIRST_READ_BYTES,
  );
  let size = wanted;
  const batches: LogBatch[] = [];
  let { position } = walk;
  const header = emptyHeader();
  const budget = { bytes: walk.limits.maxBytes };
  for (;;) {
    const buffer = uninitialised(Math.max(0, Math.min(size, walk.end - position)));
    const count = await readFully(file, buffer, position);
    const window = windowOver(buffer.subarray(0, count));
    const piece = new Piece(state, walk, { window, position, header });
    const stop = piece.take(batches, budget);
    position = piece.position;
    if (stop === 'full') return { batches, position, fault: undefined };
    if (stop !== 'more') return { batches, position, fault: { kind: stop, position } };
    if (batches.length > 0 || position >= walk.end) return { batches, position, fault: undefined };
    if (count < buffer.length)
      return { batches, position, fault: { kind: 'missing-bytes', position } };
    size = Math.max(wanted, piece.wantedBytes);
  }
}

/** One piece of the file in memory, walked over batch by batch. */
class Piece {
  readonly #state: LogState;
  readonly #walk: Walk;
  readonly #window: Window;
  readonly #from: number;
  readonly #header: BatchHeader;
  position: number;
  /** Bytes of the batch at `position`, where they go beyond the piece. */
  wantedBytes = HEADER_BYTES;

  constructor(
    state: LogState,
    walk: Walk,
    piece: { window: Window; position: number; header: BatchHeader },
  ) {
    this.#state = state;
    this.#walk = walk;
    this.#window = piece.window;
    this.#from = piece.position;
    this.position = piece.position;
    this.#header = piece.header;
  }

  /** `more`: the piece is at its end. `full`: enough, or no further. Else what is wrong at `position`. */
  take(into: LogBatch[], budget: { bytes: number }): 'more' | 'full' | Fault {
    const header = this.#header;
    const { next, before } = this.#walk;
    for (;;) {
      const at = this.position - this.#from;
      const rest = this.#window.bytes.length - at;
      if (rest < HEADER_BYTES) {
        this.wantedBytes = HEADER_BYTES;
        return next + into.length >= before ? 'full' : 'more';
      }
      if (!decodeHeader(this.#window, at, header)) return 'bad-header';
      const fault = this.#misplaced(header);
      if (fault !== undefined) return fault;
      const length = HEADER_BYTES + header.payloadLength;
      const expected = next + into.length;
      if (header.kind !== BatchKind.entry || header.index < next) {
        this.position += length;
        if (length > rest) return 'more';
        continue;
      }
      if (expected >= before) return 'full';
      if (header.index !== expected) return 'wrong-order';
      if (into.length > 0 && header.payloadLength > budget.bytes) return 'full';
      if (length > rest) {
        this.wantedBytes = length;
        return 'more';
      }
      const payload = this.#window.bytes.subarray(at + HEADER_BYTES, at + length);
      if (crc32(payload) !== header.payloadCrc) return 'bad-payload';
      into.push(batchOf(header, payload));
      budget.bytes -= header.payloadLength;
      this.position += length;
    }
  }

  #misplaced(header: BatchHeader): Fault | undefined {
    const { low, high } = this.#state.logIdHalves;
    if (header.logIdLow !== low || header.logIdHigh !== high) return 'foreign-log';
    const { segmentId } = this.#walk.hold.segment;
    const here = header.segmentId === segmentId && header.position === this.position;
    return here ? undefined : 'misdirected';
  }
}

function batchOf(header: BatchHeader, payload: Uint8Array): LogBatch {
  return {
    index: header.index as LogIndex,
    epoch: header.epoch as Epoch,
    timestampMs: header.timestampMs,
    recordCount: header.recordCount,
    payload,
  };
}
