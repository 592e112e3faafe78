/**
 * The record of the will of a durable session, and of its wills that are due; what becomes of them
 * is in `session-will.ts`.
 *
 *   mqtt-will/<queueId>  [1, [number, delay seconds, message] or null, due at, check at,
 *                         [[number, message], ...]]
 *
 * It is there only while one of them is. A number is the owner epoch of the claim that brought the
 * will. Messages are copied in, and bounded by what a CONNECT may hold: some 130 KiB each.
 */

import { assert } from './assert.ts';
import { type RecordData, bytesOf, countOf, listOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, numberName } from './records-of-kind.ts';

/** Bytes that count about as much as a small record. */
const BYTES_OF_WEIGHT = 400;

/** What a claim brings. */
export interface StoredWill {
  /** Seconds; to 4,294,967,295. */
  readonly delaySeconds: number;
  /** As the shard stores a message: not read here. */
  readonly message: Uint8Array;
}

interface DueWill {
  readonly number: number;
  readonly message: Uint8Array;
}

/** Its lists are replaced, never changed. */
export class WillRecord implements RecordContent {
  readonly weight: number;
  /** Of the owner, or of the one who has left last. */
  armed: (StoredWill & DueWill) | undefined;
  /** A stamp; 0: its connection is there. */
  dueAt = 0;
  /** When the timer fires that counts; 0: there is none. */
  checkAt = 0;
  /** Oldest first. */
  due: readonly DueWill[] = [];

  constructor(weight = 2) {
    this.weight = weight;
  }

  static fromData(data: RecordData): WillRecord {
    const [format, armed, dueAt, checkAt, due] = listOf(data);
    assert(format === 1, 'mqtt-will: unknown format');
    const wills = listOf(due).map(dueOf);
    let bytes = wills.reduce((sum, { message }) => sum + message.length, 0);
    let stored: WillRecord['armed'];
    if (armed !== null) {
      const [number, delaySeconds, message] = listOf(armed);
      stored = {
        ...dueOf([countOf(number), bytesOf(message)]),
        delaySeconds: countOf(delaySeconds),
      };
      bytes += stored.message.length;
    }
    const record = new WillRecord(2 + Math.ceil(bytes / BYTES_OF_WEIGHT));
    record.armed = stored;
    record.dueAt = countOf(dueAt);
    record.checkAt = countOf(checkAt);
    record.due = wills;
    return record;
  }

  toData(): RecordData | undefined {
    const { armed } = this;
    if (armed === undefined && this.due.length === 0) return undefined;
    return [
      1,
      armed === undefined ? null : [armed.number, armed.delaySeconds, armed.message],
      this.dueAt,
      this.checkAt,
      this.due.map(({ number, message }) => [number, message]),
    ];
  }
}

function dueOf(data: RecordData): DueWill {
  const [number, message] = listOf(data);
  return { number: countOf(number), message: bytesOf(message).slice() };
}

export type WillRecords = RecordsOfKind<WillRecord, number>;

export const WILL_KIND = 'mqtt-will';

export function willRecords(table: RecordTable): WillRecords {
  return new RecordsOfKind<WillRecord, number>(table, {
    prefix: WILL_KIND,
    nameOf: numberName,
    fromData: (data) => WillRecord.fromData(data),
    fresh: () => new WillRecord(),
  });
}
