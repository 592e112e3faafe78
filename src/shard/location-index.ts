/**
 * Where the payload of each wanted message lies in the log: (queueId, offset) -> (log index, byte
 * position of the command in the entry).
 *
 * A *run* is a stretch of offsets of one queue whose commands follow each other in one section of
 * one entry with nothing refused between them: it costs one triple however many messages it has.
 * Runs lie in chunks of 256 offsets; a chunk is a record in the store, so that a checkpoint writes
 * what changed. What is not dirty may be evicted and is loaded again when somebody asks. A queue
 * without wanted messages costs nothing.
 *
 * Invariants: runs of a chunk ascend; a run never crosses a chunk or an entry; `lowest` of a queue
 * is at most the index of its oldest wanted message (it may lag behind, never run ahead: the log is
 * truncated by it). Derived state: replay from the checkpoint's index makes the same runs again.
 * Nothing here does I/O.
 */

import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { PlainData } from './record-codec.ts';

const CHUNK_OFFSETS = 256;
const RUN_BYTES = 11;
/** What a chunk costs in memory beyond its runs, for the bound of the cache. */
const CHUNK_OVERHEAD_BYTES = 200;
const RUN_MEMORY_BYTES = 24;
const SUMMARY_QUEUES = 256;
const SUMMARY_FIELDS = 4;
/** This part of the cache is emptied when it is full. */
const EVICT_PART = 16;

/** A found run; one object is used again and again by its owner. */
export interface Location {
  index: LogIndex;
  position: number;
  /** The offset whose command stands at `position`. */
  first: Offset;
}

interface Chunk {
  readonly queue: QueueLocations;
  readonly number: number;
  /** Flat triples: offset, index, position. */
  runs: number[];
  dirty: boolean;
  /** Frozen by a checkpoint that is not durable yet: the store has an older state, or none. */
  saving: boolean;
  /** Older runs of this chunk lie in the store only. */
  partial: boolean;
}

interface QueueLocations {
  readonly queueId: QueueId;
  readonly chunks: Map<number, Chunk>;
  tail: Chunk | undefined;
  next: number;
  runIndex: number;
  runEpoch: number;
  /** 0: nothing wanted. */
  lowest: number;
  firstChunk: number;
  /** Highest chunk that the store may hold; -1: none. */
  storedTop: number;
}

export interface FrozenLocations {
  /** Each is encoded by `encodeFrozen`, in any number of slices. */
  readonly chunks: readonly {
    readonly chunk: object;
    readonly key: string;
    readonly length: number;
  }[];
  readonly summaries: readonly { readonly key: string; readonly data: PlainData }[];
  readonly deletions: readonly string[];
}

export class LocationIndex {
  readonly #queues = new Map<QueueId, QueueLocations>();
  readonly #dirty = new Set<Chunk>();
  readonly #clean = new Set<Chunk>();
  readonly #deletions = new Set<string>();
  readonly #summaries = new Set<number>();
  readonly #cacheBytes: number;
  #saving: Chunk[] = [];
  #cleanBytes = 0;
  #changedBytes = 0;
  #index = 0 as LogIndex;
  #epoch = 1;
  #last: QueueLocations | undefined;

  /** `cacheBytes`: how much of what could be loaded again stays in memory. */
  constructor(cacheBytes: number) {
    this.#cacheBytes = cacheBytes;
  }

  /** About how much the next checkpoint has to write for this index. */
  get changedBytes(): number {
    return this.#changedBytes;
  }

  /** A command stored nothing, or a section begins: no run goes on across it. */
  breakRuns(): void {
    this.#epoch++;
  }

  /** The entry from which all comes that is appended now. */
  beginEntry(index: LogIndex): void {
    this.#index = index;
  }

  append(queueId: QueueId, offset: Offset, position: number): void {
    let queue = this.#last;
    if (queue === undefined || queue.queueId !== queueId) queue = this.#queue(queueId, offset);
    if (
      offset === queue.next &&
      this.#index === queue.runIndex &&
      queue.runEpoch === this.#epoch &&
      offset % CHUNK_OFFSETS !== 0
    ) {
      queue.next = offset + 1;
      return;
    }
    this.#startRun(queue, offset, position);
  }

  /**
   * True: `into` is set. False: the chunk must be loaded first (`keyOf`, `load`), or there is none.
   */
  find(queueId: QueueId, offset: Offset, into: Location): boolean {
    const queue = this.#queues.get(queueId);
    const chunk = queue?.chunks.get(Math.floor(offset / CHUNK_OFFSETS));
    if (chunk === undefined) return false;
    const { runs } = chunk;
    let low = 0;
    let high = runs.length / 3;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((runs[middle * 3] ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return false;
    const at = (low - 1) * 3;
    into.first = runs[at] as Offset;
    into.index = runs[at + 1] as LogIndex;
    into.position = runs[at + 2] ?? 0;
    if (!chunk.dirty && !chunk.saving) this.#touch(chunk);
    return true;
  }

  /** The record that holds the location of this message. */
  keyOf(queueId: QueueId, offset: Offset): string {
    return chunkKey(queueId, Math.floor(offset / CHUNK_OFFSETS));
  }

  /** Takes what the store has under `keyOf(queueId, offset)`. */
  load(queueId: QueueId, offset: Offset, data: PlainData | undefined): void {
    const queue = this.#queues.get(queueId);
    const number = Math.floor(offset / CHUNK_OFFSETS);
    if (queue === undefined || number < queue.firstChunk) return;
    const runs = data === undefined ? [] : decodeRuns(number, data);
    const resident = queue.chunks.get(number);
    if (resident !== undefined) {
      if (!resident.partial) return;
      const from = resident.runs[0] ?? Number.POSITIVE_INFINITY;
      const older = runs.filter((_value, at) => (runs[at - (at % 3)] ?? 0) < from);
      resident.runs = older.concat(resident.runs);
      resident.partial = false;
      return;
    }
    if (runs.length === 0) return;
    const chunk: Chunk = { queue, number, runs, dirty: false, saving: false, partial: false };
    queue.chunks.set(number, chunk);
    this.#keepClean(chunk);
  }

  /**
   * Everything below `floor` is settled, and the queue's next offset is `next`. False: the chunk of
   * the floor is not resident, so that `lowest` stays where it was.
   */
  settledBelow(queueId: QueueId, floor: Offset, next: Offset): boolean {
    const queue = this.#queues.get(queueId);
    if (queue === undefined) return true;
    if (floor >= next) {
      this.drop(queueId);
      return true;
    }
    const floorChunk = Math.floor(floor / CHUNK_OFFSETS);
    this.#dropChunks(queue, floorChunk);
    const found: Location = { index: 0 as LogIndex, position: 0, first: 0 as Offset };
    if (!this.find(queueId, floor, found)) return false;
    if (found.index !== queue.lowest) {
      queue.lowest = found.index;
      this.#summaries.add(Math.floor(queueId / SUMMARY_QUEUES));
    }
    return true;
  }

  /** The queue is gone, or nothing of it is wanted. */
  drop(queueId: QueueId): void {
    const queue = this.#queues.get(queueId);
    if (queue === undefined) return;
    this.#dropChunks(queue, Number.POSITIVE_INFINITY);
    this.#queues.delete(queueId);
    if (this.#last === queue) this.#last = undefined;
    this.#summaries.add(Math.floor(queueId / SUMMARY_QUEUES));
  }

  /** The lowest log index that any queue still wants, as far as is known; undefined: none. */
  lowestWanted(): LogIndex | undefined {
    let lowest = Number.POSITIVE_INFINITY;
    for (const queue of this.#queues.values()) {
      if (queue.lowest !== 0 && queue.lowest < lowest) lowest = queue.lowest;
    }
    return lowest === Number.POSITIVE_INFINITY ? undefined : (lowest as LogIndex);
  }

  /** Dirty chunks whose older part must be loaded before the next `freeze`. */
  partialChunks(): { queueId: QueueId; offset: Offset }[] {
    const partial: { queueId: QueueId; offset: Offset }[] = [];
    for (const chunk of this.#dirty) {
      if (chunk.partial) {
        partial.push({
          queueId: chunk.queue.queueId,
          offset: (chunk.number * CHUNK_OFFSETS) as Offset,
        });
      }
    }
    return partial;
  }

  /**
   * The cut: what changed since the last one, as it is now. Runs are only ever appended, so that
   * the length of a chunk's list is its state. No chunk may be partial.
   */
  freeze(): FrozenLocations {
    const chunks: { chunk: Chunk; key: string; length: number }[] = [];
    for (const chunk of this.#dirty) {
      if (chunk.partial) throw new Error('a partial chunk cannot be frozen');
      chunk.dirty = false;
      chunk.saving = true;
      const { queue } = chunk;
      queue.storedTop = Math.max(queue.storedTop, chunk.number);
      chunks.push({ chunk, key: chunkKey(queue.queueId, chunk.number), length: chunk.runs.length });
    }
    this.#saving = chunks.map((frozen) => frozen.chunk);
    const deletions = [...this.#deletions];
    const summaries = this.#freezeSummaries();
    this.#dirty.clear();
    this.#deletions.clear();
    this.#changedBytes = 0;
    return { chunks, summaries, deletions };
  }

  encodeFrozen(frozen: FrozenLocations['chunks'][number]): PlainData {
    return encodeRuns(frozen.chunk as Chunk, frozen.length);
  }

  /** The checkpoint of the last `freeze` is durable. */
  saved(): void {
    for (const chunk of this.#saving) {
      chunk.saving = false;
      if (!chunk.dirty && chunk.queue.chunks.get(chunk.number) === chunk) this.#keepClean(chunk);
    }
    this.#saving = [];
  }

  /** Of the keys of all summaries. */
  static readonly summaryPrefix = 'locations/';

  /** At start, before any replay: one call for each summary that the store has. */
  restore(summary: PlainData): void {
    const fields = summary as readonly number[];
    for (let at = 0; at + SUMMARY_FIELDS <= fields.length; at += SUMMARY_FIELDS) {
      const queueId = fields[at] as QueueId;
      const queue = newQueue(queueId, fields[at + 2] ?? 0);
      queue.lowest = fields[at + 1] ?? 0;
      queue.storedTop = fields[at + 3] ?? -1;
      this.#queues.set(queueId, queue);
    }
  }

  #queue(queueId: QueueId, offset: Offset): QueueLocations {
    let queue = this.#queues.get(queueId);
    if (queue === undefined) {
      queue = newQueue(queueId, Math.floor(offset / CHUNK_OFFSETS));
      this.#queues.set(queueId, queue);
    }
    this.#last = queue;
    return queue;
  }

  #startRun(queue: QueueLocations, offset: Offset, position: number): void {
    const index = this.#index;
    const number = Math.floor(offset / CHUNK_OFFSETS);
    let chunk = queue.tail;
    if (chunk === undefined || chunk.number !== number) chunk = this.#tailChunk(queue, number);
    if (!chunk.dirty) this.#markDirty(chunk);
    chunk.runs.push(offset, index, position);
    this.#changedBytes += RUN_BYTES;
    queue.next = offset + 1;
    queue.runIndex = index;
    queue.runEpoch = this.#epoch;
    if (queue.lowest === 0) {
      queue.lowest = index;
      this.#summaries.add(Math.floor(queue.queueId / SUMMARY_QUEUES));
    }
  }

  #tailChunk(queue: QueueLocations, number: number): Chunk {
    let chunk = queue.chunks.get(number);
    if (chunk === undefined) {
      const partial =
        number <= queue.storedTop && !this.#deletions.has(chunkKey(queue.queueId, number));
      chunk = { queue, number, runs: [], dirty: false, saving: false, partial };
      queue.chunks.set(number, chunk);
      this.#summaries.add(Math.floor(queue.queueId / SUMMARY_QUEUES));
    }
    queue.tail = chunk;
    return chunk;
  }

  #markDirty(chunk: Chunk): void {
    chunk.dirty = true;
    if (this.#clean.delete(chunk)) this.#cleanBytes -= memoryBytes(chunk);
    this.#dirty.add(chunk);
    this.#deletions.delete(chunkKey(chunk.queue.queueId, chunk.number));
    this.#changedBytes += CHUNK_OVERHEAD_BYTES;
  }

  #keepClean(chunk: Chunk): void {
    this.#clean.add(chunk);
    this.#cleanBytes += memoryBytes(chunk);
    if (this.#cleanBytes <= this.#cacheBytes) return;
    // More than one at a time: a Set's first element is found past all those that were taken before
    // it.
    const target = this.#cacheBytes - this.#cacheBytes / EVICT_PART;
    for (const oldest of this.#clean) {
      if (this.#cleanBytes <= target || oldest === chunk) break;
      this.#forget(oldest);
    }
  }

  #forget(chunk: Chunk): void {
    if (this.#clean.delete(chunk)) this.#cleanBytes -= memoryBytes(chunk);
    const { queue } = chunk;
    queue.chunks.delete(chunk.number);
    if (queue.tail === chunk) {
      queue.tail = undefined;
      queue.runIndex = 0;
    }
  }

  #touch(chunk: Chunk): void {
    if (this.#clean.delete(chunk)) this.#clean.add(chunk);
  }

  #dropChunks(queue: QueueLocations, below: number): void {
    const top = Math.max(queue.storedTop, queue.tail?.number ?? -1);
    const end = Math.min(below, top + 1);
    if (queue.firstChunk >= end) return;
    for (let number = queue.firstChunk; number < end; number++) {
      const chunk = queue.chunks.get(number);
      if (chunk !== undefined) {
        this.#dirty.delete(chunk);
        this.#forget(chunk);
      }
      if (number <= queue.storedTop) {
        this.#deletions.add(chunkKey(queue.queueId, number));
        this.#changedBytes += RUN_BYTES;
      }
    }
    queue.firstChunk = end;
    this.#summaries.add(Math.floor(queue.queueId / SUMMARY_QUEUES));
  }

  #freezeSummaries(): { key: string; data: PlainData }[] {
    const numbers = [...this.#summaries];
    this.#summaries.clear();
    return numbers.map((number) => {
      const fields: number[] = [];
      for (let id = number * SUMMARY_QUEUES; id < (number + 1) * SUMMARY_QUEUES; id++) {
        const queue = this.#queues.get(id as QueueId);
        if (queue !== undefined) fields.push(id, queue.lowest, queue.firstChunk, queue.storedTop);
      }
      return { key: summaryKey(number), data: fields };
    });
  }
}

function newQueue(queueId: QueueId, firstChunk: number): QueueLocations {
  return {
    queueId,
    chunks: new Map(),
    tail: undefined,
    next: -1,
    runIndex: 0,
    runEpoch: 0,
    lowest: 0,
    firstChunk,
    storedTop: -1,
  };
}

function memoryBytes(chunk: Chunk): number {
  return CHUNK_OVERHEAD_BYTES + (chunk.runs.length / 3) * RUN_MEMORY_BYTES;
}

function chunkKey(queueId: QueueId, number: number): string {
  return `location/${queueId}/${number}`;
}

function summaryKey(number: number): string {
  return `${LocationIndex.summaryPrefix}${number}`;
}

/**
 * A chunk as a record: for each run
 * ```
 *  0           1                   7               11
 *  +-----------+-------------------+---------------+
 *  | offset u8 | log index u48     | position u32  |   little-endian; offset in the chunk
 *  +-----------+-------------------+---------------+
 * ```
 */
function encodeRuns(chunk: Chunk, length: number): Uint8Array {
  const bytes = new Uint8Array((length / 3) * RUN_BYTES);
  const view = new DataView(bytes.buffer);
  for (let run = 0, at = 0; run < length; run += 3, at += RUN_BYTES) {
    const index = chunk.runs[run + 1] ?? 0;
    view.setUint8(at, (chunk.runs[run] ?? 0) % CHUNK_OFFSETS);
    view.setUint32(at + 1, index % 0x1_0000_0000, true);
    view.setUint16(at + 5, Math.floor(index / 0x1_0000_0000), true);
    view.setUint32(at + 7, chunk.runs[run + 2] ?? 0, true);
  }
  return bytes;
}

function decodeRuns(number: number, data: PlainData): number[] {
  if (!(data instanceof Uint8Array) || data.length % RUN_BYTES !== 0) {
    throw new Error('a chunk of the location index is not a list of runs');
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const runs: number[] = [];
  for (let at = 0; at < data.length; at += RUN_BYTES) {
    const index = view.getUint16(at + 5, true) * 0x1_0000_0000 + view.getUint32(at + 1, true);
    runs.push(number * CHUNK_OFFSETS + view.getUint8(at), index, view.getUint32(at + 7, true));
  }
  return runs;
}
