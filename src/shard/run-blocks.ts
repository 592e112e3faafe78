/**
 * Blocks of runs in memory, by the reads that brought them: bounded by bytes, the oldest read first
 * out; and the damage that reading found. All of it was checked by the store of the runs. Nothing
 * here does I/O.
 *
 * Who reads a run from end to end reads into the same few buffers again and again, because each MiB
 * outside of the heap brings the next collection nearer. So the bytes of a block are good until the
 * next `add`. Who keeps a `CachedBlock` longer finds it empty then.
 */

import { uninitialised } from '#storage';
import type { RunBlock, RunDamage, RunKey } from '#storage';

const DAMAGE_MAX = 256;
/** Buffers that wait for a read. */
const SPARE_MAX = 4;

export interface CachedBlock {
  /** Undefined: it is not here any more. */
  readonly block: RunBlock | undefined;
}

interface Held extends CachedBlock {
  block: RunBlock | undefined;
  readonly runId: number;
  readonly last: RunKey;
}

/** What one read brought. */
interface Piece {
  /** Undefined: the blocks lie in memory of their own. */
  readonly buffer: Uint8Array | undefined;
  readonly blocks: readonly Held[];
  readonly cost: number;
}

export class RunBlocks {
  readonly #maxBytes: number;
  readonly #bufferBytes: number;
  /** In the order of the keys. */
  readonly #runs = new Map<number, Held[]>();
  readonly #pieces: Piece[] = [];
  readonly #spare: Uint8Array[] = [];
  readonly #damage: RunDamage[] = [];
  #bytes = 0;

  constructor(maxBytes: number, bufferBytes: number) {
    this.#maxBytes = maxBytes;
    this.#bufferBytes = bufferBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(runId: number, stream: number, offset: number): CachedBlock | undefined {
    const blocks = this.#runs.get(runId);
    if (blocks === undefined) return undefined;
    const held = blocks[placeOf(blocks, { stream, offset })];
    if (held?.block === undefined) return undefined;
    const { first } = held.block;
    const begins = first.stream < stream || (first.stream === stream && first.offset <= offset);
    return begins ? held : undefined;
  }

  /**
   * A buffer for one read, which is the reader's until `add`, or for good. Never a `Buffer`: who
   * keeps a message takes a `slice` of it, and that of a `Buffer` is no copy (finding 0022).
   */
  take(): Uint8Array {
    return this.#spare.pop() ?? uninitialised(this.#bufferBytes);
  }

  /** What a read brought, maybe into this buffer. It stands for what was here of these blocks. */
  add(runId: number, found: readonly RunBlock[], buffer?: Uint8Array): void {
    const isIn = buffer !== undefined && found[0]?.bytes.buffer === buffer.buffer;
    if (buffer !== undefined && !isIn) this.#giveBack(buffer);
    const blocks: Held[] = [];
    let cost = isIn ? buffer.length : 0;
    for (const block of found) {
      blocks.push(this.#put(runId, block));
      if (!isIn) cost += block.bytes.length;
    }
    this.#pieces.push({ buffer: isIn ? buffer : undefined, blocks, cost });
    this.#bytes += cost;
    // The last read is kept however large it is.
    while (this.#bytes > this.#maxBytes && this.#pieces.length > 1) this.#evictOldest();
  }

  #put(runId: number, block: RunBlock): Held {
    let blocks = this.#runs.get(runId);
    if (blocks === undefined) {
      blocks = [];
      this.#runs.set(runId, blocks);
    }
    const at = placeOf(blocks, block.last);
    const isHere = blocks[at]?.block?.block === block.block;
    const held: Held = { block, runId, last: block.last };
    blocks.splice(at, isHere ? 1 : 0, held);
    return held;
  }

  /** What was found damaged, as far as it is remembered. */
  damageAt(runId: number, stream: number, offset: number): RunDamage | undefined {
    return this.#damage.find((damage) => {
      const { first, last } = damage;
      const begins = first.stream < stream || (first.stream === stream && first.offset <= offset);
      const ends = last.stream > stream || (last.stream === stream && last.offset >= offset);
      return damage.runId === runId && begins && ends;
    });
  }

  addDamage(damage: RunDamage): void {
    if (this.#damage.length === DAMAGE_MAX) this.#damage.shift();
    this.#damage.push(damage);
  }

  #evictOldest(): void {
    const oldest = this.#pieces.shift();
    if (oldest === undefined) return;
    this.#bytes -= oldest.cost;
    for (const held of oldest.blocks) {
      held.block = undefined;
      const blocks = this.#runs.get(held.runId);
      // A later read may stand in its place.
      const at = blocks?.indexOf(held) ?? -1;
      if (blocks === undefined || at === -1) continue;
      blocks.splice(at, 1);
      if (blocks.length === 0) this.#runs.delete(held.runId);
    }
    if (oldest.buffer !== undefined) this.#giveBack(oldest.buffer);
  }

  #giveBack(buffer: Uint8Array): void {
    if (this.#spare.length < SPARE_MAX) this.#spare.push(buffer);
  }
}

/** Place of the first block that ends at or behind the key. */
function placeOf(blocks: readonly Held[], { stream, offset }: RunKey): number {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { last } = blocks[middle] as Held;
    if (last.stream < stream || (last.stream === stream && last.offset < offset)) low = middle + 1;
    else high = middle;
  }
  return low;
}
