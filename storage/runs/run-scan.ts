/**
 * Makes the sparse index of a run again from its blocks, where the one at its end is damaged or was
 * cut off.
 *
 * Every block names its run, its place and its number, so nothing else is believed. Where no header
 * stands, the next one is looked for byte by byte, and what lies between is a block that cannot be
 * read, with the keys between its neighbours. A body is not read here: who asks for it checks it.
 * Memory is one piece of the file and the index.
 */

import type { OpenFile } from '../files.ts';
import { readFully } from '../log/file-bytes.ts';
import { BLOCK_HEADER_BYTES, BLOCK_MAGIC, decodeBlockHeader } from './run-block.ts';
import type { BlockHeader, RunKey } from './run-block.ts';
import { RUN_HEADER_BYTES } from './run-format.ts';
import type { RunName } from './run-format.ts';
import { entryOf, INDEX_MAGIC, RunIndex } from './run-index.ts';
import type { IndexEntry } from './run-index.ts';

const PIECE_BYTES = 64 * 1024;
const FIRST_KEY: RunKey = { stream: 0, offset: 0 };
const LAST_KEY: RunKey = { stream: Number.MAX_SAFE_INTEGER, offset: Number.MAX_SAFE_INTEGER };

interface Extent {
  /** No block reaches behind it. */
  readonly end: number;
  /** The blocks end there; otherwise the file may have been cut. */
  readonly isSure: boolean;
}

/** `extent`: up to the index as the footer says, or else up to the end of the file. */
export async function scanRun(file: OpenFile, name: RunName, extent: Extent): Promise<RunIndex> {
  const { end } = extent;
  const entries: IndexEntry[] = [];
  let position = RUN_HEADER_BYTES;
  let after = FIRST_KEY;
  while (position < end && !(await isIndexAt(file, position))) {
    const header =
      (await headerAt(file, name, position)) ?? (await nextHeader(file, name, { position, end }));
    if (header === undefined) return new RunIndex([...entries, lost({ after, position, end })]);
    if (header.position > position) {
      const last = before(header.first);
      entries.push({ ...lost({ after, position, end: header.position }), last });
    }
    entries.push(entryOf(header));
    position = header.position + BLOCK_HEADER_BYTES + header.bodyBytes;
    after = behind(header.last);
  }
  const isWhole = extent.isSure ? position === end : position < end;
  if (!isWhole) entries.push(lost({ after, position, end }));
  return new RunIndex(entries);
}

/** A block that nobody can read, up to the end of all keys. */
function lost(part: { after: RunKey; position: number; end: number }): IndexEntry {
  const { after, position, end } = part;
  const bytes = Math.max(0, end - position);
  return { first: after, last: LAST_KEY, position, bytes, values: 0 };
}

async function isIndexAt(file: OpenFile, position: number): Promise<boolean> {
  const bytes = Buffer.alloc(INDEX_MAGIC.length);
  const count = await readFully(file, bytes, position);
  return count === bytes.length && bytes.equals(INDEX_MAGIC);
}

async function headerAt(
  file: OpenFile,
  name: RunName,
  position: number,
): Promise<BlockHeader | undefined> {
  const bytes = new Uint8Array(BLOCK_HEADER_BYTES);
  const count = await readFully(file, bytes, position);
  return count < bytes.length ? undefined : blockAt(bytes, name, position);
}

/** A sound header that says that it stands here. */
function blockAt(bytes: Uint8Array, name: RunName, position: number): BlockHeader | undefined {
  const header = decodeBlockHeader(bytes);
  if (header === undefined || header.position !== position) return undefined;
  return header.runId === name.runId && header.owner === name.owner ? header : undefined;
}

async function nextHeader(
  file: OpenFile,
  name: RunName,
  { position, end }: { position: number; end: number },
): Promise<BlockHeader | undefined> {
  const piece = Buffer.alloc(PIECE_BYTES);
  for (let from = position + 1; from < end;) {
    const count = await readFully(file, piece, from);
    const window = piece.subarray(0, count);
    let at = window.indexOf(BLOCK_MAGIC);
    for (; at !== -1; at = window.indexOf(BLOCK_MAGIC, at + 1)) {
      const header = blockAt(window.subarray(at), name, from + at);
      if (header !== undefined) return header;
    }
    if (count < piece.length) return undefined;
    // A header that the end of the piece has cut is seen whole in the next one.
    from += count - BLOCK_HEADER_BYTES + 1;
  }
  return undefined;
}

function behind({ stream, offset }: RunKey): RunKey {
  return { stream, offset: offset + 1 };
}

function before({ stream, offset }: RunKey): RunKey {
  if (offset > 0) return { stream, offset: offset - 1 };
  return { stream: stream - 1, offset: Number.MAX_SAFE_INTEGER };
}
