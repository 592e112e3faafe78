import { fc } from '../../support/properties.ts';
import { describe, expect, test } from 'vitest';

import { decodeManifest, encodeManifest } from '../../../storage/log/manifest.ts';
import type { Manifest } from '../../../storage/log/manifest.ts';
import { crc32 } from '../../../storage/log/checksum.ts';
import type { Epoch, FilePosition, LogIndex, SegmentId } from '../../../storage/log/positions.ts';

const u32 = fc.nat(0xffff_fffe);
const manifests: fc.Arbitrary<Manifest> = fc
  .record({
    logId: fc.stringMatching(/^[0-9a-f]{16}$/),
    clean: fc.boolean(),
    start: fc.maxSafeNat(),
    epochBeforeStart: fc.maxSafeNat(),
    durable: fc.maxSafeNat(),
    term: fc.maxSafeNat(),
    vote: fc.string({ unit: 'grapheme', maxLength: 30 }),
    markSegment: u32,
    markPosition: u32,
    nextSegmentId: u32,
    lengths: fc.array(u32, { maxLength: 5 }),
    open: fc.boolean(),
  })
  .map((made) => {
    const segments = made.lengths.map((length, nth) => {
      const isOpen = made.open && nth === made.lengths.length - 1;
      return {
        segmentId: (nth + 1) as SegmentId,
        firstIndex: (nth * 10 + 1) as LogIndex,
        length: isOpen ? undefined : (length as FilePosition),
      };
    });
    return {
      logId: made.logId,
      clean: made.clean,
      start: made.start as LogIndex,
      epochBeforeStart: made.epochBeforeStart as Epoch,
      durable: made.durable as LogIndex,
      hardState: { term: made.term, vote: made.vote },
      mark: {
        segmentId: made.markSegment as SegmentId,
        position: made.markPosition as FilePosition,
      },
      nextSegmentId: made.nextSegmentId as SegmentId,
      segments,
    };
  });

describe('manifest', () => {
  test('what was encoded is decoded', () => {
    fc.assert(
      fc.property(manifests, (manifest) => {
        expect(decodeManifest(encodeManifest(manifest))).toEqual(manifest);
      }),
    );
  });

  test('every flipped byte and every truncation is refused as damage', () => {
    fc.assert(
      fc.property(manifests, (manifest) => {
        const bytes = encodeManifest(manifest);
        for (let at = 0; at < bytes.length; at += 1) {
          const flipped = bytes.slice();
          flipped[at] = (flipped[at] ?? 0) ^ 0x10;
          expect(() => decodeManifest(flipped)).toThrow('damaged');
          expect(() => decodeManifest(bytes.subarray(0, at))).toThrow('damaged');
        }
      }),
      { numRuns: 10 },
    );
  });

  test('a format from the future is named as such, not as damage', () => {
    const [manifest] = fc.sample(manifests, 1);
    const bytes = encodeManifest(manifest!);
    const view = new DataView(bytes.buffer);
    view.setUint16(4, 2, true);
    view.setUint32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true);
    expect(() => decodeManifest(bytes)).toThrow('format 2');
  });
});
