/**
 * A message as it lies in the log and as it crosses between the threads; encoded once, by the
 * client.
 *
 * ```
 *  0         1         2                   4                   6         7         8
 *  +---------+---------+-------------------+-------------------+---------+---------+
 *  | version | flags   | topic bytes  u16  | client id    u16  | protocol| 0       |
 *  +---------+---------+-------------------+-------------------+---------+---------+
 *  | property bytes                   u32  | payload bytes                    u32  |  8
 *  +---------------------------------------+---------------------------------------+
 *  | published at, ms since 1970 UTC                                          u64  | 16
 *  +-------------------------------------------------------------------------------+
 *  | topic | client id | properties | payload                                      | 24
 *  +-------------------------------------------------------------------------------+
 *  flags: bits 0-1 QoS, bit 2 retain, the others 0.  protocol: 0 = MQTT.
 *  properties: for each one a tag u8 and its value; a tag at most once, but 5, in order:
 *    1 content type text32   2 correlation id bytes32   3 reply-to text32   4 message id text32
 *    5 user property text32 text32   6 expiry in seconds u32   7 priority u8 (0-9)
 *    8 timestamp in ms u64   9 payload is text u8 (0 or 1)   10 user of the publisher text32, first
 * ```
 *
 * The lengths add up to the whole exactly. The payload comes last, so that a message is delivered
 * as a view. `StoredMessageView` checks all lengths and tags when it is made and decodes texts when
 * they are asked for: its getters never throw. Empty properties come back as none. The user is of
 * the origin, and lies there so that a message of nobody in particular has no byte of it.
 */

import type { Buffer } from 'node:buffer';
import type { Message, MessageProperties } from '../broker/message.ts';
import type { Origin } from '../broker/ports.ts';
import { CodecError, WireReader, asBuffer, readText, readU16, readU32, readU64 } from './wire.ts';
import { type WireWriter, textRoom, writeText, writeU16, writeU32, writeU64 } from './wire.ts';

const STORED_MESSAGE_VERSION = 1;
export const STORED_HEADER_BYTES = 24;

const QOS_MASK = 0b11;
const RETAIN_FLAG = 0b100;
const FLAGS_MASK = 0b111;
const U16_MAX = 0xffff;
const PRIORITY_MAX = 9;
/** A tag and the length behind it. */
const TAGGED_BYTES = 5;

const PROTOCOLS = ['mqtt'] as const satisfies readonly Origin['protocol'][];

export const Tag = {
  contentType: 1,
  correlationId: 2,
  replyTo: 3,
  messageId: 4,
  userProperty: 5,
  expirySeconds: 6,
  priority: 7,
  timestampMs: 8,
  payloadIsText: 9,
  user: 10,
} as const;

/** Writes stored messages; `publishedAtMs` is set by its owner, once a turn. */
export class StoredMessageWriter {
  publishedAtMs = 0;

  /** False, and nothing written: a text is too long for its length field. */
  write(writer: WireWriter, message: Message, origin: Origin): boolean {
    const { topic, payload, properties } = message;
    const { clientId, user } = origin;
    const start = writer.length;
    const room = STORED_HEADER_BYTES + textRoom(topic) + textRoom(clientId);
    const isBare = properties === undefined && user === undefined;
    writer.room(isBare ? room + payload.length : room);
    const topicStart = start + STORED_HEADER_BYTES;
    const topicEnd = writeText(writer.bytes, topicStart, topic);
    const clientEnd = writeText(writer.bytes, topicEnd, clientId);
    if (topicEnd - topicStart > U16_MAX || clientEnd - topicEnd > U16_MAX) return false;
    writer.length = clientEnd;
    if (user !== undefined) writeTagged(writer, Tag.user, user);
    if (properties !== undefined) writeProperties(writer, properties);
    const propertyBytes = writer.length - clientEnd;
    writer.append(payload);
    const { bytes } = writer;
    bytes[start] = STORED_MESSAGE_VERSION;
    bytes[start + 1] = message.qos | (message.retain ? RETAIN_FLAG : 0);
    writeU16(bytes, start + 2, topicEnd - topicStart);
    writeU16(bytes, start + 4, clientEnd - topicEnd);
    writeU16(bytes, start + 6, PROTOCOLS.indexOf(origin.protocol));
    writeU32(bytes, start + 8, propertyBytes);
    writeU32(bytes, start + 12, payload.length);
    writeU64(bytes, start + 16, this.publishedAtMs);
    return true;
  }
}

function writeProperties(writer: WireWriter, properties: MessageProperties): void {
  const { contentType, correlationId, replyTo, messageId } = properties;
  if (contentType !== undefined) writeTagged(writer, Tag.contentType, contentType);
  if (correlationId !== undefined) {
    writer.u8(Tag.correlationId);
    writer.u32(correlationId.length);
    writer.append(correlationId);
  }
  if (replyTo !== undefined) writeTagged(writer, Tag.replyTo, replyTo);
  if (messageId !== undefined) writeTagged(writer, Tag.messageId, messageId);
  for (const [name, value] of properties.userProperties ?? []) {
    writeTagged(writer, Tag.userProperty, name);
    writer.text32(value);
  }
  writeNumbers(writer, properties);
}

function writeTagged(writer: WireWriter, tag: number, text: string): void {
  writer.u8(tag);
  writer.text32(text);
}

function writeNumbers(writer: WireWriter, properties: MessageProperties): void {
  const { expirySeconds, priority, timestampMs, payloadIsText } = properties;
  if (expirySeconds !== undefined) {
    writer.u8(Tag.expirySeconds);
    writer.u32(expirySeconds);
  }
  if (priority !== undefined) {
    writer.u8(Tag.priority);
    writer.u8(priority);
  }
  if (timestampMs !== undefined) {
    writer.u8(Tag.timestampMs);
    writer.u64(timestampMs);
  }
  if (payloadIsText !== undefined) {
    writer.u8(Tag.payloadIsText);
    writer.u8(payloadIsText ? 1 : 0);
  }
}

/** A stored message over the bytes that it lies in; it holds them as long as it lives. */
export class StoredMessageView implements Message {
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly payload: Uint8Array;
  readonly #bytes: Buffer;
  /** Where the texts begin; all else follows from it. */
  readonly #start: number;
  readonly #clientStart: number;
  readonly #propertiesStart: number;
  readonly #propertiesEnd: number;
  #topic: string | undefined;
  #properties: MessageProperties | undefined;

  /** The message is exactly [start, end) of `bytes`. */
  constructor(bytes: Uint8Array, start: number, end: number) {
    if (end > bytes.length || end - start < STORED_HEADER_BYTES) {
      throw new CodecError('truncated', 'a stored message is shorter than its header');
    }
    if (bytes[start] !== STORED_MESSAGE_VERSION) {
      throw new CodecError(
        'unknown-version',
        `stored message of version ${bytes[start] ?? 'none'}`,
      );
    }
    const flags = bytes[start + 1] as number;
    const qos = flags & QOS_MASK;
    if ((flags & ~FLAGS_MASK) !== 0 || qos === QOS_MASK || readU16(bytes, start + 6) !== 0) {
      throw new CodecError('bad-value', 'flags or protocol of a stored message are unknown');
    }
    const clientStart = start + STORED_HEADER_BYTES + readU16(bytes, start + 2);
    const propertiesStart = clientStart + readU16(bytes, start + 4);
    const propertiesEnd = propertiesStart + readU32(bytes, start + 8);
    const payloadBytes = readU32(bytes, start + 12);
    if (propertiesEnd + payloadBytes !== end) {
      throw new CodecError('bad-length', 'the parts of a stored message do not add up');
    }
    if (propertiesStart !== propertiesEnd) checkProperties(bytes, propertiesStart, propertiesEnd);
    this.qos = qos as 0 | 1 | 2;
    this.retain = (flags & RETAIN_FLAG) !== 0;
    this.payload = new Uint8Array(bytes.buffer, bytes.byteOffset + propertiesEnd, payloadBytes);
    this.#bytes = asBuffer(bytes);
    this.#start = start;
    this.#clientStart = clientStart;
    this.#propertiesStart = propertiesStart;
    this.#propertiesEnd = propertiesEnd;
    if (clientStart === start + STORED_HEADER_BYTES) {
      throw new CodecError('bad-value', 'a stored message has no topic');
    }
    readU64(bytes, start + 16);
  }

  get topic(): string {
    const from = this.#start + STORED_HEADER_BYTES;
    return (this.#topic ??= readText(this.#bytes, from, this.#clientStart));
  }

  get properties(): MessageProperties | undefined {
    if (this.#propertiesStart === this.#propertiesEnd) return undefined;
    const start = this.#hasUser ? this.#userEnd : this.#propertiesStart;
    if (start === this.#propertiesEnd) return undefined;
    return (this.#properties ??= readProperties(
      new WireReader(this.#bytes, start, this.#propertiesEnd),
    ));
  }

  get origin(): Origin {
    const clientId = readText(this.#bytes, this.#clientStart, this.#propertiesStart);
    if (!this.#hasUser) return { clientId, protocol: PROTOCOLS[0] };
    const user = readText(this.#bytes, this.#propertiesStart + TAGGED_BYTES, this.#userEnd);
    return { clientId, user, protocol: PROTOCOLS[0] };
  }

  get #hasUser(): boolean {
    const start = this.#propertiesStart;
    return start < this.#propertiesEnd && this.#bytes[start] === Tag.user;
  }

  get #userEnd(): number {
    const start = this.#propertiesStart;
    return start + TAGGED_BYTES + readU32(this.#bytes, start + 1);
  }

  get publishedAtMs(): number {
    return readU64(this.#bytes, this.#start + 16);
  }
}

/** Tags and lengths only, without a text: what `readProperties` reads after this cannot fail. */
function checkProperties(bytes: Uint8Array, start: number, end: number): void {
  let seen = 0;
  let at = start;
  while (at < end) {
    const tag = bytes[at] as number;
    const bit = 1 << tag;
    if (tag < Tag.contentType || tag > Tag.user) {
      throw new CodecError('unknown-kind', `a stored message has a property with tag ${tag}`);
    }
    if (tag !== Tag.userProperty && (seen & bit) !== 0) {
      throw new CodecError('bad-value', `a stored message has the property ${tag} twice`);
    }
    if (tag === Tag.user && at !== start) {
      throw new CodecError('bad-value', 'the user of a stored message is not its first property');
    }
    seen |= bit;
    at = propertyEnd(bytes, at, end);
  }
}

/** Where the property at `at` ends; its value is checked too. */
function propertyEnd(bytes: Uint8Array, at: number, end: number): number {
  const value = at + 1;
  switch (bytes[at]) {
    case Tag.expirySeconds:
      return within(value + 4, end);
    case Tag.priority:
      return small(bytes, within(value + 1, end), PRIORITY_MAX);
    case Tag.payloadIsText:
      return small(bytes, within(value + 1, end), 1);
    case Tag.timestampMs:
      within(value + 8, end);
      readU64(bytes, value);
      return value + 8;
    case Tag.userProperty:
      return lengthEnd(bytes, lengthEnd(bytes, value, end), end);
    default:
      return lengthEnd(bytes, value, end);
  }
}

function lengthEnd(bytes: Uint8Array, at: number, end: number): number {
  within(at + 4, end);
  return within(at + 4 + readU32(bytes, at), end);
}

function within(at: number, end: number): number {
  if (at > end) throw new CodecError('truncated', 'a property of a stored message ends too late');
  return at;
}

/** The byte before `at` is at most `max`. */
function small(bytes: Uint8Array, at: number, max: number): number {
  if ((bytes[at - 1] as number) > max)
    throw new CodecError('bad-value', 'a property is out of range');
  return at;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

function readProperties(reader: WireReader): MessageProperties {
  const properties: Mutable<MessageProperties> = {};
  let user: [name: string, value: string][] | undefined;
  while (reader.remaining > 0) {
    const tag = reader.u8();
    if (tag === Tag.userProperty) (user ??= []).push([reader.text32(), reader.text32()]);
    else readProperty(reader, tag, properties);
  }
  if (user !== undefined) properties.userProperties = user;
  return properties;
}

function readProperty(
  reader: WireReader,
  tag: number,
  properties: Mutable<MessageProperties>,
): void {
  switch (tag) {
    case Tag.contentType:
      properties.contentType = reader.text32();
      break;
    case Tag.correlationId:
      properties.correlationId = reader.view(reader.u32());
      break;
    case Tag.replyTo:
      properties.replyTo = reader.text32();
      break;
    case Tag.messageId:
      properties.messageId = reader.text32();
      break;
    case Tag.expirySeconds:
      properties.expirySeconds = reader.u32();
      break;
    case Tag.priority:
      properties.priority = reader.u8();
      break;
    case Tag.timestampMs:
      properties.timestampMs = reader.u64();
      break;
    default:
      properties.payloadIsText = reader.u8() === 1;
  }
}
