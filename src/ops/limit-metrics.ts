/** The metrics of limits (docs/limits.md): rows of the table in `metric-table.ts`. */

import { type MetricRow, each, of } from './metric-row.ts';

export const LIMIT_METRICS: readonly MetricRow[] = [
  {
    name: 'fluxmq_limited_total',
    kind: 'counter',
    help: 'How often a limit refused, dropped or held back something, by limit (see limits.md).',
    series: each(
      'limit',
      'limited',
      'handshake-bytes',
      'connect-pieces',
      'packet-size',
      'client-id',
      'sessions',
      'session-queue',
      'keep-alive',
      'topic-levels',
      'topic-length',
      'topic-alias',
      'receive-maximum',
      'in-flight',
      'buffered',
      'subscriptions',
      'pending-subscribes',
      'message-rate',
      'byte-rate',
      'retained',
      'session-keys',
    ),
  },
  {
    name: 'fluxmq_retained_bytes',
    kind: 'gauge',
    help: 'Bytes of retained messages, with a fixed share for each.',
    series: of('broker/retained-bytes'),
  },
];
