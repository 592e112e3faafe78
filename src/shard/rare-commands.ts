/**
 * The commands that are rare, as bytes: written and read as they come, nothing is used again.
 *
 * ```
 *   4 open stream    (the sender is named by the section)
 *   5 declare queue  definition (plain data, the rest; machine/definitions.ts, `placedData`)
 *   6 update queue   queueId u64 | limits (plain data, the rest; `limitsData`)
 *   7 delete queue   queueId u64
 *   8 set version    version u32
 *  10 settle range   cause u8 | groupId u32 | queueId u64 | from u64 | to u64
 *  11 create group   queueId u64 | kind u8 | start 0 u8, or 1 u8 and a position | name text16
 *                    | filter text16
 *  12 delete group   queueId u64 | groupId u32
 *  13 seek group     queueId u64 | groupId u32 | position
 *  14 idle group     queueId u64 | groupId u32 | idle u8
 *  15 retain         queueId u64 | start u64
 *  16 fire timers    max u32
 *  17 skip intent    intent u64 | reason u8
 *  18 move range     queueId u64 | groupId u32 | from u64 | to u64 | 0 u8, or 1 u8 and target u64
 *  20 end session    session text16
 *  21 to 26          place-commands.ts
 *  27 route intent   intent u64 | queueId u64
 *  28 end route      intent u64 | number u64 | how u8 | next u64
 *  30 to 37          session-commands.ts
 *
 *  position  kind u8 (0 first, 1 last, 2 next, 3 offset, 4 time) | offset or ms u64, otherwise 0
 * ```
 *
 * Codes are places in the machine's lists. Nothing is allocated by a length that the bytes only
 * announce: texts and plain data lie inside of the command, or it is a `CodecError`.
 */

import { GROUP_KINDS, RANGE_CAUSES, ROUTE_ENDS, SKIP_REASONS } from '../machine/command.ts';
import type {
  Command,
  CreateGroupCommand,
  MoveRangeCommand,
  Position,
} from '../machine/command.ts';
import { limitsData, limitsOf, placedData, placedOf } from '../machine/definitions.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { RecordData } from '../machine/record-data.ts';
import { isOfSession } from '../machine/session-command.ts';
import { CommandKind } from './command-kinds.ts';
import { readPlaceCommand, writePlaceCommand } from './place-commands.ts';
import { type PlainData, decodeForeign, encodeRecord } from './record-codec.ts';
import {
  SESSION_COMMAND_CODES,
  readSessionCommand,
  writeSessionCommand,
} from './session-commands.ts';
import { CodecError, type WireReader, type WireWriter } from './wire.ts';

export type RareCommand = Exclude<
  Command,
  { readonly kind: 'enqueue' | 'void' | 'settle' | 'transfer' | 'take-transfer' | 'release' }
>;

export const POSITION_KINDS = ['first', 'last', 'next', 'offset', 'time'] as const;

const KIND_CODES: Readonly<Record<RareCommand['kind'], number>> = {
  'open-stream': CommandKind.openStream,
  'declare-queue': CommandKind.declareQueue,
  'update-queue': CommandKind.updateQueue,
  'delete-queue': CommandKind.deleteQueue,
  'set-version': CommandKind.setVersion,
  'settle-range': CommandKind.settleRange,
  'create-group': CommandKind.createGroup,
  'delete-group': CommandKind.deleteGroup,
  'seek-group': CommandKind.seekGroup,
  'idle-group': CommandKind.idleGroup,
  retain: CommandKind.retain,
  'fire-timers': CommandKind.fireTimers,
  'skip-intent': CommandKind.skipIntent,
  'move-range': CommandKind.moveRange,
  'route-intent': CommandKind.routeIntent,
  'end-route': CommandKind.endRoute,
  'end-session': CommandKind.endSession,
  'place-queue': CommandKind.placeQueue,
  'unplace-queue': CommandKind.unplaceQueue,
  'fence-names': CommandKind.fenceNames,
  'add-shard': CommandKind.addShard,
  'host-shard': CommandKind.hostShard,
  'unhost-shard': CommandKind.unhostShard,
  ...SESSION_COMMAND_CODES,
};

/** Kind and what is behind it; the length is the caller's. */
export function writeRareCommand(writer: WireWriter, command: RareCommand): void {
  writer.u8(KIND_CODES[command.kind]);
  switch (command.kind) {
    case 'open-stream':
      return;
    case 'declare-queue':
      writer.append(encodeRecord(placedData(command) as PlainData));
      return;
    case 'update-queue':
      writer.u64(command.queueId);
      writer.append(encodeRecord(limitsData(command.limits)));
      return;
    case 'delete-queue':
      writer.u64(command.queueId);
      return;
    case 'set-version':
      writer.u32(command.version);
      return;
    case 'retain':
      writer.u64(command.queueId);
      writer.u64(command.start);
      return;
    case 'fire-timers':
      writer.u32(command.max);
      return;
    case 'skip-intent':
      writer.u64(command.intent);
      writer.u8(SKIP_REASONS.indexOf(command.reason));
      return;
    case 'route-intent':
      writer.u64(command.intent);
      writer.u64(command.queueId);
      return;
    case 'end-route':
      writer.u64(command.intent);
      writer.u64(command.number);
      writer.u8(ROUTE_ENDS.indexOf(command.how));
      writer.u64(command.next);
      return;
    case 'end-session':
      writer.text16(command.session);
      return;
    case 'settle-range':
    case 'create-group':
    case 'delete-group':
    case 'seek-group':
    case 'idle-group':
    case 'move-range':
      writeGroupCommand(writer, command);
      return;
    default:
      if (isOfSession(command)) writeSessionCommand(writer, command);
      else writePlaceCommand(writer, command);
  }
}

type GroupCommand = Extract<
  RareCommand,
  {
    readonly kind:
      | 'settle-range'
      | 'create-group'
      | 'delete-group'
      | 'seek-group'
      | 'idle-group'
      | 'move-range';
  }
>;

function writeGroupCommand(writer: WireWriter, command: GroupCommand): void {
  if (command.kind === 'settle-range') {
    writer.u8(RANGE_CAUSES.indexOf(command.cause));
    writer.u32(command.groupId);
    writer.u64(command.queueId);
    writer.u64(command.from);
    writer.u64(command.to);
    return;
  }
  writer.u64(command.queueId);
  if (command.kind === 'create-group') {
    writer.u8(GROUP_KINDS.indexOf(command.groupKind));
    writer.u8(command.start === undefined ? 0 : 1);
    if (command.start !== undefined) writePosition(writer, command.start);
    writer.text16(command.name);
    writer.text16(command.filter);
    return;
  }
  writer.u32(command.groupId);
  switch (command.kind) {
    case 'delete-group':
      return;
    case 'seek-group':
      writePosition(writer, command.position);
      return;
    case 'idle-group':
      writer.u8(command.idle ? 1 : 0);
      return;
    case 'move-range':
      writer.u64(command.from);
      writer.u64(command.to);
      writer.u8(command.target === 'source' ? 0 : 1);
      if (command.target !== 'source') writer.u64(command.target);
  }
}

/** The reader stands at the kind; `node` names the section's sender. */
export function readRareCommand(reader: WireReader, node: string): RareCommand {
  const kind = reader.u8();
  switch (kind) {
    case CommandKind.openStream:
      if (node === '') throw new CodecError('bad-value', 'a stream is opened for nobody');
      return { kind: 'open-stream', node };
    case CommandKind.declareQueue:
      return { kind: 'declare-queue', ...readPlain(reader, placedOf) };
    case CommandKind.updateQueue: {
      const queueId = readQueueId(reader);
      return { kind: 'update-queue', queueId, limits: readPlain(reader, limitsOf) };
    }
    case CommandKind.deleteQueue:
      return { kind: 'delete-queue', queueId: readQueueId(reader) };
    case CommandKind.setVersion:
      return { kind: 'set-version', version: reader.u32() };
    case CommandKind.retain:
      return { kind: 'retain', queueId: readQueueId(reader), start: readOffset(reader) };
    case CommandKind.fireTimers:
      return { kind: 'fire-timers', max: reader.u32() };
    case CommandKind.skipIntent:
      return { kind: 'skip-intent', intent: reader.u64(), reason: reader.code(SKIP_REASONS) };
    case CommandKind.endSession:
      return { kind: 'end-session', session: reader.text16() };
    case CommandKind.routeIntent:
      return { kind: 'route-intent', intent: reader.u64(), queueId: readQueueId(reader) };
    case CommandKind.endRoute: {
      const intent = reader.u64();
      const number = reader.u64();
      const how = reader.code(ROUTE_ENDS);
      return { kind: 'end-route', intent, number, how, next: reader.u64() };
    }
    default:
      return (
        readPlaceCommand(reader, kind) ??
        readSessionCommand(reader, kind) ??
        readGroupCommand(reader, kind)
      );
  }
}

function readGroupCommand(reader: WireReader, kind: number): RareCommand {
  switch (kind) {
    case CommandKind.settleRange: {
      const cause = reader.code(RANGE_CAUSES);
      const groupId = readGroupId(reader);
      const queueId = readQueueId(reader);
      const from = readOffset(reader);
      return { kind: 'settle-range', queueId, groupId, from, to: readOffset(reader), cause };
    }
    case CommandKind.createGroup:
      return readCreation(reader);
    case CommandKind.deleteGroup:
      return {
        kind: 'delete-group',
        queueId: readQueueId(reader),
        groupId: readGroupId(reader),
      };
    case CommandKind.seekGroup: {
      const queueId = readQueueId(reader);
      const groupId = readGroupId(reader);
      return { kind: 'seek-group', queueId, groupId, position: readPosition(reader) };
    }
    case CommandKind.idleGroup: {
      const queueId = readQueueId(reader);
      const groupId = readGroupId(reader);
      return { kind: 'idle-group', queueId, groupId, idle: readFlag(reader) };
    }
    case CommandKind.moveRange:
      return readMove(reader);
    default:
      throw new CodecError('unknown-kind', 'a command of unknown kind');
  }
}

function readCreation(reader: WireReader): CreateGroupCommand {
  const queueId = readQueueId(reader);
  const groupKind = reader.code(GROUP_KINDS);
  const start = readFlag(reader) ? readPosition(reader) : undefined;
  const name = reader.text16();
  return { kind: 'create-group', queueId, name, groupKind, filter: reader.text16(), start };
}

function readMove(reader: WireReader): MoveRangeCommand {
  const queueId = readQueueId(reader);
  const groupId = readGroupId(reader);
  const from = readOffset(reader);
  const to = readOffset(reader);
  const target = readFlag(reader) ? readQueueId(reader) : 'source';
  return { kind: 'move-range', queueId, groupId, from, to, target };
}

export function writePosition(writer: WireWriter, position: Position): void {
  writer.u8(POSITION_KINDS.indexOf(position.kind));
  if (position.kind === 'offset') writer.u64(position.offset);
  else writer.u64(position.kind === 'time' ? position.ms : 0);
}

export function readPosition(reader: WireReader): Position {
  const kind = reader.code(POSITION_KINDS);
  const value = reader.u64();
  if (kind === 'offset') return { kind, offset: value };
  if (kind === 'time') return { kind, ms: value };
  if (value !== 0) throw new CodecError('bad-value', `a position ${kind} with a number`);
  return { kind };
}

function readFlag(reader: WireReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw new CodecError('bad-value', `a flag of ${flag}`);
  return flag === 1;
}

function readQueueId(reader: WireReader): QueueId {
  return reader.u64() as QueueId;
}

function readGroupId(reader: WireReader): GroupId {
  return reader.u32() as GroupId;
}

function readOffset(reader: WireReader): Offset {
  return reader.u64() as Offset;
}

/** Plain data up to the end of the command. */
function readPlain<T>(reader: WireReader, read: (data: RecordData) => T): T {
  try {
    return read(decodeForeign(reader.view(reader.remaining)) as RecordData);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'no plain data');
  }
}
