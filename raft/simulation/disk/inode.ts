/**
 * One file of the simulated disk: what the running process sees, what is durable, and the ordered
 * changes between the two.
 *
 * A power cut decides each sector of 512 bytes by itself. A sector shows the durable bytes with
 * some first part of the pending changes that touch it; never less than what was synced. The size
 * is decided apart, as the size after some first part of the changes: what lies inside it and was
 * not kept reads as zeros. A truncation orders its sectors (a file system with a journal never
 * shows bytes from before a cut behind bytes from after it), which is the only coupling between
 * sectors.
 */
import type { Random } from '../random.ts';

export const SECTOR_BYTES = 512;
export const BLOCK_BYTES = 4096;

interface Settled {
  /** The call that made it has returned: only then does a later sync cover it. */
  returned: boolean;
  durable: boolean;
  /**
   * A sync that covered it failed: the kernel called its pages clean, so no later sync writes them.
   */
  abandoned: boolean;
}

export type Change = Settled &
  (
    | { readonly kind: 'write'; readonly position: number; readonly bytes: Uint8Array }
    | { readonly kind: 'truncate'; readonly length: number; readonly sizeBefore: number }
  );

export class Inode {
  #seen: Uint8Array = new Uint8Array(0);
  #seenSize = 0;
  #kept: Uint8Array = new Uint8Array(0);
  #keptSize = 0;
  #changes: Change[] = [];
  readonly #blocks = new Set<number>();
  handles = 0;

  get size(): number {
    return this.#seenSize;
  }

  /** Bytes of disk in use: blocks that were written; holes cost nothing. */
  get allocatedBytes(): number {
    return this.#blocks.size * BLOCK_BYTES;
  }

  /** Blocks that a write of this extent would newly take. */
  newBlocks(position: number, length: number): number {
    let count = 0;
    const last = Math.floor((position + length - 1) / BLOCK_BYTES);
    for (let block = Math.floor(position / BLOCK_BYTES); length > 0 && block <= last; block += 1) {
      if (!this.#blocks.has(block)) count += 1;
    }
    return count;
  }

  read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.#seenSize - position));
    into.set(this.#seen.subarray(position, position + count));
    return count;
  }

  write(bytes: Uint8Array, position: number): Change {
    // Not `slice`: a Buffer would share its memory.
    const change: Change = {
      kind: 'write',
      position,
      bytes: new Uint8Array(bytes),
      returned: false,
      durable: false,
      abandoned: false,
    };
    this.#show(change);
    this.#changes.push(change);
    return change;
  }

  truncate(length: number): Change {
    const sizeBefore = this.#seenSize;
    const change: Change = {
      kind: 'truncate',
      length,
      sizeBefore,
      returned: false,
      durable: false,
      abandoned: false,
    };
    this.#show(change);
    this.#changes.push(change);
    return change;
  }

  /** The changes that a sync called now has to make durable. */
  coveredBySync(): Change[] {
    return this.#changes.filter((change) => change.returned && !change.abandoned);
  }

  makeDurable(changes: readonly Change[]): void {
    for (const change of changes) change.durable = true;
    let first = this.#changes[0];
    while (first?.durable === true) {
      [this.#kept, this.#keptSize] = applied(first, this.#kept, this.#keptSize);
      this.#changes.shift();
      first = this.#changes[0];
    }
  }

  /**
   * Damage at rest: changes what is seen and what is durable alike, without a trace in the changes.
   */
  corrupt(position: number, change: (byte: number) => number): void {
    for (const image of [this.#seen, this.#kept]) {
      if (position < image.length) image[position] = change(image[position] as number);
    }
    for (const pendingChange of this.#changes) {
      if (pendingChange.kind !== 'write') continue;
      const at = position - pendingChange.position;
      if (at < 0 || at >= pendingChange.bytes.length) continue;
      pendingChange.bytes[at] = change(pendingChange.bytes[at] as number);
    }
  }

  /** Decides what the disk holds after a power cut. `keep` is the chance of each pending sector. */
  crash(random: Random, keep: number): void {
    const sizeFrom = this.#decideSize(random, keep);
    const [image, size] = this.#imageAfterCrash(sizeFrom, random, keep);
    this.#kept = image;
    this.#keptSize = size;
    this.#seen = image.slice();
    this.#seenSize = size;
    this.#changes = [];
    this.handles = 0;
    const blocksLeft = Math.ceil(size / BLOCK_BYTES);
    for (const block of this.#blocks) if (block >= blocksLeft) this.#blocks.delete(block);
  }

  /** How many of the changes, from the first on, decide the size. */
  #decideSize(random: Random, keep: number): number {
    const least = this.#changes.findLastIndex((change) => change.durable) + 1;
    if (random.chance(keep)) return this.#changes.length;
    return keep === 0 ? least : random.between(least, this.#changes.length);
  }

  #imageAfterCrash(sizeFrom: number, random: Random, keep: number): [Uint8Array, number] {
    let size = this.#keptSize;
    let longest = this.#keptSize;
    for (const [index, change] of this.#changes.entries()) {
      const end = change.kind === 'write' ? change.position + change.bytes.length : change.length;
      if (index < sizeFrom) size = change.kind === 'write' ? Math.max(size, end) : end;
      longest = Math.max(longest, end);
    }
    const image = new Uint8Array(Math.ceil(longest / SECTOR_BYTES) * SECTOR_BYTES);
    image.set(this.#kept.subarray(0, this.#keptSize));
    for (const [sector, touching] of this.#touchedSectors()) {
      const upTo = this.#decideSector(touching, sizeFrom, { random, keep });
      for (const index of touching) {
        if (index < upTo) patchSector(image, sector, this.#changes[index] as Change);
      }
    }
    return [image.slice(0, size), size];
  }

  /** The changes below the result show in this sector. */
  #decideSector(
    touching: readonly number[],
    sizeFrom: number,
    { random, keep }: { readonly random: Random; readonly keep: number },
  ): number {
    let least = 0;
    let most = this.#changes.length;
    for (const index of touching) {
      const change = this.#changes[index] as Change;
      const cuts = change.kind === 'truncate';
      if (change.durable || (cuts && index < sizeFrom)) least = index + 1;
      if (cuts && index >= sizeFrom) most = Math.min(most, index);
    }
    if (random.chance(keep)) return Math.max(least, most);
    const between = touching.filter((index) => index + 1 > least && index + 1 < most);
    if (between.length === 0 || keep === 0) return least;
    return random.pick([least, ...between.map((index) => index + 1)]);
  }

  #touchedSectors(): Map<number, number[]> {
    const sectors = new Map<number, number[]>();
    for (const [index, change] of this.#changes.entries()) {
      const [from, to] =
        change.kind === 'write'
          ? [change.position, change.position + change.bytes.length]
          : [change.length, change.sizeBefore];
      for (let sector = Math.floor(from / SECTOR_BYTES); sector * SECTOR_BYTES < to; sector += 1) {
        const touching = sectors.get(sector);
        if (touching === undefined) sectors.set(sector, [index]);
        else touching.push(index);
      }
    }
    return sectors;
  }

  #show(change: Change): void {
    [this.#seen, this.#seenSize] = applied(change, this.#seen, this.#seenSize);
    if (change.kind === 'write') {
      const last = Math.floor((change.position + change.bytes.length - 1) / BLOCK_BYTES);
      const first = Math.floor(change.position / BLOCK_BYTES);
      for (let block = first; block <= last; block += 1) this.#blocks.add(block);
    } else {
      const left = Math.ceil(change.length / BLOCK_BYTES);
      for (const block of this.#blocks) if (block >= left) this.#blocks.delete(block);
    }
  }
}

/** Carries a change into an image; bytes of the image past its size are always zero. */
function applied(change: Change, image: Uint8Array, size: number): [Uint8Array, number] {
  if (change.kind === 'truncate') {
    if (change.length < size) image.fill(0, change.length, size);
    return [withRoom(image, change.length), change.length];
  }
  const end = change.position + change.bytes.length;
  const roomy = withRoom(image, end);
  roomy.set(change.bytes, change.position);
  return [roomy, Math.max(size, end)];
}

function withRoom(image: Uint8Array, length: number): Uint8Array {
  if (length <= image.length) return image;
  const larger = new Uint8Array(Math.max(length, image.length * 2, BLOCK_BYTES));
  larger.set(image);
  return larger;
}

function patchSector(image: Uint8Array, sector: number, change: Change): void {
  const from = sector * SECTOR_BYTES;
  const to = from + SECTOR_BYTES;
  if (change.kind === 'truncate') {
    image.fill(0, Math.max(from, change.length), to);
    return;
  }
  const start = Math.max(from, change.position);
  const end = Math.min(to, change.position + change.bytes.length);
  image.set(change.bytes.subarray(start - change.position, end - change.position), start);
}
