/**
 * Looks at the file of a run from outside, without changing a byte: header, blocks, keys, values,
 * checksums, and where it is damaged. For `fluxmq segment-dump`.
 *
 * It believes the header's run and owner, and where that is damaged the footer's, and then those of
 * the name and the first sound block. Memory is one block and the index.
 */

import { basename } from 'node:path';
import { StorageError } from '../errors.ts';
import type { Files, OpenFile } from '../files.ts';
import { readFully } from '../log/file-bytes.ts';
import { BLOCK_HEADER_BYTES, decodeBlockHeader } from './run-block.ts';
import type { RunBlock } from './run-block.ts';
import { decodeRunFooter, decodeRunHeader, parseRunFileName } from './run-format.ts';
import { RUN_FOOTER_BYTES, RUN_HEADER_BYTES } from './run-format.ts';
import type { RunFooter, RunHeader } from './run-format.ts';
import { openIndex, readBlocks, readFooter, readIndex } from './run-reader.ts';
import type { RunDamage } from './run-types.ts';

export type InspectedRun =
  | {
      readonly kind: 'run';
      readonly path: string;
      readonly fileBytes: number;
      /** Undefined: damaged. */
      readonly header: RunHeader | undefined;
      /** Undefined: damaged, or the file was cut. */
      readonly footer: RunFooter | undefined;
      readonly index: 'good' | 'damaged';
    }
  | { readonly kind: 'block'; readonly position: number; readonly block: RunBlock }
  | { readonly kind: 'damage'; readonly damage: RunDamage }
  | { readonly kind: 'run end'; readonly blocks: number; readonly values: number };

export interface InspectRunOptions {
  readonly files: Files;
  readonly path: string;
  /** Told now and then: bytes read so far. */
  progress?(bytes: number): void;
}

/** Rejects with StorageError `unknown-format` where nothing at `path` is a run of ours. */
export async function* inspectRun(options: InspectRunOptions): AsyncGenerator<InspectedRun> {
  const { files, path } = options;
  const file = await files.open(path, { access: 'read', create: 'never', durability: 'on-sync' });
  try {
    yield* inspect(file, options);
  } finally {
    await file.close();
  }
}

async function* inspect(file: OpenFile, options: InspectRunOptions): AsyncGenerator<InspectedRun> {
  const { path } = options;
  const head = new Uint8Array(RUN_HEADER_BYTES);
  await readFully(file, head, 0);
  const found = decodeRunHeader(head);
  if (found === 'unknown-version') {
    throw new StorageError('unknown-format', `${path} is a run of a version that is not known`);
  }
  const header = typeof found === 'string' ? undefined : found;
  const name = header ?? (await nameElsewhere(file, path));
  const footer = await readFooter(file, name);
  const stored = footer && (await readIndex(file, footer));
  const fileBytes = await file.size();
  const index = stored === undefined ? 'damaged' : 'good';
  yield { kind: 'run', path, fileBytes, header, footer, index };
  const blocks = stored ?? (await openIndex(file, name));
  const { runId, owner } = name;
  const indexed = { file, run: { runId, path }, owner, index: blocks };
  let values = 0;
  for (let nth = 0; nth < blocks.length; nth += 1) {
    const { first, position, bytes } = blocks.entry(nth);
    const read = await readBlocks(indexed, first, { maxBytes: 1 });
    options.progress?.(bytes);
    if (read.kind === 'damaged') yield { kind: 'damage', damage: read.damage };
    if (read.kind !== 'blocks') continue;
    for (const block of read.blocks) {
      values += block.values;
      yield { kind: 'block', position, block };
    }
  }
  yield { kind: 'run end', blocks: blocks.length, values };
}

async function nameElsewhere(
  file: OpenFile,
  path: string,
): Promise<{ readonly runId: number; readonly owner: string }> {
  const foot = new Uint8Array(RUN_FOOTER_BYTES);
  await readFully(file, foot, Math.max(0, (await file.size()) - RUN_FOOTER_BYTES));
  const footer = decodeRunFooter(foot);
  if (footer !== undefined) return footer;
  const first = new Uint8Array(BLOCK_HEADER_BYTES);
  await readFully(file, first, RUN_HEADER_BYTES);
  const block = decodeBlockHeader(first);
  if (block !== undefined) return block;
  const named = parseRunFileName(basename(path));
  const what = named === undefined ? 'has not the name of a run' : 'has nothing of a run in it';
  throw new StorageError('unknown-format', `${path} ${what}`);
}
