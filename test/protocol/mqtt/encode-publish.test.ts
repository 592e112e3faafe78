import { Buffer } from 'node:buffer';

import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import { ByteWriter } from '../../../src/protocol/bytes.ts';
import { PublishEncoder, type PublishDelivery } from '../../../src/protocol/mqtt/encode-publish.ts';
import type { Qos } from '../../../src/protocol/mqtt/packet.ts';
import {
  binary,
  packetId,
  publishProperties,
  qos,
  topicName,
  version,
} from '../../support/mqtt-arbitraries.ts';
import { plain } from '../../support/mqtt-decoding.ts';
import { parse, toOracle } from '../../support/mqtt-oracle.ts';

const quiet = {
  version: 4,
  qos: 0,
  retain: false,
  dup: false,
  packetId: 0,
  subscriptionIdentifiers: undefined,
} as const;

function encoded(encoder: PublishEncoder, delivery: PublishDelivery): Buffer {
  const out = new ByteWriter();
  encoder.append(out, delivery);
  return Buffer.from(out.take());
}

test('golden: PUBLISH in both versions', () => {
  const message = { topic: 'a/b', payload: Uint8Array.of(1, 2), properties: undefined };
  const at1 = { ...quiet, qos: 1, packetId: 10, dup: true, retain: true } as const;
  expect(encoded(new PublishEncoder(message), quiet).toString('hex')).toBe('30070003612f620102');
  expect(encoded(new PublishEncoder(message), at1).toString('hex')).toBe('3b090003612f62000a0102');
  const five = { ...at1, version: 5, subscriptionIdentifiers: [127, 128] } as const;
  expect(encoded(new PublishEncoder(message), five).toString('hex')).toBe(
    '3b0f0003612f62000a050b7f0b80010102',
  );
  const withProperties = {
    ...message,
    properties: {
      userProperties: [
        ['b', '1'],
        ['a', '2'],
        ['b', '3'],
      ] as const,
    },
  };
  expect(
    encoded(new PublishEncoder(withProperties), { ...quiet, version: 5 }).toString('hex'),
  ).toBe(
    '301d' + '0003612f62' + '15' + '26000162000131' + '26000161000132' + '26000162000133' + '0102',
  );
  expect(encoded(new PublishEncoder(withProperties), quiet).toString('hex')).toBe(
    '30070003612f620102',
  );
});

const delivery = fc.record({
  version,
  qos: qos.map((value) => value as Qos),
  retain: fc.boolean(),
  dup: fc.boolean(),
  packetId,
  subscriptionIdentifiers: fc.option(
    fc.array(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 }),
    { nil: undefined },
  ),
});

const message = fc.record({
  topic: topicName,
  payload: fc.oneof(
    binary,
    fc.integer({ min: 0, max: 20_000 }).map((size) => Buffer.alloc(size, 7)),
  ),
  properties: publishProperties,
});

test('one message for many subscribers: each gets the packet that it would get alone', () => {
  fc.assert(
    fc.property(
      message,
      fc.array(delivery, { minLength: 1, maxLength: 12 }),
      (content, deliveries) => {
        const encoder = new PublishEncoder(content);
        const out = new ByteWriter();
        const alone: Buffer[] = [];
        for (const one of deliveries) {
          const before = out.pending;
          encoder.append(out, one);
          expect(out.pending - before).toBe(encoder.size(one));
          alone.push(encoded(new PublishEncoder(content), one));
        }
        expect(Buffer.compare(out.take(), Buffer.concat(alone))).toBe(0);
        for (const speaks of [4, 5] as const) {
          const shared = encoder.shared(speaks);
          expect(Buffer.compare(shared, encoded(encoder, { ...quiet, version: speaks }))).toBe(0);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('mqtt-packet reads the same message that we wrote', () => {
  fc.assert(
    fc.property(message, delivery, (content, to) => {
      const read = parse(encoded(new PublishEncoder(content), to), to.version);
      const properties =
        to.version === 5
          ? toOracle({
              ...content.properties,
              ...((to.subscriptionIdentifiers?.length ?? 0) > 0
                ? { subscriptionIdentifiers: to.subscriptionIdentifiers }
                : {}),
            })
          : undefined;
      expect(read).toMatchObject({
        cmd: 'publish',
        topic: content.topic,
        payload: plain(content.payload),
        qos: to.qos,
        retain: to.retain,
        dup: to.dup && to.qos > 0,
        ...(to.qos > 0 ? { messageId: to.packetId } : {}),
      });
      const found = (read['properties'] ?? {}) as object;
      expect({ ...found }).toEqual(plain(properties ?? {}));
    }),
    { numRuns: 300 },
  );
});

test('a topic or packet that MQTT cannot carry is a bug of ours, not a broken packet', () => {
  const payload = new Uint8Array(0);
  const long = { topic: 'x'.repeat(65_536), payload, properties: undefined };
  expect(() => new PublishEncoder(long)).toThrow(RangeError);
  const longest = { topic: 'ü'.repeat(32_767), payload, properties: undefined };
  expect(encoded(new PublishEncoder(longest), quiet).length).toBe(1 + 3 + 2 + 65_534);
});
