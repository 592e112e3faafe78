/**
 * Rewriting runs: which, and how. The choice is a pure function of what is known of them; the copy
 * reads a few runs in the order of their keys and writes what is still wanted into a new one.
 *
 * The choice keeps three promises. A run less than half wanted is rewritten, so the disk holds at
 * most about twice what is wanted (and `SMALL` beyond). Runs that are large and wanted are never
 * touched, so a backlog that nobody reads is written once to the log and once to a run. Small runs
 * are merged as soon as `MERGE_RUNS` of them are of about one size, so their number stays bounded.
 *
 * The copy changes nothing but the file it writes: a crash, a full disk or a damaged input leaves
 * the inputs as they were.
 */

import type { RunBlock, RunKey } from './run-block.ts';
import type { RunDamage } from './run-types.ts';
import type { Runs } from './runs.ts';
import type { RunWriter } from './run-writer.ts';

/** What is known of a run, for the choice. */
export interface RunState {
  readonly runId: number;
  /** Of the file. */
  readonly bytes: number;
  readonly values: number;
  /** Values that are still wanted, as far as is known. */
  readonly wanted: number;
  /** It is left as it is, so that what is lost keeps its name. */
  readonly isDamaged: boolean;
  /** What it holds becomes unwanted from one end on, soon: it is not worth a copy. */
  readonly goesWhole: boolean;
}

const MIB = 1024 * 1024;
/** Runs with less wanted bytes are merged with others of their size. */
const SMALL_BYTES = 16 * MIB;
const MERGE_RUNS = 8;
const SMALLEST_CLASS_BYTES = 64 * 1024;
const CLASS_FACTOR = 8;
/** Largest sum of wanted bytes that one rewrite takes on. */
const REWRITE_BYTES = 64 * MIB;

/** About how many bytes of it would be copied. */
function wantedBytes({ bytes, values, wanted, goesWhole }: RunState): number {
  if (goesWhole) return bytes;
  return values === 0 ? 0 : bytes * (wanted / values);
}

/** Runs to rewrite into one; empty: nothing is to be done. */
export function chooseRewrite(runs: readonly RunState[]): readonly number[] {
  const free = runs.filter((run) => !run.isDamaged && run.wanted > 0);
  const classes = new Map<number, RunState[]>();
  for (const run of free) {
    const bytes = wantedBytes(run);
    if (bytes >= SMALL_BYTES) continue;
    const ratio = Math.max(1, bytes / SMALLEST_CLASS_BYTES);
    const size = Math.floor(Math.log(ratio) / Math.log(CLASS_FACTOR));
    const members = classes.get(size);
    if (members === undefined) classes.set(size, [run]);
    else members.push(run);
  }
  for (const [, members] of [...classes].sort(([a], [b]) => a - b)) {
    if (members.length >= MERGE_RUNS) return bounded(members);
  }
  const sparse = free.filter((run) => {
    const isSparse = run.wanted * 2 < run.values && run.bytes > SMALLEST_CLASS_BYTES;
    return isSparse && !run.goesWhole;
  });
  return bounded(sparse.toSorted((a, b) => a.wanted / a.values - b.wanted / b.values));
}

function bounded(runs: readonly RunState[]): number[] {
  const chosen: number[] = [];
  let bytes = 0;
  for (const run of runs) {
    bytes += wantedBytes(run);
    if (chosen.length > 0 && bytes > REWRITE_BYTES) break;
    chosen.push(run.runId);
  }
  return chosen;
}

/** A stretch of keys of one stream that lies in one of the inputs. */
export interface Piece {
  readonly runId: number;
  readonly stream: number;
  readonly first: number;
  readonly last: number;
}

export interface CopiedPiece extends Piece {
  readonly values: number;
}

export interface CopyOptions {
  readonly runs: Pick<Runs, 'read'>;
  readonly output: RunWriter;
  /** Ascending by (stream, first), without overlaps. */
  readonly pieces: readonly Piece[];
  /** Resolves when `wants` may be asked about offsets [from, to) of the stream, in this turn. */
  prepare(stream: number, from: number, to: number): Promise<void>;
  wants(stream: number, offset: number): boolean;
  /** Called after each part of about `PART_BYTES`: where the caller makes way for others. */
  rest(): Promise<void>;
}

export type CopyOutcome =
  /** What each piece has become, `runId` that of the output; pieces without values are left out. */
  | { readonly kind: 'copied'; readonly pieces: readonly CopiedPiece[] }
  | { readonly kind: 'damaged'; readonly damage: RunDamage };

const PART_BYTES = 256 * 1024;

/**
 * Copies what is wanted; the output is not finished. Rejects with StorageError as the writer does.
 */
export async function copyWanted(options: CopyOptions): Promise<CopyOutcome> {
  const sources = new Map<number, Source>();
  const copied: CopiedPiece[] = [];
  for (const piece of options.pieces) {
    let source = sources.get(piece.runId);
    if (source === undefined) {
      source = new Source(options.runs, piece.runId);
      sources.set(piece.runId, source);
    }
    const outcome = await copyPiece(options, source, piece);
    if (outcome === undefined) continue;
    if ('fault' in outcome) return { kind: 'damaged', damage: outcome };
    copied.push(outcome);
  }
  return { kind: 'copied', pieces: copied };
}

async function copyPiece(
  options: CopyOptions,
  source: Source,
  piece: Piece,
): Promise<CopiedPiece | RunDamage | undefined> {
  const { output } = options;
  const { stream, last } = piece;
  let next = piece.first;
  let first = -1;
  let lastCopied = -1;
  let values = 0;
  while (next <= last) {
    const block = await source.at({ stream, offset: next });
    if (block === undefined) break;
    if (!isBlock(block)) {
      // Damage behind the piece is not the piece's.
      const { stream: from, offset } = block.first;
      if (from > stream || (from === stream && offset > last)) break;
      return block;
    }
    const end = block.last.stream === stream ? Math.min(last, block.last.offset) : last;
    await options.prepare(stream, next, end + 1);
    for (const part of block.stretches()) {
      if (part.stream !== stream) continue;
      const from = Math.max(next, part.offset);
      const to = Math.min(end, part.offset + part.count - 1);
      for (let offset = from; offset <= to; offset += 1) {
        if (!options.wants(stream, offset)) continue;
        copyValue(output, block, { stream, offset, value: part.value + offset - part.offset });
        if (first === -1) first = offset;
        lastCopied = offset;
        values += 1;
      }
    }
    next = end + 1;
    if (output.pendingBytes < PART_BYTES) continue;
    await output.drain();
    await options.rest();
  }
  if (values === 0) return undefined;
  return { runId: output.runId, stream, first, last: lastCopied, values };
}

function copyValue(
  output: RunWriter,
  block: RunBlock,
  { stream, offset, value }: { stream: number; offset: number; value: number },
): void {
  const start = block.start(value);
  const end = block.end(value);
  const at = output.reserve(stream, offset, end - start);
  output.room.set(block.bytes.subarray(start, end), at);
}

function isBlock(found: RunBlock | RunDamage): found is RunBlock {
  return 'bytes' in found;
}

/** The blocks of one run, read ahead in order. */
class Source {
  readonly #runs: Pick<Runs, 'read'>;
  readonly #runId: number;
  #blocks: readonly RunBlock[] = [];
  #at = 0;

  constructor(runs: Pick<Runs, 'read'>, runId: number) {
    this.#runs = runs;
    this.#runId = runId;
  }

  /** The block that holds the first key at or behind `key`; keys only grow. */
  async at(key: RunKey): Promise<RunBlock | RunDamage | undefined> {
    for (;;) {
      const block = this.#blocks[this.#at];
      if (block === undefined) {
        const read = await this.#runs.read(this.#runId, key, { maxBytes: PART_BYTES });
        if (read.kind === 'end') return undefined;
        if (read.kind === 'damaged') return read.damage;
        this.#blocks = read.blocks;
        this.#at = 0;
        continue;
      }
      const { stream, offset } = block.last;
      if (stream > key.stream || (stream === key.stream && offset >= key.offset)) return block;
      this.#at += 1;
    }
  }
}
