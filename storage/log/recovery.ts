/**
 * Recovery: folds what was seen in the segments into one decision. Pure: it does no I/O, and the
 * same findings always give the same decision; `verdict.ts` is its table.
 *
 * Memory is bounded by the number of segments, sparse entries and bad stretches. It must never cut
 * below the mark, and never let an index be missing in silence: what is not sound and not torn
 * becomes a faulty range.
 *
 * Findings come in the order of the log: for each segment of the manifest `begin` (or `skip`, or
 * `missing`), then its batches and bad stretches, then its `end`.
 */

import { assert } from '../assert.ts';
import { StorageError } from '../errors.ts';
import { BatchKind, decodeHardState, HEADER_BYTES } from './batch.ts';
import type { BatchHeader } from './batch.ts';
import { EpochCache } from './epoch-cache.ts';
import { describeFinding, faultyRanges } from './faulty-ranges.ts';
import type { Finding, LogEnd } from './finding.ts';
import { firstChain } from './log-id.ts';
import type { Fault, FaultyRange, HardState, TornTail } from './log-types.ts';
import type { Manifest, ManifestSegment } from './manifest.ts';
import { comparePlaces } from './positions.ts';
import type { Epoch, FilePosition, LogIndex, Place, SegmentId } from './positions.ts';
import type { BadStretch, ScanSink } from './scanner.ts';
import type { SegmentSummary } from './segment-summary.ts';
import { SparseIndex } from './sparse-index.ts';
import { sightingOf, verdict } from './verdict.ts';
import type { Verdict } from './verdict.ts';

/** Above so many, neighbours become one range, and count as written whole. */
const MAX_STRETCHES = 10_000;

interface Note {
  readonly place: Place;
  readonly end: FilePosition;
  readonly fault: Fault;
  readonly zeroSector?: boolean;
  readonly cutByEnd?: boolean;
  readonly entry?: { readonly index: LogIndex; readonly epoch: Epoch } | undefined;
}

export interface RecoveredSegment extends SegmentSummary {
  /** May be dropped once the index file holds it. */
  sparse: SparseIndex | undefined;
  /** No bad stretch in it: its index may be trusted instead of reading it. */
  readonly sound: boolean;
  readonly missing: boolean;
  /** The manifest has its length: nothing is written to it any more. */
  readonly sealed: boolean;
}

export interface RecoveryDecision {
  /** Everything from here on goes: the last write was torn. */
  readonly cut: TornTail | undefined;
  readonly segments: readonly RecoveredSegment[];
  readonly faulty: readonly FaultyRange[];
  readonly end: LogEnd;
  readonly epochs: EpochCache;
  /** The last segment may be written on, at its end. */
  readonly resumable: boolean;
}

interface OpenSegment {
  readonly segment: ManifestSegment;
  readonly sparse: SparseIndex;
  readonly nextFirstIndex: LogIndex | undefined;
  firstFinding: number;
}

export class Recovery implements ScanSink {
  readonly #manifest: Manifest;
  readonly #indexIntervalBytes: number;
  readonly #epochs = new EpochCache();
  readonly #segments: RecoveredSegment[] = [];
  readonly #findings: Finding[] = [];
  #mark: Place;
  #open: OpenSegment | undefined;
  #lastIndex: LogIndex;
  #lastEpoch: Epoch;
  #chain: number | undefined;
  #hardState: HardState;
  #largestTimeMs = 0;
  /** False behind a stretch whose entries are not known: indexes may jump there. */
  #inSequence = true;
  /** Findings from here on wait for the index of what follows them. */
  #unresolved = 0;
  /** Findings below this number hide no hard state that counts. */
  #hardStateKnownFrom = 0;

  constructor(manifest: Manifest, indexIntervalBytes: number) {
    this.#manifest = manifest;
    this.#indexIntervalBytes = indexIntervalBytes;
    this.#mark = manifest.mark;
    this.#lastIndex = (manifest.start - 1) as LogIndex;
    this.#lastEpoch = manifest.epochBeforeStart;
    this.#hardState = manifest.hardState;
    if (manifest.segments[0]?.segmentId === 1) this.#chain = firstChain(manifest.logId);
    if (this.#lastIndex > 0 && this.#lastEpoch > 0)
      this.#epochs.note(this.#lastEpoch, this.#lastIndex);
  }

  /** The segment is known from its index and not read. False: its index does not fit the log. */
  skip(segment: ManifestSegment, summary: SegmentSummary): boolean {
    const { segments } = this.#manifest;
    const fits =
      summary.segmentId === segment.segmentId &&
      summary.firstIndex === segment.firstIndex &&
      summary.end === segment.length &&
      this.#inSequence &&
      segment.firstIndex === this.#lastIndex + 1 &&
      (summary.epochs[0]?.epoch ?? this.#lastEpoch) >= this.#lastEpoch &&
      summary.lastIndex < (segments[segments.indexOf(segment) + 1]?.firstIndex ?? Infinity);
    if (!fits) return false;
    this.#segments.push({
      ...summary,
      sparse: undefined,
      sound: true,
      missing: false,
      sealed: true,
    });
    for (const { epoch, firstIndex } of summary.epochs) this.#epochs.note(epoch, firstIndex);
    this.#lastIndex = summary.lastIndex;
    this.#lastEpoch = this.#epochs.lastEpoch;
    this.#chain = summary.endChain;
    this.#largestTimeMs = summary.largestTimeMs;
    return true;
  }

  /** The segment that ended last. */
  get lastSegment(): RecoveredSegment | undefined {
    return this.#segments.at(-1);
  }

  begin(segment: ManifestSegment): void {
    assert(this.#open === undefined, 'a segment ends before the next one begins');
    this.#closeGap(segment);
    const { segments } = this.#manifest;
    this.#open = {
      segment,
      sparse: new SparseIndex(segment.firstIndex, this.#indexIntervalBytes),
      nextFirstIndex: segments[segments.indexOf(segment) + 1]?.firstIndex,
      firstFinding: this.#findings.length,
    };
  }

  /** The manifest names the segment, and there is no such file. */
  missing(segment: ManifestSegment): void {
    this.#closeGap(segment);
    this.#note({
      place: { segmentId: segment.segmentId, position: 0 as FilePosition },
      end: segment.length ?? (0 as FilePosition),
      fault: 'missing-segment',
    });
    this.#segments.push({
      ...this.#summary(segment, segment.length ?? (0 as FilePosition)),
      sparse: undefined,
      sound: false,
      missing: true,
      sealed: segment.length !== undefined,
    });
  }

  batch(header: BatchHeader, hardState: Uint8Array | undefined): void {
    const fault = this.#sequenceFault(header);
    if (fault !== undefined) {
      const end = header.position + HEADER_BYTES + header.payloadLength;
      const evidence = { zeroSector: false, cutByEnd: false, header: undefined };
      this.bad({ position: header.position, end, fault, ...evidence });
      return;
    }
    this.#raiseMark(header);
    this.#chain = header.headerCrc;
    const isEntry = header.kind === BatchKind.entry;
    this.#resolve((isEntry ? header.index - 1 : header.index) as LogIndex);
    this.#lastIndex = header.index as LogIndex;
    if (isEntry) this.#takeEntry(header);
    if (hardState !== undefined) this.#takeHardState(header, hardState);
  }

  bad(stretch: BadStretch): void {
    const { segment, sparse } = this.#opened();
    const place: Place = {
      segmentId: segment.segmentId,
      position: stretch.position as FilePosition,
    };
    const end = stretch.end as FilePosition;
    sparse.force();
    const { header, fault, zeroSector, cutByEnd } = stretch;
    const inSequence = header !== undefined && this.#sequenceFault(header) === undefined;
    if (!inSequence) return this.#note({ place, end, fault, zeroSector, cutByEnd });
    const isEntry = header.kind === BatchKind.entry;
    const index = header.index as LogIndex;
    const epoch = header.epoch as Epoch;
    this.#resolve((isEntry ? index - 1 : index) as LogIndex);
    const entry = isEntry ? { index, epoch } : undefined;
    this.#note({ place, end, fault, zeroSector, cutByEnd, entry });
    this.#chain = header.headerCrc;
    this.#lastIndex = index;
    if (isEntry) {
      this.#epochs.note(epoch, index);
      this.#lastEpoch = epoch;
    }
    this.#resolve(index);
    this.#inSequence = true;
  }

  end(position: number): void {
    const { segment, sparse, firstFinding } = this.#opened();
    this.#open = undefined;
    const { segmentId, length } = segment;
    const place: Place = { segmentId, position: position as FilePosition };
    const { mark } = this.#manifest;
    const known = length ?? (mark.segmentId === segmentId ? mark.position : 0);
    const lost = position < known;
    if (lost) this.#note({ place, end: known as FilePosition, fault: 'missing-bytes' });
    const end = Math.max(position, known) as FilePosition;
    this.#segments.push({
      ...this.#summary(segment, end),
      sparse,
      sound: this.#findings.length === firstFinding,
      missing: false,
      sealed: length !== undefined,
    });
  }

  finish(): RecoveryDecision {
    assert(this.#open === undefined, 'the last segment has ended');
    const { clean, durable } = this.#manifest;
    // Closed in order: the manifest knows the last index, also where its bytes are lost.
    if (clean && !this.#inSequence && durable >= this.#lastIndex) {
      this.#resolve(durable);
      this.#lastIndex = durable;
    }
    const torn = this.#findings.findIndex((finding) => this.#judge(finding) === 'torn');
    const cut = this.#findings[torn];
    if (cut !== undefined) this.#cutAt(cut, torn);
    const last = this.#segments.at(-1);
    const end = cut?.before ?? this.#logEnd();
    const fresh = last?.end === 0 && last.sound;
    return {
      cut: cut && { ...cut.place, detail: describeFinding(cut) },
      segments: this.#segments,
      faulty: faultyRanges(this.#findings, this.#hardStateKnownFrom),
      end,
      epochs: this.#epochs,
      resumable:
        last !== undefined && !last.sealed && !last.missing && (fresh || end.chain !== undefined),
    };
  }

  /** Forgets everything from the torn place on. */
  #cutAt({ place, before }: Finding, nth: number): void {
    this.#findings.splice(nth);
    for (const finding of this.#findings) {
      // What told the end of an earlier stretch is cut away with the rest.
      if ((finding.through ?? 0) > before.lastIndex) finding.through = undefined;
    }
    this.#hardStateKnownFrom = Math.min(this.#hardStateKnownFrom, nth);
    this.#epochs.truncateSuffix(before.lastIndex);
    while ((this.#segments.at(-1)?.segmentId ?? 0) > place.segmentId) this.#segments.pop();
    const segment = this.#segments.pop();
    assert(segment?.segmentId === place.segmentId, 'a torn batch lies in a segment');
    if (place.position === 0) return;
    segment.sparse?.cut(place.position);
    this.#segments.push({
      ...segment,
      lastIndex: before.lastIndex,
      end: place.position,
      endChain: before.chain,
      largestTimeMs: before.largestTimeMs,
      epochs: segment.epochs.filter((start) => start.firstIndex <= before.lastIndex),
      sound: this.#findings.every((finding) => finding.place.segmentId !== place.segmentId),
      sealed: true,
    });
  }

  #judge(finding: Finding): Verdict {
    return verdict(sightingOf(finding), comparePlaces(finding.place, this.#mark) < 0);
  }

  #opened(): OpenSegment {
    assert(this.#open !== undefined, 'a finding lies in a segment');
    return this.#open;
  }

  /** Why this sound batch cannot be the next one. */
  #sequenceFault(header: BatchHeader): Fault | undefined {
    if (this.#chain !== undefined && header.chain !== this.#chain) return 'wrong-chain';
    const isEntry = header.kind === BatchKind.entry;
    const expected = this.#lastIndex + (isEntry ? 1 : 0);
    const { nextFirstIndex } = this.#opened();
    if (header.index < expected) return 'wrong-order';
    if (header.index > expected && this.#inSequence) return 'wrong-order';
    if (nextFirstIndex !== undefined && header.index >= nextFirstIndex) return 'wrong-order';
    return isEntry && header.epoch < this.#lastEpoch ? 'wrong-order' : undefined;
  }

  #raiseMark(header: BatchHeader): void {
    const place: Place = {
      segmentId: header.markSegmentId as SegmentId,
      position: header.markPosition as FilePosition,
    };
    if (comparePlaces(place, this.#mark) > 0) this.#mark = place;
  }

  #takeEntry(header: BatchHeader): void {
    const index = header.index as LogIndex;
    const epoch = header.epoch as Epoch;
    this.#epochs.note(epoch, index);
    this.#lastEpoch = epoch;
    if (header.timestampMs > this.#largestTimeMs) this.#largestTimeMs = header.timestampMs;
    this.#opened().sparse.note(index, header.position as FilePosition, this.#largestTimeMs);
  }

  /** The manifest's state is newer than any that lies below its own mark. */
  #takeHardState(header: BatchHeader, payload: Uint8Array): void {
    const { segmentId } = this.#opened().segment;
    const place: Place = { segmentId, position: header.position as FilePosition };
    if (comparePlaces(place, this.#manifest.mark) < 0) return;
    const state = decodeHardState(payload);
    if (state === undefined) return;
    this.#hardState = state;
    this.#hardStateKnownFrom = this.#findings.length;
  }

  /** Indexes between the last segment and this one are lost if the numbers say so. */
  #closeGap(segment: ManifestSegment): void {
    const through = (segment.firstIndex - 1) as LogIndex;
    if (through < this.#lastIndex) {
      const name = `segment ${segment.segmentId}`;
      throw new StorageError('damaged', `${name} begins before the one in front of it ends`);
    }
    if (through > this.#lastIndex && this.#inSequence) {
      const previous = this.#segments.at(-1);
      const position = previous?.end ?? (0 as FilePosition);
      const segmentId = previous?.segmentId ?? segment.segmentId;
      this.#note({ place: { segmentId, position }, end: position, fault: 'missing-segment' });
    }
    if (!this.#inSequence) this.#resolve(through);
    this.#lastIndex = through;
  }

  #note(note: Note): void {
    const { place, end, entry, fault, zeroSector = false, cutByEnd = false } = note;
    const last = this.#findings.at(-1);
    const neighbours = last?.place.segmentId === place.segmentId && last.end === place.position;
    if (this.#findings.length >= MAX_STRETCHES && last !== undefined && neighbours) {
      last.end = end;
      last.zeroSector = false;
      last.cutByEnd = false;
      last.entry = undefined;
      last.through = undefined;
      this.#unresolved = Math.min(this.#unresolved, this.#findings.length - 1);
    } else {
      const before = this.#logEnd();
      this.#findings.push({
        place,
        end,
        fault,
        zeroSector,
        cutByEnd,
        before,
        entry,
        through: undefined,
      });
    }
    if (comparePlaces({ ...place, position: end }, this.#manifest.mark) <= 0) {
      this.#hardStateKnownFrom = this.#findings.length;
    }
    this.#chain = undefined;
    this.#inSequence = false;
  }

  /** Something sound follows, or the number of what is lost is known: it ends with `through`. */
  #resolve(through: LogIndex): void {
    while (this.#unresolved < this.#findings.length) {
      const finding = this.#findings[this.#unresolved];
      if (finding !== undefined) finding.through = through;
      this.#unresolved += 1;
    }
    this.#inSequence = true;
  }

  #logEnd(): LogEnd {
    return {
      lastIndex: this.#lastIndex,
      chain: this.#chain,
      hardState: this.#hardState,
      largestTimeMs: this.#largestTimeMs,
    };
  }

  #summary({ segmentId, firstIndex }: ManifestSegment, end: FilePosition): SegmentSummary {
    return {
      segmentId,
      firstIndex,
      lastIndex: this.#lastIndex,
      end,
      endChain: this.#chain,
      largestTimeMs: this.#largestTimeMs,
      epochs: this.#epochs.starts.filter((start) => start.firstIndex >= firstIndex),
    };
  }
}
