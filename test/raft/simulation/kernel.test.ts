/** The kernel of the simulator: order, time, chance, and nothing real in between. */

import { fc } from '../../support/properties.ts';
import { describe, expect, it } from 'vitest';

import { EventHeap } from '../../../raft/simulation/event-heap.ts';
import { Kernel } from '../../../raft/simulation/kernel.ts';
import {
  FIRST_MOVING,
  hasMovingClock,
  MovingClock,
} from '../../../raft/simulation/moving-clock.ts';
import { Random } from '../../../raft/simulation/random.ts';
import { withoutRealTime } from '../../../raft/simulation/real-time.ts';
import { runSeed } from '../../../raft/simulation/run-seed.ts';
import { VirtualClock } from '../../../raft/simulation/virtual-clock.ts';

describe('the heap of events', () => {
  it('gives them by time, and those of one instant as they were scheduled', () => {
    const run = (): void => undefined;
    fc.assert(
      fc.property(fc.array(fc.nat(20)), (times) => {
        const heap = new EventHeap();
        const runs = times.map((time) => ({ time, run: () => run() }));
        for (const one of runs) heap.add(one.time, one.run);
        const wanted = runs.toSorted((one, other) => one.time - other.time);
        for (const { run: next } of wanted) expect(heap.next(20)?.run).toBe(next);
        expect(heap.next(20)).toBeUndefined();
      }),
    );
  });

  it('passes over what was cancelled, and keeps what is not due', () => {
    const heap = new EventHeap();
    const kept = (): void => undefined;
    heap.add(1, () => undefined).cancel();
    heap.add(5, kept);
    expect(heap.next(4)).toBeUndefined();
    expect(heap.next(5)?.run).toBe(kept);
  });
});

describe('the kernel', () => {
  it('runs everything that an event lets run before the next event', async () => {
    const kernel = new Kernel(1);
    const seen: string[] = [];
    kernel.after(10, () => {
      void Promise.resolve()
        .then(() => process.nextTick(() => seen.push('tick')))
        .then(() => seen.push('promise'));
    });
    kernel.after(10, () => seen.push('next event'));
    await kernel.runFor(20);
    expect(seen.toSorted()).toEqual(['next event', 'promise', 'tick']);
    expect(seen.at(-1)).toBe('next event');
    expect(kernel.nowUs).toBe(20);
  });

  it('looks at the condition behind each event, also where many share a turn', async () => {
    for (const wanted of [1, 63, 64, 65, 200]) {
      const kernel = new Kernel(1);
      kernel.withoutPromises();
      let seen = 0;
      for (let number = 1; number <= 200; number += 1) kernel.after(number, () => (seen += 1));
      expect(await kernel.runUntil(() => seen === wanted, 1000)).toBe(true);
      expect([seen, kernel.events, kernel.nowUs]).toEqual([wanted, wanted, wanted]);
      expect(await kernel.runUntil(() => seen > 200, 1000)).toBe(false);
      expect([seen, kernel.nowUs]).toEqual([200, 1000]);
    }
  });

  it('has the same hash for the same trace, and another for another order', () => {
    const hashOf = (lines: readonly string[]): string => {
      const kernel = new Kernel(1);
      for (const line of lines) kernel.note(line);
      return kernel.traceHash;
    };
    expect(hashOf(['a', 'b'])).toBe(hashOf(['a', 'b']));
    expect(hashOf(['a', 'b'])).not.toBe(hashOf(['b', 'a']));
    expect(hashOf(['a', 'b'])).not.toBe(hashOf(['a']));
  });

  it('one more draw in one stream shifts nothing in another', () => {
    const draws = (more: boolean): number[] => {
      const kernel = new Kernel(7);
      const net = kernel.stream('net');
      if (more) net.below(10);
      const disk = kernel.stream('disk');
      return Array.from({ length: 10 }, () => disk.below(1000));
    };
    expect(draws(true)).toEqual(draws(false));
  });
});

describe('the clock of a node', () => {
  it('goes on from where it stands when its rate changes, and its timers follow its own time', async () => {
    const kernel = new Kernel(1);
    const clock = new VirtualClock(kernel, 5_000_000);
    await kernel.runFor(10_000);
    clock.setRate(2);
    await kernel.runFor(10_000);
    expect(clock.monotonicMs()).toBe(30);
    expect(clock.wallMs()).toBe(5030);
    let at = 0;
    clock.after(10, () => (at = kernel.nowUs));
    await kernel.runFor(10_000);
    expect(at).toBe(25_000);
    clock.jumpWall(-1_000_000);
    expect(clock.wallMs()).toBe(4050);
    expect(clock.monotonicMs()).toBe(50);
  });
});

describe('a clock that moves with its readings', () => {
  const MOST_MS = 10;

  it('never stands or goes back before it is as far ahead as it may be, and waits there', () => {
    const clock = new MovingClock(new Random(1), MOST_MS);
    const readings = Array.from({ length: 1_000 }, () => clock.read(5));
    expect(readings.every((each, at) => at === 0 || each >= (readings[at - 1] ?? 0))).toBe(true);
    const last = readings.at(-1) ?? 0;
    expect(new Set(readings.slice(0, 20)).size).toBe(20);
    expect(last).toBeGreaterThan(5 + MOST_MS / 2);
    expect(last).toBeLessThanOrEqual(5 + MOST_MS);
    expect(clock.read(8)).toBeGreaterThanOrEqual(last);
    expect(clock.read(100)).toBeGreaterThan(100);
  });

  it('goes behind what is due, where that is not too far', () => {
    const clock = new MovingClock(new Random(1), MOST_MS);
    expect(clock.read(5, 11)).toBeGreaterThan(11);
    const before = clock.lastMs;
    expect(clock.read(5, 16)).toBe(before);
  });

  it('has timers that count from the last reading, and come at most a millisecond early', async () => {
    const kernel = new Kernel(1);
    const clock = new VirtualClock(kernel, 0, new MovingClock(new Random(2), MOST_MS));
    let ahead = 0;
    for (let left = 200; left > 0 && ahead < MOST_MS / 2; left -= 1) ahead = clock.monotonicMs();
    expect(ahead).toBeGreaterThan(MOST_MS / 2);
    let atUs = 0;
    clock.after(20, () => (atUs = kernel.nowUs));
    await kernel.runFor(100_000);
    expect(atUs).toBe((20 + Math.floor(ahead)) * 1_000);
    expect(clock.monotonicMs()).toBeGreaterThan(100);
  });

  it('is that of seeds from a million on, which are one run each all the same', async () => {
    expect([1, 999_999, 1_000_000, 1_000_001].map(hasMovingClock)).toEqual([
      false,
      false,
      true,
      true,
    ]);
    const [one, again] = [await runSeed(FIRST_MOVING), await runSeed(FIRST_MOVING)];
    expect(one.violation).toBeUndefined();
    expect(again.traceHash).toBe(one.traceHash);
  });
});

describe('real time and chance', () => {
  it('throw inside of a simulation, and are back behind it', async () => {
    const forbidden = [
      () => setTimeout(() => undefined, 1),
      () => setInterval(() => undefined, 1),
      () => setImmediate(() => undefined),
      () => Date.now(),
      () => Math.random(),
      () => performance.now(),
    ];
    await withoutRealTime(async () => {
      for (const one of forbidden) expect(one).toThrow(/inside of a simulation/);
      const kernel = new Kernel(1);
      kernel.after(1, () => undefined);
      await kernel.runFor(2);
    });
    for (const one of forbidden.slice(3)) expect(one).not.toThrow();
    await new Promise((resolve) => {
      setTimeout(resolve, 0);
    });
  });

  it('are back when the simulation throws', async () => {
    const failing = withoutRealTime(() => Promise.reject(new Error('a violation')));
    await expect(failing).rejects.toThrow('a violation');
    expect(() => Math.random()).not.toThrow();
  });
});
