/** Messages, and bytes that went wrong, for tests of the shard's layouts. */

import fc from 'fast-check';
import type { Message, MessageProperties } from '../../src/broker/message.ts';
import type { QueueId } from '../../src/machine/ids.ts';

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

export const queueIds: fc.Arbitrary<QueueId[]> = fc.array(
  fc.maxSafeNat().map((id) => id as QueueId),
  { minLength: 1, maxLength: 5 },
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
