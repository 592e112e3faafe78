/**
 * The manifest of a log as bytes: which segments belong to it and how far each was synced, the
 * start, the hard state, and whether the log was closed in order. Little-endian.
 *
 *   offset size
 *        0  u32  magic "FMQM"
 *        4  u16  format version, 1 (of the manifest and of all that it names)
 *        6  u16  flags: bit 0, closed in order
 *        8  u64  log id
 *       16  u64  start: first index that is kept
 *       24  u64  epoch of the entry before it
 *       32  u64  last index that was durable
 *       40  u64  hard state: term
 *       48  u32  durable mark: segment id ...
 *       52  u32  ... and position
 *       56  u32  next segment id
 *       60  u32  number of segments
 *       64  u32  length of the vote in bytes
 *       68  ...  hard state: vote, UTF-8
 *            16 bytes for each segment: u32 id, u64 first index, u32 length
 *            u32  CRC-32 of everything before
 *
 * A segment's length is where its data ends; longer files are cut back to it (an interrupted
 * truncation is finished so). 0xFFFFFFFF: the segment is still being written; only the last one may
 * be.
 */

import { StorageError } from '../errors.ts';
import { getU64, setU64 } from './batch.ts';
import { crc32 } from './checksum.ts';
import { logIdHalves, logIdOf } from './log-id.ts';
import type { HardState } from './log-types.ts';
import type { Epoch, FilePosition, LogIndex, Place, SegmentId } from './positions.ts';

const MAGIC = 0x4d_51_4d_46;
const VERSION = 1;
const CLEAN = 1;
const FIXED_BYTES = 68;
const SEGMENT_BYTES = 16;
const OPEN_LENGTH = 0xffff_ffff;

export interface ManifestSegment {
  readonly segmentId: SegmentId;
  readonly firstIndex: LogIndex;
  /** undefined: still being written. */
  readonly length: FilePosition | undefined;
}

export interface Manifest {
  readonly logId: string;
  readonly clean: boolean;
  readonly start: LogIndex;
  readonly epochBeforeStart: Epoch;
  readonly durable: LogIndex;
  readonly hardState: HardState;
  readonly mark: Place;
  readonly nextSegmentId: SegmentId;
  readonly segments: readonly ManifestSegment[];
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  const vote = new TextEncoder().encode(manifest.hardState.vote);
  const length = FIXED_BYTES + vote.length + manifest.segments.length * SEGMENT_BYTES + 4;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const logId = logIdHalves(manifest.logId);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  view.setUint16(6, manifest.clean ? CLEAN : 0, true);
  view.setUint32(8, logId.low, true);
  view.setUint32(12, logId.high, true);
  setU64(view, 16, manifest.start);
  setU64(view, 24, manifest.epochBeforeStart);
  setU64(view, 32, manifest.durable);
  setU64(view, 40, manifest.hardState.term);
  view.setUint32(48, manifest.mark.segmentId, true);
  view.setUint32(52, manifest.mark.position, true);
  view.setUint32(56, manifest.nextSegmentId, true);
  view.setUint32(60, manifest.segments.length, true);
  view.setUint32(64, vote.length, true);
  bytes.set(vote, FIXED_BYTES);
  let at = FIXED_BYTES + vote.length;
  for (const segment of manifest.segments) {
    view.setUint32(at, segment.segmentId, true);
    setU64(view, at + 4, segment.firstIndex);
    view.setUint32(at + 12, segment.length ?? OPEN_LENGTH, true);
    at += SEGMENT_BYTES;
  }
  view.setUint32(at, crc32(bytes.subarray(0, at)), true);
  return bytes;
}

/**
 * Throws StorageError `damaged` where the bytes are not what was written, `unknown-format` for a
 * newer one.
 */
export function decodeManifest(bytes: Uint8Array): Manifest {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - 4;
  if (end < FIXED_BYTES) throw damaged(`it has only ${bytes.length} bytes`);
  if (view.getUint32(0, true) !== MAGIC) throw damaged('it does not begin as a manifest does');
  if (crc32(bytes.subarray(0, end)) !== view.getUint32(end, true))
    throw damaged('its checksum is wrong');
  const version = view.getUint16(4, true);
  if (version !== VERSION) {
    throw new StorageError(
      'unknown-format',
      `the log has format ${version}; this version reads ${VERSION}`,
    );
  }
  const count = view.getUint32(60, true);
  const voteLength = view.getUint32(64, true);
  if (FIXED_BYTES + voteLength + count * SEGMENT_BYTES !== end)
    throw damaged('its lengths do not add up');
  const listFrom = FIXED_BYTES + voteLength;
  const segments = Array.from({ length: count }, (_none, nth) => {
    return decodeSegment(view, listFrom + nth * SEGMENT_BYTES);
  });
  checkSegments(segments);
  return {
    logId: logIdOf({ low: view.getUint32(8, true), high: view.getUint32(12, true) }),
    clean: (view.getUint16(6, true) & CLEAN) !== 0,
    start: getU64(view, 16) as LogIndex,
    epochBeforeStart: getU64(view, 24) as Epoch,
    durable: getU64(view, 32) as LogIndex,
    hardState: {
      term: getU64(view, 40),
      vote: new TextDecoder().decode(bytes.subarray(FIXED_BYTES, listFrom)),
    },
    mark: {
      segmentId: view.getUint32(48, true) as SegmentId,
      position: view.getUint32(52, true) as FilePosition,
    },
    nextSegmentId: view.getUint32(56, true) as SegmentId,
    segments,
  };
}

function decodeSegment(view: DataView, at: number): ManifestSegment {
  const length = view.getUint32(at + 12, true);
  return {
    segmentId: view.getUint32(at, true) as SegmentId,
    firstIndex: getU64(view, at + 4) as LogIndex,
    length: length === OPEN_LENGTH ? undefined : (length as FilePosition),
  };
}

function checkSegments(segments: readonly ManifestSegment[]): void {
  for (const [nth, segment] of segments.entries()) {
    const next = segments[nth + 1];
    if (next === undefined) continue;
    if (next.segmentId <= segment.segmentId || next.firstIndex < segment.firstIndex) {
      throw damaged('its segments are out of order');
    }
    if (segment.length === undefined) throw damaged('a segment before the last one is open');
  }
}

function damaged(what: string): StorageError {
  return new StorageError('damaged', `the manifest of the log is damaged: ${what}`);
}
