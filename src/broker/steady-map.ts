/**
 * A map by strings that may hold millions and never stops to grow: it is split by a hash of the key
 * into parts of a few thousand each, so that the longest pause of a `set` is that of copying one
 * part.
 *
 * Whoever chooses keys of one hash gets one large part, which is an ordinary map: slower to grow,
 * and as right as before.
 */

/** A part is split when it holds more. */
const PART_MAX = 4096;
const BITS = 6;
const PARTS = 1 << BITS;
/** The hash has no more bits to split by. */
const DEPTH_MAX = 4;
/** Of a longer key, its length and its end. */
const HASHED_MAX = 64;

export class SteadyMap<V> {
  readonly #depth: number;
  /** Empty once there are parts. */
  #own = new Map<string, V>();
  #parts: SteadyMap<V>[] | undefined;
  #size = 0;

  constructor(depth = 0) {
    this.#depth = depth;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    if (this.#parts === undefined) return this.#own.get(key);
    return this.#get(key, hashOf(key));
  }

  set(key: string, value: V): void {
    this.#set(key, value, hashOf(key));
  }

  /** False when it was not there. */
  delete(key: string): boolean {
    return this.#delete(key, hashOf(key));
  }

  #get(key: string, hash: number): V | undefined {
    const part = this.#partOf(hash);
    return part === undefined ? this.#own.get(key) : part.#get(key, hash);
  }

  /** True when the key is new. */
  #set(key: string, value: V, hash: number): boolean {
    const part = this.#partOf(hash);
    if (part !== undefined) {
      const isNew = part.#set(key, value, hash);
      if (isNew) this.#size++;
      return isNew;
    }
    const before = this.#own.size;
    this.#own.set(key, value);
    this.#size = this.#own.size;
    if (this.#size > PART_MAX && this.#depth < DEPTH_MAX) this.#split();
    return this.#size > before;
  }

  #delete(key: string, hash: number): boolean {
    const part = this.#partOf(hash);
    const gone = part === undefined ? this.#own.delete(key) : part.#delete(key, hash);
    if (gone) this.#size--;
    // Begins anew, without parts.
    if (gone && this.#size === 0) this.#parts = undefined;
    return gone;
  }

  #partOf(hash: number): SteadyMap<V> | undefined {
    return this.#parts?.[(hash >>> (this.#depth * BITS)) & (PARTS - 1)];
  }

  #split(): void {
    const depth = this.#depth + 1;
    this.#parts = Array.from({ length: PARTS }, () => new SteadyMap<V>(depth));
    for (const [key, value] of this.#own) {
      const hash = hashOf(key);
      const part = this.#partOf(hash);
      if (part !== undefined) part.#set(key, value, hash);
    }
    this.#own = new Map();
  }
}

/** FNV-1a, with its bits mixed. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5 ^ key.length;
  for (let at = Math.max(0, key.length - HASHED_MAX); at < key.length; at++) {
    hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}
