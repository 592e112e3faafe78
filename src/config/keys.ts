/**
 * Every configuration key: the one source of the check, of `Config`, of the JSON Schema and of
 * docs/configuration.md. Each key changes behaviour; `src/options.ts` hands it to the part that it
 * means.
 */

import { admin } from './admin-keys.ts';
import {
  QUEUE_NAME_RULE,
  QUEUE_TOPIC_RULE,
  queueNameProblem,
  queueTopicProblem,
} from './queue-names.ts';
import {
  type ValueOf,
  address,
  choice,
  duration,
  fraction,
  onOff,
  section,
  sections,
  size,
  sizeOrAuto,
  text,
  texts,
  whole,
} from './schema.ts';

const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NODE_ID_RULE = '1 to 64 letters, digits, `.`, `_` and `-`, the first a letter or digit';

const node = section('Who this broker is.', {
  id: text({
    about:
      'The name of this broker in logs, and of the stream in which it numbers its publishes. ' +
      'Keep it for as long as the data directory lives.',
    fallback: 'node-1',
    rule: NODE_ID_RULE,
    check: (id) => (NODE_ID.test(id) ? undefined : `must be ${NODE_ID_RULE.replaceAll('`', "'")}`),
  }),
});

const mqttTcp = section('MQTT over TCP: 3.1.1 and 5.0 on one port.', {
  addr: address({
    about:
      'Where to listen: `host:port`, or `off`. Without a host every interface is ' +
      'meant; port 0 lets the system choose. Outside loopback only with `allow_anonymous: true`.',
    fallback: '127.0.0.1:1883',
  }),
  max_connections: whole({
    about: 'Connections at a time; further ones are closed at once.',
    fallback: 10_000,
    min: 1,
    max: 1_000_000,
  }),
  connect_timeout: duration({
    about: 'From accepting a connection to its whole CONNECT packet.',
    fallback: '10s',
    min: '100ms',
    max: '10m',
  }),
});

const mqtt = section('What MQTT clients may do, and what they cost at most.', {
  tcp: mqttTcp,
  max_packet_size: size({
    about: 'Largest packet that a client may send, with its header.',
    fallback: '2MiB',
    min: '1KiB',
    max: '268435460B',
  }),
  max_qos: whole({
    about: 'Highest QoS that a client may publish with; above it the client is disconnected.',
    fallback: 2,
    min: 0,
    max: 2,
  }),
  retain_available: onOff({
    about: 'Whether retained messages are taken.',
    fallback: true,
  }),
  receive_maximum: whole({
    about:
      'QoS 1 and 2 publishes of one connection that may wait for their acknowledgement. More of ' +
      'them from a 5.0 client is an error; from a 3.1.1 client they wait in its socket.',
    fallback: 1024,
    min: 1,
    max: 65_535,
  }),
  topic_alias_maximum: whole({
    about: 'Topic aliases for each connection and direction; 0 is none.',
    fallback: 64,
    min: 0,
    max: 65_535,
  }),
  keep_alive_maximum: duration({
    about:
      'Longest keep-alive; 0s is no bound. A 5.0 client is told; a 3.1.1 client, which cannot be ' +
      'told, is held to it only if it asks for none.',
    fallback: '0s',
    min: '0s',
    max: '65535s',
    step: '1s',
  }),
  max_client_id_length: whole({
    about: 'Longest client id, in UTF-16 units.',
    fallback: 256,
    min: 23,
    max: 65_535,
  }),
  max_inflight: whole({
    about:
      'QoS 1 and 2 deliveries that one client may hold unacknowledged; its own receive maximum ' +
      'is a second bound.',
    fallback: 128,
    min: 1,
    max: 65_535,
  }),
  max_buffered: size({
    about:
      'Bytes that may wait for the socket of one client: above it QoS 0 deliveries are dropped ' +
      'and the client is not read; far below it QoS 1 and 2 already wait in the session.',
    fallback: '4MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  max_subscriptions: whole({
    about: 'Subscriptions of one session.',
    fallback: 1000,
    min: 1,
    max: 1_000_000,
  }),
  max_topic_levels: whole({
    about: 'Levels of a topic name or filter.',
    fallback: 128,
    min: 1,
    max: 65_535,
  }),
});

const sessions = section('Sessions that outlive their connection (in memory).', {
  expiry_maximum: duration({
    about:
      'Longest session expiry, also for persistent sessions of 3.1.1; 4294967295s is for ever.',
    fallback: '7d',
    min: '0s',
    max: '4294967295s',
    step: '1s',
  }),
  max_sessions: whole({
    about: 'How many sessions may outlive their connection.',
    fallback: 10_000,
    min: 0,
    max: 10_000_000,
  }),
  max_queued_messages: whole({
    about: 'QoS 1 and 2 messages that wait in one session; further ones are dropped.',
    fallback: 1000,
    min: 0,
    max: 10_000_000,
  }),
  max_queued_bytes: size({
    about: 'Bytes of the messages that wait in one session, with a fixed share for each.',
    fallback: '8MiB',
    min: '0B',
    max: '16GiB',
  }),
  max_total_queued_bytes: size({
    about: 'Bytes that wait in all sessions together.',
    fallback: '256MiB',
    min: '0B',
    max: '1TiB',
  }),
});

const retained = section('Retained messages (in memory).', {
  max_messages: whole({
    about: 'How many topics may have a retained message.',
    fallback: 100_000,
    min: 0,
    max: 10_000_000,
  }),
  max_bytes: size({
    about: 'Bytes of all retained messages, with a fixed share for each.',
    fallback: '256MiB',
    min: '0B',
    max: '1TiB',
  }),
});

const retry = section('When a message that a consumer handed back is delivered again.', {
  min: duration({ about: 'The first backoff.', fallback: '1s', min: '1ms', max: '30d' }),
  max: duration({
    about: 'The longest backoff; at least `min`.',
    fallback: '60s',
    min: '1ms',
    max: '30d',
  }),
  multiplier: fraction({
    about: 'By how much each backoff is longer than the one before.',
    fallback: 2,
    min: 1,
    max: 100,
  }),
  jitter: fraction({
    about: 'By up to this share a backoff is lengthened, never beyond `max`.',
    fallback: 0.2,
    min: 0,
    max: 1,
  }),
});

const queue = section('One durable queue.', {
  name: text({
    about: 'Publish and subscribe to it as `$queue/<name>`.',
    fallback: '',
    rule: QUEUE_NAME_RULE,
    check: queueNameProblem,
  }),
  type: choice({
    about: 'A message of a `classic` queue is kept until a consumer settled it.',
    choices: ['classic'],
    later: ['ephemeral', 'stream'],
    fallback: 'classic',
  }),
  topics: texts({
    about: 'A publish whose topic matches one of these is stored once.',
    rule: QUEUE_TOPIC_RULE,
    otherwise: '`$queue/<name>/#`, which matches `$queue/<name>` too',
    most: 64,
    check: queueTopicProblem,
  }),
  retry,
  delivery_limit: whole({
    about: 'Attempts after which a message waits the longest backoff before each further one.',
    fallback: 20,
    min: 1,
    max: 1_000_000,
  }),
  visibility_timeout: duration({
    about: 'How long a consumer may hold a message before another one gets it.',
    fallback: '30s',
    min: '1ms',
    max: '30d',
  }),
  max_unsettled_span: whole({
    about:
      'How far deliveries may run ahead of the oldest unsettled message, in messages; beyond it ' +
      'only redeliveries go out.',
    fallback: 4_194_304,
    min: 1,
    max: 4_194_304,
  }),
});

const queues = sections({
  about:
    'The durable queues. A queue `mqtt` always exists and takes every `$queue/` name that no ' +
    'other queue has; name it here to change its limits. A queue that is taken out of the file ' +
    'stays, with its messages.',
  each: queue,
  fallback: [{ name: 'orders' }],
  most: 10_000,
});

const shards = section('The part that stores and delivers messages of queues.', {
  thread: choice({
    about: 'Where it runs: a `worker` thread of its own, or the `main` thread.',
    choices: ['worker', 'main'],
    fallback: 'worker',
  }),
  ack_timeout: duration({
    about: 'A publish that is not stored within this time is answered with a refusal.',
    fallback: '10s',
    min: '100ms',
    max: '10m',
  }),
  checkpoint_bytes: size({
    about: 'A checkpoint is written after this many bytes of changed records.',
    fallback: '16MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  checkpoint_log_bytes: size({
    about: 'A checkpoint is written after this many bytes of log: what a restart has to read.',
    fallback: '256MiB',
    min: '1MiB',
    max: '16GiB',
  }),
  checkpoint_interval: duration({
    about: 'A checkpoint is written after this time, if anything changed.',
    fallback: '1m',
    min: '100ms',
    max: '1d',
  }),
  max_message_size: size({
    about: 'Largest message that a queue takes; topic and properties have 64KiB on top.',
    fallback: '1MiB',
    min: '1KiB',
    max: '8MiB',
  }),
  cache_size: size({
    about: 'Memory for the newest part of the log, from which consumers that keep up are served.',
    fallback: '64MiB',
    min: '1MiB',
    max: '16GiB',
  }),
  max_uncommitted_bytes: size({
    about: 'Bytes that may wait for the disk; above it publishers are not read.',
    fallback: '64MiB',
    min: '1MiB',
    max: '1GiB',
  }),
});

const storage = section('The log on the disk.', {
  segment_size: size({
    about: 'A file of the log is this long; space comes back by whole files.',
    fallback: '64MiB',
    min: '1MiB',
    max: '1GiB',
  }),
  index_interval: size({
    about: 'One entry of the sparse index for each so many bytes of log.',
    fallback: '4KiB',
    min: '512B',
    max: '1MiB',
  }),
  sync_mode: choice({
    about:
      'How bytes reach stable storage: `prewritten-dsync` writes into prewritten files opened ' +
      'with O_DSYNC; `fdatasync` appends and syncs.',
    choices: ['prewritten-dsync', 'fdatasync'],
    fallback: 'prewritten-dsync',
  }),
  prewrite_size: size({
    about: 'Zeros are written ahead in pieces of this size.',
    fallback: '1MiB',
    min: '64KiB',
    max: '64MiB',
  }),
  idle_mark: duration({
    about: 'After so long without a write the end of the log is marked as proved; 0s is never.',
    fallback: '100ms',
    min: '0s',
    max: '1m',
  }),
  max_write_size: size({
    about: 'Most bytes that are written and synced at once.',
    fallback: '1MiB',
    min: '64KiB',
    max: '16MiB',
  }),
  reserve: sizeOrAuto({
    about: 'Free space on the disk below which publishes into queues are refused.',
    auto: '5% of the disk or 1GiB, the smaller one, and at least two segments',
    min: '2MiB',
    max: '1TiB',
  }),
});

const log = section('What the broker tells about itself, on standard error.', {
  level: choice({
    about:
      '`info` tells the life of the broker and each connect and disconnect with its reason; ' +
      'never payloads or secrets.',
    choices: ['debug', 'info', 'warn', 'error', 'silent'],
    fallback: 'info',
  }),
  format: choice({
    about: '`auto` is `text` on a terminal and `json` otherwise.',
    choices: ['auto', 'json', 'text'],
    fallback: 'auto',
  }),
});

export const KEYS = section('FluxMQ', {
  node,
  data_dir: text({
    about: 'Where the data is, relative to the working directory. One broker at a time.',
    fallback: 'data',
    rule: 'a path',
    check: (path) =>
      path === '' || path.includes('\0') ? 'is not the path of a folder' : undefined,
  }),
  allow_anonymous: onOff({
    about:
      'Whether listeners outside loopback are allowed. There are no users and no rights in this ' +
      'version: who reaches a listener may do everything.',
    fallback: false,
  }),
  server: section('The listeners.', { mqtt }),
  admin,
  sessions,
  retained,
  queues,
  shards,
  storage,
  log,
});

export type Config = ValueOf<typeof KEYS>;
export type QueueConfig = Config['queues'][number];

/** Keys that later versions will have: refused by name, so that nobody believes they work. */
const LATER = [
  'auth',
  'cluster',
  'hooks',
  'metrics',
  'security',
  'telemetry',
  'tracing',
  'users',
  'queues.auto_create',
  'queues[].dlq',
  'queues[].retention',
  'queues[].default_group',
  'queues[].message_ttl',
  'queues[].max_length',
  'queues[].capture',
  'server.amqp',
  'server.amqp091',
  'server.amqp10',
  'server.coap',
  'server.http',
  'server.mqtt.tcp.tls',
  'server.mqtt.ws',
  'shards.count',
  'storage.window',
] as const;

export function isLaterKey(key: string): boolean {
  const plain = key.replaceAll(/\[\d+\]/g, '[]');
  return LATER.some((later) => plain === later || plain.startsWith(`${later}.`));
}
