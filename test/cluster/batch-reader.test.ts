/** Bytes as they come are whole batches, whatever the pieces; nobody's length makes anything. */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { BATCH_HEAD_BYTES, FrameKind, decodeBatch, encodeBatch } from '../../src/cluster/batch.ts';
import type { FrameWriter } from '../../src/cluster/frame-bytes.ts';
import { ownBytes } from '../../src/cluster/frame-bytes.ts';
import { BatchReader } from '../../src/cluster/batch-reader.ts';
import { HELLO_BYTES_MAX, READ_BYTES } from '../../src/cluster/peer-limits.ts';

const MANY = 1 << 20;

function batchOf(...sizes: readonly number[]): Buffer {
  return encodeBatch(
    sizes.map((bytes, at) => ({
      kind: FrameKind.bytes,
      shard: at,
      bytes,
      write: (writer: FrameWriter) => writer.bytes(Buffer.alloc(bytes, bytes + at)),
    })),
  );
}

/** As a socket does: into its room where it has one, or from a buffer of its own. */
function feed(reader: BatchReader, bytes: Buffer, inRoom: boolean): void {
  for (let at = 0; at < bytes.length;) {
    if (!inRoom) {
      reader.take(bytes.subarray(at));
      return;
    }
    const { room } = reader;
    expect(room.length).toBeGreaterThan(0);
    const took = bytes.copy(room, 0, at);
    at += took;
    reader.take(Buffer.from(room.buffer, room.byteOffset, took));
  }
}

describe('what is read', () => {
  const size = fc.oneof(fc.nat(40), fc.nat(READ_BYTES + 100), fc.nat(3 * READ_BYTES));
  const batch = fc.array(size, { maxLength: 3 }).map((sizes) => batchOf(...sizes));

  it('is the batches that were sent, however the bytes were cut, and what is kept stays', () => {
    const piece = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 100_000 }));
    const pieces = fc.array(piece, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 5 }), pieces, fc.boolean(), (sent, cuts, inRoom) => {
        const kept: { readonly whole: Buffer; readonly bodies: Buffer[] }[] = [];
        const reader = new BatchReader((read) => {
          const bodies = decodeBatch(read).map(({ body }) => ownBytes(body));
          kept.push({ whole: Buffer.from(read), bodies });
        });
        reader.batchBytesMax = MANY;
        const all = Buffer.concat(sent);
        for (let at = 0, n = 0; at < all.length; n += 1) {
          const end = at + (cuts[n % cuts.length] ?? 1);
          feed(reader, all.subarray(at, end), inRoom);
          at = end;
        }
        expect(kept.length).toBe(sent.length);
        // Something else is read to where they were.
        feed(new BatchReader(() => undefined), Buffer.alloc(1), inRoom);
        new BatchReader(() => undefined).room.fill(0xee);
        for (const [at, { whole, bodies }] of kept.entries()) {
          expect(whole.equals(sent[at]!)).toBe(true);
          expect(Buffer.concat(bodies).equals(Buffer.concat(bodiesOf(sent[at]!)))).toBe(true);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('a batch that is large is read to where it stays', () => {
    const sent = batchOf(MANY - 100);
    let read: Buffer | undefined;
    const reader = new BatchReader((whole) => {
      read = whole;
    });
    reader.batchBytesMax = MANY;
    feed(reader, sent.subarray(0, 3 * BATCH_HEAD_BYTES), true);
    const { room } = reader;
    expect(room.length).toBe(sent.length - 3 * BATCH_HEAD_BYTES);
    feed(reader, sent.subarray(3 * BATCH_HEAD_BYTES), true);
    expect(read?.buffer).toBe(room.buffer);
    expect(ownBytes(decodeBatch(read!)[0]!.body).buffer).toBe(room.buffer);
  });
});

describe('S10: of a stranger', () => {
  const first = (head: Buffer | string): (() => void) => {
    const reader = new BatchReader(() => undefined);
    return () => reader.take(Buffer.from(head as string, 'latin1'));
  };
  const headOf = (length: number): Buffer => {
    const head = Buffer.alloc(BATCH_HEAD_BYTES);
    head.writeUInt32LE(length, 0);
    return head;
  };

  it('a length above that of a hello is refused by its head, and makes nothing', () => {
    for (const length of [HELLO_BYTES_MAX - 7, 1 << 20, 0xffff_ffff]) {
      const before = process.memoryUsage().arrayBuffers;
      expect(first(headOf(length))).toThrow(expect.objectContaining({ code: 'malformed' }));
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000);
    }
    expect(first(headOf(HELLO_BYTES_MAX - BATCH_HEAD_BYTES))).not.toThrow();
  });

  it('a head in eight pieces is one', () => {
    const reader = new BatchReader(() => undefined);
    const head = headOf(MANY);
    for (let at = 0; at < 7; at += 1) reader.take(head.subarray(at, at + 1));
    expect(() => reader.take(head.subarray(7))).toThrow('a batch of');
  });

  it.each([
    ['a client', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a server', Buffer.from('00000c04000000000000040000ffff00050000', 'hex')],
  ])('HTTP/2 is known as the version before: %s', (_who, bytes) => {
    expect(first(bytes)).toThrow(expect.objectContaining({ code: 'version' }));
    expect(first(bytes)).toThrow('it speaks HTTP/2');
  });
});

function bodiesOf(batch: Buffer): Buffer[] {
  return decodeBatch(batch).map(({ body }) => body);
}
