/**
 * The checkpoint of a shard: all records as they were at one index i, with i and its term, in one
 * atomic synced write; then the log below is given back.
 *
 * The cut is made between two entries, in one turn, at an index that is applied and so durable in
 * this node's own log. Encoding goes in slices between other work; what `apply` changes meanwhile
 * is captured first by the machine (copy-on-write), and the location index only ever appends. Only
 * after the write is durable is the log truncated, and never past what a queue wanted at the cut. A
 * crash at any point leaves the last checkpoint or this one, and a log that reaches back far enough
 * for both.
 */

import type { RecordStore } from '#storage';
import { decodeRecord, encodeRecord } from './record-codec.ts';
import type { PlainData } from './record-codec.ts';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { CapturedRecord } from '../machine/record-data.ts';
import type { FrozenLocations, LocationIndex } from './location-index.ts';
import type { RecordLoader } from './record-loader.ts';
import type { ShardLog } from './shard-log.ts';

export interface CheckpointOptions {
  readonly machine: Machine;
  readonly locations: LocationIndex;
  readonly loader: RecordLoader;
  readonly records: RecordStore;
  readonly log: Pick<ShardLog, 'id' | 'truncatePrefix' | 'start'>;
  /** Calls `cut` once between two entries, with the last applied index and its term. */
  atBoundary(cut: (index: LogIndex, term: number) => void): Promise<void>;
  /** Resolves in a later turn of the event loop. */
  nextTurn(): Promise<void>;
  readonly monotonicMs: () => number;
  /** Encoding makes way for other work after this long. */
  readonly sliceMs: number;
}

/** What a record of the machine costs in a checkpoint, about; to decide when one is due. */
const RECORD_BYTES_ABOUT = 160;
const CAPTURE_MAX = 64;
const NOTE_FORMAT = 2;
const LOOK_UP_QUEUES = 256;

interface Cut {
  readonly index: LogIndex;
  readonly term: number;
  readonly lowest: LogIndex | undefined;
  readonly frozen: FrozenLocations;
}

export interface CheckpointStats {
  readonly count: number;
  readonly index: number;
  readonly lastMs: number;
  readonly lastBytes: number;
  /** All of them together. */
  readonly bytes: number;
}

/**
 * What may have been delivered already, at a clean stop: everything up to this log index, and in
 * each group (`<queueId>/<groupId>`) everything below this offset. Says nothing any more once the
 * log has gone on.
 */
export interface DeliveryMarks {
  readonly inheritedThrough: number;
  readonly seenBelow: ReadonlyMap<string, number>;
}

export interface CheckpointNote {
  /** Of which log the records are. */
  readonly logId: string;
  readonly marks: DeliveryMarks | undefined;
}

/** Groups whose marks are kept; with more, everything counts as delivered. Bounds the note. */
const MARKED_GROUPS_MAX = 50_000;

/** What a checkpoint says beside its index. */
export function encodeNote({ logId, marks }: CheckpointNote): Uint8Array {
  if (marks === undefined || marks.seenBelow.size > MARKED_GROUPS_MAX) {
    return encodeRecord([NOTE_FORMAT, logId]);
  }
  return encodeRecord([NOTE_FORMAT, logId, marks.inheritedThrough, [...marks.seenBelow].flat()]);
}

/** Undefined: not a note of this format. */
export function decodeNote(bytes: Uint8Array): CheckpointNote | undefined {
  const fields = decodeRecord(bytes);
  if (!Array.isArray(fields)) return undefined;
  const [format, logId, inheritedThrough, pairs] = fields as readonly PlainData[];
  if (format !== NOTE_FORMAT || typeof logId !== 'string') return undefined;
  if (typeof inheritedThrough !== 'number' || !Array.isArray(pairs)) {
    return { logId, marks: undefined };
  }
  const seenBelow = new Map<string, number>();
  for (let at = 0; at + 1 < pairs.length; at += 2) {
    seenBelow.set(String(pairs[at]), Number(pairs[at + 1]));
  }
  return { logId, marks: { inheritedThrough, seenBelow } };
}

export class Checkpoints {
  readonly #options: CheckpointOptions;
  /** Queues whose floor has moved since the last cut. */
  readonly #settled = new Set<QueueId>();
  #running: Promise<void> | undefined;
  #index: LogIndex;
  #count = 0;
  #lastMs = 0;
  #lastBytes = 0;
  #bytes = 0;

  /** `index`: of the checkpoint that is in the store, 0 for none. */
  constructor(options: CheckpointOptions, index: LogIndex) {
    this.#options = options;
    this.#index = index;
  }

  get running(): boolean {
    return this.#running !== undefined;
  }

  get index(): LogIndex {
    return this.#index;
  }

  get stats(): CheckpointStats {
    return {
      count: this.#count,
      index: this.#index,
      lastMs: this.#lastMs,
      lastBytes: this.#lastBytes,
      bytes: this.#bytes,
    };
  }

  /** About how much the next one has to write. */
  get changedBytes(): number {
    const { machine, locations } = this.#options;
    return machine.dirtyRecords * RECORD_BYTES_ABOUT + locations.changedBytes;
  }

  /** A message of this queue was settled: its floor may have moved. */
  settled(queueId: QueueId): void {
    this.#settled.add(queueId);
  }

  /** The queue is gone. */
  deleted(queueId: QueueId): void {
    this.#settled.delete(queueId);
    this.#options.locations.drop(queueId);
  }

  /**
   * One at a time: a call while one runs joins it. Rejects when the store failed. `marks`: nothing
   * will be delivered or proposed any more.
   */
  run(marks?: DeliveryMarks): Promise<void> {
    this.#running ??= this.#run(marks).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(marks: DeliveryMarks | undefined): Promise<void> {
    const { machine, locations, records, log } = this.#options;
    const began = this.#options.monotonicMs();
    await this.#lowerFloors();
    const batch = records.begin();
    const cut = await this.#cut();
    await this.#inSlices(() => {
      const captured: CapturedRecord[] = [];
      const done = machine.capture(CAPTURE_MAX, captured);
      for (const { key, data } of captured) {
        if (data === undefined) batch.delete(key);
        else batch.put(key, encodeRecord(data));
      }
      return !done;
    });
    const { chunks, summaries, deletions } = cut.frozen;
    let at = 0;
    await this.#inSlices(() => {
      for (const end = Math.min(at + CAPTURE_MAX, chunks.length); at < end; at++) {
        const chunk = chunks[at] as (typeof chunks)[number];
        batch.put(chunk.key, encodeRecord(locations.encodeFrozen(chunk)));
      }
      return at < chunks.length;
    });
    at = 0;
    await this.#inSlices(() => {
      for (const end = Math.min(at + CAPTURE_MAX, deletions.length); at < end; at++) {
        batch.delete(deletions[at] as string);
      }
      return at < deletions.length;
    });
    for (const { key, data } of summaries) batch.put(key, encodeRecord(data));
    const { bytes } = batch;
    await batch.write({
      index: cut.index,
      term: cut.term,
      data: encodeNote({ logId: log.id, marks }),
    });
    machine.thaw();
    locations.saved();
    this.#index = cut.index;
    this.#count++;
    this.#lastBytes = bytes;
    this.#bytes += bytes;
    const firstKept = Math.min(cut.index + 1, cut.lowest ?? Number.POSITIVE_INFINITY) as LogIndex;
    if (firstKept > log.start) await log.truncatePrefix(firstKept);
    this.#lastMs = this.#options.monotonicMs() - began;
  }

  async #cut(): Promise<Cut> {
    const { machine, locations, loader } = this.#options;
    for (;;) {
      let made: Cut | undefined;
      await this.#options.atBoundary((index, term) => {
        // A chunk whose older part lies in the store alone must be made whole first.
        if (locations.partialChunks().length > 0) return;
        machine.freeze();
        made = { index, term, lowest: locations.lowestWanted(), frozen: locations.freeze() };
      });
      if (made !== undefined) return made;
      for (const { queueId, offset } of locations.partialChunks()) {
        locations.load(queueId, offset, await loader.one(locations.keyOf(queueId, offset)));
      }
    }
  }

  /** Tells the location index what is settled, so that the log can be given back. */
  async #lowerFloors(): Promise<void> {
    const queues = [...this.#settled];
    this.#settled.clear();
    for (let at = 0; at < queues.length; at += LOOK_UP_QUEUES) {
      for (const queueId of queues.slice(at, at + LOOK_UP_QUEUES)) await this.#lowerFloor(queueId);
      await this.#options.nextTurn();
    }
  }

  async #lowerFloor(queueId: QueueId): Promise<void> {
    const { machine, locations, loader } = this.#options;
    if (machine.queueKeys(queueId).length > 0) await loader.until(() => machine.queueKeys(queueId));
    const floor = machine.lowestWanted(queueId);
    const next = machine.nextOffset(queueId);
    if (floor === undefined || next === undefined) return;
    if (locations.settledBelow(queueId, floor, next)) return;
    const data = await loader.one(locations.keyOf(queueId, floor));
    locations.load(queueId, floor, data);
    const newFloor = machine.lowestWanted(queueId) as Offset | undefined;
    const newNext = machine.nextOffset(queueId) as Offset | undefined;
    if (newFloor === undefined || newNext === undefined) return;
    // When the floor has left the chunk meanwhile, the next checkpoint looks again.
    if (!locations.settledBelow(queueId, newFloor, newNext)) this.#settled.add(queueId);
  }

  async #inSlices(step: () => boolean): Promise<void> {
    const { monotonicMs, sliceMs } = this.#options;
    let until = monotonicMs() + sliceMs;
    while (step()) {
      if (monotonicMs() < until) continue;
      await this.#options.nextTurn();
      until = monotonicMs() + sliceMs;
    }
  }
}
