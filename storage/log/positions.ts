/**
 * The numbers of the log, branded so that they cannot be mixed up. All are safe non-negative
 * integers.
 *
 * A LogIndex counts entries from 1; 0 stands for "before the first". An Epoch is a fencing number
 * that the caller gives and that never goes back. A FilePosition is a byte in one segment file;
 * with the SegmentId it is a place in the log. Segment ids only grow and are never used again.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = number & { readonly [brand]: Name };

export type LogIndex = Branded<'LogIndex'>;
export type Epoch = Branded<'Epoch'>;
export type FilePosition = Branded<'FilePosition'>;
export type SegmentId = Branded<'SegmentId'>;

/** A place in the log. Places of one log are ordered by segment id, then position. */
export interface Place {
  readonly segmentId: SegmentId;
  readonly position: FilePosition;
}

export const FIRST_PLACE: Place = { segmentId: 0 as SegmentId, position: 0 as FilePosition };

/** Negative: `a` lies before `b`. */
export function comparePlaces(a: Place, b: Place): number {
  return a.segmentId - b.segmentId || a.position - b.position;
}
