/**
 * What replicas say to each other, as the body of a frame, little-endian:
 *
 *   u8 kind, u8 flags, u8 length of from, u8 length of to, u64 term, from, to, numbers of 64 bits,
 *   and for some kinds what follows them: docs/formats/peer-streams.md has the table.
 *
 * A message is measured, then written into the room of its batch in one go; nothing in between is
 * allocated. Flags that have no meaning are 0, and nothing may stand behind the end: each message
 * has exactly one form.
 */

import { CATCH_UP_LIMITS, encodeConfiguration } from '#raft';
import type { CatchUpEnd, PeerMessage, RepairAnswer } from '#raft';
import {
  entriesBytes,
  readConfiguration,
  readEntries,
  readTerm,
  writeEntries,
} from './entry-codec.ts';
import { FrameReader, type FrameWriter, U64_BYTES, malformed } from './frame-bytes.ts';
import {
  CONFIGURATION_BYTES_MAX,
  INCARNATION_BYTES_MAX,
  SERVER_ID_BYTES_MAX,
} from './peer-limits.ts';
import { isServerId } from './server-id.ts';

type Kind = PeerMessage['kind'];
type Of<K extends Kind> = Extract<PeerMessage, { readonly kind: K }>;

const CODES = {
  requestVote: 1,
  requestVoteReply: 2,
  appendEntries: 3,
  appendEntriesReply: 4,
  heartbeat: 5,
  heartbeatReply: 6,
  timeoutNow: 7,
  readIndexRequest: 8,
  readIndexReply: 9,
  repairRequest: 10,
  repairReply: 11,
  catchUpOffer: 12,
  catchUpAsk: 13,
  catchUpAnswer: 14,
  catchUpEnd: 15,
  catchUpWant: 16,
  givenUp: 17,
} as const satisfies Record<Kind, number>;

const KIND_OF = new Map<number, Kind>(
  Object.entries(CODES).map(([kind, code]) => [code, kind as Kind]),
);

const ANSWERS = ['have', 'dontHave', 'unknown'] as const satisfies readonly RepairAnswer[];
const OUTCOMES = ['current', 'refused', 'gone'] as const satisfies readonly CatchUpEnd['outcome'][];

const HEAD_BYTES = 4 + U64_BYTES;
const LENGTH_BYTES = 4;
const INCARNATION = /^[0-9A-Za-z]*$/;

/** The length of the body. */
export function messageBytes(message: PeerMessage): number {
  const numbers = numbersOf(message).length * U64_BYTES;
  return HEAD_BYTES + message.from.length + message.to.length + numbers + tailBytes(message);
}

export function writeMessage(message: PeerMessage, writer: FrameWriter): void {
  writer.u8(CODES[message.kind]);
  writer.u8(flagsOf(message));
  writer.u8(message.from.length);
  writer.u8(message.to.length);
  writer.u64(message.term);
  writer.ascii(message.from);
  writer.ascii(message.to);
  for (const number of numbersOf(message)) writer.u64(number);
  writeTail(writer, message);
}

/** Throws a `PeerError` of code `malformed`. */
export function readMessage(body: Buffer): PeerMessage {
  const reader = new FrameReader(body);
  const kind = KIND_OF.get(reader.u8());
  const flags = reader.u8();
  const [fromLength, toLength] = [reader.u8(), reader.u8()];
  const term = readTerm(reader);
  const [from, to] = [readServerId(reader, fromLength), readServerId(reader, toLength)];
  if (kind === undefined) throw malformed('a message of an unknown kind');
  const message = readRest(reader, { from, to, term }, { kind, flags });
  reader.end();
  if (flagsOf(message) !== flags) throw malformed('flags without a meaning');
  return message;
}

function readServerId(reader: FrameReader, length: number): string {
  if (length > SERVER_ID_BYTES_MAX) throw malformed('a name that is too long');
  const id = reader.ascii(length);
  if (!isServerId(id)) throw malformed('a name that is none');
  return id;
}

const flag = (bit: number, set: boolean): number => (set ? bit : 0);
const has = (flags: number, bit: number): boolean => (flags & bit) !== 0;

function flagsOf(message: PeerMessage): number {
  switch (message.kind) {
    case 'requestVote':
      return flag(1, message.preVote) | flag(2, message.transfer);
    case 'requestVoteReply':
      return flag(1, message.preVote) | flag(2, message.voteGranted);
    case 'appendEntriesReply':
      return flag(1, message.success) | flag(2, message.inReserve) | flag(4, message.tailLost);
    case 'heartbeatReply':
      return flag(2, message.inReserve);
    case 'repairReply':
      return ANSWERS.indexOf(message.answer);
    case 'catchUpEnd':
      return OUTCOMES.indexOf(message.outcome);
    case 'appendEntries':
    case 'heartbeat':
    case 'timeoutNow':
    case 'readIndexRequest':
    case 'readIndexReply':
    case 'repairRequest':
    case 'catchUpOffer':
    case 'catchUpAsk':
    case 'catchUpAnswer':
    case 'catchUpWant':
    case 'givenUp':
      return 0;
    default:
      return message satisfies never;
  }
}

function numbersOf(m: PeerMessage): readonly number[] {
  switch (m.kind) {
    case 'requestVote':
      return [m.lastLogIndex, m.lastLogTerm];
    case 'appendEntries':
      return [m.session, m.prevLogIndex, m.prevLogTerm, m.leaderCommit];
    case 'appendEntriesReply':
      return [m.session, m.matchIndex, m.rejectedIndex, m.hintIndex, m.hintTerm];
    case 'heartbeat':
      return [m.session, m.leaderCommit, m.round];
    case 'heartbeatReply':
      return [m.session, m.round];
    case 'readIndexRequest':
      return [m.id];
    case 'readIndexReply':
      return [m.id, m.index, m.lastLogIndex];
    case 'repairRequest':
    case 'repairReply':
      return [m.fromIndex, m.throughIndex, m.anchorIndex, m.anchorTerm];
    case 'catchUpOffer':
      return [m.session, m.transfer, m.index, m.indexTerm, m.configuration.index];
    case 'catchUpAsk':
      return [m.session, m.transfer, m.number];
    case 'catchUpAnswer':
      return [m.session, m.transfer, m.number, m.checksum];
    case 'catchUpEnd':
      return [m.session, m.transfer];
    case 'catchUpWant':
      return [m.least];
    case 'requestVoteReply':
    case 'timeoutNow':
    case 'givenUp':
      return [];
    default:
      return m satisfies never;
  }
}

function tailBytes(message: PeerMessage): number {
  switch (message.kind) {
    case 'requestVoteReply':
      return 1 + message.incarnation.length;
    case 'appendEntries':
    case 'repairReply':
      return entriesBytes(message.entries);
    case 'catchUpOffer': {
      const configuration = encodeConfiguration(message.configuration.configuration);
      return 2 * LENGTH_BYTES + configuration.length + message.summary.length;
    }
    case 'catchUpAsk':
      return LENGTH_BYTES + message.question.length;
    case 'catchUpAnswer':
      return LENGTH_BYTES + message.bytes.length;
    default:
      return 0;
  }
}

function writeTail(writer: FrameWriter, message: PeerMessage): void {
  switch (message.kind) {
    case 'requestVoteReply':
      writer.u8(message.incarnation.length);
      writer.ascii(message.incarnation);
      break;
    case 'appendEntries':
    case 'repairReply':
      writeEntries(writer, message.entries);
      break;
    case 'catchUpOffer':
      writeBytes(writer, encodeConfiguration(message.configuration.configuration));
      writeBytes(writer, message.summary);
      break;
    case 'catchUpAsk':
      writeBytes(writer, message.question);
      break;
    case 'catchUpAnswer':
      writeBytes(writer, message.bytes);
      break;
    default:
  }
}

function writeBytes(writer: FrameWriter, bytes: Uint8Array): void {
  writer.u32(bytes.length);
  writer.bytes(bytes);
}

function readBytes(reader: FrameReader, most: number): Buffer {
  const length = reader.u32();
  if (length > most) throw malformed(`${length} bytes where ${most} may be`);
  return reader.bytes(length);
}

type Address = Pick<PeerMessage, 'from' | 'to' | 'term'>;

interface Head {
  readonly kind: Kind;
  readonly flags: number;
}

/** Each kind is one literal, so that all messages of a kind have one shape. */
function readRest(reader: FrameReader, address: Address, { kind, flags }: Head): PeerMessage {
  const { from, to, term } = address;
  switch (kind) {
    case 'requestVote': {
      const [lastLogIndex, lastLogTerm] = [reader.u64(), readTerm(reader)];
      const [preVote, transfer] = [has(flags, 1), has(flags, 2)];
      return { kind, from, to, term, lastLogIndex, lastLogTerm, preVote, transfer };
    }
    case 'requestVoteReply': {
      const [voteGranted, preVote] = [has(flags, 2), has(flags, 1)];
      return { kind, from, to, term, voteGranted, preVote, incarnation: readIncarnation(reader) };
    }
    case 'appendEntries':
      return readAppend(reader, address);
    case 'appendEntriesReply':
      return readAppendReply(reader, address, flags);
    case 'heartbeat': {
      const [session, leaderCommit, round] = [reader.u64(), reader.u64(), reader.u64()];
      return { kind, from, to, term, session, leaderCommit, round };
    }
    case 'heartbeatReply': {
      const [session, round] = [reader.u64(), reader.u64()];
      return { kind, from, to, term, session, round, inReserve: has(flags, 2) };
    }
    case 'timeoutNow':
    case 'givenUp':
      return { kind, from, to, term };
    case 'readIndexRequest':
      return { kind, from, to, term, id: reader.u64() };
    case 'readIndexReply': {
      const [id, index, lastLogIndex] = [reader.u64(), reader.u64(), reader.u64()];
      return { kind, from, to, term, id, index, lastLogIndex };
    }
    case 'repairRequest':
    case 'repairReply':
      return readRepair(reader, address, { kind, flags });
    case 'catchUpOffer':
    case 'catchUpAsk':
    case 'catchUpAnswer':
    case 'catchUpEnd':
      return readCatchUp(reader, address, { kind, flags });
    case 'catchUpWant':
      return { kind, from, to, term, least: reader.u64() };
    default:
      return kind satisfies never;
  }
}

function readIncarnation(reader: FrameReader): string {
  const length = reader.u8();
  if (length > INCARNATION_BYTES_MAX) throw malformed('an incarnation that is too long');
  const incarnation = reader.ascii(length);
  if (!INCARNATION.test(incarnation)) throw malformed('an incarnation that is none');
  return incarnation;
}

function readAppend(reader: FrameReader, { from, to, term }: Address): Of<'appendEntries'> {
  const [session, prevLogIndex, prevLogTerm] = [reader.u64(), reader.u64(), readTerm(reader)];
  const leaderCommit = reader.u64();
  const entries = readEntries(reader);
  const kind = 'appendEntries';
  return { kind, from, to, term, session, prevLogIndex, prevLogTerm, entries, leaderCommit };
}

function readAppendReply(
  reader: FrameReader,
  { from, to, term }: Address,
  flags: number,
): Of<'appendEntriesReply'> {
  return {
    kind: 'appendEntriesReply',
    from,
    to,
    term,
    session: reader.u64(),
    success: has(flags, 1),
    matchIndex: reader.u64(),
    rejectedIndex: reader.u64(),
    hintIndex: reader.u64(),
    hintTerm: readTerm(reader),
    tailLost: has(flags, 4),
    inReserve: has(flags, 2),
  };
}

function readRepair(
  reader: FrameReader,
  { from, to, term }: Address,
  { kind, flags }: { readonly kind: 'repairRequest' | 'repairReply'; readonly flags: number },
): Of<'repairRequest'> | Of<'repairReply'> {
  const range = {
    fromIndex: reader.u64(),
    throughIndex: reader.u64(),
    anchorIndex: reader.u64(),
    anchorTerm: readTerm(reader),
  };
  if (kind === 'repairRequest') return { kind, from, to, term, ...range };
  const answer = ANSWERS[flags];
  if (answer === undefined) throw malformed('a repair with an unknown answer');
  return { kind, from, to, term, ...range, answer, entries: readEntries(reader) };
}

type CatchUpKind = 'catchUpOffer' | 'catchUpAsk' | 'catchUpAnswer' | 'catchUpEnd';

function readCatchUp(
  reader: FrameReader,
  { from, to, term }: Address,
  { kind, flags }: { readonly kind: CatchUpKind; readonly flags: number },
): Of<CatchUpKind> {
  const [session, transfer] = [reader.u64(), reader.u64()];
  const head = { from, to, term, session, transfer };
  switch (kind) {
    case 'catchUpOffer': {
      const [index, indexTerm, at] = [reader.u64(), readTerm(reader), reader.u64()];
      const members = readConfiguration(readBytes(reader, CONFIGURATION_BYTES_MAX));
      const configuration = { index: at, configuration: members };
      const summary = readBytes(reader, CATCH_UP_LIMITS.summaryBytes);
      return { kind, ...head, index, indexTerm, configuration, summary };
    }
    case 'catchUpAsk': {
      const number = reader.u64();
      const question = readBytes(reader, CATCH_UP_LIMITS.questionBytes);
      return { kind, ...head, number, question };
    }
    case 'catchUpAnswer': {
      const [number, checksum] = [reader.u64(), reader.u64()];
      const bytes = readBytes(reader, CATCH_UP_LIMITS.answerBytesMax);
      return { kind, ...head, number, bytes, checksum };
    }
    case 'catchUpEnd': {
      const outcome = OUTCOMES[flags];
      if (outcome === undefined) throw malformed('a catch-up that ended in an unknown way');
      return { kind, ...head, outcome };
    }
  }
}
