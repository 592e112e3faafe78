import { describe, expect, it } from 'vitest';
import type { LogIndex } from '../../src/machine/ids.ts';
import { EntryCache } from '../../src/shard/entry-cache.ts';

const KIB = 1024;

function entry(index: number, payload: readonly Uint8Array[]) {
  const bytes = payload.reduce((sum, part) => sum + part.length, 0);
  return { index: index as LogIndex, payload, bytes };
}

describe('a cache of entries', () => {
  it('counts the memory that its entries keep, not only what they need of it', () => {
    const cache = new EntryCache(1024 * KIB);
    for (let index = 1; index <= 100; index += 1) {
      cache.add(entry(index, [new Uint8Array(256 * KIB).subarray(0, 10 * KIB)]));
    }
    expect(cache.get(100 as LogIndex)).toBeDefined();
    const kept = Array.from({ length: 100 }, (_none, nth) => cache.get((nth + 1) as LogIndex));
    expect(kept.filter((one) => one !== undefined).length).toBeLessThanOrEqual(4);
  });

  it('counts memory that neighbours share once', () => {
    const cache = new EntryCache(1024 * KIB);
    const read = new Uint8Array(512 * KIB);
    for (let index = 1; index <= 50; index += 1) {
      cache.add(entry(index, [read.subarray(index * 10 * KIB, (index + 1) * 10 * KIB)]));
    }
    expect(cache.get(1 as LogIndex)).toBeDefined();
    expect(cache.bytes).toBeLessThan(600 * KIB);
  });

  it('keeps one that is larger than the whole bound until the next one comes', () => {
    const cache = new EntryCache(KIB);
    cache.add(entry(1, [new Uint8Array(64 * KIB)]));
    expect(cache.get(1 as LogIndex)).toBeDefined();
    cache.add(entry(2, [new Uint8Array(64 * KIB)]));
    expect(cache.get(1 as LogIndex)).toBeUndefined();
    expect(cache.get(2 as LogIndex)).toBeDefined();
  });
});
