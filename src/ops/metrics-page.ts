/** docs/metrics.md, from the table of metrics. Pure; `npm run docs:config` writes it. */

import type { MetricRow } from './metric-row.ts';
import { GROUP_METRICS, METRICS, OTHERS, QUEUE_METRICS, WRITE_SECONDS } from './metric-table.ts';

const HEAD = `# Metrics

<!-- Written by \`npm run docs:config\` from src/ops/metric-table.ts: change it there. -->

\`GET /metrics\` on \`server.ops.addr\` (by default \`http://127.0.0.1:9464/metrics\`) answers in
the text format of Prometheus. Counters count since the start of the process; a rate is
\`rate(fluxmq_enqueued_total[1m])\`. A series that is missing is not zero: its part does not run or
did not answer (\`fluxmq_shard_up\` is 0 then).

Queues and groups are told by name, the deepest \`server.ops.max_queues\` queues and the
\`server.ops.max_groups\` groups of them that lag most; all others are summed, so that names that
clients make up cannot fill a scrape. Of more than 1,000 queues, those count whose state is in
memory.

\`\`\`promql
sum(rate(fluxmq_enqueued_total[1m]))                                        # messages a second
topk(10, fluxmq_group_lag_messages)                                         # who is behind
histogram_quantile(0.99, rate(fluxmq_log_write_seconds_bucket[5m]))         # what an ack waits for
rate(fluxmq_event_loop_busy_seconds_total[1m])                              # 1: this thread is full
rate(fluxmq_capture_lost_total[5m]) > 0 or fluxmq_alarms > 0                # look at it
min_over_time(fluxmq_raft_knows_leader[1m]) == 0                            # nobody leads
increase(fluxmq_raft_leader_changes_total[10m]) > 2                         # it does not stay
max(fluxmq_raft_follower_lag_entries)                                       # furthest behind
\`\`\`

| metric | type | labels | meaning |
|---|---|---|---|
`;

interface Row {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

export function metricsPage(): string {
  return `${HEAD}${rows().map(lineOf).join('\n')}\n`;
}

function rows(): Row[] {
  return [
    ...METRICS.map((row) => ({ ...row, type: row.kind, labels: labelsOf(row) })),
    { ...WRITE_SECONDS, type: 'histogram', labels: ['`le`'] },
    ...QUEUE_METRICS.map((row) => ({ ...row, type: 'gauge', labels: ['`queue`'] })),
    ...GROUP_METRICS.map((row) => ({ ...row, type: 'gauge', labels: ['`queue`', '`group`'] })),
    { ...OTHERS.queues, type: 'gauge', labels: [] },
    { ...OTHERS.depth, type: 'gauge', labels: [] },
    { ...OTHERS.lag, type: 'gauge', labels: ['`queue`'] },
  ];
}

/** Each label with the values that it takes. */
function labelsOf({ series }: MetricRow): string[] {
  const values = new Map<string, Set<string>>();
  for (const { labels = {} } of series) {
    for (const [label, value] of Object.entries(labels)) {
      values.set(label, (values.get(label) ?? new Set()).add(value));
    }
  }
  return [...values].map(([label, all]) =>
    label === 'shard' ? `\`${label}\`` : `\`${label}\`: ${[...all].join(', ')}`,
  );
}

function lineOf({ name, type, labels, help }: Row): string {
  return `| \`${name}\` | ${type} | ${labels.join('; ')} | ${help} |`;
}
