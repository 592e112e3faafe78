/**
 * Batches from the client (main thread) to the shard: enqueues and releases as commands that go
 * into the log as they are, then frames for all else.
 *
 * ```
 *  0                                       4         5
 *  +---------------------------------------+---------+-----------------------------+
 *  | length of the batch, this included    | version | 0                           |
 *  +---------------------------------------+---------+-----------------------------+
 *  | boot of the stream, 0: not opened yet                                    u64  | 8
 *  | number of the first command                                              u64  | 16
 *  | answered up to                                                           u64  | 24
 *  | bytes of the shard's batches that the client has worked off so far       u64  | 32
 *  | commands                         u32  | bytes of the commands            u32  | 40
 *  | session of the route, 0: there is no route (leader-route.ts)             u64  | 48
 *  +-------------------------------------------------------------------------------+
 *  | commands (codec.ts) | frames: length u32, this included | kind u8 | by kind   | 56
 *  +-------------------------------------------------------------------------------+
 *  1 hello    0 u24 | boot u64, 0: the stream is to be opened | node id (the rest)
 *  2 settle   outcome u8 | 0 u16 | groupId u32 | queueId u64 | offset u64 | term u64
 *             | delivery number u64
 *  3 consume  flags u8 | 0 u16 | consumer u32 | credit u32 | queueId u64 | position
 *             | client id text16 | group text16 | filter text16
 *             | whole name of the group that it was in text16, "" when it comes for the first time
 *             flags: bit 0 manual, bit 1 a group is named, bit 2 the position counts, bit 3 its
 *             node has a replica: deliveries are only named (named-frames.ts), bit 4 it owns a
 *             session, and its epoch u64 follows
 *  4 grant    0 u24 | consumer u32 | deliveries u32
 *  5 close    how u8 | 0 u16 | consumer u32
 *  6 request  0 u24 | id u32 | body (the rest; requests.ts)
 *  7 ask      outcome u8 | 0 u16 | tag u32 | queueId u64 | offset u64 | term u64
 *             | delivery number u64 | group (the rest)
 *  8 end      0 u24 | session (the rest)
 *  9 hold     0 u24 | consumer u32 | offset u64 | term u64 | delivery number u64
 * 10 claimed  0 u24
 * ```
 *
 * `hold` tells a delivery that the consumer was given by another leader, or in another session, and
 * that is not settled; `claimed` that all of them are told. What is worked off is told with every
 * batch, and by an empty one when 64 KiB are untold. A consumer's number is the client's, and is
 * never used again in its life. `ClientBatch` checks the whole frame of what it is given when it is
 * made, each command included: what it hands on may be put into the log. Positions are those of
 * rare-commands.ts.
 */

import type { AskedOutcome, ConsumeRequest, SettleRequest } from '../broker/ports.ts';
import { SETTLE_OUTCOMES, type SettleOutcome } from '../machine/command.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import { coded, commandEnd, isSendersCommand } from './codec.ts';
import { readPosition, writePosition } from './rare-commands.ts';
import { CodecError, WireReader, asBuffer, readText, readU32, readU64 } from './wire.ts';
import type { WireWriter } from './wire.ts';
import { textRoom, writeText, writeU32, writeU64 } from './wire.ts';

const CLIENT_BATCH_VERSION = 1;
export const CLIENT_BATCH_HEADER_BYTES = 56;

const FrameKind = {
  hello: 1,
  settle: 2,
  consume: 3,
  grant: 4,
  close: 5,
  request: 6,
  ask: 7,
  endSession: 8,
  hold: 9,
  claimed: 10,
} as const;

const FRAME_HEADER_BYTES = 8;
const SESSION_AT = 48;
const HELLO_HEADER_BYTES = 16;
const HOLD_BYTES = 36;
const SETTLE_FRAME_BYTES = 44;
const CONSUME_HEADER_BYTES = 24;
const ConsumeFlag = { manual: 1, group: 2, start: 4, named: 8, owner: 16 } as const;
const CONSUME_FLAGS_ALL = 31;
const ASK_HEADER_BYTES = 44;
const GRANT_BYTES = 16;
const CLOSE_BYTES = 12;
const REQUEST_HEADER_BYTES = 12;

/** Stored nowhere; the first are those of the machine. */
export const ASKED_OUTCOMES = [
  ...SETTLE_OUTCOMES,
  'commit',
  'extend',
] as const satisfies readonly AskedOutcome[];

export const CLOSE_HOWS = ['lost', 'returned'] as const;
export type CloseHow = (typeof CLOSE_HOWS)[number];

export interface ClientBatchHeader {
  readonly boot: number;
  readonly firstNumber: number;
  readonly answeredUpTo: number;
  readonly takenBytes: number;
  readonly commands: number;
  readonly commandBytes: number;
  /** 0: there is no route between. */
  readonly session: number;
}

export interface SettleFrame {
  readonly kind: 'settle';
  readonly queueId: QueueId;
  readonly groupId: GroupId;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
  readonly outcome: SettleOutcome;
}

export interface ConsumeFrame extends ConsumeRequest {
  readonly kind: 'consume';
  readonly consumer: number;
  /** It was a member before: the whole name of its group; '' for the first time. */
  readonly again: string;
  /** Its node reads the messages of its deliveries itself. */
  readonly named: boolean;
}

export interface HoldFrame {
  readonly kind: 'hold';
  readonly consumer: number;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
}

/** A settlement that is answered by its tag. */
export interface AskFrame extends SettleRequest {
  readonly kind: 'ask';
  readonly tag: number;
}

export type ClientFrame =
  | { readonly kind: 'hello'; readonly node: string; readonly boot: number }
  | SettleFrame
  | HoldFrame
  | { readonly kind: 'claimed' }
  | ConsumeFrame
  | AskFrame
  | { readonly kind: 'end-session'; readonly session: string }
  | { readonly kind: 'grant'; readonly consumer: number; readonly deliveries: number }
  | { readonly kind: 'close'; readonly consumer: number; readonly how: CloseHow }
  /** The body is a view of the batch. */
  | { readonly kind: 'request'; readonly id: number; readonly body: Uint8Array };

// --- Writing (client).

/** Fills in the first 48 bytes of a batch that is otherwise complete. */
export function writeClientBatchHeader(bytes: Uint8Array, header: ClientBatchHeader): void {
  writeU32(bytes, 0, bytes.length);
  writeU32(bytes, 4, CLIENT_BATCH_VERSION);
  writeU64(bytes, 8, header.boot);
  writeU64(bytes, 16, header.firstNumber);
  writeU64(bytes, 24, header.answeredUpTo);
  writeU64(bytes, 32, header.takenBytes);
  writeU32(bytes, 40, header.commands);
  writeU32(bytes, 44, header.commandBytes);
  writeU64(bytes, SESSION_AT, header.session);
}

/** A copy of a complete batch without its frames. */
export function commandsAlone(batch: Uint8Array): Uint8Array {
  const copy = batch.slice(0, CLIENT_BATCH_HEADER_BYTES + readU32(batch, 44));
  writeU32(copy, 0, copy.length);
  return copy;
}

/** A copy of a complete batch, for another session. */
export function sentAgain(
  batch: Uint8Array,
  state: Pick<ClientBatchHeader, 'answeredUpTo' | 'takenBytes' | 'session'>,
): Uint8Array {
  const copy = batch.slice();
  writeU64(copy, 24, state.answeredUpTo);
  writeU64(copy, 32, state.takenBytes);
  writeU64(copy, SESSION_AT, state.session);
  return copy;
}

/** Undefined: these bytes are no batch. */
export function sessionOf(batch: Uint8Array): number | undefined {
  return batch.length < CLIENT_BATCH_HEADER_BYTES ? undefined : readU64(batch, SESSION_AT);
}

function begin(writer: WireWriter, kind: number, bytes: number): number {
  const at = writer.reserve(bytes);
  writeU32(writer.bytes, at, bytes);
  writeU32(writer.bytes, at + 4, kind);
  return at;
}

/** The text ends the frame that began at `start`. */
function endWithText(writer: WireWriter, start: number, text: string): void {
  writer.room(textRoom(text));
  writer.length = writeText(writer.bytes, writer.length, text);
  writeU32(writer.bytes, start, writer.length - start);
}

/** `boot` 0: a stream is to be opened. */
export function writeHello(writer: WireWriter, node: string, boot = 0): void {
  const at = begin(writer, FrameKind.hello, HELLO_HEADER_BYTES);
  writeU64(writer.bytes, at + 8, boot);
  endWithText(writer, at, node);
}

export function writeHold(writer: WireWriter, hold: Omit<HoldFrame, 'kind'>): void {
  const at = begin(writer, FrameKind.hold, HOLD_BYTES);
  const { bytes } = writer;
  writeU32(bytes, at + 8, hold.consumer);
  writeU64(bytes, at + 12, hold.offset);
  writeU64(bytes, at + 20, hold.term);
  writeU64(bytes, at + 28, hold.deliveryNumber);
}

export function writeClaimed(writer: WireWriter): void {
  begin(writer, FrameKind.claimed, FRAME_HEADER_BYTES);
}

export function writeSettleFrame(writer: WireWriter, settle: Omit<SettleFrame, 'kind'>): void {
  const at = begin(writer, FrameKind.settle, SETTLE_FRAME_BYTES);
  const { bytes } = writer;
  bytes[at + 5] = SETTLE_OUTCOMES.indexOf(settle.outcome);
  writeU32(bytes, at + 8, settle.groupId);
  writeU64(bytes, at + 12, settle.queueId);
  writeU64(bytes, at + 20, settle.offset);
  writeU64(bytes, at + 28, settle.term);
  writeU64(bytes, at + 36, settle.deliveryNumber);
}

export function writeConsume(
  writer: WireWriter,
  consume: Omit<ConsumeFrame, 'kind' | 'again' | 'named'> &
    Partial<Pick<ConsumeFrame, 'again' | 'named'>>,
): void {
  const { group, start, manual, ownerEpoch } = consume;
  const at = begin(writer, FrameKind.consume, CONSUME_HEADER_BYTES);
  writer.bytes[at + 5] =
    (manual ? ConsumeFlag.manual : 0) |
    (group === undefined ? 0 : ConsumeFlag.group) |
    (start === undefined ? 0 : ConsumeFlag.start) |
    (consume.named === true ? ConsumeFlag.named : 0) |
    (ownerEpoch === undefined ? 0 : ConsumeFlag.owner);
  writeU32(writer.bytes, at + 8, consume.consumer);
  writeU32(writer.bytes, at + 12, consume.credit);
  writeU64(writer.bytes, at + 16, consume.queueId);
  writePosition(writer, start ?? { kind: 'first' });
  writer.text16(consume.clientId);
  writer.text16(group ?? '');
  writer.text16(consume.filter);
  writer.text16(consume.again ?? '');
  if (ownerEpoch !== undefined) writer.u64(ownerEpoch);
  writeU32(writer.bytes, at, writer.length - at);
}

export function writeAsk(writer: WireWriter, tag: number, ask: SettleRequest): void {
  const at = begin(writer, FrameKind.ask, ASK_HEADER_BYTES);
  const { bytes } = writer;
  bytes[at + 5] = ASKED_OUTCOMES.indexOf(ask.outcome);
  writeU32(bytes, at + 8, tag);
  writeU64(bytes, at + 12, ask.queueId);
  writeU64(bytes, at + 20, ask.offset);
  writeU64(bytes, at + 28, ask.term);
  writeU64(bytes, at + 36, ask.deliveryNumber);
  endWithText(writer, at, ask.group);
}

export function writeEndSession(writer: WireWriter, session: string): void {
  endWithText(writer, begin(writer, FrameKind.endSession, FRAME_HEADER_BYTES), session);
}

export function writeGrant(writer: WireWriter, consumer: number, deliveries: number): void {
  const at = begin(writer, FrameKind.grant, GRANT_BYTES);
  writeU32(writer.bytes, at + 8, consumer);
  writeU32(writer.bytes, at + 12, deliveries);
}

export function writeClose(writer: WireWriter, consumer: number, how: CloseHow): void {
  const at = begin(writer, FrameKind.close, CLOSE_BYTES);
  writer.bytes[at + 5] = CLOSE_HOWS.indexOf(how);
  writeU32(writer.bytes, at + 8, consumer);
}

export function writeRequest(writer: WireWriter, id: number, body: Uint8Array): void {
  const at = begin(writer, FrameKind.request, REQUEST_HEADER_BYTES);
  writeU32(writer.bytes, at + 8, id);
  writer.append(body);
  writeU32(writer.bytes, at, writer.length - at);
}

// --- Reading (shard).

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** One batch: its header, its enqueues as they are, and its frames one after the other. */
export class ClientBatch implements ClientBatchHeader {
  readonly boot: number;
  readonly firstNumber: number;
  readonly answeredUpTo: number;
  readonly takenBytes: number;
  readonly commands: number;
  readonly commandBytes: number;
  readonly session: number;
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #settle: Mutable<SettleFrame> = {
    kind: 'settle',
    queueId: 0 as QueueId,
    groupId: 0 as GroupId,
    offset: 0 as Offset,
    term: 0,
    deliveryNumber: 0,
    outcome: 'complete',
  };

  constructor(bytes: Uint8Array) {
    if (bytes.length < CLIENT_BATCH_HEADER_BYTES) {
      throw new CodecError('truncated', 'a batch is shorter than its header');
    }
    if (readU32(bytes, 4) !== CLIENT_BATCH_VERSION) {
      throw new CodecError('unknown-version', `a batch of version ${bytes[4] ?? 'none'}`);
    }
    if (readU32(bytes, 0) !== bytes.length) {
      throw new CodecError('bad-length', 'a batch is not as long as it says');
    }
    this.#bytes = bytes;
    this.boot = readU64(bytes, 8);
    this.firstNumber = readU64(bytes, 16);
    this.answeredUpTo = readU64(bytes, 24);
    this.takenBytes = readU64(bytes, 32);
    this.commands = readU32(bytes, 40);
    this.commandBytes = readU32(bytes, 44);
    this.session = readU64(bytes, SESSION_AT);
    this.#at = CLIENT_BATCH_HEADER_BYTES + this.commandBytes;
    if (this.#at > bytes.length) throw new CodecError('truncated', 'a batch ends in its commands');
    this.#checkCommands();
  }

  /** A view of the numbered commands, one after the other; good for the log. */
  get numbered(): Uint8Array {
    const bytes = this.#bytes;
    const start = bytes.byteOffset + CLIENT_BATCH_HEADER_BYTES;
    return new Uint8Array(bytes.buffer, start, this.commandBytes);
  }

  /** The next frame, valid until the next call; undefined at the end. */
  next(): ClientFrame | undefined {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at === bytes.length) return undefined;
    const end = commandEnd(bytes, at);
    this.#at = end;
    const kind = bytes[at + 4];
    atLeast(end - at, FRAME_HEADER_BYTES);
    switch (kind) {
      case FrameKind.settle:
        return this.#readSettle(at, end);
      case FrameKind.grant:
        exactly(end - at, GRANT_BYTES);
        return {
          kind: 'grant',
          consumer: readU32(bytes, at + 8),
          deliveries: readU32(bytes, at + 12),
        };
      case FrameKind.consume:
        return readConsume(bytes, at, end);
      case FrameKind.close:
        exactly(end - at, CLOSE_BYTES);
        return {
          kind: 'close',
          consumer: readU32(bytes, at + 8),
          how: coded(CLOSE_HOWS, bytes[at + 5]),
        };
      case FrameKind.ask:
        return readAsk(bytes, at, end);
      case FrameKind.endSession: {
        const session = readText(asBuffer(bytes), at + FRAME_HEADER_BYTES, end);
        return { kind: 'end-session', session };
      }
      case FrameKind.hello:
        return readHello(bytes, at, end);
      case FrameKind.hold:
        return readHold(bytes, at, end);
      case FrameKind.claimed:
        exactly(end - at, FRAME_HEADER_BYTES);
        return CLAIMED;
      case FrameKind.request:
        atLeast(end - at, REQUEST_HEADER_BYTES);
        return {
          kind: 'request',
          id: readU32(bytes, at + 8),
          body: bytes.subarray(at + REQUEST_HEADER_BYTES, end),
        };
      default:
        throw new CodecError('unknown-kind', `a frame of kind ${kind ?? 'none'}`);
    }
  }

  #readSettle(at: number, end: number): SettleFrame {
    exactly(end - at, SETTLE_FRAME_BYTES);
    const bytes = this.#bytes;
    const settle = this.#settle;
    settle.outcome = coded(SETTLE_OUTCOMES, bytes[at + 5]);
    settle.groupId = readU32(bytes, at + 8) as GroupId;
    settle.queueId = readU64(bytes, at + 12) as QueueId;
    settle.offset = readU64(bytes, at + 20) as Offset;
    settle.term = readU64(bytes, at + 28);
    settle.deliveryNumber = readU64(bytes, at + 36);
    return settle;
  }

  #checkCommands(): void {
    const bytes = this.#bytes;
    let at = CLIENT_BATCH_HEADER_BYTES;
    for (let left = this.commands; left > 0; left--) {
      if (at >= this.#at)
        throw new CodecError('bad-length', 'a batch has fewer commands than it says');
      if (!isSendersCommand(bytes, at)) {
        throw new CodecError('unknown-kind', 'a batch holds a command that no sender gives');
      }
      at = commandEnd(bytes, at);
    }
    if (at !== this.#at)
      throw new CodecError('bad-length', 'the commands of a batch do not add up');
  }
}

const CLAIMED: ClientFrame = { kind: 'claimed' };

function readHello(bytes: Uint8Array, at: number, end: number): ClientFrame {
  atLeast(end - at, HELLO_HEADER_BYTES);
  const node = readText(asBuffer(bytes), at + HELLO_HEADER_BYTES, end);
  return { kind: 'hello', node, boot: readU64(bytes, at + 8) };
}

function readHold(bytes: Uint8Array, at: number, end: number): HoldFrame {
  exactly(end - at, HOLD_BYTES);
  return {
    kind: 'hold',
    consumer: readU32(bytes, at + 8),
    offset: readU64(bytes, at + 12) as Offset,
    term: readU64(bytes, at + 20),
    deliveryNumber: readU64(bytes, at + 28),
  };
}

function readConsume(bytes: Uint8Array, at: number, end: number): ConsumeFrame {
  atLeast(end - at, CONSUME_HEADER_BYTES);
  const flags = bytes[at + 5] as number;
  if (flags > CONSUME_FLAGS_ALL) throw new CodecError('bad-value', 'a consumer of unknown flags');
  const reader = new WireReader(bytes, at + CONSUME_HEADER_BYTES, end);
  const start = readPosition(reader);
  const clientId = reader.text16();
  const group = reader.text16();
  const filter = reader.text16();
  const again = reader.text16();
  const owner = (flags & ConsumeFlag.owner) === 0 ? {} : { ownerEpoch: reader.u64() };
  reader.finish();
  return {
    kind: 'consume',
    consumer: readU32(bytes, at + 8),
    credit: readU32(bytes, at + 12),
    queueId: readU64(bytes, at + 16) as QueueId,
    clientId,
    group: (flags & ConsumeFlag.group) === 0 ? undefined : group,
    filter,
    start: (flags & ConsumeFlag.start) === 0 ? undefined : start,
    manual: (flags & ConsumeFlag.manual) !== 0,
    again,
    ...owner,
    named: (flags & ConsumeFlag.named) !== 0,
  };
}

function readAsk(bytes: Uint8Array, at: number, end: number): AskFrame {
  atLeast(end - at, ASK_HEADER_BYTES);
  return {
    kind: 'ask',
    tag: readU32(bytes, at + 8),
    queueId: readU64(bytes, at + 12) as QueueId,
    offset: readU64(bytes, at + 20) as Offset,
    term: readU64(bytes, at + 28),
    deliveryNumber: readU64(bytes, at + 36),
    outcome: coded(ASKED_OUTCOMES, bytes[at + 5]),
    group: readText(asBuffer(bytes), at + ASK_HEADER_BYTES, end),
  };
}

function exactly(length: number, expected: number): void {
  if (length !== expected) throw new CodecError('bad-length', `a frame of ${length} bytes`);
}

function atLeast(length: number, least: number): void {
  if (length < least) throw new CodecError('truncated', `a frame of ${length} bytes`);
}
