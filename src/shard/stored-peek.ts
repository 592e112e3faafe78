/**
 * What the dispatcher has to know of a stored message before it goes out: its topic, and when it
 * expires. Reads a few bytes of it and decodes nothing else; the layout is that of
 * `stored-message.ts`, and the bytes were checked by the log.
 */

import type { StoredMessage } from './payloads.ts';
import { STORED_HEADER_BYTES, Tag } from './stored-message.ts';
import { asBuffer, readText, readU16, readU32, readU64 } from './wire.ts';

export function topicOf({ bytes, start }: StoredMessage): string {
  const begin = start + STORED_HEADER_BYTES;
  return readText(asBuffer(bytes), begin, begin + readU16(bytes, start + 2));
}

/** Milliseconds since 1970-01-01 UTC. */
export function publishedAtMs({ bytes, start }: StoredMessage): number {
  return readU64(bytes, start + 16);
}

/**
 * Milliseconds since 1970-01-01 UTC: by its own expiry or the queue's `ttlMs` (0: none), whichever
 * is first; Infinity: never.
 */
export function expiresAtMs(message: StoredMessage, ttlMs: number): number {
  const { bytes, start } = message;
  const propertyBytes = readU32(bytes, start + 8);
  let lifeMs = ttlMs === 0 ? Number.POSITIVE_INFINITY : ttlMs;
  if (propertyBytes > 0) {
    const texts = readU16(bytes, start + 2) + readU16(bytes, start + 4);
    const begin = start + STORED_HEADER_BYTES + texts;
    lifeMs = Math.min(lifeMs, ownLifeMs(bytes, begin, begin + propertyBytes));
  }
  if (lifeMs === Number.POSITIVE_INFINITY) return lifeMs;
  return publishedAtMs(message) + lifeMs;
}

function ownLifeMs(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end;) {
    const value = at + 1;
    switch (bytes[at]) {
      case Tag.expirySeconds:
        return readU32(bytes, value) * 1_000;
      case Tag.priority:
      case Tag.payloadIsText:
        at = value + 1;
        break;
      case Tag.timestampMs:
        at = value + 8;
        break;
      case Tag.userProperty: {
        const name = value + 4 + readU32(bytes, value);
        at = name + 4 + readU32(bytes, name);
        break;
      }
      default:
        at = value + 4 + readU32(bytes, value);
    }
  }
  return Number.POSITIVE_INFINITY;
}
