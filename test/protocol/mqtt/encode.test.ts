import { Buffer } from 'node:buffer';

import { expect, test } from 'vitest';

import type { Acknowledgeable } from '../../../src/broker/ports.ts';
import { ByteWriter } from '../../../src/protocol/bytes.ts';
import {
  encodeAuth,
  encodeConnack,
  encodeDisconnect,
  encodePingresp,
  encodePuback,
  encodePubackRefused,
  encodePubcomp,
  encodePubrec,
  encodePubrecRefused,
  encodePubrel,
  encodeSuback,
  encodeUnsuback,
  type Recipient,
} from '../../../src/protocol/mqtt/encode.ts';
import { connectReturnCode, type ConnectReason } from '../../../src/protocol/mqtt/reason-codes.ts';

const four: Recipient = { version: 4, maximumPacketSize: Number.POSITIVE_INFINITY };
const five: Recipient = { version: 5, maximumPacketSize: Number.POSITIVE_INFINITY };
const proof = 1 as Acknowledgeable;

function hexOf(write: (out: ByteWriter) => unknown): string {
  const out = new ByteWriter();
  write(out);
  return Buffer.from(out.take()).toString('hex');
}

test('D5: a number is no proof: a positive acknowledgement without one does not compile', () => {
  type Takes<Value, Encode extends (...args: never[]) => void> = Value extends Parameters<Encode>[2]
    ? true
    : false;
  const numberIsProof: Takes<number, typeof encodePuback> = false;
  const nothingIsProof: Takes<undefined, typeof encodePubrec> = false;
  const proofIsProof: Takes<Acknowledgeable, typeof encodePuback> = true;
  expect([numberIsProof, nothingIsProof, proofIsProof]).toEqual([false, false, true]);
});

test('golden: acknowledgements are four bytes in both versions (3.4.2.1)', () => {
  expect(hexOf((out) => encodePuback(out, 0x1234, proof))).toBe('40021234');
  expect(hexOf((out) => encodePubrec(out, 1, proof))).toBe('50020001');
  expect(hexOf((out) => encodePubrel(out, 65_535))).toBe('6202ffff');
  expect(hexOf((out) => encodePubcomp(out, 2))).toBe('70020002');
  expect(hexOf((out) => encodePingresp(out))).toBe('d000');
});

test('golden: with a reason, and with properties', () => {
  const refused = { packetId: 7, reasonCode: 0x97 } as const;
  expect(hexOf((out) => encodePubackRefused(out, five, refused))).toBe('4003000797');
  expect(hexOf((out) => encodePubrecRefused(out, five, refused))).toBe('5003000797');
  expect(hexOf((out) => encodePubrel(out, 7, 0x92))).toBe('6203000792');
  expect(hexOf((out) => encodePubcomp(out, 7, 0x92))).toBe('7003000792');
  const said = { ...refused, properties: { reasonString: 'full' } };
  expect(hexOf((out) => encodePubackRefused(out, five, said))).toBe('400b000797071f000466756c6c');
});

test('golden: CONNACK', () => {
  const accepted = { sessionPresent: true, reasonCode: 0 } as const;
  expect(hexOf((out) => encodeConnack(out, four, accepted))).toBe('20020100');
  expect(hexOf((out) => encodeConnack(out, five, accepted))).toBe('2003010000');
  const refused = { sessionPresent: true, reasonCode: 0x84 } as const;
  expect(hexOf((out) => encodeConnack(out, four, refused))).toBe('20020001');
  expect(hexOf((out) => encodeConnack(out, five, refused))).toBe('2003008400');
  const properties = { receiveMaximum: 20, maximumQos: 1, retainAvailable: false } as const;
  expect(hexOf((out) => encodeConnack(out, five, { ...accepted, properties }))).toBe(
    '200a010007210014240125' + '00',
  );
});

test('a reason that 3.1.1 has no return code for is not answered at all [MQTT-3.2.2-6]', () => {
  const out = new ByteWriter();
  expect(encodeConnack(out, four, { sessionPresent: false, reasonCode: 0x81 })).toBe(false);
  expect(out.pending).toBe(0);
  const answered: ConnectReason[] = [0x00, 0x84, 0x85, 0x88, 0x86, 0x87];
  expect(answered.map(connectReturnCode)).toEqual([0, 1, 2, 3, 4, 5]);
});

test('golden: SUBACK and UNSUBACK; 3.1.1 knows one failure and no UNSUBACK codes', () => {
  const suback = { packetId: 9, reasonCodes: [0, 1, 2, 0x87] } as const;
  expect(hexOf((out) => encodeSuback(out, four, suback))).toBe('9006000900010280');
  expect(hexOf((out) => encodeSuback(out, five, suback))).toBe('900700090000010287');
  const unsuback = { packetId: 9, reasonCodes: [0, 0x11] } as const;
  expect(hexOf((out) => encodeUnsuback(out, four, unsuback))).toBe('b0020009');
  expect(hexOf((out) => encodeUnsuback(out, five, unsuback))).toBe('b0050009000011');
});

test('golden: DISCONNECT and AUTH in their shortest forms (3.14.2.1, 3.15.2.1)', () => {
  expect(hexOf((out) => encodeDisconnect(out, five, { reasonCode: 0 }))).toBe('e000');
  expect(hexOf((out) => encodeDisconnect(out, five, { reasonCode: 0x8e }))).toBe('e0018e');
  const moved = { reasonCode: 0x9d, properties: { serverReference: 'b' } } as const;
  expect(hexOf((out) => encodeDisconnect(out, five, moved))).toBe('e0069d041c000162');
  const auth = { reasonCode: 0x18, properties: { authenticationMethod: 'S' } } as const;
  expect(hexOf((out) => encodeAuth(out, five, auth))).toBe('f006180415000153');
});

const said = {
  reasonString: 'a reason string that is there for people',
  userProperties: [['name', 'a value that is there for people']],
} as const;

type Encode = (out: ByteWriter, recipient: Recipient) => unknown;

const SPEAKERS: readonly (readonly [string, Encode])[] = [
  [
    'CONNACK',
    (out, to) =>
      encodeConnack(out, to, { sessionPresent: false, reasonCode: 0x87, properties: said }),
  ],
  [
    'PUBACK',
    (out, to) => encodePubackRefused(out, to, { packetId: 1, reasonCode: 0x87, properties: said }),
  ],
  [
    'PUBREC',
    (out, to) => encodePubrecRefused(out, to, { packetId: 1, reasonCode: 0x87, properties: said }),
  ],
  [
    'SUBACK',
    (out, to) => encodeSuback(out, to, { packetId: 1, reasonCodes: [0x87], properties: said }),
  ],
  [
    'UNSUBACK',
    (out, to) => encodeUnsuback(out, to, { packetId: 1, reasonCodes: [0x87], properties: said }),
  ],
  ['DISCONNECT', (out, to) => encodeDisconnect(out, to, { reasonCode: 0x87, properties: said })],
];

test.each(SPEAKERS)(
  '%s is never larger than the client takes: first user properties, then the reason string go',
  (_, encode) => {
    const sizeAt = (maximumPacketSize: number): number => {
      const out = new ByteWriter();
      encode(out, { version: 5, maximumPacketSize });
      return out.pending;
    };
    const whole = sizeAt(Number.POSITIVE_INFINITY);
    const text = (hex: string): string => Buffer.from(hex, 'hex').toString('latin1');
    for (let limit = 5; limit <= whole; limit++) {
      expect(sizeAt(limit)).toBeLessThanOrEqual(limit);
      const sent = text(hexOf((out) => encode(out, { version: 5, maximumPacketSize: limit })));
      expect(sent.includes('a value')).toBe(limit >= whole);
      if (limit === whole - 1) expect(sent).toContain('a reason string');
    }
    expect(sizeAt(whole)).toBe(whole);
  },
);

test('what the client has no room for at all is not written, and said so', () => {
  const tiny: Recipient = { version: 5, maximumPacketSize: 4 };
  const out = new ByteWriter();
  const properties = { assignedClientIdentifier: 'an id that is not optional' };
  expect(encodeConnack(out, tiny, { sessionPresent: false, reasonCode: 0, properties })).toBe(
    false,
  );
  expect(encodeSuback(out, tiny, { packetId: 1, reasonCodes: [0] })).toBe(false);
  expect(encodeUnsuback(out, tiny, { packetId: 1, reasonCodes: [0] })).toBe(false);
  expect(
    encodeAuth(out, tiny, { reasonCode: 0x18, properties: { authenticationMethod: 'S' } }),
  ).toBe(false);
  expect(encodeDisconnect(out, { version: 5, maximumPacketSize: 2 }, { reasonCode: 0x8b })).toBe(
    false,
  );
  expect(out.pending).toBe(0);
});

test('a string or property that MQTT cannot carry is a bug of ours, not a broken packet', () => {
  const out = new ByteWriter();
  const properties = { reasonString: 'x'.repeat(65_536) };
  expect(() => encodeDisconnect(out, five, { reasonCode: 0x80, properties })).toThrow(RangeError);
  const unknown = { mistake: 1 } as object;
  expect(() => encodeDisconnect(out, five, { reasonCode: 0x80, properties: unknown })).toThrow(
    'mistake',
  );
});
