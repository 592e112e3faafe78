/** What waits for a peer is bounded and in order, and is written over only when it was taken. */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import { LIMITS } from '#raft';
import { FRAME_HEAD_BYTES, FrameKind, decodeBatch } from '../../src/cluster/batch.ts';
import type { OutFrame } from '../../src/cluster/batch.ts';
import { OutQueue, type QueueBounds } from '../../src/cluster/out-queue.ts';
import { BATCH_BYTES, BATCH_FRAMES_MAX } from '../../src/cluster/peer-limits.ts';
import { PeerSender } from '../../src/cluster/peer-sender.ts';
import type { OutStream } from '../../src/cluster/peer-stream.ts';

/** A frame that says its number, `bytes` long. */
function frame(number: number, bytes = 4): OutFrame {
  const body = Buffer.alloc(bytes, number % 251);
  body.writeUInt32LE(number, 0);
  return { kind: FrameKind.message, shard: 0, bytes, write: (writer) => writer.bytes(body) };
}

const numbersOf = (batch: Buffer): number[] =>
  decodeBatch(batch).map(({ body }) => body.readUInt32LE(0));

/** Keeps each batch as it is, without a copy, until it is told that it was taken. */
class Stream implements OutStream {
  readonly waiting: { readonly batch: Buffer; readonly taken: () => void }[] = [];
  ended = 0;

  write(batch: Buffer, taken: () => void): void {
    this.waiting.push({ batch, taken });
  }

  end(): void {
    this.ended += 1;
  }

  /** The numbers of the next batch, read when it is taken and not before. */
  take(): number[] {
    const next = this.waiting.shift();
    if (next === undefined) return [];
    const numbers = numbersOf(next.batch);
    next.taken();
    return numbers;
  }
}

/** Of entries as they come, and of appends for a peer that is behind. */
const sizeOfFrame = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 4, max: 300_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1_000_000, max: 1_300_000 }) },
);

const ROOMY: QueueBounds = { framesMax: 1_000, bytesMax: 1 << 30, whenFull: 'refuse' };

describe('frames that wait', () => {
  it('never pass their bounds, and come out in order without a gap or with the oldest gone', () => {
    const policy = fc.constantFrom('refuse', 'drop-oldest' as const);
    const step = fc.oneof(fc.nat(400), fc.constant('take' as const));
    fc.assert(
      fc.property(
        fc.record({
          framesMax: fc.integer({ min: 1, max: 20 }),
          bytesMax: fc.integer({ min: 1, max: 2_000 }),
          whenFull: policy as fc.Arbitrary<QueueBounds['whenFull']>,
        }),
        fc.array(step, { maxLength: 100 }),
        (bounds, steps) => {
          const queue = new OutQueue(bounds);
          const model: { number: number; cost: number }[] = [];
          const cost = (): number => model.reduce((sum, each) => sum + each.cost, 0);
          let dropped = 0;
          for (const [number, what] of steps.entries()) {
            if (what === 'take') {
              const taken = queue.take();
              expect(taken.map(({ bytes }) => bytes + FRAME_HEAD_BYTES)).toEqual(
                model.splice(0, taken.length).map((each) => each.cost),
              );
              continue;
            }
            const next = { number, cost: what + 4 + FRAME_HEAD_BYTES };
            const isFull = (): boolean =>
              model.length >= bounds.framesMax || cost() + next.cost > bounds.bytesMax;
            const refused = bounds.whenFull === 'refuse' && model.length > 0 && isFull();
            while (!refused && model.length > 0 && isFull()) {
              model.shift();
              dropped += 1;
            }
            if (refused) dropped += 1;
            else model.push(next);
            expect(queue.push(frame(number, what + 4))).toBe(!refused);
            expect([queue.length, queue.bytes, queue.dropped]).toEqual([
              model.length,
              cost(),
              dropped,
            ]);
            expect(queue.length <= bounds.framesMax).toBe(true);
            expect(queue.bytes <= bounds.bytesMax || queue.length === 1).toBe(true);
          }
        },
      ),
    );
  });

  it('one frame always has room, however large, and goes alone', () => {
    const queue = new OutQueue({ framesMax: 10, bytesMax: 100, whenFull: 'refuse' });
    expect(queue.push(frame(1, 10_000_000))).toBe(true);
    expect(queue.push(frame(2))).toBe(false);
    expect(queue.take()).toHaveLength(1);
    expect(queue.push(frame(3))).toBe(true);
  });

  it('a batch takes as much as it holds, and no more frames than a receiver reads', () => {
    const queue = new OutQueue({ ...ROOMY, framesMax: 10_000 });
    for (let n = 0; n < 5_000; n += 1) queue.push(frame(n));
    expect([queue.take().length, queue.take().length]).toEqual([
      BATCH_FRAMES_MAX,
      5_000 - BATCH_FRAMES_MAX,
    ]);
    for (let n = 0; n < 3; n += 1) queue.push(frame(n, BATCH_BYTES / 2 - 100));
    expect([queue.take().length, queue.take().length, queue.take().length]).toEqual([2, 1, 0]);
  });
});

describe('a sender', () => {
  const sender = (bounds = ROOMY, onRoom: () => void = () => undefined): PeerSender =>
    new PeerSender(bounds, onRoom);

  it('one batch is under way; what comes meanwhile gathers into the next', () => {
    const [peer, stream] = [sender(), new Stream()];
    peer.attach(stream);
    peer.push(frame(1));
    peer.sendWaiting();
    for (const n of [2, 3, 4]) {
      peer.push(frame(n));
      peer.sendWaiting();
    }
    expect(stream.waiting).toHaveLength(1);
    expect([stream.take(), stream.take(), stream.take()]).toEqual([[1], [2, 3, 4], []]);
  });

  it('appends of a peer that catches up are written into the same memory, one by one', () => {
    const [peer, stream] = [sender(), new Stream()];
    peer.attach(stream);
    const memory = new Set<ArrayBufferLike>();
    for (let n = 0; n < 6; n += 1) {
      peer.push(frame(n, LIMITS.messageBytes + n * 1_000));
      peer.sendWaiting();
      memory.add((stream.waiting[0] as { batch: Buffer }).batch.buffer);
      expect(stream.take()).toEqual([n]);
    }
    expect(memory.size).toBe(2);
  });

  it('bytes are written over only when the connection has them', () => {
    fc.assert(
      fc.property(fc.array(sizeOfFrame, { maxLength: 30 }), (sizes) => {
        const [peer, stream] = [sender(), new Stream()];
        peer.attach(stream);
        const seen: number[] = [];
        for (const [n, size] of sizes.entries()) {
          peer.push(frame(n, size));
          peer.sendWaiting();
          if (n % 3 === 2) seen.push(...stream.take());
        }
        while (stream.waiting.length > 0) seen.push(...stream.take());
        expect(seen).toEqual(sizes.map((_, n) => n));
      }),
      { numRuns: 30 },
    );
  });

  it('a new stream takes the place of the old one: that is ended, and its bytes stay', () => {
    const [peer, older, newer] = [sender(), new Stream(), new Stream()];
    peer.attach(older);
    peer.push(frame(1));
    peer.sendWaiting();
    peer.push(frame(2));
    peer.attach(newer);
    expect([older.ended, newer.ended]).toEqual([1, 0]);
    peer.push(frame(3));
    peer.sendWaiting();
    // What waited for the old stream is lost, and counted; its end means nothing any more.
    expect([older.take(), newer.take(), peer.dropped]).toEqual([[1], [3], 1]);
    peer.detach(older);
    expect(peer.isConnected).toBe(true);
    peer.detach(newer);
    expect([peer.isConnected, peer.push(frame(4)), peer.dropped]).toEqual([false, false, 2]);
  });

  it('who was told that there is no room hears once when there is', () => {
    let told = 0;
    const bounds: QueueBounds = { framesMax: 4, bytesMax: 1_000, whenFull: 'refuse' };
    const peer = sender(bounds, () => {
      told += 1;
    });
    const stream = new Stream();
    expect([peer.hasRoom, told]).toEqual([false, 0]);
    peer.attach(stream);
    expect([peer.hasRoom, told]).toEqual([true, 1]);
    for (let n = 0; n < 4; n += 1) expect(peer.push(frame(n))).toBe(true);
    expect([peer.push(frame(9)), peer.hasRoom, told]).toEqual([false, false, 1]);
    peer.sendWaiting();
    expect([peer.hasRoom, told]).toEqual([true, 2]);
    stream.take();
    expect(told).toBe(2);
  });
});
