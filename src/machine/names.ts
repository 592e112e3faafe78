/**
 * In which shards the queues are that are not in shard 0: a name, its shard, and the version of
 * that choice. Shard 0 has these rows; every other shard has a fence in their place.
 *
 * All versions are one counter. A name that is placed again keeps its shard and gets a higher
 * version; a row goes only at its version, when a delete has raised the fence of its shard to it
 * and the queue is not there. A shard makes no queue for a place at its fence or below. So whoever
 * has placed a name and then slept, while it was deleted and placed elsewhere, makes no second
 * queue of that name. What is defined in a shard has its row here, at its version or a later one.
 *
 * Always in memory, in columns; in the store 64 rows a record, in the order in which they were made
 * (a number that is never used again). A row whose queue was never made, or is gone, does no harm:
 * the next one goes there.
 *
 *   names          [1, last version, fence, last row, [chunk, ...]]; absent: never used
 *   names/<chunk>  [1, [row, name, shard, version], ...]
 */

import { assert } from './assert.ts';
import { type QueueId, SHARDS_MAX } from './ids.ts';
import { QueueNames, grown } from './queue-names.ts';
import {
  type RecordData,
  type RecordKey,
  countOf,
  listOf,
  stored,
  stringOf,
} from './record-data.ts';
import {
  type RecordContent,
  type RecordHolder,
  type RecordTable,
  Resident,
} from './record-table.ts';

export const NAMES_KEY = 'names' as RecordKey;
export const NAMES_MAX = 1_048_576;
const CHUNK = 64;

/** Version 0: in shard 0, which needs no row for it. */
export interface QueuePlace {
  readonly shard: number;
  readonly version: number;
}

export interface PlacedName extends QueuePlace {
  readonly name: string;
}

/** Rows that lie together: 64 at most. */
export interface NamesChunk {
  readonly number: number;
  readonly rows: readonly PlacedName[];
}

/** What stands in the column of ids: the number of the row. */
function rowId(row: number): QueueId {
  return row as QueueId;
}

class Head implements RecordContent {
  version = 0;
  fence = 0;
  lastRow = 0;
  chunks: number[] = [];

  toData(): RecordData | undefined {
    if (this.version === 0 && this.fence === 0) return undefined;
    return [1, this.version, this.fence, this.lastRow, [...this.chunks]];
  }
}

function headOf(data: RecordData | undefined): Head {
  const head = new Head();
  if (data === undefined) return head;
  const [format, version, fence, lastRow, chunks] = listOf(data);
  assert(format === 1, 'names: unknown format');
  head.version = countOf(version);
  head.fence = countOf(fence);
  head.lastRow = countOf(lastRow);
  head.chunks = listOf(chunks).map(countOf);
  return head;
}

export class Names implements RecordHolder {
  readonly #table: RecordTable;
  readonly #rows: QueueNames;
  #shards: Uint8Array;
  #versions: Float64Array;
  readonly #chunks = new Map<number, Resident<RecordContent>>();
  /** Rows of each shard. */
  readonly #counts = new Uint32Array(SHARDS_MAX);
  #head: Resident<Head> | undefined;

  /** `seed`: see `QueueNames`. */
  constructor(table: RecordTable, seed: number) {
    this.#table = table;
    this.#rows = new QueueNames(seed);
    this.#shards = new Uint8Array(this.#rows.capacity);
    this.#versions = new Float64Array(this.#rows.capacity);
  }

  get size(): number {
    return this.#rows.size;
  }

  /** A place at this version or below makes no queue here any more. */
  get fence(): number {
    return this.#loaded.content.fence;
  }

  get(name: string): QueuePlace | undefined {
    const slot = this.#rows.slotNamed(name);
    return slot === -1 ? undefined : this.#placeAt(slot);
  }

  /** The rows of the next chunk behind this one (-1: the first), in order; undefined: none. */
  chunkBehind(chunk: number): NamesChunk | undefined {
    // In ascending order, as they were made.
    const number = this.#loaded.content.chunks.find((each) => each > chunk);
    return number === undefined ? undefined : { number, rows: [...this.#placed(number)] };
  }

  count(shard: number): number {
    return this.#counts[shard] ?? 0;
  }

  /** A new row, or a later version of the one that is there, which keeps its shard. */
  place(name: string, shard: number): QueuePlace {
    assert(shard > 0 && shard < SHARDS_MAX, 'names: no such shard');
    const head = this.#change();
    head.version += 1;
    let slot = this.#rows.slotNamed(name);
    if (slot === -1) {
      assert(this.size < NAMES_MAX, 'names: too many');
      head.lastRow += 1;
      this.#touchChunk(head.lastRow);
      slot = this.#add({ row: head.lastRow, name, shard });
    } else {
      this.#touchChunk(this.#rows.id(slot));
    }
    this.#versions[slot] = head.version;
    return this.#placeAt(slot);
  }

  /** False: it is not there, or at another version. */
  remove(name: string, version: number): boolean {
    const slot = this.#rows.slotNamed(name);
    if (slot === -1 || this.#versions[slot] !== version) return false;
    const row = this.#rows.id(slot);
    const chunk = this.#touchChunk(row);
    const shard = this.#shards[slot] as number;
    this.#counts[shard] = this.count(shard) - 1;
    this.#rows.remove(slot);
    const number = chunkOf(row);
    if (this.#rowsOf(number).length > 0) return true;
    this.#table.remove(chunk);
    this.#chunks.delete(number);
    const head = this.#change();
    head.chunks = head.chunks.filter((each) => each !== number);
    return true;
  }

  raiseFence(version: number): void {
    if (version > this.fence) this.#change().fence = version;
  }

  /** At the start: load what this names and ask again, until it is empty. */
  missing(): RecordKey[] {
    if (this.#head === undefined) return [NAMES_KEY];
    const { chunks } = this.#head.content;
    return chunks.filter((chunk) => !this.#chunks.has(chunk)).map(chunkKey);
  }

  loadHead(data: RecordData | undefined): void {
    this.#head ??= new Resident(NAMES_KEY, headOf(data), this);
  }

  loadChunk(number: number, data: RecordData | undefined): void {
    if (this.#chunks.has(number)) return;
    this.#keepChunk(number);
    const [format, ...rows] = listOf(stored(data));
    assert(format === 1, 'names: unknown format');
    for (const fields of rows) {
      const [row, name, shard, version] = listOf(fields);
      assert(chunkOf(countOf(row)) === number, 'names: a row in a wrong chunk');
      const slot = this.#add({ row: countOf(row), name: stringOf(name), shard: countOf(shard) });
      this.#versions[slot] = countOf(version);
    }
  }

  evicted(): void {
    assert(false, 'names: never evicted');
  }

  get #loaded(): Resident<Head> {
    assert(this.#head !== undefined, 'names: not loaded');
    return this.#head;
  }

  #change(): Head {
    this.#table.touch(this.#loaded);
    return this.#loaded.content;
  }

  #placeAt(slot: number): QueuePlace {
    return { shard: this.#shards[slot] as number, version: this.#versions[slot] as number };
  }

  #add({ row, name, shard }: { row: number; name: string; shard: number }): number {
    const slot = this.#rows.add(rowId(row), name);
    const { capacity } = this.#rows;
    if (this.#shards.length < capacity) {
      this.#shards = grown(this.#shards, new Uint8Array(capacity));
      this.#versions = grown(this.#versions, new Float64Array(capacity));
    }
    this.#shards[slot] = shard;
    this.#counts[shard] = this.count(shard) + 1;
    return slot;
  }

  /** The chunk of this row, about to change. */
  #touchChunk(row: number): Resident<RecordContent> {
    const number = chunkOf(row);
    let chunk = this.#chunks.get(number);
    if (chunk === undefined) {
      chunk = this.#keepChunk(number);
      const head = this.#change();
      // Rows are made in order, so that it is the highest.
      head.chunks.push(number);
    }
    this.#table.touch(chunk);
    return chunk;
  }

  #keepChunk(number: number): Resident<RecordContent> {
    const content = { toData: (): RecordData => [1, ...this.#rowsOf(number)] };
    const chunk = new Resident<RecordContent>(chunkKey(number), content, this);
    this.#chunks.set(number, chunk);
    return chunk;
  }

  #rowsOf(chunk: number): RecordData[] {
    return Array.from(this.#placed(chunk), ({ row, name, shard, version }) => {
      return [row, name, shard, version];
    });
  }

  *#placed(chunk: number): Generator<PlacedName & { readonly row: number }> {
    for (let row = chunk * CHUNK; row < (chunk + 1) * CHUNK; row += 1) {
      const slot = this.#rows.slotOf(rowId(row));
      if (slot !== -1) yield { row, name: this.#rows.name(slot), ...this.#placeAt(slot) };
    }
  }
}

function chunkOf(row: number): number {
  return Math.floor(row / CHUNK);
}

function chunkKey(chunk: number): RecordKey {
  return `${NAMES_KEY}/${chunk}` as RecordKey;
}
