/** What we encode, mqtt-packet decodes to the same. */

import { fc } from '../../support/properties.ts';
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
} from '../../../src/protocol/mqtt/encode.ts';
import {
  connackProperties,
  diagnosticProperties,
  packetId,
  text,
  version,
} from '../../support/mqtt-arbitraries.ts';
import { plain } from '../../support/mqtt-decoding.ts';
import { parse, toOracle } from '../../support/mqtt-oracle.ts';

const runs = { numRuns: 200 };
const proof = 1 as Acknowledgeable;

function to(speaks: 4 | 5) {
  return { version: speaks, maximumPacketSize: Number.POSITIVE_INFINITY };
}

function read(speaks: 4 | 5, write: (out: ByteWriter) => unknown): Record<string, unknown> {
  const out = new ByteWriter();
  write(out);
  return parse(out.take(), speaks);
}

function expectProperties(packet: Record<string, unknown>, properties: object | undefined): void {
  expect({ ...((packet['properties'] ?? {}) as object) }).toEqual(
    plain(toOracle(properties) ?? {}),
  );
}

test('CONNACK', () => {
  const reason = fc.constantFrom(0x00, 0x84, 0x85, 0x86, 0x87, 0x88);
  fc.assert(
    fc.property(
      version,
      fc.boolean(),
      reason,
      connackProperties,
      (speaks, present, code, properties) => {
        const reasonCode = code as 0x00 | 0x84 | 0x85 | 0x86 | 0x87 | 0x88;
        const connack = { sessionPresent: present, reasonCode, properties };
        const packet = read(speaks, (out) => encodeConnack(out, to(speaks), connack));
        expect(packet).toMatchObject({ cmd: 'connack', sessionPresent: present && code === 0 });
        if (speaks === 4) {
          expect(packet['returnCode']).toBe([0, 0x84, 0x85, 0x88, 0x86, 0x87].indexOf(code));
          return;
        }
        expect(packet['reasonCode']).toBe(code);
        expectProperties(packet, properties);
      },
    ),
    runs,
  );
});

test('PUBACK, PUBREC, PUBREL, PUBCOMP', () => {
  fc.assert(
    fc.property(version, packetId, diagnosticProperties, (speaks, messageId, properties) => {
      for (const [cmd, encode] of [
        ['puback', (out: ByteWriter) => encodePuback(out, messageId, proof)],
        ['pubrec', (out: ByteWriter) => encodePubrec(out, messageId, proof)],
        ['pubrel', (out: ByteWriter) => encodePubrel(out, messageId)],
        ['pubcomp', (out: ByteWriter) => encodePubcomp(out, messageId)],
      ] as const) {
        expect(read(speaks, encode)).toMatchObject({ cmd, messageId });
      }
      const refused = { packetId: messageId, reasonCode: 0x97, properties } as const;
      const puback = read(5, (out) => encodePubackRefused(out, to(5), refused));
      const pubrec = read(5, (out) => encodePubrecRefused(out, to(5), refused));
      for (const packet of [puback, pubrec]) {
        expect(packet).toMatchObject({ messageId, reasonCode: 0x97 });
        expectProperties(packet, properties);
      }
      const gone = read(5, (out) => encodePubcomp(out, messageId, 0x92));
      expect(gone).toMatchObject({ cmd: 'pubcomp', messageId, reasonCode: 0x92 });
    }),
    runs,
  );
});

test('SUBACK and UNSUBACK', () => {
  const codes = fc.array(fc.constantFrom(0x00 as const, 0x80 as const, 0x8f as const), {
    minLength: 1,
  });
  fc.assert(
    fc.property(
      version,
      packetId,
      codes,
      diagnosticProperties,
      (speaks, id, reasonCodes, properties) => {
        const answer = { packetId: id, reasonCodes, properties };
        const suback = read(speaks, (out) => encodeSuback(out, to(speaks), answer));
        const granted =
          speaks === 5 ? reasonCodes : reasonCodes.map((code) => (code > 2 ? 0x80 : code));
        expect(suback).toMatchObject({ cmd: 'suback', messageId: id, granted });
        const unsuback = read(speaks, (out) => encodeUnsuback(out, to(speaks), answer));
        expect(unsuback).toMatchObject({ cmd: 'unsuback', messageId: id });
        if (speaks === 4) return;
        expect(unsuback['granted']).toEqual(reasonCodes);
        expectProperties(suback, properties);
        expectProperties(unsuback, properties);
      },
    ),
    runs,
  );
});

test('DISCONNECT, AUTH and PINGRESP', () => {
  fc.assert(
    fc.property(diagnosticProperties, text, (properties, name) => {
      const moved = { ...properties, serverReference: name };
      const disconnect = read(5, (out) =>
        encodeDisconnect(out, to(5), { reasonCode: 0x9c, properties: moved }),
      );
      expect(disconnect).toMatchObject({ cmd: 'disconnect', reasonCode: 0x9c });
      expectProperties(disconnect, moved);
      const asked = { ...properties, authenticationMethod: name };
      const auth = read(5, (out) =>
        encodeAuth(out, to(5), { reasonCode: 0x18, properties: asked }),
      );
      expect(auth).toMatchObject({ cmd: 'auth', reasonCode: 0x18 });
      expectProperties(auth, asked);
    }),
    runs,
  );
  expect(read(4, encodePingresp)).toMatchObject({ cmd: 'pingresp' });
});
