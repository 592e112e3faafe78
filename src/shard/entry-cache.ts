/**
 * Payloads of entries in memory, bounded by the memory that they keep, oldest first out: one for
 * the recent tail, which is filled by what was just committed, and one for what was read back.
 *
 * An entry that is larger than the whole bound is still kept until the next one comes, so that a
 * message can always be delivered. The cache shares the bytes with the log's write path and never
 * changes them.
 */

import type { LogIndex } from '../machine/ids.ts';

export interface CachedEntry {
  readonly index: LogIndex;
  readonly payload: readonly Uint8Array[];
  readonly bytes: number;
}

/** What an entry costs beyond its bytes, in any cache. */
export const ENTRY_OVERHEAD_BYTES = 256;
/** Memory of at most this size is shared by many entries, and each counts for its own part. */
const SHARED_BYTES_MAX = 32_768;
/** This part of the bound is emptied when it is exceeded. */
const EVICT_PART = 16;

interface Kept {
  readonly entry: CachedEntry;
  /** What of the memory that it lies in was counted for it. */
  readonly cost: number;
}

export class EntryCache {
  readonly #entries = new Map<LogIndex, Kept>();
  readonly #maxBytes: number;
  #bytes = 0;
  /** Counted last; parts of an entry and of its neighbours lie in it too. */
  #counted: ArrayBufferLike | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(index: LogIndex): CachedEntry | undefined {
    return this.#entries.get(index)?.entry;
  }

  add(entry: CachedEntry): void {
    if (this.#entries.has(entry.index)) return;
    const cost = ENTRY_OVERHEAD_BYTES + this.#memoryOf(entry);
    this.#entries.set(entry.index, { entry, cost });
    this.#bytes += cost;
    if (this.#bytes > this.#maxBytes) this.#evict(entry.index);
  }

  /** A part keeps all the memory that it lies in, and that may be twice as much as it needs. */
  #memoryOf({ payload }: CachedEntry): number {
    let bytes = 0;
    for (const part of payload) {
      const { buffer } = part;
      if (buffer.byteLength <= SHARED_BYTES_MAX) bytes += part.length;
      else if (buffer !== this.#counted) {
        this.#counted = buffer;
        bytes += buffer.byteLength;
      }
    }
    return bytes;
  }

  /**
   * More than one at a time: a Map's first key is found past all those that were taken before it.
   */
  #evict(newest: LogIndex): void {
    const target = this.#maxBytes - this.#maxBytes / EVICT_PART;
    for (const [index, { cost }] of this.#entries) {
      if (this.#bytes <= target || index === newest) break;
      this.#entries.delete(index);
      this.#bytes -= cost;
    }
  }
}
