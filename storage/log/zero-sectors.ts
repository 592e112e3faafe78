/**
 * Sectors of 512 bytes that are all zero: the evidence by which recovery tells a write that a power
 * cut tore from bytes that went bad.
 *
 * A sector that was never written reads as zeros, because no byte of a segment is written twice and
 * what is not prewritten with zeros lies behind the end of the file. A payload may hold zeros of
 * its own, so each header counts, for every sector that its payload touches, whether the payload's
 * part of it is all zero; recovery counts again and compares. Counted in file positions, so the
 * number is local to a replica.
 */

export const SECTOR_BYTES = 512;

const ZEROS = Buffer.alloc(64 * 1024);

export function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  if (from < to && (bytes[from] !== 0 || bytes[to - 1] !== 0)) return false;
  for (let at = from; at < to; at += ZEROS.length) {
    const end = Math.min(to, at + ZEROS.length);
    if (ZEROS.compare(bytes, at, end, 0, end - at) !== 0) return false;
  }
  return true;
}

/** Position of the first byte in [from, to) that is not zero; `to` if there is none. */
export function firstNonZero(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at + SECTOR_BYTES <= to && isZero(bytes, at, at + SECTOR_BYTES)) at += SECTOR_BYTES;
  while (at < to && bytes[at] === 0) at += 1;
  return at;
}

/** One past the last byte in [from, to) that is not zero; `from` if there is none. */
export function lastNonZeroEnd(bytes: Uint8Array, from: number, to: number): number {
  let end = to;
  while (end - SECTOR_BYTES >= from && isZero(bytes, end - SECTOR_BYTES, end)) end -= SECTOR_BYTES;
  while (end > from && bytes[end - 1] === 0) end -= 1;
  return end;
}

/** End of the sector that holds this file position. */
export function sectorEnd(position: number): number {
  return position - (position % SECTOR_BYTES) + SECTOR_BYTES;
}

/** Counts the all-zero sectors of one payload that arrives in pieces. */
export class ZeroSectorCount {
  #position = 0;
  /** The last sector that was touched, and not to its end, is zero so far. */
  #openIsZero = false;
  #openTouched = false;
  #count = 0;
  /** The first sector has bytes before the payload. */
  #isFirstShared = false;
  /** Undefined: the open one is the first. */
  #firstIsZero: boolean | undefined;

  /** A payload begins at this file position. */
  begin(position: number): void {
    this.#position = position;
    this.#isFirstShared = position % SECTOR_BYTES !== 0;
    this.#firstIsZero = undefined;
    this.#openIsZero = true;
    this.#openTouched = false;
    this.#count = 0;
  }

  add(bytes: Uint8Array, from: number, to: number): void {
    if (from >= to) return;
    let room = SECTOR_BYTES - (this.#position % SECTOR_BYTES);
    let zero = this.#openIsZero;
    let at = from;
    while (at < to) {
      const end = at + room < to ? at + room : to;
      // Most sectors show in their first byte that they are not zero.
      if (zero && (bytes[at] !== 0 || !isZero(bytes, at, end))) zero = false;
      room -= end - at;
      at = end;
      if (room > 0) break;
      if (zero) this.#count += 1;
      this.#firstIsZero ??= zero;
      zero = true;
      room = SECTOR_BYTES;
    }
    this.#openIsZero = zero;
    this.#openTouched = room < SECTOR_BYTES;
    this.#position += to - from;
  }

  /** The count; the last sector may be touched in part. */
  end(): number {
    return this.#count + (this.#isOpenZero ? 1 : 0);
  }

  /**
   * Of these, those that may never have been written: not the one that the header of the payload
   * ends in, which was written with that.
   */
  get unwritten(): number {
    const isFirst = this.#isFirstShared && (this.#firstIsZero ?? this.#isOpenZero);
    return this.end() - (isFirst ? 1 : 0);
  }

  get #isOpenZero(): boolean {
    return this.#openTouched && this.#openIsZero;
  }
}
