/**
 * The metrics of this node's replicas: rows of the table in `metric-table.ts`, with a label that
 * tells the shard. What only a leader knows has no series on the other nodes, and a shard without a
 * replica here has none.
 */

import { figureOfShard } from './figures.ts';
import type { MetricRow, Series } from './metric-row.ts';

/** As many as the ids of queues have room for. */
const SHARDS = Array.from({ length: 64 }, (_none, shard) => shard);

function labelled(series: readonly Required<Series>[]): readonly Series[] {
  return SHARDS.flatMap((shard) =>
    series.map(({ from, labels }) => {
      return { from: figureOfShard(shard, from), labels: { shard: String(shard), ...labels } };
    }),
  );
}

function of(from: string): readonly Series[] {
  return labelled([{ from, labels: {} }]);
}

function each(label: string, prefix: string, ...parts: string[]): readonly Series[] {
  return labelled(parts.map((part) => ({ from: `${prefix}/${part}`, labels: { [label]: part } })));
}

export const RAFT_METRICS: readonly MetricRow[] = [
  {
    name: 'fluxmq_raft_role',
    kind: 'gauge',
    help: '1 for what the replica of this node is now, else 0; stopped: its disk failed.',
    series: each(
      'role',
      'raft-role',
      'leader',
      'follower',
      'pre-candidate',
      'candidate',
      'stopped',
    ),
  },
  {
    name: 'fluxmq_raft_knows_leader',
    kind: 'gauge',
    help: '1 while the replica knows who leads. 0 for more than some seconds: no majority.',
    series: of('raft/knows-leader'),
  },
  {
    name: 'fluxmq_raft_term',
    kind: 'gauge',
    help: 'The term; it grows with each election.',
    series: of('raft/term'),
  },
  {
    name: 'fluxmq_raft_leader_changes_total',
    kind: 'counter',
    help: 'How often the replica has heard of another leader than before.',
    series: of('raft/leader-changes'),
  },
  {
    name: 'fluxmq_raft_elections_total',
    kind: 'counter',
    help:
      'How often this replica stood for election (stood), and became the leader (won). Those ' +
      'that nobody asked for mean a slow disk, network or process.',
    series: labelled([
      { from: 'raft/elections', labels: { outcome: 'stood' } },
      { from: 'raft/elected', labels: { outcome: 'won' } },
    ]),
  },
  {
    name: 'fluxmq_raft_commit_index',
    kind: 'gauge',
    help: 'Up to here the log is known to be committed.',
    series: of('raft/commit-index'),
  },
  {
    name: 'fluxmq_raft_waiting_entries',
    kind: 'gauge',
    help:
      'Entries of the log that are not committed (for a majority), not on the own disk (for ' +
      'sync), or committed and not applied (for apply).',
    series: labelled([
      { from: 'raft/uncommitted', labels: { for: 'majority' } },
      { from: 'raft/unsynced', labels: { for: 'sync' } },
      { from: 'raft/unapplied', labels: { for: 'apply' } },
    ]),
  },
  {
    name: 'fluxmq_raft_members',
    kind: 'gauge',
    help: 'Members of the shard by their role.',
    series: each('role', 'raft-members', 'voter', 'learner', 'joining'),
  },
  {
    name: 'fluxmq_raft_followers',
    kind: 'gauge',
    help:
      'On the leader: the others (known), those it hears from (active), those that get a ' +
      'checkpoint (catching-up).',
    series: each('state', 'raft-followers', 'known', 'active', 'catching-up'),
  },
  {
    name: 'fluxmq_raft_follower_lag_entries',
    kind: 'gauge',
    help: 'On the leader: entries that the member furthest behind is not known to have.',
    series: of('raft/follower-lag'),
  },
  {
    name: 'fluxmq_raft_damaged_ranges',
    kind: 'gauge',
    help: 'Ranges of the own log that are damaged and not repaired yet; a lost end is one more.',
    series: of('raft/damaged'),
  },
];
