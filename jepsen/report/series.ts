/**
 * A history as series over time: how many operations ended in each interval, and how long enqueues
 * took. However long the run, there are at most `INTERVALS_MAX` of them.
 */

import type { Operation } from '../history/operation.ts';

const INTERVALS_MAX = 900;
const NS_PER_S = 1e9;
const NS_PER_MS = 1e6;

export interface Series {
  readonly name: string;
  readonly color: string;
  /** A value an interval; NaN where there is none. */
  readonly values: readonly number[];
}

export interface SeriesOfRun {
  readonly seconds: number;
  readonly intervalSeconds: number;
  /** Operations a second. */
  readonly throughput: readonly Series[];
  /** Milliseconds, acknowledged enqueues, by the interval of their end. */
  readonly latency: readonly Series[];
}

const RATES = [
  { name: 'acknowledged', f: 'enqueue', type: 'ok', color: '#1a7f37' },
  { name: 'unknown', f: 'enqueue', type: 'info', color: '#cf222e' },
  { name: 'delivered', f: 'dequeue', type: 'ok', color: '#0969da' },
  { name: 'settled', f: 'ack', type: 'ok', color: '#8250df' },
  { name: 'rejected', f: 'reject', type: 'ok', color: '#bc4c00' },
] as const;

const SHARES = [
  { name: 'p50', share: 0.5, color: '#1a7f37' },
  { name: 'p99', share: 0.99, color: '#bf8700' },
  { name: 'longest', share: 1, color: '#cf222e' },
] as const;

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Milliseconds of each acknowledged enqueue, by the interval of its end. */
function latenciesOf(history: readonly Operation[], count: number, perNs: number): number[][] {
  const intervals = Array.from({ length: count }, (): number[] => []);
  const begun = new Map<number, number>();
  for (const operation of history) {
    if (operation.f !== 'enqueue') continue;
    const { process, type, time } = operation;
    if (type === 'invoke') begun.set(process, time);
    if (type !== 'ok') continue;
    const took = time - (begun.get(process) ?? time);
    intervals[Math.floor(time / perNs)]?.push(took / NS_PER_MS);
  }
  return intervals.map((interval) => interval.toSorted((a, b) => a - b));
}

export function seriesOf(history: readonly Operation[]): SeriesOfRun {
  const seconds = (history.at(-1)?.time ?? 0) / NS_PER_S;
  const intervalSeconds = Math.max(1, Math.ceil(seconds / INTERVALS_MAX));
  const perNs = intervalSeconds * NS_PER_S;
  const count = Math.floor(seconds / intervalSeconds) + 1;
  const rates = RATES.map(() => new Array<number>(count).fill(0));
  for (const { f, type, time } of history) {
    const which = RATES.findIndex((rate) => rate.f === f && rate.type === type);
    const rate = rates[which];
    const interval = Math.floor(time / perNs);
    if (rate !== undefined) rate[interval] = (rate[interval] ?? 0) + 1 / intervalSeconds;
  }
  const latencies = latenciesOf(history, count, perNs);
  return {
    seconds,
    intervalSeconds,
    throughput: RATES.map(({ name, color }, which) => ({
      name,
      color,
      values: rates[which] ?? [],
    })),
    latency: SHARES.map(({ name, color, share }) => ({
      name,
      color,
      values: latencies.map((sorted) => at(sorted, share)),
    })),
  };
}
