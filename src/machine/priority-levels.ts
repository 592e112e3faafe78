/**
 * The new messages of a group that have a priority: for each level the offsets, in order.
 *
 * A bit for each message and level, in chunks of 4,096 offsets, and for each level the chunks that
 * may have any, ascending. Offsets come in order, so a level's chunks do too: finding the next
 * message of a level looks into the first of its chunks that is not used up, whatever waits behind
 * it. Messages of level 0 cost nothing: who is in no level is nowhere in here.
 *
 * A bit is there as long as its message is new; who takes or settles a message removes it.
 */

import { SETTLED_CHUNK, chunkOf } from './settled-ranges.ts';

export const MAX_LEVEL = 9;
const WORDS = SETTLED_CHUNK / 32;

/** The levels of one chunk of offsets. */
class LevelChunk {
  /** Bits that are set, in all levels. */
  count = 0;
  readonly levels: (Uint32Array | undefined)[] = [];
}

/** Chunks in which a level may have messages. */
class Level {
  readonly chunks: number[] = [];
  /** Those before it are used up. */
  head = 0;
  /** No message of the head's chunk lies in a word before it. */
  word = 0;
}

export class PriorityLevels {
  readonly #chunks = new Map<number, LevelChunk>();
  readonly #levels = Array.from({ length: MAX_LEVEL }, () => new Level());
  /** Bits that are set. */
  #count = 0;
  /** The chunk that `add` used last: kept although it is empty, so that it is not made anew. */
  #newest = -1;
  /** Words looked at and chunks left behind so far: what levels cost. */
  steps = 0;

  /** Levels as a group's records have them: two of them a byte, the low half for even offsets. */
  addPacked(chunk: number, packed: Uint8Array, isNew: (offset: number) => boolean): void {
    const begin = chunk * SETTLED_CHUNK;
    for (let i = 0; i < packed.length; i += 1) {
      const pair = packed[i] as number;
      if (pair === 0) continue;
      const offset = begin + i * 2;
      if ((pair & 15) !== 0 && isNew(offset)) this.add(offset, pair & 15);
      if (pair >>> 4 !== 0 && isNew(offset + 1)) this.add(offset + 1, pair >>> 4);
    }
  }

  /** `level` is 1 to `MAX_LEVEL`; no offset of any level is higher than this one. */
  add(offset: number, level: number): void {
    const chunk = chunkOf(offset);
    const content = this.#chunkOf(chunk);
    const at = offset - chunk * SETTLED_CHUNK;
    const words = (content.levels[level] ??= new Uint32Array(WORDS));
    words[at >>> 5] = ((words[at >>> 5] as number) | (1 << (at & 31))) >>> 0;
    content.count += 1;
    this.#count += 1;
    const { chunks } = this.#levels[level - 1] as Level;
    if (chunks.at(-1) !== chunk) chunks.push(chunk);
  }

  /** The message is new no more, or never was in a level. */
  remove(offset: number): void {
    const chunk = chunkOf(offset);
    const content = this.#chunks.get(chunk);
    if (content === undefined) return;
    const at = offset - chunk * SETTLED_CHUNK;
    const bit = 1 << (at & 31);
    for (const words of content.levels) {
      if (words === undefined || ((words[at >>> 5] as number) & bit) === 0) continue;
      words[at >>> 5] = ((words[at >>> 5] as number) & ~bit) >>> 0;
      content.count -= 1;
      this.#count -= 1;
    }
    if (content.count === 0 && chunk !== this.#newest) this.#chunks.delete(chunk);
  }

  /** None of [from, to) is new any more. */
  removeRange(from: number, to: number): void {
    for (let at = from; at < to;) {
      const chunk = chunkOf(at);
      const end = Math.min(to, (chunk + 1) * SETTLED_CHUNK);
      if (end - at === SETTLED_CHUNK) this.#drop(chunk);
      else if (this.#chunks.has(chunk))
        for (let each = at; each < end; each += 1) this.remove(each);
      at = end;
    }
  }

  /** The message below `limit` of the highest level that has one, its first; -1: none has. */
  first(limit: number): number {
    if (this.#count === 0) return -1;
    for (let level = MAX_LEVEL; level > 0; level -= 1) {
      const offset = this.#firstOf(level);
      if (offset !== -1 && offset < limit) return offset;
    }
    return -1;
  }

  #chunkOf(chunk: number): LevelChunk {
    let content = this.#chunks.get(chunk);
    if (content !== undefined) return content;
    if (this.#chunks.get(this.#newest)?.count === 0) this.#chunks.delete(this.#newest);
    content = new LevelChunk();
    this.#chunks.set(chunk, content);
    this.#newest = chunk;
    return content;
  }

  #drop(chunk: number): void {
    this.#count -= this.#chunks.get(chunk)?.count ?? 0;
    this.#chunks.delete(chunk);
  }

  #firstOf(number: number): number {
    const level = this.#levels[number - 1] as Level;
    while (level.head < level.chunks.length) {
      const chunk = level.chunks[level.head] as number;
      const words = this.#chunks.get(chunk)?.levels[number];
      for (; words !== undefined && level.word < WORDS; level.word += 1) {
        const word = words[level.word] as number;
        this.steps += 1;
        if (word === 0) continue;
        return chunk * SETTLED_CHUNK + level.word * 32 + (31 - Math.clz32(word & -word));
      }
      this.steps += 1;
      level.head += 1;
      level.word = 0;
    }
    // All used up: a message that comes later makes the list anew, also of the same chunk.
    level.chunks.length = 0;
    level.head = 0;
    return -1;
  }
}
