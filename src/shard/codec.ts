/**
 * Commands as bytes: what the log's entries hold, and what the client sends so that it can go into
 * the log as it is. This file has those that are frequent; `command-kinds.ts` the walk from one to
 * the next, `rare-commands.ts` the others, `entry.ts` the sections around them.
 *
 * ```
 *  1 enqueue   flags | targets u16 (1-1024) | queueId u64 for each | options | stored message
 *  9 transfer  flags | targets u16 | intent u64 | queueId u64 for each | options | stored message
 *  2 void      reason
 *  3 settle    outcome | cause | 0 | groupId u32 | queueId u64 | offset u64
 * 19 release   session text16 | owner epoch u64 | packet id u16
 * 29 take      flags | targets u16 | source shard u64 | number u64 | opened u64 | lowest open u64
 *              | queueId u64 for each | options | stored message
 *
 *  flags: bit 0: there are options (enqueue-options.ts); the others 0.
 * ```
 *
 * An enqueue has no number of its own: the section says the first, and each enqueue, void or
 * release is the next. The topic is read out of the stored message when somebody asks for it, and
 * costs nothing otherwise. Whatever decodes a command checks all of its lengths first.
 */

import { MAX_TARGETS, SETTLE_CAUSES, SETTLE_OUTCOMES, VOID_REASONS } from '../machine/command.ts';
import type {
  Command,
  EnqueueCommand,
  EnqueueOptions,
  PublishKey,
  ReleaseCommand,
  SettleCommand,
  TakeTransferCommand,
  TransferCommand,
  VoidCommand,
  VoidReason,
} from '../machine/command.ts';
import { DELAYED_QUEUE } from '../machine/ids.ts';
import type { GroupId, Offset, QueueId, StampMs } from '../machine/ids.ts';
import {
  COMMAND_HEADER_BYTES,
  CommandKind,
  coded,
  commandEnd,
  commandKind,
} from './command-kinds.ts';
import {
  isDelayed,
  optionsEnd,
  readKey,
  readOptions,
  writeKey,
  writeOptions,
} from './enqueue-options.ts';
import { type RareCommand, readRareCommand, writeRareCommand } from './rare-commands.ts';
import { STORED_HEADER_BYTES } from './stored-message.ts';
import { CodecError, WireReader, asBuffer, readText, readU16, readU32, readU64 } from './wire.ts';
import { type WireWriter, writeU16, writeU32, writeU64 } from './wire.ts';

export { coded, commandEnd } from './command-kinds.ts';

const ENQUEUE_HEADER_BYTES = 8;
const INTENT_BYTES = 8;
const TAKE_BYTES = 32;
const TARGET_BYTES = 8;
const OPTIONS_FLAG = 1;
const VOID_BYTES = 6;
const SETTLE_BYTES = 28;

// --- Walking over commands without decoding them.

/** True for an enqueue, a transfer and a take. */
function storesMessage(bytes: Uint8Array, at: number): boolean {
  const kind = commandKind(bytes, at);
  return (
    kind === CommandKind.enqueue ||
    kind === CommandKind.transfer ||
    kind === CommandKind.takeTransfer
  );
}

/**
 * True for a command that puts its message into this queue, unless it is refused. One that is
 * delayed goes to `DELAYED_QUEUE` alone.
 */
export function enqueuesTo(bytes: Uint8Array, at: number, queueId: QueueId): boolean {
  const end = commandEnd(bytes, at);
  if (!storesMessage(bytes, at)) return false;
  const targetsEnd = targetsEndOf(bytes, at, end);
  if (((bytes[at + 5] as number) & OPTIONS_FLAG) !== 0) {
    optionsEnd(bytes, targetsEnd, end);
    if (isDelayed(bytes, targetsEnd)) return queueId === DELAYED_QUEUE;
  }
  for (let target = firstTarget(bytes, at); target < targetsEnd; target += TARGET_BYTES) {
    if (readU64(bytes, target) === queueId) return true;
  }
  return false;
}

/** Where the stored message of the command at `at` begins; it ends with the command. */
export function storedMessageStart(bytes: Uint8Array, at: number): number {
  const end = commandEnd(bytes, at);
  if (!storesMessage(bytes, at)) {
    throw new CodecError('unknown-kind', 'the command stores no message');
  }
  return storedStart(bytes, at, end);
}

/** What the enqueue at `at` asks for; undefined: nothing. */
export function optionsOf(bytes: Uint8Array, at: number): EnqueueOptions | undefined {
  const stored = storedMessageStart(bytes, at);
  const targetsEnd = targetsEndOf(bytes, at, commandEnd(bytes, at));
  return targetsEnd === stored ? undefined : readOptions(bytes, targetsEnd, stored);
}

/** True for what may stand in a batch of a sender: a numbered command, whole. */
export function isSendersCommand(bytes: Uint8Array, at: number): boolean {
  const end = commandEnd(bytes, at);
  switch (commandKind(bytes, at)) {
    case CommandKind.enqueue: {
      const stored = storedStart(bytes, at, end);
      const targetsEnd = targetsEndOf(bytes, at, end);
      for (let from = firstTarget(bytes, at); from < targetsEnd; from += TARGET_BYTES) {
        readU64(bytes, from);
      }
      if (targetsEnd !== stored) readOptions(bytes, targetsEnd, stored);
      return true;
    }
    case CommandKind.release:
      readRelease(bytes, at, end);
      return true;
    default:
      return false;
  }
}

/** True for an enqueue: what takes space, and may be refused for want of it. */
export function isEnqueue(bytes: Uint8Array, at: number): boolean {
  return commandKind(bytes, at) === CommandKind.enqueue;
}

function firstTarget(bytes: Uint8Array, at: number): number {
  const header = at + ENQUEUE_HEADER_BYTES;
  switch (commandKind(bytes, at)) {
    case CommandKind.transfer:
      return header + INTENT_BYTES;
    case CommandKind.takeTransfer:
      return header + TAKE_BYTES;
    default:
      return header;
  }
}

function targetsEndOf(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < ENQUEUE_HEADER_BYTES)
    throw new CodecError('bad-length', 'an enqueue is too short');
  const targets = readU16(bytes, at + 6);
  if (targets === 0 || targets > MAX_TARGETS) {
    throw new CodecError('bad-value', `an enqueue with ${targets} targets`);
  }
  const targetsEnd = firstTarget(bytes, at) + targets * TARGET_BYTES;
  if (targetsEnd > end) throw new CodecError('bad-length', 'an enqueue is too short');
  return targetsEnd;
}

function storedStart(bytes: Uint8Array, at: number, end: number): number {
  let start = targetsEndOf(bytes, at, end);
  const flags = bytes[at + 5] as number;
  if (flags > OPTIONS_FLAG) throw new CodecError('bad-value', `an enqueue with the flags ${flags}`);
  if (flags !== 0) start = optionsEnd(bytes, start, end);
  if (end - start < STORED_HEADER_BYTES)
    throw new CodecError('bad-length', 'an enqueue is too short');
  const topicBytes = readU16(bytes, start + 2);
  if (topicBytes === 0 || topicBytes > end - start - STORED_HEADER_BYTES) {
    throw new CodecError('bad-length', 'the topic of an enqueue is not inside of it');
  }
  return start;
}

// --- Writing.

/**
 * Begins an enqueue; the stored message follows, then `finishCommand`. Gives where the command
 * begins.
 */
export function beginEnqueue(
  writer: WireWriter,
  targets: readonly QueueId[],
  options?: EnqueueOptions,
): number {
  const start = writer.reserve(ENQUEUE_HEADER_BYTES);
  writer.bytes[start + 4] = CommandKind.enqueue;
  finishHead(writer, start, { targets, options });
  return start;
}

/** The same for a transfer. */
export function beginTransfer(
  writer: WireWriter,
  transfer: Pick<TransferCommand, 'intent' | 'targets' | 'options'>,
): number {
  const start = writer.reserve(ENQUEUE_HEADER_BYTES);
  writer.bytes[start + 4] = CommandKind.transfer;
  writer.u64(transfer.intent);
  finishHead(writer, start, transfer);
  return start;
}

/** The same for a message to another shard. */
export function beginTake(
  writer: WireWriter,
  take: Omit<TakeTransferCommand, 'kind' | 'bytes' | 'topic'>,
): number {
  const start = writer.reserve(ENQUEUE_HEADER_BYTES);
  writer.bytes[start + 4] = CommandKind.takeTransfer;
  for (const each of [take.from, take.number, take.opened, take.lowestOpen]) writer.u64(each);
  finishHead(writer, start, take);
  return start;
}

function finishHead(
  writer: WireWriter,
  start: number,
  head: Pick<TransferCommand, 'targets' | 'options'>,
): void {
  const { targets, options } = head;
  const count = targets.length;
  let at = writer.reserve(count * TARGET_BYTES);
  const { bytes } = writer;
  bytes[start + 5] = options === undefined ? 0 : OPTIONS_FLAG;
  writeU16(bytes, start + 6, count);
  for (let index = 0; index < count; index++, at += TARGET_BYTES) {
    writeU64(bytes, at, targets[index] as number);
  }
  if (options !== undefined) writeOptions(writer, options);
}

/** Sets the length of the command that began at `start` and ends where the writer stands. */
export function finishCommand(writer: WireWriter, start: number): void {
  writeU32(writer.bytes, start, writer.length - start);
}

export function writeVoid(writer: WireWriter, reason: VoidReason): void {
  const at = writer.reserve(VOID_BYTES);
  writeU32(writer.bytes, at, VOID_BYTES);
  writer.bytes[at + 4] = CommandKind.void;
  writer.bytes[at + 5] = VOID_REASONS.indexOf(reason);
}

export function writeRelease(writer: WireWriter, key: PublishKey): void {
  const start = writer.reserve(COMMAND_HEADER_BYTES);
  writer.bytes[start + 4] = CommandKind.release;
  writeKey(writer, key);
  finishCommand(writer, start);
}

/** Commands without a number, and what opens a stream; a transfer has a message and is no such. */
export type PlainCommand = RareCommand | SettleCommand;

export function writeSettle(writer: WireWriter, command: Omit<SettleCommand, 'kind'>): void {
  const at = writer.reserve(SETTLE_BYTES);
  const { bytes } = writer;
  writeU32(bytes, at, SETTLE_BYTES);
  bytes[at + 4] = CommandKind.settle;
  bytes[at + 5] = SETTLE_OUTCOMES.indexOf(command.outcome);
  bytes[at + 6] = SETTLE_CAUSES.indexOf(command.cause);
  bytes[at + 7] = 0;
  writeU32(bytes, at + 8, command.groupId);
  writeU64(bytes, at + 12, command.queueId);
  writeU64(bytes, at + 20, command.offset);
}

export function writePlainCommand(writer: WireWriter, command: PlainCommand): void {
  if (command.kind === 'settle') {
    writeSettle(writer, command);
    return;
  }
  const start = writer.reserve(4);
  writeRareCommand(writer, command);
  finishCommand(writer, start);
}

// --- Reading. Hot kinds fill an object that is used again and again.

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Void = Mutable<VoidCommand>;

/** The place in its sender's stream that the section gives to the commands in it. */
export interface StreamPlace {
  node: string;
  boot: number;
  /** Of the next numbered command. */
  number: number;
  answeredUpTo: number;
}

/** The topic of the command that was decoded last, made into a text when it is asked for. */
class LazyTopic {
  #bytes: Uint8Array = new Uint8Array(0);
  #stored = 0;
  #text: string | undefined;

  /** `stored`: where a message begins that `storedStart` has checked. */
  set(bytes: Uint8Array, stored: number): void {
    this.#bytes = bytes;
    this.#stored = stored;
    this.#text = undefined;
  }

  get text(): string {
    if (this.#text === undefined) {
      const from = this.#stored + STORED_HEADER_BYTES;
      const to = from + readU16(this.#bytes, this.#stored + 2);
      this.#text = readText(asBuffer(this.#bytes), from, to);
    }
    return this.#text;
  }
}

/**
 * Classes and no literals: a literal with a getter is an object of the slow kind, in which each
 * field is looked up by its name.
 */
class Decoded {
  targets: QueueId[] = [];
  bytes = 0;
  options: EnqueueOptions | undefined = undefined;
  readonly #topic: LazyTopic;

  constructor(topic: LazyTopic) {
    this.#topic = topic;
  }

  get topic(): string {
    return this.#topic.text;
  }
}

class DecodedEnqueue extends Decoded implements EnqueueCommand {
  readonly kind = 'enqueue';
  node = '';
  boot = 0;
  number = 0;
  answeredUpTo = 0;
}

class DecodedTransfer extends Decoded implements TransferCommand {
  readonly kind = 'transfer';
  intent = 0;
}

class DecodedTake extends Decoded implements TakeTransferCommand {
  readonly kind = 'take-transfer';
  from = 0;
  number = 0;
  opened = 0 as StampMs;
  lowestOpen = 0;
}

/** Decodes one command at a time; what it gives is valid until its next call. */
export class CommandDecoder {
  readonly #topic = new LazyTopic();
  readonly #enqueue = new DecodedEnqueue(this.#topic);
  readonly #transfer = new DecodedTransfer(this.#topic);
  readonly #take = new DecodedTake(this.#topic);
  readonly #void: Void = {
    kind: 'void',
    node: '',
    boot: 0,
    number: 0,
    answeredUpTo: 0,
    reason: 'unavailable',
  };
  readonly #settle: Mutable<SettleCommand> = {
    kind: 'settle',
    queueId: 0 as QueueId,
    groupId: 0 as GroupId,
    offset: 0 as Offset,
    outcome: 'complete',
    cause: 'client',
  };

  /**
   * The command at `at`, of which `commandEnd` said that it ends at `end`; a numbered one moves
   * `place` on.
   */
  decode(bytes: Uint8Array, at: number, place: StreamPlace): Command {
    const end = commandEnd(bytes, at);
    switch (commandKind(bytes, at)) {
      case CommandKind.enqueue:
        this.#decodeMessage(this.#enqueue, bytes, at);
        return numbered(this.#enqueue, place);
      case CommandKind.void:
        return this.#decodeVoid(bytes, at, place);
      case CommandKind.settle:
        return this.#decodeSettle(bytes, at);
      case CommandKind.transfer:
        this.#decodeMessage(this.#transfer, bytes, at);
        this.#transfer.intent = readU64(bytes, at + ENQUEUE_HEADER_BYTES);
        return this.#transfer;
      case CommandKind.takeTransfer:
        return this.#decodeTake(bytes, at);
      case CommandKind.release:
        return numbered({ kind: 'release', ...NO_PLACE, key: readRelease(bytes, at, end) }, place);
      default: {
        const reader = new WireReader(bytes, at + 4, end);
        const command = readRareCommand(reader, place.node);
        reader.finish();
        return command;
      }
    }
  }

  #decodeTake(bytes: Uint8Array, at: number): Command {
    const take = this.#take;
    this.#decodeMessage(take, bytes, at);
    const from = at + ENQUEUE_HEADER_BYTES;
    take.from = readU64(bytes, from);
    take.number = readU64(bytes, from + 8);
    take.opened = readU64(bytes, from + 16) as StampMs;
    take.lowestOpen = readU64(bytes, from + 24);
    return take;
  }

  #decodeMessage(
    command: DecodedEnqueue | DecodedTransfer | DecodedTake,
    bytes: Uint8Array,
    at: number,
  ): void {
    const stored = storedMessageStart(bytes, at);
    const { targets } = command;
    const count = readU16(bytes, at + 6);
    if (targets.length !== count) targets.length = count;
    let from = firstTarget(bytes, at);
    for (let index = 0; index < count; index++) {
      targets[index] = readU64(bytes, from) as QueueId;
      from += TARGET_BYTES;
    }
    // What is left up to the stored message is options.
    command.options = from === stored ? undefined : readOptions(bytes, from, stored);
    command.bytes = at + readU32(bytes, at) - stored;
    this.#topic.set(bytes, stored);
  }

  #decodeVoid(bytes: Uint8Array, at: number, place: StreamPlace): Command {
    if (readU32(bytes, at) !== VOID_BYTES)
      throw new CodecError('bad-length', 'a void has no such length');
    this.#void.reason = coded(VOID_REASONS, bytes[at + 5]);
    return numbered(this.#void, place);
  }

  #decodeSettle(bytes: Uint8Array, at: number): Command {
    if (readU32(bytes, at) !== SETTLE_BYTES) {
      throw new CodecError('bad-length', 'a settle has no such length');
    }
    const settle = this.#settle;
    settle.outcome = coded(SETTLE_OUTCOMES, bytes[at + 5]);
    settle.cause = coded(SETTLE_CAUSES, bytes[at + 6]);
    settle.groupId = readU32(bytes, at + 8) as GroupId;
    settle.queueId = readU64(bytes, at + 12) as QueueId;
    settle.offset = readU64(bytes, at + 20) as Offset;
    return settle;
  }
}

const NO_PLACE = { node: '', boot: 0, number: 0, answeredUpTo: 0 } as const;

function readRelease(bytes: Uint8Array, at: number, end: number): PublishKey {
  const reader = new WireReader(bytes, at + COMMAND_HEADER_BYTES, end);
  const key = readKey(reader);
  reader.finish();
  return key;
}

function numbered<T extends DecodedEnqueue | Void | Mutable<ReleaseCommand>>(
  command: T,
  place: StreamPlace,
): T {
  if (place.boot === 0) throw new CodecError('bad-value', 'a numbered command outside of a stream');
  command.node = place.node;
  command.boot = place.boot;
  command.answeredUpTo = place.answeredUpTo;
  command.number = place.number++;
  return command;
}
