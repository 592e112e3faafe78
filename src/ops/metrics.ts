/**
 * `/metrics`: copies the figures of one moment and has prom-client encode them.
 *
 * Nothing is counted here, and nothing kept from one scrape to the next, so that no series outlives
 * its queue. One metric is encoded a turn of the event loop: many series never hold up a connection
 * for long. Names of queues and groups are the only words from outside; they are values of labels,
 * and prom-client escapes them.
 */

import type { MetricRow } from './metric-row.ts';
import { type Metric, Registry } from 'prom-client';
import {
  ALARM_KINDS,
  DURATION_BOUNDS_MS,
  type Durations,
  type Figures,
  type ThreadFigures,
} from './figures.ts';
import { alarmCounts } from './health.ts';
import { GROUP_METRICS, METRICS, OTHERS, QUEUE_METRICS, WRITE_SECONDS } from './metric-table.ts';
import { type NamedFigures, type SeriesLimits, namedFigures } from './named-figures.ts';

/** What a scrape shows; `shards` undefined: they did not answer. */
export interface Moment {
  readonly node: Figures;
  readonly shards: Figures | undefined;
  readonly mainThread: ThreadFigures;
  readonly shardThread: ThreadFigures | undefined;
}

const NO_FIGURES: Figures = new Map();

interface Sample {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

interface Described {
  readonly name: string;
  readonly help: string;
}

type Kind = MetricRow['kind'] | 'histogram';

export class Metrics {
  readonly #registry = new Registry();
  readonly #limits: SeriesLimits;
  #figures: Figures = NO_FIGURES;
  /** Undefined where the shards did not answer. */
  #named: NamedFigures | undefined;
  #writes: Durations | undefined;

  constructor(limits: SeriesLimits) {
    this.#limits = limits;
    for (const row of METRICS) {
      this.#add(row, row.kind, () => this.#plain(row));
    }
    for (const row of [...QUEUE_METRICS, ...GROUP_METRICS]) {
      this.#add(row, 'gauge', () => this.#named?.samples.get(row.name) ?? []);
    }
    this.#add(OTHERS.queues, 'gauge', () => one(this.#named?.otherQueues));
    this.#add(OTHERS.depth, 'gauge', () => one(this.#named?.otherDepth));
    this.#add(OTHERS.lag, 'gauge', () => this.#named?.otherLag ?? []);
    this.#add(WRITE_SECONDS, 'histogram', () => this.#writeSeconds());
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Not again before it resolved. */
  async encode(moment: Moment): Promise<string> {
    this.#figures = figuresOf(moment);
    this.#named = moment.shards && namedFigures(moment.shards, this.#limits);
    this.#writes = (moment.shardThread ?? moment.mainThread).writes;
    const parts: string[] = [];
    for (const { name } of this.#registry.getMetricsAsArray()) {
      const text = await this.#registry.getSingleMetricAsString(name);
      // Without a series the name and its explanation alone would be noise.
      if (/^[^#]/m.test(text)) parts.push(text);
      await new Promise((turn) => {
        setImmediate(turn);
      });
    }
    return `${parts.join('\n')}\n`;
  }

  /**
   * prom-client's own metrics count; these were counted elsewhere. Its registry asks a metric for
   * what it is called and what it holds, and for nothing else.
   */
  #add({ name, help }: Described, type: Kind, samples: () => readonly Sample[]): void {
    const described = { name, help, type, aggregator: 'sum' };
    const metric = { ...described, get: () => ({ ...described, values: samples() }) };
    this.#registry.registerMetric(metric as unknown as Metric);
  }

  #plain({ series, scale = 1 }: MetricRow): Sample[] {
    return series.flatMap(({ from, labels = {} }) => {
      const value = this.#figures.get(from);
      return value === undefined ? [] : [{ labels, value: value * scale }];
    });
  }

  #writeSeconds(): Sample[] {
    const writes = this.#writes;
    if (writes === undefined) return [];
    const { name } = WRITE_SECONDS;
    const bucket = (le: number | string, value: number): Sample => ({
      metricName: `${name}_bucket`,
      labels: { le },
      value,
    });
    return [
      ...DURATION_BOUNDS_MS.map((bound, at) => bucket(bound / 1_000, writes.within[at] ?? 0)),
      bucket('+Inf', writes.count),
      { metricName: `${name}_sum`, labels: {}, value: writes.sumMs / 1_000 },
      { metricName: `${name}_count`, labels: {}, value: writes.count },
    ];
  }
}

function one(value: number | undefined): Sample[] {
  return value === undefined ? [] : [{ labels: {}, value }];
}

function figuresOf({ node, shards, mainThread, shardThread }: Moment): Figures {
  const figures = new Map([...node, ...(shards ?? [])]);
  figures.set('shard/up', shards === undefined ? 0 : 1);
  if (shards !== undefined) {
    const alarms = alarmCounts(shards);
    for (const kind of ALARM_KINDS) {
      figures.set(`alarms/${kind}`, alarms.get(kind) ?? 0);
    }
  }
  addThread(figures, 'main', mainThread);
  if (shardThread !== undefined) addThread(figures, 'shards', shardThread);
  return figures;
}

function addThread(figures: Map<string, number>, name: string, thread: ThreadFigures): void {
  figures.set(`thread-busy/${name}`, thread.busyMs);
  for (const part of ['p50', 'p99', 'max'] as const) {
    figures.set(`thread-delay/${name}/${part}`, thread.delayMs[part]);
  }
}
