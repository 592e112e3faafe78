/**
 * MQTT packets written by hand, byte by byte: for tests of the codec, which must not be tested with
 * itself. Nothing here checks anything, so it can write what is wrong too.
 */

import { Buffer } from 'node:buffer';

export type Part = Uint8Array | readonly number[] | number;

export function bytes(...parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))),
  );
}

export function u16(value: number): readonly number[] {
  return [(value >> 8) & 255, value & 255];
}

export function u32(value: number): readonly number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

export function varint(value: number): readonly number[] {
  const out: number[] = [];
  let rest = value;
  do {
    out.push(rest > 127 ? (rest & 127) | 128 : rest);
    rest >>>= 7;
  } while (rest > 0);
  return out;
}

/** A length-prefixed string, or bytes. */
export function field(content: string | Uint8Array): Buffer {
  const raw = Buffer.from(content as string);
  return bytes(u16(raw.length), raw);
}

export function packet(header: number, ...parts: readonly Part[]): Buffer {
  const body = bytes(...parts);
  return bytes(header, varint(body.length), body);
}

export function properties(...parts: readonly Part[]): Buffer {
  const body = bytes(...parts);
  return bytes(varint(body.length), body);
}

/** A minimal CONNECT. */
export function connect(version: 4 | 5, clientId = 'c'): Buffer {
  return packet(
    0x10,
    field('MQTT'),
    version,
    0x02,
    u16(30),
    version === 5 ? properties() : [],
    field(clientId),
  );
}

const everyMessageProperty = [
  [0x01, 1],
  [0x02, ...u32(60)],
  [0x03, ...field('text/plain')],
  [0x08, ...field('reply/to')],
  [0x09, ...field(Uint8Array.of(0, 255, 1))],
  [0x26, ...field('b'), ...field('1')],
  [0x26, ...field('a'), ...field('2')],
  [0x26, ...field('b'), ...field('3')],
].flat();

export interface SamplePacket {
  readonly name: string;
  readonly version: 4 | 5;
  readonly bytes: Buffer;
}

/**
 * Each kind that a client sends, in its shortest and its longest form. CONNECT is in
 * `sampleConnects`.
 */
export const samplePackets: readonly SamplePacket[] = [
  ...([4, 5] as const).flatMap((version): SamplePacket[] => {
    const none = version === 5 ? properties() : [];
    return [
      { name: 'PUBLISH QoS 0', bytes: packet(0x30, field('a/b'), none, [1, 2, 3]) },
      { name: 'PUBLISH QoS 1', bytes: packet(0x33, field('a/ü€𐍈'), u16(7), none, [9]) },
      { name: 'PUBLISH QoS 2 DUP', bytes: packet(0x3d, field('t'), u16(65_535), none) },
      { name: 'PUBACK', bytes: packet(0x40, u16(1)) },
      { name: 'PUBREC', bytes: packet(0x50, u16(2)) },
      { name: 'PUBREL', bytes: packet(0x62, u16(3)) },
      { name: 'PUBCOMP', bytes: packet(0x70, u16(4)) },
      {
        name: 'SUBSCRIBE',
        bytes: packet(0x82, u16(5), none, field('a/+/#'), 1, field('$share/g/q'), 2),
      },
      { name: 'UNSUBSCRIBE', bytes: packet(0xa2, u16(6), none, field('a/+/#'), field('b')) },
      { name: 'PINGREQ', bytes: packet(0xc0) },
      { name: 'DISCONNECT', bytes: packet(0xe0) },
    ].map((sample) => ({ ...sample, version }));
  }),
  {
    name: 'PUBLISH with properties',
    version: 5,
    bytes: packet(
      0x32,
      field(''),
      u16(8),
      properties([0x23, ...u16(3)], everyMessageProperty),
      [1, 2],
    ),
  },
  { name: 'PUBACK with reason', version: 5, bytes: packet(0x40, u16(1), 0x10) },
  {
    name: 'PUBREC with properties',
    version: 5,
    bytes: packet(
      0x50,
      u16(1),
      0x97,
      properties([0x1f, ...field('full')], [0x26], field('k'), field('v')),
    ),
  },
  { name: 'PUBREL with reason', version: 5, bytes: packet(0x62, u16(1), 0x92, properties()) },
  { name: 'PUBCOMP with reason', version: 5, bytes: packet(0x70, u16(1), 0x92) },
  {
    name: 'SUBSCRIBE with properties',
    version: 5,
    bytes: packet(0x82, u16(5), properties([0x0b, ...varint(268_435_455)]), field('#'), 0x2e),
  },
  {
    name: 'DISCONNECT with properties',
    version: 5,
    bytes: packet(0xe0, 0x04, properties([0x11, ...u32(9)], [0x1f, ...field('bye')])),
  },
  { name: 'AUTH', version: 5, bytes: packet(0xf0) },
  {
    name: 'AUTH with properties',
    version: 5,
    bytes: packet(0xf0, 0x18, properties([0x15, ...field('S')], [0x16, ...field('data')])),
  },
];

export const sampleConnects: readonly SamplePacket[] = [
  { name: 'CONNECT 3.1.1', version: 4, bytes: connect(4) },
  { name: 'CONNECT 5.0', version: 5, bytes: connect(5) },
  {
    name: 'CONNECT 3.1.1 with all',
    version: 4,
    bytes: packet(
      0x10,
      field('MQTT'),
      4,
      0xf6,
      u16(60),
      field('client'),
      field('will/topic'),
      field('gone'),
      field('user'),
      field('secret'),
    ),
  },
  {
    name: 'CONNECT 5.0 with all',
    version: 5,
    bytes: packet(
      0x10,
      field('MQTT'),
      5,
      0xf6,
      u16(65_535),
      properties(
        [0x11, ...u32(0xffff_ffff)],
        [0x21, ...u16(20)],
        [0x27, ...u32(1_000_000)],
        [0x22, ...u16(10)],
        [0x19, 1],
        [0x17, 0],
        [0x26, ...field('x'), ...field('y')],
        [0x15, ...field('SCRAM')],
        [0x16, ...field('first')],
      ),
      field('client'),
      properties([0x18, ...u32(5)], everyMessageProperty),
      field('will/topic'),
      field('gone'),
      field('user'),
      field('secret'),
    ),
  },
];
