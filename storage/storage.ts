/** The storage engine's entry: what others may use of it. */

export { STORAGE_ERROR_CODES, StorageError } from './errors.ts';
export type { StorageErrorCode } from './errors.ts';
export type { DiskSpace, Files, OpenFile, OpenOptions } from './files.ts';
export { nodeFiles } from './node-files.ts';
export { LOG_LIMITS } from './limits.ts';
export { decodeHardState } from './log/batch.ts';
export { uninitialised } from './log/file-bytes.ts';
export { Log } from './log/log.ts';
export type { LogReader } from './log/log-reader.ts';
export type {
  AppendBatch,
  EntryName,
  Fault,
  FaultyRange,
  HardState,
  LogBatch,
  LogOptions,
  LogStats,
  ReadLimits,
  ReadOutcome,
  RecoveryReport,
  SegmentExtent,
  SyncMode,
  TornTail,
} from './log/log-types.ts';
export type { EpochStart } from './log/epoch-cache.ts';
export type { Epoch, FilePosition, LogIndex, SegmentId } from './log/positions.ts';
export type {
  Checkpoint,
  DurableCheckpoint,
  Mend,
  RecordBatch,
  RecordDamage,
  RecordMend,
  RecordStore,
  StoredRecord,
} from './records/record-store.ts';
export { openLevelRecords } from './records/level-records.ts';
export type { LevelRecordsOptions } from './records/level-records.ts';
export { MemoryRecords } from './records/memory-records.ts';
export { openDataDirectory } from './data-directory.ts';
export type { DataDirectory, DataDirectoryOptions, DirectoryLock } from './data-directory.ts';
export { DiskReserve, RESERVE_LIMITS } from './disk-reserve.ts';
export type { DiskReserveOptions, ReserveSpace, ReserveState } from './disk-reserve.ts';
export { inspectLog } from './log/inspect.ts';
export type { Inspected, InspectOptions } from './log/inspect.ts';
export { Runs } from './runs/runs.ts';
export type { RunsOptions } from './runs/runs.ts';
export type { FinishedRun, RunWriter } from './runs/run-writer.ts';
export type { RunBlock, RunKey } from './runs/run-block.ts';
export type { RunDamage, RunFault, RunRead, RunReadLimits } from './runs/run-types.ts';
export { chooseRewrite, copyWanted } from './runs/compaction.ts';
export type { CopiedPiece, CopyOutcome, Piece, RunState } from './runs/compaction.ts';
export { inspectRun } from './runs/inspect-run.ts';
export type { InspectedRun, InspectRunOptions } from './runs/inspect-run.ts';
