/**
 * The frame of a run file: its header, its footer, and its name. Little-endian.
 *
 *   <run id>.run        a run; immutable
 *   <run id>.run.new    a run that is being written; worth nothing
 *
 *   +--------+---------+---------+-----+---------+--------------+--------+
 *   | header | block 0 | block 1 | ... | block n | sparse index | footer |
 *   +--------+---------+---------+-----+---------+--------------+--------+
 *
 *   header, 64 bytes                          footer, 64 bytes, the last of the file
 *        0  u32  magic "FMQR"                      0  u32  magic "RNEN"
 *        4  u16  format version, 1                 4  u32  blocks
 *        6  u16  0                                 8  u64  run id
 *        8  u64  run id                           16  u64  owner
 *       16  u64  owner                            24  u64  position of the sparse index
 *       24  u64  time of its making, ms           32  u32  length of the sparse index
 *       32  28 bytes of 0                         36  u32  0
 *       60  u32  CRC-32 of bytes 0 to 59          40  u64  values
 *                                                 48  u64  bytes of values
 *                                                 56  u32  0
 *                                                 60  u32  CRC-32 of bytes 0 to 59
 *
 * `owner` is the id of the log (16 hexadecimal digits) whose payloads these are, so that a file of
 * another shard is never taken for one of ours. `run-block.ts` and `run-index.ts` have the rest.
 * A file that ends without a footer was never finished or was cut: its blocks say for themselves
 * what they hold.
 */

import { assert } from '../assert.ts';
import { getU64, setU64 } from '../log/batch.ts';
import { crc32 } from '../log/checksum.ts';
import { logIdHalves, logIdOf } from '../log/log-id.ts';

const RUN_FORMAT_VERSION = 1;
export const RUN_HEADER_BYTES = 64;
export const RUN_FOOTER_BYTES = 64;

const HEADER_MAGIC = 0x52_51_4d_46;
const FOOTER_MAGIC = 0x4e_45_4e_52;
const CRC_AT = 60;

export interface RunName {
  readonly runId: number;
  /** 16 hexadecimal digits. */
  readonly owner: string;
}

export interface RunHeader extends RunName {
  readonly createdMs: number;
}

export interface RunFooter extends RunName {
  readonly blocks: number;
  readonly indexPosition: number;
  readonly indexBytes: number;
  readonly values: number;
  readonly valueBytes: number;
}

export function runFileName(runId: number): string {
  return `${runId}.run`;
}

export function temporaryRunFileName(runId: number): string {
  return `${runId}.run.new`;
}

/** The run that a file name stands for, finished or not; undefined for any other name. */
export function parseRunFileName(name: string): { runId: number; finished: boolean } | undefined {
  const match = /^([1-9]\d{0,15})\.run(\.new)?$/.exec(name);
  if (match === null || !Number.isSafeInteger(Number(match[1]))) return undefined;
  return { runId: Number(match[1]), finished: match[2] === undefined };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function setOwner(view: DataView, at: number, owner: string): void {
  const { low, high } = logIdHalves(owner);
  view.setUint32(at, low, true);
  view.setUint32(at + 4, high, true);
}

export function getOwner(view: DataView, at: number): string {
  return logIdOf({ low: view.getUint32(at, true), high: view.getUint32(at + 4, true) });
}

export function encodeRunHeader({ runId, owner, createdMs }: RunHeader): Uint8Array {
  assert(Number.isSafeInteger(runId) && runId > 0, 'a run id is a whole number from 1');
  const bytes = new Uint8Array(RUN_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, HEADER_MAGIC, true);
  view.setUint16(4, RUN_FORMAT_VERSION, true);
  setU64(view, 8, runId);
  setOwner(view, 16, owner);
  setU64(view, 24, createdMs);
  view.setUint32(CRC_AT, crc32(bytes.subarray(0, CRC_AT)), true);
  return bytes;
}

/** What stands there instead of a header: `not ours`, or a version, or damage. */
export type HeaderProblem = 'not-a-run' | 'unknown-version' | 'damaged';

export function decodeRunHeader(bytes: Uint8Array): RunHeader | HeaderProblem {
  if (bytes.length < RUN_HEADER_BYTES) return 'not-a-run';
  const view = viewOf(bytes);
  const sound = crc32(bytes.subarray(0, CRC_AT)) === view.getUint32(CRC_AT, true);
  const ours = view.getUint32(0, true) === HEADER_MAGIC;
  if (!sound) return ours ? 'damaged' : 'not-a-run';
  if (!ours) return 'not-a-run';
  if (view.getUint16(4, true) !== RUN_FORMAT_VERSION) return 'unknown-version';
  return { runId: getU64(view, 8), owner: getOwner(view, 16), createdMs: getU64(view, 24) };
}

export function encodeRunFooter(footer: RunFooter): Uint8Array {
  const bytes = new Uint8Array(RUN_FOOTER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, FOOTER_MAGIC, true);
  view.setUint32(4, footer.blocks, true);
  setU64(view, 8, footer.runId);
  setOwner(view, 16, footer.owner);
  setU64(view, 24, footer.indexPosition);
  view.setUint32(32, footer.indexBytes, true);
  setU64(view, 40, footer.values);
  setU64(view, 48, footer.valueBytes);
  view.setUint32(CRC_AT, crc32(bytes.subarray(0, CRC_AT)), true);
  return bytes;
}

/** undefined: not a footer, or not as it was written. */
export function decodeRunFooter(bytes: Uint8Array): RunFooter | undefined {
  if (bytes.length < RUN_FOOTER_BYTES) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== FOOTER_MAGIC) return undefined;
  if (crc32(bytes.subarray(0, CRC_AT)) !== view.getUint32(CRC_AT, true)) return undefined;
  return {
    runId: getU64(view, 8),
    owner: getOwner(view, 16),
    blocks: view.getUint32(4, true),
    indexPosition: getU64(view, 24),
    indexBytes: view.getUint32(32, true),
    values: getU64(view, 40),
    valueBytes: getU64(view, 48),
  };
}
