/**
 * Up to `TIMER_CHUNK` timers, one record: columns of numbers, oldest first.
 *
 * A row is (tick, kind, queueId, from, count): the timers of `count` consecutive offsets (or other
 * numbers) of one queue that are due at one tick. A timer that goes on where one of the last rows
 * ends joins it, so that a busy queue costs one row a tick and not one a message. Rows are taken
 * from the front only.
 */

import { assert } from './assert.ts';
import { type RecordData, countOf, listOf } from './record-data.ts';

export const TIMER_CHUNK = 512;
/** A row is no longer than this, so that working one off is bounded. */
const MAX_RUN = 65_536;
/** How many rows back a timer looks for one to join: several queues may fill by turns. */
const JOIN_ROWS = 8;
const COLUMNS = 5;
const FIRST_CAPACITY = 4;

/** What a timer is for; stored by its place in this list, so the list only grows at its end. */
export const TIMER_KINDS = [
  'expiry',
  'delayed',
  'group',
  'retention',
  'producer',
  'session',
] as const;
export type TimerKind = (typeof TIMER_KINDS)[number];

export interface Timer {
  /** Milliseconds; it fires at this or up to a tick later, never before. */
  readonly due: number;
  readonly kind: TimerKind;
  readonly queueId: number;
  /** An offset, or what else the kind counts. */
  readonly number: number;
}

export interface TimerRow {
  readonly tick: number;
  readonly kind: number;
  readonly queueId: number;
  readonly from: number;
  readonly count: number;
}

export class TimerChunk {
  readonly weight: number;
  /** Rows below are gone. */
  #first = 0;
  #end = 0;
  #rows = new Float64Array(FIRST_CAPACITY * COLUMNS);

  constructor(weight: number) {
    this.weight = weight;
  }

  static fromData(data: RecordData): TimerChunk {
    const [format, flat] = listOf(data);
    assert(format === 1, 'timers: unknown format');
    const cells = listOf(flat).map(countOf);
    assert(cells.length % COLUMNS === 0, 'timers: half a row');
    assert(cells.length <= TIMER_CHUNK * COLUMNS, 'timers: too many rows');
    const chunk = new TimerChunk(1 + Math.ceil(cells.length / 50));
    chunk.#rows = Float64Array.from(cells);
    chunk.#end = cells.length / COLUMNS;
    return chunk;
  }

  get size(): number {
    return this.#end - this.#first;
  }

  row(at: number): TimerRow {
    assert(at >= 0 && at < this.size, 'timers: no such row');
    const rows = this.#rows;
    const cell = (this.#first + at) * COLUMNS;
    return {
      tick: rows[cell] as number,
      kind: rows[cell + 1] as number,
      queueId: rows[cell + 2] as number,
      from: rows[cell + 3] as number,
      count: rows[cell + 4] as number,
    };
  }

  /** Lengthens one of the last rows by this row; false when none is its beginning. */
  join(row: TimerRow): boolean {
    const rows = this.#rows;
    const lowest = Math.max(this.#first, this.#end - JOIN_ROWS) * COLUMNS;
    for (let cell = (this.#end - 1) * COLUMNS; cell >= lowest; cell -= COLUMNS) {
      const count = rows[cell + 4] as number;
      if (
        rows[cell + 2] === row.queueId &&
        rows[cell] === row.tick &&
        rows[cell + 1] === row.kind &&
        (rows[cell + 3] as number) + count === row.from &&
        count + row.count <= MAX_RUN
      ) {
        rows[cell + 4] = count + row.count;
        return true;
      }
    }
    return false;
  }

  push(row: TimerRow): void {
    assert(this.#end < TIMER_CHUNK, 'timers: the chunk is full');
    if (this.#end * COLUMNS === this.#rows.length) this.#grow();
    const rows = this.#rows;
    const cell = this.#end * COLUMNS;
    rows[cell] = row.tick;
    rows[cell + 1] = row.kind;
    rows[cell + 2] = row.queueId;
    rows[cell + 3] = row.from;
    rows[cell + 4] = row.count;
    this.#end += 1;
  }

  /** Takes `rows` whole rows, and `rest` numbers of the row behind them. */
  take(rows: number, rest: number): void {
    assert(rows <= this.size, 'timers: more than there are');
    this.#first += rows;
    if (rest === 0) return;
    const cell = this.#first * COLUMNS;
    const count = this.#rows[cell + 4] as number;
    assert(this.size > 0 && rest < count, 'timers: more than the row has');
    this.#rows[cell + 3] = (this.#rows[cell + 3] as number) + rest;
    this.#rows[cell + 4] = count - rest;
  }

  toData(): RecordData {
    return [1, [...this.#rows.subarray(this.#first * COLUMNS, this.#end * COLUMNS)]];
  }

  #grow(): void {
    const rows = new Float64Array(Math.max(FIRST_CAPACITY, this.#end * 2) * COLUMNS);
    rows.set(this.#rows);
    this.#rows = rows;
  }
}
