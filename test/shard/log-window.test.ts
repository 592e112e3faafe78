import { describe, expect, it } from 'vitest';
import type { LogIndex } from '../../src/machine/ids.ts';
import { LogWindow } from '../../src/shard/log-window.ts';

/** Segments of ten entries and 100 bytes. */
function log(from: number, segments: number): Parameters<LogWindow['leftBelow']>[0] {
  const sealed = Array.from({ length: segments }, (_none, nth) => {
    const first = from + nth * 10;
    return { first: first as LogIndex, last: (first + 9) as LogIndex, bytes: 100 };
  });
  return { start: from as LogIndex, bytes: segments * 100 + 50, sealed };
}

function windowOf(windowBytes: number, windowMessages = 1_000_000): LogWindow {
  return new LogWindow({ windowBytes, windowMessages });
}

function apply(window: LogWindow, entries: readonly [from: number, through: number, each: number]) {
  const [from, through, each] = entries;
  for (let index = from; index <= through; index += 1) {
    window.begun(index as LogIndex);
    for (let left = each; left > 0; left -= 1) window.enqueued();
  }
}

describe('the window of the log', () => {
  it('keeps so many bytes behind a segment that leaves, and no less', () => {
    const window = windowOf(250);
    expect(window.leftBelow(log(1, 2))).toBe(0);
    expect(window.leftBelow(log(1, 3))).toBe(11);
    expect(window.leftBelow(log(1, 5))).toBe(31);
  });

  it('is left by messages too, however small they are', () => {
    const window = windowOf(1 << 30, 100);
    apply(window, [1, 50, 4]);
    expect(window.leftBelow(log(1, 5))).toBe(21);
  });

  it('knows its messages after a restart', () => {
    const before = windowOf(1 << 30, 100);
    apply(before, [1, 40, 4]);
    const window = windowOf(1 << 30, 100);
    window.restore(before.encode());
    apply(window, [41, 50, 4]);
    expect(window.leftBelow(log(1, 5))).toBe(21);
  });

  it('is late at twice its size, in bytes or in messages', () => {
    expect(windowOf(500).isLate(log(1, 9))).toBe(false);
    expect(windowOf(500).isLate(log(1, 10))).toBe(true);
    const window = windowOf(1 << 30, 100);
    apply(window, [1, 49, 4]);
    expect(window.isLate(log(1, 1))).toBe(false);
    apply(window, [50, 60, 4]);
    expect(window.isLate(log(1, 1))).toBe(true);
  });

  it('slows publishes down from one and a half windows on that are not spilled', () => {
    const bytes = windowOf(500);
    const from = (index: number): LogIndex => index as LogIndex;
    expect(bytes.slowness(log(1, 7), from(1))).toBe(0);
    expect(bytes.slowness(log(1, 8), from(1))).toBeCloseTo(0.4);
    expect(bytes.slowness(log(1, 8), from(11))).toBe(0);
    expect(bytes.slowness(log(1, 12), from(1))).toBe(1);
    const messages = windowOf(1 << 30, 100);
    apply(messages, [1, 45, 4]);
    expect(messages.slowness(log(1, 1), from(1))).toBeCloseTo(0.5, 1);
    expect(messages.slowness(log(1, 1), from(21))).toBe(0);
  });

  it('is held less and less the more messages come, and for nobody before it is late', () => {
    const window = windowOf(1 << 30, 100);
    apply(window, [1, 30, 4]);
    expect(window.heldFor(log(1, 1))).toBe('all');
    apply(window, [31, 40, 4]);
    expect(window.heldFor(log(1, 1))).toBe('current');
    apply(window, [41, 47, 4]);
    expect(window.heldFor(log(1, 1))).toBe('nobody');
    expect(window.isLate(log(1, 1))).toBe(false);
  });

  it('remembers a bounded number of places', () => {
    const window = windowOf(1 << 30, 1000);
    apply(window, [1, 20_000, 3]);
    expect((window.encode() as number[]).length).toBeLessThan(300);
    expect(window.leftBelow(log(19_001, 100))).toBeGreaterThan(19_600);
    expect(window.leftBelow(log(19_001, 100))).toBeLessThan(19_700);
  });
});
