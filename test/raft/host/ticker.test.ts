/** How often a replica wakes, and what it is told of the time that has passed. */

import { describe, expect, it } from 'vitest';
import { Ticker } from '../../../raft/host/ticker.ts';
import { TestClock } from './hosts.ts';

interface Ticking {
  readonly clock: TestClock;
  readonly ticker: Ticker;
  /** How many came with each wake-up. */
  readonly counts: number[];
}

function ticking(): Ticking {
  const clock = new TestClock();
  const counts: number[] = [];
  const ticker = new Ticker({
    clock,
    tickMs: 10,
    calmTicks: 10,
    tick: (count) => counts.push(count),
  });
  ticker.start();
  return { clock, ticker, counts };
}

function pass({ clock }: Ticking, ms: number, stepMs = 1): void {
  for (let passed = 0; passed < ms; passed += stepMs) clock.advance(stepMs);
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

describe('the ticks of a replica', () => {
  it('come one by one while nobody leads', () => {
    const ticks = ticking();
    pass(ticks, 100);
    expect(ticks.counts).toEqual(Array.from({ length: 10 }, () => 1));
  });

  it('come once for each heartbeat while somebody leads, and none is left out', () => {
    const ticks = ticking();
    ticks.ticker.pace('calm');
    pass(ticks, 1000);
    expect(ticks.counts).toEqual(Array.from({ length: 10 }, () => 10));
  });

  it('are all there when the timer comes a little before its time', () => {
    const ticks = ticking();
    ticks.ticker.pace('calm');
    ticks.clock.monotonicMs = () => ticks.clock.nowMs - 0.7;
    pass(ticks, 300);
    expect(ticks.counts).toEqual([10, 10, 10]);
  });

  it('come before what is heard, for who is told of that', () => {
    const ticks = ticking();
    ticks.ticker.pace('calm');
    pass(ticks, 37);
    ticks.ticker.tell();
    ticks.ticker.tell();
    expect(ticks.counts).toEqual([3]);
    pass(ticks, 63);
    expect(ticks.counts).toEqual([3, 7]);
  });

  it('change their pace while they are given, and still come once each', () => {
    const clock = new TestClock();
    let given = 0;
    const tick = (count: number): void => {
      given += count;
      ticker.pace(given < 25 ? 'calm' : 'each-tick');
    };
    const ticker = new Ticker({ clock, tickMs: 10, calmTicks: 10, tick });
    ticker.start();
    ticker.pace('calm');
    for (let passed = 0; passed < 500; passed++) clock.advance(1);
    expect(given).toBe(50);
  });

  it('keep what has passed when the pace changes', () => {
    const ticks = ticking();
    ticks.ticker.pace('calm');
    pass(ticks, 30);
    ticks.ticker.pace('each-tick');
    pass(ticks, 70);
    expect(sum(ticks.counts)).toBe(10);
  });

  it.each([
    ['each-tick', 5],
    ['calm', 10],
  ] as const)('do not pile up in a stall (%s)', (pace, atOnce) => {
    const ticks = ticking();
    ticks.ticker.pace(pace);
    ticks.clock.advance(5000);
    expect(ticks.counts).toEqual([atOnce]);
    pass(ticks, 100);
    expect(sum(ticks.counts)).toBe(atOnce + 10);
  });

  it('are few at rest, and end with a stop', () => {
    const ticks = ticking();
    ticks.ticker.pace('resting');
    pass(ticks, 1000);
    expect(ticks.counts.length).toBe(4);
    ticks.ticker.stop();
    pass(ticks, 1000);
    expect(ticks.counts.length).toBe(4);
  });
});
