/**
 * What a log may show, after everything that was asked of it and everything that it has promised:
 * the judge of crash schedules. Deliberately naive: a map of entries and a few bounds.
 *
 * Between a call and its answer both the state before and the state after are allowed; an answer,
 * or a report of durability, takes the choice away.
 */
import { expect } from 'vitest';

import type { HardState, Log, LogBatch, LogReader, ReadOutcome } from '../../storage/storage.ts';

export interface Entry {
  readonly epoch: number;
  readonly timestampMs: number;
  readonly recordCount: number;
  readonly payload: Uint8Array;
}

const READ_BYTES = 16 * 1024;

export class LogExpectation {
  readonly #entries = new Map<number, Entry>();
  /** Epochs of entries that were cut off at the front: the one before the start is still known. */
  readonly #epochs = new Map<number, number>([[0, 0]]);
  #startLeast = 1;
  #startMost = 1;
  #last = 0;
  #durable = 0;
  #suffixUnderWay: number | undefined;
  /** Of the suffix truncations since the reader has read. */
  #lowestKept = Number.POSITIVE_INFINITY;
  #hardStates: HardState[] = [{ term: 0, vote: '' }];
  #hardStateAcknowledged = 0;

  get last(): number {
    return this.#last;
  }
  get durable(): number {
    return this.#durable;
  }
  get suffixUnderWay(): boolean {
    return this.#suffixUnderWay !== undefined;
  }
  get prefixUnderWay(): boolean {
    return this.#startMost > this.#startLeast;
  }

  appended(index: number, entry: Entry): void {
    must(index === this.#last + 1, `an append takes ${index}, not the index after ${this.#last}`);
    this.#last = index;
    this.#entries.set(index, entry);
    this.#epochs.set(index, entry.epoch);
  }

  reportedDurable(index: number): void {
    must(index >= this.#durable, `durable goes back from ${this.#durable} to ${index}`);
    must(index <= this.#last, `${index} is durable, and the last appended is ${this.#last}`);
    this.#durable = index;
  }

  hardStateAsked(state: HardState): number {
    this.#hardStates.push(state);
    return this.#hardStates.length - 1;
  }
  hardStateDone(asked: number): void {
    this.#hardStateAcknowledged = Math.max(this.#hardStateAcknowledged, asked);
  }

  prefixAsked(firstKept: number): void {
    this.#startMost = Math.max(this.#startMost, firstKept);
  }
  prefixDone(start: number): void {
    expect(start).toBeGreaterThanOrEqual(this.#startLeast);
    expect(start).toBeLessThanOrEqual(this.#startMost);
    this.#startLeast = start;
  }

  suffixAsked(lastKept: number): void {
    this.#suffixUnderWay = lastKept;
  }
  suffixDone(): void {
    const lastKept = this.#suffixUnderWay ?? this.#last;
    this.#lowestKept = Math.min(this.#lowestKept, lastKept);
    this.#cutTo(lastKept);
    this.#suffixUnderWay = undefined;
  }

  /**
   * After an opening: what the log shows is one of the states it may show, and from now on that
   * one.
   */
  async recovered(log: Log): Promise<void> {
    expect(log.start, 'the start was asked for').toBeGreaterThanOrEqual(this.#startLeast);
    expect(log.start, 'the start was asked for').toBeLessThanOrEqual(this.#startMost);
    const promised = Math.min(this.#durable, this.#suffixUnderWay ?? this.#durable);
    expect(log.last, 'what was durable is there').toBeGreaterThanOrEqual(promised);
    expect(log.last, 'nothing is there that was never appended').toBeLessThanOrEqual(this.#last);
    expect(log.durable, 'all that was recovered is durable').toBe(log.last);
    this.#recoveredHardState(log.hardState);
    this.#cutTo(log.last);
    this.#durable = log.last;
    this.#startLeast = log.start;
    this.#startMost = log.start;
    this.#suffixUnderWay = undefined;
    this.#lowestKept = Number.POSITIVE_INFINITY;
    await this.everythingReads(log);
  }

  async everythingReads(log: Log): Promise<void> {
    let from: number = log.start;
    while (from <= this.#durable) {
      const outcome = await log.read(from as typeof log.start, { maxBytes: READ_BYTES });
      const count = this.batchesAreRight(outcome, from);
      must(count > 0, `a read from ${from}, below the end, gives ${JSON.stringify(outcome)}`);
      from += count;
    }
    expect(from).toBe(this.#durable + 1);
    for (let index = log.start - 1; index <= this.#last; index += 1) {
      const epoch = log.epochAt(index as typeof log.start);
      const wanted = this.#epochs.get(index);
      must(epoch === wanted, `epoch at ${index} is ${epoch}, not ${wanted}`);
    }
  }

  /** The batches follow each other from `from` and are what was appended; gives their number. */
  batchesAreRight(outcome: ReadOutcome, from: number): number {
    if (outcome.kind !== 'batches') return 0;
    let index = from;
    for (const batch of outcome.batches) {
      must(batch.index === index, `${batch.index} was read in the place of ${index}`);
      this.#isRight(batch);
      index += 1;
    }
    must(index <= this.#durable + 1, `${index - 1} was read and is not durable`);
    return outcome.batches.length;
  }

  /**
   * A reader that goes on where it was: it is told if what it has passed, or comes to, was cut
   * away, and is set back then. Tells whether that was so.
   */
  async follows(log: Log, reader: LogReader): Promise<boolean> {
    const from = reader.next;
    const cutUnderIt = this.#lowestKept < from - 1;
    const outcome = await reader.read({ maxBytes: READ_BYTES });
    this.#lowestKept = Number.POSITIVE_INFINITY;
    if (outcome.kind === 'truncated') {
      expect(cutUnderIt || from < log.start, 'truncated').toBe(true);
      reader.reposition(log.start);
      return true;
    }
    expect(cutUnderIt, 'what it has read was cut, and it was not told').toBe(false);
    expect(outcome.kind).toBe('batches');
    expect(reader.next).toBe(from + this.batchesAreRight(outcome, from));
    return false;
  }

  /** For schedules with damage: is this what was appended? */
  isEntry(batch: LogBatch): boolean {
    const entry = this.#entries.get(batch.index);
    return (
      entry !== undefined &&
      entry.epoch === batch.epoch &&
      entry.timestampMs === batch.timestampMs &&
      entry.recordCount === batch.recordCount &&
      Buffer.compare(entry.payload, batch.payload) === 0
    );
  }

  #isRight(batch: LogBatch): void {
    if (this.isEntry(batch)) return;
    const { index, payload, ...rest } = batch;
    const wanted = this.#entries.get(index);
    expect({ index, ...rest, payload: Buffer.from(payload) }).toEqual({
      index,
      ...wanted,
      payload: Buffer.from(wanted?.payload ?? []),
    });
  }

  #recoveredHardState(state: HardState): void {
    const at = this.#hardStates.findLastIndex(
      (known) => known.term === state.term && known.vote === state.vote,
    );
    expect(at, `hard state ${JSON.stringify(state)} was asked for`).toBeGreaterThanOrEqual(0);
    expect(at, 'the hard state is not older than acknowledged').toBeGreaterThanOrEqual(
      this.#hardStateAcknowledged,
    );
    this.#hardStates = [state];
    this.#hardStateAcknowledged = 0;
  }

  #cutTo(last: number): void {
    for (let index = last + 1; index <= this.#last; index += 1) {
      this.#entries.delete(index);
      this.#epochs.delete(index);
    }
    this.#last = last;
    this.#durable = Math.min(this.#durable, last);
  }
}

/** `expect` costs more than all the rest of a schedule: not for what is checked for each batch. */
function must(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}
