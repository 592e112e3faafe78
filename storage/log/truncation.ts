/**
 * Cutting the log at its front and its back, each safe against a crash at any instant and with
 * readers in flight. Runs as an operation of the write queue, so no write is under way and
 * everything is durable.
 *
 * Order, the same for both: what is derived is lowered; the manifest names the new extent and holds
 * the hard state that may go with the bytes; only then do bytes and files go, the front oldest
 * first, the back newest first. A crash before the manifest changes nothing; after it, recovery
 * finishes the job from what the manifest names. A cut file is never written again: the log goes on
 * in a new segment.
 */

import { findCut } from './cut-place.ts';
import { removeIfThere } from './file-bytes.ts';
import type { LogSegment } from './log-segment.ts';
import type { LogState } from './log-state.ts';
import type { LogWriter } from './log-writer.ts';
import type { LogIndex } from './positions.ts';
import type { SegmentHandles } from './segment-handles.ts';
import type { SegmentIndexes } from './segment-indexes.ts';

export interface OpenLog {
  readonly state: LogState;
  readonly writer: LogWriter;
  readonly handles: SegmentHandles;
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
