/**
 * Batches from the shard to the client (main thread): frames, one after the other.
 *
 * ```
 *  0                                       4         5
 *  +---------------------------------------+---------+-----------------------------+
 *  | length of the batch, this included    | version | named u8 | 0                |
 *  +---------------------------------------+---------+-----------------------------+
 *  | frames: length u32, this included | kind u8 | by kind                         | 8
 *  +-------------------------------------------------------------------------------+
 *  1 opened     0 u24 | boot u64
 *  2 queues     flags u8 | 0 u16 | queues u32 | gone u32 | for each queue: queueId u64 | type u8
 *               | default group u8 | capture u8 | name text16 | topics u16 | topic text16 for each
 *               | queueId u64 for each that is gone; flags: bit 0 nothing is left to be told
 *  3 confirmed  0 u24 | refusals u32 | up to u64 | for each refusal: number u64 | reason u8
 *  4 busy       0 u24
 *  5 resume     0 u24
 *  6 delivery   flags u8 | 0 u16 | consumer u32 | attempt u32 | queueId u64 | offset u64 | term u64
 *               | delivery number u64 | stored message (the rest); flags: bit 0 redelivered
 *  7 cancelled  reason u8 | 0 u16 | consumer u32 | detail, for people (the rest)
 *  8 reply      accepted u8 | 0 u16 | id u32 | body (the rest; requests.ts)
 *  9 failed     0 u24 | why, for people (the rest)
 * 10 attached   0 u24 | consumer u32 | groupId u32 | group (the rest)
 * 11 settled    answer u8 | 0 u16 | tag u32
 * 12 ended      0 u24 | consumer u32 | offset u64 | delivery number u64
 * 13 session    flags u8 | 0 u16 | session u64, 0: there is none now | who leads, "" unknown (the
 *               rest); flags: bit 0 this node's replica can be read
 * 14 worked     0 u24 | batches u64
 * 15 named, 16 filled, 17 unread: named-frames.ts
 * ```
 *
 * `confirmed` says that all numbers up to `up to` have their outcome: committed, but for the
 * refusals, which ascend and lie above the `up to` of the confirmed frame before. `queues` tells
 * what is new, what has changed and what is gone since the `queues` before; the first ones tell
 * all, in as many frames as it takes. `busy` asks for no more enqueues until `resume`; what is
 * under way is still taken. After `failed` nothing follows. `session` is the route's own word,
 * alone in its batch: who serves is another one, and what was said before is over. `worked` says
 * that what the first `batches` batches of the session settle, close and end is applied. `named` in
 * the header is 1 where a frame of that kind is in the batch.
 */

import { CANCEL_REASONS, SETTLE_ANSWERS } from '../broker/ports.ts';
import type { CancelReason, QueueInfo, SettleAnswer } from '../broker/ports.ts';
import { CAPTURES, DEFAULT_GROUPS, QUEUE_TYPES } from '../machine/definitions.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../machine/ids.ts';
import { coded, commandEnd } from './codec.ts';
import { NAMED_BYTES, NamedFrameKind, goesOn, readNamedFrame } from './named-frames.ts';
import { writeNamed } from './named-frames.ts';
import { REFUSAL_REASONS } from './shard-frame.ts';
import type {
  DeliveryFrame,
  DeliveryFrameHeader,
  QueueChanges,
  Refusal,
  ShardFrame,
  StoredSlice,
} from './shard-frame.ts';
import {
  CodecError,
  WireReader,
  WireWriter,
  asBuffer,
  readText,
  readU32,
  readU64,
} from './wire.ts';
import { textRoom, writeText, writeU32, writeU64 } from './wire.ts';

export { REFUSAL_REASONS } from './shard-frame.ts';
export type {
  DeliveryFrame,
  DeliveryFrameHeader,
  QueueChanges,
  Refusal,
  RefusalReason,
  SessionFrame,
  ShardFrame,
  StoredSlice,
} from './shard-frame.ts';

const SHARD_BATCH_VERSION = 1;
const VERSION_MASK = 0xff;
/** In the header: a frame `named` is in the batch. */
const NAMED_FLAG = 0x100;
export const SHARD_BATCH_HEADER_BYTES = 8;

const FrameKind = {
  opened: 1,
  queues: 2,
  confirmed: 3,
  busy: 4,
  resume: 5,
  delivery: 6,
  cancelled: 7,
  reply: 8,
  failed: 9,
  attached: 10,
  settled: 11,
  ended: 12,
  session: 13,
  worked: 14,
} as const;

const FRAME_HEADER_BYTES = 8;
const OPENED_BYTES = 16;
const CONFIRMED_HEADER_BYTES = 20;
const REFUSAL_BYTES = 9;
const DELIVERY_HEADER_BYTES = 48;
const CANCELLED_HEADER_BYTES = 12;
const ATTACHED_HEADER_BYTES = 16;
const SETTLED_BYTES = 12;
const ENDED_BYTES = 28;
const SESSION_HEADER_BYTES = 16;
const WORKED_BYTES = 16;
const ALL_TOLD_FLAG = 1;
const READS_HERE_FLAG = 1;
const REPLY_HEADER_BYTES = 12;
const REDELIVERED_FLAG = 1;

/** Collects what the shard says in one turn. */
export class ShardBatchWriter {
  /** Of the deliveries that are written. */
  term = 0;
  readonly #writer: WireWriter;
  #flags = 0;
  /** Where the last frame begins, if it is one of `named`. */
  #namedAt: number | undefined;

  constructor(capacity = 65_536) {
    this.#writer = new WireWriter(capacity);
    this.#writer.reserve(SHARD_BATCH_HEADER_BYTES);
  }

  get empty(): boolean {
    return this.#writer.length === SHARD_BATCH_HEADER_BYTES;
  }

  /** With the header. */
  get length(): number {
    return this.#writer.length;
  }

  /** The batch, the taker's for good; the writer begins the next one. */
  take(): Uint8Array {
    const writer = this.#writer;
    writeU32(writer.bytes, 0, writer.length);
    writeU32(writer.bytes, 4, SHARD_BATCH_VERSION | this.#flags);
    this.#flags = 0;
    this.#namedAt = undefined;
    const taken = writer.take();
    writer.reserve(SHARD_BATCH_HEADER_BYTES);
    return taken;
  }

  opened(boot: number): void {
    const at = this.#begin(FrameKind.opened, OPENED_BYTES);
    writeU64(this.#writer.bytes, at + 8, boot);
  }

  queues({ queues, gone, complete }: QueueChanges): void {
    const start = this.#begin(FrameKind.queues, FRAME_HEADER_BYTES);
    const writer = this.#writer;
    writer.bytes[start + 5] = complete ? ALL_TOLD_FLAG : 0;
    writer.u32(queues.length);
    writer.u32(gone.length);
    for (const { queueId, type, name, topics, defaultGroup, capture } of queues) {
      writer.u64(queueId);
      writer.u8(QUEUE_TYPES.indexOf(type));
      writer.u8(DEFAULT_GROUPS.indexOf(defaultGroup));
      writer.u8(CAPTURES.indexOf(capture));
      writer.text16(name);
      writer.u16(topics.length);
      for (const topic of topics) writer.text16(topic);
    }
    for (const queueId of gone) writer.u64(queueId);
    this.#end(start);
  }

  confirmed(upTo: number, refusals: readonly Refusal[]): void {
    const size = CONFIRMED_HEADER_BYTES + refusals.length * REFUSAL_BYTES;
    const start = this.#begin(FrameKind.confirmed, size);
    const { bytes } = this.#writer;
    writeU32(bytes, start + 8, refusals.length);
    writeU64(bytes, start + 12, upTo);
    let at = start + CONFIRMED_HEADER_BYTES;
    for (const { number, reason } of refusals) {
      writeU64(bytes, at, number);
      bytes[at + 8] = REFUSAL_REASONS.indexOf(reason);
      at += REFUSAL_BYTES;
    }
  }

  busy(): void {
    this.#begin(FrameKind.busy, FRAME_HEADER_BYTES);
  }

  resume(): void {
    this.#begin(FrameKind.resume, FRAME_HEADER_BYTES);
  }

  delivery(header: DeliveryFrameHeader, message: StoredSlice): void {
    const size = message.end - message.start;
    const at = this.#begin(FrameKind.delivery, DELIVERY_HEADER_BYTES + size);
    const { bytes } = this.#writer;
    if (header.redelivered) bytes[at + 5] = REDELIVERED_FLAG;
    writeU32(bytes, at + 8, header.consumer);
    writeU32(bytes, at + 12, header.attempt);
    writeU64(bytes, at + 16, header.queueId);
    writeU64(bytes, at + 24, header.offset);
    writeU64(bytes, at + 32, this.term);
    writeU64(bytes, at + 40, header.deliveryNumber);
    const from = message.bytes.byteOffset + message.start;
    bytes.set(new Uint8Array(message.bytes.buffer, from, size), at + DELIVERY_HEADER_BYTES);
  }

  /** A delivery whose message its node reads itself; it is stored by the entry `index`. */
  named(header: DeliveryFrameHeader, index: LogIndex): void {
    const writer = this.#writer;
    const delivery = { ...header, term: this.term, index };
    if (this.#namedAt !== undefined && goesOn(writer.bytes, this.#namedAt, delivery)) return;
    const at = this.#begin(NamedFrameKind.named, NAMED_BYTES);
    writeNamed(writer.bytes, at, delivery);
    this.#namedAt = at;
    this.#flags = NAMED_FLAG;
  }

  filled(): void {
    this.#begin(NamedFrameKind.filled, FRAME_HEADER_BYTES);
  }

  unread(consumer: number): void {
    const at = this.#begin(NamedFrameKind.unread, FRAME_HEADER_BYTES + 4);
    writeU32(this.#writer.bytes, at + 8, consumer);
  }

  cancelled(consumer: number, reason: CancelReason, detail: string): void {
    const start = this.#begin(FrameKind.cancelled, CANCELLED_HEADER_BYTES);
    this.#writer.bytes[start + 5] = CANCEL_REASONS.indexOf(reason);
    writeU32(this.#writer.bytes, start + 8, consumer);
    this.#endWithText(start, detail);
  }

  attached(consumer: number, group: { readonly groupId: GroupId; readonly name: string }): void {
    const start = this.#begin(FrameKind.attached, ATTACHED_HEADER_BYTES);
    writeU32(this.#writer.bytes, start + 8, consumer);
    writeU32(this.#writer.bytes, start + 12, group.groupId);
    this.#endWithText(start, group.name);
  }

  settled(tag: number, answer: SettleAnswer): void {
    const at = this.#begin(FrameKind.settled, SETTLED_BYTES);
    this.#writer.bytes[at + 5] = SETTLE_ANSWERS.indexOf(answer);
    writeU32(this.#writer.bytes, at + 8, tag);
  }

  ended(consumer: number, offset: Offset, deliveryNumber: number): void {
    const at = this.#begin(FrameKind.ended, ENDED_BYTES);
    writeU32(this.#writer.bytes, at + 8, consumer);
    writeU64(this.#writer.bytes, at + 12, offset);
    writeU64(this.#writer.bytes, at + 20, deliveryNumber);
  }

  reply(id: number, accepted: boolean, body: Uint8Array): void {
    const start = this.#begin(FrameKind.reply, REPLY_HEADER_BYTES);
    this.#writer.bytes[start + 5] = accepted ? 1 : 0;
    writeU32(this.#writer.bytes, start + 8, id);
    this.#writer.append(body);
    this.#end(start);
  }

  session(session: number, leader: string, readsHere = false): void {
    const start = this.#begin(FrameKind.session, SESSION_HEADER_BYTES);
    this.#writer.bytes[start + 5] = readsHere ? READS_HERE_FLAG : 0;
    writeU64(this.#writer.bytes, start + 8, session);
    this.#endWithText(start, leader);
  }

  worked(batches: number): void {
    const at = this.#begin(FrameKind.worked, WORKED_BYTES);
    writeU64(this.#writer.bytes, at + 8, batches);
  }

  failed(why: string): void {
    const start = this.#begin(FrameKind.failed, FRAME_HEADER_BYTES);
    this.#endWithText(start, why);
  }

  #begin(kind: number, bytes: number): number {
    this.#namedAt = undefined;
    const at = this.#writer.reserve(bytes);
    writeU32(this.#writer.bytes, at, bytes);
    writeU32(this.#writer.bytes, at + 4, kind);
    return at;
  }

  #endWithText(start: number, text: string): void {
    const writer = this.#writer;
    writer.room(textRoom(text));
    writer.length = writeText(writer.bytes, writer.length, text);
    this.#end(start);
  }

  #end(start: number): void {
    writeU32(this.#writer.bytes, start, this.#writer.length - start);
  }
}

/** A frame of the kind `named` is in the batch. */
export function hasNamed(batch: Uint8Array): boolean {
  return batch.length >= SHARD_BATCH_HEADER_BYTES && batch[5] !== 0;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

const BUSY: ShardFrame = { kind: 'busy' };
const RESUME: ShardFrame = { kind: 'resume' };
const NO_REFUSALS: readonly Refusal[] = [];

/** The frames of one batch, one after the other. */
export class ShardBatch {
  readonly #bytes: Uint8Array;
  #at = SHARD_BATCH_HEADER_BYTES;
  readonly #delivery: Mutable<DeliveryFrame>;

  constructor(bytes: Uint8Array) {
    if (bytes.length < SHARD_BATCH_HEADER_BYTES) {
      throw new CodecError('truncated', 'a batch is shorter than its header');
    }
    const head = readU32(bytes, 4);
    if ((head & VERSION_MASK) !== SHARD_BATCH_VERSION || head > (NAMED_FLAG | VERSION_MASK)) {
      throw new CodecError('unknown-version', `a batch of version ${bytes[4] ?? 'none'}`);
    }
    if (readU32(bytes, 0) !== bytes.length) {
      throw new CodecError('bad-length', 'a batch is not as long as it says');
    }
    this.#bytes = bytes;
    this.#delivery = {
      kind: 'delivery',
      consumer: 0,
      attempt: 0,
      queueId: 0 as QueueId,
      offset: 0 as Offset,
      term: 0,
      deliveryNumber: 0,
      redelivered: false,
      bytes,
      start: 0,
      end: 0,
    };
  }

  /** The next frame, valid until the next call; undefined at the end. */
  next(): ShardFrame | undefined {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at === bytes.length) return undefined;
    const end = commandEnd(bytes, at);
    this.#at = end;
    atLeast(end - at, FRAME_HEADER_BYTES);
    switch (bytes[at + 4]) {
      case FrameKind.delivery:
        return this.#readDelivery(at, end);
      case FrameKind.confirmed:
        return readConfirmed(bytes, at, end);
      case FrameKind.opened:
        exactly(end - at, OPENED_BYTES);
        return { kind: 'opened', boot: readU64(bytes, at + 8) };
      case FrameKind.queues:
        return readQueues(bytes, at, end);
      case FrameKind.busy:
        exactly(end - at, FRAME_HEADER_BYTES);
        return BUSY;
      case FrameKind.resume:
        exactly(end - at, FRAME_HEADER_BYTES);
        return RESUME;
      default:
        return readRare(bytes, at, end);
    }
  }

  #readDelivery(at: number, end: number): DeliveryFrame {
    atLeast(end - at, DELIVERY_HEADER_BYTES);
    const bytes = this.#bytes;
    const delivery = this.#delivery;
    delivery.redelivered = bytes[at + 5] === REDELIVERED_FLAG;
    delivery.consumer = readU32(bytes, at + 8);
    delivery.attempt = readU32(bytes, at + 12);
    delivery.queueId = readU64(bytes, at + 16) as QueueId;
    delivery.offset = readU64(bytes, at + 24) as Offset;
    delivery.term = readU64(bytes, at + 32);
    delivery.deliveryNumber = readU64(bytes, at + 40);
    delivery.start = at + DELIVERY_HEADER_BYTES;
    delivery.end = end;
    return delivery;
  }
}

function readConfirmed(bytes: Uint8Array, start: number, end: number): ShardFrame {
  atLeast(end - start, CONFIRMED_HEADER_BYTES);
  const count = readU32(bytes, start + 8);
  const upTo = readU64(bytes, start + 12);
  exactly(end - start, CONFIRMED_HEADER_BYTES + count * REFUSAL_BYTES);
  if (count === 0) return { kind: 'confirmed', upTo, refusals: NO_REFUSALS };
  const refusals: Refusal[] = [];
  let last = 0;
  for (let at = start + CONFIRMED_HEADER_BYTES; at < end; at += REFUSAL_BYTES) {
    const number = readU64(bytes, at);
    if (number <= last || number > upTo) throw new CodecError('bad-value', 'refusals out of order');
    refusals.push({ number, reason: coded(REFUSAL_REASONS, bytes[at + 8]) });
    last = number;
  }
  return { kind: 'confirmed', upTo, refusals };
}

function readQueues(bytes: Uint8Array, at: number, end: number): ShardFrame {
  const reader = new WireReader(bytes, at + FRAME_HEADER_BYTES, end);
  const queues: QueueInfo[] = [];
  const gone: QueueId[] = [];
  let left = reader.u32();
  let goneLeft = reader.u32();
  for (; left > 0; left--) {
    const queueId = reader.u64() as QueueId;
    const type = reader.code(QUEUE_TYPES);
    const defaultGroup = reader.code(DEFAULT_GROUPS);
    const capture = reader.code(CAPTURES);
    const name = reader.text16();
    // As long as it is: one that grows would keep room for 17, for each of a million sessions.
    const topics = Array.from({ length: reader.u16() }, () => reader.text16());
    queues.push({ queueId, name, type, topics, defaultGroup, capture });
  }
  for (; goneLeft > 0; goneLeft--) gone.push(reader.u64() as QueueId);
  reader.finish();
  return { kind: 'queues', queues, gone, complete: bytes[at + 5] === ALL_TOLD_FLAG };
}

function readRare(bytes: Uint8Array, at: number, end: number): ShardFrame {
  switch (bytes[at + 4]) {
    case FrameKind.cancelled: {
      atLeast(end - at, CANCELLED_HEADER_BYTES);
      const reason = coded(CANCEL_REASONS, bytes[at + 5]);
      const detail = readText(asBuffer(bytes), at + CANCELLED_HEADER_BYTES, end);
      return { kind: 'cancelled', consumer: readU32(bytes, at + 8), reason, detail };
    }
    case FrameKind.attached:
      atLeast(end - at, ATTACHED_HEADER_BYTES);
      return {
        kind: 'attached',
        consumer: readU32(bytes, at + 8),
        groupId: readU32(bytes, at + 12) as GroupId,
        group: readText(asBuffer(bytes), at + ATTACHED_HEADER_BYTES, end),
      };
    case FrameKind.settled: {
      exactly(end - at, SETTLED_BYTES);
      const answer = coded(SETTLE_ANSWERS, bytes[at + 5]);
      return { kind: 'settled', tag: readU32(bytes, at + 8), answer };
    }
    case FrameKind.ended:
      exactly(end - at, ENDED_BYTES);
      return {
        kind: 'ended',
        consumer: readU32(bytes, at + 8),
        offset: readU64(bytes, at + 12) as Offset,
        deliveryNumber: readU64(bytes, at + 20),
      };
    case FrameKind.reply: {
      atLeast(end - at, REPLY_HEADER_BYTES);
      const body = bytes.subarray(at + REPLY_HEADER_BYTES, end);
      return { kind: 'reply', id: readU32(bytes, at + 8), accepted: bytes[at + 5] === 1, body };
    }
    case FrameKind.session: {
      atLeast(end - at, SESSION_HEADER_BYTES);
      const leader = readText(asBuffer(bytes), at + SESSION_HEADER_BYTES, end);
      const readsHere = bytes[at + 5] === READS_HERE_FLAG;
      return { kind: 'session', session: readU64(bytes, at + 8), leader, readsHere };
    }
    case FrameKind.worked:
      exactly(end - at, WORKED_BYTES);
      return { kind: 'worked', batches: readU64(bytes, at + 8) };
    case FrameKind.failed:
      return { kind: 'failed', why: readText(asBuffer(bytes), at + FRAME_HEADER_BYTES, end) };
    default:
      return readNamedFrame(bytes, at, end);
  }
}

function exactly(length: number, expected: number): void {
  if (length !== expected) throw new CodecError('bad-length', `a frame of ${length} bytes`);
}

function atLeast(length: number, least: number): void {
  if (length < least) throw new CodecError('truncated', `a frame of ${length} bytes`);
}
