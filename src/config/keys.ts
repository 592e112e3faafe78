/**
 * Every configuration key: the one source of the check, of `Config`, of the JSON Schema and of
 * docs/configuration.md. Each key changes behaviour; `src/options.ts` hands it to the part that it
 * means.
 */

import { access } from './access-keys.ts';
import { admin } from './admin-keys.ts';
import { cluster } from './cluster-keys.ts';
import { NODE_NAME_RULE, nodeIdProblem } from './node-names.ts';
import { autoCreate, queues } from './queue-keys.ts';
import { type ValueOf, choice, duration, onOff, section, size, text, whole } from './schema.ts';
import { server } from './server-keys.ts';
import { shards, storage } from './shard-keys.ts';

const node = section('Who this broker is.', {
  id: text({
    about:
      'The name of this broker in logs, and of the stream in which it numbers its publishes. ' +
      'Keep it for as long as the data directory lives.',
    fallback: 'node-1',
    rule: NODE_NAME_RULE,
    check: nodeIdProblem,
  }),
});

const sessions = section('MQTT sessions: those that outlive their connection are in the log.', {
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
    about:
      'QoS 1 and 2 messages that one session may have to get, those that are sent and not ' +
      'acknowledged included.',
    fallback: 1000,
    min: 1,
    max: 10_000_000,
  }),
  max_queued_bytes: size({
    about: 'Their bytes.',
    fallback: '8MiB',
    min: '1KiB',
    max: '16GiB',
  }),
  overflow: choice({
    about:
      'What becomes of a message for a session that is full and outlives its connection: ' +
      '`drop-head` takes it and lets the oldest one go, `reject-publish` refuses its publisher. ' +
      'One that ends with its connection drops what it has no room for.',
    choices: ['drop-head', 'reject-publish'],
    fallback: 'drop-head',
  }),
  max_total_queued_bytes: size({
    about:
      'Bytes that wait in memory in all sessions together: for clients that do not keep up, and ' +
      'retained ones. What does not fit is dropped.',
    fallback: '256MiB',
    min: '0B',
    max: '1TiB',
  }),
});

const retained = section(
  'Retained messages: stored, and all of them in memory too, on each node.',
  {
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
  },
);

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
  cluster,
  data_dir: text({
    about: 'Where the data is, relative to the working directory. One broker at a time.',
    fallback: 'data',
    rule: 'a path',
    check: (path) =>
      path === '' || path.includes('\0') ? 'is not the path of a folder' : undefined,
  }),
  allow_anonymous: onOff({
    about:
      'Whether clients that do not say who they are come in from other machines. Without ' +
      '`access.rules_file`: listeners outside loopback are allowed, and whoever reaches one may ' +
      'do everything. With it: clients without a user name and a certificate come in, and may do ' +
      'what rules allow to `anonymous` or `*`.',
    fallback: false,
  }),
  access,
  server,
  admin,
  sessions,
  retained,
  queues,
  auto_create: autoCreate,
  shards,
  storage,
  log,
});

export type Config = ValueOf<typeof KEYS>;
export type QueueConfig = Config['queues'][number];

/** Keys that later versions will have: refused by name, so that nobody believes they work. */
const LATER = [
  'auth',
  'cluster.etcd',
  'hooks',
  'security',
  'telemetry',
  'tracing',
  'server.amqp',
  'server.amqp091',
  'server.amqp10',
  'server.coap',
  'server.http',
  'shards.count',
] as const;

/** Keys of the FluxMQ in Go that have another name here: told by it. */
const ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ['acl', 'access.rules_file'],
  ['users', 'access.users_file'],
  ['broker', 'shards.max_message_size, retained.* and queues[].retry'],
  ['queue_manager', 'queues and shards'],
  ['session', 'sessions'],
  ['queues[].limits', 'max_length and message_ttl'],
  ['queues[].primary_group', 'groups'],
  ['queues[].retry.initial_backoff', 'retry.min'],
  ['queues[].retry.max_backoff', 'retry.max'],
  ['queues[].retry.max_retries', 'delivery_limit'],
  ['queues[].retention.max_age', 'retention.age'],
  ['queues[].retention.max_length_bytes', 'retention.bytes'],
  ['queues[].retention.max_length_messages', 'retention.messages'],
  ['server.mqtt.tcp.tls', 'server.mqtt.tls, with its files in server.tls'],
  ['server.tcp', 'server.mqtt.tcp'],
  ['server.tcp_addr', 'server.mqtt.tcp.addr'],
  ['server.tcp_max_connections', 'server.mqtt.tcp.max_connections'],
  ['storage.badger_dir', 'data_dir'],
]);

/** What a key is called here that another FluxMQ has. */
export function nameHere(key: string): string | undefined {
  return ELSEWHERE.get(plainKey(key));
}

export function isLaterKey(key: string): boolean {
  const plain = plainKey(key);
  return LATER.some((later) => plain === later || plain.startsWith(`${later}.`));
}

function plainKey(key: string): string {
  return key.replaceAll(/\[\d+\]/g, '[]');
}
