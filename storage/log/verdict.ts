/**
 * The table by which recovery decides over a place where the log does not go on soundly.
 *
 * `mark` is the place up to which the log is known to be synced: the highest durable mark of any
 * sound batch or of the manifest. What lies below it was acknowledged, or may have been, and is
 * never truncated. At or above it, a sector that reads as never written shows that a power cut tore
 * the last write: that may go, with everything behind it. Bytes that were all written and went bad
 * are no torn write, wherever they lie.
 */

import type { Fault } from './log-types.ts';

export const SIGHTINGS = [
  /** Zeros to the end of the file, or the end of the file. */
  'nothing-more',
  /** A bad batch, or header, with a sector that was never written. */
  'hole',
  /** A bad batch that the end of the file cuts. */
  'cut-by-end',
  /** A bad batch without a hole. */
  'written-whole',
  /** A sound batch that does not follow the one before it. */
  'out-of-sequence',
  /** A sound header of another log, segment or position. */
  'from-elsewhere',
  /** A segment that the manifest names and that is not there, or indexes missing between two. */
  'missing',
] as const;
export type Sighting = (typeof SIGHTINGS)[number];

export type Verdict = 'end' | 'torn' | 'faulty';

interface Row {
  readonly below: Verdict;
  readonly atOrAbove: Verdict;
}

export const VERDICTS = {
  'nothing-more': { below: 'faulty', atOrAbove: 'end' },
  hole: { below: 'faulty', atOrAbove: 'torn' },
  'cut-by-end': { below: 'faulty', atOrAbove: 'torn' },
  'written-whole': { below: 'faulty', atOrAbove: 'faulty' },
  'out-of-sequence': { below: 'faulty', atOrAbove: 'faulty' },
  'from-elsewhere': { below: 'faulty', atOrAbove: 'faulty' },
  missing: { below: 'faulty', atOrAbove: 'faulty' },
} as const satisfies Record<Sighting, Row>;

export function verdict(sighting: Sighting, belowMark: boolean): Verdict {
  const row = VERDICTS[sighting];
  return belowMark ? row.below : row.atOrAbove;
}

export interface Evidence {
  readonly fault: Fault;
  readonly zeroSector: boolean;
  readonly cutByEnd: boolean;
}

export function sightingOf({ fault, zeroSector, cutByEnd }: Evidence): Sighting {
  switch (fault) {
    case 'bad-header':
    case 'bad-payload':
      if (cutByEnd) return 'cut-by-end';
      return zeroSector ? 'hole' : 'written-whole';
    case 'wrong-chain':
    case 'wrong-order':
      return 'out-of-sequence';
    case 'foreign-log':
    case 'misdirected':
      return 'from-elsewhere';
    case 'missing-bytes':
      return 'nothing-more';
    case 'missing-segment':
    case 'unreadable':
      return 'missing';
  }
}
