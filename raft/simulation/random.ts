/**
 * A small seeded generator (sfc32) with named sub-streams, so that what one part of a test draws
 * never shifts what another part sees: `random.stream('crash')` depends on the seed and the name
 * alone.
 *
 * The same seed gives the same numbers on every machine. Never used for anything but tests.
 */
export class Random {
  readonly seed: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number | string) {
    this.seed = String(seed);
    this.#a = hash(this.seed, 0x9e3779b9);
    this.#b = hash(this.seed, 0x243f6a88);
    this.#c = hash(this.seed, 0xb7e15162);
    for (let round = 0; round < 12; round += 1) this.#next();
  }

  /** An independent generator; equal names give equal streams. */
  stream(name: string): Random {
    return new Random(`${this.seed}/${name}`);
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Math.floor((this.#next() / 0x1_0000_0000) * limit);
  }

  /** An integer in [least, most], both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return this.#next() / 0x1_0000_0000 < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    if (items.length === 0) throw new Error('nothing to pick from');
    return items[this.below(items.length)] as Item;
  }

  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let at = 0; at < length; at += 1) out[at] = this.#next() >>> 24;
    return out;
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + sum) | 0;
    return sum >>> 0;
  }
}

/** FNV-1a with a murmur finish: enough to spread seeds that differ in one character. */
function hash(text: string, basis: number): number {
  let value = basis;
  for (let at = 0; at < text.length; at += 1) {
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  return value ^ (value >>> 13);
}
