/**
 * Layouts of the record store: what stands under a key, and the checkpoint's own value.
 * Little-endian.
 *
 * ```
 *  a record                              the checksum is CRC-32 (IEEE) over
 *  0          4                          0            4     4+k
 *  +----------+-----------------+        +------------+-----+-------+
 *  | checksum | value           |        | k (u32)    | key | value |
 *  +----------+-----------------+        +------------+-----+-------+
 *
 *  the checkpoint, the value of a record under U+0000 "checkpoint" (not counted in count and sum)
 *  0         2      4             8       16     24      32    40
 *  +---------+------+-------------+-------+------+-------+-----+------+
 *  | version | 0    | data length | index | term | count | sum | data |
 *  +---------+------+-------------+-------+------+-------+-----+------+
 * ```
 *
 * Numbers of 8 bytes are two u32, low first, and safe integers. The key's length is in the checksum
 * so that no byte can move between key and value unseen. A checksum of 0 is a value like any other.
 */
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';

import crc32Short from 'crc-32';

import { StorageError } from '../errors.ts';
import type { DurableCheckpoint } from './record-store.ts';

export const CHECKPOINT_KEY = '\u0000checkpoint';
export const CHECKPOINT_VERSION = 1;
const KEY_BYTES_MAX = 1024;
const CHECKPOINT_DATA_BYTES_MAX = 1 << 20;
const SUM_BYTES = 4;
const CHECKPOINT_BYTES = 40;
const TWO_32 = 0x1_0000_0000;
/** Below this length a table in JavaScript is faster than the call into zlib. */
const SHORT_BYTES = 400;

const utf8 = new TextEncoder();
const keyScratch = new Uint8Array(4 + KEY_BYTES_MAX + 1);
const keyView = new DataView(keyScratch.buffer);

export function assertKey(key: string): void {
  assert(
    key.length > 0 && key.charCodeAt(0) !== 0,
    'a record key is not empty, nor begins with U+0000',
  );
  assert(!/\p{Surrogate}/u.test(key), 'a record key is well-formed');
  assert(
    key.length * 3 <= KEY_BYTES_MAX || Buffer.byteLength(key) <= KEY_BYTES_MAX,
    `a record key is at most ${KEY_BYTES_MAX} bytes`,
  );
}

export function checksumOf(key: string, value: Uint8Array): number {
  const { written } = utf8.encodeInto(key, keyScratch.subarray(4));
  keyView.setUint32(0, written, true);
  return crcOf(value, crcOf(keyScratch.subarray(0, 4 + written), 0));
}

/** The stored form; `into` is used if it is large enough, and the result is then a view of it. */
export function encodeStored(key: string, value: Uint8Array, into: Uint8Array): StoredForm {
  const length = SUM_BYTES + value.length;
  const bytes = length <= into.length ? into.subarray(0, length) : new Uint8Array(length);
  const sum = checksumOf(key, value);
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, sum, true);
  bytes.set(value, SUM_BYTES);
  return { bytes, sum };
}

export interface StoredForm {
  readonly bytes: Uint8Array;
  readonly sum: number;
}

/**
 * Throws `damaged` unless these bytes were stored under this key. The value is a view of `bytes`.
 */
export function decodeStored(key: string, bytes: Uint8Array): { value: Uint8Array; sum: number } {
  const sum = storedSum(bytes);
  if (sum === undefined) throw damagedRecord(key, 'is shorter than its checksum');
  const value = new Uint8Array(
    bytes.buffer,
    bytes.byteOffset + SUM_BYTES,
    bytes.length - SUM_BYTES,
  );
  if (checksumOf(key, value) !== sum) throw damagedRecord(key, 'does not match its checksum');
  return { value, sum };
}

/** The checksum that was stored, whatever the value is now; undefined: not even that is there. */
export function storedSum(bytes: Uint8Array): number | undefined {
  if (bytes.length < SUM_BYTES) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

/** Sums lie in [0, 2^53); exact, where adding two doubles would round. */
export function addSums(left: number, right: number): number {
  const rest = Number.MAX_SAFE_INTEGER - left;
  return right <= rest ? left + right : right - rest - 1;
}

export function subtractSums(left: number, right: number): number {
  return left >= right ? left - right : left + (Number.MAX_SAFE_INTEGER - right) + 1;
}

export function encodeCheckpoint(checkpoint: DurableCheckpoint): Uint8Array {
  const { index, term, recordCount, sum, data } = checkpoint;
  assert(data.length <= CHECKPOINT_DATA_BYTES_MAX, 'checkpoint data is at most 1 MiB');
  const bytes = new Uint8Array(CHECKPOINT_BYTES + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, CHECKPOINT_VERSION, true);
  view.setUint32(4, data.length, true);
  for (const [at, value] of [index, term, recordCount, sum].entries()) {
    assert(Number.isSafeInteger(value) && value >= 0, 'numbers of a checkpoint are safe integers');
    view.setUint32(8 + at * 8, value % TWO_32, true);
    view.setUint32(12 + at * 8, Math.floor(value / TWO_32), true);
  }
  bytes.set(data, CHECKPOINT_BYTES);
  return bytes;
}

export function decodeCheckpoint(bytes: Uint8Array): DurableCheckpoint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes.length < 2 ? undefined : view.getUint16(0, true);
  if (version !== undefined && version > CHECKPOINT_VERSION) {
    throw new StorageError(
      'unknown-format',
      `the checkpoint has format version ${version}, this release knows ${CHECKPOINT_VERSION}`,
    );
  }
  if (version !== CHECKPOINT_VERSION || bytes.length < CHECKPOINT_BYTES) {
    throw new StorageError('damaged', 'the checkpoint of the record store is not readable');
  }
  const number = (at: number): number =>
    view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32;
  const [index, term, recordCount, sum] = [number(8), number(16), number(24), number(32)];
  const whole = bytes.length === CHECKPOINT_BYTES + view.getUint32(4, true);
  if (!whole || ![index, term, recordCount, sum].every(Number.isSafeInteger)) {
    throw new StorageError('damaged', 'the checkpoint of the record store is not readable');
  }
  return { index, term, recordCount, sum, data: new Uint8Array(bytes.subarray(CHECKPOINT_BYTES)) };
}

function damagedRecord(key: string, what: string): StorageError {
  const name = key === CHECKPOINT_KEY ? 'the checkpoint' : `record ${JSON.stringify(key)}`;
  return new StorageError('damaged', `${name} of the record store ${what}`);
}

function crcOf(bytes: Uint8Array, seed: number): number {
  return bytes.length < SHORT_BYTES ? crc32Short.buf(bytes, seed) >>> 0 : crc32(bytes, seed);
}
