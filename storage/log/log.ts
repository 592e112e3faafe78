/**
 * The log: an append-only sequence of checksummed batches in segment files, with one entry a batch.
 *
 * What a caller may assume: an index that was reported durable is on stable storage and is never truncated by
 * recovery; every byte that `read` returns was checked; calls that change the log happen in the order in
 * which they were made. What it must not do: open one folder twice (the lock is the caller's), append between
 * the call and the end of `truncateSuffix`, or go on after `onFailure`: the first failed write or sync ends
 * the log, because a repeated fsync may succeed without the data.
 */

import { StorageError } from '../errors.ts';
import type {
  AppendBatch,
  FaultyRange,
  HardState,
  LogOptions,
  LogStats,
  ReadLimits,
  ReadOutcome,
  RecoveryReport,
} from './log-types.ts';
import type { Epoch, LogIndex } from './positions.ts';

/** Reads in order; holds its place and, through its handle, the segment. Close it. */
export interface LogReader {
  /** Index of the entry that comes next. */
  readonly next: LogIndex;
  /** The following batches; empty where nothing more is durable. After `truncated`: `reposition`. */
  read(limits: ReadLimits): Promise<ReadOutcome>;
  reposition(from: LogIndex): void;
  close(): void;
}

export class Log {
  /** Opens or creates the log in the folder; recovers it first. Changes nothing where it rejects. */
  static open(_options: LogOptions): Promise<{ log: Log; recovery: RecoveryReport }> {
    return Promise.reject(new StorageError('failed', 'not built yet'));
  }

  /** 16 hexadecimal digits; in every header. */
  get logId(): string {
    return '';
  }
  /** First index that is kept. `last + 1` on an empty log. */
  get start(): LogIndex {
    return 1 as LogIndex;
  }
  /** Epoch of the entry before `start`; 0 where there was none. */
  get epochBeforeStart(): Epoch {
    return 0 as Epoch;
  }
  /** Last index that was accepted; durable or on its way. */
  get last(): LogIndex {
    return 0 as LogIndex;
  }
  /** Last index that is on stable storage. */
  get durable(): LogIndex {
    return 0 as LogIndex;
  }
  /** The failure that ended the log. */
  get failed(): StorageError | undefined {
    return undefined;
  }
  /** Bytes of disk that the segments take, zeros that were written ahead included. */
  get bytes(): number {
    return 0;
  }
  get segments(): number {
    return 0;
  }
  get stats(): LogStats {
    throw new StorageError('failed', 'not built yet');
  }
  /** Known ranges that cannot be read, ascending; recovery finds them, and reads may. */
  get faulty(): readonly FaultyRange[] {
    return [];
  }
  /** The last hard state that is durable. */
  get hardState(): HardState {
    return { term: 0, vote: '' };
  }

  /** Epoch of an entry in [start - 1, last]; undefined outside, and inside a faulty range. */
  epochAt(_index: LogIndex): Epoch | undefined {
    return undefined;
  }

  /** Resolves when durable; ordered with appends. */
  setHardState(_state: HardState): Promise<void> {
    return Promise.reject(new StorageError('failed', 'not built yet'));
  }

  /**
   * Takes an entry and returns its index at once; `onDurable` or `appended` tells when it is safe. No limit
   * on what waits: the caller bounds it. Throws StorageError `closed`, `failed`, `too-large`, or `damaged`
   * while a faulty range with unknown end is the last thing in the log.
   */
  append(_batch: AppendBatch): LogIndex {
    throw new StorageError('failed', 'not built yet');
  }

  /** One listener, called once a sync with the last durable index, ascending. It must not throw. */
  onDurable(_listener: (durable: LogIndex) => void): void {
    throw new StorageError('failed', 'not built yet');
  }

  /** Resolves when `index` is durable; rejects if the log failed first, or if it was closed without it. */
  appended(_index: LogIndex): Promise<void> {
    return Promise.reject(new StorageError('failed', 'not built yet'));
  }

  /** Durable entries from `from` on, checked. */
  read(_from: LogIndex, _limits: ReadLimits): Promise<ReadOutcome> {
    return Promise.reject(new StorageError('failed', 'not built yet'));
  }

  /** For reading in order: keeps its place and its file between reads. */
  reader(_from: LogIndex): LogReader {
    throw new StorageError('failed', 'not built yet');
  }

  /** Drops whole segments below `firstKept`; `start` moves to the first entry of the first that stays. */
  truncatePrefix(_firstKept: LogIndex): Promise<void> {
    return Promise.reject(new StorageError('failed', 'not built yet'));
  }

  /** Cuts everything above `lastKept`, in [start - 1, last]. Nobody may append until it has resolved. */
  truncateSuffix(_lastKept: LogIndex): Promise<void> {
    return Promise.reject(new StorageError('failed', 'not built yet'));
  }

  /** Waits for what was appended, leaves the mark of a clean stop. Later calls get StorageError `closed`. */
  close(): Promise<void> {
    return Promise.reject(new StorageError('failed', 'not built yet'));
  }
}
