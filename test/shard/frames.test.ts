import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import { SETTLE_OUTCOMES } from '../../src/machine/command.ts';
import type { GroupId, LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import {
  CLIENT_BATCH_HEADER_BYTES,
  CLOSE_HOWS,
  ClientBatch,
  writeClose,
} from '../../src/shard/client-frames.ts';
import { ASKED_OUTCOMES, writeAsk, writeEndSession } from '../../src/shard/client-frames.ts';
import { writeClaimed, writeHold } from '../../src/shard/client-frames.ts';
import { writeConsume, writeGrant, writeHello } from '../../src/shard/client-frames.ts';
import { writeRequest, writeSettleFrame } from '../../src/shard/client-frames.ts';
import type { ClientFrame } from '../../src/shard/client-frames.ts';
import { Outgoing } from '../../src/shard/outgoing.ts';
import { CANCEL_REASONS, SETTLE_ANSWERS } from '../../src/broker/ports.ts';
import { CAPTURES, DEFAULT_GROUPS, QUEUE_TYPES } from '../../src/machine/definitions.ts';
import { REFUSAL_REASONS, ShardBatch } from '../../src/shard/shard-frames.ts';
import { SHARD_BATCH_HEADER_BYTES, ShardBatchWriter } from '../../src/shard/shard-frames.ts';
import type { Refusal, ShardFrame } from '../../src/shard/shard-frames.ts';
import { CodecError, type WireWriter } from '../../src/shard/wire.ts';
import { damaged, message, position, queueIds, shortened } from '../support/shard-messages.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const queueId = fc.maxSafeNat().map((id) => id as QueueId);
const groupId = u32.map((id) => id as GroupId);
const offset = fc.maxSafeNat().map((at) => at as Offset);
const text = fc.string({ unit: 'grapheme' });
const body = fc.uint8Array({ maxLength: 50 });

const clientFrame: fc.Arbitrary<ClientFrame> = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), node: text, boot: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('claimed' as const) }),
  fc.record({
    kind: fc.constant('hold' as const),
    consumer: u32,
    offset,
    term: fc.maxSafeNat(),
    deliveryNumber: fc.maxSafeNat(),
  }),
  fc.record({
    kind: fc.constant('settle' as const),
    queueId,
    groupId,
    offset,
    term: fc.maxSafeNat(),
    deliveryNumber: fc.maxSafeNat(),
    outcome: fc.constantFrom(...SETTLE_OUTCOMES),
  }),
  fc.record({
    kind: fc.constant('ask' as const),
    tag: u32,
    queueId,
    group: text,
    offset,
    term: fc.maxSafeNat(),
    deliveryNumber: fc.maxSafeNat(),
    outcome: fc.constantFrom(...ASKED_OUTCOMES),
  }),
  fc.record({ kind: fc.constant('end-session' as const), session: text }),
  fc.record({
    kind: fc.constant('consume' as const),
    consumer: u32,
    credit: u32,
    queueId,
    clientId: text,
    group: fc.option(text, { nil: undefined }),
    filter: text,
    start: fc.option(position, { nil: undefined }),
    manual: fc.boolean(),
    again: text,
    named: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('grant' as const), consumer: u32, deliveries: u32 }),
  fc.record({
    kind: fc.constant('close' as const),
    consumer: u32,
    how: fc.constantFrom(...CLOSE_HOWS),
  }),
  fc.record({ kind: fc.constant('request' as const), id: u32, body }),
);

function writeFrame(writer: WireWriter, frame: ClientFrame): void {
  switch (frame.kind) {
    case 'hello':
      return writeHello(writer, frame.node, frame.boot);
    case 'hold':
      return writeHold(writer, frame);
    case 'claimed':
      return writeClaimed(writer);
    case 'settle':
      return writeSettleFrame(writer, frame);
    case 'consume':
      return writeConsume(writer, frame);
    case 'grant':
      return writeGrant(writer, frame.consumer, frame.deliveries);
    case 'close':
      return writeClose(writer, frame.consumer, frame.how);
    case 'ask':
      return writeAsk(writer, frame.tag, frame);
    case 'end-session':
      return writeEndSession(writer, frame.session);
    case 'request':
      return writeRequest(writer, frame.id, frame.body);
  }
}

const plain: Message = {
  topic: 't',
  payload: new Uint8Array([1, 2, 3]),
  qos: 1,
  retain: false,
  properties: undefined,
};
const enqueues = fc.array(fc.record({ targets: queueIds, message }), { maxLength: 6 });
const state = fc.record({
  boot: fc.maxSafeNat(),
  answeredUpTo: fc.maxSafeNat(),
  takenBytes: fc.maxSafeNat(),
  session: fc.maxSafeNat(),
});

function outgoing(): Outgoing {
  return new Outgoing({ batchBytes: 4096, batchEnqueuesMax: 100 });
}

function clientBatch(given: {
  enqueues: readonly { targets: readonly QueueId[]; message: Message }[];
  frames: readonly ClientFrame[];
  state: Parameters<Outgoing['takeControl']>[0];
}): Uint8Array {
  const out = outgoing();
  for (const [index, each] of given.enqueues.entries()) {
    out.begin(each.targets, each.message, { clientId: 'c', protocol: 'mqtt' });
    out.keep(index + 7, 1);
  }
  for (const frame of given.frames) writeFrame(out.control, frame);
  return out.takeEnqueues(given.state) ?? out.takeControl(given.state);
}

function readClient(bytes: Uint8Array): unknown {
  const batch = new ClientBatch(bytes);
  const frames: ClientFrame[] = [];
  for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
    frames.push(structuredClone(frame));
  }
  const { boot, firstNumber, answeredUpTo, takenBytes, commands, commandBytes, session } = batch;
  expect(batch.numbered.length).toBe(commandBytes);
  return { boot, firstNumber, answeredUpTo, takenBytes, commands, session, frames };
}

describe('a batch of the client', () => {
  it('comes back with its header, its enqueues and its frames in order', () => {
    fc.assert(
      fc.property(
        enqueues,
        fc.array(clientFrame, { maxLength: 8 }),
        state,
        (given, frames, told) => {
          const bytes = clientBatch({ enqueues: given, frames, state: told });
          expect(readClient(bytes)).toEqual({
            ...told,
            firstNumber: given.length > 0 ? 7 : 0,
            commands: given.length,
            frames,
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it('is a typed error or another batch when damaged', () => {
    const frames = fc.array(clientFrame, { maxLength: 4 });
    fc.assert(
      fc.property(enqueues, frames, state, (given, said, told) => {
        const whole = clientBatch({ enqueues: given, frames: said, state: told });
        if (whole.length > 1500) return;
        for (const bytes of damaged(whole)) outcome(readClient, bytes);
      }),
      { numRuns: 10 },
    );
  });

  it('gives nothing of the next frame with one that is cut short', () => {
    fc.assert(
      fc.property(clientFrame, fc.integer({ min: 1, max: 60 }), (frame, missing) => {
        const told = { boot: 1, answeredUpTo: 0, takenBytes: 0, session: 0 };
        const whole = clientBatch({ enqueues: [], frames: [frame], state: told });
        if (whole.length - CLIENT_BATCH_HEADER_BYTES - missing < 5) return;
        const first = (fill: number): unknown => {
          const bytes = shortened(whole, CLIENT_BATCH_HEADER_BYTES, { missing, fill });
          return outcome((each) => structuredClone(new ClientBatch(each).next()), bytes);
        };
        expect(first(0xff)).toEqual(first(0));
      }),
      { numRuns: 500 },
    );
  });

  it('is not taken with enqueues that are not what its header says', () => {
    const given = { targets: [1 as QueueId], message: plain };
    const told = { boot: 1, answeredUpTo: 0, takenBytes: 0, session: 0 };
    const whole = clientBatch({ enqueues: [given, given], frames: [], state: told });
    expect(new ClientBatch(whole).commands).toBe(2);
    const changed = (at: number, value: number): Uint8Array => {
      const bytes = whole.slice();
      new DataView(bytes.buffer).setUint32(at, value, true);
      return bytes;
    };
    const enqueue = CLIENT_BATCH_HEADER_BYTES;
    for (const bytes of [
      changed(40, 1),
      changed(40, 3),
      changed(44, whole.length - enqueue - 1),
      changed(44, whole.length),
      changed(enqueue, 0),
      changed(enqueue + 4, 2),
    ]) {
      expect(() => new ClientBatch(bytes)).toThrow(CodecError);
    }
  });

  it('is never taken when truncated', () => {
    const bytes = clientBatch({
      enqueues: [],
      frames: [{ kind: 'grant', consumer: 1, deliveries: 2 }],
      state: { boot: 1, answeredUpTo: 0, takenBytes: 0, session: 0 },
    });
    for (let length = 0; length < bytes.length; length++) {
      expect(() => readClient(bytes.slice(0, length))).toThrow(CodecError);
    }
  });
});

const queues = fc.array(
  fc.record({
    queueId,
    name: text,
    type: fc.constantFrom(...QUEUE_TYPES),
    topics: fc.array(text, { maxLength: 3 }),
    defaultGroup: fc.constantFrom(...DEFAULT_GROUPS),
    capture: fc.constantFrom(...CAPTURES),
  }),
  { maxLength: 4 },
);

const confirmed: fc.Arbitrary<Extract<ShardFrame, { kind: 'confirmed' }>> = fc
  .record({
    numbers: fc.uniqueArray(fc.integer({ min: 1, max: 2 ** 40 }), { maxLength: 6 }),
    reason: fc.constantFrom(...REFUSAL_REASONS),
    beyond: fc.nat(),
  })
  .map(({ numbers, reason, beyond }) => {
    const refusals: Refusal[] = numbers
      .toSorted((a, b) => a - b)
      .map((number) => ({ number, reason }));
    return { kind: 'confirmed', upTo: (refusals.at(-1)?.number ?? 1) + beyond, refusals };
  });

const shardFrame: fc.Arbitrary<ShardFrame> = fc.oneof(
  fc.record({ kind: fc.constant('opened' as const), boot: fc.maxSafeNat() }),
  fc.record({
    kind: fc.constant('queues' as const),
    queues,
    gone: fc.array(queueId, { maxLength: 3 }),
    complete: fc.boolean(),
  }),
  confirmed,
  fc.constant({ kind: 'busy' as const }),
  fc.constant({ kind: 'resume' as const }),
  fc.record({
    kind: fc.constant('delivery' as const),
    consumer: u32,
    attempt: u32,
    queueId,
    offset,
    term: fc.constant(9),
    deliveryNumber: fc.maxSafeNat(),
    redelivered: fc.boolean(),
    bytes: body,
    start: fc.constant(0),
    end: fc.constant(0),
  }),
  fc.record({
    kind: fc.constant('cancelled' as const),
    consumer: u32,
    reason: fc.constantFrom(...CANCEL_REASONS),
    detail: text,
  }),
  fc.record({ kind: fc.constant('attached' as const), consumer: u32, groupId, group: text }),
  fc.record({
    kind: fc.constant('settled' as const),
    tag: u32,
    answer: fc.constantFrom(...SETTLE_ANSWERS),
  }),
  fc.record({
    kind: fc.constant('ended' as const),
    consumer: u32,
    offset,
    deliveryNumber: fc.maxSafeNat(),
  }),
  fc.record({ kind: fc.constant('reply' as const), id: u32, accepted: fc.boolean(), body }),
  fc.record({
    kind: fc.constant('session' as const),
    session: fc.maxSafeNat(),
    leader: text,
    readsHere: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('named' as const),
    consumer: u32,
    attempt: u32,
    queueId,
    offset,
    term: fc.constant(9),
    // Even ones: none of them goes on where another one ends.
    deliveryNumber: fc.maxSafeNat().map((number) => number - (number % 2)),
    index: fc.maxSafeNat().map((at) => at as LogIndex),
    count: fc.constant(1),
    redelivered: fc.boolean(),
  }),
  fc.constant({ kind: 'filled' as const }),
  fc.record({ kind: fc.constant('unread' as const), consumer: u32 }),
  fc.record({ kind: fc.constant('worked' as const), batches: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('failed' as const), why: text }),
);

function writeShardFrame(writer: ShardBatchWriter, frame: ShardFrame): void {
  switch (frame.kind) {
    case 'opened':
      return writer.opened(frame.boot);
    case 'queues':
      return writer.queues(frame);
    case 'confirmed':
      return writer.confirmed(frame.upTo, frame.refusals);
    case 'busy':
      return writer.busy();
    case 'resume':
      return writer.resume();
    case 'delivery':
      return writer.delivery(frame, { bytes: frame.bytes, start: 0, end: frame.bytes.length });
    case 'cancelled':
      return writer.cancelled(frame.consumer, frame.reason, frame.detail);
    case 'attached':
      return writer.attached(frame.consumer, { groupId: frame.groupId, name: frame.group });
    case 'settled':
      return writer.settled(frame.tag, frame.answer);
    case 'ended':
      return writer.ended(frame.consumer, frame.offset, frame.deliveryNumber);
    case 'reply':
      return writer.reply(frame.id, frame.accepted, frame.body);
    case 'failed':
      return writer.failed(frame.why);
    case 'session':
      return writer.session(frame.session, frame.leader, frame.readsHere);
    case 'named':
      return writer.named(frame, frame.index);
    case 'filled':
      return writer.filled();
    case 'unread':
      return writer.unread(frame.consumer);
    case 'worked':
      return writer.worked(frame.batches);
  }
}

/** A delivery with nothing but its own message. */
function alone(frame: ShardFrame): ShardFrame {
  if (frame.kind !== 'delivery') return structuredClone(frame);
  const bytes = frame.end === 0 ? frame.bytes : frame.bytes.slice(frame.start, frame.end);
  return { ...frame, bytes: new Uint8Array(bytes), start: 0, end: 0 };
}

function readShard(bytes: Uint8Array): ShardFrame[] {
  const batch = new ShardBatch(bytes);
  const frames: ShardFrame[] = [];
  for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
    frames.push(alone(frame));
  }
  return frames;
}

describe('a batch of the shard', () => {
  it('comes back frame by frame', () => {
    fc.assert(
      fc.property(fc.array(shardFrame, { maxLength: 10 }), (frames) => {
        const writer = new ShardBatchWriter(64);
        writer.term = 9;
        for (let round = 0; round < 2; round++) {
          for (const frame of frames) writeShardFrame(writer, frame);
          expect(writer.empty).toBe(frames.length === 0);
          expect(readShard(writer.take())).toEqual(frames.map(alone));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is a typed error or another batch when damaged', () => {
    fc.assert(
      fc.property(fc.array(shardFrame, { maxLength: 5 }), (frames) => {
        const writer = new ShardBatchWriter(64);
        for (const frame of frames) writeShardFrame(writer, frame);
        for (const bytes of damaged(writer.take())) outcome(readShard, bytes);
      }),
      { numRuns: 15 },
    );
  });

  it('gives nothing of the next frame with one that is cut short', () => {
    fc.assert(
      fc.property(shardFrame, fc.integer({ min: 1, max: 60 }), (frame, missing) => {
        const writer = new ShardBatchWriter(64);
        writeShardFrame(writer, frame);
        const whole = writer.take();
        if (whole.length - SHARD_BATCH_HEADER_BYTES - missing < 5) return;
        const first = (fill: number): unknown => {
          const bytes = shortened(whole, SHARD_BATCH_HEADER_BYTES, { missing, fill });
          return outcome((each) => {
            const next = new ShardBatch(each).next();
            return next === undefined ? undefined : alone(next);
          }, bytes);
        };
        expect(first(0xff)).toEqual(first(0));
      }),
      { numRuns: 500 },
    );
  });

  it('is never taken when truncated', () => {
    const writer = new ShardBatchWriter(64);
    writer.opened(1);
    writer.confirmed(9, [{ number: 3, reason: 'disk-full' }]);
    const bytes = writer.take();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => readShard(bytes.slice(0, length))).toThrow(CodecError);
    }
  });

  it('has as many refusals as it says, ascending, and none above what it confirms', () => {
    const writer = new ShardBatchWriter(64);
    const refusals = [3, 4].map((number) => ({ number, reason: 'disk-full' as const }));
    writer.confirmed(9, refusals);
    const bytes = writer.take();
    const frame = SHARD_BATCH_HEADER_BYTES;
    expect(readShard(bytes)).toEqual([{ kind: 'confirmed', upTo: 9, refusals }]);
    const changed = (at: number, value: number): Uint8Array => {
      const other = bytes.slice();
      new DataView(other.buffer).setUint32(frame + at, value, true);
      return other;
    };
    expect(outcome(readShard, changed(8, 1))).toBe('bad-length');
    expect(outcome(readShard, changed(8, 3))).toBe('bad-length');
    expect(outcome(readShard, changed(12, 3))).toBe('bad-value');
    expect(outcome(readShard, changed(20, 4))).toBe('bad-value');
  });
});

describe('bytes that were taken', () => {
  it('are never written to again', () => {
    const writer = new ShardBatchWriter(64);
    const taken: Uint8Array[] = [];
    for (let boot = 0; boot < 100; boot++) {
      for (let more = 0; more <= boot % 7; more++) writer.opened(boot);
      taken.push(writer.take());
    }
    for (const [boot, bytes] of taken.entries()) {
      const frames = Array.from({ length: (boot % 7) + 1 }, () => ({ kind: 'opened', boot }));
      expect(readShard(bytes)).toEqual(frames);
      expect(bytes.byteOffset).toBe(0);
    }
    expect(new Set(taken.map((bytes) => bytes.buffer)).size).toBe(taken.length);
  });
});

function outcome(read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): unknown {
  try {
    return read(bytes);
  } catch (error) {
    if (error instanceof CodecError) return error.code;
    throw error;
  }
}
