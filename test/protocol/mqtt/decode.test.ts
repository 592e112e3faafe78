import { Buffer } from 'node:buffer';

import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import { CONNECT_BYTES_MAX, PacketDecoder } from '../../../src/protocol/mqtt/decode.ts';
import { Faults } from '../../../src/protocol/mqtt/protocol-error.ts';
import {
  bytes,
  connect,
  field,
  packet,
  properties,
  sampleConnects,
  samplePackets,
  u16,
  varint,
} from '../../support/mqtt-bytes.ts';
import { connected, decodeAll, decodeFromStart } from '../../support/mqtt-decoding.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

test('golden: the CONNECT of 3.1.1, figure 3.6, with will, user name and password', () => {
  const raw = hex(
    '10 24 0004 4d515454 04 ce 000a' +
      '0002 6331 0003 772f74 0004 676f6e65 0004 75736572 0003 707764',
  );
  expect(decodeFromStart(raw)).toEqual([
    {
      kind: 'connect',
      version: 4,
      clientId: 'c1',
      cleanStart: true,
      keepAliveSeconds: 10,
      will: { topic: 'w/t', payload: 'hex:676f6e65', qos: 1, retain: false, properties: undefined },
      username: 'user',
      password: 'hex:707764',
      properties: undefined,
    },
  ]);
});

const messageProperties = {
  payloadFormatIndicator: 1,
  messageExpiryInterval: 60,
  contentType: 'text/plain',
  responseTopic: 'reply/to',
  correlationData: 'hex:00ff01',
  userProperties: [
    ['b', '1'],
    ['a', '2'],
    ['b', '3'],
  ],
};

test('golden: a CONNECT of 5.0 with everything in it', () => {
  const sample = sampleConnects.find(({ name }) => name === 'CONNECT 5.0 with all');
  expect(decodeFromStart(sample?.bytes as Buffer)).toEqual([
    {
      kind: 'connect',
      version: 5,
      clientId: 'client',
      cleanStart: true,
      keepAliveSeconds: 65_535,
      will: {
        topic: 'will/topic',
        payload: 'hex:676f6e65',
        qos: 2,
        retain: true,
        properties: { willDelayInterval: 5, ...messageProperties },
      },
      username: 'user',
      password: 'hex:736563726574',
      properties: {
        sessionExpiryInterval: 0xffff_ffff,
        receiveMaximum: 20,
        maximumPacketSize: 1_000_000,
        topicAliasMaximum: 10,
        requestResponseInformation: true,
        requestProblemInformation: false,
        userProperties: [['x', 'y']],
        authenticationMethod: 'SCRAM',
        authenticationData: 'hex:6669727374',
      },
    },
  ]);
});

test('golden: PUBLISH of 3.1.1, figure 3.10 and onward', () => {
  expect(decodeAll(4, hex('3a 08 0003 612f62 000a 2a'))).toEqual([
    {
      kind: 'publish',
      topic: 'a/b',
      payload: 'hex:2a',
      qos: 1,
      retain: false,
      dup: true,
      packetId: 10,
      properties: undefined,
    },
  ]);
});

test('golden: PUBLISH of 5.0 keeps the order of user properties [MQTT-3.3.2-18]', () => {
  const sample = samplePackets.find(({ name }) => name === 'PUBLISH with properties');
  expect(decodeAll(5, sample?.bytes as Buffer)).toEqual([
    {
      kind: 'publish',
      topic: '',
      payload: 'hex:0102',
      qos: 1,
      retain: false,
      dup: false,
      packetId: 8,
      properties: { topicAlias: 3, ...messageProperties },
    },
  ]);
});

test('golden: SUBSCRIBE and UNSUBSCRIBE, with shares taken apart', () => {
  expect(
    decodeAll(
      5,
      hex('82 18 0009 02 0b7f 0001 61 2e 000c 2473686172652f672f712f23 01'),
      hex('a2 14 000a 00 0001 61 000c 2473686172652f672f712f23'),
    ),
  ).toEqual([
    {
      kind: 'subscribe',
      packetId: 9,
      properties: { subscriptionIdentifiers: [127] },
      subscriptions: [
        {
          topicFilter: 'a',
          filter: 'a',
          shareName: undefined,
          qos: 2,
          noLocal: true,
          retainAsPublished: true,
          retainHandling: 2,
        },
        {
          topicFilter: '$share/g/q/#',
          filter: 'q/#',
          shareName: 'g',
          qos: 1,
          noLocal: false,
          retainAsPublished: false,
          retainHandling: 0,
        },
      ],
    },
    {
      kind: 'unsubscribe',
      packetId: 10,
      topicFilters: ['a', '$share/g/q/#'],
      properties: undefined,
    },
  ]);
});

test('golden: acknowledgements with and without reason and properties (3.4.2.1, 3.4.2.2)', () => {
  const plainForm = { packetId: 0x1234, reasonCode: 0, properties: undefined };
  for (const version of [4, 5] as const) {
    expect(decodeAll(version, hex('40021234 50021234 62021234 70021234'))).toEqual([
      { kind: 'puback', ...plainForm },
      { kind: 'pubrec', ...plainForm },
      { kind: 'pubrel', ...plainForm },
      { kind: 'pubcomp', ...plainForm },
    ]);
  }
  expect(decodeAll(5, hex('4003123410 6204123492 00 500a123497 06 1f0003 6e6f21'))).toEqual([
    { kind: 'puback', packetId: 0x1234, reasonCode: 0x10, properties: undefined },
    { kind: 'pubrel', packetId: 0x1234, reasonCode: 0x92, properties: undefined },
    { kind: 'pubrec', packetId: 0x1234, reasonCode: 0x97, properties: { reasonString: 'no!' } },
  ]);
});

test('golden: PINGREQ, DISCONNECT and AUTH, empty and not; an empty AUTH is legal', () => {
  expect(decodeAll(4, hex('c000 e000'))).toEqual([
    { kind: 'pingreq' },
    { kind: 'disconnect', reasonCode: 0, properties: undefined },
  ]);
  expect(decodeAll(5, hex('e000 e00104 e00204 00 f000 f006 19 04 150001 53'))).toEqual([
    { kind: 'disconnect', reasonCode: 0, properties: undefined },
    { kind: 'disconnect', reasonCode: 4, properties: undefined },
    { kind: 'disconnect', reasonCode: 4, properties: undefined },
    { kind: 'auth', reasonCode: 0, properties: undefined },
    { kind: 'auth', reasonCode: 0x19, properties: { authenticationMethod: 'S' } },
  ]);
});

test('the payload is a view of the chunk: no copy on the way', () => {
  const decoder = connected(4);
  const chunk = bytes(packet(0x30, field('t'), [1, 2, 3]));
  decoder.push(chunk);
  const publish = decoder.next();
  if (publish?.kind !== 'publish') throw new Error('not a publish');
  expect(publish.payload.buffer).toBe(chunk.buffer);
  expect(publish.payload).toEqual(Uint8Array.of(1, 2, 3));
});

test('topics are read right whatever topic came before', () => {
  const topic = fc.oneof(
    fc.constantFrom(
      'a',
      'b',
      'a/b',
      'a/c',
      'ä',
      'äb',
      'x'.repeat(128),
      'x'.repeat(129),
      `${'x'.repeat(127)}y`,
    ),
    fc
      .string({ unit: 'binary', minLength: 1, maxLength: 140 })
      .filter((text) => !/[+#\0]/u.test(text)),
  );
  fc.assert(
    fc.property(fc.array(topic, { maxLength: 20 }), (topics) => {
      const raw = topics.map((text) => packet(0x30, field(text)));
      const out = decodeAll(4, bytes(...raw));
      expect(out.map((decoded) => decoded.kind === 'publish' && decoded.topic)).toEqual(topics);
    }),
  );
});

test('a topic that is not ASCII does not change the one that is remembered', () => {
  const topics = ['xyz', 'abü', 'abz', 'xyz'];
  const out = decodeAll(4, bytes(...topics.map((text) => packet(0x30, field(text)))));
  expect(out.map((decoded) => decoded.kind === 'publish' && decoded.topic)).toEqual(topics);
});

test('a topic that is refused leaves nothing behind for the next one', () => {
  const decoder = connected(4);
  decoder.push(bytes(packet(0x30, field('abc')), packet(0x30, field('ab#'))));
  expect(decoder.next()).toMatchObject({ topic: 'abc' });
  expect(decoder.next()).toBe(Faults.topicWildcard);
});

test('a packet of exactly the maximum size is taken, one byte more is not', () => {
  const decoder = connected(4, 100);
  decoder.push(packet(0x30, field('t'), Buffer.alloc(95)));
  expect(decoder.next()).toMatchObject({ kind: 'publish' });
  decoder.push(packet(0x30, field('t'), Buffer.alloc(96)));
  expect(decoder.next()).toBe(Faults.packetTooLarge);
});

test('S1: before CONNECT a packet is at most 64 KiB, whatever the maximum packet size', () => {
  const decoder = new PacketDecoder({ maxPacketSize: 1 << 20 });
  decoder.push(bytes(0x10, varint(CONNECT_BYTES_MAX - 3)));
  expect(decoder.next()).toBe(Faults.packetTooLarge);
  const other = new PacketDecoder({ maxPacketSize: 1 << 20 });
  other.push(bytes(0x10, varint(CONNECT_BYTES_MAX - 4)));
  expect(other.next()).toBeUndefined();
});

test('what follows CONNECT in the same chunk is read in its version and with its limit', () => {
  const publish = packet(0x30, field('t'), [0], Buffer.alloc(100_000));
  const out = decodeFromStart(bytes(connect(5), publish));
  expect(out.map(({ kind }) => kind)).toEqual(['connect', 'publish']);
});

test('after an error nothing that is pushed is kept or read', () => {
  const decoder = connected(5);
  decoder.push(bytes(packet(0x32, field('t'), u16(0), properties()), packet(0xc0)));
  expect(decoder.next()).toBe(Faults.packetIdZero);
  decoder.push(Buffer.alloc(1_000));
  expect(decoder.midPacket).toBe(false);
  expect(decoder.next()).toBe(Faults.packetIdZero);
});

test('S11: a property named __proto__ is a pair like any other', () => {
  const raw = packet(0x30, field('t'), properties([0x26], field('__proto__'), field('x')));
  const out = decodeAll(5, raw);
  expect(out[0]).toMatchObject({ properties: { userProperties: [['__proto__', 'x']] } });
  expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  expect(({} as Record<string, unknown>)['x']).toBeUndefined();
});

test('S4: 64 KB topics with 65,534 levels are decoded, and filters of +/+/+/...', () => {
  const slashes = '/'.repeat(65_533);
  expect(decodeAll(4, packet(0x30, field(slashes)))[0]).toMatchObject({ topic: slashes });
  const plus = `${'+/'.repeat(32_766)}+`;
  const out = decodeAll(4, packet(0x82, u16(1), field(plus), 0));
  expect(out[0]).toMatchObject({ subscriptions: [{ filter: plus }] });
});
