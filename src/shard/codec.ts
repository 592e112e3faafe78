/**
 * Commands as bytes: what the log's entries hold, and what the client sends so that it can go into
 * the log as it is. `entry.ts` has the sections around them; docs/formats/commands.md has the
 * whole.
 *
 * ```
 *  0                                       4         5
 *  +---------------------------------------+---------+----------------------------
 *  | length of the command, this included  | kind    | by kind
 *  +---------------------------------------+---------+----------------------------
 *
 *  1 enqueue       0 | targets u16 (1-256) | queueId u64 for each | stored message (the rest)
 *  2 void          reason
 *  3 settle        outcome | cause | 0 | groupId u32 | queueId u64 | offset u64
 *  4 open stream   (the sender is named by the section)
 *  5 declare queue definition (plain data, the rest; machine/definitions.ts, `definitionData`)
 *  6 update queue  queueId u64 | limits (plain data, the rest; `limitsData`)
 *  7 delete queue  queueId u64
 *  8 set version   version u32
 * ```
 *
 * Reasons, outcomes, causes and types are places in the machine's lists, which only grow at their
 * end. An enqueue has no number of its own: the section says the first, and each enqueue or void is
 * the next.
 */

import { MAX_TARGETS, SETTLE_CAUSES, SETTLE_OUTCOMES, VOID_REASONS } from '../machine/command.ts';
import type {
  Command,
  DeclareQueueCommand,
  SettleCommand,
  UpdateQueueCommand,
  VoidReason,
} from '../machine/command.ts';
import { definitionData, definitionOf, limitsData, limitsOf } from '../machine/definitions.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { RecordData } from '../machine/record-data.ts';
import { type PlainData, decodeRecord, encodeRecord } from './record-codec.ts';
import { STORED_HEADER_BYTES } from './stored-message.ts';
import { CodecError, WireReader, readU16, readU32, readU64 } from './wire.ts';
import { type WireWriter, writeU16, writeU32, writeU64 } from './wire.ts';

const CommandKind = {
  enqueue: 1,
  void: 2,
  settle: 3,
  openStream: 4,
  declareQueue: 5,
  updateQueue: 6,
  deleteQueue: 7,
  setVersion: 8,
} as const;

/** Length and kind. */
const COMMAND_HEADER_BYTES = 5;
const ENQUEUE_HEADER_BYTES = 8;
const TARGET_BYTES = 8;
const VOID_BYTES = 6;
const SETTLE_BYTES = 28;

// --- Walking over commands without decoding them.

/** Where the command at `at` ends; checked against the end of `bytes`. */
export function commandEnd(bytes: Uint8Array, at: number): number {
  if (at + COMMAND_HEADER_BYTES > bytes.length) {
    throw new CodecError('truncated', 'the bytes end within a command');
  }
  const length = readU32(bytes, at);
  if (length < COMMAND_HEADER_BYTES)
    throw new CodecError('bad-length', `a command of ${length} bytes`);
  const end = at + length;
  if (end > bytes.length) throw new CodecError('truncated', 'the bytes end within a command');
  return end;
}

function commandKind(bytes: Uint8Array, at: number): number {
  return bytes[at + 4] as number;
}

/** True for an enqueue that names this queue among its targets. */
export function enqueuesTo(bytes: Uint8Array, at: number, queueId: QueueId): boolean {
  const end = commandEnd(bytes, at);
  if (commandKind(bytes, at) !== CommandKind.enqueue) return false;
  const stored = storedStart(bytes, at, end);
  for (let target = at + ENQUEUE_HEADER_BYTES; target < stored; target += TARGET_BYTES) {
    if (readU64(bytes, target) === queueId) return true;
  }
  return false;
}

/** Where the stored message of the enqueue at `at` begins; it ends with the command. */
export function storedMessageStart(bytes: Uint8Array, at: number): number {
  const end = commandEnd(bytes, at);
  if (commandKind(bytes, at) !== CommandKind.enqueue) {
    throw new CodecError('unknown-kind', 'the command is not an enqueue');
  }
  return storedStart(bytes, at, end);
}

function storedStart(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < ENQUEUE_HEADER_BYTES)
    throw new CodecError('bad-length', 'an enqueue is too short');
  const targets = readU16(bytes, at + 6);
  if (targets === 0 || targets > MAX_TARGETS) {
    throw new CodecError('bad-value', `an enqueue with ${targets} targets`);
  }
  const start = at + ENQUEUE_HEADER_BYTES + targets * TARGET_BYTES;
  if (end - start < STORED_HEADER_BYTES)
    throw new CodecError('bad-length', 'an enqueue is too short');
  return start;
}

// --- Writing.

/**
 * Begins an enqueue; the stored message follows, then `finishCommand`. Gives where the command
 * begins.
 */
export function beginEnqueue(writer: WireWriter, targets: readonly QueueId[]): number {
  const count = targets.length;
  const start = writer.reserve(ENQUEUE_HEADER_BYTES + count * TARGET_BYTES);
  const { bytes } = writer;
  bytes[start + 4] = CommandKind.enqueue;
  bytes[start + 5] = 0;
  writeU16(bytes, start + 6, count);
  let at = start + ENQUEUE_HEADER_BYTES;
  for (let index = 0; index < count; index++, at += TARGET_BYTES) {
    writeU64(bytes, at, targets[index] as number);
  }
  return start;
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

/** Commands without a number, and what opens a stream. */
export type PlainCommand = Exclude<Command, { readonly kind: 'enqueue' | 'void' }>;

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
  switch (command.kind) {
    case 'open-stream':
      writer.u8(CommandKind.openStream);
      break;
    case 'declare-queue':
      writer.u8(CommandKind.declareQueue);
      writer.append(encodeRecord(definitionData(command) as PlainData));
      break;
    case 'update-queue':
      writer.u8(CommandKind.updateQueue);
      writer.u64(command.queueId);
      writer.append(encodeRecord(limitsData(command.limits)));
      break;
    case 'delete-queue':
      writer.u8(CommandKind.deleteQueue);
      writer.u64(command.queueId);
      break;
    case 'set-version':
      writer.u8(CommandKind.setVersion);
      writer.u32(command.version);
  }
  finishCommand(writer, start);
}

// --- Reading. Hot kinds fill an object that is used again and again.

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Enqueue = Mutable<Extract<Command, { kind: 'enqueue' }>> & { targets: QueueId[] };
type Void = Mutable<Extract<Command, { kind: 'void' }>>;

/** The place in its sender's stream that the section gives to the commands in it. */
export interface StreamPlace {
  node: string;
  boot: number;
  /** Of the next numbered command. */
  number: number;
  answeredUpTo: number;
}

/** Decodes one command at a time; what it gives is valid until its next call. */
export class CommandDecoder {
  readonly #enqueue: Enqueue = {
    kind: 'enqueue',
    node: '',
    boot: 0,
    number: 0,
    answeredUpTo: 0,
    targets: [],
    bytes: 0,
  };
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
        return this.#decodeEnqueue(bytes, at, place);
      case CommandKind.void:
        return this.#decodeVoid(bytes, at, place);
      case CommandKind.settle:
        return this.#decodeSettle(bytes, at);
      default: {
        const reader = new WireReader(bytes, at + 4, end);
        const command = readPlainCommand(reader, place.node);
        reader.finish();
        return command;
      }
    }
  }

  #decodeEnqueue(bytes: Uint8Array, at: number, place: StreamPlace): Command {
    const stored = storedMessageStart(bytes, at);
    const enqueue = this.#enqueue;
    const { targets } = enqueue;
    const count = readU16(bytes, at + 6);
    if (targets.length !== count) targets.length = count;
    for (let index = 0, from = at + ENQUEUE_HEADER_BYTES; index < count; index++) {
      targets[index] = readU64(bytes, from) as QueueId;
      from += TARGET_BYTES;
    }
    enqueue.bytes = at + readU32(bytes, at) - stored;
    return numbered(enqueue, place);
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

function numbered<T extends Enqueue | Void>(command: T, place: StreamPlace): T {
  if (place.boot === 0) throw new CodecError('bad-value', 'a numbered command outside of a stream');
  command.node = place.node;
  command.boot = place.boot;
  command.answeredUpTo = place.answeredUpTo;
  command.number = place.number++;
  return command;
}

/** The value that a code stands for. */
export function coded<T>(codes: readonly T[], code: number | undefined): T {
  const value = codes[code ?? -1];
  if (value === undefined)
    throw new CodecError('bad-value', `the code ${code ?? 'none'} is unknown`);
  return value;
}

function readPlainCommand(reader: WireReader, node: string): Command {
  switch (reader.u8()) {
    case CommandKind.openStream:
      if (node === '') throw new CodecError('bad-value', 'a stream is opened for nobody');
      return { kind: 'open-stream', node };
    case CommandKind.declareQueue:
      return readDeclaration(reader);
    case CommandKind.updateQueue:
      return readUpdate(reader);
    case CommandKind.deleteQueue:
      return { kind: 'delete-queue', queueId: reader.u64() as QueueId };
    case CommandKind.setVersion:
      return { kind: 'set-version', version: reader.u32() };
    default:
      throw new CodecError('unknown-kind', 'a command of unknown kind');
  }
}

function readDeclaration(reader: WireReader): DeclareQueueCommand {
  return { kind: 'declare-queue', ...readPlain(reader, definitionOf) };
}

function readUpdate(reader: WireReader): UpdateQueueCommand {
  return {
    kind: 'update-queue',
    queueId: reader.u64() as QueueId,
    limits: readPlain(reader, limitsOf),
  };
}

/** Plain data up to the end of the command. */
function readPlain<T>(reader: WireReader, read: (data: RecordData) => T): T {
  try {
    return read(decodeRecord(reader.view(reader.remaining)) as RecordData);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'no plain data');
  }
}
