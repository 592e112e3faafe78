/** Metrics of messages between clients and queues, on the node where they came. */

import { type MetricRow, of } from './metric-row.ts';

export const BROKER_METRICS: readonly MetricRow[] = [
  {
    name: 'fluxmq_durable_sessions',
    kind: 'gauge',
    help: 'Sessions that outlive their connection, of the whole cluster.',
    series: of('broker/durable-sessions'),
  },
  {
    name: 'fluxmq_subscriptions',
    kind: 'gauge',
    help: 'Subscriptions to ordinary topics.',
    series: of('broker/subscriptions'),
  },
  {
    name: 'fluxmq_retained_messages',
    kind: 'gauge',
    help: 'Retained messages.',
    series: of('broker/retained'),
  },
  {
    name: 'fluxmq_published_total',
    kind: 'counter',
    help: 'Messages that came to the broker.',
    series: of('broker/published'),
  },
  {
    name: 'fluxmq_fanned_out_total',
    kind: 'counter',
    help: 'Copies handed to subscribers of ordinary topics.',
    series: of('broker/fanned-out'),
  },
  {
    name: 'fluxmq_share_lost_total',
    kind: 'counter',
    help: 'Messages for a shared subscription that none of its members could take.',
    series: of('broker/share-lost'),
  },
  {
    name: 'fluxmq_refused_total',
    kind: 'counter',
    help: 'Messages that the broker refused before they went to a queue.',
    series: of('broker/refused'),
  },
  {
    name: 'fluxmq_unanswered_lost_total',
    kind: 'counter',
    help: 'Messages for queues that nobody waited for (QoS 0, wills) and that were not stored.',
    series: of('broker/unanswered-lost'),
  },
  {
    name: 'fluxmq_captured_total',
    kind: 'counter',
    help:
      'Copies of ordinary publishes that went to queues: those that capture their topics, and ' +
      'those of sessions that are members of shares.',
    series: of('broker/captured'),
  },
  {
    name: 'fluxmq_capture_lost_total',
    kind: 'counter',
    help:
      'Of these, those that were not stored and that nobody waited for: `capture: async`, QoS 0, ' +
      'wills.',
    series: of('broker/capture-lost'),
  },
  {
    name: 'fluxmq_publishes_waiting',
    kind: 'gauge',
    help:
      'Publishes to ordinary topics that wait until this node knows that it routes by the queues ' +
      'and sessions of now.',
    series: of('broker/waiting'),
  },
  {
    name: 'fluxmq_publishes_held_total',
    kind: 'counter',
    help: 'Publishes to ordinary topics that had to wait for that.',
    series: of('broker/held'),
  },
  {
    name: 'fluxmq_publishes_unrouted_total',
    kind: 'counter',
    help: 'Publishes that were refused since this node did not come to know it in time.',
    series: of('broker/unrouted'),
  },
];
