/**
 * Looks at the files of a log from outside, without a lock and without changing a byte: what is in
 * them, where they are damaged, and what recovery would decide. For `fluxmq segment-dump`.
 *
 * Where it can mislead: beside a running broker the last batch may look torn, because it is being
 * written. Of one segment alone, or without a manifest, it cannot know what was durable, so it says
 * what recovery would decide if nothing had been. Memory is bounded by one piece of a file, one
 * payload and recovery's own.
 */

import { basename, dirname } from 'node:path';
import { StorageError } from '../errors.ts';
import type { Files, OpenFile } from '../files.ts';
import { decodeHeader, emptyHeader, HEADER_BYTES, MAGIC, windowOver } from './batch.ts';
import type { BatchHeader } from './batch.ts';
import { readFully, readWholeFile } from './file-bytes.ts';
import { indexFileName, inDirectory, MANIFEST_NAME, parseSegmentFileName } from './file-names.ts';
import { segmentFileName } from './file-names.ts';
import { readIndexFile } from './index-file.ts';
import { logIdHalves, logIdOf } from './log-id.ts';
import { decodeManifest } from './manifest.ts';
import type { Manifest, ManifestSegment } from './manifest.ts';
import { FIRST_PLACE } from './positions.ts';
import type { Epoch, LogIndex, SegmentId } from './positions.ts';
import { Recovery } from './recovery.ts';
import type { RecoveryDecision } from './recovery.ts';
import { MAX_LEFT_OVER_BYTES, SegmentScanner } from './scanner.ts';
import type { BadStretch, ScanSink } from './scanner.ts';

const PIECE_BYTES = 256 * 1024;
const INDEX_INTERVAL_BYTES = 4096;

/** What was seen, in the order of the log. */
export type Inspected =
  | {
      readonly kind: 'log';
      readonly manifest: Manifest | undefined;
      readonly note: string | undefined;
    }
  | {
      readonly kind: 'segment';
      readonly path: string;
      readonly segment: ManifestSegment;
      readonly fileBytes: number;
      /** `none` is in order for the segment that is still being written. */
      readonly index: 'good' | 'none' | 'bad' | 'does not fit';
    }
  | { readonly kind: 'missing'; readonly path: string; readonly segment: ManifestSegment }
  | {
      readonly kind: 'batch';
      readonly header: Readonly<BatchHeader>;
      /** Undefined where payloads were not asked for. */
      readonly payload: Uint8Array | undefined;
    }
  | { readonly kind: 'bad'; readonly segmentId: SegmentId; readonly stretch: BadStretch }
  | { readonly kind: 'segment end'; readonly segmentId: SegmentId; readonly dataEnd: number }
  | { readonly kind: 'decision'; readonly decision: RecoveryDecision };

export interface InspectOptions {
  readonly files: Files;
  /** The folder of a log, or one of its segment files. */
  readonly path: string;
  readonly isDirectory: boolean;
  /** Whether this batch's payload is wanted; it is read again and handed over. */
  readonly wantsPayload: (header: Readonly<BatchHeader>) => boolean;
  /** Told now and then: bytes read so far. */
  progress?(bytes: number): void;
}

/** Rejects with StorageError `unknown-format` where nothing at `path` is a log of ours. */
export async function* inspectLog(options: InspectOptions): AsyncGenerator<Inspected> {
  const { files, path, isDirectory } = options;
  const directory = isDirectory ? path : dirname(path);
  const { manifest, problem } = await manifestOf(files, directory);
  const only = isDirectory ? undefined : await onlySegment(options, manifest);
  const shown = only ?? manifest ?? (await fromFiles(files, directory));
  const note = only === undefined ? problem : 'one segment alone: nothing is known of the others';
  yield { kind: 'log', manifest: only === undefined ? manifest : undefined, note };
  const recovery = new Recovery(shown, INDEX_INTERVAL_BYTES);
  for (const segment of shown.segments) {
    yield* inspectSegment(options, segment, { logId: shown.logId, recovery });
  }
  yield { kind: 'decision', decision: recovery.finish() };
}

interface KnownManifest {
  readonly manifest: Manifest | undefined;
  readonly problem: string | undefined;
}

async function manifestOf(files: Files, directory: string): Promise<KnownManifest> {
  const bytes = await readWholeFile(files, inDirectory(directory, MANIFEST_NAME));
  if (bytes === undefined) return { manifest: undefined, problem: 'the manifest is missing' };
  try {
    return { manifest: decodeManifest(bytes), problem: undefined };
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return { manifest: undefined, problem: error.message };
  }
}

async function onlySegment(
  { files, path }: InspectOptions,
  manifest: Manifest | undefined,
): Promise<Manifest> {
  const name = parseSegmentFileName(basename(path));
  if (name === undefined) {
    throw new StorageError('unknown-format', `${path} has not the name of a segment`);
  }
  const known = manifest?.segments.find((segment) => segment.segmentId === name.segmentId);
  const logId = manifest?.logId ?? (await logIdInFile(files, path));
  return assumed(logId, [known ?? { ...name, length: undefined }]);
}

/** Without a manifest: every segment file that is there, in order. */
async function fromFiles(files: Files, directory: string): Promise<Manifest> {
  const names = await files.list(directory);
  const segments = names
    .map((name) => parseSegmentFileName(name))
    .filter((name) => name !== undefined)
    .toSorted((a, b) => a.segmentId - b.segmentId);
  const first = segments[0];
  if (first === undefined) {
    throw new StorageError('unknown-format', `${directory} is not the folder of a log`);
  }
  const logId = await logIdInFile(files, inDirectory(directory, segmentFileName(first)));
  return assumed(
    logId,
    segments.map((name) => ({ ...name, length: undefined })),
  );
}

function assumed(logId: string, segments: readonly ManifestSegment[]): Manifest {
  return {
    logId,
    clean: false,
    start: segments[0]?.firstIndex ?? (1 as LogIndex),
    epochBeforeStart: 0 as Epoch,
    durable: 0 as LogIndex,
    hardState: { term: 0, vote: '' },
    mark: FIRST_PLACE,
    nextSegmentId: 0 as SegmentId,
    segments,
  };
}

/** The log id of the first sound header; what has none in its first piece is not ours. */
async function logIdInFile(files: Files, path: string): Promise<string> {
  const file = await files.open(path, { access: 'read', create: 'never', durability: 'on-sync' });
  try {
    const bytes = Buffer.alloc(Math.min(PIECE_BYTES, await file.size()));
    const window = windowOver(bytes.subarray(0, await readFully(file, bytes, 0)));
    const header = emptyHeader();
    let at = bytes.indexOf(MAGIC);
    while (at >= 0) {
      if (decodeHeader(window, at, header)) {
        return logIdOf({ low: header.logIdLow, high: header.logIdHigh });
      }
      at = bytes.indexOf(MAGIC, at + 1);
    }
  } finally {
    await file.close();
  }
  throw new StorageError('unknown-format', `${path} holds no batch of a log of ours`);
}

async function* inspectSegment(
  options: InspectOptions,
  segment: ManifestSegment,
  { logId, recovery }: { readonly logId: string; readonly recovery: Recovery },
): AsyncGenerator<Inspected> {
  const { files, path: given, isDirectory } = options;
  const path = isDirectory ? inDirectory(given, segmentFileName(segment)) : given;
  let file: OpenFile;
  try {
    file = await files.open(path, { access: 'read', create: 'never', durability: 'on-sync' });
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOENT') throw error;
    recovery.missing(segment);
    yield { kind: 'missing', path, segment };
    return;
  }
  try {
    const fileBytes = await file.size();
    const index = await indexState(files, dirname(path), segment);
    yield { kind: 'segment', path, segment, fileBytes, index };
    recovery.begin(segment);
    const end = Math.min(segment.length ?? fileBytes, fileBytes);
    yield* scan(options, file, { logId, segment, end, recovery });
  } finally {
    await file.close();
  }
}

async function indexState(
  files: Files,
  directory: string,
  segment: ManifestSegment,
): Promise<'good' | 'none' | 'bad' | 'does not fit'> {
  const path = inDirectory(directory, indexFileName(segment));
  const bytes = await readWholeFile(files, path);
  if (bytes === undefined) return 'none';
  const index = await readIndexFile(files, path);
  if (index === undefined) return 'bad';
  const { segmentId, firstIndex, end } = index.summary;
  const fits =
    segmentId === segment.segmentId &&
    firstIndex === segment.firstIndex &&
    (segment.length === undefined || end === segment.length);
  return fits ? 'good' : 'does not fit';
}

interface Scan {
  readonly logId: string;
  readonly segment: ManifestSegment;
  readonly end: number;
  readonly recovery: Recovery;
}

/** Passes everything on to recovery, and keeps it until the piece is through. */
class Tee implements ScanSink {
  readonly #recovery: Recovery;
  readonly #segmentId: SegmentId;
  seen: Exclude<Inspected, { readonly kind: 'log' | 'segment' | 'missing' | 'decision' }>[] = [];

  constructor(recovery: Recovery, segmentId: SegmentId) {
    this.#recovery = recovery;
    this.#segmentId = segmentId;
  }

  batch(header: BatchHeader, hardState: Uint8Array | undefined): void {
    this.#recovery.batch(header, hardState);
    this.seen.push({ kind: 'batch', header: { ...header }, payload: undefined });
  }

  bad(stretch: BadStretch): void {
    this.#recovery.bad(stretch);
    const header = stretch.header && { ...stretch.header };
    this.seen.push({ kind: 'bad', segmentId: this.#segmentId, stretch: { ...stretch, header } });
  }

  end(position: number): void {
    this.#recovery.end(position);
    this.seen.push({ kind: 'segment end', segmentId: this.#segmentId, dataEnd: position });
  }
}

async function* scan(
  options: InspectOptions,
  file: OpenFile,
  { logId, segment, end, recovery }: Scan,
): AsyncGenerator<Inspected> {
  const { segmentId } = segment;
  const tee = new Tee(recovery, segmentId);
  const scanner = new SegmentScanner({ logId: logIdHalves(logId), segmentId, end }, tee);
  const buffer = Buffer.alloc(MAX_LEFT_OVER_BYTES + PIECE_BYTES);
  let left = 0;
  let position = 0;
  while (!scanner.done) {
    const size = Math.min(PIECE_BYTES, end - position);
    const count = await readFully(file, buffer.subarray(left, left + size), position);
    position += count;
    const window = buffer.subarray(0, left + count);
    const rest = window.subarray(scanner.consume(window));
    if (count < size || (count === 0 && !scanner.done)) {
      throw new StorageError('damaged', `${file.path} became shorter while it was read`);
    }
    const seen = tee.seen;
    tee.seen = [];
    // The window may be used again now: what is handed out owns its bytes.
    buffer.set(rest, 0);
    left = rest.length;
    for (const one of seen)
      yield one.kind === 'batch' ? await withPayload(options, file, one) : one;
    options.progress?.(count);
  }
}

async function withPayload(
  { wantsPayload }: InspectOptions,
  file: OpenFile,
  batch: Extract<Inspected, { readonly kind: 'batch' }>,
): Promise<Inspected> {
  const { header } = batch;
  if (!wantsPayload(header)) return batch;
  const payload = Buffer.alloc(header.payloadLength);
  await readFully(file, payload, header.position + HEADER_BYTES);
  return { ...batch, payload };
}
