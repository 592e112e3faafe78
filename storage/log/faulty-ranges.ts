/**
 * From the stretches that recovery found to the ranges that callers see: neighbours of unknown
 * content become one range, and each gets a sentence for people.
 */

import type { Finding } from './finding.ts';
import type { FaultyRange } from './log-types.ts';
import type { LogIndex } from './positions.ts';

const MEANING = {
  'bad-header': 'a header whose checksum is wrong',
  'bad-payload': 'a payload whose checksum is wrong',
  'wrong-chain':
    'a batch that does not follow the one before it (stale, or written to the wrong place)',
  'wrong-order':
    'a batch whose index or epoch does not follow (stale, or written to the wrong place)',
  'foreign-log': 'a batch of another log',
  misdirected: 'a batch that belongs to another place (a misdirected write)',
  'missing-segment': 'a segment is missing',
  'missing-bytes': 'data that was synced is not there',
  unreadable: 'the disk cannot read it',
} as const satisfies Record<FaultyRange['fault'], string>;

const AND_MORE = ', and more right behind it';

/**
 * What was found and where, without the file's name: a finding may concern a file that is not
 * there.
 */
export function describeFinding(finding: Pick<Finding, 'place' | 'end' | 'fault'>): string {
  const { place, end, fault } = finding;
  return `segment ${place.segmentId}, bytes ${place.position} to ${end}: ${MEANING[fault]}`;
}

/** `hardStateKnownFrom`: findings below this number hide no hard state that counts. */
export function faultyRanges(
  findings: readonly Finding[],
  hardStateKnownFrom: number,
): FaultyRange[] {
  const ranges: FaultyRange[] = [];
  for (const [nth, finding] of findings.entries()) {
    const range = rangeOf(finding, nth >= hardStateKnownFrom);
    const last = ranges.at(-1);
    if (last !== undefined && joins(last, range)) ranges[ranges.length - 1] = joined(last, range);
    else ranges.push(range);
  }
  return ranges;
}

function rangeOf(finding: Finding, unsure: boolean): FaultyRange {
  const { place, end, fault, before, entry, through } = finding;
  return {
    from: entry?.index ?? ((before.lastIndex + 1) as LogIndex),
    through: entry?.index ?? through,
    epoch: entry?.epoch,
    fault,
    segmentId: place.segmentId,
    position: place.position,
    end,
    hardStateUnsure: unsure && entry === undefined,
    detail: describeFinding(finding),
  };
}

/** Both hide the same indexes: nothing sound lies between them. */
function joins(a: FaultyRange, b: FaultyRange): boolean {
  return (
    a.epoch === undefined && b.epoch === undefined && a.from === b.from && a.through === b.through
  );
}

function joined(a: FaultyRange, b: FaultyRange): FaultyRange {
  const end = a.segmentId === b.segmentId ? b.end : a.end;
  return {
    ...a,
    end,
    hardStateUnsure: a.hardStateUnsure || b.hardStateUnsure,
    detail: a.detail.endsWith(AND_MORE) ? a.detail : a.detail + AND_MORE,
  };
}
