/**
 * Blocks of runs in memory, bounded by bytes, oldest first out; and the damage that reading found.
 * All of it was checked by the store of the runs. Nothing here does I/O.
 */

import type { RunBlock, RunDamage, RunKey } from '#storage';

/** This part of the bound is emptied when it is exceeded. */
const EVICT_PART = 16;
const DAMAGE_MAX = 256;

interface Cached {
  readonly runId: number;
  readonly block: RunBlock;
}

export class RunBlocks {
  readonly #maxBytes: number;
  /** In the order of the keys. */
  readonly #runs = new Map<number, RunBlock[]>();
  readonly #order = new Set<Cached>();
  readonly #damage: RunDamage[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(runId: number, stream: number, offset: number): RunBlock | undefined {
    const blocks = this.#runs.get(runId);
    if (blocks === undefined) return undefined;
    const block = blocks[placeOf(blocks, { stream, offset })];
    if (block === undefined) return undefined;
    const { first } = block;
    const begins = first.stream < stream || (first.stream === stream && first.offset <= offset);
    return begins ? block : undefined;
  }

  add(runId: number, block: RunBlock): void {
    let blocks = this.#runs.get(runId);
    if (blocks === undefined) {
      blocks = [];
      this.#runs.set(runId, blocks);
    }
    const at = placeOf(blocks, block.last);
    if (blocks[at]?.block === block.block) return;
    blocks.splice(at, 0, block);
    this.#order.add({ runId, block });
    this.#bytes += block.bytes.length;
    if (this.#bytes > this.#maxBytes) this.#evict(block);
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

  /** A block that is larger than the whole bound is kept until the next one comes. */
  #evict(newest: RunBlock): void {
    const target = this.#maxBytes - this.#maxBytes / EVICT_PART;
    for (const cached of this.#order) {
      if (this.#bytes <= target || cached.block === newest) break;
      this.#order.delete(cached);
      this.#bytes -= cached.block.bytes.length;
      const blocks = this.#runs.get(cached.runId) as RunBlock[];
      blocks.splice(blocks.indexOf(cached.block), 1);
      if (blocks.length === 0) this.#runs.delete(cached.runId);
    }
  }
}

/** Place of the first block that ends at or behind the key. */
function placeOf(blocks: readonly RunBlock[], { stream, offset }: RunKey): number {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { last } = blocks[middle] as RunBlock;
    if (last.stream < stream || (last.stream === stream && last.offset < offset)) low = middle + 1;
    else high = middle;
  }
  return low;
}
