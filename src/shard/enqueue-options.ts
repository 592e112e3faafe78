/**
 * What a publish asks for beyond being stored, as bytes behind the targets of an enqueue; absent in
 * the common case.
 *
 * ```
 *  0                   2         3
 *  +-------------------+---------+----------------------------------------------------
 *  | length u16        | bits    | for each bit that is set, in this order:
 *  +-------------------+---------+----------------------------------------------------
 *   1 ttl ms u64 | 2 priority u8 | 4 delay ms u64 | 8 producer id text16, sequence u64
 *   | 16 session text16, owner epoch u64, packet id u16 | 32 (with 16 alone) after u64, through u64
 *   | 64 (with 1 alone) owner epoch u64, run u64, from u64, at u64, next u64, room u32
 * ```
 *
 * The length counts what follows it, and must be exact; a value that says nothing (a ttl or delay
 * of 0, no bit at all) is not written and not taken. The delay's bit alone tells in which queue the
 * message is, so that a walk over commands decodes nothing.
 */

import type { EnqueueOptions, PublishKey, ReplayStep } from '../machine/command.ts';
import { CodecError, WireReader, readU16 } from './wire.ts';
import { type WireWriter, writeU16 } from './wire.ts';

const Bit = { ttl: 1, priority: 2, delay: 4, producer: 8, key: 16, part: 32, replay: 64 } as const;
const BITS_ALL = 127;
const PRIORITY_MAX = 9;
/** Length and bits. */
const OPTIONS_HEADER_BYTES = 3;

export function writeOptions(writer: WireWriter, options: EnqueueOptions): void {
  const { ttlMs, priority, delayMs, producer, key, replay } = options;
  const start = writer.reserve(OPTIONS_HEADER_BYTES);
  let bits = 0;
  if (ttlMs > 0) {
    bits |= Bit.ttl;
    writer.u64(ttlMs);
  }
  if (priority > 0) {
    bits |= Bit.priority;
    writer.u8(priority);
  }
  if (delayMs > 0) {
    bits |= Bit.delay;
    writer.u64(delayMs);
  }
  if (producer !== undefined) {
    bits |= Bit.producer;
    writer.text16(producer.id);
    writer.u64(producer.sequence);
  }
  if (key !== undefined) {
    bits |= Bit.key;
    writeKey(writer, key);
    if (key.part !== undefined) {
      bits |= Bit.part;
      writer.u64(key.part.after);
      writer.u64(key.part.through);
    }
  }
  if (replay !== undefined) {
    bits |= Bit.replay;
    writeStep(writer, replay);
  }
  const length = writer.length - start - 2;
  if (length > 0xffff) throw new RangeError('the options of an enqueue are too long');
  writeU16(writer.bytes, start, length);
  writer.bytes[start + 2] = bits;
}

/** True when they say anything: others are not written at all. */
export function saysAnything(options: EnqueueOptions): boolean {
  const { ttlMs, priority, delayMs, producer, key, replay } = options;
  if (ttlMs > 0 || priority > 0 || delayMs > 0) return true;
  return producer !== undefined || key !== undefined || replay !== undefined;
}

/** Where the options at `at` end, of which the command ends at `end`. */
export function optionsEnd(bytes: Uint8Array, at: number, end: number): number {
  if (at + OPTIONS_HEADER_BYTES > end)
    throw new CodecError('truncated', 'an enqueue ends within its options');
  const length = readU16(bytes, at);
  if (length === 0) throw new CodecError('bad-length', 'options without a bit');
  const optionsEndAt = at + 2 + length;
  if (optionsEndAt > end) throw new CodecError('truncated', 'an enqueue ends within its options');
  return optionsEndAt;
}

/** Of options whose bounds `optionsEnd` has checked. */
export function isDelayed(bytes: Uint8Array, at: number): boolean {
  return ((bytes[at + 2] as number) & Bit.delay) !== 0;
}

/** All of [at, end) is options. */
export function readOptions(bytes: Uint8Array, at: number, end: number): EnqueueOptions {
  const reader = new WireReader(bytes, at + 2, end);
  const bits = reader.u8();
  if (bits === 0 || bits > BITS_ALL) {
    throw new CodecError('bad-value', `options with the bits ${bits}`);
  }
  const ttlMs = (bits & Bit.ttl) === 0 ? 0 : above0(reader.u64());
  const priority = (bits & Bit.priority) === 0 ? 0 : above0(reader.u8());
  const delayMs = (bits & Bit.delay) === 0 ? 0 : above0(reader.u64());
  if (priority > PRIORITY_MAX) throw new CodecError('bad-value', `a priority of ${priority}`);
  const producer =
    (bits & Bit.producer) === 0 ? undefined : { id: reader.text16(), sequence: reader.u64() };
  const isPart = (bits & Bit.part) !== 0;
  if (isPart && (bits & Bit.key) === 0) throw new CodecError('bad-value', 'a part without a key');
  let key = (bits & Bit.key) === 0 ? undefined : readKey(reader);
  if (isPart && key !== undefined) {
    key = { ...key, part: { after: reader.u64(), through: reader.u64() } };
  }
  const isReplay = (bits & Bit.replay) !== 0;
  if (isReplay && (bits & ~(Bit.replay | Bit.ttl)) !== 0) {
    throw new CodecError('bad-value', `a replay with the bits ${bits}`);
  }
  const replay = isReplay ? readStep(reader) : undefined;
  reader.finish();
  const wishes = { ttlMs, priority, delayMs, producer, key };
  return replay === undefined ? wishes : { ...wishes, replay };
}

function writeStep(writer: WireWriter, step: ReplayStep): void {
  const { ownerEpoch, run, from, at, next, room } = step;
  for (const number of [ownerEpoch, run, from, at, next]) writer.u64(number);
  writer.u32(room);
}

function readStep(reader: WireReader): ReplayStep {
  const [ownerEpoch, run, from] = [reader.u64(), reader.u64(), reader.u64()];
  return { ownerEpoch, run, from, at: reader.u64(), next: reader.u64(), room: reader.u32() };
}

function above0(value: number): number {
  if (value === 0) throw new CodecError('bad-value', 'an option that says nothing');
  return value;
}

export function writeKey(writer: WireWriter, key: PublishKey): void {
  writer.text16(key.session);
  writer.u64(key.ownerEpoch);
  writer.u16(key.packetId);
}

export function readKey(reader: WireReader): PublishKey {
  const session = reader.text16();
  if (session === '') throw new CodecError('bad-value', 'a key without a session');
  return { session, ownerEpoch: reader.u64(), packetId: reader.u16() };
}
