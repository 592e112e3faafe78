/** The options of a log with every default filled in and every range checked. */

import { StorageError } from '../errors.ts';
import type { Files } from '../files.ts';
import { checkedLimit } from '../limits.ts';
import type { LogOptions, SyncMode } from './log-types.ts';

export interface LogSettings {
  readonly files: Files;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly indexIntervalBytes: number;
  readonly maxWriteBytes: number;
  readonly maxBatchBytes: number;
  readonly syncMode: SyncMode;
  readonly prewriteBytes: number;
  readonly copyBytes: number;
  readonly unsyncedBytes: number;
  readonly idleMarkMs: number;
  now(): number;
  writing(): void;
  written(): void;
  prewritten(bytes: number): void;
}

export function settingsOf(options: LogOptions): LogSettings {
  const syncMode: string = options.syncMode ?? 'prewritten-dsync';
  if (syncMode !== 'prewritten-dsync' && syncMode !== 'fdatasync') {
    throw new StorageError('out-of-range', `there is no sync mode ${syncMode}`);
  }
  return {
    files: options.files,
    directory: options.directory,
    segmentBytes: checkedLimit('segmentBytes', options.segmentBytes),
    indexIntervalBytes: checkedLimit('indexIntervalBytes', options.indexIntervalBytes),
    maxWriteBytes: checkedLimit('maxWriteBytes', options.maxWriteBytes),
    maxBatchBytes: checkedLimit('maxBatchBytes', options.maxBatchBytes),
    syncMode,
    prewriteBytes: checkedLimit('prewriteBytes', options.prewriteBytes),
    copyBytes: checkedLimit('copyBytes', options.copyBytes),
    unsyncedBytes: checkedLimit('unsyncedBytes', options.unsyncedBytes),
    idleMarkMs: checkedLimit('idleMarkMs', options.idleMarkMs),
    now: () => options.now(),
    writing: () => options.writing?.(),
    written: () => options.written?.(),
    prewritten: (bytes) => options.prewritten?.(bytes),
  };
}
