/** What recovery notes of a place where the log does not go on soundly. */

import type { Fault, HardState } from './log-types.ts';
import type { Epoch, FilePosition, LogIndex, Place } from './positions.ts';

/** How the log stands before something: what a cut there goes back to. */
export interface LogEnd {
  readonly lastIndex: LogIndex;
  /** Header CRC of the batch before; undefined where that batch is not known. */
  readonly chain: number | undefined;
  readonly hardState: HardState;
  readonly largestTimeMs: number;
}

/** A bad stretch with what lies around it. */
export interface Finding {
  readonly place: Place;
  end: FilePosition;
  readonly fault: Fault;
  zeroSector: boolean;
  cutByEnd: boolean;
  readonly before: LogEnd;
  /** The sound header of an entry that is in sequence, with a bad payload. */
  entry: { readonly index: LogIndex; readonly epoch: Epoch } | undefined;
  /** Last index that is lost; undefined until something sound follows. */
  through: LogIndex | undefined;
}
