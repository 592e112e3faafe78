/**
 * CRC-32 of the log: the IEEE polynomial 0xEDB88320 (reflected), the one of zlib, gzip and PNG.
 *
 * Two implementations of the same function: `crc-32` in JavaScript for small inputs, where a native
 * call costs more than the work, and zlib's for the rest. A checksum of 0 is a value like any
 * other, never "not checked".
 */

import { crc32 as nativeCrc32 } from 'node:zlib';

import smallCrc32 from 'crc-32';

const NATIVE_FROM_BYTES = 400;

/** Checksum of the bytes; `seed` is the checksum of what came before them. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return bytes.length < NATIVE_FROM_BYTES
    ? smallCrc32.buf(bytes, seed) >>> 0
    : nativeCrc32(bytes, seed);
}
