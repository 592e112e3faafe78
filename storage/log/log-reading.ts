/**
 * Reads durable entries and checks every byte of what it returns: header, payload, log, segment,
 * position and order. What does not hold is read once more (a flip on the way is not damage) and
 * then named as faulty.
 *
 * Nobody waits for a reader: the segment may be unlinked meanwhile (the open handle stays valid) or
 * its end cut (the generation tells, and the reader gets `truncated`). It never returns an index
 * above `durable`.
 */

import { BatchKind, decodeHeader, emptyHeader, HEADER_BYTES, windowOver } from './batch.ts';
import type { BatchHeader, Window } from './batch.ts';
import { crc32 } from './checksum.ts';
import { hasCode, readFully, uninitialised } from './file-bytes.ts';
import type { LogSegment } from './log-segment.ts';
import type { LogState } from './log-state.ts';
import type { Fault, FaultyRange, LogBatch, ReadLimits, ReadOutcome } from './log-types.ts';
import type { Epoch, FilePosition, LogIndex } from './positions.ts';
import type { SegmentHold } from './segment-handles.ts';
import { checkSegment } from './segment-check.ts';
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
  readonly hold: SegmentHold;
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

interface ReadRequest {
  readonly from: LogIndex;
  readonly limits: ReadLimits;
  /** Where the read before it ended. */
  readonly place: ReadPlace | undefined;
}

interface Read {
  readonly outcome: ReadOutcome;
  readonly place: ReadPlace | undefined;
}

/** Reads from the held segment, which is the one that holds `from`; tells where to go on. */
export async function readFrom(
  { state, indexes }: { state: LogState; indexes: SegmentIndexes },
  hold: SegmentHold,
  request: ReadRequest,
): Promise<Read> {
  const { generation } = state;
  const { from } = request;
  try {
    const sparse = await indexes.sparse(hold);
    const walked = await walkTwice(state, hold, { request, sparse });
    const read = settled(state, { generation, from, hold, walked });
    if (read !== undefined) return read;
    const { ranges, sparse: rebuilt } = await checkSegment(state, hold);
    if (generation !== state.generation) return cutMeanwhile(state, from);
    noteDamage(state, hold.source, ranges);
    hold.source.sparse = rebuilt ?? hold.source.sparse;
    const range = state.faultAt(from);
    if (range !== undefined) return { outcome: { kind: 'faulty', range }, place: undefined };
    // Only the way to it was damaged: the rebuilt index leads around.
    const again = await walkTwice(state, hold, { request, sparse: rebuilt ?? sparse });
    return (
      settled(state, { generation, from, hold, walked: again }) ??
      lost(state, hold, { from, walked: again })
    );
  } catch (error) {
    if (generation !== state.generation) return cutMeanwhile(state, from);
    if (!hasCode(error, 'EIO')) throw error;
    const fault = { kind: 'unreadable', position: 0 } as const;
    return lost(state, hold, { from, walked: { batches: [], position: 0, fault } });
  }
}

/** The outcome, unless nothing sound was found where an entry has to be. */
function settled(
  state: LogState,
  found: { generation: number; from: LogIndex; hold: SegmentHold; walked: Walked },
): Read | undefined {
  const { generation, from, hold, walked } = found;
  const { batches, position } = walked;
  if (generation !== state.generation) return cutMeanwhile(state, from);
  if (batches.length === 0) return undefined;
  const index = (from + batches.length) as LogIndex;
  const place = { segment: hold.source, index, position, generation };
  return { outcome: { kind: 'batches', batches }, place };
}

function cutMeanwhile(state: LogState, from: LogIndex): Read {
  const outcome = outcomeWithoutReading(state, from);
  // The entry may be there still, but what was read may be a mixture: the caller asks again.
  const { start, last } = state;
  return { outcome: outcome ?? { kind: 'truncated', start, last }, place: undefined };
}

/** One entry that cannot be read, where nothing more is known. */
function lost(
  state: LogState,
  hold: SegmentHold,
  { from, walked }: { from: LogIndex; walked: Walked },
): Read {
  const { source: segment } = hold;
  const kind = walked.fault?.kind ?? 'missing-bytes';
  const position = walked.position as FilePosition;
  const range: FaultyRange = {
    from,
    through: from,
    epoch: undefined,
    fault: kind,
    segmentId: segment.segmentId,
    position,
    end: segment.end,
    hardStateUnsure: false,
    detail: `segment ${segment.segmentId} from byte ${position} on: ${kind} when it was read`,
  };
  noteDamage(state, segment, [range]);
  return { outcome: { kind: 'faulty', range }, place: undefined };
}

/** Damage that came after recovery: kept in mind, so that the next start looks for itself. */
function noteDamage(state: LogState, segment: LogSegment, ranges: readonly FaultyRange[]): void {
  segment.sound = false;
  const kept = state.faulty.filter((known) => {
    return !ranges.some(
      (range) => range.segmentId === known.segmentId && range.from === known.from,
    );
  });
  state.faulty = [...kept, ...ranges].toSorted((a, b) => a.from - b.from);
}

/** A second look where the first finds damage: a bit that flips on the way is none. */
async function walkTwice(
  state: LogState,
  hold: SegmentHold,
  { request, sparse }: { request: ReadRequest; sparse: SparseIndex },
): Promise<Walked> {
  const { from, limits, place } = request;
  const { source: segment } = hold;
  const goesOn =
    place?.segment === segment && place.index === from && place.generation === state.generation;
  const walk: Walk = {
    hold,
    next: from,
    position: goesOn ? place.position : (sparse.positionFor(from) ?? 0),
    limits,
    before: Math.min(state.nextFaultFrom(from), state.durable + 1),
    end: segment.end,
  };
  const walked = await walkOver(state, walk);
  return walked.fault === undefined ? walked : walkOver(state, walk);
}

async function walkOver(state: LogState, walk: Walk): Promise<Walked> {
  const { file } = walk.hold;
  const { indexIntervalBytes } = state.settings;
  const { into } = walk.limits;
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
    const length = Math.max(0, Math.min(size, walk.end - position));
    const isRoom = into !== undefined && into.length >= length;
    const buffer = isRoom ? into.subarray(0, length) : uninitialised(length);
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

  /**
   * `more`: the piece is at its end. `full`: enough, or no further. Else what is wrong at
   * `position`.
   */
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
    const { segmentId } = this.#walk.hold.source;
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
