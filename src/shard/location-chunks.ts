/**
 * The chunks of the location index as they lie in the record store, and what a spill hears of them.
 * Pure; `location-index.ts` says what a chunk and a stretch are.
 */

import type { LogIndex, QueueId } from '../machine/ids.ts';
import type { PlainData } from './record-codec.ts';

export const CHUNK_OFFSETS = 256;
/** Of a stretch: offset, index, position, bytes of its messages. */
export const FIELDS = 4;
export const STRETCH_BYTES = 15;
export const SUMMARY_PREFIX = 'locations/';
export const LOCATION_PREFIX = 'location/';

/** Inside the location index alone. */
export interface Chunk {
  readonly queue: QueueLocations;
  readonly number: number;
  /** `FIELDS` numbers for each. */
  stretches: number[];
  dirty: boolean;
  /** Frozen by a checkpoint that is not durable yet: the store has an older state, or none. */
  saving: boolean;
  /** Older stretches of this chunk lie in the store only. */
  partial: boolean;
}

export interface QueueLocations {
  readonly queueId: QueueId;
  readonly chunks: Map<number, Chunk>;
  tail: Chunk | undefined;
  next: number;
  stretchIndex: number;
  stretchEpoch: number;
  /** 0: nothing wanted. */
  lowest: number;
  /** Entry of the last append since the start; 0: none. */
  topIndex: number;
  firstChunk: number;
  /** Highest chunk that the store may hold; -1: none. */
  storedTop: number;
}

/** Neighbouring messages of one queue in one entry. */
export interface LocatedStretch {
  readonly first: number;
  /** How many offsets; the last stretch of all reaches to the end of its chunk. */
  readonly count: number;
  readonly index: LogIndex;
  /** Of the command of `first`. */
  readonly position: number;
  /** Stored bytes of all of them. */
  readonly bytes: number;
}

/** What lies in one chunk below an entry. */
export interface ChunkBelow {
  readonly stretches: readonly LocatedStretch[];
  /** Something lies in it at or above that entry. */
  readonly reachesAbove: boolean;
}

/** A queue as a spill found it. */
export interface SpilledQueue {
  /** Its first chunk with something at or above the boundary; where there is none, its last. */
  readonly chunk: number;
  /** All of it lay below the boundary. */
  readonly isWhole: boolean;
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

export function chunkKey(queueId: QueueId, number: number): string {
  return `${LOCATION_PREFIX}${queueId}/${number}`;
}

export function summaryKey(number: number): string {
  return `${SUMMARY_PREFIX}${number}`;
}

/**
 * A chunk as a record; of the list of its stretches, as long as it was. For each stretch
 * ```
 *  0           1                   7               11              15
 *  +-----------+-------------------+---------------+---------------+
 *  | offset u8 | log index u48     | position u32  | bytes u32     |   little-endian
 *  +-----------+-------------------+---------------+---------------+
 * ```
 * with the offset in the chunk.
 */
export function encodeStretches(stretches: readonly number[], length: number): Uint8Array {
  const bytes = new Uint8Array((length / FIELDS) * STRETCH_BYTES);
  const view = new DataView(bytes.buffer);
  for (let from = 0, at = 0; from < length; from += FIELDS, at += STRETCH_BYTES) {
    const index = stretches[from + 1] ?? 0;
    view.setUint8(at, (stretches[from] ?? 0) % CHUNK_OFFSETS);
    view.setUint32(at + 1, index % 0x1_0000_0000, true);
    view.setUint16(at + 5, Math.floor(index / 0x1_0000_0000), true);
    view.setUint32(at + 7, stretches[from + 2] ?? 0, true);
    view.setUint32(at + 11, stretches[from + 3] ?? 0, true);
  }
  return bytes;
}

export function decodeStretches(number: number, data: PlainData): number[] {
  if (!(data instanceof Uint8Array) || data.length % STRETCH_BYTES !== 0) {
    throw new Error('a chunk of the location index is not a list of stretches');
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const stretches: number[] = [];
  for (let at = 0; at < data.length; at += STRETCH_BYTES) {
    const index = view.getUint16(at + 5, true) * 0x1_0000_0000 + view.getUint32(at + 1, true);
    const first = number * CHUNK_OFFSETS + view.getUint8(at);
    stretches.push(first, index, view.getUint32(at + 7, true), view.getUint32(at + 11, true));
  }
  return stretches;
}

export function newQueue(queueId: QueueId, firstChunk: number): QueueLocations {
  return {
    queueId,
    chunks: new Map(),
    tail: undefined,
    next: -1,
    stretchIndex: 0,
    stretchEpoch: 0,
    lowest: 0,
    topIndex: 0,
    firstChunk,
    storedTop: -1,
  };
}
