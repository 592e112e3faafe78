/**
 * The log: an append-only sequence of checksummed batches in segment files, with one entry a batch.
 *
 * What a caller may assume: an index that was reported durable is on stable storage and is never
 * truncated by recovery; every byte that `read` returns was checked; calls that change the log
 * happen in the order in which they were made. What it must not do: open one folder twice (the lock
 * is the caller's), append between the call and the end of `truncateSuffix`, or go on after
 * `onFailure`: the first failed write or sync ends the log, because a repeated fsync may succeed
 * without the data.
 */

import { assert, assertCount } from '../assert.ts';
import { StorageError } from '../errors.ts';
import { BatchKind, encodeHardState } from './batch.ts';
import { deferred } from './deferred.ts';
import { asStorageError, closedError } from './failure.ts';
import { removeIfThere } from './file-bytes.ts';
import { LogReader } from './log-reader.ts';
import type { LogState } from './log-state.ts';
import type {
  AppendBatch,
  FaultyRange,
  HardState,
  LogOptions,
  LogStats,
  ReadLimits,
  ReadOutcome,
  RecoveryReport,
  SegmentExtent,
} from './log-types.ts';
import { LogWriter } from './log-writer.ts';
import { openLog } from './open-log.ts';
import type { Epoch, LogIndex } from './positions.ts';
import { ReadHandles } from '../read-handles.ts';
import type { EpochStart } from './epoch-cache.ts';
import type { SegmentHandles } from './segment-handles.ts';
import { SegmentIndexes } from './segment-indexes.ts';
import { cutPrefix, cutSuffix } from './truncation.ts';
import type { OpenLog } from './truncation.ts';

/** A term and a vote; a vote is a name, not a document. */
const MAX_VOTE_BYTES = 1024;

export class Log {
  readonly #state: LogState;
  readonly #writer: LogWriter;
  readonly #handles: SegmentHandles;
  readonly #indexes: SegmentIndexes;
  #listener: ((durable: LogIndex) => void) | undefined;
  #cutting = false;
  #closing: Promise<void> | undefined;

  private constructor(state: LogState, onFailure: (error: StorageError) => void) {
    this.#state = state;
    this.#handles = new ReadHandles(state.settings.files);
    this.#indexes = new SegmentIndexes(state);
    this.#writer = new LogWriter(state, {
      onFailure,
      onDurable: (durable) => this.#tell(durable),
      onIndexed: (segment) => this.#indexes.adopt(segment),
    });
  }

  /** Opens or creates the log in the folder; recovers it first. */
  static async open(options: LogOptions): Promise<{ log: Log; recovery: RecoveryReport }> {
    const { state, report, resume } = await openLog(options).catch((error: unknown) => {
      throw asStorageError(error, 'the log cannot be opened');
    });
    const log = new Log(state, (error) => options.onFailure(error));
    if (resume !== undefined) await log.#writer.resume(resume);
    return { log, recovery: report };
  }

  /** 16 hexadecimal digits; in every header. */
  get logId(): string {
    return this.#state.logId;
  }
  /** First index that is kept. `last + 1` on an empty log. */
  get start(): LogIndex {
    return this.#state.start;
  }
  /** Epoch of the entry before `start`; 0 where there was none. */
  get epochBeforeStart(): Epoch {
    return this.#state.epochBeforeStart;
  }
  /** Last index that was accepted; durable or on its way. */
  get last(): LogIndex {
    return this.#state.last;
  }
  /** Epoch of the last entry that was accepted. */
  get lastEpoch(): Epoch {
    return this.#state.epochs.lastEpoch;
  }
  /** Epochs of the entries that are kept, each with the first entry that has it, ascending. */
  get epochs(): readonly EpochStart[] {
    const { epochs, start, last } = this.#state;
    return epochs.within(start, last);
  }
  /** Last index that is on stable storage. */
  get durable(): LogIndex {
    return this.#state.durable;
  }
  /** The failure that ended the log. */
  get failed(): StorageError | undefined {
    return this.#state.failed;
  }
  /** Bytes of disk that the segments take, zeros that were written ahead included. */
  get bytes(): number {
    return this.#writer.bytes;
  }
  get segments(): number {
    return this.#state.segments.length;
  }
  /** Segments that nothing is written to any more, oldest first: each can go as a whole. */
  get sealed(): readonly SegmentExtent[] {
    const sealed = this.#state.segments.filter((segment) => segment.sealed);
    return sealed.map(({ firstIndex, lastIndex, fileBytes }) => {
      return { first: firstIndex, last: lastIndex, bytes: fileBytes };
    });
  }
  get stats(): LogStats {
    return { ...this.#state.counters };
  }
  /** Known ranges that cannot be read, ascending; recovery finds them, and reads may. */
  get faulty(): readonly FaultyRange[] {
    return this.#state.faulty;
  }
  /** The last hard state that is durable. */
  get hardState(): HardState {
    return this.#state.hardState;
  }

  /** Epoch of an entry in [start - 1, last]; undefined outside, and inside a faulty range. */
  epochAt(index: LogIndex): Epoch | undefined {
    const { start, last, epochs, epochBeforeStart } = this.#state;
    if (index === start - 1) return epochBeforeStart;
    if (index < start || index > last) return undefined;
    const range = this.#state.faultAt(index);
    return range === undefined ? epochs.epochAt(index) : range.epoch;
  }

  /**
   * An index so that every entry with an append time of at least `timestampMs` is at or behind it.
   */
  async indexForTime(timestampMs: number): Promise<LogIndex> {
    this.#refuseClosed();
    const { segments, start, durable } = this.#state;
    const segment = segments.find((one) => one.largestTimeMs >= timestampMs && !one.missing);
    // What is on its way may have it.
    if (segment === undefined) return (durable + 1) as LogIndex;
    const hold = await this.#handles.hold(segment).catch((error: unknown) => {
      throw asStorageError(error, 'the log cannot be read');
    });
    try {
      const sparse = await this.#indexes.sparse(hold);
      return Math.max(start, sparse.indexForTime(timestampMs)) as LogIndex;
    } finally {
      hold.release();
    }
  }

  /** Resolves when durable; ordered with appends. Refused as they are. */
  async setHardState(state: HardState): Promise<void> {
    this.#refuseEnded();
    this.#refuseUnknownEnd();
    assertCount(state.term, 'term');
    const payload = encodeHardState(state);
    assert(payload.length <= MAX_VOTE_BYTES, 'a vote is a short name');
    const write = this.#writer.queue.add({
      kind: BatchKind.hardState,
      index: this.#state.last,
      epoch: this.#state.epochs.lastEpoch,
      timestampMs: this.#state.settings.now(),
      recordCount: 0,
      payload: [payload],
      payloadLength: payload.length,
    });
    const { term, vote } = state;
    write.hardStates.push({ state: { term, vote }, end: write.buffer.length });
    write.done ??= deferred();
    return write.done.promise;
  }

  /**
   * Takes an entry and returns its index at once; `onDurable` or `appended` tells when it is safe.
   * No limit on what waits: the caller bounds it. Throws StorageError `closed`, `failed`,
   * `too-large`, or `damaged` while a faulty range with unknown end is the last thing in the log.
   */
  append(batch: AppendBatch): LogIndex {
    this.#refuseEnded();
    assert(!this.#cutting, 'nobody appends while the suffix is cut');
    const state = this.#state;
    this.#refuseUnknownEnd();
    assert(batch.epoch >= state.epochs.lastEpoch, 'the epoch of an entry never goes back');
    let payloadLength = 0;
    for (const part of batch.payload) payloadLength += part.length;
    const { maxBatchBytes } = state.settings;
    if (payloadLength > maxBatchBytes) {
      const text = `a batch of ${payloadLength} bytes is above the limit of ${maxBatchBytes}`;
      throw new StorageError('too-large', text);
    }
    const index = (state.last + 1) as LogIndex;
    const { epoch, timestampMs, recordCount, payload } = batch;
    const kind = BatchKind.entry;
    const addition = { kind, index, epoch, timestampMs, recordCount, payload, payloadLength };
    this.#writer.queue.add(addition);
    state.last = index;
    state.epochs.note(batch.epoch as Epoch, index);
    state.counters.appends += 1;
    return index;
  }

  /** One listener, called once a sync with the last durable index, ascending. It must not throw. */
  onDurable(listener: (durable: LogIndex) => void): void {
    assert(this.#listener === undefined, 'the log has one listener');
    this.#listener = listener;
  }

  /** Resolves when `index` is durable; rejects if the log failed first. */
  async appended(index: LogIndex): Promise<void> {
    const { durable, last, failed } = this.#state;
    if (index <= durable) return;
    if (failed !== undefined) throw failed;
    assert(index <= last, 'only what was appended becomes durable');
    await this.#writer.waitFor(index);
  }

  /** Durable entries from `from` on, checked: at least one if there is one, of one segment. */
  async read(from: LogIndex, limits: ReadLimits): Promise<ReadOutcome> {
    this.#refuseClosed();
    assertCount(from, 'index');
    const reader = this.reader(from);
    try {
      return await reader.read(limits);
    } finally {
      reader.close();
    }
  }

  /** For reading in order: keeps its place and its file between reads. */
  reader(from: LogIndex): LogReader {
    this.#refuseClosed();
    const refuseClosed = (): void => this.#refuseClosed();
    return new LogReader({ ...this.#opened(), refuseClosed }, from);
  }

  /**
   * Drops whole segments below `firstKept`; `start` moves to the first entry of the first that
   * stays.
   */
  async truncatePrefix(firstKept: LogIndex): Promise<void> {
    this.#refuseEnded();
    if (firstKept > this.#state.durable + 1) {
      const { durable } = this.#state;
      throw new StorageError(
        'out-of-range',
        `${firstKept} is above ${durable + 1}, the end of the log`,
      );
    }
    await this.#writer.queue.enqueue(() => cutPrefix(this.#opened(), firstKept));
  }

  /**
   * Cuts everything above `lastKept`, in [start - 1, last]. Nobody may append until it has
   * resolved. Rejects with `damaged` where a faulty range that would be cut in two stands in the
   * way. `hardState` becomes durable with the cut, also where the log ends in damage.
   */
  async truncateSuffix(lastKept: LogIndex, hardState?: HardState): Promise<void> {
    this.#refuseEnded();
    assert(!this.#cutting, 'one truncation of the suffix at a time');
    const { start, last } = this.#state;
    if (lastKept < start - 1 || lastKept > last) {
      throw new StorageError('out-of-range', `${lastKept} is not in [${start - 1}, ${last}]`);
    }
    const range = this.#state.faultAt(lastKept);
    if (range !== undefined && range.through !== lastKept) {
      throw new StorageError('damaged', `the log cannot be cut inside of damage: ${range.detail}`);
    }
    this.#cutting = true;
    try {
      await this.#writer.queue.enqueue(async () => {
        if (hardState !== undefined) this.#state.hardState = hardState;
        if (lastKept < this.#state.last || this.#state.endUnknown !== undefined) {
          await cutSuffix(this.#opened(), lastKept);
        } else if (hardState !== undefined) {
          await this.#writer.saveManifest();
        }
      });
    } finally {
      this.#cutting = false;
    }
  }

  /**
   * Waits for what was appended. `in-order` leaves the mark of a clean stop; `as-found` leaves no
   * mark, for a start that was refused over what the log holds. Later calls get StorageError
   * `closed`.
   */
  close(how: 'in-order' | 'as-found' = 'in-order'): Promise<void> {
    this.#closing ??= this.#close(how);
    return this.#closing;
  }

  async #close(how: 'in-order' | 'as-found'): Promise<void> {
    const failedBefore = this.#state.failed;
    // On a failed log this rejects at once, and only the files are left to let go of.
    await this.#writer.queue
      .enqueue(() => (how === 'in-order' ? this.#finish() : this.#writer.release()))
      .catch(() => undefined);
    this.#writer.queue.end(closedError());
    await this.#writer.release().catch(() => undefined);
    this.#handles.dropAll();
    const { failed } = this.#state;
    if (failed !== undefined && failed !== failedBefore) throw failed;
  }

  /** The last item of the queue: from here on, everything is durable and nothing is written. */
  async #finish(): Promise<void> {
    await this.#writer.release();
    for (const segment of this.#state.segments) {
      // Damage that a read has found: without the index, the next start looks for itself.
      if (!segment.sound) await removeIfThere(this.#state.settings.files, segment.indexPath);
    }
    // Where the end is unknown, the next start must not take what is known for all that was.
    await this.#writer.saveManifest(this.#state.endUnknown === undefined);
  }

  #opened(): OpenLog {
    return {
      state: this.#state,
      writer: this.#writer,
      handles: this.#handles,
      indexes: this.#indexes,
    };
  }

  #tell(durable: LogIndex): void {
    try {
      this.#listener?.(durable);
    } catch (error) {
      // A bug of the listener: it ends the process, and does not pass for a failure of the disk.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw closedError();
  }

  /** What follows would claim that nothing is lost in between. */
  #refuseUnknownEnd(): void {
    const { faulty, endUnknown } = this.#state;
    if (faulty.length === 0 || endUnknown === undefined) return;
    const text = `the log ends in damage of unknown length: ${endUnknown.detail}`;
    throw new StorageError('damaged', text);
  }

  #refuseEnded(): void {
    this.#refuseClosed();
    if (this.#state.failed !== undefined) throw this.#state.failed;
  }
}
