import { describe, expect, it } from 'vitest';
import type { LogIndex } from '../../src/machine/ids.ts';
import { ReadCache } from '../../src/shard/read-cache.ts';

const BUFFER = 1_000;

/** Entries of 100 bytes each, one after the other in `buffer`. */
function entriesIn(buffer: Uint8Array, first: number, count: number) {
  return Array.from({ length: count }, (_, at) => ({
    index: (first + at) as LogIndex,
    bytes: 100,
    payload: [buffer.subarray(at * 100, (at + 1) * 100)],
  }));
}

function read(cache: ReadCache, first: number): Uint8Array {
  const buffer = cache.take();
  cache.add(buffer, entriesIn(buffer, first, 10));
  return buffer;
}

describe('what was read from the log', () => {
  it('is there until the bound is passed, the oldest read out first', () => {
    const cache = new ReadCache(12_000, BUFFER);
    for (let first = 0; first < 100; first += 10) read(cache, first);
    expect(cache.get(0 as LogIndex)).toBeUndefined();
    expect(cache.get(99 as LogIndex)?.bytes).toBe(100);
    expect(cache.bytes).toBeLessThanOrEqual(12_000);
  });

  it('is read into the same few buffers, and never into one that is still kept', () => {
    const cache = new ReadCache(12_000, BUFFER);
    const buffers = new Set<Uint8Array>();
    for (let first = 0; first < 2_000; first += 10) {
      const buffer = cache.take();
      const kept = Array.from({ length: first }, (_, index) => cache.get(index as LogIndex));
      expect(kept.some((entry) => entry?.payload[0]?.buffer === buffer.buffer)).toBe(false);
      cache.add(buffer, entriesIn(buffer, first, 10));
      buffers.add(buffer);
    }
    expect(buffers.size).toBeLessThan(8);
  });

  it('two reads at once have a buffer each', () => {
    const cache = new ReadCache(12_000, BUFFER);
    expect(cache.take()).not.toBe(cache.take());
  });

  it('the newest read is kept, however large it is, and its buffer where it lies elsewhere', () => {
    const cache = new ReadCache(500, BUFFER);
    const buffer = cache.take();
    const elsewhere = new Uint8Array(50_000);
    const entry = { index: 7 as LogIndex, bytes: 50_000, payload: [elsewhere] };
    cache.add(buffer, [entry]);
    expect(cache.get(7 as LogIndex)).toBe(entry);
    expect(cache.take()).toBe(buffer);
    read(cache, 8);
    expect(cache.get(7 as LogIndex)).toBeUndefined();
    expect(cache.get(8 as LogIndex)).toBeDefined();
  });

  it('an entry that came with two reads stays while the later one is kept', () => {
    const cache = new ReadCache(5_000, BUFFER);
    const first = cache.take();
    const second = cache.take();
    cache.add(first, entriesIn(first, 0, 1));
    cache.add(second, entriesIn(second, 0, 1));
    read(cache, 20);
    expect(cache.get(0 as LogIndex)?.payload[0]?.buffer).toBe(second.buffer);
  });
});
