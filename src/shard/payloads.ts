/**
 * The stored bytes of messages: the recent tail from memory, the rest from the log by the location
 * index, in batches and in order of offset.
 *
 * Everything is bounded: two caches of entries by bytes, a fixed number of reads under way, and the
 * location index by its own bound. What is read from the log was checked by the log (CRC); a
 * damaged range is remembered and answered with `lost` and its detail, so that a queue goes on
 * without it and never stalls in silence. Nothing here changes state of the machine; losing all of
 * it costs reads and nothing else.
 */

import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import { commandEnd, enqueuesTo, storedMessageStart } from './codec.ts';
import { EntryCache } from './entry-cache.ts';
import type { CachedEntry } from './entry-cache.ts';
import type { Location, LocationIndex } from './location-index.ts';
import type { PlainData } from './record-codec.ts';
import type { FaultyRange, ShardEntry, ShardLog } from './shard-log.ts';

/** A stored message inside the bytes of its entry; valid until the next `get`. */
export interface StoredMessage {
  bytes: Uint8Array;
  start: number;
  end: number;
  index: LogIndex;
}

/**
 * Where the last message of a reader was found, so that a reader who goes on in order searches
 * nothing.
 */
export class PayloadCursor {
  index = 0 as LogIndex;
  offset = -1;
  position = 0;
}

export type FetchOutcome =
  | { readonly kind: 'ready' }
  | { readonly kind: 'lost'; readonly detail: string };

export interface PayloadsOptions {
  readonly log: Pick<ShardLog, 'read' | 'faulty'>;
  readonly locations: LocationIndex;
  /** Reads one record of the location index; undefined: there is none. */
  loadRecord(key: string): Promise<PlainData | undefined>;
  readonly tailBytes: number;
  readonly readBytes: number;
}

const READ_BYTES = 256 * 1024;
const READS_MAX = 4;
/**
 * What a read brought must still be there when its reader comes for it, also behind other reads.
 */
const READ_CACHE_BYTES_MIN = 4 << 20;
const READY: FetchOutcome = { kind: 'ready' };

export class Payloads {
  readonly #options: PayloadsOptions;
  readonly #tail: EntryCache;
  readonly #read: EntryCache;
  readonly #faulty: FaultyRange[];
  readonly #waiting: (() => void)[] = [];
  readonly #location: Location = { index: 0 as LogIndex, position: 0, first: 0 as Offset };
  readonly #found: StoredMessage = {
    bytes: new Uint8Array(0),
    start: 0,
    end: 0,
    index: 0 as LogIndex,
  };
  #reads = 0;
  #lostDetail = '';

  constructor(options: PayloadsOptions) {
    this.#options = options;
    this.#tail = new EntryCache(options.tailBytes);
    this.#read = new EntryCache(Math.max(options.readBytes, READ_CACHE_BYTES_MIN));
    this.#faulty = [...options.log.faulty];
  }

  /** Why the last `get` said `lost`. */
  get lostDetail(): string {
    return this.#lostDetail;
  }

  get cachedBytes(): number {
    return this.#tail.bytes + this.#read.bytes;
  }

  /** An entry was applied: its payload is the newest of the tail. */
  applied(entry: ShardEntry): void {
    this.#tail.add(entry);
  }

  /** `away`: call `fetch`, then ask again. */
  get(queueId: QueueId, offset: Offset, cursor: PayloadCursor): StoredMessage | 'away' | 'lost' {
    const location = this.#location;
    if (!this.#options.locations.find(queueId, offset, location)) return 'away';
    const { index } = location;
    const entry = this.#tail.get(index) ?? this.#read.get(index);
    if (entry === undefined) {
      const range = this.#faultAt(index);
      if (range === undefined) return 'away';
      this.#lostDetail = range.detail;
      return 'lost';
    }
    let from = location.first as number;
    let position = location.position;
    if (cursor.index === index && cursor.offset >= from && cursor.offset <= offset) {
      from = cursor.offset;
      position = cursor.position;
    }
    cursor.offset = offset;
    cursor.position = position;
    return this.#walk(entry, { queueId, steps: offset - from }, cursor);
  }

  /**
   * Brings the entry of this message into memory, and with it what follows in the log, up to a
   * bound.
   */
  async fetch(queueId: QueueId, offset: Offset): Promise<FetchOutcome> {
    while (this.#reads >= READS_MAX) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#reads++;
    try {
      return await this.#fetch(queueId, offset);
    } finally {
      this.#reads--;
      this.#waiting.shift()?.();
    }
  }

  async #fetch(queueId: QueueId, offset: Offset): Promise<FetchOutcome> {
    const { locations, log } = this.#options;
    const location: Location = { index: 0 as LogIndex, position: 0, first: 0 as Offset };
    if (!locations.find(queueId, offset, location)) {
      const key = locations.keyOf(queueId, offset);
      locations.load(queueId, offset, await this.#options.loadRecord(key));
      if (!locations.find(queueId, offset, location)) {
        return { kind: 'lost', detail: `no record tells where offset ${offset} lies in the log` };
      }
    }
    const { index } = location;
    if (this.#tail.get(index) !== undefined || this.#read.get(index) !== undefined) return READY;
    if (this.#faultAt(index) !== undefined) return READY;
    const outcome = await log.read(index, READ_BYTES);
    if (outcome.kind === 'entries') {
      for (const entry of outcome.entries) this.#read.add(entry);
      return READY;
    }
    if (outcome.kind === 'faulty') {
      this.#faulty.push(outcome.range);
      if (this.#faultAt(index) !== undefined) return READY;
      return { kind: 'lost', detail: outcome.range.detail };
    }
    return { kind: 'lost', detail: `entry ${index} is not in the log any more` };
  }

  /**
   * From the command at the cursor's position `steps` further ones that enqueue to the queue; the
   * cursor stays there.
   */
  #walk(
    entry: CachedEntry,
    { queueId, steps }: { readonly queueId: QueueId; readonly steps: number },
    cursor: PayloadCursor,
  ): StoredMessage {
    const { position } = cursor;
    let part = 0;
    let partStart = 0;
    for (; ; part++) {
      const length = entry.payload[part]?.length;
      if (length === undefined) throw new Error('the location index points behind its entry');
      if (position < partStart + length) break;
      partStart += length;
    }
    let bytes = entry.payload[part] as Uint8Array;
    let at = position - partStart;
    for (let left = steps; ; at = commandEnd(bytes, at)) {
      if (at === bytes.length) {
        partStart += bytes.length;
        bytes = entry.payload[++part] as Uint8Array;
        at = 0;
      }
      if (!enqueuesTo(bytes, at, queueId)) continue;
      if (left === 0) break;
      left--;
    }
    cursor.index = entry.index;
    cursor.position = partStart + at;
    const found = this.#found;
    found.bytes = bytes;
    found.start = storedMessageStart(bytes, at);
    found.end = commandEnd(bytes, at);
    found.index = entry.index;
    return found;
  }

  #faultAt(index: LogIndex): FaultyRange | undefined {
    return this.#faulty.find((range) => range.from <= index && index <= range.through);
  }
}
