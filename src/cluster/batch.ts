/**
 * What goes over a connection between nodes at a time: the frames that leave together, joined.
 *
 *   size
 *      4  length of `frames`
 *      4  CRC-32 (IEEE) of `frames`
 *         `frames`: each u8 kind, u8 0, u16 shard, u32 length of the body, body
 *
 * Without a frame it says that its sender lives. Nothing of a batch counts unless all of it is
 * right. docs/formats/peer-streams.md has the rest.
 */

import { crc32 } from 'node:zlib';
import { FrameReader, FrameWriter, malformed } from './frame-bytes.ts';
import { BATCH_BYTES_MAX, BATCH_FRAMES_MAX, FRAME_BYTES_MAX } from './peer-limits.ts';

/** `part`: of a batch of bytes that ends with a frame of kind `bytes`. */
export const FrameKind = { hello: 0, message: 1, bytes: 2, part: 3, refusal: 4 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export const BATCH_HEAD_BYTES = 8;
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
  const bytes = BATCH_HEAD_BYTES + length;
  const batch = room(bytes).subarray(0, bytes);
  const writer = new FrameWriter(batch, BATCH_HEAD_BYTES);
  for (const frame of frames) {
    writer.u8(frame.kind);
    writer.u8(0);
    writer.u16(frame.shard);
    writer.u32(frame.bytes);
    const end = writer.at + frame.bytes;
    frame.write(writer);
    if (writer.at !== end) throw new Error('a frame is not as long as it was measured');
  }
  batch.writeUInt32LE(length, 0);
  batch.writeUInt32LE(crc32(batch.subarray(BATCH_HEAD_BYTES)), 4);
  return batch;
}

/** How long the batch is whose head stands there, with that head. */
export function batchBytes(bytes: Buffer, at: number): number {
  return BATCH_HEAD_BYTES + bytes.readUInt32LE(at);
}

/** Throws a `PeerError` of code `malformed`. */
export function decodeBatch(batch: Buffer): InFrame[] {
  if (batch.length > BATCH_BYTES_MAX) throw malformed(`a batch of ${batch.length} bytes`);
  const reader = new FrameReader(batch);
  if (reader.u32() !== batch.length - BATCH_HEAD_BYTES) throw malformed('another length');
  if (reader.u32() !== crc32(batch.subarray(BATCH_HEAD_BYTES))) throw malformed('wrong checksum');
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
