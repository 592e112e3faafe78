/**
 * An entry of the shard's log: one or more sections, one for each batch of a sender, each with the
 * commands that came in it, byte for byte.
 *
 * ```
 *  0                                       4         5         6                   8
 *  +---------------------------------------+---------+---------+-------------------+
 *  | length of the section, this included  | version | 0       | node id bytes u16 |
 *  +---------------------------------------+---------+---------+-------------------+
 *  | commands                         u32  | 0                                     |  8
 *  +---------------------------------------+---------------------------------------+
 *  | boot of the sender's stream, 0: none                                     u64  | 16
 *  | number of the first numbered command                                     u64  | 24
 *  | answered up to                                                           u64  | 32
 *  | stamp of the leader, ms                                                  u64  | 40
 *  +-------------------------------------------------------------------------------+
 *  | node id | commands                                                            | 48
 *  +-------------------------------------------------------------------------------+
 * ```
 *
 * A payload is a list of parts: a section header lies whole in one part, and so does each command;
 * a section may go on in the next part. So the bytes of a client's batch go into the log behind a
 * header of their own without a copy. `EntryReader` gives what it does not understand as a
 * `CodecError`, never as a command.
 */

import type { Command } from '../machine/command.ts';
import type { StampMs } from '../machine/ids.ts';
import { CommandDecoder, type StreamPlace, commandEnd } from './codec.ts';
import { CodecError, WireWriter, asBuffer, readText, readU16, readU32, readU64 } from './wire.ts';
import { textRoom, writeText, writeU16, writeU32, writeU64 } from './wire.ts';

const SECTION_VERSION = 1;
const SECTION_HEADER_BYTES = 48;
const NODE_BYTES_MAX = 0xffff;
const COMMANDS_MAX = 0xffff_ffff;

export interface SectionHeader {
  /** Empty for commands that belong to no stream. */
  readonly node: string;
  /** 0: no stream; then nothing in it is numbered. */
  readonly boot: number;
  readonly firstNumber: number;
  readonly answeredUpTo: number;
  readonly stampMs: number;
  readonly commands: number;
  readonly commandBytes: number;
}

/** The header of a section as a part of its own; the commands follow as further parts. */
export function encodeSectionHeader(header: SectionHeader): Uint8Array {
  const writer = new WireWriter(SECTION_HEADER_BYTES + textRoom(header.node));
  writeSectionHeader(writer, header);
  return writer.written();
}

export function writeSectionHeader(writer: WireWriter, header: SectionHeader): void {
  writer.room(SECTION_HEADER_BYTES + textRoom(header.node));
  const start = writer.length;
  const { bytes } = writer;
  const nodeStart = start + SECTION_HEADER_BYTES;
  const end = writeText(bytes, nodeStart, header.node);
  if (end - nodeStart > NODE_BYTES_MAX) throw new RangeError('a node id is too long');
  bytes.fill(0, start, nodeStart);
  writeU32(bytes, start, end - start + header.commandBytes);
  bytes[start + 4] = SECTION_VERSION;
  writeU16(bytes, start + 6, end - nodeStart);
  writeU32(bytes, start + 8, header.commands);
  writeU64(bytes, start + 16, header.boot);
  writeU64(bytes, start + 24, header.firstNumber);
  writeU64(bytes, start + 32, header.answeredUpTo);
  writeU64(bytes, start + 40, header.stampMs);
  writer.length = end;
}

/** What the log notes of an entry beside its payload. */
export interface CommandsNote {
  /** The newest stamp in it. */
  readonly timestampMs: number;
  readonly recordCount: number;
}

/**
 * Told by the headers of the sections alone. Bytes that are no entry give what could be read of
 * them: it is apply that refuses them.
 */
export function commandsNote(payload: Uint8Array): CommandsNote {
  let timestampMs = 0;
  let commands = 0;
  for (let at = 0; at + SECTION_HEADER_BYTES <= payload.length;) {
    const length = readU32(payload, at);
    if (length < SECTION_HEADER_BYTES) break;
    commands += readU32(payload, at + 8);
    timestampMs = readU64(payload, at + 40);
    at += length;
  }
  const recordCount = Math.min(Math.max(commands, 1), COMMANDS_MAX);
  return { timestampMs: Number.isSafeInteger(timestampMs) ? timestampMs : 0, recordCount };
}

/** Goes through the commands of entries, one entry after the other; one reader serves all. */
export class EntryReader {
  readonly #decoder = new CommandDecoder();
  readonly #place: StreamPlace = { node: '', boot: 0, number: 0, answeredUpTo: 0 };
  #parts: readonly Uint8Array[] = [];
  #part = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** Position in the entry of the first byte of the current part. */
  #partStart = 0;
  #commandsLeft = 0;
  #bytesLeft = 0;
  #position = 0;
  #sections = 0;
  #stampMs = 0 as StampMs;

  /** The payload must not change while it is read. */
  reset(payload: readonly Uint8Array[]): void {
    this.#parts = payload;
    this.#part = 0;
    this.#bytes = payload[0] ?? new Uint8Array(0);
    this.#at = 0;
    this.#partStart = 0;
    this.#commandsLeft = 0;
    this.#bytesLeft = 0;
    this.#position = 0;
    this.#sections = 0;
    this.#stampMs = 0 as StampMs;
  }

  /** Position in the entry of the command that `next` gave last. */
  get position(): number {
    return this.#position;
  }

  /** How many sections have begun: a change tells that a new one has. */
  get sections(): number {
    return this.#sections;
  }

  /** Of the section of the command that `next` gave last. */
  get stampMs(): StampMs {
    return this.#stampMs;
  }

  /** The next command, valid until the next call; undefined at the end of the entry. */
  next(): Command | undefined {
    while (this.#commandsLeft === 0) {
      if (this.#bytesLeft !== 0) {
        throw new CodecError('bad-length', 'a section is longer than its commands');
      }
      if (!this.#enterPart()) return undefined;
      this.#enterSection();
    }
    if (!this.#enterPart()) throw new CodecError('truncated', 'an entry ends within a section');
    const at = this.#at;
    const end = commandEnd(this.#bytes, at);
    if (end - at > this.#bytesLeft)
      throw new CodecError('bad-length', 'a command leaves its section');
    const command = this.#decoder.decode(this.#bytes, at, this.#place);
    this.#position = this.#partStart + at;
    this.#at = end;
    this.#bytesLeft -= end - at;
    this.#commandsLeft--;
    return command;
  }

  /** False: no part has bytes left. */
  #enterPart(): boolean {
    while (this.#at === this.#bytes.length) {
      const following = this.#parts[this.#part + 1];
      if (following === undefined) return false;
      this.#part++;
      this.#partStart += this.#bytes.length;
      this.#bytes = following;
      this.#at = 0;
    }
    return true;
  }

  #enterSection(): void {
    const bytes = this.#bytes;
    const at = this.#at;
    if (bytes.length - at < SECTION_HEADER_BYTES) {
      throw new CodecError('truncated', 'an entry ends within the header of a section');
    }
    if (bytes[at + 4] !== SECTION_VERSION) {
      throw new CodecError('unknown-version', `a section of version ${bytes[at + 4] ?? 'none'}`);
    }
    const nodeStart = at + SECTION_HEADER_BYTES;
    const nodeEnd = nodeStart + readU16(bytes, at + 6);
    if (nodeEnd > bytes.length) throw new CodecError('truncated', 'an entry ends within a node id');
    const left = readU32(bytes, at) - (nodeEnd - at);
    if (left < 0) throw new CodecError('bad-length', 'a section is shorter than its header');
    const place = this.#place;
    place.node = readText(asBuffer(bytes), nodeStart, nodeEnd);
    place.boot = readU64(bytes, at + 16);
    place.number = readU64(bytes, at + 24);
    place.answeredUpTo = readU64(bytes, at + 32);
    this.#stampMs = readU64(bytes, at + 40) as StampMs;
    this.#commandsLeft = readU32(bytes, at + 8);
    this.#bytesLeft = left;
    this.#sections++;
    this.#at = nodeEnd;
  }
}
