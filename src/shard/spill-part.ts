/**
 * A part of a spill: wanted messages in the order of their keys, first as places in the log, then
 * with their payloads, read from the log in its own order.
 *
 * Bounded: at most `ROWS_MAX` rows, and payloads up to the buffer of the spill but for one row. A
 * row is neighbouring offsets of one queue that lie behind each other in one entry, so a batch of
 * messages costs one. What lies in a damaged range of the log has no payload: it is told as lost.
 */

import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import { EntryWalk } from './entry-walk.ts';
import type { LocatedStretch } from './location-chunks.ts';
import type { ShardEntry, ShardLog } from './shard-log.ts';

const ROWS_MAX = 32_768;
const SLAB_BYTES = 1 << 20;
const READ_BYTES = 512 * 1024;
/** A row's number beside its entry's in one number. */
const ROW_FACTOR = 65_536;

export interface SpillRow {
  readonly queueId: QueueId;
  readonly first: Offset;
  readonly count: number;
  readonly index: LogIndex;
  /** Of the first command of its stretch, and how many of the queue come before the row's. */
  readonly position: number;
  readonly skip: number;
  /** Where the row's messages stand; undefined: not read yet, or lost. */
  messages: RowMessages | undefined;
  lost: string | undefined;
}

/** Messages in one array of bytes, behind each other. */
export interface RowMessages {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly lengths: readonly number[];
}

export class SpillPart {
  readonly rows: SpillRow[] = [];
  readonly #bufferBytes: number;
  #bytes = 0;
  #slab = new Uint8Array(0);
  #slabAt = 0;

  constructor(bufferBytes: number) {
    this.#bufferBytes = bufferBytes;
  }

  get isFull(): boolean {
    return this.rows.length >= ROWS_MAX || this.#bytes >= this.#bufferBytes;
  }

  /** The wanted offsets of a stretch. */
  add(
    queueId: QueueId,
    stretch: LocatedStretch,
    isWanted: (queueId: QueueId, offset: Offset) => boolean,
  ): void {
    const { first, count, index, position, bytes } = stretch;
    const rowsBefore = this.rows.length;
    let from = -1;
    for (let offset = first; offset <= first + count; offset++) {
      const wanted = offset < first + count && isWanted(queueId, offset as Offset);
      if (wanted && from === -1) from = offset;
      if (wanted || from === -1) continue;
      const skip = from - first;
      const row = { queueId, first: from as Offset, count: offset - from, index, position, skip };
      this.rows.push({ ...row, messages: undefined, lost: undefined });
      from = -1;
    }
    if (this.rows.length > rowsBefore) this.#bytes += bytes;
  }

  /** Reads every row's payloads; `rest` is called between entries. */
  async read(log: Pick<ShardLog, 'read'>, rest: () => Promise<void>): Promise<void> {
    const walk = new EntryWalk();
    const { rows } = this;
    const base = rows.reduce((low, row) => Math.min(low, row.index), Number.POSITIVE_INFINITY);
    const order = new Float64Array(rows.length);
    for (const [nth, row] of rows.entries()) order[nth] = (row.index - base) * ROW_FACTOR + nth;
    order.sort();
    const entries = new EntryReads(log);
    for (const packed of order) {
      const row = rows[packed % ROW_FACTOR] as SpillRow;
      const found = await entries.at(row.index, rest);
      // An entry that has gone meanwhile held nothing wanted any more.
      if (found === undefined) continue;
      if (typeof found === 'string') row.lost = found;
      else row.messages = this.#copy(walk, found, row);
    }
  }

  #copy(walk: EntryWalk, entry: ShardEntry, row: SpillRow): RowMessages {
    walk.begin(entry.payload, row.position);
    walk.find(row.queueId, row.skip);
    const lengths: number[] = [];
    let start = this.#slabAt;
    for (let left = row.count; ; walk.next(row.queueId)) {
      const { start: from, end: to } = walk;
      const length = to - from;
      start = this.#room(start, length);
      this.#slab.set(walk.bytes.subarray(from, to), this.#slabAt);
      this.#slabAt += length;
      lengths.push(length);
      if (--left === 0) break;
    }
    return { bytes: this.#slab, start, lengths };
  }

  /** Room for more bytes behind those of the row that begins at `start`; where it begins now. */
  #room(start: number, length: number): number {
    if (this.#slabAt + length <= this.#slab.length) return start;
    const row = this.#slab.subarray(start, this.#slabAt);
    this.#slab = new Uint8Array(Math.max(SLAB_BYTES, 2 * (row.length + length)));
    this.#slab.set(row);
    this.#slabAt = row.length;
    return 0;
  }
}

/** Entries in ascending order, read ahead. */
class EntryReads {
  readonly #log: Pick<ShardLog, 'read'>;
  #entries: readonly ShardEntry[] = [];
  #last: LogIndex | undefined;
  #found: ShardEntry | string | undefined;

  constructor(log: Pick<ShardLog, 'read'>) {
    this.#log = log;
  }

  /** The entry, in words why it cannot be read, or undefined: it is not in the log any more. */
  async at(index: LogIndex, rest: () => Promise<void>): Promise<ShardEntry | string | undefined> {
    if (index === this.#last) return this.#found;
    await rest();
    this.#last = index;
    this.#found = await this.#find(index);
    return this.#found;
  }

  async #find(index: LogIndex): Promise<ShardEntry | string | undefined> {
    const first = this.#entries[0]?.index ?? (0 as LogIndex);
    const known = index < first ? undefined : this.#entries[index - first];
    if (known !== undefined) return known;
    const outcome = await this.#log.read(index, READ_BYTES);
    switch (outcome.kind) {
      case 'entries':
        this.#entries = outcome.entries;
        return outcome.entries[0] as ShardEntry;
      case 'faulty':
        return outcome.range.detail;
      case 'outside':
        return undefined;
    }
  }
}
