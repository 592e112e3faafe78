/**
 * A part of a spill: wanted messages in the order of their keys, first as places in the log, then
 * with their payloads, read from the log in its own order. One object serves all parts of a spill.
 *
 * A *row* is neighbouring offsets of one queue that lie behind each other in one entry, so a batch
 * of messages costs one; rows are columns of numbers, because a spill may have millions. Bounded:
 * at most `ROWS_MAX` rows, and payloads up to the buffer of the spill but for one stretch. What
 * lies in a damaged range of the log has no payload: it is told as lost.
 */

import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import { EntryWalk } from './entry-walk.ts';
import type { LocatedStretch } from './location-chunks.ts';
import type { ShardEntry, ShardLog } from './shard-log.ts';

/** Also the factor that makes one number of an entry's and a row's. */
const ROWS_MAX = 65_536;
const SLAB_BYTES = 1 << 20;
const READ_BYTES = 512 * 1024;
/** With what a read of the log takes in front of and behind its entries. */
const READ_BUFFER_BYTES = READ_BYTES + 8192;
const FIRST_ROWS = 1024;
/** A row without payloads. */
const NOWHERE = 0xffff_ffff;

export class SpillPart {
  readonly #bufferBytes: number;
  readonly #slabBytes: number;
  #queueIds = new Float64Array(FIRST_ROWS);
  #firsts = new Float64Array(FIRST_ROWS);
  #indexes = new Float64Array(FIRST_ROWS);
  #counts = new Uint32Array(FIRST_ROWS);
  /** Of the first command of the row's stretch, and how many of the queue come before the row's. */
  #positions = new Uint32Array(FIRST_ROWS);
  #skips = new Uint32Array(FIRST_ROWS);
  /** Where the row's payloads stand, behind each other, and the first of their lengths. */
  #slabOf = new Uint32Array(FIRST_ROWS);
  #starts = new Uint32Array(FIRST_ROWS);
  #lengthsAt = new Uint32Array(FIRST_ROWS);
  #order = new Float64Array(FIRST_ROWS);
  readonly #walk = new EntryWalk();
  readonly #lost = new Map<number, string>();
  readonly #read: Uint8Array;
  #lengths = new Uint32Array(FIRST_ROWS);
  #slabs: Uint8Array[] = [];
  #rows = 0;
  #bytes = 0;
  #slab = 0;
  #slabAt = 0;
  #lengthCount = 0;

  constructor(bufferBytes: number) {
    this.#bufferBytes = bufferBytes;
    this.#slabBytes = Math.min(SLAB_BYTES, bufferBytes);
    this.#read = new Uint8Array(Math.min(READ_BUFFER_BYTES, bufferBytes));
  }

  get rows(): number {
    return this.#rows;
  }

  get isFull(): boolean {
    // A stretch has at most as many rows as half its offsets, and comes whole.
    return this.#rows > ROWS_MAX - 256 || this.#bytes >= this.#bufferBytes;
  }

  clear(): void {
    this.#lost.clear();
    this.#slabs = this.#slabs.filter((slab) => slab.length === this.#slabBytes);
    this.#rows = 0;
    this.#bytes = 0;
    this.#slab = 0;
    this.#slabAt = 0;
    this.#lengthCount = 0;
  }

  /** The wanted offsets of a stretch. */
  add(
    queueId: QueueId,
    stretch: LocatedStretch,
    isWanted: (queueId: QueueId, offset: Offset) => boolean,
  ): void {
    const { first, count, bytes } = stretch;
    const rowsBefore = this.#rows;
    const end = first + count;
    let from = -1;
    for (let offset = first; offset <= end; offset++) {
      const wanted = offset < end && isWanted(queueId, offset as Offset);
      if (wanted && from === -1) from = offset;
      if (wanted || from === -1) continue;
      this.#addRow(queueId, stretch, { from, to: offset });
      from = -1;
    }
    if (this.#rows > rowsBefore) this.#bytes += bytes;
  }

  /** Reads every row's payloads; `rest` is called between entries. */
  async read(log: Pick<ShardLog, 'read'>, rest: () => Promise<void>): Promise<void> {
    const base = this.#sort();
    const order = this.#order;
    const reads = new EntryReads(log, this.#read);
    for (let at = 0; at < this.#rows;) {
      await rest();
      const index = Math.floor((order[at] as number) / ROWS_MAX) + base;
      const found = await reads.at(index as LogIndex);
      const end = (index - base + 1) * ROWS_MAX;
      for (; at < this.#rows && (order[at] as number) < end; at++) {
        const row = (order[at] as number) % ROWS_MAX;
        // An entry that has gone meanwhile held nothing wanted any more.
        if (typeof found === 'string') this.#lost.set(row, found);
        else if (found !== undefined) this.#copy(row, found);
      }
    }
  }

  queueId(row: number): QueueId {
    return this.#queueIds[row] as QueueId;
  }

  first(row: number): Offset {
    return this.#firsts[row] as Offset;
  }

  count(row: number): number {
    return this.#counts[row] as number;
  }

  index(row: number): LogIndex {
    return this.#indexes[row] as LogIndex;
  }

  /** Why the row's payloads cannot be read. */
  lost(row: number): string | undefined {
    return this.#lost.get(row);
  }

  /** The payloads of the row, behind each other from `start(row)` on; undefined: there are none. */
  bytes(row: number): Uint8Array | undefined {
    const slab = this.#slabOf[row] as number;
    return slab === NOWHERE ? undefined : this.#slabs[slab];
  }

  start(row: number): number {
    return this.#starts[row] as number;
  }

  lengthOf(row: number, nth: number): number {
    return this.#lengths[(this.#lengthsAt[row] as number) + nth] as number;
  }

  #addRow(
    queueId: QueueId,
    { first, index, position }: LocatedStretch,
    { from, to }: { readonly from: number; readonly to: number },
  ): void {
    const row = this.#rows++;
    if (row === this.#queueIds.length) this.#grow();
    this.#queueIds[row] = queueId;
    this.#firsts[row] = from;
    this.#indexes[row] = index;
    this.#counts[row] = to - from;
    this.#positions[row] = position;
    this.#skips[row] = from - first;
    this.#slabOf[row] = NOWHERE;
  }

  /** The rows in the order of the log; gives the entry from which on they count. */
  #sort(): number {
    let base = Number.POSITIVE_INFINITY;
    for (let row = 0; row < this.#rows; row++) base = Math.min(base, this.#indexes[row] as number);
    for (let row = 0; row < this.#rows; row++) {
      this.#order[row] = ((this.#indexes[row] as number) - base) * ROWS_MAX + row;
    }
    this.#order.subarray(0, this.#rows).sort();
    return base;
  }

  #copy(row: number, entry: ShardEntry): void {
    const walk = this.#walk;
    const queueId = this.queueId(row);
    walk.begin(entry.payload, this.#positions[row] as number);
    walk.find(queueId, this.#skips[row] as number);
    const count = this.count(row);
    while (this.#lengthCount + count > this.#lengths.length) this.#lengths = twice(this.#lengths);
    this.#lengthsAt[row] = this.#lengthCount;
    let start = this.#slabAt;
    for (let left = count; ; walk.next(queueId)) {
      const { start: from, end: to } = walk;
      start = this.#room(start, to - from);
      this.#slabs[this.#slab]?.set(walk.bytes.subarray(from, to), this.#slabAt);
      this.#slabAt += to - from;
      this.#lengths[this.#lengthCount++] = to - from;
      if (--left === 0) break;
    }
    this.#slabOf[row] = this.#slab;
    this.#starts[row] = start;
  }

  #grow(): void {
    this.#queueIds = twice(this.#queueIds);
    this.#firsts = twice(this.#firsts);
    this.#indexes = twice(this.#indexes);
    this.#counts = twice(this.#counts);
    this.#positions = twice(this.#positions);
    this.#skips = twice(this.#skips);
    this.#slabOf = twice(this.#slabOf);
    this.#starts = twice(this.#starts);
    this.#lengthsAt = twice(this.#lengthsAt);
    this.#order = twice(this.#order);
  }

  /** Room for more bytes behind those of the row that begins at `start`; where it begins now. */
  #room(start: number, length: number): number {
    const slab = this.#slabs[this.#slab];
    if (slab === undefined) {
      this.#slabs.push(new Uint8Array(Math.max(this.#slabBytes, length)));
      return start;
    }
    if (this.#slabAt + length <= slab.length) return start;
    const begun = this.#slabAt - start;
    this.#slab++;
    const next = this.#slabs[this.#slab];
    if (next === undefined || next.length < begun + length) {
      const bytes = Math.max(this.#slabBytes, 2 * (begun + length));
      this.#slabs.splice(this.#slab, 0, new Uint8Array(bytes));
    }
    this.#slabs[this.#slab]?.set(slab.subarray(start, start + begun));
    this.#slabAt = begun;
    return 0;
  }
}

function twice<Column extends Float64Array | Uint32Array>(column: Column): Column {
  const larger = new (column.constructor as new (length: number) => Column)(2 * column.length);
  larger.set(column);
  return larger;
}

/** Entries in ascending order, read ahead. */
class EntryReads {
  readonly #log: Pick<ShardLog, 'read'>;
  readonly #memory: Uint8Array;
  #entries: readonly ShardEntry[] = [];

  /** Entries lie in `memory`, until the next read. */
  constructor(log: Pick<ShardLog, 'read'>, memory: Uint8Array) {
    this.#log = log;
    this.#memory = memory;
  }

  /** The entry, in words why it cannot be read, or undefined: it is not in the log any more. */
  async at(index: LogIndex): Promise<ShardEntry | string | undefined> {
    const first = this.#entries[0]?.index ?? (0 as LogIndex);
    const known = index < first ? undefined : this.#entries[index - first];
    if (known !== undefined) return known;
    this.#entries = [];
    const outcome = await this.#log.read(index, READ_BYTES, this.#memory);
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
