import { Buffer } from 'node:buffer';

import { fc } from '../support/properties.ts';
import { expect, test } from 'vitest';

import { ByteReader, ByteWriter, utf8Size, utf8Text } from '../../src/protocol/bytes.ts';

function textOf(bytes: Uint8Array): string | undefined {
  const padded = Buffer.concat([Buffer.of(0xff), bytes, Buffer.of(0xff)]);
  return utf8Text(padded, 1, 1 + bytes.length);
}

test('well-formed text comes out as it went in, at any length, with its byte order mark', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      expect(textOf(Buffer.from(text))).toBe(text);
    }),
  );
  expect(textOf(Buffer.from('\ufeffx'))).toBe('\ufeffx');
  expect(textOf(Buffer.from('a'.repeat(70_000)))).toBe('a'.repeat(70_000));
});

test.each([
  ['a surrogate', [0xed, 0xa0, 0x80]],
  ['a surrogate pair', [0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80]],
  ['an overlong form', [0xc0, 0x80]],
  ['a cut sequence', [0xe2, 0x82]],
  ['a lone continuation', [0x80]],
  ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
  ['an impossible byte', [0xff]],
])('bytes with %s are not text [MQTT-1.5.4-1]', (_, bad) => {
  expect(textOf(Uint8Array.from(bad))).toBeUndefined();
  expect(
    textOf(Buffer.concat([Buffer.from('a'.repeat(100)), Uint8Array.from(bad)])),
  ).toBeUndefined();
});

test('a reader never passes its end: the first overrun is the fault, and all later reads are empty', () => {
  const reader = new ByteReader('overrun');
  reader.reset(Buffer.of(1, 2, 3, 4, 5), 1, 4);
  expect(reader.u8()).toBe(2);
  expect(reader.u32()).toBe(0);
  expect(reader.fault).toBe('overrun');
  expect([reader.u8(), reader.u16(), reader.view(1).length, reader.remaining]).toEqual([
    0, 0, 0, 0,
  ]);
  reader.fail('later');
  expect(reader.fault).toBe('overrun');
  reader.reset(Buffer.of(0xff, 0xff, 0xff, 0xff), 0, 4);
  expect([reader.fault, reader.u32()]).toEqual([undefined, 0xffff_ffff]);
});

test('what was taken from a writer is never written to again, and nothing is lost or doubled', () => {
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('append' as const), size: fc.integer({ min: 0, max: 40_000 }) }),
    fc.record({ kind: fc.constant('u16' as const), size: fc.integer({ min: 0, max: 65_535 }) }),
    fc.record({ kind: fc.constant('text' as const), size: fc.integer({ min: 0, max: 100 }) }),
    fc.record({ kind: fc.constant('take' as const), size: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const writer = new ByteWriter();
      const taken: { readonly bytes: Uint8Array; readonly asTaken: string }[] = [];
      let expected = Buffer.alloc(0);
      let stamp = 0;
      const take = (): void => {
        expect(writer.pending).toBe(expected.length);
        const bytes = writer.take();
        expect(Buffer.compare(bytes, expected)).toBe(0);
        taken.push({ bytes, asTaken: expected.toString('latin1') });
        expected = Buffer.alloc(0);
      };
      for (const { kind, size } of operations) {
        stamp = (stamp + 1) & 255;
        if (kind === 'take') {
          take();
        } else if (kind === 'u16') {
          writer.u16(size);
          expected = Buffer.concat([expected, Buffer.of(size >> 8, size & 255)]);
        } else if (kind === 'text') {
          const text = 'é'.repeat(size % 3) + 'x'.repeat(size);
          writer.text(text, utf8Size(text));
          expected = Buffer.concat([expected, Buffer.from(text)]);
        } else {
          const part = Buffer.alloc(size, stamp);
          writer.append(part);
          expected = Buffer.concat([expected, part]);
        }
      }
      take();
      for (const { bytes, asTaken } of taken)
        expect(Buffer.from(bytes).toString('latin1')).toBe(asTaken);
    }),
    { numRuns: 100 },
  );
});

test('a quiet writer keeps at most 16 KiB', () => {
  const writer = new ByteWriter();
  writer.append(Buffer.alloc(1_000_000));
  writer.take();
  expect(writer.bytes.length).toBe(0);
  writer.u8(1);
  writer.take();
  expect(writer.bytes.length).toBeLessThanOrEqual(16_384);
});
