/**
 * One batch of the log as bytes: a header of 80 bytes, then the payload. Little-endian. The payload
 * and its checksum are the same on every replica; the header is local.
 *
 *   offset size
 *        0  u32  magic "FMQB"; no byte of it is zero, so that no header begins with one
 *        4  u8   format version, 1
 *        5  u8   kind: 1 entry, 2 mark, 3 hard state
 *        6  u16  flags, 0
 *        8  u32  payload length
 *       12  u32  record count
 *       16  u32  CRC-32 of the payload
 *       20  u32  chain: the header CRC of the batch before; of an empty log: CRC-32 of the log id
 *       24  u32  segment id
 *       28  u32  position of this header in its file
 *       32  u64  log id
 *       40  u64  index of the entry; a batch that is no entry repeats the last one
 *       48  u64  epoch
 *       56  u64  append time, milliseconds since 1970
 *       64  u32  durable mark: segment id ...
 *       68  u32  ... and position up to which all was synced when this was written
 *       72  u32  sectors of 512 bytes in which the payload's part is all zero
 *       76  u32  CRC-32 of bytes 0 to 75
 *       80       payload
 *
 * A u64 is two u32, the low one first; numbers are safe integers. Since the header CRC covers the
 * payload CRC and the chain, each header vouches for everything before it. A batch whose own
 * segment, position or log id is not where it was found was misdirected: a copy of a log inside a
 * payload is never taken for the log.
 */

import { assert } from '../assert.ts';
import { crc32 } from './checksum.ts';
import type { HardState } from './log-types.ts';
import type { Place } from './positions.ts';

export const HEADER_BYTES = 80;
const FORMAT_VERSION = 1;
const CHECKED_BYTES = 76;

export const MAGIC: Uint8Array = new Uint8Array([0x46, 0x4d, 0x51, 0x42]);
const MAGIC_NUMBER = 0x42_51_4d_46;
const TWO_32 = 0x1_0000_0000;
const LARGEST_HIGH = 0x1f_ffff;

export const BatchKind = { entry: 1, mark: 2, hardState: 3 } as const;
export type BatchKind = (typeof BatchKind)[keyof typeof BatchKind];

/** A decoded header. Its owner uses one object again and again. */
export interface BatchHeader {
  kind: BatchKind;
  payloadLength: number;
  recordCount: number;
  payloadCrc: number;
  chain: number;
  segmentId: number;
  position: number;
  logIdLow: number;
  logIdHigh: number;
  index: number;
  epoch: number;
  timestampMs: number;
  markSegmentId: number;
  markPosition: number;
  zeroSectors: number;
  headerCrc: number;
}

export function emptyHeader(): BatchHeader {
  return {
    kind: BatchKind.entry,
    payloadLength: 0,
    recordCount: 0,
    payloadCrc: 0,
    chain: 0,
    segmentId: 0,
    position: 0,
    logIdLow: 0,
    logIdHigh: 0,
    index: 0,
    epoch: 0,
    timestampMs: 0,
    markSegmentId: 0,
    markPosition: 0,
    zeroSectors: 0,
    headerCrc: 0,
  };
}

/** What is known of a batch when it is accepted. */
export interface AcceptedBatch {
  readonly kind: BatchKind;
  readonly payloadLength: number;
  readonly recordCount: number;
  readonly payloadCrc: number;
  readonly index: number;
  readonly epoch: number;
  readonly timestampMs: number;
}

/** The id of a log as its two halves. */
export interface LogIdHalves {
  readonly low: number;
  readonly high: number;
}

/** What is known only when it is written. */
export interface WrittenAt {
  readonly logId: LogIdHalves;
  readonly segmentId: number;
  readonly position: number;
  readonly chain: number;
  readonly mark: Place;
  readonly zeroSectors: number;
}

/** Bytes with the view over exactly them, so that no view is made for each batch. */
export interface Window {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export function windowOver(bytes: Uint8Array): Window {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

/** First half of the encoding: everything that does not depend on where the batch will lie. */
export function encodeAccepted(window: Window, at: number, batch: AcceptedBatch): void {
  const { view } = window;
  view.setUint32(at, MAGIC_NUMBER, true);
  view.setUint8(at + 4, FORMAT_VERSION);
  view.setUint8(at + 5, batch.kind);
  view.setUint16(at + 6, 0, true);
  view.setUint32(at + 8, batch.payloadLength, true);
  view.setUint32(at + 12, batch.recordCount, true);
  view.setUint32(at + 16, batch.payloadCrc, true);
  setU64(view, at + 40, batch.index);
  setU64(view, at + 48, batch.epoch);
  setU64(view, at + 56, batch.timestampMs);
}

/** Second half; returns the header CRC, which is the chain of the next batch. */
export function encodeWritten(window: Window, at: number, written: WrittenAt): number {
  const { bytes, view } = window;
  view.setUint32(at + 20, written.chain, true);
  view.setUint32(at + 24, written.segmentId, true);
  view.setUint32(at + 28, written.position, true);
  view.setUint32(at + 32, written.logId.low, true);
  view.setUint32(at + 36, written.logId.high, true);
  view.setUint32(at + 64, written.mark.segmentId, true);
  view.setUint32(at + 68, written.mark.position, true);
  view.setUint32(at + 72, written.zeroSectors, true);
  const crc = crc32(bytes.subarray(at, at + CHECKED_BYTES));
  view.setUint32(at + CHECKED_BYTES, crc, true);
  return crc;
}

/**
 * True: a sound header stands at `at`, and `into` holds it; whose it is and what its payload is
 * worth is for the caller to check. False: no header of this format; `into` is undefined.
 */
export function decodeHeader(window: Window, at: number, into: BatchHeader): boolean {
  const { bytes, view } = window;
  if (at + HEADER_BYTES > bytes.length || view.getUint32(at, true) !== MAGIC_NUMBER) return false;
  const headerCrc = view.getUint32(at + CHECKED_BYTES, true);
  if (crc32(bytes.subarray(at, at + CHECKED_BYTES)) !== headerCrc) return false;
  const kind = view.getUint8(at + 5);
  const version = view.getUint8(at + 4);
  if (version !== FORMAT_VERSION || view.getUint16(at + 6, true) !== 0) return false;
  if (kind !== BatchKind.entry && kind !== BatchKind.mark && kind !== BatchKind.hardState)
    return false;
  into.kind = kind;
  into.payloadLength = view.getUint32(at + 8, true);
  into.recordCount = view.getUint32(at + 12, true);
  into.payloadCrc = view.getUint32(at + 16, true);
  into.chain = view.getUint32(at + 20, true);
  into.segmentId = view.getUint32(at + 24, true);
  into.position = view.getUint32(at + 28, true);
  into.logIdLow = view.getUint32(at + 32, true);
  into.logIdHigh = view.getUint32(at + 36, true);
  into.index = getU64(view, at + 40);
  into.epoch = getU64(view, at + 48);
  into.timestampMs = getU64(view, at + 56);
  into.markSegmentId = view.getUint32(at + 64, true);
  into.markPosition = view.getUint32(at + 68, true);
  into.zeroSectors = view.getUint32(at + 72, true);
  into.headerCrc = headerCrc;
  return into.index >= 0 && into.epoch >= 0 && into.timestampMs >= 0;
}

/**
 * Length of the payload of the batch that was accepted at `at`; unchecked, for our own buffers
 * only.
 */
export function acceptedPayloadLength(window: Window, at: number): number {
  return window.view.getUint32(at + 8, true);
}

export function setU64(view: DataView, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, `${value} is no safe count`);
  const low = value >>> 0;
  view.setUint32(at, low, true);
  view.setUint32(at + 4, (value - low) / TWO_32, true);
}

/** -1 where the number is not a safe integer. */
export function getU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high > LARGEST_HIGH ? -1 : high * TWO_32 + view.getUint32(at, true);
}

/** A hard state as the payload of its batch: u64 term, then the vote as UTF-8. */
export function encodeHardState(state: HardState): Uint8Array {
  const vote = new TextEncoder().encode(state.vote);
  const bytes = new Uint8Array(8 + vote.length);
  setU64(new DataView(bytes.buffer), 0, state.term);
  bytes.set(vote, 8);
  return bytes;
}

export function decodeHardState(bytes: Uint8Array): HardState | undefined {
  if (bytes.length < 8) return undefined;
  const term = getU64(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
  if (term < 0) return undefined;
  return { term, vote: new TextDecoder().decode(bytes.subarray(8)) };
}
