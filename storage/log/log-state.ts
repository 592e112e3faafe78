/**
 * What an open log knows of itself: one object that the writer, the readers and truncation share.
 *
 * Invariants: start - 1 <= durable <= last; segments ascend by id and cover [start, durable] but
 * for faulty ranges; the epoch cache covers [start - 1, last]; `mark` is the place up to which
 * everything is synced, and all of a segment before the last one is. `chain` and `largestTimeMs` go
 * ahead of it with what was placed; the segments do not. Only the writer raises `durable`, only
 * truncation lowers anything.
 */

import type { StorageError } from '../errors.ts';
import { inDirectory, indexFileName, segmentFileName } from './file-names.ts';
import type { EpochCache } from './epoch-cache.ts';
import type { LogIdHalves } from './batch.ts';
import { logIdHalves } from './log-id.ts';
import type { LogSegment } from './log-segment.ts';
import type { FaultyRange, HardState } from './log-types.ts';
import type { Manifest } from './manifest.ts';
import type { Epoch, FilePosition, LogIndex, Place, SegmentId } from './positions.ts';
import type { SegmentName } from './file-names.ts';
import type { LogSettings } from './settings.ts';

/** Counters that only grow. */
export interface Counters {
  appends: number;
  writes: number;
  syncs: number;
  bytesWritten: number;
  marks: number;
  segmentsCreated: number;
}

export interface Recovered {
  readonly logId: string;
  readonly epochs: EpochCache;
  readonly segments: LogSegment[];
  readonly faulty: FaultyRange[];
  readonly start: LogIndex;
  readonly epochBeforeStart: Epoch;
  readonly last: LogIndex;
  readonly chain: number;
  readonly hardState: HardState;
  readonly mark: Place;
  readonly largestTimeMs: number;
  readonly nextSegmentId: SegmentId;
}

export class LogState {
  readonly settings: LogSettings;
  readonly logId: string;
  readonly logIdHalves: LogIdHalves;
  readonly epochs: EpochCache;
  readonly segments: LogSegment[];
  readonly counters: Counters = {
    appends: 0,
    writes: 0,
    syncs: 0,
    bytesWritten: 0,
    marks: 0,
    segmentsCreated: 0,
  };
  faulty: FaultyRange[];
  start: LogIndex;
  epochBeforeStart: Epoch;
  last: LogIndex;
  durable: LogIndex;
  /** Header CRC of the last batch that was placed. */
  chain: number;
  hardState: HardState;
  mark: Place;
  /** Of all batches that were placed. */
  largestTimeMs: number;
  nextSegmentId: SegmentId;
  /** Rises with each suffix truncation: what a reader knew of the end may be gone. */
  generation = 0;
  /** Suffix truncations that no later one undercuts: both numbers ascend. */
  readonly #cuts: { readonly generation: number; readonly lastKept: LogIndex }[] = [];
  failed: StorageError | undefined;

  constructor(settings: LogSettings, recovered: Recovered) {
    this.settings = settings;
    this.logId = recovered.logId;
    this.logIdHalves = logIdHalves(recovered.logId);
    this.epochs = recovered.epochs;
    this.segments = recovered.segments;
    this.faulty = recovered.faulty;
    this.start = recovered.start;
    this.epochBeforeStart = recovered.epochBeforeStart;
    this.last = recovered.last;
    this.durable = recovered.last;
    this.chain = recovered.chain;
    this.hardState = recovered.hardState;
    this.mark = recovered.mark;
    this.largestTimeMs = recovered.largestTimeMs;
    this.nextSegmentId = recovered.nextSegmentId;
  }

  /** The suffix above `lastKept` goes: from here on nobody reads or counts on it. */
  lowerTo(lastKept: LogIndex): void {
    this.generation += 1;
    while ((this.#cuts.at(-1)?.lastKept ?? -1) >= lastKept) this.#cuts.pop();
    this.#cuts.push({ generation: this.generation, lastKept });
    this.last = lastKept;
    this.durable = lastKept;
    this.epochs.truncateSuffix(lastKept);
    this.faulty = this.faulty.filter((range) => range.from <= lastKept);
  }

  /** The lowest index that a suffix truncation kept since this generation; Infinity without any. */
  lowestKeptSince(generation: number): number {
    const cut = this.#cuts.find((one) => one.generation > generation);
    return cut?.lastKept ?? Infinity;
  }

  /** A number that was never used for a segment. */
  takeSegmentId(): SegmentId {
    const id = this.nextSegmentId;
    this.nextSegmentId = (id + 1) as SegmentId;
    return id;
  }

  /** The segment that holds the entry, if any does. */
  segmentFor(index: LogIndex): LogSegment | undefined {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.segments[middle]?.firstIndex ?? 0) <= index) low = middle + 1;
      else high = middle;
    }
    return this.segments[low - 1];
  }

  /** The faulty range that hides the entry. */
  faultAt(index: LogIndex): FaultyRange | undefined {
    return this.faulty.find((range) => {
      return range.from <= index && index <= (range.through ?? Infinity);
    });
  }

  /** First entry behind `index` that a faulty range hides; Infinity if there is none. */
  nextFaultFrom(index: LogIndex): number {
    let next = Infinity;
    for (const range of this.faulty) {
      const hides = range.through === undefined || range.through >= range.from;
      if (hides && range.from > index && range.from < next) next = range.from;
    }
    return next;
  }

  /** The log ends in a range of unknown length: nobody knows the next index. */
  get endUnknown(): FaultyRange | undefined {
    return this.faulty.find((range) => range.through === undefined);
  }

  manifest(clean: boolean): Manifest {
    const { logId, start, epochBeforeStart, durable, hardState, mark, nextSegmentId } = this;
    const segments = this.segments.map(({ segmentId, firstIndex, sealed, end }) => {
      return { segmentId, firstIndex, length: sealed ? end : undefined };
    });
    return {
      logId,
      clean,
      start,
      epochBeforeStart,
      durable,
      hardState,
      mark,
      nextSegmentId,
      segments,
    };
  }
}

export interface SegmentFields {
  readonly lastIndex: LogIndex;
  readonly end: FilePosition;
  readonly endChain: number | undefined;
  readonly largestTimeMs: number;
  readonly sparse: LogSegment['sparse'];
  readonly sealed: boolean;
  readonly sound: boolean;
  readonly missing: boolean;
  readonly fileBytes: number;
}

export function makeSegment(
  directory: string,
  name: SegmentName,
  fields: SegmentFields,
): LogSegment {
  return {
    segmentId: name.segmentId,
    firstIndex: name.firstIndex,
    path: inDirectory(directory, segmentFileName(name)),
    indexPath: inDirectory(directory, indexFileName(name)),
    ...fields,
  };
}
