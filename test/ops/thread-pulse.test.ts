/** A thread is seen from outside, also while it does not answer. */

import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { describe, expect, it, vi } from 'vitest';
import { DURATION_BOUNDS_MS } from '../../src/ops/figures.ts';
import { ThreadPulse, pulseMemory, readPulse } from '../../src/ops/thread-pulse.ts';

/** A window has to be several times as long as what lies between two measurements of delays. */
const TIMES = { beatMs: 10, beatsPerWindow: 20 };

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

const after = (ms: number): Promise<void> =>
  new Promise((done) => {
    setTimeout(done, ms);
  });

/** Looks in each turn of this thread, so that no window is missed, however short. */
async function turnsUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}

describe('the pulse of a thread', () => {
  it('beats while it turns, and is silent for as long as it does not', async () => {
    const memory = pulseMemory();
    const pulse = new ThreadPulse(memory, TIMES);
    block(200);
    expect(readPulse(memory).silentMs).toBeGreaterThan(150);
    await vi.waitFor(() => expect(readPulse(memory).silentMs).toBeLessThan(100));
    pulse.stop();
    await after(150);
    expect(readPulse(memory).silentMs).toBeGreaterThan(100);
  });

  it('tells how late its timers were and how long it was busy, until a better window', async () => {
    const memory = pulseMemory();
    const pulse = new ThreadPulse(memory, TIMES);
    // The first measurement of a window only tells from when the next one counts.
    while (readPulse(memory).delayMs.max < 250) {
      await after(120);
      block(400);
      const end = performance.now() + 2 * TIMES.beatMs * TIMES.beatsPerWindow;
      await turnsUntil(() => readPulse(memory).delayMs.max > 250 || performance.now() > end);
    }
    expect(readPulse(memory).busyMs).toBeGreaterThan(250);
    // What lies between two measurements is no delay.
    await turnsUntil(() => readPulse(memory).delayMs.max < 40);
    pulse.stop();
  });

  it('counts writes by how long they took, in buckets that include the lower ones', async () => {
    const memory = pulseMemory();
    const pulse = new ThreadPulse(memory, TIMES);
    for (let each = 0; each < 3; each++) {
      pulse.writing();
      pulse.written();
    }
    pulse.writing();
    block(60);
    pulse.written();
    await vi.waitFor(() => expect(readPulse(memory).writes.count).toBe(4));
    const { sumMs, within } = readPulse(memory).writes;
    const at = (bound: (typeof DURATION_BOUNDS_MS)[number]): number | undefined =>
      within[DURATION_BOUNDS_MS.indexOf(bound)];
    expect([at(50), at(5_000)]).toEqual([3, 4]);
    expect(within).toEqual([...within].sort((a, b) => a - b));
    expect(sumMs).toBeGreaterThanOrEqual(59);
    pulse.stop();
  });

  it('is read in another thread', async () => {
    const memory = pulseMemory();
    const source =
      'const { workerData } = require("node:worker_threads");' +
      'new BigInt64Array(workerData)[0] = process.hrtime.bigint();';
    const worker = new Worker(source, { eval: true, workerData: memory });
    await new Promise((done) => {
      worker.once('exit', done);
    });
    // The clock of both threads is the same.
    expect(readPulse(memory).silentMs).toBeLessThan(10_000);
  });
});
