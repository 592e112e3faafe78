/**
 * What a record is outside the machine: a key and plain data (numbers, strings, bytes, lists of
 * these).
 *
 * `toData` gives data that shares no memory with the record, so it may be encoded later; `fromData`
 * copies what it keeps. Each record's data begins with the number of its format. Data that does not
 * fit is a fault of the store, which checks its sums before it hands anything over, and so an
 * assertion here.
 *
 * Keys:  meta
 *        definitions/<chunk>
 *        queue/<queueId>
 *        group/<queueId>/<groupId>
 *        settled/<queueId>/<groupId>/<chunk>
 *        attempts/<queueId>/<groupId>/<chunk>
 *        stream/<node>
 *        lost
 *        names, names/<chunk>
 *        shards
 */

import { assert } from './assert.ts';

declare const brand: unique symbol;
export type RecordKey = string & { readonly [brand]: 'RecordKey' };

export type RecordData = number | string | boolean | null | Uint8Array | readonly RecordData[];

/** A record as it was at the cut; `data` is undefined when it was removed. */
export interface CapturedRecord {
  readonly key: RecordKey;
  readonly data: RecordData | undefined;
}

export const META_KEY = 'meta' as RecordKey;

export function definitionsKey(chunk: number): RecordKey {
  return `definitions/${chunk}` as RecordKey;
}

export function queueKey(queueId: number): RecordKey {
  return `queue/${queueId}` as RecordKey;
}

export function groupKey(queueId: number, groupId: number): RecordKey {
  return `group/${queueId}/${groupId}` as RecordKey;
}

export function settledKey(queueId: number, groupId: number, chunk: number): RecordKey {
  return `settled/${queueId}/${groupId}/${chunk}` as RecordKey;
}

export function attemptsKey(queueId: number, groupId: number, chunk: number): RecordKey {
  return `attempts/${queueId}/${groupId}/${chunk}` as RecordKey;
}

export function streamKey(node: string): RecordKey {
  return `stream/${node}` as RecordKey;
}

/** Data of a record that another record says exists. */
export function stored(data: RecordData | undefined): RecordData {
  assert(data !== undefined, 'load: a record is missing in the store');
  return data;
}

export function numberOf(data: RecordData | undefined): number {
  assert(typeof data === 'number', 'record: a number was expected');
  return data;
}

export function countOf(data: RecordData | undefined): number {
  const value = numberOf(data);
  assert(Number.isSafeInteger(value) && value >= 0, 'record: a count was expected');
  return value;
}

export function stringOf(data: RecordData | undefined): string {
  assert(typeof data === 'string', 'record: a string was expected');
  return data;
}

export function listOf(data: RecordData | undefined): readonly RecordData[] {
  assert(Array.isArray(data), 'record: a list was expected');
  return data as readonly RecordData[];
}

export function bytesOf(data: RecordData | undefined): Uint8Array {
  assert(data instanceof Uint8Array, 'record: bytes were expected');
  return data;
}
