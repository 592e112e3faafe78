/**
 * The id of a log: 64 random bits, written as 16 hexadecimal digits. It stands in every header and
 * file, so that a file of another log is never taken for one of ours.
 */

import { randomBytes } from 'node:crypto';

import { assert } from '../assert.ts';
import type { LogIdHalves } from './batch.ts';
import { crc32 } from './checksum.ts';

export function newLogId(): string {
  return randomBytes(8).toString('hex');
}

export function logIdHalves(logId: string): LogIdHalves {
  assert(/^[0-9a-f]{16}$/.test(logId), `a log id is 16 hexadecimal digits, not ${logId}`);
  return { high: Number.parseInt(logId.slice(0, 8), 16), low: Number.parseInt(logId.slice(8), 16) };
}

export function logIdOf({ low, high }: LogIdHalves): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** The chain before the first batch of a log. */
export function firstChain(logId: string): number {
  return crc32(new TextEncoder().encode(logId));
}
