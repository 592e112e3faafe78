/**
 * Where delayed messages are to go once they are due.
 *
 * A delayed message lies in the shard's own queue `DELAYED_QUEUE`; for each of its offsets a record
 * of `DELAYED_CHUNK` offsets holds the targets. A target list that is the same as the one before is
 * kept once in memory. When its timer fires the message moves to the outbox with its targets, and
 * is forgotten here. Only timers name offsets, and each names one that is here: so nothing says
 * which records there are, and a record in which nothing waits is not stored.
 */

import { assert } from './assert.ts';
import type { QueueId } from './ids.ts';
import { type RecordData, type RecordKey, countOf, listOf } from './record-data.ts';
import type { RecordContent, RecordTable } from './record-table.ts';
import { RecordsOfKind, numberName } from './records-of-kind.ts';

export const DELAYED_CHUNK = 32;

class DelayedChunk implements RecordContent {
  readonly weight = 2;
  readonly targets = new Map<number, readonly QueueId[]>();
  #last: readonly QueueId[] = [];

  static fromData(data: RecordData): DelayedChunk {
    const [format, flat] = listOf(data);
    assert(format === 1, 'delayed: unknown format');
    const cells = listOf(flat).map(countOf);
    const chunk = new DelayedChunk();
    for (let i = 0; i < cells.length;) {
      const end = i + 2 + (cells[i + 1] as number);
      chunk.set(cells[i] as number, cells.slice(i + 2, end) as QueueId[]);
      i = end;
    }
    return chunk;
  }

  set(at: number, targets: readonly QueueId[]): void {
    const last = this.#last;
    const same = last.length === targets.length && last.every((each, i) => each === targets[i]);
    if (!same) this.#last = [...targets];
    this.targets.set(at, this.#last);
  }

  toData(): RecordData | undefined {
    if (this.targets.size === 0) return undefined;
    const flat: number[] = [];
    for (const [at, targets] of this.targets) {
      flat.push(at, targets.length);
      for (const queueId of targets) flat.push(queueId);
    }
    return [1, flat];
  }
}

export class Delayed {
  readonly #chunks: RecordsOfKind<DelayedChunk, number>;

  constructor(table: RecordTable) {
    this.#chunks = new RecordsOfKind<DelayedChunk, number>(table, {
      prefix: 'delayed',
      nameOf: numberName,
      fromData: (data) => DelayedChunk.fromData(data),
      fresh: () => new DelayedChunk(),
    });
  }

  load(rest: string, data: RecordData | undefined): void {
    this.#chunks.load(rest, data);
  }

  /** What everything below needs. */
  needs(offset: number, keys: RecordKey[]): void {
    this.#chunks.need(chunkOf(offset), keys);
  }

  add(offset: number, targets: readonly QueueId[]): void {
    this.#chunks.change(chunkOf(offset)).set(offset % DELAYED_CHUNK, targets);
  }

  /** The targets of a message that is due, which waits no more. */
  take(offset: number): readonly QueueId[] {
    const { targets } = this.#chunks.change(chunkOf(offset));
    const found = targets.get(offset % DELAYED_CHUNK);
    assert(found !== undefined, 'delayed: no such message');
    targets.delete(offset % DELAYED_CHUNK);
    return found;
  }
}

function chunkOf(offset: number): number {
  return Math.floor(offset / DELAYED_CHUNK);
}
