/**
 * Feeds a segment file to a scanner: each byte read once, the next piece while the last one is
 * checked, in two buffers that do not depend on the file's size.
 *
 * A read that fails rejects: what the disk refuses to show is not judged.
 */

import { StorageError } from '../errors.ts';
import type { OpenFile } from '../files.ts';
import { readFully, uninitialised } from './file-bytes.ts';
import { MAX_LEFT_OVER_BYTES } from './scanner.ts';
import type { SegmentScanner } from './scanner.ts';

const PIECE_BYTES = 1024 * 1024;

/** The two buffers of a scan; use them for all files of one recovery. */
export class ScanBuffers {
  readonly #pair: readonly [Uint8Array, Uint8Array];
  #turn = 0;

  constructor(pieceBytes = PIECE_BYTES) {
    const size = MAX_LEFT_OVER_BYTES + pieceBytes;
    this.#pair = [uninitialised(size), uninitialised(size)];
  }

  next(): Uint8Array {
    this.#turn = 1 - this.#turn;
    return this.#turn === 0 ? this.#pair[0] : this.#pair[1];
  }
}

/** Resolves with the number of bytes read. `end`: where the scanner's segment ends. */
export async function scanFile(
  file: OpenFile,
  scanner: SegmentScanner,
  { end, buffers }: { end: number; buffers: ScanBuffers },
): Promise<number> {
  let position = 0;
  let left: Uint8Array = new Uint8Array(0);
  let buffer = buffers.next();
  let reading = readPiece(file, buffer, { position, end });
  while (!scanner.done) {
    const count = await reading;
    if (count === 0 && position < end) {
      throw new StorageError('failed', `${file.path} became shorter while it was read`);
    }
    const from = MAX_LEFT_OVER_BYTES - left.length;
    buffer.set(left, from);
    const window = buffer.subarray(from, MAX_LEFT_OVER_BYTES + count);
    position += count;
    const following = buffers.next();
    reading = readPiece(file, following, { position, end });
    // Should the scan throw, nobody waits for this read any more.
    reading.catch(() => undefined);
    left = window.subarray(scanner.consume(window));
    buffer = following;
  }
  await reading;
  return position;
}

async function readPiece(
  file: OpenFile,
  buffer: Uint8Array,
  { position, end }: { position: number; end: number },
): Promise<number> {
  const size = Math.min(buffer.length - MAX_LEFT_OVER_BYTES, end - position);
  if (size <= 0) return 0;
  return readFully(
    file,
    buffer.subarray(MAX_LEFT_OVER_BYTES, MAX_LEFT_OVER_BYTES + size),
    position,
  );
}
