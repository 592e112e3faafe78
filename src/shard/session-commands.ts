/**
 * The commands of durable sessions as bytes; part of `rare-commands.ts`.
 *
 * ```
 *  30 claim session   queueId u64 | epoch u64 | clean start u8 | expiry s u32
 *                     | messages u64 | bytes u64 | overflow u8 | token text16 | incarnation text16
 *                     | 0 u8, or 1 u8 and user text16
 *                     | nothing, or the delay of the will in s u32 and its message, the rest
 *  31 change session  queueId u64 | owner epoch u64 | plain data, the rest:
 *                     [[filter, flags, identifier, wish], ...], [filter, ...]
 *  32 halve session   queueId u64 | owner epoch u64 | offset u64          33 finish: the same
 *  34 leave session   queueId u64 | owner epoch u64 | 0 u8, or 1 u8 and expiry s u32
 *                     | nothing, or 1 u8: in peace
 *  35 resume session  queueId u64 | owner epoch u64                       36 delete: the same
 *  37 receive         queueId u64 | owner epoch u64 | packet id u16
 *  38 end will        queueId u64 | number u64
 *  39 replay session  queueId u64 | owner epoch u64 | plain data, the rest:
 *                     [[filter, run, next, end], ...]
 *  40 choose session  queueId u64 | owner epoch u64 | packet id u16 | token u64 | instead u8
 *                     | share u64 | queueId u64 for each, to the end
 * ```
 */

import { OVERFLOWS } from '../machine/definitions.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import { type RecordData, listOf, stringOf } from '../machine/record-data.ts';
import type { SessionCommand, SessionReplay } from '../machine/session-command.ts';
import { subscriptionData, subscriptionOf } from '../machine/session-record.ts';
import type { StoredWill } from '../machine/session-will-record.ts';
import type { ShareChoice } from '../machine/share-choices.ts';
import { CommandKind } from './command-kinds.ts';
import { type PlainData, decodeForeign, encodeRecord } from './record-codec.ts';
import { replayData, replayOf } from './session-replays.ts';
import { CodecError, type WireReader, type WireWriter } from './wire.ts';

export const SESSION_COMMAND_CODES = {
  'claim-session': CommandKind.claimSession,
  'change-session': CommandKind.changeSession,
  'replay-session': CommandKind.replaySession,
  'halve-session': CommandKind.halveSession,
  'finish-session': CommandKind.finishSession,
  'leave-session': CommandKind.leaveSession,
  'resume-session': CommandKind.resumeSession,
  'delete-session': CommandKind.deleteSession,
  'receive-session': CommandKind.receiveSession,
  'choose-session': CommandKind.chooseSession,
  'end-will': CommandKind.endWill,
} as const satisfies Record<SessionCommand['kind'], number>;

/** What is behind the kind. */
export function writeSessionCommand(writer: WireWriter, command: SessionCommand): void {
  writer.u64(command.queueId);
  if (command.kind === 'claim-session') {
    const { epoch, cleanStart, expirySeconds, limits, token, incarnation, user, will } = command;
    writer.u64(epoch);
    writer.u8(cleanStart ? 1 : 0);
    writer.u32(expirySeconds);
    writer.u64(limits.maxMessages);
    writer.u64(limits.maxBytes);
    writer.u8(OVERFLOWS.indexOf(limits.overflow));
    writer.text16(token);
    writer.text16(incarnation);
    writer.u8(user === undefined ? 0 : 1);
    if (user !== undefined) writer.text16(user);
    if (will === undefined) return;
    writer.u32(will.delaySeconds);
    writer.append(will.message);
    return;
  }
  if (command.kind === 'end-will') {
    writer.u64(command.number);
    return;
  }
  writer.u64(command.ownerEpoch);
  switch (command.kind) {
    case 'change-session':
      writer.append(
        encodeRecord([
          command.subscribe.map((each) => subscriptionData(each) as PlainData),
          command.unsubscribe,
        ]),
      );
      return;
    case 'replay-session':
      writer.append(encodeRecord(command.replays.map(replayData)));
      return;
    case 'halve-session':
    case 'finish-session':
      writer.u64(command.offset);
      return;
    case 'leave-session':
      writer.u8(command.expirySeconds === undefined ? 0 : 1);
      if (command.expirySeconds !== undefined) writer.u32(command.expirySeconds);
      if (command.isInPeace) writer.u8(1);
      return;
    case 'receive-session':
      writer.u16(command.packetId);
      return;
    case 'choose-session':
      writer.u16(command.packetId);
      writer.u64(command.token);
      writer.u8(command.isInstead ? 1 : 0);
      for (const { share, queueId } of command.choices) {
        writer.u64(share);
        writer.u64(queueId);
      }
      return;
    case 'resume-session':
    case 'delete-session':
  }
}

/** The reader stands behind the kind; undefined: it is none of these. */
export function readSessionCommand(reader: WireReader, kind: number): SessionCommand | undefined {
  switch (kind) {
    case CommandKind.claimSession:
      return readClaim(reader);
    case CommandKind.changeSession: {
      const of = readOwner(reader);
      return { kind: 'change-session', ...of, ...readPlain(reader, readChange) };
    }
    case CommandKind.replaySession: {
      const of = readOwner(reader);
      return { kind: 'replay-session', ...of, replays: readPlain(reader, readReplays) };
    }
    case CommandKind.halveSession:
      return { kind: 'halve-session', ...readOwner(reader), offset: reader.u64() as Offset };
    case CommandKind.finishSession:
      return { kind: 'finish-session', ...readOwner(reader), offset: reader.u64() as Offset };
    case CommandKind.leaveSession: {
      const of = readOwner(reader);
      const expirySeconds = readFlag(reader) ? reader.u32() : undefined;
      const isInPeace = reader.remaining > 0 && readFlag(reader);
      return { kind: 'leave-session', ...of, expirySeconds, isInPeace };
    }
    case CommandKind.resumeSession:
      return { kind: 'resume-session', ...readOwner(reader) };
    case CommandKind.deleteSession:
      return { kind: 'delete-session', ...readOwner(reader) };
    case CommandKind.receiveSession:
      return { kind: 'receive-session', ...readOwner(reader), packetId: reader.u16() };
    case CommandKind.chooseSession:
      return readChoosing(reader);
    case CommandKind.endWill:
      return { kind: 'end-will', queueId: reader.u64() as QueueId, number: reader.u64() };
    default:
      return undefined;
  }
}

function readOwner(reader: WireReader): { queueId: QueueId; ownerEpoch: number } {
  return { queueId: reader.u64() as QueueId, ownerEpoch: reader.u64() };
}

function readClaim(reader: WireReader): SessionCommand {
  const queueId = reader.u64() as QueueId;
  const epoch = reader.u64();
  const cleanStart = readFlag(reader);
  const expirySeconds = reader.u32();
  const [maxMessages, maxBytes] = [reader.u64(), reader.u64()];
  const limits = { maxMessages, maxBytes, overflow: reader.code(OVERFLOWS) };
  const token = reader.text16();
  const life = { token, cleanStart, incarnation: reader.text16(), expirySeconds };
  const user = readFlag(reader) ? reader.text16() : undefined;
  const will = reader.remaining > 0 ? readWill(reader) : undefined;
  return { kind: 'claim-session', queueId, epoch, ...life, limits, user, will };
}

function readWill(reader: WireReader): StoredWill {
  return { delaySeconds: reader.u32(), message: reader.view(reader.remaining) };
}

function readChoosing(reader: WireReader): SessionCommand {
  const of = { ...readOwner(reader), packetId: reader.u16(), token: reader.u64() };
  const isInstead = readFlag(reader);
  const choices: ShareChoice[] = [];
  while (reader.remaining > 0) {
    choices.push({ share: reader.u64(), queueId: reader.u64() as QueueId });
  }
  return { kind: 'choose-session', ...of, choices, isInstead };
}

function readChange(data: RecordData) {
  const [subscribe, unsubscribe] = listOf(data);
  return {
    subscribe: listOf(subscribe).map(subscriptionOf),
    unsubscribe: listOf(unsubscribe).map(stringOf),
  };
}

function readReplays(data: RecordData): SessionReplay[] {
  return listOf(data).map(replayOf);
}

function readPlain<T>(reader: WireReader, of: (data: RecordData) => T): T {
  try {
    return of(decodeForeign(reader.view(reader.remaining)) as RecordData);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'no plain data');
  }
}

function readFlag(reader: WireReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw new CodecError('bad-value', `a flag of ${flag}`);
  return flag === 1;
}
