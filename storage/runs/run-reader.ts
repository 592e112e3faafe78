/**
 * Reads one run over a file that its caller holds: the index, and blocks by key.
 *
 * Nothing leaves that was not checked. What does not hold is read once more (a bit that flips on
 * the way is not damage) and then named. An index or footer that is damaged costs a scan of the
 * blocks and loses nothing.
 */

import type { OpenFile } from '../files.ts';
import { hasCode, readFully, uninitialised } from '../log/file-bytes.ts';
import { BLOCK_HEADER_BYTES, decodeBlockHeader, RunBlock } from './run-block.ts';
import type { RunKey } from './run-block.ts';
import { decodeRunFooter, RUN_FOOTER_BYTES, RUN_HEADER_BYTES } from './run-format.ts';
import type { RunFooter, RunName } from './run-format.ts';
import { decodeRunIndex } from './run-index.ts';
import type { RunIndex } from './run-index.ts';
import { scanRun } from './run-scan.ts';
import type { RunDamage, RunFault, RunRead, RunReadLimits } from './run-types.ts';

const TRIES = 2;

/** The footer, where it is sound and of this run. */
export async function readFooter(
  file: OpenFile,
  { runId, owner }: RunName,
): Promise<RunFooter | undefined> {
  const position = (await file.size()) - RUN_FOOTER_BYTES;
  if (position < RUN_HEADER_BYTES) return undefined;
  const bytes = new Uint8Array(RUN_FOOTER_BYTES);
  for (let left = TRIES; left > 0; left -= 1) {
    await readFully(file, bytes, position);
    const footer = decodeRunFooter(bytes);
    if (footer === undefined || footer.runId !== runId || footer.owner !== owner) continue;
    if (footer.indexPosition + footer.indexBytes === position) return footer;
  }
  return undefined;
}

/** The index that stands in the file; undefined where it is damaged. */
export async function readIndex(
  file: OpenFile,
  { runId, indexPosition, indexBytes }: RunFooter,
): Promise<RunIndex | undefined> {
  for (let left = TRIES; left > 0; left -= 1) {
    const bytes = uninitialised(indexBytes);
    const count = await readFully(file, bytes, indexPosition);
    const index = count < indexBytes ? undefined : decodeRunIndex(bytes, runId);
    if (index !== undefined) return index;
  }
  return undefined;
}

/** The index as it stands, or made again from the blocks. */
export async function openIndex(file: OpenFile, name: RunName): Promise<RunIndex> {
  const footer = await readFooter(file, name);
  const index = footer && (await readIndex(file, footer));
  if (index !== undefined) return index;
  const end = footer?.indexPosition ?? (await file.size());
  return scanRun(file, name, { end, isSure: footer !== undefined });
}

export interface IndexedRun {
  readonly file: OpenFile;
  readonly run: { readonly runId: number; readonly path: string };
  readonly owner: string;
  readonly index: RunIndex;
}

export async function readBlocks(
  indexed: IndexedRun,
  from: RunKey,
  { maxBytes, into }: RunReadLimits,
): Promise<RunRead> {
  const { index } = indexed;
  const first = index.find(from);
  if (first === index.length) return { kind: 'end' };
  let bytes = index.bytes(first);
  let end = first + 1;
  for (; end < index.length && bytes + index.bytes(end) <= maxBytes; end += 1) {
    bytes += index.bytes(end);
  }
  const blocks = await someBlocks(indexed, { first, end }, into);
  if (blocks.length > 0) return { kind: 'blocks', blocks };
  const fault = await oneBlock(indexed, first);
  if (fault instanceof RunBlock) return { kind: 'blocks', blocks: [fault] };
  return { kind: 'damaged', damage: blockDamage(indexed, first, fault) };
}

/** Those from `first` on up to the first that is not sound; in one read. */
async function someBlocks(
  indexed: IndexedRun,
  { first, end }: { readonly first: number; readonly end: number },
  into: Uint8Array | undefined,
): Promise<RunBlock[]> {
  const { index, file } = indexed;
  const position = index.position(first);
  const last = end - 1;
  const length = index.position(last) + index.bytes(last) - position;
  const hasRoom = into !== undefined && into.length >= length;
  const bytes = hasRoom ? into.subarray(0, length) : uninitialised(length);
  let count: number;
  try {
    count = await readFully(file, bytes, position);
  } catch (error) {
    // One bad place of the disk must not hide its neighbours.
    if (hasCode(error, 'EIO')) return [];
    throw error;
  }
  const blocks: RunBlock[] = [];
  for (let nth = first; nth < end; nth += 1) {
    const start = index.position(nth) - position;
    const found = checkedBlock(
      indexed,
      nth,
      bytes.subarray(start, Math.min(count, start + index.bytes(nth))),
    );
    if (!(found instanceof RunBlock)) break;
    blocks.push(found);
  }
  return blocks;
}

async function oneBlock(indexed: IndexedRun, nth: number): Promise<RunBlock | RunFault> {
  const { index, file } = indexed;
  const bytes = uninitialised(index.bytes(nth));
  try {
    const count = await readFully(file, bytes, index.position(nth));
    return checkedBlock(indexed, nth, bytes.subarray(0, count));
  } catch (error) {
    if (hasCode(error, 'EIO')) return 'unreadable';
    throw error;
  }
}

function checkedBlock(indexed: IndexedRun, nth: number, bytes: Uint8Array): RunBlock | RunFault {
  const { index, run, owner } = indexed;
  if (bytes.length < index.bytes(nth) || bytes.length < BLOCK_HEADER_BYTES) return 'missing-bytes';
  const header = decodeBlockHeader(bytes);
  if (header === undefined || header.position !== index.position(nth)) return 'bad-header';
  if (header.runId !== run.runId || header.owner !== owner) return 'bad-header';
  return RunBlock.of(header, bytes) ?? 'bad-body';
}

function blockDamage({ index, run }: IndexedRun, block: number, fault: RunFault): RunDamage {
  const { runId, path } = run;
  const { first, last, position, bytes } = index.entry(block);
  const end = position + bytes;
  const detail =
    `${path}, block ${block} (bytes ${position} to ${end}): ${fault}; ` +
    `keys ${words(first)} to ${words(last)}`;
  return { runId, fault, block, position, end, first, last, detail };
}

/** Nothing of the run can be read: whoever asks for a key of it hears this. */
export function wholeRun(
  { runId, path }: { readonly runId: number; readonly path: string },
  fault: RunFault,
  from: RunKey,
): RunRead {
  const detail = `${path}: ${fault}`;
  const last = { stream: from.stream, offset: Number.MAX_SAFE_INTEGER };
  const damage = { runId, fault, block: -1, position: 0, end: 0, first: from, last, detail };
  return { kind: 'damaged', damage };
}

function words({ stream, offset }: RunKey): string {
  const end = Number.MAX_SAFE_INTEGER;
  return stream === end ? 'the end' : `${stream}/${offset === end ? 'the end' : offset}`;
}
