/**
 * Frames of deliveries whose messages a node reads from its own replica: the leader says which, in
 * what order and to whom, and sends no message. They are frames of `shard-frames.ts`.
 *
 * ```
 * 15 named      flags u8 | 0 u16 | consumer u32 | attempt u32 | queueId u64 | offset u64 | term u64
 *               | delivery number u64 | index u64 | count u32; flags: bit 0 redelivered
 * 16 filled     0 u24
 * 17 unread     0 u24 | consumer u32
 * ```
 *
 * `named` is `count` deliveries: offset and delivery number go up by one from each to the next. A
 * replica that has applied the entry `index` holds all of their messages. `filled` is the route's
 * own word, first in its batch: what follows is read here, and the leader counts no byte of it.
 * `unread` is the route's too: the session is about to end because of this consumer, which is to
 * have its messages from the leader in the next one.
 */

import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { DeliveryFrameHeader, ShardFrame } from './shard-frame.ts';
import { CodecError, readU32, readU64, writeU32, writeU64 } from './wire.ts';

export const NamedFrameKind = { named: 15, filled: 16, unread: 17 } as const;

export const NAMED_BYTES = 60;
const FILLED_BYTES = 8;
const UNREAD_BYTES = 12;
const REDELIVERED_FLAG = 1;
/** Of each value, from where its frame begins. */
const At = {
  flags: 5,
  consumer: 8,
  attempt: 12,
  queueId: 16,
  offset: 24,
  term: 32,
  number: 40,
  index: 48,
  count: 56,
} as const;

interface NamedDelivery extends DeliveryFrameHeader {
  readonly term: number;
  readonly index: LogIndex;
}

const FILLED: ShardFrame = { kind: 'filled' };

/** The whole of the frame behind its length and kind. */
export function writeNamed(bytes: Uint8Array, at: number, delivery: NamedDelivery): void {
  if (delivery.redelivered) bytes[at + At.flags] = REDELIVERED_FLAG;
  writeU32(bytes, at + At.consumer, delivery.consumer);
  writeU32(bytes, at + At.attempt, delivery.attempt);
  writeU64(bytes, at + At.queueId, delivery.queueId);
  writeU64(bytes, at + At.offset, delivery.offset);
  writeU64(bytes, at + At.term, delivery.term);
  writeU64(bytes, at + At.number, delivery.deliveryNumber);
  writeU64(bytes, at + At.index, delivery.index);
  writeU32(bytes, at + At.count, 1);
}

/** True: it goes on where the frame at `at` ends, and is in it now. */
export function goesOn(bytes: Uint8Array, at: number, delivery: NamedDelivery): boolean {
  const count = readU32(bytes, at + At.count);
  const isNext =
    readU32(bytes, at + At.consumer) === delivery.consumer &&
    readU64(bytes, at + At.offset) + count === delivery.offset &&
    readU64(bytes, at + At.number) + count === delivery.deliveryNumber &&
    readU64(bytes, at + At.queueId) === delivery.queueId &&
    readU32(bytes, at + At.attempt) === delivery.attempt &&
    (bytes[at + At.flags] === REDELIVERED_FLAG) === delivery.redelivered;
  if (!isNext) return false;
  writeU32(bytes, at + At.count, count + 1);
  writeU64(bytes, at + At.index, Math.max(delivery.index, readU64(bytes, at + At.index)));
  return true;
}

export function readNamedFrame(bytes: Uint8Array, at: number, end: number): ShardFrame {
  switch (bytes[at + 4]) {
    case NamedFrameKind.named:
      exactly(end - at, NAMED_BYTES);
      return {
        kind: 'named',
        consumer: readU32(bytes, at + At.consumer),
        attempt: readU32(bytes, at + At.attempt),
        queueId: readU64(bytes, at + At.queueId) as QueueId,
        offset: readU64(bytes, at + At.offset) as Offset,
        term: readU64(bytes, at + At.term),
        deliveryNumber: readU64(bytes, at + At.number),
        index: readU64(bytes, at + At.index) as LogIndex,
        count: readU32(bytes, at + At.count),
        redelivered: bytes[at + At.flags] === REDELIVERED_FLAG,
      };
    case NamedFrameKind.filled:
      exactly(end - at, FILLED_BYTES);
      return FILLED;
    case NamedFrameKind.unread:
      exactly(end - at, UNREAD_BYTES);
      return { kind: 'unread', consumer: readU32(bytes, at + At.consumer) };
    default:
      throw new CodecError('unknown-kind', `a frame of kind ${bytes[at + 4] ?? 'none'}`);
  }
}

function exactly(length: number, expected: number): void {
  if (length !== expected) throw new CodecError('bad-length', `a frame of ${length} bytes`);
}
