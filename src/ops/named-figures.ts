/**
 * Which queues and groups have series of their own: the deepest ones, so many as allowed; the rest
 * is summed. So the number of series is bounded whatever names clients make up. Pure.
 */

import { type Figures, SEPARATOR } from './figures.ts';
import { GROUP_METRICS, QUEUE_METRICS } from './metric-table.ts';

export interface SeriesLimits {
  readonly maxQueues: number;
  readonly maxGroups: number;
}

export interface NamedSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface NamedFigures {
  /** By the name of the metric. */
  readonly samples: ReadonlyMap<string, readonly NamedSample[]>;
  readonly otherQueues: number;
  readonly otherDepth: number;
  /** By queue: of those with series of their own, the groups without. */
  readonly otherLag: readonly NamedSample[];
}

const DEPTH = `depth${SEPARATOR}`;
const LAG = `lag${SEPARATOR}`;

interface Group {
  readonly queue: string;
  readonly group: string;
  readonly lag: number;
}

export function namedFigures(shards: Figures, limits: SeriesLimits): NamedFigures {
  const depths: [queue: string, depth: number][] = [];
  for (const [name, value] of shards) {
    if (name.startsWith(DEPTH)) depths.push([name.slice(DEPTH.length), value]);
  }
  depths.sort(([, a], [, b]) => b - a);
  const queues = depths.slice(0, limits.maxQueues).map(([queue]) => queue);
  const rest = depths.slice(limits.maxQueues);
  const samples = new Map<string, readonly NamedSample[]>();
  for (const { name, prefix } of QUEUE_METRICS) {
    const values = queues.flatMap((queue) => sample(shards, `${prefix}${queue}`, { queue }));
    samples.set(name, values);
  }
  const groups = groupsOf(shards, new Set(queues));
  const own = groups.slice(0, limits.maxGroups);
  for (const { name, prefix } of GROUP_METRICS) {
    const values = own.flatMap(({ queue, group }) =>
      sample(shards, `${prefix}${queue}${SEPARATOR}${group}`, { queue, group }),
    );
    samples.set(name, values);
  }
  return {
    samples,
    otherQueues: rest.length,
    otherDepth: rest.reduce((sum, [, depth]) => sum + depth, 0),
    otherLag: lagByQueue(groups.slice(limits.maxGroups)),
  };
}

function sample(
  shards: Figures,
  from: string,
  labels: Readonly<Record<string, string>>,
): NamedSample[] {
  const value = shards.get(from);
  return value === undefined ? [] : [{ labels, value }];
}

/** The one that lags most first. */
function groupsOf(shards: Figures, queues: ReadonlySet<string>): Group[] {
  const groups: Group[] = [];
  for (const [name, lag] of shards) {
    if (!name.startsWith(LAG)) continue;
    const [queue = '', group = ''] = name.slice(LAG.length).split(SEPARATOR, 2);
    if (queues.has(queue)) groups.push({ queue, group, lag });
  }
  return groups.sort((a, b) => b.lag - a.lag);
}

function lagByQueue(groups: readonly Group[]): NamedSample[] {
  const sums = new Map<string, number>();
  for (const { queue, lag } of groups) sums.set(queue, (sums.get(queue) ?? 0) + lag);
  return [...sums].map(([queue, value]) => ({ labels: { queue }, value }));
}
