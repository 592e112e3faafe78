/**
 * Which bitmaps several ranges of a group need that are settled one after the other: those at their
 * edges, and those that the floor may come to meanwhile.
 */

import { SETTLED_CHUNK, type SettledRanges, chunkOf } from './settled-ranges.ts';

export interface OffsetRange {
  readonly from: number;
  readonly to: number;
}

/** Rather one chunk too many than one too few. */
export function chunksToSettle(
  settled: SettledRanges,
  ranges: readonly OffsetRange[],
): ReadonlySet<number> {
  const needed = new Set<number>();
  const counts = new Map<number, number>();
  for (const { from, to } of ranges) {
    needed
      .add(chunkOf(from))
      .add(chunkOf(to - 1))
      .add(chunkOf(to));
    for (let chunk = chunkOf(from); chunk * SETTLED_CHUNK < to; chunk += 1) {
      const begin = Math.max(from, chunk * SETTLED_CHUNK);
      const count = Math.min(to, (chunk + 1) * SETTLED_CHUNK) - begin;
      counts.set(chunk, (counts.get(chunk) ?? 0) + count);
    }
  }
  // The floor passes a chunk only if nothing in it stays unsettled.
  let chunk = chunkOf(settled.floor);
  let passes = counts.has(chunk);
  needed.add(chunk);
  while (passes) {
    chunk += 1;
    needed.add(chunk);
    passes = (counts.get(chunk) ?? 0) + settled.countIn(chunk) >= SETTLED_CHUNK;
  }
  return needed;
}
