/**
 * What other shards have sent here: which of their numbers came, so that none is stored twice.
 *
 *   below the floor       stale: the source has closed the number, and the asker is an old one
 *   not heard of          stored, or refused because a queue is full; that is remembered
 *   heard of              what it was the first time: taken or refused
 *
 * The source tells its lowest open number with each message; that is the floor, and what lies below
 * it is forgotten. So a record holds at most `ROUTES_MAX` numbers. A target that is gone is not
 * remembered: a queueId is never used again, and the answer stays what it was.
 *
 * A source that has lost the end of its log gives numbers again that were given before. They are
 * told apart by the stamp of their intent: such a number is stale too, and the source goes on
 * behind all that are known here. It may store a message a second time then, and loses none.
 *
 * One record for each source shard; what the store does not have is as if new.
 */

import { assert } from './assert.ts';
import type { TakeTransferCommand } from './command.ts';
import { type RecordData, type RecordKey, countOf, listOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, numberName } from './records-of-kind.ts';

/** Stored by their places in this list, which only grows at its end. */
const KEPT = ['taken', 'refused'] as const;
type KeptAnswer = (typeof KEPT)[number];

type Known = 'new' | 'stale' | KeptAnswer;
type Place = Omit<TakeTransferCommand, 'kind' | 'targets' | 'bytes' | 'topic' | 'options'>;

interface Arrival {
  /** The stamp of its intent. */
  readonly opened: number;
  readonly answer: KeptAnswer;
}

class ArrivalsOfShard implements RecordContent {
  readonly weight = 8;
  /** The source has closed every number below. */
  floor = 1;
  readonly heard = new Map<number, Arrival>();

  static fromData(data: RecordData): ArrivalsOfShard {
    const [format, floor, rows] = listOf(data);
    assert(format === 1, 'arrivals: unknown format');
    const arrivals = new ArrivalsOfShard();
    arrivals.floor = countOf(floor);
    const cells = listOf(rows).map(countOf);
    for (let i = 0; i < cells.length; i += 3) {
      const [number, opened, code] = cells.slice(i, i + 3) as [number, number, number];
      const answer = KEPT[code];
      assert(answer !== undefined, 'arrivals: an unknown answer');
      arrivals.heard.set(number, { opened, answer });
    }
    return arrivals;
  }

  raiseFloor(floor: number): void {
    if (floor <= this.floor) return;
    this.floor = floor;
    for (const number of this.heard.keys()) if (number < floor) this.heard.delete(number);
  }

  toData(): RecordData | undefined {
    if (this.floor === 1 && this.heard.size === 0) return undefined;
    const rows = [...this.heard].map(([number, { opened, answer }]) => [
      number,
      opened,
      KEPT.indexOf(answer),
    ]);
    return [1, this.floor, rows.flat()];
  }
}

export class Arrivals {
  readonly #records: RecordsOfKind<ArrivalsOfShard, number>;

  constructor(table: RecordTable) {
    this.#records = new RecordsOfKind<ArrivalsOfShard, number>(table, {
      prefix: 'arrivals',
      nameOf: numberName,
      fromData: (data) => ArrivalsOfShard.fromData(data),
      fresh: () => new ArrivalsOfShard(),
    });
  }

  load(rest: string, data: RecordData | undefined): void {
    this.#records.load(rest, data);
  }

  /** What everything below needs. */
  needs(shard: number, keys: RecordKey[]): void {
    this.#records.need(shard, keys);
  }

  /** What is known of the number; changes nothing. */
  check({ from, number, opened, lowestOpen }: Place): Known {
    const { floor, heard } = this.#records.get(from);
    if (number < Math.max(floor, lowestOpen)) return 'stale';
    const arrival = heard.get(number);
    if (arrival === undefined) return 'new';
    return arrival.opened === opened ? arrival.answer : 'stale';
  }

  /** The number was new, and this became of it. */
  keep({ from, number, opened }: Place, answer: KeptAnswer): void {
    const { heard } = this.#records.change(from);
    assert(!heard.has(number), 'arrivals: a number twice');
    heard.set(number, { opened, answer });
  }

  /** The source has closed every number below. */
  raiseFloor({ from, lowestOpen }: Place): void {
    if (lowestOpen > this.#records.get(from).floor) {
      this.#records.change(from).raiseFloor(lowestOpen);
    }
  }

  /** Above every number that is known of. */
  next(shard: number): number {
    const { floor, heard } = this.#records.get(shard);
    let next = floor;
    for (const number of heard.keys()) if (number >= next) next = number + 1;
    return next;
  }
}
