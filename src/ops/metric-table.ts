/**
 * Every metric: its name, what it means, and which figures it is made of. The one source of
 * `/metrics` and of docs/metrics.md.
 *
 * A figure that is not there gives no series: a missing number is not zero.
 */

import { ACCESS_METRICS } from './access-metrics.ts';
import { BROKER_METRICS } from './broker-metrics.ts';
import { ALARM_KINDS, SEPARATOR } from './figures.ts';
import { LIMIT_METRICS } from './limit-metrics.ts';
import { type MetricRow, each, of } from './metric-row.ts';
import { PEER_METRICS } from './peer-metrics.ts';
import { RAFT_METRICS } from './raft-metrics.ts';

const MILLIS = 0.001;

export const METRICS: readonly MetricRow[] = [
  {
    name: 'fluxmq_mqtt_connections',
    kind: 'gauge',
    help: 'MQTT connections that are open.',
    series: of('mqtt/connections'),
  },
  {
    name: 'fluxmq_mqtt_accepted_total',
    kind: 'counter',
    help: 'MQTT connections that came in, through TLS and WebSocket where there is one.',
    series: of('mqtt/accepted'),
  },
  {
    name: 'fluxmq_mqtt_handshakes',
    kind: 'gauge',
    help: 'MQTT connections whose client has not said who it is yet, by a whole CONNECT.',
    series: of('mqtt/handshakes'),
  },
  {
    name: 'fluxmq_mqtt_turned_away_total',
    kind: 'counter',
    help:
      'Connections closed before they were in: above max_connections or max_handshakes, above ' +
      'what per_address says of one address, no CONNECT in time (slow), TLS or a certificate ' +
      'that failed, HTTP that may not become a WebSocket.',
    series: each(
      'reason',
      'mqtt-turned-away',
      'connections',
      'handshakes',
      'address-connections',
      'address-handshakes',
      'address-rate',
      'slow',
      'tls',
      'upgrade',
    ),
  },
  {
    name: 'fluxmq_mqtt_connected_total',
    kind: 'counter',
    help: 'MQTT clients whose CONNECT was granted.',
    series: of('mqtt/connected'),
  },
  {
    name: 'fluxmq_mqtt_publishes_total',
    kind: 'counter',
    help: 'PUBLISH packets, from clients (in) and to clients (out, repeated ones included).',
    series: each('direction', 'mqtt', 'in', 'out'),
  },
  {
    name: 'fluxmq_mqtt_refused_total',
    kind: 'counter',
    help: 'Publishes of MQTT clients that were refused.',
    series: of('mqtt/refused'),
  },
  {
    name: 'fluxmq_mqtt_dropped_total',
    kind: 'counter',
    help:
      'Deliveries that a client did not get: at QoS 0 because it reads too slowly, or because ' +
      'they are larger than it takes.',
    series: each('reason', 'mqtt-dropped', 'slow', 'too-large'),
  },
  {
    name: 'fluxmq_mqtt_protocol_errors_total',
    kind: 'counter',
    help: 'Connections that ended because their client broke the protocol.',
    series: of('mqtt/protocol-errors'),
  },
  ...ACCESS_METRICS,
  {
    name: 'fluxmq_sessions',
    kind: 'gauge',
    help: 'Sessions in memory: of connected clients, and what is not in the log of others.',
    series: of('mqtt/sessions'),
  },
  ...BROKER_METRICS,
  {
    name: 'fluxmq_shard_up',
    kind: 'gauge',
    help: '1 if the thread of the shards answered in time; without it their series are missing.',
    series: of('shard/up'),
  },
  {
    name: 'fluxmq_enqueued_total',
    kind: 'counter',
    help: 'Messages appended to queues, counted once for each queue.',
    series: of('messages/enqueued'),
  },
  {
    name: 'fluxmq_delivered_total',
    kind: 'counter',
    help: 'Deliveries to consumers of queues, repeated ones included.',
    series: of('deliveries/count'),
  },
  {
    name: 'fluxmq_settled_total',
    kind: 'counter',
    help:
      'Settlements by their outcome: acknowledged (completed), handed back or timed out ' +
      '(requeued), rejected or out of attempts (discarded).',
    series: each('outcome', 'messages', 'completed', 'requeued', 'discarded'),
  },
  {
    name: 'fluxmq_left_total',
    kind: 'counter',
    help:
      'Messages that left a queue although nobody settled them: by their time to live (expired), ' +
      'or because it was full (dropped). What retention removes is not counted.',
    series: each('reason', 'messages', 'expired', 'dropped'),
  },
  {
    name: 'fluxmq_dead_lettered_total',
    kind: 'counter',
    help: 'Messages that reached a dead-letter queue.',
    series: of('messages/dead-lettered'),
  },
  {
    name: 'fluxmq_delayed_messages',
    kind: 'gauge',
    help: 'Messages whose delay is not over.',
    series: of('messages/delayed'),
  },
  {
    name: 'fluxmq_outbox_open',
    kind: 'gauge',
    help: 'Messages on their way from one queue to another: dead letters, moves, delayed ones.',
    series: of('outbox/open'),
  },
  {
    name: 'fluxmq_outbox_total',
    kind: 'counter',
    help:
      'What became of messages in the outbox: transferred; refused by a full queue, and tried ' +
      'again; skipped for good.',
    series: each('outcome', 'outbox', 'transferred', 'refused', 'skipped'),
  },
  {
    name: 'fluxmq_timers_fired_total',
    kind: 'counter',
    help: 'Timers of messages and groups that fired.',
    series: of('timers/fired'),
  },
  {
    name: 'fluxmq_timers_behind_seconds',
    kind: 'gauge',
    help: 'How long the next timer has been due; 0 if none is.',
    series: of('timers/due-ms'),
    scale: MILLIS,
  },
  {
    name: 'fluxmq_consumers',
    kind: 'gauge',
    help: 'Consumers of queues.',
    series: of('deliveries/consumers'),
  },
  {
    name: 'fluxmq_alarms',
    kind: 'gauge',
    help: 'What is wrong and needs a person, by kind (see operations.md).',
    series: each('kind', 'alarms', ...ALARM_KINDS),
  },
  {
    name: 'fluxmq_written_bytes_total',
    kind: 'counter',
    help:
      'Bytes written to the disk: entries of the log, zeros ahead of them (prewritten), runs, ' +
      'records at checkpoints.',
    series: each('kind', 'bytes', 'log', 'prewritten', 'runs', 'records'),
  },
  {
    name: 'fluxmq_log_appends_total',
    kind: 'counter',
    help: 'Entries appended to the log; each holds many commands.',
    series: of('log/appends'),
  },
  {
    name: 'fluxmq_log_bytes',
    kind: 'gauge',
    help: 'Bytes of disk that the log takes.',
    series: of('log/bytes'),
  },
  {
    name: 'fluxmq_log_segments',
    kind: 'gauge',
    help: 'Files of the log.',
    series: of('log/segments'),
  },
  {
    name: 'fluxmq_runs',
    kind: 'gauge',
    help: 'Files of runs.',
    series: of('runs/count'),
  },
  {
    name: 'fluxmq_runs_bytes',
    kind: 'gauge',
    help: 'Bytes of disk that runs take.',
    series: of('runs/bytes'),
  },
  {
    name: 'fluxmq_runs_wanted_messages',
    kind: 'gauge',
    help: 'Messages in runs that are still wanted, as of the last count.',
    series: of('runs/wanted'),
  },
  {
    name: 'fluxmq_spilled_messages_total',
    kind: 'counter',
    help: 'Messages that were written from the log into runs.',
    series: of('spill/messages'),
  },
  {
    name: 'fluxmq_runs_read_bytes_total',
    kind: 'counter',
    help: 'Bytes read from runs.',
    series: of('runs/bytes-read'),
  },
  {
    name: 'fluxmq_runs_removed_total',
    kind: 'counter',
    help: 'Runs that were removed because nothing in them was wanted any more.',
    series: of('runs/dropped'),
  },
  {
    name: 'fluxmq_spills_total',
    kind: 'counter',
    help: 'Parts of the log that left the window.',
    series: of('spill/count'),
  },
  {
    name: 'fluxmq_spill_last_seconds',
    kind: 'gauge',
    help: 'How long the last spill took.',
    series: of('spill/last-ms'),
    scale: MILLIS,
  },
  {
    name: 'fluxmq_space_tasks_stopped_total',
    kind: 'counter',
    help: 'Spills and rewritings of runs that a full disk ended; they begin again later.',
    series: of('spill/disk-full'),
  },
  {
    name: 'fluxmq_runs_rewritten_bytes_total',
    kind: 'counter',
    help: 'Bytes of runs that were written again to merge them or to give space back.',
    series: of('runs/rewritten-bytes'),
  },
  {
    name: 'fluxmq_spill_late_total',
    kind: 'counter',
    help: 'How often the log came to twice its window: publishes wait then where this node leads.',
    series: of('spill/late'),
  },
  {
    name: 'fluxmq_disk_free_bytes',
    kind: 'gauge',
    help: 'Free bytes on the disk of the data directory, as last looked at.',
    series: of('disk/free'),
  },
  {
    name: 'fluxmq_disk_inside_reserve',
    kind: 'gauge',
    help: '1 while publishes into queues are refused because the disk is nearly full.',
    series: of('disk/inside-reserve'),
  },
  {
    name: 'fluxmq_uncommitted_bytes',
    kind: 'gauge',
    help: 'Bytes that wait for the disk.',
    series: of('proposals/uncommitted-bytes'),
  },
  {
    name: 'fluxmq_applied_commands_total',
    kind: 'counter',
    help: 'Commands that the state machine applied.',
    series: of('apply/commands'),
  },
  {
    name: 'fluxmq_apply_seconds_total',
    kind: 'counter',
    help: 'Time that the shard worked: applying commands and handing out deliveries.',
    series: of('apply/busy-ms'),
    scale: MILLIS,
  },
  {
    name: 'fluxmq_checkpoints_total',
    kind: 'counter',
    help: 'Checkpoints that were written.',
    series: of('checkpoint/count'),
  },
  {
    name: 'fluxmq_checkpoint_last_seconds',
    kind: 'gauge',
    help: 'How long the last checkpoint took.',
    series: of('checkpoint/last-ms'),
    scale: MILLIS,
  },
  {
    name: 'fluxmq_records_resident',
    kind: 'gauge',
    help: 'Records of the state that are in memory.',
    series: of('records/resident'),
  },
  {
    name: 'fluxmq_cached_bytes',
    kind: 'gauge',
    help: 'Bytes of the newest part of the log that are in memory.',
    series: of('payloads/cached-bytes'),
  },
  ...LIMIT_METRICS,
  ...RAFT_METRICS,
  ...PEER_METRICS,
  {
    name: 'fluxmq_event_loop_busy_seconds_total',
    kind: 'counter',
    help: 'Time that a thread was not waiting. Near 1 s a second it is the bottleneck.',
    series: each('thread', 'thread-busy', 'main', 'shards'),
    scale: MILLIS,
  },
  {
    name: 'fluxmq_event_loop_delay_seconds',
    kind: 'gauge',
    help: 'How late the timers of a thread were over the last ten seconds.',
    series: ['main', 'shards'].flatMap((thread) =>
      ['p50', 'p99', 'max'].map((part) => ({
        from: `thread-delay/${thread}/${part}`,
        labels: { thread, part },
      })),
    ),
    scale: MILLIS,
  },
  {
    name: 'fluxmq_process_resident_bytes',
    kind: 'gauge',
    help: 'Memory of the process that is in RAM.',
    series: of('process/resident-bytes'),
  },
  {
    name: 'fluxmq_process_heap_bytes',
    kind: 'gauge',
    help: 'Heap of the main thread that is in use.',
    series: of('process/heap-bytes'),
  },
  {
    name: 'fluxmq_process_cpu_seconds_total',
    kind: 'counter',
    help: 'CPU time of the process, all threads.',
    series: of('process/cpu-ms'),
    scale: MILLIS,
  },
  {
    name: 'fluxmq_uptime_seconds',
    kind: 'gauge',
    help: 'Since the start of the process.',
    series: of('process/uptime-ms'),
    scale: MILLIS,
  },
];

/** Of queues and groups: `prefix` and their names behind it, with `SEPARATOR` between. */
export interface NamedRow {
  readonly name: string;
  readonly help: string;
  readonly prefix: string;
}

export const QUEUE_METRICS: readonly NamedRow[] = [
  {
    name: 'fluxmq_queue_depth_messages',
    help:
      'Messages of a queue that are wanted: of its group with most unsettled ones, or, without a ' +
      'group, all that are kept.',
    prefix: `depth${SEPARATOR}`,
  },
  {
    name: 'fluxmq_queue_leaving_messages',
    help: 'Messages of a queue on their way to another one.',
    prefix: `leaving${SEPARATOR}`,
  },
];

export const GROUP_METRICS: readonly NamedRow[] = [
  {
    name: 'fluxmq_group_lag_messages',
    help: 'Messages that a group has not settled.',
    prefix: `lag${SEPARATOR}`,
  },
  {
    name: 'fluxmq_group_held_messages',
    help: 'Messages that consumers of a group hold now.',
    prefix: `held${SEPARATOR}`,
  },
  {
    name: 'fluxmq_group_consumers',
    help: 'Consumers of a group.',
    prefix: `members${SEPARATOR}`,
  },
];

/** Sums of those that have no series of their own. */
export const OTHERS = {
  queues: {
    name: 'fluxmq_other_queues',
    help: 'Queues without series of their own (`server.ops.max_queues`).',
  },
  depth: {
    name: 'fluxmq_other_queues_depth_messages',
    help: 'Messages in all queues without series of their own.',
  },
  lag: {
    name: 'fluxmq_other_groups_lag_messages',
    help: 'Messages that the groups of a queue without series of their own have not settled.',
  },
} as const;

export const WRITE_SECONDS = {
  name: 'fluxmq_log_write_seconds',
  help: 'How long writes of the log took, each with its sync; of large ones the sync alone.',
} as const;
