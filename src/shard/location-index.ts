/**
 * Where the payload of each wanted message lies in the log: (queueId, offset) -> (log index, byte
 * position of the command in the entry).
 *
 * A *stretch* is neighbouring offsets of one queue whose commands follow each other in one section
 * of one entry with nothing refused between them: it costs four numbers however many messages it
 * has. Stretches lie in chunks of 256 offsets; a chunk is a record in the store, so that a
 * checkpoint writes what changed. What is not dirty may be evicted and is loaded again when
 * somebody asks. A queue without wanted messages costs nothing. What was spilled into runs is known
 * here no more: `spilledBelow` is the first entry that still is.
 *
 * Invariants: the stretches of a chunk ascend; none crosses a chunk or an entry; `lowest` of a
 * queue is at most the index of its oldest wanted message in the log (it may lag behind, never run
 * ahead: the log is truncated by it). Derived state: replay from the checkpoint's index makes the
 * same stretches again. Nothing here does I/O.
 */

import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import {
  CHUNK_OFFSETS,
  chunkKey,
  decodeStretches,
  encodeStretches,
  FIELDS,
  newQueue,
  STRETCH_BYTES,
  SUMMARY_PREFIX,
  summaryKey,
} from './location-chunks.ts';
import type {
  Chunk,
  ChunkBelow,
  FrozenLocations,
  LocatedStretch,
  QueueLocations,
  SpilledQueue,
} from './location-chunks.ts';
import type { PlainData } from './record-codec.ts';

/** What a chunk costs in memory beyond its stretches, for the bound of the cache. */
const CHUNK_OVERHEAD_BYTES = 200;
const STRETCH_MEMORY_BYTES = 32;
const SUMMARY_QUEUES = 256;
const SUMMARY_FIELDS = 4;
/** This part of the cache is emptied when it is full. */
const EVICT_PART = 16;

/** A found stretch; one object is used again and again by its owner. */
export interface Location {
  index: LogIndex;
  position: number;
  /** The offset whose command stands at `position`. */
  first: Offset;
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
  #position = 0;
  #bytes = 0;
  #spilledBelow = 0 as LogIndex;
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

  /** Nothing below this entry is known here any more. */
  get spilledBelow(): LogIndex {
    return this.#spilledBelow;
  }

  /** A command stored nothing, or a section begins: no stretch goes on across it. */
  breakRuns(): void {
    this.#epoch++;
  }

  /** The entry from which all comes that is appended now. */
  beginEntry(index: LogIndex): void {
    this.#index = index;
  }

  /** Where in its entry the command lies of which all comes that is appended now, and its size. */
  beginCommand(position: number, bytes: number): void {
    this.#position = position;
    this.#bytes = bytes;
  }

  append(queueId: QueueId, offset: Offset): void {
    let queue = this.#last;
    if (queue === undefined || queue.queueId !== queueId) queue = this.#queue(queueId, offset);
    if (
      offset === queue.next &&
      this.#index === queue.stretchIndex &&
      queue.stretchEpoch === this.#epoch &&
      offset % CHUNK_OFFSETS !== 0
    ) {
      queue.next = offset + 1;
      const { stretches } = queue.tail as Chunk;
      const bytesAt = stretches.length - 1;
      stretches[bytesAt] = (stretches[bytesAt] as number) + this.#bytes;
      return;
    }
    this.#startStretch(queue, offset);
  }

  /**
   * True: `into` is set. False: the chunk must be loaded first (`keyOf`, `load`), or there is none.
   */
  find(queueId: QueueId, offset: Offset, into: Location): boolean {
    const queue = this.#queues.get(queueId);
    const chunk = queue?.chunks.get(Math.floor(offset / CHUNK_OFFSETS));
    if (chunk === undefined) return false;
    const { stretches } = chunk;
    let low = 0;
    let high = stretches.length / FIELDS;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((stretches[middle * FIELDS] ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return false;
    const at = (low - 1) * FIELDS;
    into.first = stretches[at] as Offset;
    into.index = stretches[at + 1] as LogIndex;
    into.position = stretches[at + 2] ?? 0;
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
    const stretches = data === undefined ? [] : decodeStretches(number, data);
    const resident = queue.chunks.get(number);
    if (resident !== undefined) {
      if (!resident.partial) return;
      const from = resident.stretches[0] ?? Number.POSITIVE_INFINITY;
      const older = stretches.filter((_value, at) => (stretches[at - (at % FIELDS)] ?? 0) < from);
      resident.stretches = older.concat(resident.stretches);
      resident.partial = false;
      return;
    }
    if (stretches.length === 0) return;
    const chunk: Chunk = { queue, number, stretches, dirty: false, saving: false, partial: false };
    queue.chunks.set(number, chunk);
    this.#keepClean(chunk);
  }

  /**
   * Nothing below `floor` is wanted, and the queue's next offset is `next`. False: the chunk of the
   * floor is not resident, so that `lowest` stays where it was.
   */
  settledBelow(queueId: QueueId, floor: Offset, next: Offset): boolean {
    const queue = this.#queues.get(queueId);
    if (queue === undefined) return true;
    if (floor >= next) {
      this.drop(queueId);
      return true;
    }
    const floorChunk = Math.floor(floor / CHUNK_OFFSETS);
    // What it holds was spilled: the oldest in the log is what it was.
    if (floorChunk < queue.firstChunk) return true;
    this.#dropChunks(queue, floorChunk);
    const found: Location = { index: 0 as LogIndex, position: 0, first: 0 as Offset };
    if (!this.find(queueId, floor, found)) return false;
    this.#raiseLowest(queue, found.index);
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

  // --- Spilling.

  /** Queues that may have something below this entry, ascending. */
  queuesBelow(boundary: LogIndex): QueueId[] {
    const queueIds: QueueId[] = [];
    for (const { queueId, lowest } of this.#queues.values()) {
      if (lowest !== 0 && lowest < boundary) queueIds.push(queueId);
    }
    return queueIds.sort((a, b) => a - b);
  }

  /** The chunks of a queue, both included; undefined: it has none. */
  chunksOf(queueId: QueueId): { readonly first: number; readonly last: number } | undefined {
    const queue = this.#queues.get(queueId);
    if (queue === undefined) return undefined;
    return { first: queue.firstChunk, last: topChunk(queue) };
  }

  firstOffsetOf(chunk: number): Offset {
    return (chunk * CHUNK_OFFSETS) as Offset;
  }

  /** Undefined: the chunk must be loaded first (`keyOf` its first offset), or there is none. */
  below(queueId: QueueId, number: number, boundary: LogIndex): ChunkBelow | undefined {
    const chunk = this.#queues.get(queueId)?.chunks.get(number);
    if (chunk === undefined || chunk.partial) return undefined;
    const { stretches } = chunk;
    const found: LocatedStretch[] = [];
    for (let at = 0; at < stretches.length; at += FIELDS) {
      const index = stretches[at + 1] as LogIndex;
      if (index >= boundary) return { stretches: found, reachesAbove: true };
      if (index < this.#spilledBelow) continue;
      const first = stretches[at] as number;
      const end = stretches[at + FIELDS] ?? (number + 1) * CHUNK_OFFSETS;
      const [position, bytes] = [stretches[at + 2] as number, stretches[at + 3] as number];
      found.push({ first, count: end - first, index, position, bytes });
    }
    return { stretches: found, reachesAbove: false };
  }

  /**
   * Everything wanted below `boundary` lies in runs. `queues` has every queue that `queuesBelow`
   * gave, as it was found; a queue that was appended to since then keeps what is new.
   */
  spilled(boundary: LogIndex, queues: ReadonlyMap<QueueId, SpilledQueue>): void {
    this.#spilledBelow = boundary;
    for (const queue of this.#queues.values()) {
      if (queue.lowest === 0 || queue.lowest >= boundary) continue;
      const found = queues.get(queue.queueId);
      if (found === undefined) throw new Error(`queue ${queue.queueId} was not spilled`);
      if (found.isWhole && queue.topIndex < boundary) {
        this.drop(queue.queueId);
        continue;
      }
      this.#dropChunks(queue, found.chunk);
      this.#raiseLowest(queue, boundary);
    }
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
   * The cut, between two entries: what changed since the last one, as it is now. Stretches are only
   * ever appended, so that the length of a chunk's list is its state. No chunk may be partial.
   */
  freeze(): FrozenLocations {
    const chunks: { chunk: Chunk; key: string; length: number }[] = [];
    for (const chunk of this.#dirty) {
      if (chunk.partial) throw new Error('a partial chunk cannot be frozen');
      chunk.dirty = false;
      chunk.saving = true;
      const { queue } = chunk;
      queue.storedTop = Math.max(queue.storedTop, chunk.number);
      chunks.push({
        chunk,
        key: chunkKey(queue.queueId, chunk.number),
        length: chunk.stretches.length,
      });
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
    const { stretches } = frozen.chunk as Chunk;
    return encodeStretches(stretches, frozen.length);
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
  static readonly summaryPrefix = SUMMARY_PREFIX;

  /** At start: nothing below this entry is known here. */
  restoreSpilled(below: LogIndex): void {
    this.#spilledBelow = below;
  }

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

  #raiseLowest(queue: QueueLocations, index: LogIndex): void {
    if (index <= queue.lowest) return;
    queue.lowest = index;
    this.#summaries.add(Math.floor(queue.queueId / SUMMARY_QUEUES));
  }

  #startStretch(queue: QueueLocations, offset: Offset): void {
    const index = this.#index;
    const number = Math.floor(offset / CHUNK_OFFSETS);
    let chunk = queue.tail;
    if (chunk === undefined || chunk.number !== number) chunk = this.#tailChunk(queue, number);
    if (!chunk.dirty) this.#markDirty(chunk);
    chunk.stretches.push(offset, index, this.#position, this.#bytes);
    this.#changedBytes += STRETCH_BYTES;
    queue.next = offset + 1;
    queue.stretchIndex = index;
    queue.stretchEpoch = this.#epoch;
    queue.topIndex = index;
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
      chunk = { queue, number, stretches: [], dirty: false, saving: false, partial };
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
      queue.stretchIndex = 0;
    }
  }

  #touch(chunk: Chunk): void {
    if (this.#clean.delete(chunk)) this.#clean.add(chunk);
  }

  #dropChunks(queue: QueueLocations, below: number): void {
    const end = Math.min(below, topChunk(queue) + 1);
    if (queue.firstChunk >= end) return;
    for (let number = queue.firstChunk; number < end; number++) {
      const chunk = queue.chunks.get(number);
      if (chunk !== undefined) {
        this.#dirty.delete(chunk);
        this.#forget(chunk);
      }
      if (number <= queue.storedTop) {
        this.#deletions.add(chunkKey(queue.queueId, number));
        this.#changedBytes += STRETCH_BYTES;
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

function topChunk(queue: QueueLocations): number {
  return Math.max(queue.storedTop, queue.tail?.number ?? -1);
}

function memoryBytes(chunk: Chunk): number {
  return CHUNK_OVERHEAD_BYTES + (chunk.stretches.length / FIELDS) * STRETCH_MEMORY_BYTES;
}
