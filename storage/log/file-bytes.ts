/**
 * Whole reads and writes over a port whose calls may be short. A loop that makes no progress is an
 * error.
 */

import { StorageError } from '../errors.ts';
import type { Files, OpenFile } from '../files.ts';

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/**
 * Memory of its own with whatever was there: for bytes that are all overwritten before they are
 * read.
 */
export function uninitialised(length: number): Uint8Array {
  // Not the Buffer itself: its subarrays cost several times those of a plain array.
  const { buffer, byteOffset } = Buffer.allocUnsafeSlow(length);
  return new Uint8Array(buffer, byteOffset, length);
}

/** Writes all bytes; a short write goes on where it stopped. */
export async function writeWhole(
  file: OpenFile,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  let done = await file.write(bytes, position);
  while (done < bytes.length) {
    const count = await file.write(bytes.subarray(done), position + done);
    if (count <= 0) throw new StorageError('failed', `a write to ${file.path} made no progress`);
    done += count;
  }
}

/** Reads until `into` is full or the file ends; resolves with the count. */
export async function readFully(
  file: OpenFile,
  into: Uint8Array,
  position: number,
): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const rest = done === 0 ? into : into.subarray(done);
    const count = await file.read(rest, position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** The bytes of a small file; undefined where there is no such file. */
export async function readWholeFile(files: Files, path: string): Promise<Uint8Array | undefined> {
  let file: OpenFile;
  try {
    file = await files.open(path, { access: 'read', create: 'never', durability: 'on-sync' });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const bytes = new Uint8Array(await file.size());
    return bytes.subarray(0, await readFully(file, bytes, 0));
  } finally {
    await file.close();
  }
}

/** Removes a file that may be gone already. True: it was there. */
export async function removeIfThere(files: Files, path: string): Promise<boolean> {
  try {
    await files.remove(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}
