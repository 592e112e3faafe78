/**
 * The payload of a message: its value, which is unique in the run, a filling, and a checksum over
 * both, so that a payload that was mixed up or cut on its way shows itself.
 *
 *     <stream>/<sequence> <filling> <crc32 of all before the last space, 8 hex digits>
 */

import { crc32 } from 'node:zlib';

const FILLING = 'abcdefghijklmnopqrstuvwxyz0123456789';

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}

/** The filling is so long that the payload has about `bytes`. */
export function encodePayload(value: string, bytes: number): string {
  const length = Math.max(1, bytes - value.length - 10);
  const repeated = FILLING.repeat(Math.ceil(length / FILLING.length)).slice(0, length);
  const text = `${value} ${repeated}`;
  return `${text} ${checksum(text)}`;
}

export interface Decoded {
  readonly value: string;
  readonly corrupt: boolean;
}

export function decodePayload(payload: string): Decoded {
  const at = payload.lastIndexOf(' ');
  const text = payload.slice(0, Math.max(at, 0));
  const corrupt = at < 0 || checksum(text) !== payload.slice(at + 1);
  return { value: payload.slice(0, 64).split(' ')[0] ?? '', corrupt };
}
