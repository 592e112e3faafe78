/**
 * Names in the folder of a log:
 *
 *   <first index, 20 digits>-<segment id>.log     a segment
 *   <first index, 20 digits>-<segment id>.index   its sparse index, once it is sealed
 *   <segment id>.spare                            the next segment, prepared; never holds data
 *   manifest, manifest.new                        the manifest, and the one being written
 *
 * Everything else in the folder is not ours and is left alone.
 */

import type { LogIndex, SegmentId } from './positions.ts';

export const MANIFEST_NAME = 'manifest';
export const MANIFEST_TEMPORARY_NAME = 'manifest.new';
const INDEX_DIGITS = 20;

export interface SegmentName {
  readonly firstIndex: LogIndex;
  readonly segmentId: SegmentId;
}

export function segmentFileName(name: SegmentName): string {
  return `${stem(name)}.log`;
}

export function indexFileName(name: SegmentName): string {
  return `${stem(name)}.index`;
}

export function spareFileName(segmentId: SegmentId): string {
  return `${segmentId}.spare`;
}

function stem({ firstIndex, segmentId }: SegmentName): string {
  return `${String(firstIndex).padStart(INDEX_DIGITS, '0')}-${segmentId}`;
}

/** The segment that a file name stands for; undefined for any other name. */
export function parseSegmentFileName(name: string): SegmentName | undefined {
  const match = /^(\d{20})-(\d{1,10})\.log$/.exec(name);
  if (match === null) return undefined;
  return {
    firstIndex: Number(match[1]) as LogIndex,
    segmentId: Number(match[2]) as SegmentId,
  };
}

/** Files that only this log makes, and that mean nothing unless a manifest names their segment. */
export function isLogFileName(name: string): boolean {
  return /^\d{20}-\d{1,10}\.(log|index)$/.test(name) || isTemporaryFileName(name);
}

/** Files that a crash leaves over and that never hold anything acknowledged. */
export function isTemporaryFileName(name: string): boolean {
  return /^\d{1,10}\.spare$/.test(name) || name === MANIFEST_TEMPORARY_NAME;
}

export function inDirectory(directory: string, name: string): string {
  return `${directory}/${name}`;
}
