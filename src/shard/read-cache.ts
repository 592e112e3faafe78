/**
 * What was read back from the log, in memory, by the buffers into which it was read: bounded by
 * them, oldest first out, and each is read into again.
 *
 * So a reader who goes through a long backlog makes no garbage outside of the heap, which costs a
 * collection for every few megabytes. What `get` gave is good until the next `add`, and must never
 * be kept beyond that: its bytes become those of another read. The last read is kept however large
 * it is, so that a message can always be delivered.
 */

import type { LogIndex } from '../machine/ids.ts';
import { type CachedEntry, ENTRY_OVERHEAD_BYTES } from './entry-cache.ts';

/** Buffers that wait for a read. */
const SPARE_MAX = 4;

interface Piece {
  /** Undefined: the entries lie elsewhere, in memory of their own. */
  readonly buffer: Uint8Array | undefined;
  readonly entries: readonly CachedEntry[];
  readonly cost: number;
}

export class ReadCache {
  readonly #entries = new Map<LogIndex, CachedEntry>();
  readonly #pieces: Piece[] = [];
  readonly #spare: Uint8Array[] = [];
  readonly #maxBytes: number;
  readonly #bufferBytes: number;
  #bytes = 0;

  constructor(maxBytes: number, bufferBytes: number) {
    this.#maxBytes = maxBytes;
    this.#bufferBytes = bufferBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(index: LogIndex): CachedEntry | undefined {
    return this.#entries.get(index);
  }

  /** A buffer for one read, which is the reader's until `add` or `giveBack`. */
  take(): Uint8Array {
    return this.#spare.pop() ?? new Uint8Array(this.#bufferBytes);
  }

  /** Nothing that is wanted was read into it. */
  giveBack(buffer: Uint8Array): void {
    if (this.#spare.length < SPARE_MAX) this.#spare.push(buffer);
  }

  /** What a read brought, maybe into this buffer. */
  add(buffer: Uint8Array, entries: readonly CachedEntry[]): void {
    const isIn = entries.some(({ payload }) => payload[0]?.buffer === buffer.buffer);
    if (!isIn) this.giveBack(buffer);
    let cost = isIn ? buffer.length : 0;
    for (const entry of entries) {
      this.#entries.set(entry.index, entry);
      cost += ENTRY_OVERHEAD_BYTES + (isIn ? 0 : entry.bytes);
    }
    this.#pieces.push({ buffer: isIn ? buffer : undefined, entries, cost });
    this.#bytes += cost;
    while (this.#bytes > this.#maxBytes && this.#pieces.length > 1) this.#evictOldest();
  }

  #evictOldest(): void {
    const oldest = this.#pieces.shift();
    if (oldest === undefined) return;
    for (const entry of oldest.entries) {
      // Another read may have brought it again.
      if (this.#entries.get(entry.index) === entry) this.#entries.delete(entry.index);
    }
    this.#bytes -= oldest.cost;
    if (oldest.buffer !== undefined) this.giveBack(oldest.buffer);
  }
}
