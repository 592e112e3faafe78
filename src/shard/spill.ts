/**
 * Writes what is still wanted of the oldest part of the log into runs, sorted by (queueId, offset),
 * so that its segments can go.
 *
 * It goes through the location index in the order of the keys, collects as many wanted messages as
 * its buffer holds, reads their payloads in the order of the log, writes them, and so on: memory is
 * one buffer whatever the size of what leaves. Each step is a few milliseconds of work at most. A
 * queue with more than a quarter of what leaves has a run of its own, so that it can go as a whole.
 *
 * Nothing else is changed: the caller makes the outcome count (`LocationIndex.spilled`,
 * `RunSet.add`) between two entries, and the checkpoint behind that names the runs. A crash before
 * it leaves files that nobody names; they are removed at start, and the log still has everything.
 */

import type { FinishedRun, Runs, RunWriter } from '#storage';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { SpilledQueue } from './location-chunks.ts';
import type { LocationIndex } from './location-index.ts';
import type { RecordLoader } from './record-loader.ts';
import type { PieceRecord, RunRecord } from './run-records.ts';
import { RUN_VALUE_HEADER_BYTES, writeRunValueHeader } from './run-values.ts';
import type { ShardLog } from './shard-log.ts';
import type { SpillPart } from './spill-part.ts';

export interface SpillOptions {
  readonly log: Pick<ShardLog, 'read' | 'sealed'>;
  readonly locations: LocationIndex;
  readonly machine: Pick<Machine, 'wantedKeys' | 'isWanted'>;
  readonly loader: Pick<RecordLoader, 'until' | 'one'>;
  readonly runs: Pick<Runs, 'create'>;
  /** An id that no run ever had. */
  readonly takeRunId: () => number;
  /** Where messages are collected; the same one again and again, and empty between two spills. */
  readonly part: SpillPart;
  /** Called often: makes way for other work when it is time. Rejects to end the spill. */
  readonly rest: () => Promise<void>;
}

export interface SpillOutcome {
  /** Everything below it lies in the runs, or nobody wants it. */
  readonly boundary: LogIndex;
  readonly queues: ReadonlyMap<QueueId, SpilledQueue>;
  readonly records: readonly RunRecord[];
  readonly messages: number;
  readonly bytes: number;
}

const OWN_RUN_SHARE = 0.25;
const DRAIN_BYTES = 512 * 1024;

export class Spill {
  readonly #options: SpillOptions;
  readonly #boundary: LogIndex;
  readonly #queues = new Map<QueueId, SpilledQueue>();
  readonly #outputs: Output[] = [];
  readonly #lost: Output;
  readonly #part: SpillPart;
  readonly #isWanted: (queueId: QueueId, offset: Offset) => boolean;
  #mixed: Output | undefined;

  /** Everything below `boundary` is applied. One spill at a time. */
  static async run(options: SpillOptions, boundary: LogIndex): Promise<SpillOutcome> {
    const spill = new Spill(options, boundary);
    try {
      await spill.#collect();
      return await spill.#finish();
    } catch (error) {
      for (const { writer } of spill.#outputs) await writer?.abandon();
      throw error;
    }
  }

  private constructor(options: SpillOptions, boundary: LogIndex) {
    this.#options = options;
    this.#boundary = boundary;
    this.#lost = { writer: undefined, pieces: [], why: '' };
    this.#part = options.part;
    this.#part.clear();
    this.#isWanted = (queueId, offset) => options.machine.isWanted(queueId, offset);
  }

  async #collect(): Promise<void> {
    const { locations, log } = this.#options;
    let leaving = 0;
    for (const { last, bytes } of log.sealed) if (last < this.#boundary) leaving += bytes;
    const part = this.#part;
    for (const queueId of locations.queuesBelow(this.#boundary)) {
      await this.#options.rest();
      const isLarge = (await this.#bytesOf(queueId)) > leaving * OWN_RUN_SHARE;
      if (isLarge) await this.#write(undefined);
      const own = isLarge ? this.#output() : undefined;
      for await (const { stretches } of this.#chunks(queueId)) {
        for (const stretch of stretches) part.add(queueId, stretch, this.#isWanted);
        if (part.isFull) await this.#write(own);
      }
      if (isLarge) await this.#write(own);
    }
    await this.#write(undefined);
  }

  /** Stored bytes of a queue below the boundary, settled ones included. */
  async #bytesOf(queueId: QueueId): Promise<number> {
    const { locations } = this.#options;
    const { first, last } = locations.chunksOf(queueId) ?? { first: 0, last: -1 };
    let bytes = 0;
    for (let chunk = first; chunk <= last; chunk++) {
      const found = await this.#chunk(queueId, chunk);
      for (const stretch of found?.stretches ?? []) bytes += stretch.bytes;
      if (found?.reachesAbove === true) break;
    }
    return bytes;
  }

  /** The chunks of a queue below the boundary; `isWanted` may be asked about each in its turn. */
  async *#chunks(queueId: QueueId) {
    const { locations, machine, loader } = this.#options;
    const { first, last } = locations.chunksOf(queueId) ?? { first: 0, last: -1 };
    this.#queues.set(queueId, { chunk: Math.max(first, last), isWhole: true });
    for (let chunk = first; chunk <= last; chunk++) {
      await this.#options.rest();
      let found = await this.#chunk(queueId, chunk);
      const from = locations.firstOffsetOf(chunk);
      const to = locations.firstOffsetOf(chunk + 1);
      const missing = () => machine.wantedKeys(queueId, from, to);
      if (missing().length > 0) {
        await loader.until(missing);
        found = await this.#chunk(queueId, chunk);
        // The records may have gone again while the chunk was loaded.
        if (missing().length > 0) await loader.until(missing);
      }
      if (found === undefined) continue;
      yield found;
      if (!found.reachesAbove) continue;
      this.#queues.set(queueId, { chunk, isWhole: false });
      return;
    }
  }

  async #chunk(queueId: QueueId, chunk: number) {
    const { locations, loader } = this.#options;
    const found = locations.below(queueId, chunk, this.#boundary);
    if (found !== undefined) return found;
    const offset = locations.firstOffsetOf(chunk);
    locations.load(queueId, offset, await loader.one(locations.keyOf(queueId, offset)));
    return locations.below(queueId, chunk, this.#boundary);
  }

  #output(): Output {
    const output: Output = { writer: undefined, pieces: [], why: '' };
    this.#outputs.push(output);
    return output;
  }

  /** Reads and writes what was collected, and is ready to collect again. */
  async #write(own: Output | undefined): Promise<void> {
    const part = this.#part;
    if (part.rows === 0) return;
    const { log, rest, runs } = this.#options;
    await part.read(log, () => rest());
    const output = own ?? (this.#mixed ??= this.#output());
    for (let row = 0; row < part.rows; row++) {
      const lost = part.lost(row);
      if (lost !== undefined) {
        this.#note(this.#lost, row);
        this.#lost.why = lost;
      }
      const bytes = part.bytes(row);
      if (bytes === undefined) continue;
      output.writer ??= await runs.create(this.#options.takeRunId());
      writeRow(output.writer, part, { row, bytes });
      this.#note(output, row);
      if (output.writer.pendingBytes < DRAIN_BYTES) continue;
      await output.writer.drain();
      await rest();
    }
    part.clear();
  }

  /** The row belongs to the last piece of the output, or begins another. */
  #note(output: Output, row: number): void {
    const part = this.#part;
    const [queueId, first, count] = [part.queueId(row), part.first(row), part.count(row)];
    const last = (first + count - 1) as Offset;
    const piece = output.pieces.at(-1);
    if (piece?.queueId === queueId && this.#continues(piece, first, output)) {
      piece.last = last;
      piece.values += count;
    } else output.pieces.push({ queueId, first, last, values: count });
  }

  /** No message of the queue between the piece and `next` went elsewhere. */
  #continues(piece: PieceRecord, next: Offset, output: Output): boolean {
    if (output === this.#lost) return piece.last + 1 === next;
    const lost = this.#lost.pieces.at(-1);
    return lost?.queueId !== piece.queueId || lost.last < piece.first;
  }

  async #finish(): Promise<SpillOutcome> {
    const records: RunRecord[] = [];
    let messages = 0;
    let bytes = 0;
    for (const { writer, pieces } of this.#outputs) {
      if (writer === undefined) continue;
      const { runId, fileBytes, values }: FinishedRun = await writer.finish();
      records.push({ runId, bytes: fileBytes, values, lost: undefined, pieces });
      messages += values;
      bytes += fileBytes;
    }
    const { pieces, why } = this.#lost;
    if (pieces.length > 0) {
      const values = pieces.reduce((sum, piece) => sum + piece.values, 0);
      const runId = this.#options.takeRunId();
      const lost = `it was in a damaged part of the log when that was given back: ${why}`;
      records.push({ runId, bytes: 0, values, lost, pieces });
    }
    return { boundary: this.#boundary, queues: this.#queues, records, messages, bytes };
  }
}

/** A run in the making; its file begins with its first message. */
interface Output {
  writer: RunWriter | undefined;
  readonly pieces: MutablePiece[];
  why: string;
}

type MutablePiece = { -readonly [Key in keyof PieceRecord]: PieceRecord[Key] };

function writeRow(
  writer: RunWriter,
  part: SpillPart,
  { row, bytes }: { readonly row: number; readonly bytes: Uint8Array },
): void {
  const [queueId, first, index] = [part.queueId(row), part.first(row), part.index(row)];
  const count = part.count(row);
  let from = part.start(row);
  for (let nth = 0; nth < count; nth++) {
    const length = part.lengthOf(row, nth);
    const at = writer.reserve(queueId, first + nth, RUN_VALUE_HEADER_BYTES + length);
    writeRunValueHeader(writer.room, at, index);
    writer.room.set(bytes.subarray(from, from + length), at + RUN_VALUE_HEADER_BYTES);
    from += length;
  }
}
