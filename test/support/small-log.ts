/** A log of small segments over files in memory, and what tests do with one again and again. */

import type { StorageError } from '../../storage/errors.ts';
import { Log } from '../../storage/log/log.ts';
import type { LogBatch, LogOptions, RecoveryReport } from '../../storage/log/log-types.ts';
import type { LogIndex } from '../../storage/log/positions.ts';
import type { MemoryFiles } from './memory-files.ts';

export const DIRECTORY = '/data/log';
export const SMALL = {
  segmentBytes: 4096,
  prewriteBytes: 4096,
  maxWriteBytes: 4096,
  indexIntervalBytes: 512,
  idleMarkMs: 0,
} as const;

export interface SmallLog {
  readonly log: Log;
  readonly recovery: RecoveryReport;
  readonly failures: StorageError[];
}

export async function openSmall(
  files: MemoryFiles,
  options: Partial<LogOptions> = {},
): Promise<SmallLog> {
  const failures: StorageError[] = [];
  const opened = await Log.open({
    files,
    directory: DIRECTORY,
    now: () => 1_700_000_000_000,
    newLogId: () => '00112233aabbccdd',
    onFailure: (error) => failures.push(error),
    ...SMALL,
    ...options,
  });
  return { ...opened, failures };
}

export function at(index: number): LogIndex {
  return index as LogIndex;
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The payload that `fill` gives to the entry. */
export function payloadOf(index: number, length = 40): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let nth = 0; nth < length; nth += 1) bytes[nth] = (index * 31 + nth * 7 + 1) % 251;
  return bytes;
}

export interface Filling {
  readonly epoch?: number;
  readonly length?: number;
}

/** Appends so many entries and waits until they are durable. */
export async function fill(log: Log, count: number, filling: Filling = {}): Promise<void> {
  for (let nth = 0; nth < count; nth += 1) appendOne(log, filling);
  await log.appended(log.last);
}

export function appendOne(log: Log, { epoch, length }: Filling = {}): LogIndex {
  const index = log.last + 1;
  return log.append({
    epoch: epoch ?? Math.max(1, log.lastEpoch),
    timestampMs: 1000 + index,
    recordCount: 1,
    payload: [payloadOf(index, length)],
  });
}

/** Every entry from `start` to `durable`; throws where one cannot be read. */
export async function readAll(log: Log, maxBytes = 2000): Promise<LogBatch[]> {
  const all: LogBatch[] = [];
  const reader = log.reader(log.start);
  while (reader.next <= log.durable) {
    const outcome = await reader.read({ maxBytes });
    if (outcome.kind !== 'batches') throw new Error(JSON.stringify(outcome));
    all.push(...outcome.batches);
  }
  reader.close();
  return all;
}

/** The segment files, oldest first. */
export function segmentPaths(files: MemoryFiles): string[] {
  return files.paths().filter((path) => path.endsWith('.log'));
}

export function indexPaths(files: MemoryFiles): string[] {
  return files.paths().filter((path) => path.endsWith('.index'));
}
