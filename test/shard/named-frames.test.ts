import { expect, it } from 'vitest';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { ShardBatch, ShardBatchWriter, hasNamed } from '../../src/shard/shard-frames.ts';
import type { ShardFrame } from '../../src/shard/shard-frames.ts';

function readShard(bytes: Uint8Array): ShardFrame[] {
  const batch = new ShardBatch(bytes);
  const frames: ShardFrame[] = [];
  for (let frame = batch.next(); frame !== undefined; frame = batch.next()) frames.push(frame);
  return frames;
}

it('deliveries next to each other are named in one frame, and no others', () => {
  const first = {
    consumer: 1,
    queueId: 2 as QueueId,
    offset: 5 as Offset,
    deliveryNumber: 9,
    attempt: 1,
    redelivered: false,
  };
  const at = (more: number, change: object = {}): typeof first => {
    const offset = (first.offset + more) as Offset;
    return { ...first, offset, deliveryNumber: first.deliveryNumber + more, ...change };
  };
  const framesOf = (...of: (typeof first)[]): unknown[] => {
    const writer = new ShardBatchWriter(64);
    for (const [nth, delivery] of of.entries()) writer.named(delivery, (7 - nth) as LogIndex);
    const bytes = writer.take();
    expect(hasNamed(bytes)).toBe(true);
    return readShard(bytes);
  };
  const [whole, ...none] = framesOf(at(0), at(1), at(2));
  expect(whole).toMatchObject({ offset: 5, deliveryNumber: 9, count: 3, index: 7 });
  expect(none).toEqual([]);
  for (const other of [
    at(1, { consumer: 2 }),
    at(1, { queueId: 3 as QueueId }),
    at(1, { offset: 7 as Offset }),
    at(1, { deliveryNumber: 11 }),
    at(1, { attempt: 2 }),
    at(1, { redelivered: true }),
  ]) {
    expect(framesOf(at(0), other)).toHaveLength(2);
  }
  const writer = new ShardBatchWriter(64);
  writer.named(at(0), 1 as LogIndex);
  writer.worked(1);
  writer.named(at(1), 1 as LogIndex);
  expect(readShard(writer.take())).toHaveLength(3);
  writer.worked(1);
  expect(hasNamed(writer.take())).toBe(false);
});
