/** Configurations as bytes: what goes in comes out, and nothing else is taken for one. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ConfigurationError,
  decodeConfiguration,
  encodeConfiguration,
} from '../../../raft/host/configuration-codec.ts';

const member = fc.record(
  {
    id: fc.string({ unit: 'grapheme' }),
    role: fc.constantFrom('voter' as const, 'learner' as const, 'joining' as const),
    address: fc.string(),
    incarnation: fc.string({ minLength: 1 }),
  },
  { requiredKeys: ['id', 'role', 'address'] },
);

describe('a configuration', () => {
  it('comes out as it went in', () => {
    fc.assert(
      fc.property(fc.array(member, { maxLength: 9 }), (members) => {
        expect(decodeConfiguration(encodeConfiguration({ members }))).toEqual({ members });
      }),
    );
  });

  it('is refused where it is cut off anywhere, or something stands behind it', () => {
    const plain = { id: 'node-1', role: 'voter', address: 'host:1' } as const;
    for (const one of [plain, { ...plain, incarnation: '0a1b' }]) {
      const bytes = encodeConfiguration({ members: [one] });
      for (let length = 0; length < bytes.length; length++) {
        expect(() => decodeConfiguration(bytes.subarray(0, length))).toThrow(ConfigurationError);
      }
      expect(() => decodeConfiguration(new Uint8Array([...bytes, 0]))).toThrow(ConfigurationError);
    }
  });

  it('bytes of any kind give a configuration or a ConfigurationError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          decodeConfiguration(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigurationError);
        }
      }),
    );
  });
});
