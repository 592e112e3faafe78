/**
 * Which slot a message has: offsets to small numbers, in chunks of 256 offsets.
 *
 * Offsets that have a slot lie close together (between the floor and the newest delivery), so a
 * chunk is an array and the hash table holds only chunks: a million entries cost what a thousand
 * do. An entry alone in its chunk costs a kilobyte. Chunks are used again, so that a message that
 * comes and goes makes no object.
 */

const CHUNK = 256;
/** Behind the slots of a chunk: how many there are. */
const COUNT = CHUNK;
const NONE = -1;
/** Empty chunks that are kept. */
const SPARE_MAX = 16;

export class SlotIndex {
  readonly #chunks = new Map<number, Int32Array>();
  readonly #spare: Int32Array[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** -1: none. */
  get(offset: number): number {
    const chunk = Math.floor(offset / CHUNK);
    const slots = this.#chunks.get(chunk);
    return slots === undefined ? NONE : (slots[offset - chunk * CHUNK] as number);
  }

  /** The offset has none yet. */
  add(offset: number, slot: number): void {
    const chunk = Math.floor(offset / CHUNK);
    let slots = this.#chunks.get(chunk);
    if (slots === undefined) {
      slots = this.#spare.pop() ?? new Int32Array(CHUNK + 1).fill(NONE, 0, CHUNK);
      this.#chunks.set(chunk, slots);
    }
    slots[offset - chunk * CHUNK] = slot;
    slots[COUNT] = (slots[COUNT] as number) + 1;
    this.#size += 1;
  }

  /** The offset has one. */
  remove(offset: number): void {
    const chunk = Math.floor(offset / CHUNK);
    const slots = this.#chunks.get(chunk);
    if (slots === undefined) return;
    slots[offset - chunk * CHUNK] = NONE;
    const count = (slots[COUNT] as number) - 1;
    slots[COUNT] = count;
    this.#size -= 1;
    if (count > 0) return;
    this.#chunks.delete(chunk);
    if (this.#spare.length < SPARE_MAX) this.#spare.push(slots);
  }

  /** Adds the slots of [from, to) to `into`; how many places were looked at. */
  collect(from: number, to: number, into: number[]): number {
    const first = Math.floor(from / CHUNK);
    const last = Math.floor((to - 1) / CHUNK);
    let looked = 0;
    if (last - first < this.#chunks.size) {
      for (let chunk = first; chunk <= last; chunk += 1) {
        const slots = this.#chunks.get(chunk);
        looked += 1;
        if (slots !== undefined) looked += addWithin(slots, chunk * CHUNK, { from, to, into });
      }
      return looked;
    }
    for (const [chunk, slots] of this.#chunks) {
      looked += 1;
      if (chunk < first || chunk > last) continue;
      looked += addWithin(slots, chunk * CHUNK, { from, to, into });
    }
    return looked;
  }
}

interface Collecting {
  readonly from: number;
  readonly to: number;
  readonly into: number[];
}

function addWithin(slots: Int32Array, begin: number, { from, to, into }: Collecting): number {
  const end = Math.min(CHUNK, to - begin);
  const start = Math.max(0, from - begin);
  let left = slots[COUNT] as number;
  let at = start;
  for (; at < end && left > 0; at += 1) {
    const slot = slots[at] as number;
    if (slot === NONE) continue;
    into.push(slot);
    left -= 1;
  }
  return at - start;
}
