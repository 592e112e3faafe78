/**
 * Reads a log in order, holding its place, and through a counted handle the segment: removal of the
 * segment does not disturb it, and a cut of the log's end is told by `truncated`.
 *
 * One read at a time. It holds a file open from its first read until `close`.
 */

import { assert } from '../assert.ts';
import { asStorageError } from './failure.ts';
import { outcomeWithoutReading, readFrom } from './log-reading.ts';
import type { ReadPlace } from './log-reading.ts';
import type { LogState } from './log-state.ts';
import type { ReadLimits, ReadOutcome } from './log-types.ts';
import type { LogIndex } from './positions.ts';
import type { SegmentHandles, SegmentHold } from './segment-handles.ts';
import type { SegmentIndexes } from './segment-indexes.ts';

export interface ReadableLog {
  readonly state: LogState;
  readonly handles: SegmentHandles;
  readonly indexes: SegmentIndexes;
  /** Throws StorageError `closed` once the log is. */
  refuseClosed(): void;
}

export class LogReader {
  readonly #log: ReadableLog;
  #next: LogIndex;
  #hold: SegmentHold | undefined;
  #place: ReadPlace | undefined;
  /** What it has read so far, and where it stands, is of this generation of the log. */
  #generation: number;
  #reading = false;
  #closed = false;

  constructor(log: ReadableLog, from: LogIndex) {
    this.#log = log;
    this.#next = from;
    this.#generation = log.state.generation;
  }

  /** Index of the entry that comes next. */
  get next(): LogIndex {
    return this.#next;
  }

  /**
   * The following batches; empty where nothing more is durable. After `truncated`: `reposition`.
   */
  async read(limits: ReadLimits): Promise<ReadOutcome> {
    this.#log.refuseClosed();
    assert(!this.#reading && !this.#closed, 'a reader that is open reads once at a time');
    this.#reading = true;
    try {
      return await this.#read(limits);
    } catch (error) {
      throw asStorageError(error, 'the log cannot be read');
    } finally {
      this.#reading = false;
      if (this.#closed) this.#letGo();
    }
  }

  /** Goes on elsewhere: behind a faulty range, or within the log after `truncated`. */
  reposition(from: LogIndex): void {
    this.#next = from;
    this.#generation = this.#log.state.generation;
    this.#place = undefined;
  }

  close(): void {
    this.#closed = true;
    if (!this.#reading) this.#letGo();
  }

  async #read(limits: ReadLimits): Promise<ReadOutcome> {
    const { state } = this.#log;
    if (state.lowestKeptSince(this.#generation) < this.#next - 1) {
      // Something that it has passed was cut away, whatever stands there now.
      return { kind: 'truncated', start: state.start, last: state.last };
    }
    this.#generation = state.generation;
    const early = outcomeWithoutReading(state, this.#next);
    if (early !== undefined) return early;
    let hold: SegmentHold;
    try {
      hold = await this.#holdFor(this.#next);
    } catch (error) {
      // The segment may have gone between the two looks.
      const outcome = outcomeWithoutReading(state, this.#next);
      if (outcome === undefined) throw error;
      return outcome;
    }
    const request = { from: this.#next, limits, place: this.#place };
    const { outcome, place } = await readFrom(this.#log, hold, request);
    this.#place = place;
    if (place !== undefined) this.#next = place.index;
    return outcome;
  }

  async #holdFor(index: LogIndex): Promise<SegmentHold> {
    const segment = this.#log.state.segmentFor(index);
    assert(segment !== undefined, 'a durable entry lies in a segment');
    if (this.#hold?.source === segment) return this.#hold;
    this.#letGo();
    this.#hold = await this.#log.handles.hold(segment);
    return this.#hold;
  }

  #letGo(): void {
    this.#hold?.release();
    this.#hold = undefined;
  }
}
