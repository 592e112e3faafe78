/**
 * What is collected for one write: batches, one behind the other, as they will lie on disk.
 *
 * A payload is copied once, into here, when its batch is accepted; the half of the header that
 * depends on the place (position, chain, mark) is filled in by `place`, when the write is about to
 * start. The bytes never change while a write is under way. A buffer of the usual size is used
 * again after `clear`.
 */

import { assert } from '../assert.ts';
import {
  acceptedPayloadLength,
  BatchKind,
  encodeAccepted,
  encodeWritten,
  HEADER_BYTES,
  windowOver,
} from './batch.ts';
import type { LogIdHalves, Window } from './batch.ts';
import { crc32 } from './checksum.ts';
import { uninitialised } from './file-bytes.ts';
import type { FilePosition, LogIndex, Place } from './positions.ts';
import type { SparseIndex } from './sparse-index.ts';
import { ZeroSectorCount } from './zero-sectors.ts';

export interface Addition {
  readonly kind: BatchKind;
  readonly index: LogIndex;
  readonly epoch: number;
  readonly timestampMs: number;
  readonly recordCount: number;
  readonly payload: readonly Uint8Array[];
  readonly payloadLength: number;
}

/** Where batches are about to be written; moves on with each of them. */
export interface Placement {
  readonly logId: LogIdHalves;
  readonly segmentId: number;
  readonly mark: Place;
  readonly sparse: SparseIndex;
  /** No batch begins at or behind this position. */
  readonly limit: number;
  position: number;
  chain: number;
  largestTimeMs: number;
  lastIndex: LogIndex;
}

export class WriteBuffer {
  readonly #window: Window;
  readonly #zeros = new ZeroSectorCount();
  #length = 0;
  #batches = 0;
  #firstIndex = 0 as LogIndex;
  #lastIndex = 0 as LogIndex;
  #onlyMarks = true;

  constructor(capacityBytes: number) {
    this.#window = windowOver(uninitialised(capacityBytes));
  }

  get capacity(): number {
    return this.#window.bytes.length;
  }
  get length(): number {
    return this.#length;
  }
  get batches(): number {
    return this.#batches;
  }
  /** Index of the first batch; for a batch that is no entry, the index that it repeats. */
  get firstIndex(): LogIndex {
    return this.#firstIndex;
  }
  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }
  get onlyMarks(): boolean {
    return this.#onlyMarks;
  }

  hasRoom(payloadLength: number): boolean {
    return this.#length + HEADER_BYTES + payloadLength <= this.capacity;
  }

  add(batch: Addition): void {
    assert(this.hasRoom(batch.payloadLength), 'no room in the write buffer');
    const { bytes } = this.#window;
    const at = this.#length;
    const from = at + HEADER_BYTES;
    let end = from;
    for (const part of batch.payload) {
      bytes.set(part, end);
      end += part.length;
    }
    encodeAccepted(this.#window, at, {
      kind: batch.kind,
      payloadLength: batch.payloadLength,
      recordCount: batch.recordCount,
      payloadCrc: crc32(bytes.subarray(from, end)),
      index: batch.index,
      epoch: batch.epoch,
      timestampMs: batch.timestampMs,
    });
    if (this.#batches === 0) this.#firstIndex = batch.index;
    this.#lastIndex = batch.index;
    this.#batches += 1;
    this.#onlyMarks &&= batch.kind === BatchKind.mark;
    this.#length = end;
  }

  /** First index of the entries at or behind `from`: where a segment that begins there begins. */
  indexAt(from: number): LogIndex {
    const { view } = this.#window;
    const repeats = view.getUint8(from + 5) !== BatchKind.entry;
    return (this.#indexOf(from) + (repeats ? 1 : 0)) as LogIndex;
  }

  /** Completes the batches from `from` on, up to the limit; returns the end of the last one. */
  place(from: number, placement: Placement): number {
    let at = from;
    while (at < this.#length && placement.position < placement.limit) {
      const end = at + HEADER_BYTES + acceptedPayloadLength(this.#window, at);
      this.#placeOne(at, end, placement);
      at = end;
    }
    return at;
  }

  bytes(from: number, end: number): Uint8Array {
    return this.#window.bytes.subarray(from, end);
  }

  clear(): void {
    this.#length = 0;
    this.#batches = 0;
    this.#onlyMarks = true;
  }

  #placeOne(at: number, end: number, placement: Placement): void {
    const { bytes, view } = this.#window;
    this.#zeros.begin(placement.position + HEADER_BYTES);
    this.#zeros.add(bytes, at + HEADER_BYTES, end);
    if (view.getUint8(at + 5) === BatchKind.entry) this.#noteEntry(at, placement);
    placement.chain = encodeWritten(this.#window, at, {
      logId: placement.logId,
      segmentId: placement.segmentId,
      position: placement.position,
      chain: placement.chain,
      mark: placement.mark,
      zeroSectors: this.#zeros.end(),
    });
    placement.position += end - at;
  }

  #noteEntry(at: number, placement: Placement): void {
    const { view } = this.#window;
    const time = view.getUint32(at + 60, true) * 0x1_0000_0000 + view.getUint32(at + 56, true);
    if (time > placement.largestTimeMs) placement.largestTimeMs = time;
    placement.lastIndex = this.#indexOf(at);
    const position = placement.position as FilePosition;
    placement.sparse.note(placement.lastIndex, position, placement.largestTimeMs);
  }

  #indexOf(at: number): LogIndex {
    const { view } = this.#window;
    const high = view.getUint32(at + 44, true);
    return (high * 0x1_0000_0000 + view.getUint32(at + 40, true)) as LogIndex;
  }
}
