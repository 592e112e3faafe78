/**
 * What a thread tells of itself through shared memory, so that it can be seen from outside also
 * while it does not answer: that it turns, how late its timers are, how busy it is, and how long
 * the writes of its log take.
 *
 * Twice a second it copies its numbers; nothing else is done on its way. One thread writes, anybody
 * reads. Integers, so that no reader sees the half of one.
 */

import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { DURATION_BOUNDS_MS, type Durations, type ThreadFigures } from './figures.ts';

export interface PulseTimes {
  readonly beatMs: number;
  /** Delays are told of so many beats at a time. */
  readonly beatsPerWindow: number;
}

/** Windows of ten seconds. */
const TIMES: PulseTimes = { beatMs: 500, beatsPerWindow: 20 };
/** Each measurement wakes the thread. A stall is told of short by this much at most. */
const RESOLUTION_MS = 50;

/** Where what lies, in 64-bit integers. */
const AT = { beat: 0, p50: 1, p99: 2, max: 3, busy: 4, count: 5, sum: 6, within: 7 } as const;
const CELLS = AT.within + DURATION_BOUNDS_MS.length;

/** For the constructor and for `readPulse`, in whatever thread. */
export function pulseMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(CELLS * BigInt64Array.BYTES_PER_ELEMENT);
}

export class ThreadPulse {
  readonly #cells: BigInt64Array;
  readonly #times: PulseTimes;
  readonly #delays: IntervalHistogram;
  readonly #timer: NodeJS.Timeout;
  readonly #counts = new Float64Array(DURATION_BOUNDS_MS.length + 1);
  #sumMs = 0;
  #beganMs = 0;
  #beats = 0;

  /** Begins with the thread that calls it; nothing is kept alive by it. */
  constructor(memory: SharedArrayBuffer, times: PulseTimes = TIMES) {
    this.#times = times;
    this.#cells = new BigInt64Array(memory);
    this.#delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#delays.enable();
    this.#timer = setInterval(() => this.#beat(), times.beatMs).unref();
    this.#beat();
  }

  /**
   * One write of the log with its sync begins, or one sync of large writes that were copied; they
   * are one after the other.
   */
  writing(): void {
    this.#beganMs = performance.now();
  }

  written(): void {
    const ms = performance.now() - this.#beganMs;
    this.#sumMs += ms;
    let at = 0;
    while (at < DURATION_BOUNDS_MS.length && ms > (DURATION_BOUNDS_MS[at] ?? 0)) at++;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#delays.disable();
  }

  #beat(): void {
    this.#put(AT.beat, Number(process.hrtime.bigint()));
    this.#put(AT.busy, performance.eventLoopUtilization().active * 1_000);
    let count = 0;
    for (const [at, more] of this.#counts.entries()) {
      count += more;
      if (at < DURATION_BOUNDS_MS.length) this.#put(AT.within + at, count);
    }
    this.#put(AT.count, count);
    this.#put(AT.sum, this.#sumMs * 1_000);
    this.#beats += 1;
    if (this.#beats < this.#times.beatsPerWindow) return;
    this.#beats = 0;
    // A timer that is in time is late by its own interval.
    const late = (ns: number): number => Math.max(0, ns / 1_000 - RESOLUTION_MS * 1_000);
    this.#put(AT.p50, late(this.#delays.percentile(50)));
    this.#put(AT.p99, late(this.#delays.percentile(99)));
    this.#put(AT.max, late(this.#delays.max));
    this.#delays.reset();
  }

  #put(at: number, value: number): void {
    Atomics.store(this.#cells, at, BigInt(Math.round(value)));
  }
}

export function readPulse(memory: SharedArrayBuffer): ThreadFigures {
  const cells = new BigInt64Array(memory);
  const cell = (at: number): number => Number(Atomics.load(cells, at));
  const ms = (at: number): number => cell(at) / 1_000;
  const writes: Durations = {
    count: cell(AT.count),
    sumMs: ms(AT.sum),
    within: DURATION_BOUNDS_MS.map((_bound, at) => cell(AT.within + at)),
  };
  return {
    silentMs: Math.max(0, (Number(process.hrtime.bigint()) - cell(AT.beat)) / 1e6),
    delayMs: { p50: ms(AT.p50), p99: ms(AT.p99), max: ms(AT.max) },
    busyMs: ms(AT.busy),
    writes,
  };
}
