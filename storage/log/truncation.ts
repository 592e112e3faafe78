/**
 * Cutting the log at its front and its back, each safe against a crash at any instant and with readers in
 * flight. Runs as an operation of the write queue, so no write is under way and everything is durable.
 *
 * Order, the same for both: what is derived is lowered; the manifest names the new extent and holds the hard
 * state that may go with the bytes; only then do bytes and files go, the front oldest first, the back newest
 * first. A crash before the manifest changes nothing; after it, recovery finishes the job from what the
 * manifest names. A cut file is never written again: the log goes on in a new segment.
 */

import { assert } from '../assert.ts';
import { StorageError } from '../errors.ts';
import { BatchKind, decodeHeader, emptyHeader, HEADER_BYTES, windowOver } from './batch.ts';
import { readFully, removeIfThere } from './file-bytes.ts';
import type { LogSegment } from './log-segment.ts';
import type { LogState } from './log-state.ts';
import type { LogWriter } from './log-writer.ts';
import type { FilePosition, LogIndex } from './positions.ts';
import type { Hold, ReadHandles } from './read-handles.ts';
import type { SegmentIndexes } from './segment-indexes.ts';

export interface OpenLog {
  readonly state: LogState;
  readonly writer: LogWriter;
  readonly handles: ReadHandles;
  readonly indexes: SegmentIndexes;
}

/** Drops whole segments below `firstKept`; the last segment stays. */
export async function cutPrefix(log: OpenLog, firstKept: LogIndex): Promise<void> {
  const { state, writer } = log;
  const { segments } = state;
  let count = 0;
  while ((segments[count + 1]?.firstIndex ?? Infinity) <= firstKept) count += 1;
  if (count === 0) return;
  await writer.settleBackground();
  const dropped = segments.splice(0, count);
  const start = segments[0]?.firstIndex ?? state.start;
  state.epochBeforeStart = state.epochs.epochAt((start - 1) as LogIndex) ?? state.epochBeforeStart;
  state.start = start;
  state.epochs.truncatePrefix(start);
  state.faulty = state.faulty.filter((range) => (range.through ?? Infinity) >= start);
  await writer.saveManifest();
  for (const segment of dropped) await removeSegment(log, segment);
  await state.settings.files.syncDirectory(state.settings.directory);
}

/** Cuts everything above `lastKept`, which is in [start - 1, last] and in no faulty range. */
export async function cutSuffix(log: OpenLog, lastKept: LogIndex): Promise<void> {
  const { state, writer } = log;
  const { segments } = state;
  const { last, durable } = state;
  const active = segments.find((segment) => !segment.sealed);
  await writer.seal();
  await writer.settleBackground();
  const place = await findCut(log, lastKept);
  const kept = segments[place.keep - 1];
  const untouched = kept?.end === place.position && kept !== active;
  const cut = untouched ? undefined : kept;
  state.lowerTo(lastKept);
  const dropped = segments.splice(place.keep);
  state.chain = place.chain ?? 0;
  if (kept !== undefined) {
    state.mark = { segmentId: kept.segmentId, position: place.position };
  }
  if (cut !== undefined) {
    cut.lastIndex = lastKept;
    cut.end = place.position;
    cut.endChain = place.chain;
    cut.sparse?.cut(place.position);
  }
  try {
    await finishSuffix(log, dropped, cut);
    // Something in the background: the caller hears of a failure and not of a cut.
    if (state.failed !== undefined) throw state.failed;
  } catch (error) {
    // The log has failed and nobody was told of a cut: it says of its end what it said before.
    state.last = last;
    state.durable = durable;
    throw error;
  }
}

async function finishSuffix(
  log: OpenLog,
  dropped: readonly LogSegment[],
  cut: LogSegment | undefined,
): Promise<void> {
  const { state, writer, indexes } = log;
  const { files, directory } = state.settings;
  await writer.saveManifest();
  for (const segment of dropped.toReversed()) await removeSegment(log, segment);
  if (cut !== undefined) {
    indexes.forget(cut);
    await removeIfThere(files, cut.indexPath);
    await cutFile(log, cut);
    writer.indexInBackground(cut);
  }
  await files.syncDirectory(directory);
}

async function cutFile({ state }: OpenLog, segment: LogSegment): Promise<void> {
  const file = await state.settings.files.open(segment.path, {
    access: 'write',
    create: 'never',
    durability: 'on-sync',
  });
  try {
    await file.truncate(segment.end);
    await file.sync();
  } finally {
    await file.close();
  }
  segment.fileBytes = segment.end;
}

async function removeSegment(
  { state, handles, indexes }: OpenLog,
  segment: LogSegment,
): Promise<void> {
  indexes.forget(segment);
  handles.drop(segment);
  await removeIfThere(state.settings.files, segment.indexPath);
  await removeIfThere(state.settings.files, segment.path);
}

interface CutPlace {
  /** So many segments stay, the last of them up to `position`. */
  readonly keep: number;
  readonly position: FilePosition;
  /** Header CRC of the last batch that stays. */
  readonly chain: number | undefined;
}

/** The end of what comes before the entry `lastKept + 1`; marks and hard states behind `lastKept` stay. */
async function findCut(log: OpenLog, lastKept: LogIndex): Promise<CutPlace> {
  const { state } = log;
  const { segments } = state;
  const first = (lastKept + 1) as LogIndex;
  const fault = state.faulty.find((range) => range.from === first);
  const at = fault
    ? segments.findIndex((segment) => segment.segmentId === fault.segmentId)
    : segments.findLastIndex((segment) => segment.firstIndex <= first);
  const segment = segments[at];
  assert(segment !== undefined, 'a segment holds what is cut');
  if (fault?.position === 0 || segment.missing) return wholeUpTo(log, at);
  if (segment.firstIndex === first && fault === undefined) return wholeUpTo(log, at);
  const hold = await log.handles.hold(segment);
  try {
    const sparse = await log.indexes.sparse(hold);
    const from = sparse.positionFor(lastKept) ?? 0;
    return await walkToCut({ hold, at, from, first, limit: fault?.position ?? segment.end });
  } finally {
    hold.release();
  }
}

function wholeUpTo({ state }: OpenLog, keep: number): CutPlace {
  const last = state.segments[keep - 1];
  return { keep, position: last?.end ?? (0 as FilePosition), chain: last?.endChain };
}

async function walkToCut(walk: {
  hold: Hold;
  at: number;
  from: number;
  first: LogIndex;
  limit: number;
}): Promise<CutPlace> {
  const { hold, at, first, limit } = walk;
  const window = windowOver(new Uint8Array(HEADER_BYTES));
  const header = emptyHeader();
  let chain: number | undefined;
  let position = walk.from;
  while (position < limit) {
    await readFully(hold.file, window.bytes, position);
    const sound = decodeHeader(window, 0, header);
    if (!sound || header.position !== position || header.segmentId !== hold.segment.segmentId) {
      const where = `segment ${hold.segment.segmentId}, byte ${position}`;
      throw new StorageError('damaged', `the log cannot be cut: bad header in ${where}`);
    }
    if (header.kind === BatchKind.entry && header.index >= first) break;
    chain = header.headerCrc;
    position += HEADER_BYTES + header.payloadLength;
  }
  assert(chain !== undefined, 'a sound batch stands before the cut');
  return { keep: at + 1, position: position as FilePosition, chain };
}
