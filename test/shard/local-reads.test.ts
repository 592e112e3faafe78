/**
 * What the leader names is filled here in its order, is waited for and never passed over, and what
 * the client has not worked off is bounded: against a replica that the test decides.
 */

import { expect, it } from 'vitest';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { LocalReads, type ReplicaReads } from '../../src/shard/local-reads.ts';
import type { FetchOutcome } from '../../src/shard/payloads.ts';
import { ShardBatch, ShardBatchWriter } from '../../src/shard/shard-frames.ts';
import { turn } from '../support/shard-world.ts';

const QUEUE = 7 as QueueId;

class FakeReplica implements ReplicaReads {
  readonly away = new Set<number>();
  readonly lost = new Set<number>();
  readonly fetched: number[] = [];
  applied = 1_000;
  questions = 0;
  messageBytes = 10;
  outcome: FetchOutcome | Error = { kind: 'ready' };
  #waiting: { index: number; resolve(): void; reject(error: Error): void }[] = [];

  readonly log = { hasten: () => void this.questions++ };
  readonly payloads: ReplicaReads['payloads'] = {
    get: (_queueId, offset) => {
      if (this.lost.has(offset)) return 'lost';
      if (this.away.has(offset)) return 'away';
      const bytes = new Uint8Array(this.messageBytes).fill(offset);
      return { bytes, start: 0, end: bytes.length, index: 0 as LogIndex };
    },
    fetch: (_queueId, offset) => {
      this.fetched.push(offset);
      this.away.delete(offset);
      const { outcome } = this;
      return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(outcome);
    },
  };

  get applier(): ReplicaReads['applier'] {
    return {
      index: this.applied as LogIndex,
      whenApplied: (index) =>
        new Promise((resolve, reject) => this.#waiting.push({ index, resolve, reject })),
    };
  }

  apply(index: number): void {
    this.applied = index;
    for (const each of this.#waiting) if (each.index <= index) each.resolve();
  }

  fail(): void {
    for (const each of this.#waiting) each.reject(new Error('it is over'));
  }
}

class World {
  replica = new FakeReplica();
  current: FakeReplica | undefined = this.replica;
  /** consumer, offset, number, of each that was filled. */
  readonly filled: [consumer: number, offset: number, number: number][] = [];
  readonly unread: [consumer: number | undefined, why: string][] = [];
  readonly timers: (() => void)[] = [];
  bytes = 0;
  readonly reads = new LocalReads({
    replica: () => this.current,
    post: (bytes) => this.#take(bytes),
    unread: (consumer, why) => {
      this.unread.push([consumer, why]);
      this.reads.end();
    },
    after: (_ms, action) => {
      this.timers.push(action);
      return { cancel: () => void this.timers.splice(this.timers.indexOf(action), 1) };
    },
  });

  constructor() {
    expect(this.reads.begin()).toBe(true);
  }

  name(consumer: number, from: number, count: number, index = 1): void {
    const writer = new ShardBatchWriter(64);
    for (let offset = from; offset < from + count; offset++) {
      const header = {
        consumer,
        queueId: QUEUE,
        offset: offset as Offset,
        deliveryNumber: 100 + offset,
        attempt: 1,
        redelivered: false,
      };
      writer.named(header, index as LogIndex);
    }
    this.reads.named(writer.take());
  }

  async quiet(): Promise<void> {
    for (let turns = 0; turns < 40; turns++) await turn();
  }

  offsets(consumer: number): number[] {
    return this.filled.flatMap(([of, offset]) => (of === consumer ? [offset] : []));
  }

  #take(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    const batch = new ShardBatch(bytes);
    expect(batch.next()).toEqual({ kind: 'filled' });
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      if (frame.kind !== 'delivery') throw new Error(frame.kind);
      expect(frame.bytes[frame.start]).toBe(frame.offset % 256);
      this.filled.push([frame.consumer, frame.offset, frame.deliveryNumber]);
    }
  }
}

const upTo = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_none, at) => from + at);

it('each consumer gets what is named in its order, and one that waits holds up no other', async () => {
  const world = new World();
  world.replica.away.add(3);
  world.name(1, 0, 200);
  world.name(2, 50, 100);
  world.name(1, 10, 5);
  await world.quiet();
  expect(world.offsets(1)).toEqual([...upTo(0, 200), ...upTo(10, 15)]);
  expect(world.offsets(2)).toEqual(upTo(50, 150));
  expect(world.filled.every(([, offset, number]) => number === 100 + offset)).toBe(true);
  expect(world.replica.fetched).toEqual([3]);
  expect(world.reads.messages).toBe(305);
});

it('what is not applied is waited for; the leader is asked once, and nothing comes before it', async () => {
  const world = new World();
  world.name(1, 0, 5, 1_001);
  world.name(1, 5, 5, 1);
  world.name(2, 0, 5, 1_001);
  await world.quiet();
  expect(world.filled).toEqual([]);
  expect(world.replica.questions).toBe(1);
  world.replica.apply(1_001);
  await world.quiet();
  expect(world.offsets(1)).toEqual(upTo(0, 10));
  expect(world.offsets(2)).toEqual(upTo(0, 5));
  expect(world.timers).toEqual([]);
});

it('what cannot be read here goes to the leader with its consumer, and nothing behind it comes', async () => {
  for (const how of ['lost', 'gone', 'failed'] as const) {
    const world = new World();
    if (how === 'lost') world.replica.lost.add(2);
    else world.replica.away.add(2);
    if (how === 'gone') world.replica.outcome = { kind: 'lost', detail: 'x', gone: true };
    if (how === 'failed') world.replica.outcome = new Error('a disk');
    world.name(1, 0, 10);
    await world.quiet();
    expect(world.offsets(1)).toEqual([0, 1]);
    expect(world.unread.map(([consumer]) => consumer)).toEqual([1]);
  }
});

it('a replica that does not get on is given up for the consumer that waits', async () => {
  const world = new World();
  world.name(4, 0, 1, 2_000);
  await world.quiet();
  world.timers[0]?.();
  expect(world.unread).toEqual([[4, 'the replica is behind entry 2000']]);
  world.replica.apply(2_000);
  await world.quiet();
  expect(world.filled).toEqual([]);
});

it("a replica that is over ends the session for all, and is nobody's fault", async () => {
  const world = new World();
  world.name(1, 0, 1, 2_000);
  await world.quiet();
  world.current = undefined;
  world.replica.fail();
  await world.quiet();
  expect(world.unread).toEqual([[undefined, 'it is over']]);
  expect(world.reads.begin()).toBe(false);
  world.current = new FakeReplica();
  expect(world.reads.isOutdated).toBe(true);
  expect(world.reads.begin()).toBe(true);
  world.current = new FakeReplica();
  world.name(1, 0, 1);
  await world.quiet();
  expect(world.unread[1]?.[0]).toBeUndefined();
  expect(world.filled).toEqual([]);
});

it('a client that works nothing off gets a mebibyte and a batch, and the rest when it does', async () => {
  const world = new World();
  world.replica.messageBytes = 10_000;
  world.name(1, 0, 400);
  await world.quiet();
  expect(world.bytes).toBeGreaterThanOrEqual(1 << 20);
  expect(world.bytes).toBeLessThan((1 << 20) + 300_000);
  while (world.filled.length < 400) {
    const before = world.filled.length;
    world.reads.taken(world.bytes);
    await world.quiet();
    expect(world.filled.length).toBeGreaterThan(before);
  }
  expect(world.offsets(1)).toEqual(upTo(0, 400));
});

it('nothing of a session comes in the next one', async () => {
  const world = new World();
  world.replica.away.add(0);
  world.name(1, 0, 5);
  world.name(2, 0, 5, 1_001);
  await turn();
  world.reads.begin();
  world.replica.apply(1_001);
  await world.quiet();
  expect(world.filled).toEqual([]);
  expect(world.timers).toEqual([]);
});

it('what was named to a consumer that is closed is not read', async () => {
  const world = new World();
  world.name(1, 0, 100, 1_001);
  world.name(2, 0, 100);
  world.name(3, 0, 3);
  world.reads.forget(1);
  world.reads.forget(2);
  world.replica.apply(1_001);
  await world.quiet();
  expect(world.reads.messages).toBe(3);
  expect(world.offsets(3)).toEqual(upTo(0, 3));
});
