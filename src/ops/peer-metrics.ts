/** The metrics of the streams between nodes: rows of the table in `metric-table.ts`. */

import { type MetricRow, each, of } from './metric-row.ts';

export const PEER_METRICS: readonly MetricRow[] = [
  {
    name: 'fluxmq_peers',
    kind: 'gauge',
    help:
      'Other nodes of the cluster: in the configuration (known); those that both streams are ' +
      'open to (sending), and from (receiving).',
    series: each('state', 'peers', 'known', 'sending', 'receiving'),
  },
  {
    name: 'fluxmq_peer_waiting_bytes',
    kind: 'gauge',
    help: 'Bytes that wait for other nodes, all together.',
    series: of('peers/waiting-bytes'),
  },
  {
    name: 'fluxmq_peer_frames_total',
    kind: 'counter',
    help:
      'Messages of replicas to and from other nodes; those that were dropped because their node ' +
      'was away or slow; those received for a replica that is not here (strayed).',
    series: each('outcome', 'peer-frames', 'sent', 'received', 'dropped', 'strayed'),
  },
  {
    name: 'fluxmq_peer_bytes_total',
    kind: 'counter',
    help: 'Bytes of the streams between nodes, before TLS.',
    series: each('direction', 'peer-bytes', 'sent', 'received'),
  },
  {
    name: 'fluxmq_peer_batches_total',
    kind: 'counter',
    help: 'Batches on the streams between nodes; each holds the frames of one turn.',
    series: each('direction', 'peer-batches', 'sent', 'received'),
  },
  {
    name: 'fluxmq_replica_reads_total',
    kind: 'counter',
    help:
      'Messages of streams that consumers at this node got from its own replica, while another ' +
      'node leads (`cluster.distribution_mode`).',
    series: of('reads/from-replica'),
  },
  {
    name: 'fluxmq_peer_refused_total',
    kind: 'counter',
    help: 'Connections and streams of others that were turned away, by reason (see errors.md).',
    series: each(
      'reason',
      'peer-refused',
      'tls',
      'identity',
      'cluster',
      'unknown-node',
      'not-me',
      'version',
      'malformed',
      'silent',
      'crowded',
    ),
  },
];
