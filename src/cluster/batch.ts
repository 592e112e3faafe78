/**
 * The message of gRPC: the frames that leave together for one peer, joined. It is the message
 * `Batch` of proto/raft.proto, in exactly one of the forms that protobuf would take:
 *
 *   size
 *      1  0x0d, the tag of `checksum`
 *      4  CRC-32 (IEEE) of `frames`
 *      1  0x12, the tag of `frames`
 *    1-4  length of `frames`, seven bits a byte, the low ones first, as short as can be
 *         `frames`: each u8 kind, u8 0, u16 shard, u32 length of the body, body
 *
 * Nothing of a batch counts unless all of it is right. docs/formats/peer-streams.md has the rest.
 */

import { crc32 } from 'node:zlib';
import { FrameReader, FrameWriter, malformed } from './frame-bytes.ts';
import { BATCH_BYTES_MAX, BATCH_FRAMES_MAX, FRAME_BYTES_MAX } from './peer-limits.ts';

/** `part`: of a batch of bytes that ends with a frame of kind `bytes`. */
export const FrameKind = { hello: 0, message: 1, bytes: 2, part: 3 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

const CHECKSUM_TAG = 0x0d;
const FRAMES_TAG = 0x12;
const HEAD_BYTES_MIN = 6;
export const FRAME_HEAD_BYTES = 8;

/** What is to be sent: its body is written when its batch is made. */
export interface OutFrame {
  readonly kind: FrameKind;
  readonly shard: number;
  /** Of the body. */
  readonly bytes: number;
  /** Writes so many bytes. */
  write(writer: FrameWriter): void;
}

export interface InFrame {
  readonly kind: number;
  readonly shard: number;
  /** A view of the batch. */
  readonly body: Buffer;
}

/** Gives room for so many bytes; the batch is a view of its beginning. */
export type Room = (bytes: number) => Buffer;

export function encodeBatch(
  frames: readonly OutFrame[],
  room: Room = (bytes) => Buffer.allocUnsafe(bytes),
): Buffer {
  let length = 0;
  for (const { bytes } of frames) length += FRAME_HEAD_BYTES + bytes;
  const start = HEAD_BYTES_MIN + varintBytes(length);
  const batch = room(start + length).subarray(0, start + length);
  const writer = new FrameWriter(batch, start);
  for (const frame of frames) {
    writer.u8(frame.kind);
    writer.u8(0);
    writer.u16(frame.shard);
    writer.u32(frame.bytes);
    const end = writer.at + frame.bytes;
    frame.write(writer);
    if (writer.at !== end) throw new Error('a frame is not as long as it was measured');
  }
  const head = new FrameWriter(batch, 0);
  head.u8(CHECKSUM_TAG);
  head.u32(crc32(batch.subarray(start)));
  head.u8(FRAMES_TAG);
  let left = length;
  for (; left >= 0x80; left >>>= 7) head.u8((left & 0x7f) | 0x80);
  head.u8(left);
  return batch;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let left = value; left >= 0x80; left >>>= 7) bytes += 1;
  return bytes;
}

/** Throws a `PeerError` of code `malformed`. */
export function decodeBatch(batch: Buffer): InFrame[] {
  if (batch.length > BATCH_BYTES_MAX) throw malformed(`a batch of ${batch.length} bytes`);
  const reader = new FrameReader(batch);
  if (reader.u8() !== CHECKSUM_TAG) throw malformed('no checksum');
  const checksum = reader.u32();
  if (reader.u8() !== FRAMES_TAG) throw malformed('no frames');
  const length = readVarint(reader);
  if (length !== reader.left) throw malformed('a batch of another length');
  if (crc32(batch.subarray(batch.length - length)) !== checksum) throw malformed('wrong checksum');
  const frames: InFrame[] = [];
  while (reader.left > 0) {
    if (frames.length === BATCH_FRAMES_MAX) throw malformed('too many frames');
    const kind = reader.u8();
    if (reader.u8() !== 0) throw malformed('a byte that must be 0');
    const shard = reader.u16();
    const bytes = reader.u32();
    if (bytes > FRAME_BYTES_MAX) throw malformed(`a frame of ${bytes} bytes`);
    frames.push({ kind, shard, body: reader.bytes(bytes) });
  }
  return frames;
}

function readVarint(reader: FrameReader): number {
  let value = 0;
  for (let shift = 0; shift <= 21; shift += 7) {
    const byte = reader.u8();
    value |= (byte & 0x7f) << shift;
    if (byte >= 0x80) continue;
    if (byte === 0 && shift > 0) throw malformed('a length that is written too long');
    return value;
  }
  throw malformed('a length of more than 28 bits');
}
