/**
 * Carries out the writes of a log: places what was collected into segments, one write at a time,
 * rolls over, seals, and reports what is durable.
 *
 * A small write is synced before the next begins. A large one of many, in a file without zeros
 * ahead, is copied, and the next may be copied while it is synced. Everything else (a small write,
 * an operation of the queue, a roll-over) waits until all that was copied is synced; so no mark, no
 * end of a segment and no hard state tells of more than a sync has covered.
 *
 * It never reports a batch before the write that holds it was synced and its segment is named in a
 * durable manifest. The first failed write or sync, of data, zeros, index or manifest, ends the
 * log: nothing is retried, and nothing is reported after it. A crash in a roll-over leaves the old
 * segment whole and the new one either named or removed by recovery.
 */

import { assert, AssertionFailure } from '../assert.ts';
import { StorageError } from '../errors.ts';
import { ActiveSegment } from './active-segment.ts';
import { BatchKind } from './batch.ts';
import { CopiedWrites } from './copied-writes.ts';
import type { Reach } from './copied-writes.ts';
import { hasCode, removeIfThere } from './file-bytes.ts';
import { inDirectory, segmentFileName } from './file-names.ts';
import { encodeIndex, writeIndexFile } from './index-file.ts';
import { summaryOf } from './log-segment.ts';
import type { LogSegment } from './log-segment.ts';
import { makeSegment } from './log-state.ts';
import type { LogState } from './log-state.ts';
import { writeManifest } from './manifest-file.ts';
import type { FilePosition, LogIndex } from './positions.ts';
import { SpareSegment } from './spare-segment.ts';
import { SparseIndex } from './sparse-index.ts';
import type { Placement } from './write-buffer.ts';
import { WriteQueue } from './write-queue.ts';
import type { CollectedWrite, QueueItem } from './write-queue.ts';

interface Active {
  readonly segment: LogSegment;
  readonly file: ActiveSegment;
}

export interface WriterListeners {
  onFailure(error: StorageError): void;
  /** An error of the listener is a bug of its owner and none of the log. */
  onDurable(durable: LogIndex): void;
  /** The segment's index is on disk: memory need not hold it any more. */
  onIndexed(segment: LogSegment): void;
}

export class LogWriter {
  readonly queue: WriteQueue;
  readonly #state: LogState;
  readonly #listeners: WriterListeners;
  readonly #spare: SpareSegment;
  readonly #copied: CopiedWrites;
  readonly #fail = (cause: unknown): StorageError => this.fail(cause);
  #active: Active | undefined;
  /** More came while the last write was synced: who appends does not wait for the sync. */
  #isPressed = false;
  /** Index files on their way, one after the other. */
  #background: Promise<void> = Promise.resolve();
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(state: LogState, listeners: WriterListeners) {
    this.#state = state;
    this.#listeners = listeners;
    this.#spare = new SpareSegment(state.settings, () => state.takeSegmentId(), this.#fail);
    this.#copied = new CopiedWrites(this, state.settings.unsyncedBytes);
    this.queue = new WriteQueue(this, state.settings.maxWriteBytes);
  }

  /** Goes on in the last segment, whose data ends soundly. */
  async resume(segment: LogSegment): Promise<void> {
    const { path, end, fileBytes } = segment;
    const file = await ActiveSegment.open(
      this.#state.settings,
      { path, end, fileBytes, averageBytes: 0 },
      this.#fail,
    );
    this.#active = { segment, file };
  }

  /** Ends the log with its first failure; returns what everybody gets from now on. */
  fail(cause: unknown): StorageError {
    if (cause instanceof AssertionFailure) throw cause;
    if (this.#state.failed !== undefined) return this.#state.failed;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const error = new StorageError('failed', `the log has failed: ${reason}`, { cause });
    this.#state.failed = error;
    clearTimeout(this.#idleTimer);
    this.#copied.end(error);
    this.queue.end(error);
    this.#listeners.onFailure(error);
    return error;
  }

  /** For the queue: beside a sync goes what is large, and nothing else. */
  isReady(item: QueueItem): boolean {
    if (!this.#copied.isBusy) return true;
    if (item.kind !== 'write') return false;
    const { length } = item.buffer;
    return this.#isCopied(this.#active?.file, length) && this.#copied.hasRoom(length);
  }

  /** For the queue: one collected buffer, in as many segments as it takes. */
  async write(item: CollectedWrite): Promise<void> {
    const { buffer } = item;
    let from = 0;
    while (from < buffer.length) {
      const active = this.#activeFor() ?? (await this.#rollOver(buffer.indexAt(from)));
      from = await this.#writeInto(active, item, from);
    }
    if (!buffer.onlyMarks) this.#armIdleMark();
  }

  /** Resolves when the write that holds this index is durable; undefined if none holds it. */
  waitFor(index: LogIndex): Promise<void> | undefined {
    return this.#copied.waitFor(index) ?? this.queue.waitFor(index);
  }

  /** For the copied writes: a sync of them begins. */
  syncing(): void {
    this.#state.settings.writing();
  }

  /** For the copied writes: these are synced, in the order in which they were written. */
  synced(reaches: readonly Reach[]): void {
    this.#reached(reaches, !this.queue.isIdle || this.#copied.last !== undefined);
  }

  /** Seals the active segment; the next write makes a new one. For truncation. */
  async seal(): Promise<void> {
    await this.#copied.settled();
    if (this.#state.failed !== undefined) throw this.#state.failed;
    const active = this.#active;
    if (active === undefined) return;
    this.#active = undefined;
    await this.#sealFile(active);
  }

  /** Waits until no index file is on its way. */
  async settleBackground(): Promise<void> {
    await this.#background;
  }

  /**
   * Writes the index of a sealed segment, in the background. It may be missing for ever: that is no
   * harm.
   */
  indexInBackground(segment: LogSegment): void {
    const written = this.#background.then(() => this.#writeIndex(segment));
    this.#background = written.catch((error: unknown) => {
      this.fail(error);
    });
  }

  async saveManifest(clean = false): Promise<void> {
    const { files, directory } = this.#state.settings;
    await writeManifest(files, directory, this.#state.manifest(clean));
  }

  /** Lets go of files and timer; after the last item of the queue. */
  async release(): Promise<void> {
    clearTimeout(this.#idleTimer);
    await this.#background;
    const active = this.#active;
    this.#active = undefined;
    if (active !== undefined) {
      await active.file.finish();
      active.segment.fileBytes = active.file.fileBytes;
    }
    await this.#spare.discard();
  }

  /** Size of all segment files, zeros ahead included. */
  get bytes(): number {
    let total = 0;
    for (const { fileBytes } of this.#state.segments) total += fileBytes;
    const active = this.#active;
    return active === undefined ? total : total - active.segment.fileBytes + active.file.fileBytes;
  }

  #activeFor(): Active | undefined {
    const active = this.#active;
    if (active === undefined) return undefined;
    return active.file.end < this.#state.settings.segmentBytes ? active : undefined;
  }

  /** Large, one of many, and in a file that has no zeros ahead. */
  #isCopied(file: ActiveSegment | undefined, length: number): boolean {
    const isLarge = length >= this.#state.settings.copyBytes;
    return isLarge && this.#isPressed && file?.prewrites === false;
  }

  /** This much is synced, in the order of the writes; `isMore`: there was more when it ended. */
  #reached(reaches: readonly Reach[], isMore: boolean): void {
    const state = this.#state;
    this.#isPressed = isMore;
    state.settings.written();
    state.counters.syncs += 1;
    for (const { segment, end, lastIndex, chain, largestTimeMs, item, upTo } of reaches) {
      segment.end = end;
      segment.lastIndex = lastIndex;
      segment.endChain = chain;
      segment.largestTimeMs = largestTimeMs;
      state.mark = { segmentId: segment.segmentId, position: end };
      // Before a roll-over: its manifest puts the mark above what was written, so it must hold the
      // state.
      for (const placed of item.hardStates) if (placed.end <= upTo) state.hardState = placed.state;
    }
    this.#report();
    for (const { item, isLast } of reaches) if (isLast) item.done?.resolve();
    this.queue.goOn();
  }

  async #writeInto(active: Active, item: CollectedWrite, from: number): Promise<number> {
    const { file } = active;
    const { buffer } = item;
    const state = this.#state;
    const reach = this.#place(active, item, from);
    const bytes = buffer.bytes(from, reach.upTo);
    const isCopied = this.#isCopied(file, buffer.length);
    if (isCopied) {
      await file.copy(bytes);
    } else {
      assert(!this.#copied.isBusy, 'a small write follows what is synced');
      state.settings.writing();
      await file.write(bytes);
    }
    // Zeros, an index or a sync may have failed while this was written.
    if (state.failed !== undefined) throw state.failed;
    state.counters.writes += 1;
    state.counters.bytesWritten += bytes.length;
    if (isCopied) this.#copied.add(file, reach, bytes.length);
    else this.#reached([reach], this.queue.isWaiting);
    if (file.end * 2 > state.settings.segmentBytes) this.#spare.prepare(file.prewrites);
    return reach.upTo;
  }

  /** Completes what of the buffer goes into this segment; tells how far the log reaches then. */
  #place({ segment, file }: Active, item: CollectedWrite, from: number): Reach {
    const { sparse } = segment;
    if (sparse === undefined) throw new AssertionFailure('the active segment has its index');
    const state = this.#state;
    const placement: Placement = {
      logId: state.logIdHalves,
      segmentId: segment.segmentId,
      mark: state.mark,
      sparse,
      limit: state.settings.segmentBytes,
      position: file.end,
      chain: state.chain,
      largestTimeMs: state.largestTimeMs,
      lastIndex: this.#copied.last?.lastIndex ?? segment.lastIndex,
    };
    const upTo = item.buffer.place(from, placement);
    const { chain, largestTimeMs, lastIndex } = placement;
    state.chain = chain;
    state.largestTimeMs = largestTimeMs;
    const end = placement.position as FilePosition;
    const isLast = upTo === item.buffer.length;
    return { segment, end, lastIndex, chain, largestTimeMs, item, upTo, isLast };
  }

  #report(): void {
    const state = this.#state;
    const durable = state.segments.at(-1)?.lastIndex ?? state.durable;
    if (durable <= state.durable) return;
    state.durable = durable;
    this.#listeners.onDurable(durable);
  }

  async #rollOver(firstIndex: LogIndex): Promise<Active> {
    const state = this.#state;
    const { files, directory, indexIntervalBytes } = state.settings;
    const sealed = this.#active;
    const prewrite = sealed?.file.prewrites ?? state.settings.syncMode === 'prewritten-dsync';
    const averageBytes = sealed?.file.averageBytes ?? 0;
    await this.seal();
    const spare = await this.#spare.take(prewrite);
    const name = { firstIndex, segmentId: spare.segmentId };
    await files.rename(spare.path, inDirectory(directory, segmentFileName(name)));
    await files.syncDirectory(directory);
    const segment = makeSegment(directory, name, {
      lastIndex: (firstIndex - 1) as LogIndex,
      end: 0 as FilePosition,
      endChain: state.chain,
      largestTimeMs: state.largestTimeMs,
      sparse: new SparseIndex(firstIndex, indexIntervalBytes),
      sealed: false,
      sound: true,
      missing: false,
      fileBytes: spare.fileBytes,
    });
    state.segments.push(segment);
    await this.saveManifest();
    state.counters.segmentsCreated += 1;
    const { path, fileBytes } = segment;
    const opened = { path, end: 0, fileBytes, averageBytes };
    const file = await ActiveSegment.open(state.settings, opened, this.#fail);
    this.#active = { segment, file };
    if (sealed !== undefined) this.indexInBackground(sealed.segment);
    return this.#active;
  }

  async #sealFile({ segment, file }: Active): Promise<void> {
    await file.finish();
    segment.fileBytes = file.fileBytes;
    segment.sealed = true;
  }

  async #writeIndex(segment: LogSegment): Promise<void> {
    const { files } = this.#state.settings;
    const { sparse, indexPath } = segment;
    const gone = !this.#state.segments.includes(segment);
    if (gone || sparse === undefined || !segment.sound || this.#state.failed !== undefined) return;
    const summary = summaryOf(segment, this.#state.epochs.starts);
    const { logId, settings } = this.#state;
    const bytes = encodeIndex({ logId, summary, sparse }, settings.indexIntervalBytes);
    await removeIfThere(files, indexPath);
    try {
      await writeIndexFile(files, indexPath, bytes);
    } catch (error) {
      if (!hasCode(error, 'ENOSPC')) throw error;
      await removeIfThere(files, indexPath);
    }
    this.#listeners.onIndexed(segment);
  }

  #armIdleMark(): void {
    const { idleMarkMs } = this.#state.settings;
    if (idleMarkMs === 0 || this.#idleTimer !== undefined) return;
    const { writes } = this.#state.counters;
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined;
      this.#idleMark(writes);
    }, idleMarkMs);
    this.#idleTimer.unref();
  }

  /** Silence since so many writes: proves the tail by a batch that carries nothing but the mark. */
  #idleMark(writesThen: number): void {
    const state = this.#state;
    if (state.failed !== undefined) return;
    if (!this.queue.isIdle || this.#copied.isBusy || state.counters.writes !== writesThen) {
      this.#armIdleMark();
      return;
    }
    state.counters.marks += 1;
    this.queue.add({
      kind: BatchKind.mark,
      index: state.last,
      epoch: state.epochs.lastEpoch,
      timestampMs: state.settings.now(),
      recordCount: 0,
      payload: [],
      payloadLength: 0,
    });
  }
}
