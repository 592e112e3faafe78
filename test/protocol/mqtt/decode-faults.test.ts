import { Buffer } from 'node:buffer';

import { expect, test } from 'vitest';

import { PacketDecoder } from '../../../src/protocol/mqtt/decode.ts';
import {
  connectReasonOf,
  disconnectReasonOf,
  type FaultName,
  Faults,
} from '../../../src/protocol/mqtt/protocol-error.ts';
import { isPublishReason } from '../../../src/protocol/mqtt/reason-codes.ts';
import {
  bytes,
  connect,
  field,
  packet,
  type Part,
  properties,
  u16,
  u32,
  varint,
} from '../../support/mqtt-bytes.ts';
import { decodeAll, decodeFromStart } from '../../support/mqtt-decoding.ts';

type Case = readonly [title: string, fault: FaultName, version: 4 | 5, bytes: Uint8Array];

const none = properties();
const surrogate = Uint8Array.of(0xed, 0xa0, 0x80);

function publish5(...props: readonly Part[]): Buffer {
  return packet(0x30, field('t'), properties(...props));
}

function subscribe(options: number, filter = 'a', version: 4 | 5 = 5): Buffer {
  return packet(0x82, u16(1), version === 5 ? none : [], field(filter), options);
}

const CASES: readonly Case[] = [
  ['CONNECT again', 'secondConnect', 4, connect(4)],
  ['PINGRESP', 'serverPacket', 4, packet(0xd0)],
  ['SUBACK', 'serverPacket', 5, packet(0x90, u16(1), 0)],
  ['type 0', 'reservedType', 5, packet(0x00)],
  ['AUTH in 3.1.1', 'reservedType', 4, packet(0xf0)],
  ['PUBREL with flags 0', 'reservedFlags', 4, packet(0x60, u16(1))],
  ['SUBSCRIBE with flags 0', 'reservedFlags', 5, packet(0x80, u16(1), none, field('a'), 0)],
  ['PUBLISH QoS 3', 'publishQos3', 4, packet(0x36, field('t'), u16(1))],
  ['PUBLISH DUP QoS 0', 'dupAtQos0', 5, packet(0x38, field('t'), none)],
  ['five length bytes', 'lengthTooLong', 4, bytes(0x30, 0xff, 0xff, 0xff, 0xff, 0x7f)],
  [
    'five bytes of property length',
    'lengthTooLong',
    5,
    packet(0x30, field('t'), [128, 128, 128, 128, 1]),
  ],
  ['overlong remaining length', 'lengthNotMinimal', 5, bytes(0xc0, 0x80, 0x00)],
  ['overlong property length', 'lengthNotMinimal', 5, packet(0x30, field('t'), 0x80, 0x00)],
  ['overlong property id', 'lengthNotMinimal', 5, publish5([0x81, 0x00, 1])],
  ['2 MiB', 'packetTooLarge', 5, bytes(0x30, varint(2 << 20))],
  ['PUBLISH without a topic', 'truncated', 4, packet(0x30)],
  ['PUBLISH whose topic passes the end', 'truncated', 4, packet(0x30, u16(5), [97])],
  ['PUBLISH QoS 1 without an identifier', 'truncated', 4, packet(0x32, field('t'), [1])],
  ['PUBLISH 5.0 without a property length', 'truncated', 5, packet(0x30, field('t'))],
  ['properties that pass the end', 'truncated', 5, packet(0x30, field('t'), 5, [1, 1])],
  ['a property that passes the property length', 'truncated', 5, publish5([0x03, ...u16(9), 97])],
  [
    'a property that passes the property length into the payload',
    'truncated',
    5,
    packet(0x30, field('t'), properties([0x03, ...u16(2), 97]), [97, 97, 97]),
  ],
  ['a zero-length PUBACK', 'truncated', 4, packet(0x40)],
  ['a PUBREL of one byte', 'truncated', 5, packet(0x62, [1])],
  ['SUBSCRIBE without options', 'truncated', 5, packet(0x82, u16(1), none, field('a'))],
  ['PUBACK of 3 bytes in 3.1.1', 'trailingBytes', 4, packet(0x40, u16(1), 0)],
  ['PINGREQ with a body', 'trailingBytes', 5, packet(0xc0, [1])],
  ['DISCONNECT of 3.1.1 with a body', 'trailingBytes', 4, packet(0xe0, [0])],
  ['bytes behind the properties', 'trailingBytes', 5, packet(0x40, u16(1), 0, none, [1])],
  ['a surrogate in a topic', 'invalidUtf8', 4, packet(0x30, field(surrogate))],
  ['a surrogate in a filter', 'invalidUtf8', 5, packet(0x82, u16(1), none, field(surrogate), 0)],
  [
    'a surrogate in a user property',
    'invalidUtf8',
    5,
    publish5([0x26], field('k'), field(surrogate)),
  ],
  ['NUL in a topic', 'nulInString', 4, packet(0x30, field('a\0b'))],
  ['NUL in a topic with ü', 'nulInString', 4, packet(0x30, field('ü\0b'))],
  ['NUL in a filter', 'nulInString', 4, subscribe(0, 'a\0', 4)],
  ['NUL in a content type', 'nulInString', 5, publish5([0x03], field('\0'))],
  ['PUBLISH with id 0', 'packetIdZero', 4, packet(0x32, field('t'), u16(0))],
  ['PUBACK with id 0', 'packetIdZero', 4, packet(0x40, u16(0))],
  ['SUBSCRIBE with id 0', 'packetIdZero', 5, packet(0x82, u16(0), none, field('a'), 0)],
  ['UNSUBSCRIBE with id 0', 'packetIdZero', 5, packet(0xa2, u16(0), none, field('a'))],
  ['PUBACK reason 0x92', 'reasonCode', 5, packet(0x40, u16(1), 0x92)],
  ['PUBREC reason 0x01', 'reasonCode', 5, packet(0x50, u16(1), 0x01)],
  ['PUBREL reason 0x80', 'reasonCode', 5, packet(0x62, u16(1), 0x80)],
  ['PUBCOMP reason 0x10', 'reasonCode', 5, packet(0x70, u16(1), 0x10)],
  ['DISCONNECT that only servers send', 'reasonCode', 5, packet(0xe0, 0x8e)],
  ['AUTH reason 0x01', 'reasonCode', 5, packet(0xf0, 0x01)],
  ['property 0x7f', 'propertyUnknown', 5, publish5([0x7f, 1])],
  ['property 0x04', 'propertyUnknown', 5, publish5([0x04, 1])],
  ['property id of two bytes', 'propertyUnknown', 5, publish5([0x80, 0x01, 1])],
  ['receive maximum in PUBLISH', 'propertyNotAllowed', 5, publish5([0x21], u16(1))],
  ['will delay in PUBLISH', 'propertyNotAllowed', 5, publish5([0x18], u32(1))],
  ['maximum QoS in DISCONNECT', 'propertyNotAllowed', 5, packet(0xe0, 0, properties([0x24, 1]))],
  ['content type twice', 'propertyRepeated', 5, publish5([0x03], field('a'), [0x03], field('a'))],
  ['topic alias twice', 'propertyRepeated', 5, publish5([0x23, 0, 1, 0x23, 0, 1])],
  [
    'subscription identifier twice',
    'propertyRepeated',
    5,
    packet(0x82, u16(1), properties([0x0b, 1, 0x0b, 2]), field('a'), 0),
  ],
  ['payload format 2', 'propertyValue', 5, publish5([0x01, 2])],
  [
    'subscription identifier 0',
    'propertyValue',
    5,
    packet(0x82, u16(1), properties([0x0b, 0]), field('a'), 0),
  ],
  ['a subscription identifier', 'subscriptionIdInPublish', 5, publish5([0x0b, 1])],
  ['topic alias 0', 'topicAliasZero', 5, publish5([0x23, 0, 0])],
  ['AUTH without method', 'authMethodMissing', 5, packet(0xf0, 0x18)],
  [
    'AUTH with data alone',
    'authMethodMissing',
    5,
    packet(0xf0, 0x18, properties([0x16], field('x'))),
  ],
  ['an empty topic in 3.1.1', 'topicEmpty', 4, packet(0x30, field(''))],
  ['an empty topic without alias', 'topicEmpty', 5, packet(0x30, field(''), none)],
  ['a topic with +', 'topicWildcard', 4, packet(0x30, field('a/+'))],
  ['a topic with ü and #', 'topicWildcard', 5, packet(0x30, field('ü/#'), none)],
  ['a long topic with #', 'topicWildcard', 5, packet(0x30, field(`${'a'.repeat(300)}#`), none)],
  ['a response topic with #', 'responseTopic', 5, publish5([0x08], field('a/#'))],
  ['an empty response topic', 'responseTopic', 5, publish5([0x08], field(''))],
  ['SUBSCRIBE without filters', 'noTopicFilter', 4, packet(0x82, u16(1))],
  ['SUBSCRIBE 5.0 without filters', 'noTopicFilter', 5, packet(0x82, u16(1), none)],
  ['UNSUBSCRIBE without filters', 'noTopicFilter', 4, packet(0xa2, u16(1))],
  ['filter #/x', 'topicFilter', 4, subscribe(0, '#/x', 4)],
  ['an empty filter', 'topicFilter', 5, subscribe(0, '')],
  ['UNSUBSCRIBE from a+', 'topicFilter', 5, packet(0xa2, u16(1), none, field('a+'))],
  ['a share without a filter', 'sharedFilter', 5, subscribe(0, '$share/g')],
  ['a share with +', 'sharedFilter', 4, subscribe(0, '$share/g+/a', 4)],
  [
    'UNSUBSCRIBE from a bad share',
    'sharedFilter',
    5,
    packet(0xa2, u16(1), none, field('$share//a')),
  ],
  ['reserved bit 6', 'subscriptionOptions', 5, subscribe(0x40)],
  ['reserved bit 7', 'subscriptionOptions', 5, subscribe(0x80)],
  ['bit 2 in 3.1.1', 'subscriptionOptions', 4, subscribe(0x04, 'a', 4)],
  ['subscription QoS 3', 'subscriptionQos3', 5, subscribe(0x03)],
  ['subscription QoS 3 in 3.1.1', 'subscriptionQos3', 4, subscribe(0x03, 'a', 4)],
  ['retain handling 3', 'retainHandling3', 5, subscribe(0x30)],
  ['No Local on a share', 'noLocalOnShared', 5, subscribe(0x04, '$share/g/a')],
];

test.each(CASES)(
  '%s is refused as %s (version %i), and ends the stream',
  (_, fault, version, raw) => {
    const out = decodeAll(version, bytes(raw, packet(0xc0)));
    expect(out).toEqual([Faults[fault]]);
  },
);

type ConnectCase = readonly [
  title: string,
  fault: FaultName,
  bytes: Uint8Array,
  answerIn: 4 | 5 | undefined,
];

interface ConnectParts {
  readonly level?: number;
  readonly name?: string;
  readonly flags: number;
  readonly props?: Buffer;
  readonly rest?: readonly Part[];
}

function connect4({ level = 4, name = 'MQTT', flags, rest = [] }: ConnectParts): Buffer {
  return packet(0x10, field(name), level, flags, u16(0), field('c'), ...rest);
}

function connect5({ level = 5, flags, props = none, rest = [] }: ConnectParts): Buffer {
  return packet(0x10, field('MQTT'), level, flags, u16(0), props, field('c'), ...rest);
}

const CONNECT_CASES: readonly ConnectCase[] = [
  ['PUBLISH first', 'notConnect', packet(0x30, field('t')), undefined],
  ['an HTTP request', 'notConnect', Buffer.from('GET / HTTP/1.1\r\n\r\n'), undefined],
  ['CONNECT with flags', 'reservedFlags', packet(0x11), undefined],
  ['more than 64 KiB', 'packetTooLarge', bytes(0x10, varint(65_536)), undefined],
  ['an empty CONNECT', 'truncated', packet(0x10), undefined],
  ['another protocol', 'protocolName', connect4({ name: 'mqtt', flags: 2 }), undefined],
  ['MQTT 3.1', 'protocolVersion', connect4({ name: 'MQIsdp', level: 3, flags: 2 }), 4],
  ['level 3', 'protocolVersion', connect4({ level: 3, flags: 2 }), 4],
  ['a bridge of 3.1.1', 'protocolVersion', connect4({ level: 0x84, flags: 2 }), 4],
  ['level 6', 'protocolVersion', connect5({ level: 6, flags: 2 }), 5],
  ['reserved flag', 'connectFlags', connect4({ flags: 3 }), 4],
  ['will QoS without will', 'willFlags', connect4({ flags: 0x0a }), 4],
  ['will retain without will', 'willFlags', connect5({ flags: 0x22 }), 5],
  ['will QoS 3', 'willQos3', connect4({ flags: 0x1e, rest: [field('w'), field('')] }), 4],
  ['an empty will topic', 'willTopic', connect4({ flags: 0x06, rest: [field(''), field('')] }), 4],
  [
    'a will topic with #',
    'willTopic',
    connect5({ flags: 0x06, rest: [none, field('#'), field('')] }),
    5,
  ],
  ['a password alone', 'passwordWithoutUsername', connect4({ flags: 0x42, rest: [field('p')] }), 4],
  ['no user name though flagged', 'truncated', connect4({ flags: 0x82 }), 4],
  [
    'a user name though not flagged',
    'trailingBytes',
    connect4({ flags: 0x02, rest: [field('u')] }),
    4,
  ],
  [
    'a surrogate in the client id',
    'invalidUtf8',
    packet(0x10, field('MQTT'), 4, 2, u16(0), field(surrogate)),
    4,
  ],
  ['NUL in the user name', 'nulInString', connect4({ flags: 0x82, rest: [field('a\0')] }), 4],
  [
    'receive maximum 0',
    'propertyValue',
    connect5({ flags: 2, props: properties([0x21, 0, 0]) }),
    5,
  ],
  [
    'maximum packet size 0',
    'propertyValue',
    connect5({ flags: 2, props: properties([0x27], u32(0)) }),
    5,
  ],
  [
    'request problem information 2',
    'propertyValue',
    connect5({ flags: 2, props: properties([0x17, 2]) }),
    5,
  ],
  [
    'request response information 2',
    'propertyValue',
    connect5({ flags: 2, props: properties([0x19, 2]) }),
    5,
  ],
  [
    'session expiry twice',
    'propertyRepeated',
    connect5({ flags: 2, props: properties([0x11], u32(1), [0x11], u32(1)) }),
    5,
  ],
  [
    'a reason string',
    'propertyNotAllowed',
    connect5({ flags: 2, props: properties([0x1f], field('x')) }),
    5,
  ],
  [
    'authentication data alone',
    'authDataWithoutMethod',
    connect5({ flags: 2, props: properties([0x16], field('x')) }),
    5,
  ],
  [
    'a topic alias in the will',
    'propertyNotAllowed',
    connect5({ flags: 6, rest: [properties([0x23, 0, 1]), field('w'), field('')] }),
    5,
  ],
  [
    'overlong remaining length in 5.0',
    'lengthNotMinimal',
    bytes(0x10, 0x8e, 0x00, connect(5).subarray(2)),
    5,
  ],
];

test.each(CONNECT_CASES)('CONNECT: %s is refused as %s', (_, fault, raw, answerIn) => {
  const decoder = new PacketDecoder({ maxPacketSize: 1 << 20 });
  decoder.push(bytes(raw, packet(0xc0)));
  expect(decoder.next()).toEqual(Faults[fault]);
  expect(decoder.next()).toEqual(Faults[fault]);
  expect(decoder.version).toBe(answerIn);
});

test('every fault of the table is shown by a packet here', () => {
  const shown = new Set([...CASES, ...CONNECT_CASES].map(([, fault]) => fault));
  expect([...shown].toSorted()).toEqual(Object.keys(Faults).toSorted());
});

test('every fault is frozen, says what is wrong, and has a code that ends a connection', () => {
  for (const fault of Object.values(Faults)) {
    expect(Object.isFrozen(fault)).toBe(true);
    expect(fault.text.length).toBeGreaterThan(5);
    expect(fault.reasonCode).toBeGreaterThanOrEqual(0x81);
  }
});

test('each fault has the code of the packet that tells it: tables 3.2.2.2 and 3.14.2.1', () => {
  const inConnack = CONNECT_CASES.map(([, fault]) => Faults[fault]);
  for (const fault of inConnack) expect(connectReasonOf(fault)).toBe(fault.reasonCode);
  const inDisconnect = CASES.map(([, fault]) => Faults[fault]);
  for (const fault of inDisconnect) expect(disconnectReasonOf(fault)).toBe(fault.reasonCode);
  expect(connectReasonOf(Faults.topicFilter)).toBe(0x82);
  expect(disconnectReasonOf(Faults.protocolVersion)).toBe(0x82);
});

test('an overlong remaining length is legal in 3.1.1, which has no rule against it', () => {
  expect(decodeAll(4, bytes(0xc0, 0x80, 0x00))).toEqual([{ kind: 'pingreq' }]);
});

test('a password without a user name is legal in 5.0', () => {
  const raw = connect5({ flags: 0x42, rest: [field('p')] });
  expect(decodeFromStart(raw)[0]).toMatchObject({ kind: 'connect', password: 'hex:70' });
});

test('each reason code of PUBACK and PUBREC is taken, and no other', () => {
  for (let code = 0; code < 256; code++) {
    const kind = isPublishReason(code) ? 'puback' : 'protocol-error';
    expect(decodeAll(5, packet(0x40, u16(1), code))[0]?.kind).toBe(kind);
  }
  const legal = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
  expect(Array.from({ length: 256 }, (_, code) => code).filter(isPublishReason)).toEqual(legal);
});

test('each reason code of DISCONNECT that a client may send is taken, and no other', () => {
  const legal = [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
  const taken = Array.from({ length: 256 }, (_, code) => code).filter(
    (code) => decodeAll(5, packet(0xe0, code))[0]?.kind === 'disconnect',
  );
  expect(taken).toEqual(legal);
});
