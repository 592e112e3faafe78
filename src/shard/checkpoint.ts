/**
 * The checkpoint of a shard: all records as they were at one index i, with i and its term, in one
 * atomic synced write; then the log below is given back.
 *
 * The cut is made between two entries, in one turn, at an index that is applied; it is written when
 * that is durable in this node's own log too. Encoding goes in slices between other work; what
 * `apply` changes meanwhile is captured first by the machine (copy-on-write), and the location
 * index only ever appends. It names the runs that count. Only after the write is durable is the log
 * truncated, never past what a queue wanted of it at the cut, and only then do the files of runs go
 * that it names no more. A crash at any point leaves the last checkpoint or this one, and a log and
 * runs that are enough for both.
 */

import type { HeldFor } from '#raft';
import type { RecordBatch, RecordStore } from '#storage';
import { decodeRecord, encodeRecord } from './record-codec.ts';
import type { PlainData } from './record-codec.ts';
import { DELAYED_QUEUE } from '../machine/ids.ts';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { CapturedRecord } from '../machine/record-data.ts';
import type { FrozenLocations } from './location-chunks.ts';
import type { LocationIndex } from './location-index.ts';
import type { RecordLoader } from './record-loader.ts';
import type { ShardLog } from './shard-log.ts';

/** What is known of the runs, as records of a checkpoint. */
export interface RunRecords {
  /** At the cut: what changed since the last one, as it is now. */
  freeze(): {
    readonly puts: readonly { readonly key: string; readonly data: PlainData }[];
    readonly deletions: readonly string[];
  };
  /** The checkpoint of the last `freeze` is durable: files that it names no more may go. */
  saved(): Promise<void>;
}

export interface CheckpointOptions {
  readonly machine: Machine;
  readonly locations: LocationIndex;
  readonly loader: RecordLoader;
  readonly records: RecordStore;
  readonly log: Pick<ShardLog, 'id' | 'truncatePrefix' | 'start' | 'synced' | 'membersAt'>;
  /** Undefined: there are no runs. */
  readonly runRecords: RunRecords | undefined;
  /** Calls `cut` once between two entries, with the last applied index and its term. */
  atBoundary(cut: (index: LogIndex, term: number) => void): Promise<void>;
  /** Resolves in a later turn of the event loop. */
  nextTurn(): Promise<void>;
  /** As the log is long now. */
  readonly heldFor: () => HeldFor;
  readonly monotonicMs: () => number;
  /** Encoding makes way for other work after this long. */
  readonly sliceMs: number;
}

/** What a record of the machine costs in a checkpoint, about; to decide when one is due. */
const RECORD_BYTES_ABOUT = 160;
const CAPTURE_MAX = 64;
/** 2, of before there were members: the same without them. */
const NOTE_FORMATS: readonly PlainData[] = [2, 3];
const NOTE_FORMAT = 3;
const LOOK_UP_QUEUES = 256;

interface Cut {
  readonly index: LogIndex;
  readonly term: number;
  readonly members: Uint8Array;
  readonly lowest: LogIndex | undefined;
  readonly frozen: FrozenLocations;
  readonly runs: ReturnType<RunRecords['freeze']>;
}

export interface CheckpointStats {
  readonly count: number;
  readonly index: number;
  readonly lastMs: number;
  readonly lastBytes: number;
  /** Of all checkpoints since the start: keys and values. */
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
  /** `ShardLog.membersAt` the index; undefined: written before there were any. */
  readonly members: Uint8Array | undefined;
  readonly marks: DeliveryMarks | undefined;
}

/** Groups whose marks are kept; with more, everything counts as delivered. Bounds the note. */
const MARKED_GROUPS_MAX = 50_000;

/** What a checkpoint says beside its index. */
export function encodeNote({ logId, members, marks }: CheckpointNote): Uint8Array {
  const known = members ?? null;
  if (marks === undefined || marks.seenBelow.size > MARKED_GROUPS_MAX) {
    return encodeRecord([NOTE_FORMAT, logId, null, null, known]);
  }
  const { inheritedThrough, seenBelow } = marks;
  return encodeRecord([NOTE_FORMAT, logId, inheritedThrough, [...seenBelow].flat(), known]);
}

/** Undefined: not a note of this format. */
export function decodeNote(bytes: Uint8Array): CheckpointNote | undefined {
  const fields = decodeRecord(bytes);
  if (!Array.isArray(fields)) return undefined;
  const [format = null, logId, inheritedThrough, pairs, known] = fields as readonly PlainData[];
  if (!NOTE_FORMATS.includes(format) || typeof logId !== 'string') return undefined;
  const members = known instanceof Uint8Array ? known : undefined;
  if (typeof inheritedThrough !== 'number' || !Array.isArray(pairs)) {
    return { logId, members, marks: undefined };
  }
  const seenBelow = new Map<string, number>();
  for (let at = 0; at + 1 < pairs.length; at += 2) {
    seenBelow.set(String(pairs[at]), Number(pairs[at + 1]));
  }
  return { logId, members, marks: { inheritedThrough, seenBelow } };
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
  #sliceEnd = 0;

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

  /** Less of this queue may be wanted: its floor has moved, or it is gone. */
  settled(queueId: QueueId): void {
    this.#settled.add(queueId);
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
    const { machine, locations, records, log, runRecords } = this.#options;
    const began = this.#options.monotonicMs();
    await this.#lowerFloors();
    const batch = records.begin();
    const cut = await this.#cut();
    for (let done = false; !done;) {
      const captured: CapturedRecord[] = [];
      done = machine.capture(CAPTURE_MAX, captured);
      for (const { key, data } of captured) {
        if (data === undefined) batch.delete(key);
        else batch.put(key, encodeRecord(data));
      }
      if (this.#isOver) await this.#slice();
    }
    await this.#put(batch, cut);
    const { bytes } = batch;
    const { index, term, members } = cut;
    // A quorum of others may have it while it is still on its way to the disk here.
    await log.synced(index);
    await batch.write({ index, term, data: encodeNote({ logId: log.id, members, marks }) });
    machine.thaw();
    locations.saved();
    this.#index = cut.index;
    this.#count++;
    this.#lastBytes = bytes;
    this.#bytes += bytes;
    await runRecords?.saved();
    const firstKept = Math.min(cut.index + 1, cut.lowest ?? Number.POSITIVE_INFINITY) as LogIndex;
    if (firstKept > log.start) await log.truncatePrefix(firstKept, this.#options.heldFor());
    this.#lastMs = this.#options.monotonicMs() - began;
  }

  /** What is no record of the machine. */
  async #put(batch: RecordBatch, { frozen, runs }: Cut): Promise<void> {
    const { locations } = this.#options;
    for (const chunk of frozen.chunks) {
      batch.put(chunk.key, encodeRecord(locations.encodeFrozen(chunk)));
      if (this.#isOver) await this.#slice();
    }
    for (const { key, data } of [...frozen.summaries, ...runs.puts]) {
      batch.put(key, encodeRecord(data));
      if (this.#isOver) await this.#slice();
    }
    for (const key of [...frozen.deletions, ...runs.deletions]) {
      batch.delete(key);
      if (this.#isOver) await this.#slice();
    }
  }

  async #cut(): Promise<Cut> {
    const { machine, locations, loader, runRecords, log } = this.#options;
    for (;;) {
      let made: Cut | undefined;
      await this.#options.atBoundary((index, term) => {
        // A chunk whose older part lies in the store alone must be made whole first.
        if (locations.partialChunks().length > 0) return;
        machine.freeze();
        made = {
          index,
          term,
          members: log.membersAt(index),
          lowest: locations.lowestWanted(),
          frozen: locations.freeze(),
          runs: runRecords?.freeze() ?? { puts: [], deletions: [] },
        };
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
    const place = this.#place(queueId);
    if (place === undefined || locations.settledBelow(queueId, place.floor, place.next)) return;
    const data = await loader.one(locations.keyOf(queueId, place.floor));
    locations.load(queueId, place.floor, data);
    const now = this.#place(queueId);
    if (now === undefined) return;
    // When the floor has left the chunk meanwhile, the next checkpoint looks again.
    if (!locations.settledBelow(queueId, now.floor, now.next)) this.#settled.add(queueId);
  }

  /** What is wanted of a queue; undefined: that is not known yet. */
  #place(queueId: QueueId): { readonly floor: Offset; readonly next: Offset } | undefined {
    const { machine } = this.#options;
    const floor = machine.lowestWanted(queueId);
    if (queueId !== DELAYED_QUEUE && machine.definition(queueId) === undefined) {
      const end = Number.MAX_SAFE_INTEGER as Offset;
      if (machine.leaving(queueId) === 0) return { floor: end, next: end };
      // Messages on their way elsewhere are all that is wanted of it.
      this.#settled.add(queueId);
      return { floor: floor ?? (0 as Offset), next: end };
    }
    const next = machine.nextOffset(queueId);
    return floor === undefined || next === undefined ? undefined : { floor, next };
  }

  /** The slice is over: other work is to be let in. */
  get #isOver(): boolean {
    return this.#options.monotonicMs() >= this.#sliceEnd;
  }

  async #slice(): Promise<void> {
    const { monotonicMs, sliceMs } = this.#options;
    await this.#options.nextTurn();
    this.#sliceEnd = monotonicMs() + sliceMs;
  }
}
