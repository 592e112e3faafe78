import { fc } from '../../support/properties.ts';
import { expect, test } from 'vitest';

import { crc32 } from '../../../storage/log/checksum.ts';

test('the polynomial is IEEE: the check value of "123456789" is 0xCBF43926', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf4_3926);
  expect(crc32(new Uint8Array(0))).toBe(0);
});

test('parts chained give the checksum of the whole, on both sides of the native threshold', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1200 }), fc.nat(1200), (bytes, at) => {
      const first = crc32(bytes.subarray(0, at));
      expect(crc32(bytes.subarray(at), first)).toBe(crc32(bytes));
    }),
  );
});
