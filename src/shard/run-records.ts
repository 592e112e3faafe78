/**
 * A run as a record of the store, by which a checkpoint names it: `run/<run id>` with
 * ```
 *  [format, run id, bytes of the file, values, why it is lost ('' : it is not), pieces]
 *
 *  a piece   0                 8                 16                24              28
 *            +-----------------+-----------------+-----------------+---------------+
 *            | queueId u64     | first offset    | last offset     | values u32    |  little-endian
 *            +-----------------+-----------------+-----------------+---------------+
 * ```
 * The pieces go with the record and not with the file, so that a file that is missing or damaged
 * still tells which offsets of which queues lie in it.
 */

import type { Offset, QueueId } from '../machine/ids.ts';
import type { PlainData } from './record-codec.ts';
import { readU32, readU64, writeU32, writeU64 } from './wire.ts';

export interface PieceRecord {
  readonly queueId: QueueId;
  readonly first: Offset;
  readonly last: Offset;
  readonly values: number;
}

export interface RunRecord {
  readonly runId: number;
  /** Of the file; 0: there is none, its messages are lost. */
  readonly bytes: number;
  readonly values: number;
  readonly lost: string | undefined;
  /** Ascending by (queueId, first). */
  readonly pieces: readonly PieceRecord[];
}

const FORMAT = 1;
const PIECE_BYTES = 28;

export const RUN_PREFIX = 'run/';

export function runKey(runId: number): string {
  return `${RUN_PREFIX}${runId}`;
}

export function encodeRun({ runId, bytes, values, lost, pieces }: RunRecord): PlainData {
  const packed = new Uint8Array(pieces.length * PIECE_BYTES);
  for (const [nth, piece] of pieces.entries()) {
    const at = nth * PIECE_BYTES;
    writeU64(packed, at, piece.queueId);
    writeU64(packed, at + 8, piece.first);
    writeU64(packed, at + 16, piece.last);
    writeU32(packed, at + 24, piece.values);
  }
  return [FORMAT, runId, bytes, values, lost ?? '', packed];
}

export function decodeRun(data: PlainData): RunRecord {
  const [format, runId, bytes, values, lost, packed] = Array.isArray(data)
    ? (data as readonly PlainData[])
    : [];
  if (
    format !== FORMAT ||
    typeof runId !== 'number' ||
    typeof bytes !== 'number' ||
    typeof values !== 'number' ||
    typeof lost !== 'string' ||
    !(packed instanceof Uint8Array) ||
    packed.length % PIECE_BYTES !== 0
  ) {
    throw new Error('the record of a run is of an unknown format');
  }
  const pieces: PieceRecord[] = [];
  for (let at = 0; at < packed.length; at += PIECE_BYTES) {
    pieces.push({
      queueId: readU64(packed, at) as QueueId,
      first: readU64(packed, at + 8) as Offset,
      last: readU64(packed, at + 16) as Offset,
      values: readU32(packed, at + 24),
    });
  }
  return { runId, bytes, values, lost: lost === '' ? undefined : lost, pieces };
}
