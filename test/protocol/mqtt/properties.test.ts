/** The table of properties against table 2-4 of the specification, written down a second time. */

import { expect, test } from 'vitest';

import { bytes, field, packet, type Part, properties, u16, u32 } from '../../support/mqtt-bytes.ts';
import { type Decoded, decodeAll, decodeFromStart } from '../../support/mqtt-decoding.ts';

type Carrier =
  | 'CONNECT'
  | 'will'
  | 'PUBLISH'
  | 'PUBACK'
  | 'PUBREC'
  | 'PUBREL'
  | 'PUBCOMP'
  | 'SUBSCRIBE'
  | 'UNSUBSCRIBE'
  | 'DISCONNECT'
  | 'AUTH';

const acknowledgements = ['PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP'] as const;
const signOn = ['CONNECT', 'AUTH'] as const;

/** What a client may send, and a value that is legal. Those without a carrier are the server's. */
interface Specified {
  readonly id: number;
  readonly value: readonly Part[];
  readonly carriers: readonly Carrier[];
}

function property(id: number, value: readonly Part[], ...carriers: readonly Carrier[]): Specified {
  return { id, value, carriers };
}

/** What a client may send, and a value that is legal. Those without a carrier are the server's. */
const SPECIFIED: readonly Specified[] = [
  property(0x01, [1], 'PUBLISH', 'will'),
  property(0x02, [u32(1)], 'PUBLISH', 'will'),
  property(0x03, [field('a')], 'PUBLISH', 'will'),
  property(0x08, [field('a')], 'PUBLISH', 'will'),
  property(0x09, [field('a')], 'PUBLISH', 'will'),
  property(0x0b, [1], 'SUBSCRIBE'),
  property(0x11, [u32(1)], 'CONNECT', 'DISCONNECT'),
  property(0x12, [field('a')]),
  property(0x13, [u16(1)]),
  property(0x15, [field('a')], ...signOn),
  property(0x16, [field('a')], ...signOn),
  property(0x17, [1], 'CONNECT'),
  property(0x18, [u32(1)], 'will'),
  property(0x19, [1], 'CONNECT'),
  property(0x1a, [field('a')]),
  property(0x1c, [field('a')], 'DISCONNECT'),
  property(0x1f, [field('a')], ...acknowledgements, 'DISCONNECT', 'AUTH'),
  property(0x21, [u16(1)], 'CONNECT'),
  property(0x22, [u16(1)], 'CONNECT'),
  property(0x23, [u16(1)], 'PUBLISH'),
  property(0x24, [1]),
  property(0x25, [1]),
  property(
    0x26,
    [field('a'), field('b')],
    ...acknowledgements,
    ...signOn,
    'will',
    'PUBLISH',
    'SUBSCRIBE',
    'UNSUBSCRIBE',
    'DISCONNECT',
  ),
  property(0x27, [u32(1)], 'CONNECT'),
  property(0x28, [1]),
  property(0x29, [1]),
  property(0x2a, [1]),
];

const METHOD = [0x15, ...field('m')];

/** A packet that is legal but for what the properties may be. */
const PACKETS: Readonly<Record<Carrier, (id: number, ...part: readonly Part[]) => Decoded[]>> = {
  CONNECT: (id, ...part) => {
    // Authentication data is nothing without a method.
    const block = properties(...(id === 0x16 ? [METHOD] : []), ...part);
    return decodeFromStart(packet(0x10, field('MQTT'), 5, 2, u16(0), block, field('c')));
  },
  will: (_, ...part) =>
    decodeFromStart(
      packet(
        0x10,
        field('MQTT'),
        5,
        6,
        u16(0),
        0,
        field('c'),
        properties(...part),
        field('w'),
        field('p'),
      ),
    ),
  PUBLISH: (_, ...part) => decodeAll(5, packet(0x30, field('t'), properties(...part))),
  PUBACK: (_, ...part) => decodeAll(5, packet(0x40, u16(1), 0, properties(...part))),
  PUBREC: (_, ...part) => decodeAll(5, packet(0x50, u16(1), 0, properties(...part))),
  PUBREL: (_, ...part) => decodeAll(5, packet(0x62, u16(1), 0, properties(...part))),
  PUBCOMP: (_, ...part) => decodeAll(5, packet(0x70, u16(1), 0, properties(...part))),
  SUBSCRIBE: (_, ...part) => decodeAll(5, packet(0x82, u16(1), properties(...part), field('a'), 0)),
  UNSUBSCRIBE: (_, ...part) => decodeAll(5, packet(0xa2, u16(1), properties(...part), field('a'))),
  DISCONNECT: (_, ...part) => decodeAll(5, packet(0xe0, 0, properties(...part))),
  AUTH: (id, ...part) =>
    decodeAll(5, packet(0xf0, 0x18, properties(...(id === 0x15 ? [] : [METHOD]), ...part))),
};

const CARRIERS = Object.keys(PACKETS) as Carrier[];

test.each(SPECIFIED)(
  'property $id may stand where table 2-4 says, and nowhere else',
  ({ id, value, carriers }) => {
    const raw = bytes(id, ...value);
    for (const carrier of CARRIERS) {
      const [decoded] = PACKETS[carrier](id, raw);
      if (carriers.includes(carrier)) {
        expect([carrier, decoded?.kind]).not.toEqual([carrier, 'protocol-error']);
        continue;
      }
      const inPublish = id === 0x0b && carrier === 'PUBLISH';
      const fault = inPublish ? 'subscriptionIdInPublish' : 'propertyNotAllowed';
      expect([carrier, decoded]).toMatchObject([carrier, { kind: 'protocol-error', fault }]);
    }
  },
);

test.each(SPECIFIED)(
  'property $id may stand there once, a user property often',
  ({ id, value, carriers }) => {
    const raw = bytes(id, ...value);
    for (const carrier of carriers) {
      const [decoded] = PACKETS[carrier](id, raw, raw);
      if (id === 0x26) expect(decoded?.kind).not.toBe('protocol-error');
      else expect(decoded).toMatchObject({ fault: 'propertyRepeated' });
    }
  },
);

test('no other identifier exists', () => {
  const known = new Set(SPECIFIED.map(({ id }) => id));
  for (let id = 0; id < 128; id++) {
    if (known.has(id)) continue;
    for (const carrier of CARRIERS) {
      expect(PACKETS[carrier](id, [id, 1, 1, 1, 1])[0]).toMatchObject({ fault: 'propertyUnknown' });
    }
  }
});
