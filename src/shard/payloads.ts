/**
 * The stored bytes of messages: the recent tail from memory, then the log by the location index,
 * then the runs, in batches and in order of offset.
 *
 * Everything is bounded: caches of entries and of blocks by bytes, a fixed number of reads under
 * way, and the location index by its own bound. Who reads in order is read ahead for. What is read
 * was checked by the log or the runs (CRC); damage is remembered and answered with `lost` and its
 * detail, so that a queue goes on without it and never stalls in silence. Nothing here changes
 * state of the machine; losing all of it costs reads and nothing else.
 */

import type { Runs } from '#storage';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import { EntryCache } from './entry-cache.ts';
import type { CachedEntry } from './entry-cache.ts';
import { EntryWalk } from './entry-walk.ts';
import type { Location, LocationIndex } from './location-index.ts';
import { ReadCache } from './read-cache.ts';
import type { PlainData } from './record-codec.ts';
import { RunBlocks } from './run-blocks.ts';
import type { CachedBlock } from './run-blocks.ts';
import type { Run, RunSet } from './run-set.ts';
import { RUN_VALUE_HEADER_BYTES, runValueIndex } from './run-values.ts';
import type { FaultyRange, ShardEntry, ShardLog } from './shard-log.ts';

/** A stored message inside the bytes of its entry or block; valid until the next `get`. */
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
  /** The block of a run in which the last message was found. */
  cached: CachedBlock | undefined;
}

export type FetchOutcome =
  | { readonly kind: 'ready' }
  /** `gone`: it is stored nowhere, and nothing is damaged. */
  | { readonly kind: 'lost'; readonly detail: string; readonly gone: boolean };

export interface PayloadsOptions {
  readonly log: Pick<ShardLog, 'read' | 'faulty'>;
  readonly locations: LocationIndex;
  readonly runSet: RunSet;
  /** Undefined: the shard has no runs. */
  readonly runs: Pick<Runs, 'read'> | undefined;
  /** Reads one record of the location index; undefined: there is none. */
  loadRecord(key: string): Promise<PlainData | undefined>;
  /** Damage was found in a run. */
  runDamaged?(run: Run, detail: string): void;
  readonly tailBytes: number;
  readonly readBytes: number;
}

const READ_BYTES = 256 * 1024;
/** With room for what a read passes on its way from the sparse index, and for headers. */
const READ_BUFFER_BYTES = READ_BYTES + 64 * 1024;
/** Who reads a run again reads it on, most likely: so much at once. */
const RUN_AHEAD_BYTES = 1 << 20;
const READS_MAX = 4;
/**
 * What a read brought must still be there when its reader comes for it, also behind other reads.
 */
const READ_CACHE_BYTES_MIN = 4 << 20;
const READY: FetchOutcome = { kind: 'ready' };

export class Payloads {
  readonly #options: PayloadsOptions;
  readonly #tail: EntryCache;
  readonly #read: ReadCache;
  readonly #blocks: RunBlocks;
  readonly #waiting: (() => void)[] = [];
  readonly #walk = new EntryWalk();
  readonly #location: Location = { index: 0 as LogIndex, position: 0, first: 0 as Offset };
  readonly #found: StoredMessage = {
    bytes: new Uint8Array(0),
    start: 0,
    end: 0,
    index: 0 as LogIndex,
  };
  /** The run that was read last: who reads it again is likely to read on. */
  #lastRun = 0;
  #reads = 0;
  #runBytesRead = 0;
  #lostDetail = '';
  #lostIsGone = false;

  constructor(options: PayloadsOptions) {
    this.#options = options;
    const readBytes = Math.max(options.readBytes, READ_CACHE_BYTES_MIN);
    this.#tail = new EntryCache(options.tailBytes);
    this.#read = new ReadCache(readBytes / 2, READ_BUFFER_BYTES);
    this.#blocks = new RunBlocks(readBytes / 2, RUN_AHEAD_BYTES);
  }

  /** Why the last `get` said `lost`. */
  get lostDetail(): string {
    return this.#lostDetail;
  }

  /** Why the last `get` said `lost`: it is stored nowhere, and nothing is damaged. */
  get lostIsGone(): boolean {
    return this.#lostIsGone;
  }

  get cachedBytes(): number {
    return this.#tail.bytes + this.#read.bytes + this.#blocks.bytes;
  }

  get runBytesRead(): number {
    return this.#runBytesRead;
  }

  /** An entry was applied: its payload is the newest of the tail. */
  applied(entry: ShardEntry): void {
    this.#tail.add(entry);
  }

  /** `away`: call `fetch`, then ask again. */
  get(queueId: QueueId, offset: Offset, cursor: PayloadCursor): StoredMessage | 'away' | 'lost' {
    const { runSet, locations } = this.#options;
    if (!runSet.isEmpty) {
      const run = runSet.find(queueId, offset);
      if (run !== undefined) return this.#fromRun(run, { queueId, offset }, cursor);
    }
    const location = this.#location;
    if (!locations.find(queueId, offset, location)) return 'away';
    const { index } = location;
    const entry = this.#tail.get(index) ?? this.#read.get(index);
    if (entry === undefined) {
      const range = this.#faultAt(index);
      if (range === undefined) return 'away';
      this.#lostDetail = range.detail;
      this.#lostIsGone = false;
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
    return this.#fromEntry(entry, { queueId, steps: offset - from }, cursor);
  }

  /**
   * Brings this message into memory, and with it what follows in the log or in its run, up to a
   * bound.
   */
  async fetch(queueId: QueueId, offset: Offset): Promise<FetchOutcome> {
    while (this.#reads >= READS_MAX) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#reads++;
    try {
      const run = this.#options.runSet.find(queueId, offset);
      if (run !== undefined) return await this.#fetchRun(run, { queueId, offset });
      return await this.#fetchEntry(queueId, offset);
    } finally {
      this.#reads--;
      this.#waiting.shift()?.();
    }
  }

  // --- The log.

  async #fetchEntry(queueId: QueueId, offset: Offset): Promise<FetchOutcome> {
    const { locations, log } = this.#options;
    const location: Location = { index: 0 as LogIndex, position: 0, first: 0 as Offset };
    if (!locations.find(queueId, offset, location)) {
      const key = locations.keyOf(queueId, offset);
      locations.load(queueId, offset, await this.#options.loadRecord(key));
      // It may have gone into a run meanwhile.
      if (this.#options.runSet.find(queueId, offset) !== undefined) return READY;
      if (!locations.find(queueId, offset, location)) {
        const detail = `no record tells where offset ${offset} lies in the log`;
        return { kind: 'lost', detail, gone: true };
      }
    }
    const { index } = location;
    if (this.#tail.get(index) !== undefined || this.#read.get(index) !== undefined) return READY;
    if (this.#faultAt(index) !== undefined) return READY;
    const buffer = this.#read.take();
    const outcome = await log.read(index, READ_BYTES, buffer);
    if (outcome.kind === 'entries') {
      this.#read.add(buffer, outcome.entries);
      return READY;
    }
    this.#read.giveBack(buffer);
    if (this.#options.runSet.find(queueId, offset) !== undefined) return READY;
    if (outcome.kind === 'faulty') {
      if (this.#faultAt(index) !== undefined) return READY;
      return { kind: 'lost', detail: outcome.range.detail, gone: false };
    }
    return { kind: 'lost', detail: `entry ${index} is not in the log any more`, gone: true };
  }

  /**
   * From the command at the cursor's position `steps` further ones that enqueue to the queue; the
   * cursor stays there.
   */
  #fromEntry(
    entry: CachedEntry,
    { queueId, steps }: { readonly queueId: QueueId; readonly steps: number },
    cursor: PayloadCursor,
  ): StoredMessage {
    const walk = this.#walk;
    walk.begin(entry.payload, cursor.position);
    walk.find(queueId, steps);
    cursor.index = entry.index;
    cursor.position = walk.position;
    cursor.cached = undefined;
    const found = this.#found;
    found.bytes = walk.bytes;
    found.start = walk.start;
    found.end = walk.end;
    found.index = entry.index;
    return found;
  }

  #faultAt(index: LogIndex): FaultyRange | undefined {
    return this.#options.log.faulty.find((range) => range.from <= index && index <= range.through);
  }

  // --- The runs.

  #fromRun(run: Run, of: MessagePlace, cursor: PayloadCursor): StoredMessage | 'away' | 'lost' {
    const { queueId, offset } = of;
    let { cached } = cursor;
    let value = cached?.block?.find(queueId, offset) ?? -1;
    if (value === -1) {
      cached = this.#blocks.find(run.runId, queueId, offset);
      value = cached?.block?.find(queueId, offset) ?? -1;
    }
    const block = cached?.block;
    if (block === undefined || value === -1) {
      const isRead = block !== undefined;
      const detail = this.#lostInRun(run, of, isRead);
      if (detail === undefined) return 'away';
      this.#lostDetail = detail;
      this.#lostIsGone = isRead && run.lost === undefined;
      return 'lost';
    }
    cursor.cached = cached;
    cursor.index = 0 as LogIndex;
    const found = this.#found;
    const start = block.start(value);
    found.bytes = block.bytes;
    found.start = start + RUN_VALUE_HEADER_BYTES;
    found.end = block.end(value);
    found.index = runValueIndex(block.bytes, start);
    return found;
  }

  /** Why the message cannot be read, in words; undefined: it has to be fetched. */
  #lostInRun(run: Run, { queueId, offset }: MessagePlace, read: boolean): string | undefined {
    if (run.lost !== undefined) return run.lost;
    if (read) return `run ${run.runId} does not hold offset ${offset}`;
    return this.#blocks.damageAt(run.runId, queueId, offset)?.detail;
  }

  async #fetchRun(run: Run, { queueId, offset }: MessagePlace): Promise<FetchOutcome> {
    const { runs } = this.#options;
    const blocks = this.#blocks;
    const { runId, lost } = run;
    if (lost !== undefined || runs === undefined) return READY;
    if (blocks.find(runId, queueId, offset) !== undefined) return READY;
    if (blocks.damageAt(runId, queueId, offset) !== undefined) return READY;
    const key = { stream: queueId, offset };
    const into = this.#lastRun === runId ? blocks.take() : undefined;
    const limits = into ? { maxBytes: RUN_AHEAD_BYTES, into } : { maxBytes: READ_BYTES };
    const read = await runs.read(runId, key, limits);
    if (read.kind === 'damaged') {
      blocks.addDamage(read.damage);
      this.#options.runDamaged?.(run, read.damage.detail);
      return READY;
    }
    if (read.kind === 'end') {
      return { kind: 'lost', detail: `run ${runId} ends before offset ${offset}`, gone: true };
    }
    blocks.add(runId, read.blocks, into);
    for (const block of read.blocks) this.#runBytesRead += block.bytes.length;
    this.#lastRun = runId;
    return READY;
  }
}

interface MessagePlace {
  readonly queueId: QueueId;
  readonly offset: Offset;
}
