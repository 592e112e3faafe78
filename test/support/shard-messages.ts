/** Messages, and bytes that went wrong, for tests of the shard's layouts. */

import { fc } from './properties.ts';
import type { Message, MessageProperties } from '../../src/broker/message.ts';
import { GROUP_KINDS, RANGE_CAUSES, SETTLE_CAUSES } from '../../src/machine/command.ts';
import { SETTLE_OUTCOMES, ROUTE_ENDS, SKIP_REASONS } from '../../src/machine/command.ts';
import type { EnqueueOptions, Position, PublishKey } from '../../src/machine/command.ts';
import { CAPTURES, DEFAULT_GROUPS, GROUP_STARTS } from '../../src/machine/definitions.ts';
import { OVERFLOWS, QUEUE_TYPES } from '../../src/machine/definitions.ts';
import type { SessionCommand } from '../../src/machine/session-command.ts';
import type { StoredSubscription } from '../../src/machine/session-record.ts';
import type { QueueLimits } from '../../src/machine/definitions.ts';
import { SHARDS_MAX } from '../../src/machine/ids.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import type { PlainCommand } from '../../src/shard/codec.ts';

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.string({ unit: 'binary', maxLength: 80 }),
);
const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });

const properties: fc.Arbitrary<MessageProperties> = fc.record(
  {
    contentType: text,
    correlationId: bytes(40),
    replyTo: text,
    messageId: text,
    userProperties: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 5 }),
    expirySeconds: fc.integer({ min: 0, max: 0xffff_ffff }),
    priority: fc.integer({ min: 0, max: 9 }),
    timestampMs: fc.maxSafeNat(),
    payloadIsText: fc.boolean(),
  },
  { requiredKeys: [] },
);

export const message: fc.Arbitrary<Message> = fc.record({
  topic: fc
    .tuple(fc.constantFrom('$queue/orders', 'a', 'ä/ö'), text)
    .map(([first, rest]) => first + rest),
  payload: bytes(300),
  qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
  retain: fc.boolean(),
  properties: fc.option(properties, { nil: undefined }),
});

export const clientId = text;

/** Of those that a publish may name: 0 is where delayed messages wait. */
export const queueIds: fc.Arbitrary<QueueId[]> = fc.array(
  fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map((id) => id as QueueId),
  { minLength: 1, maxLength: 5 },
);

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
/** No negative zero: the integers of MessagePack have none. */
const number = fc.double({ noNaN: true }).map((value) => value + 0);
const queueId = fc.maxSafeNat().map((id) => id as QueueId);
const groupId = u32.map((id) => id as GroupId);
const offset = fc.maxSafeNat().map((at) => at as Offset);
const name = fc.string({ unit: 'grapheme', maxLength: 20 });

const limits: fc.Arbitrary<QueueLimits> = fc.record({
  retry: fc.record({
    minMs: fc.maxSafeNat(),
    maxMs: fc.maxSafeNat(),
    multiplier: number,
    jitter: number,
  }),
  deliveryLimit: u32,
  visibilityTimeoutMs: fc.maxSafeNat(),
  maxUnsettledSpan: u32,
  defaultGroup: fc.constantFrom(...DEFAULT_GROUPS),
  groupStart: fc.constantFrom(...GROUP_STARTS),
  groupExpiresMs: fc.maxSafeNat(),
  maxGroups: u32,
  ttlMs: fc.maxSafeNat(),
  maxMessages: fc.maxSafeNat(),
  maxBytes: fc.maxSafeNat(),
  overflow: fc.constantFrom(...OVERFLOWS),
  retention: fc.record({
    ageMs: fc.maxSafeNat(),
    bytes: fc.maxSafeNat(),
    messages: fc.maxSafeNat(),
  }),
  deadLetter: name,
  singleActiveConsumer: fc.boolean(),
  maxPriority: fc.integer({ min: 0, max: 9 }),
  maxProducers: u32,
  producerExpiresMs: fc.maxSafeNat(),
  expiresMs: fc.maxSafeNat(),
  capture: fc.constantFrom(...CAPTURES),
});

export const position: fc.Arbitrary<Position> = fc.oneof(
  fc.constantFrom<Position>({ kind: 'first' }, { kind: 'last' }, { kind: 'next' }),
  fc.record({ kind: fc.constant('offset' as const), offset: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('time' as const), ms: fc.maxSafeNat() }),
);

export const publishKey: fc.Arbitrary<PublishKey> = fc.record({
  session: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
  ownerEpoch: fc.maxSafeNat(),
  packetId: fc.integer({ min: 0, max: 0xffff }),
});

/** Of a publish, which may be a part of one. */
const partKey: fc.Arbitrary<PublishKey> = fc
  .record({
    key: publishKey,
    part: fc.option(fc.record({ after: fc.maxSafeNat(), through: fc.maxSafeNat() })),
  })
  .map(({ key, part }) => (part === null ? key : { ...key, part }));

const wishes: fc.Arbitrary<EnqueueOptions> = fc
  .record({
    ttlMs: fc.oneof(fc.constant(0), fc.maxSafeNat()),
    priority: fc.integer({ min: 0, max: 9 }),
    delayMs: fc.oneof(fc.constant(0), fc.maxSafeNat()),
    producer: fc.option(fc.record({ id: name, sequence: fc.maxSafeNat() }), { nil: undefined }),
    key: fc.option(partKey, { nil: undefined }),
  })
  .map((given): EnqueueOptions =>
    given.ttlMs + given.priority + given.delayMs === 0 && given.producer === undefined
      ? { ...given, ttlMs: 1 }
      : given,
  );

const replayed: fc.Arbitrary<EnqueueOptions> = fc
  .record({
    ttlMs: fc.oneof(fc.constant(0), fc.maxSafeNat()),
    replay: fc.record({
      ownerEpoch: fc.maxSafeNat(),
      run: fc.maxSafeNat(),
      from: fc.maxSafeNat(),
      at: fc.maxSafeNat(),
      next: fc.maxSafeNat(),
      room: u32,
    }),
  })
  .map((given) => ({ ...given, priority: 0, delayMs: 0, producer: undefined, key: undefined }));

/** Options that say something. */
export const enqueueOptions: fc.Arbitrary<EnqueueOptions> = fc.oneof(
  { weight: 4, arbitrary: wishes },
  { weight: 1, arbitrary: replayed },
);

const groupOf = { queueId, groupId };
const shard = fc.nat({ max: SHARDS_MAX - 1 });
const ofOwner = { queueId, ownerEpoch: fc.maxSafeNat() };

const subscription: fc.Arbitrary<StoredSubscription> = fc.record({
  filter: name,
  qos: fc.constantFrom(0, 1, 2),
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  retainHandling: fc.constantFrom(0, 1, 2),
  identifier: fc.nat({ max: 268_435_455 }),
  wish: name,
});

const place = { run: fc.maxSafeNat(), next: fc.maxSafeNat(), end: fc.maxSafeNat() };

/** With what it owes of retained messages, or without. */
const owing = fc
  .record({ subscription, replay: fc.option(fc.record(place)) })
  .map(({ subscription: given, replay }) => (replay === null ? given : { ...given, replay }));

/** To a share that all nodes know of. */
const routed = fc
  .record({ subscription, qos: fc.constantFrom(1 as const, 2 as const) })
  .map(({ subscription: given, qos }) => {
    return { ...given, filter: `$share/g/a${given.filter}`, qos, isRouted: true };
  });

const sessionCommand: fc.Arbitrary<SessionCommand> = fc.oneof(
  fc.record({
    kind: fc.constant('claim-session' as const),
    queueId,
    epoch: fc.maxSafeNat(),
    token: name,
    cleanStart: fc.boolean(),
    incarnation: name,
    user: fc.option(name, { nil: undefined }),
    expirySeconds: u32,
    will: fc.option(
      fc.record({ delaySeconds: u32, message: fc.uint8Array({ minLength: 1, maxLength: 30 }) }),
      { nil: undefined },
    ),
    limits: fc.record({
      maxMessages: fc.maxSafeNat(),
      maxBytes: fc.maxSafeNat(),
      overflow: fc.constantFrom(...OVERFLOWS),
    }),
  }),
  fc.record({
    kind: fc.constant('change-session' as const),
    ...ofOwner,
    subscribe: fc.array(fc.oneof(owing, routed), { maxLength: 4 }),
    unsubscribe: fc.array(name, { maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant('replay-session' as const),
    ...ofOwner,
    replays: fc.array(fc.record({ filter: name, ...place }), { maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constantFrom('halve-session' as const, 'finish-session' as const),
    ...ofOwner,
    offset,
  }),
  fc.record({
    kind: fc.constant('leave-session' as const),
    ...ofOwner,
    expirySeconds: fc.option(u32, { nil: undefined }),
    isInPeace: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom('resume-session' as const, 'delete-session' as const),
    ...ofOwner,
  }),
  fc.record({ kind: fc.constant('end-will' as const), queueId, number: fc.maxSafeNat() }),
  fc.record({
    kind: fc.constant('receive-session' as const),
    ...ofOwner,
    packetId: fc.nat({ max: 65_535 }),
  }),
  fc.record({
    kind: fc.constant('choose-session' as const),
    ...ofOwner,
    packetId: fc.nat({ max: 65_535 }),
    token: fc.maxSafeNat(),
    choices: fc.array(fc.record({ share: fc.maxSafeNat(), queueId }), { maxLength: 4 }),
    isInstead: fc.boolean(),
  }),
);

export const plainCommand: fc.Arbitrary<PlainCommand> = fc.oneof(
  sessionCommand,
  fc.record({
    kind: fc.constant('settle' as const),
    ...groupOf,
    offset,
    outcome: fc.constantFrom(...SETTLE_OUTCOMES),
    cause: fc.constantFrom(...SETTLE_CAUSES),
  }),
  fc.record({
    kind: fc.constant('declare-queue' as const),
    name: fc.string({ unit: 'grapheme' }),
    type: fc.constantFrom(...QUEUE_TYPES),
    topics: fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 4 }),
    limits,
    placed: fc.option(fc.maxSafeNat(), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('update-queue' as const), queueId, limits }),
  fc.record({ kind: fc.constant('delete-queue' as const), queueId }),
  fc.record({ kind: fc.constant('set-version' as const), version: u32 }),
  fc.constant({ kind: 'open-stream' as const, node: '' }),
  fc.record({
    kind: fc.constant('settle-range' as const),
    ...groupOf,
    from: offset,
    to: offset,
    cause: fc.constantFrom(...RANGE_CAUSES),
  }),
  fc.record({
    kind: fc.constant('create-group' as const),
    queueId,
    name,
    groupKind: fc.constantFrom(...GROUP_KINDS),
    filter: name,
    start: fc.option(position, { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('delete-group' as const), ...groupOf }),
  fc.record({ kind: fc.constant('seek-group' as const), ...groupOf, position }),
  fc.record({ kind: fc.constant('idle-group' as const), ...groupOf, idle: fc.boolean() }),
  fc.record({ kind: fc.constant('retain' as const), queueId, start: offset }),
  fc.record({ kind: fc.constant('fire-timers' as const), max: u32 }),
  fc.record({
    kind: fc.constant('skip-intent' as const),
    intent: fc.maxSafeNat(),
    reason: fc.constantFrom(...SKIP_REASONS),
  }),
  fc.record({ kind: fc.constant('route-intent' as const), intent: fc.maxSafeNat(), queueId }),
  fc.record({
    kind: fc.constant('end-route' as const),
    intent: fc.maxSafeNat(),
    number: fc.maxSafeNat(),
    how: fc.constantFrom(...ROUTE_ENDS),
    next: fc.maxSafeNat(),
  }),
  fc.record({
    kind: fc.constant('move-range' as const),
    ...groupOf,
    from: offset,
    to: offset,
    target: fc.oneof(fc.constant('source' as const), queueId),
  }),
  fc.record({ kind: fc.constant('end-session' as const), session: name }),
  fc.record({
    kind: fc.constant('place-queue' as const),
    name,
    among: fc.array(shard, { maxLength: SHARDS_MAX }),
    near: name,
  }),
  fc.record({ kind: fc.constant('unplace-queue' as const), name, version: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('fence-names' as const), version: fc.maxSafeNat() }),
  fc.record({
    kind: fc.constant('add-shard' as const),
    number: shard,
    founders: fc.array(name, { maxLength: 7 }),
  }),
  fc.record({
    kind: fc.constantFrom('host-shard' as const, 'unhost-shard' as const),
    number: shard,
    node: name,
  }),
);

/** As it comes back from the log: no properties and empty ones are the same. */
export function comparable(given: Message): Message {
  const { properties: set } = given;
  const none = set === undefined || Object.keys(set).length === 0;
  const { topic, payload, qos, retain } = given;
  return {
    topic,
    payload: new Uint8Array(payload),
    qos,
    retain,
    properties: none ? undefined : set,
  };
}

/** Bytes inside of others, all `fill`: who reads outside of his bounds reads that. */
export interface Surrounded {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

const AROUND = 256;

export function surrounded(given: Uint8Array, fill: number): Surrounded {
  const bytes = new Uint8Array(given.length + 2 * AROUND).fill(fill);
  bytes.set(given, AROUND);
  return { bytes, start: AROUND, end: AROUND + given.length };
}

/**
 * A batch whose first frame, at `at`, lacks its last `missing` bytes but says so, and is followed
 * by a frame that is all `fill`.
 */
export function shortened(
  batch: Uint8Array,
  at: number,
  { missing, fill }: { readonly missing: number; readonly fill: number },
): Uint8Array {
  const length = new DataView(batch.buffer, batch.byteOffset + at).getUint32(0, true) - missing;
  const whole = new Uint8Array(at + length + AROUND).fill(fill);
  whole.set(batch.subarray(0, at + length), 0);
  const view = new DataView(whole.buffer);
  view.setUint32(at, length, true);
  view.setUint32(at + length, AROUND, true);
  view.setUint32(0, whole.length, true);
  return whole;
}

/** Each truncation, and each byte with one bit or all bits flipped. */
export function* damaged(whole: Uint8Array): Generator<Uint8Array> {
  for (let length = 0; length < whole.length; length++) yield whole.slice(0, length);
  for (let at = 0; at < whole.length; at++) {
    for (const mask of [1 << (at % 8), 0x80, 0xff]) {
      const flipped = whole.slice();
      flipped[at] = (flipped[at] ?? 0) ^ mask;
      yield flipped;
    }
  }
}
