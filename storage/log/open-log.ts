/**
 * Opens a log: reads the manifest, finishes what a crash interrupted, scans what may not be
 * trusted, lets `recovery.ts` decide, and carries the decision out.
 *
 * Nothing is changed before the decision but files that never held anything acknowledged, cuts that
 * the manifest had named already, and index files. Where it rejects (no such folder, an unreadable
 * disk, a damaged manifest, a newer format) the log is as it was. A crash in the middle is as
 * before: the manifest is written once, at the end, and names what is left.
 */

import { assertCount } from '../assert.ts';
import { StorageError } from '../errors.ts';
import type { OpenFile } from '../files.ts';
import { hasCode, removeIfThere } from './file-bytes.ts';
import {
  inDirectory,
  indexFileName,
  isLogFileName,
  isTemporaryFileName,
  parseSegmentFileName,
  segmentFileName,
} from './file-names.ts';
import type { SegmentName } from './file-names.ts';
import { encodeIndex, readIndexFile, writeIndexFile } from './index-file.ts';
import { firstChain, logIdHalves, newLogId } from './log-id.ts';
import type { LogSegment } from './log-segment.ts';
import { LogState, makeSegment } from './log-state.ts';
import type { EntryName, LogOptions, RecoveryReport } from './log-types.ts';
import type { Manifest, ManifestSegment } from './manifest.ts';
import { readManifest, writeManifest } from './manifest-file.ts';
import { FIRST_PLACE } from './positions.ts';
import type { Epoch, LogIndex, Place, SegmentId } from './positions.ts';
import { Recovery } from './recovery.ts';
import type { RecoveredSegment, RecoveryDecision } from './recovery.ts';
import { ScanBuffers, scanFile } from './scan-file.ts';
import { SegmentScanner } from './scanner.ts';
import type { SegmentSummary } from './segment-summary.ts';
import { settingsOf } from './settings.ts';
import type { LogSettings } from './settings.ts';

export interface OpenedLog {
  readonly state: LogState;
  readonly report: RecoveryReport;
  /** The segment to go on in; undefined: the next write makes a new one. */
  readonly resume: LogSegment | undefined;
}

interface Scanned {
  readonly decision: RecoveryDecision;
  /** Sizes of the files that are there. */
  readonly sizes: ReadonlyMap<SegmentId, number>;
  segmentsScanned: number;
  bytesScanned: number;
  indexesRebuilt: number;
}

export async function openLog(options: LogOptions): Promise<OpenedLog> {
  const settings = settingsOf(options);
  const { files, directory } = settings;
  await files.makeDirectory(directory);
  const parent = directory.slice(0, Math.max(directory.lastIndexOf('/'), 0));
  await files.syncDirectory(parent === '' ? (directory.startsWith('/') ? '/' : '.') : parent);
  const found = await readManifest(files, directory);
  const names = await files.list(directory);
  if (found === undefined) await refuseOrphans(settings, names);
  const manifest = found ?? newManifest(options.newLogId?.() ?? newLogId(), options.beginsBehind);
  const removed = await removeLeftOvers(settings, manifest, names);
  const scanned = await scan(settings, manifest);
  const { decision } = scanned;
  const segments = await carryOut(settings, manifest, scanned);
  const state = new LogState(settings, {
    logId: manifest.logId,
    epochs: decision.epochs,
    segments,
    faulty: [...decision.faulty],
    start: manifest.start,
    epochBeforeStart: manifest.epochBeforeStart,
    last: decision.end.lastIndex,
    chain: decision.end.chain ?? firstChain(manifest.logId),
    hardState: decision.end.hardState,
    mark: endOf(segments) ?? manifest.mark,
    largestTimeMs: decision.end.largestTimeMs,
    nextSegmentId: manifest.nextSegmentId,
  });
  await writeManifest(files, directory, state.manifest(false));
  await finishCut(settings, manifest, decision);
  const last = segments.at(-1);
  return {
    state,
    resume: decision.resumable ? last : undefined,
    report: {
      created: found === undefined,
      clean: manifest.clean,
      tornTail: decision.cut,
      faulty: decision.faulty,
      segments: segments.length,
      segmentsScanned: scanned.segmentsScanned,
      bytesScanned: scanned.bytesScanned,
      indexesRebuilt: scanned.indexesRebuilt,
      removed,
    },
  };
}

function newManifest(logId: string, before: EntryName = { index: 0, epoch: 0 }): Manifest {
  assertCount(before.index, 'index');
  assertCount(before.epoch, 'epoch');
  return {
    logId,
    clean: true,
    start: (before.index + 1) as LogIndex,
    epochBeforeStart: before.epoch as Epoch,
    durable: before.index as LogIndex,
    hardState: { term: 0, vote: '' },
    mark: FIRST_PLACE,
    nextSegmentId: 1 as SegmentId,
    segments: [],
  };
}

/**
 * Segments without a manifest: somebody took the manifest away. They are never taken for leftovers.
 */
async function refuseOrphans(settings: LogSettings, names: readonly string[]): Promise<void> {
  const orphan = names.find((name) => parseSegmentFileName(name) !== undefined);
  if (orphan === undefined) return;
  throw new StorageError(
    'damaged',
    `${settings.directory} has segments (${orphan}) but no manifest: it was lost or removed`,
  );
}

async function removeLeftOvers(
  settings: LogSettings,
  manifest: Manifest,
  names: readonly string[],
): Promise<string[]> {
  const { files, directory } = settings;
  const named = new Set(manifest.segments.flatMap((s) => [segmentFileName(s), indexFileName(s)]));
  const leftOver = names.filter((name) => {
    return isTemporaryFileName(name) || (isLogFileName(name) && !named.has(name));
  });
  // Newest first: of a suffix that was cut, no middle part is ever left alone.
  leftOver.reverse();
  for (const name of leftOver) await removeIfThere(files, inDirectory(directory, name));
  if (leftOver.length > 0) await files.syncDirectory(directory);
  return leftOver;
}

async function scan(settings: LogSettings, manifest: Manifest): Promise<Scanned> {
  const recovery = new Recovery(manifest, settings.indexIntervalBytes);
  const counts = { segmentsScanned: 0, bytesScanned: 0, indexesRebuilt: 0 };
  const sizes = new Map<SegmentId, number>();
  const buffers = new ScanBuffers();
  for (const segment of manifest.segments) {
    const file = await openSegment(settings, segment);
    if (file === undefined) {
      recovery.missing(segment);
      continue;
    }
    try {
      const size = await sizeAfterCut(settings, segment, await file.size());
      sizes.set(segment.segmentId, size);
      if (manifest.clean && (await skipSealed(settings, manifest, { recovery, segment, size }))) {
        continue;
      }
      recovery.begin(segment);
      const end = Math.min(size, segment.length ?? size);
      const logId = logIdHalves(manifest.logId);
      const scanner = new SegmentScanner({ logId, segmentId: segment.segmentId, end }, recovery);
      counts.bytesScanned += await scanFile(file, scanner, { end, buffers });
      counts.segmentsScanned += 1;
    } finally {
      await file.close();
    }
    const { lastSegment } = recovery;
    if (lastSegment === undefined) continue;
    if (await keepIndex(settings, manifest.logId, lastSegment)) counts.indexesRebuilt += 1;
  }
  return { decision: recovery.finish(), sizes, ...counts };
}

/** A sealed segment with a good index of a log that was closed in order is not read. */
async function skipSealed(
  { files, directory }: LogSettings,
  { logId }: Manifest,
  known: { recovery: Recovery; segment: ManifestSegment; size: number },
): Promise<boolean> {
  const { recovery, segment, size } = known;
  if (segment.length === undefined || size < segment.length) return false;
  const index = await readIndexFile(files, inDirectory(directory, indexFileName(segment)));
  return index?.logId === logId && recovery.skip(segment, index.summary);
}

/** Finishes a cut that the manifest names: the file must not be longer than its segment. */
async function sizeAfterCut(
  settings: LogSettings,
  segment: ManifestSegment,
  size: number,
): Promise<number> {
  if (segment.length === undefined || size <= segment.length) return size;
  await cutFile(settings, segment, segment.length);
  return segment.length;
}

async function cutFile(
  { files, directory }: LogSettings,
  name: SegmentName,
  length: number | undefined,
): Promise<void> {
  const file = await files.open(inDirectory(directory, segmentFileName(name)), {
    access: 'write',
    create: 'never',
    durability: 'on-sync',
  });
  try {
    if (length !== undefined) await file.truncate(length);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * The index file of a segment that was just scanned: rebuilt if it is not good, removed if the
 * segment is damaged, so that nobody trusts it instead of the log. True: it was rebuilt.
 */
async function keepIndex(
  { files, directory, indexIntervalBytes }: LogSettings,
  logId: string,
  segment: RecoveredSegment,
): Promise<boolean> {
  if (!segment.sealed || segment.sparse === undefined) return false;
  const path = inDirectory(directory, indexFileName(segment));
  const found = segment.sound ? await readIndexFile(files, path) : undefined;
  if (found?.logId === logId && sameSummary(found.summary, segment)) {
    segment.sparse = undefined;
    return false;
  }
  await removeIfThere(files, path);
  if (!segment.sound) return false;
  const bytes = encodeIndex(
    { logId, summary: segment, sparse: segment.sparse },
    indexIntervalBytes,
  );
  try {
    await writeIndexFile(files, path, bytes);
  } catch (error) {
    if (!hasCode(error, 'ENOSPC')) throw error;
    await removeIfThere(files, path);
    return false;
  }
  segment.sparse = undefined;
  return true;
}

function sameSummary(a: SegmentSummary, b: SegmentSummary): boolean {
  return (
    a.segmentId === b.segmentId &&
    a.firstIndex === b.firstIndex &&
    a.lastIndex === b.lastIndex &&
    a.end === b.end &&
    a.endChain === b.endChain &&
    a.epochs.length === b.epochs.length
  );
}

/**
 * The segments as they are from now on; what was open is synced first: a crash left it in the
 * cache.
 */
async function carryOut(
  settings: LogSettings,
  manifest: Manifest,
  { decision, sizes }: Scanned,
): Promise<LogSegment[]> {
  const open = manifest.segments.at(-1);
  if (open !== undefined && open.length === undefined && sizes.has(open.segmentId)) {
    await cutFile(settings, open, undefined);
  }
  const lastId = decision.segments.at(-1)?.segmentId;
  return decision.segments.map((segment) => {
    const goesOn = decision.resumable && segment.segmentId === lastId;
    return makeSegment(settings.directory, segment, {
      lastIndex: segment.lastIndex,
      end: segment.end,
      endChain: segment.endChain,
      largestTimeMs: segment.largestTimeMs,
      sparse: segment.sparse,
      // A missing file that was open may come back: nothing is known of its length.
      sealed: segment.missing ? segment.sealed : !goesOn,
      sound: segment.sound,
      missing: segment.missing,
      fileBytes: goesOn ? (sizes.get(segment.segmentId) ?? 0) : segment.missing ? 0 : segment.end,
    });
  });
}

function endOf(segments: readonly LogSegment[]): Place | undefined {
  const last = segments.at(-1);
  return last && { segmentId: last.segmentId, position: last.end };
}

/** The manifest names the cut now: bytes and files may go, the newest first. */
async function finishCut(
  settings: LogSettings,
  manifest: Manifest,
  { cut, segments }: RecoveryDecision,
): Promise<void> {
  if (cut === undefined) return;
  const { files, directory } = settings;
  const kept = new Set(segments.map((segment) => segment.segmentId));
  for (const segment of manifest.segments.toReversed()) {
    if (kept.has(segment.segmentId)) continue;
    await removeIfThere(files, inDirectory(directory, indexFileName(segment)));
    await removeIfThere(files, inDirectory(directory, segmentFileName(segment)));
  }
  const last = segments.at(-1);
  if (last?.segmentId === cut.segmentId) await cutFile(settings, last, last.end);
  await files.syncDirectory(directory);
}

async function openSegment(
  { files, directory }: LogSettings,
  segment: ManifestSegment,
): Promise<OpenFile | undefined> {
  try {
    return await files.open(inDirectory(directory, segmentFileName(segment)), {
      access: 'read',
      create: 'never',
      durability: 'on-sync',
    });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
