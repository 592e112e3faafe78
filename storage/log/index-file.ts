/**
 * The `.index` file of a sealed segment: its summary and its sparse index. Little-endian.
 *
 *   offset size
 *        0  u32  magic "FMQI"
 *        4  u16  format version, 1
 *        6  u16  0
 *        8  u64  log id
 *       16  u32  segment id
 *       20  u32  end: one past the last byte of data
 *       24  u64  first index
 *       32  u64  last index
 *       40  u64  largest append time up to the end of the segment
 *       48  u32  header CRC of the last batch
 *       52  u32  number of epochs that begin here
 *       56  u32  number of sparse entries
 *       60  u32  index interval in bytes
 *       64  16 bytes an epoch: u64 epoch, u64 first index
 *            16 bytes a sparse entry: u32 index - first index, u32 position, f64 largest time
 *            u32  CRC-32 of everything before
 *
 * It can always be thrown away: what does not decode, or does not fit its segment, counts as not
 * there, and is built again from the log. Written only for segments without any damage.
 */

import type { Files } from '../files.ts';
import { getU64, setU64 } from './batch.ts';
import { crc32 } from './checksum.ts';
import { readWholeFile, writeWhole } from './file-bytes.ts';
import { logIdHalves, logIdOf } from './log-id.ts';
import type { Epoch, FilePosition, LogIndex, SegmentId } from './positions.ts';
import type { SegmentSummary } from './segment-summary.ts';
import { SPARSE_ENTRY_BYTES, SparseIndex } from './sparse-index.ts';

const MAGIC = 0x49_51_4d_46;
const VERSION = 1;
const FIXED_BYTES = 64;
const EPOCH_BYTES = 16;

export interface SegmentIndex {
  readonly logId: string;
  readonly summary: SegmentSummary;
  readonly sparse: SparseIndex;
}

export function encodeIndex(
  { logId, summary, sparse }: SegmentIndex,
  intervalBytes: number,
): Uint8Array {
  const { epochs } = summary;
  const sparseFrom = FIXED_BYTES + epochs.length * EPOCH_BYTES;
  const end = sparseFrom + sparse.length * SPARSE_ENTRY_BYTES;
  const bytes = new Uint8Array(end + 4);
  const view = new DataView(bytes.buffer);
  const id = logIdHalves(logId);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  view.setUint32(8, id.low, true);
  view.setUint32(12, id.high, true);
  view.setUint32(16, summary.segmentId, true);
  view.setUint32(20, summary.end, true);
  setU64(view, 24, summary.firstIndex);
  setU64(view, 32, summary.lastIndex);
  setU64(view, 40, summary.largestTimeMs);
  view.setUint32(48, summary.endChain ?? 0, true);
  view.setUint32(52, epochs.length, true);
  view.setUint32(56, sparse.length, true);
  view.setUint32(60, intervalBytes, true);
  for (const [nth, { epoch, firstIndex }] of epochs.entries()) {
    setU64(view, FIXED_BYTES + nth * EPOCH_BYTES, epoch);
    setU64(view, FIXED_BYTES + nth * EPOCH_BYTES + 8, firstIndex);
  }
  sparse.encode(view, sparseFrom);
  view.setUint32(end, crc32(bytes.subarray(0, end)), true);
  return bytes;
}

/** undefined: not an index of this format, or not as it was written. */
function decodeIndex(bytes: Uint8Array): SegmentIndex | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - 4;
  if (end < FIXED_BYTES || view.getUint32(0, true) !== MAGIC) return undefined;
  if (view.getUint16(4, true) !== VERSION) return undefined;
  if (crc32(bytes.subarray(0, end)) !== view.getUint32(end, true)) return undefined;
  const epochCount = view.getUint32(52, true);
  const sparseCount = view.getUint32(56, true);
  const sparseFrom = FIXED_BYTES + epochCount * EPOCH_BYTES;
  if (sparseFrom + sparseCount * SPARSE_ENTRY_BYTES !== end) return undefined;
  const epochs = Array.from({ length: epochCount }, (_none, nth) => {
    const at = FIXED_BYTES + nth * EPOCH_BYTES;
    return { epoch: getU64(view, at) as Epoch, firstIndex: getU64(view, at + 8) as LogIndex };
  });
  const firstIndex = getU64(view, 24) as LogIndex;
  const sparse = new SparseIndex(firstIndex, view.getUint32(60, true));
  for (let nth = 0; nth < sparseCount; nth += 1) {
    if (!sparse.load(view, sparseFrom + nth * SPARSE_ENTRY_BYTES)) return undefined;
  }
  const summary: SegmentSummary = {
    segmentId: view.getUint32(16, true) as SegmentId,
    firstIndex,
    lastIndex: getU64(view, 32) as LogIndex,
    end: view.getUint32(20, true) as FilePosition,
    endChain: view.getUint32(48, true),
    largestTimeMs: getU64(view, 40),
    epochs,
  };
  const logId = logIdOf({ low: view.getUint32(8, true), high: view.getUint32(12, true) });
  return { logId, summary, sparse };
}

/** The index at `path`; undefined where it is missing or not what was written. */
export async function readIndexFile(files: Files, path: string): Promise<SegmentIndex | undefined> {
  const bytes = await readWholeFile(files, path);
  return bytes && decodeIndex(bytes);
}

/** Writes an index that is not there yet, and syncs the file; the folder is the caller's. */
export async function writeIndexFile(files: Files, path: string, bytes: Uint8Array): Promise<void> {
  const file = await files.open(path, {
    access: 'write',
    create: 'exclusive',
    durability: 'on-sync',
  });
  try {
    await writeWhole(file, bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}
