import { describe, expect, test } from 'vitest';

import { FAULTS } from '../../../storage/log/log-types.ts';
import type { Fault } from '../../../storage/log/log-types.ts';
import { SIGHTINGS, sightingOf, verdict, VERDICTS } from '../../../storage/log/verdict.ts';

/** The table of the design, written a second time. */
const TABLE = {
  'nothing-more': ['faulty', 'end'],
  hole: ['faulty', 'torn'],
  'cut-by-end': ['faulty', 'torn'],
  'written-whole': ['faulty', 'faulty'],
  'out-of-sequence': ['faulty', 'faulty'],
  'from-elsewhere': ['faulty', 'faulty'],
  missing: ['faulty', 'faulty'],
} as const;

describe('what recovery decides', () => {
  test.each(SIGHTINGS)('%s, below the mark and at or above it', (sighting) => {
    expect([verdict(sighting, true), verdict(sighting, false)]).toEqual(TABLE[sighting]);
  });

  test('nothing below the mark is ever truncated, whatever is seen', () => {
    for (const row of Object.values(VERDICTS)) expect(row.below).toBe('faulty');
  });

  test('every fault with every piece of evidence has one sighting', () => {
    const bools = [false, true];
    const seen = FAULTS.flatMap((fault) => {
      return bools.flatMap((zeroSector) => {
        return bools.map((cutByEnd) => {
          const sighting = sightingOf({ fault, zeroSector, cutByEnd });
          return `${fault} ${zeroSector ? 'hole' : '-'} ${cutByEnd ? 'cut' : '-'}: ${sighting}`;
        });
      });
    });
    const rows = (fault: Fault, sighting: string): string[] => {
      return ['- -', '- cut', 'hole -', 'hole cut'].map((e) => `${fault} ${e}: ${sighting}`);
    };
    const torn = (fault: Fault): string[] => [
      `${fault} - -: written-whole`,
      `${fault} - cut: cut-by-end`,
      `${fault} hole -: hole`,
      `${fault} hole cut: cut-by-end`,
    ];
    expect(seen).toEqual([
      ...torn('bad-header'),
      ...torn('bad-payload'),
      ...rows('wrong-chain', 'out-of-sequence'),
      ...rows('wrong-order', 'out-of-sequence'),
      ...rows('foreign-log', 'from-elsewhere'),
      ...rows('misdirected', 'from-elsewhere'),
      ...rows('missing-segment', 'missing'),
      ...rows('missing-bytes', 'nothing-more'),
      ...rows('unreadable', 'missing'),
    ]);
  });
});
