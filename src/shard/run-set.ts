/**
 * Which runs there are, and which of them holds (queueId, offset): in memory, for every run, one
 * *piece* for each stretch of a queue's offsets in it.
 *
 * Offsets ascend with the log, and the log is spilled from its front: the pieces of a queue never
 * overlap, and every wanted offset between the ends of a piece lies in that piece's run. So what is
 * wanted of a run is counted by asking the machine about the piece's offsets; no counter has to
 * survive anything.
 *
 * A run is *named* by a record of its own, written by the checkpoint behind its making. A run that
 * is dropped or replaced loses its record in the next checkpoint, and its file when that is
 * durable. A run without a file (`lost`) stands for messages that could not be read when their
 * segment left: it keeps their offsets named.
 *
 * A record is not written again when a piece of it goes, so that it may name pieces that nobody
 * wants. A rewrite may have bridged such a piece with one of another run: so where a start finds a
 * piece inside another, the inner one is nobody's, and it goes.
 *
 * Memory: five numbers a piece, and a small object a run. Nothing here does I/O.
 */

import type { Offset, QueueId } from '../machine/ids.ts';
import { decodeRun, runKey } from './run-records.ts';
import type { PieceRecord, RunRecord } from './run-records.ts';
import type { PlainData } from './record-codec.ts';

export interface Run {
  readonly runId: number;
  /** Of the file; 0: there is none. */
  readonly bytes: number;
  readonly values: number;
  /** All of it is of this queue; undefined: of several. */
  readonly only: QueueId | undefined;
  /** As far as is known; never too low. */
  wanted: number;
  /** Why nothing of it can be read; undefined where it can. */
  lost: string | undefined;
  /** Damage was found in it: it is not rewritten, so that what is lost keeps its name. */
  isDamaged: boolean;
}

/** Of a piece: first, last, values, wanted, run id. */
const FIELDS = 5;
const LAST = 1;
const VALUES = 2;
const WANTED = 3;
const RUN = 4;

/** A piece as the sweep sees it. */
export interface Piece {
  readonly runId: number;
  readonly first: Offset;
  readonly last: Offset;
  readonly values: number;
  readonly wanted: number;
}

/** What a checkpoint has to write. */
export interface FrozenRuns {
  readonly puts: readonly RunRecord[];
  readonly deletions: readonly string[];
}

export class RunSet {
  readonly #runs = new Map<number, Run>();
  readonly #pieces = new Map<QueueId, number[]>();
  /** Made since the last cut. */
  #unnamed = new Map<number, RunRecord>();
  /** Named in the store and not wanted any more. */
  #dropped = new Set<number>();
  /** Their records go with the checkpoint under way, their files behind it. */
  #leaving: number[] = [];
  #nextId = 1;
  #bytes = 0;

  /** No run is there: nothing has to be looked for. */
  get isEmpty(): boolean {
    return this.#pieces.size === 0;
  }

  get size(): number {
    return this.#runs.size;
  }

  /** Of all files. */
  get bytes(): number {
    return this.#bytes;
  }

  get wantedValues(): number {
    let wanted = 0;
    for (const run of this.#runs.values()) wanted += run.wanted;
    return wanted;
  }

  /** The next checkpoint has something to say about runs. */
  get isChanged(): boolean {
    return this.#unnamed.size > 0 || this.#dropped.size > 0;
  }

  /** An id that no run ever had. */
  takeId(): number {
    return this.#nextId++;
  }

  run(runId: number): Run | undefined {
    return this.#runs.get(runId);
  }

  runs(): IterableIterator<Run> {
    return this.#runs.values();
  }

  /** Queues with messages in runs. */
  queueIds(): QueueId[] {
    return [...this.#pieces.keys()];
  }

  /** The run that holds this message if it is wanted; undefined: it lies in no run. */
  find(queueId: QueueId, offset: Offset): Run | undefined {
    const pieces = this.#pieces.get(queueId);
    if (pieces === undefined || offset > (pieces[pieces.length - FIELDS + LAST] as number)) {
      return undefined;
    }
    const at = placeOf(pieces, offset);
    if (at < 0 || offset > (pieces[at + LAST] as number)) return undefined;
    return this.#runs.get(pieces[at + RUN] as number);
  }

  pieces(queueId: QueueId): Piece[] {
    const flat = this.#pieces.get(queueId) ?? [];
    const pieces: Piece[] = [];
    for (let at = 0; at < flat.length; at += FIELDS) pieces.push(pieceAt(flat, at));
    return pieces;
  }

  /** The pieces of one run; looks at those of all. */
  piecesOf(runId: number): PieceRecord[] {
    const found: PieceRecord[] = [];
    for (const queueId of this.#pieces.keys()) {
      for (const { runId: of, first, last, values } of this.pieces(queueId)) {
        if (of === runId) found.push({ queueId, first, last, values });
      }
    }
    return found;
  }

  /** Runs that a spill has written. Their pieces lie behind all that are known of their queues. */
  add(records: readonly RunRecord[]): void {
    for (const record of records) {
      this.#add(record);
      this.#unnamed.set(record.runId, record);
    }
  }

  /**
   * The wanted messages of some runs were copied into another, or nothing was wanted any more. The
   * pieces of `record` lie within theirs; neighbours become one.
   */
  replace(runIds: readonly number[], record: RunRecord | undefined): void {
    const gone = new Set(runIds);
    const queues = new Set<QueueId>();
    for (const [queueId, flat] of this.#pieces) {
      if (flat.some((value, at) => at % FIELDS === RUN && gone.has(value))) queues.add(queueId);
    }
    for (const queueId of queues) this.#filter(queueId, (piece) => !gone.has(piece.runId));
    for (const runId of runIds) this.#drop(runId);
    if (record === undefined) return;
    this.#add(record);
    const pieces: PieceRecord[] = [];
    for (const queueId of new Set(record.pieces.map((piece) => piece.queueId))) {
      this.#coalesce(queueId);
      for (const { runId, first, last, values } of this.pieces(queueId)) {
        if (runId === record.runId) pieces.push({ queueId, first, last, values });
      }
    }
    this.#unnamed.set(record.runId, { ...record, pieces });
  }

  /** So many messages of the piece that begins at `first` are wanted. A piece without any goes. */
  setWanted(queueId: QueueId, first: Offset, wanted: number): void {
    const flat = this.#pieces.get(queueId);
    if (flat === undefined) return;
    const at = placeOf(flat, first);
    if (at < 0 || flat[at] !== first) return;
    const run = this.#runs.get(flat[at + RUN] as number);
    if (run !== undefined) run.wanted -= (flat[at + WANTED] as number) - wanted;
    flat[at + WANTED] = wanted;
    if (wanted === 0) this.#filter(queueId, (piece) => piece.first !== first);
  }

  /** Drops every run of which nothing is wanted; how many. */
  dropUnwanted(): number {
    const unwanted = [...this.#runs.values()].filter((run) => run.wanted === 0);
    for (const { runId } of unwanted) this.#drop(runId);
    return unwanted.length;
  }

  // --- Checkpoints.

  freeze(): FrozenRuns {
    const puts = [...this.#unnamed.values()];
    this.#leaving = [...this.#dropped];
    this.#unnamed = new Map();
    this.#dropped = new Set();
    return { puts, deletions: this.#leaving.map(runKey) };
  }

  /** The checkpoint of the last `freeze` is durable: these files may go. */
  saved(): number[] {
    const gone = this.#leaving;
    this.#leaving = [];
    return gone;
  }

  /** At start, one call for each record of a run. */
  restore(data: PlainData): void {
    const record = decodeRun(data);
    const run = this.#addRun(record);
    for (const piece of record.pieces) {
      this.#dropInside(piece);
      if (this.#isInside(piece)) run.wanted -= piece.values;
      else this.#insert(run.runId, piece);
    }
  }

  /** Ids of all runs that have a file, for `Runs.keepOnly`. */
  named(): Set<number> {
    const named = new Set<number>();
    for (const { runId, bytes } of this.#runs.values()) if (bytes > 0) named.add(runId);
    return named;
  }

  #add(record: RunRecord): void {
    this.#addRun(record);
    for (const piece of record.pieces) this.#insert(record.runId, piece);
  }

  #addRun(record: RunRecord): Run {
    const { runId, bytes, values, lost, pieces } = record;
    const first = pieces[0]?.queueId;
    const only = pieces.every(({ queueId }) => queueId === first) ? first : undefined;
    const isDamaged = lost !== undefined;
    const run: Run = { runId, bytes, values, only, wanted: values, lost, isDamaged };
    this.#runs.set(runId, run);
    this.#bytes += bytes;
    this.#nextId = Math.max(this.#nextId, runId + 1);
    return run;
  }

  /** A known piece begins before it and ends behind it. */
  #isInside({ queueId, first, last }: PieceRecord): boolean {
    const flat = this.#pieces.get(queueId) ?? [];
    const at = placeOf(flat, first);
    return at >= 0 && (flat[at] as number) < first && last < (flat[at + LAST] as number);
  }

  /** Known pieces that begin behind its first offset and end before its last one go. */
  #dropInside({ queueId, first, last }: PieceRecord): void {
    const flat = this.#pieces.get(queueId) ?? [];
    const from = placeOf(flat, first) + FIELDS;
    let to = from;
    for (; to < flat.length && (flat[to + LAST] as number) < last; to += FIELDS) {
      const run = this.#runs.get(flat[to + RUN] as number);
      if (run !== undefined) run.wanted -= flat[to + WANTED] as number;
    }
    if (to > from) flat.splice(from, to - from);
  }

  #insert(runId: number, { queueId, first, last, values }: PieceRecord): void {
    const flat = this.#pieces.get(queueId);
    if (flat === undefined) {
      this.#pieces.set(queueId, [first, last, values, values, runId]);
      return;
    }
    const before = placeOf(flat, first);
    const at = before + FIELDS;
    const overlaps =
      (before >= 0 && first <= (flat[before + LAST] as number)) ||
      (at < flat.length && last >= (flat[at] as number));
    if (overlaps) throw new Error(`queue ${queueId}: two runs claim offsets ${first} to ${last}`);
    flat.splice(at, 0, first, last, values, values, runId);
  }

  /**
   * Neighbouring pieces of one run become one: whatever lies between them is in no other run and
   * not in the log, so nobody wants it.
   */
  #coalesce(queueId: QueueId): void {
    const flat = this.#pieces.get(queueId) ?? [];
    const kept: number[] = [];
    for (let at = 0; at < flat.length; at += FIELDS) {
      const before = kept.length - FIELDS;
      if (before < 0 || kept[before + RUN] !== flat[at + RUN]) {
        kept.push(...flat.slice(at, at + FIELDS));
        continue;
      }
      kept[before + LAST] = flat[at + LAST] as number;
      kept[before + VALUES] = (kept[before + VALUES] as number) + (flat[at + VALUES] as number);
      kept[before + WANTED] = (kept[before + WANTED] as number) + (flat[at + WANTED] as number);
    }
    if (kept.length < flat.length) this.#pieces.set(queueId, kept);
  }

  #filter(queueId: QueueId, keep: (piece: Piece) => boolean): void {
    const flat = this.#pieces.get(queueId) ?? [];
    const kept: number[] = [];
    for (let at = 0; at < flat.length; at += FIELDS) {
      if (keep(pieceAt(flat, at))) kept.push(...flat.slice(at, at + FIELDS));
    }
    if (kept.length === 0) this.#pieces.delete(queueId);
    else this.#pieces.set(queueId, kept);
  }

  #drop(runId: number): void {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    this.#runs.delete(runId);
    this.#bytes -= run.bytes;
    this.#unnamed.delete(runId);
    // A run that no checkpoint named has a file all the same.
    this.#dropped.add(runId);
  }
}

function pieceAt(flat: readonly number[], at: number): Piece {
  return {
    runId: flat[at + RUN] as number,
    first: flat[at] as Offset,
    last: flat[at + LAST] as Offset,
    values: flat[at + VALUES] as number,
    wanted: flat[at + WANTED] as number,
  };
}

/** Where the last piece stands that begins at or before the offset; `-FIELDS`: there is none. */
function placeOf(flat: readonly number[], offset: number): number {
  let low = 0;
  let high = flat.length / FIELDS;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((flat[middle * FIELDS] as number) <= offset) low = middle + 1;
    else high = middle;
  }
  return (low - 1) * FIELDS;
}
