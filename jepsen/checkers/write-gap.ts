/**
 * How long writers had to wait: for each fault the longest time between two acknowledged enqueues
 * that touches it, from its installation to the first acknowledgement after its end; of several
 * queues, that of the queue that waited longest. It says how the cluster did, and judges nothing:
 * no time decides whether a run is valid.
 */

import type { Operation, Phase } from '../history/operation.ts';
import { type Fault, faultsOf } from './faults.ts';
import { Findings, type Verdict } from './verdict.ts';

const NS_PER_MS = 1e6;

/** The place of the first that is above `time`. */
function firstAbove(times: readonly number[], time: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** In milliseconds; undefined when nothing was acknowledged before it. */
function gapOf(fault: Fault, times: readonly number[], end: number): number | undefined {
  let at = firstAbove(times, fault.from);
  if (at === 0) return undefined;
  let longest = 0;
  for (;;) {
    const [before = 0, after = end] = [times[at - 1], times[at]];
    longest = Math.max(longest, after - before);
    if (after > fault.to || at >= times.length) return longest / NS_PER_MS;
    at += 1;
  }
}

function longestIn(times: readonly number[], begin: number): number {
  let [longest, before] = [0, begin];
  for (const time of times) {
    longest = Math.max(longest, time - before);
    before = time;
  }
  return longest;
}

function row(kind: string, gaps: readonly number[]): string[] {
  const sorted = gaps.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    Math.round(
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0,
    ).toString();
  return [kind, String(sorted.length), at(0.5), at(0.99), at(1)];
}

export function checkWriteGap(history: readonly Operation[]): Verdict {
  const phase = (name: Phase): number | undefined =>
    history.find((operation) => operation.f === 'phase' && operation.value === name)?.time;
  const end = phase('drain') ?? history.at(-1)?.time ?? 0;
  const queues = new Map<string, number[]>();
  for (const operation of history) {
    if (operation.f !== 'enqueue' || operation.type !== 'ok' || operation.time > end) continue;
    const times = queues.get(operation.queue);
    if (times === undefined) queues.set(operation.queue, [operation.time]);
    else times.push(operation.time);
  }
  const gaps = new Map<string, number[]>();
  for (const fault of faultsOf(history)) {
    const all = [...queues.values()].flatMap((times) => gapOf(fault, times, end) ?? []);
    if (all.length === 0) continue;
    const gap = Math.max(...all);
    const name = `${fault.kind} ${fault.choice}`;
    gaps.set(name, [...(gaps.get(name) ?? []), gap]);
  }
  const begin = phase('load') ?? 0;
  const longest = Math.max(0, ...[...queues.values()].map((times) => longestIn(times, begin)));
  const rows = [...gaps]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([kind, all]) => row(kind, all));
  const figures = { longestMs: Math.round(longest / NS_PER_MS) };
  const head = ['fault', 'times', 'gap p50 ms', 'p99 ms', 'longest ms'];
  return new Findings().verdict('write-gap', figures, [head, ...rows]);
}
