/**
 * Payloads of entries in memory, bounded by bytes, oldest first out: one for the recent tail, which
 * is filled by what was just committed, and one for what was read back from the log.
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

/** What an entry costs beyond its bytes. */
const ENTRY_OVERHEAD_BYTES = 256;
/** This part of the bound is emptied when it is exceeded. */
const EVICT_PART = 16;

export class EntryCache {
  readonly #entries = new Map<LogIndex, CachedEntry>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(index: LogIndex): CachedEntry | undefined {
    return this.#entries.get(index);
  }

  add(entry: CachedEntry): void {
    if (this.#entries.has(entry.index)) return;
    this.#entries.set(entry.index, entry);
    this.#bytes += entry.bytes + ENTRY_OVERHEAD_BYTES;
    if (this.#bytes > this.#maxBytes) this.#evict(entry.index);
  }

  /**
   * More than one at a time: a Map's first key is found past all those that were taken before it.
   */
  #evict(newest: LogIndex): void {
    const target = this.#maxBytes - this.#maxBytes / EVICT_PART;
    for (const [index, oldest] of this.#entries) {
      if (this.#bytes <= target || index === newest) break;
      this.#entries.delete(index);
      this.#bytes -= oldest.bytes + ENTRY_OVERHEAD_BYTES;
    }
  }
}
