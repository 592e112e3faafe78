/**
 * Carries out the writes of a log: places what was collected into segments, one write and one sync
 * at a time, rolls over, seals, and reports what is durable.
 *
 * It never reports a batch before the write that holds it was synced and its segment is named in a
 * durable manifest. The first failed write or sync, of data, zeros, index or manifest, ends the
 * log: nothing is retried, and nothing is reported after it. A crash in a roll-over leaves the old
 * segment whole and the new one either named or removed by recovery.
 */

import { AssertionFailure } from '../assert.ts';
import { StorageError } from '../errors.ts';
import { ActiveSegment } from './active-segment.ts';
import { BatchKind } from './batch.ts';
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
import type { Placement, WriteBuffer } from './write-buffer.ts';
import { WriteQueue } from './write-queue.ts';
import type { CollectedWrite } from './write-queue.ts';

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
  readonly #fail = (cause: unknown): StorageError => this.fail(cause);
  #active: Active | undefined;
  /** Index files on their way, one after the other. */
  #background: Promise<void> = Promise.resolve();
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(state: LogState, listeners: WriterListeners) {
    this.#state = state;
    this.#listeners = listeners;
    this.#spare = new SpareSegment(state.settings, () => state.takeSegmentId(), this.#fail);
    this.queue = new WriteQueue(this, state.settings.maxWriteBytes);
  }

  /** Goes on in the last segment, whose data ends soundly. */
  async resume(segment: LogSegment): Promise<void> {
    const { path, end, fileBytes } = segment;
    const file = await ActiveSegment.open(
      this.#state.settings,
      { path, end, fileBytes },
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
    this.queue.end(error);
    this.#listeners.onFailure(error);
    return error;
  }

  /** For the queue: one collected buffer, in as many segments as it takes. */
  async write(item: CollectedWrite): Promise<void> {
    const { buffer } = item;
    let from = 0;
    while (from < buffer.length) {
      const active = this.#activeFor() ?? (await this.#rollOver(buffer.indexAt(from)));
      from = await this.#writeInto(active, buffer, from);
      // Zeros or an index may have failed while this was written.
      if (this.#state.failed !== undefined) throw this.#state.failed;
      // Before a roll-over: its manifest puts the mark above what was written, so it must hold the
      // state.
      for (const { state, end } of item.hardStates) if (end <= from) this.#state.hardState = state;
      this.#report();
    }
    if (!buffer.onlyMarks) this.#armIdleMark();
  }

  /** Seals the active segment; the next write makes a new one. For truncation. */
  async seal(): Promise<void> {
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

  async #writeInto(active: Active, buffer: WriteBuffer, from: number): Promise<number> {
    const { segment, file } = active;
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
      lastIndex: segment.lastIndex,
    };
    const end = buffer.place(from, placement);
    state.chain = placement.chain;
    state.largestTimeMs = placement.largestTimeMs;
    state.settings.writing();
    await file.write(buffer.bytes(from, end));
    state.settings.written();
    const { counters } = state;
    counters.writes += 1;
    counters.syncs += 1;
    counters.bytesWritten += end - from;
    segment.end = file.end as FilePosition;
    segment.lastIndex = placement.lastIndex;
    segment.endChain = placement.chain;
    segment.largestTimeMs = placement.largestTimeMs;
    state.mark = { segmentId: segment.segmentId, position: segment.end };
    if (file.end * 2 > state.settings.segmentBytes) this.#spare.prepare(file.prewrites);
    return end;
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
    const file = await ActiveSegment.open(state.settings, { path, end: 0, fileBytes }, this.#fail);
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
    if (!this.queue.idle || state.counters.writes !== writesThen) {
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
