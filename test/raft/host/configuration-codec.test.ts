/** Configurations as bytes: what goes in comes out, and nothing else is taken for one. */

import { fc } from '../../support/properties.ts';
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

const rescue = fc.record({
  by: fc.string(),
  atMs: fc.maxSafeNat(),
  lastIndex: fc.maxSafeNat(),
  lastTerm: fc.maxSafeNat(),
  givenUp: fc.array(fc.string(), { maxLength: 5 }),
});

describe('a configuration', () => {
  it('comes out as it went in', () => {
    fc.assert(
      fc.property(fc.array(member, { maxLength: 9 }), fc.option(rescue), (members, rescued) => {
        const configuration = rescued === null ? { members } : { members, rescue: rescued };
        expect(decodeConfiguration(encodeConfiguration(configuration))).toEqual(configuration);
      }),
    );
  });

  it('is refused where it is cut off anywhere, or something stands behind it', () => {
    const plain = { id: 'node-1', role: 'voter', address: 'host:1' } as const;
    const rescued = { by: 'x', atMs: 1, lastIndex: 2, lastTerm: 3, givenUp: ['node-1'] };
    for (const configuration of [
      { members: [plain] },
      { members: [{ ...plain, incarnation: '0a1b' }] },
      { members: [plain], rescue: rescued },
    ]) {
      const bytes = encodeConfiguration(configuration);
      for (let length = 0; length < bytes.length; length++) {
        expect(() => decodeConfiguration(bytes.subarray(0, length))).toThrow(ConfigurationError);
      }
      expect(() => decodeConfiguration(new Uint8Array([...bytes, 0]))).toThrow(ConfigurationError);
    }
  });

  it('has one form: what is read from changed bytes is written as those bytes', () => {
    const one = (bytes: Uint8Array): void => {
      let read: ReturnType<typeof decodeConfiguration>;
      try {
        read = decodeConfiguration(bytes);
      } catch {
        return;
      }
      expect(encodeConfiguration(read)).toEqual(bytes);
    };
    for (const format of [1, 2, 3]) one(new Uint8Array([format, 0, 0]));
    fc.assert(
      fc.property(
        fc.array(member, { maxLength: 3 }),
        fc.nat(),
        fc.nat(255),
        (members, at, byte) => {
          const bytes = encodeConfiguration({ members });
          bytes[at % Math.min(bytes.length, 12)] = byte;
          one(bytes);
        },
      ),
      { numRuns: 2_000 },
    );
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
