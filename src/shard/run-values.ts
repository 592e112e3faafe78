/**
 * What a run of this shard holds under (queueId, offset):
 * ```
 *  0                                       8
 *  +---------------------------------------+-------------------------------
 *  | index of the log's entry it came by   | stored message
 *  | u64, little-endian                    | (stored-message.ts)
 *  +---------------------------------------+-------------------------------
 * ```
 * The entry's index goes along because it tells whether a message may have been delivered already
 * (`DeliveryMarks`), and where in the log it was.
 */

import type { LogIndex } from '../machine/ids.ts';
import { readU64, writeU64 } from './wire.ts';

export const RUN_VALUE_HEADER_BYTES = 8;

export function writeRunValueHeader(bytes: Uint8Array, at: number, index: LogIndex): void {
  writeU64(bytes, at, index);
}

export function runValueIndex(bytes: Uint8Array, at: number): LogIndex {
  return readU64(bytes, at) as LogIndex;
}
