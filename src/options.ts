/**
 * From configuration keys to the options of each part: the one place where a key gets its meaning.
 * Every key is used here, and changes what comes out; a test holds it. Pure.
 */

import { join, resolve } from 'node:path';
import { ADMIN_DEFAULTS } from './admin/limits.ts';
import type { AdminServerOptions } from './admin/server.ts';
import { CATCH_ALL_QUEUE, type Config, type QueueConfig, catchAllQueue } from './config/config.ts';
import type { BrokerOptions } from './broker/broker.ts';
import { DEFAULT_LIMITS, type QueueDefinition } from './machine/definitions.ts';
import type { MqttListenerOptions } from './protocol/mqtt/listener.ts';
import type { LoggerOptions } from './telemetry/pino-logger.ts';

/** What the thread of the shards needs: plain data, it crosses to a worker as it is. */
export interface ShardSettings {
  readonly node: string;
  readonly dataDirectory: string;
  readonly thread: 'worker' | 'main';
  /** The queues of the configuration, the catch-all last. */
  readonly queues: readonly QueueDefinition[];
  readonly ackTimeoutMs: number;
  readonly checkpointBytes: number;
  readonly checkpointLogBytes: number;
  readonly checkpointIntervalMs: number;
  /** As it is stored, with topic and properties. */
  readonly maxMessageBytes: number;
  readonly cacheBytes: number;
  readonly maxUncommittedBytes: number;
  readonly storage: StorageSettings;
  readonly log: LogSettings;
}

export interface StorageSettings {
  readonly segmentBytes: number;
  readonly indexIntervalBytes: number;
  readonly syncMode: 'prewritten-dsync' | 'fdatasync';
  readonly prewriteBytes: number;
  readonly idleMarkMs: number;
  readonly maxWriteBytes: number;
  /** Absent: a share of the disk. */
  readonly reserveBytes?: number;
}

/** In the data directory. */
const ADMIN_SOCKET = 'admin.sock';

/** What a stored message may have beside its payload. */
const PROPERTIES_BYTES = 65_536;

export type LogSettings = Omit<LoggerOptions, 'write'>;

export function logSettings(config: Config, terminal: boolean): LogSettings {
  const { level, format } = config.log;
  const auto = terminal ? 'text' : 'json';
  return { level, format: format === 'auto' ? auto : format, node: config.node.id };
}

export function brokerOptions({ server, retained }: Config): BrokerOptions {
  return {
    maxTopicLevels: server.mqtt.max_topic_levels,
    maxRetainedMessages: retained.max_messages,
    maxRetainedBytes: retained.max_bytes,
  };
}

/** One for each address that is not `off`. */
export function mqttListeners({ server, sessions }: Config): MqttListenerOptions[] {
  const { tcp, ...mqtt } = server.mqtt;
  if (tcp.addr === undefined) return [];
  const options: MqttListenerOptions = {
    host: tcp.addr.host,
    port: tcp.addr.port,
    mqtt: {
      maxConnections: tcp.max_connections,
      connectTimeoutMs: tcp.connect_timeout,
      maxPacketSize: mqtt.max_packet_size,
      maxQos: mqtt.max_qos === 0 || mqtt.max_qos === 1 ? mqtt.max_qos : 2,
      retainAvailable: mqtt.retain_available,
      receiveMaximum: mqtt.receive_maximum,
      topicAliasMaximum: mqtt.topic_alias_maximum,
      keepAliveMaximumSeconds: mqtt.keep_alive_maximum / 1000,
      maxClientIdLength: mqtt.max_client_id_length,
      maxInflight: mqtt.max_inflight,
      maxBufferedBytes: mqtt.max_buffered,
      maxSubscriptions: mqtt.max_subscriptions,
      sessionExpiryMaximumSeconds: sessions.expiry_maximum / 1000,
      maxSessions: sessions.max_sessions,
      maxQueuedMessages: sessions.max_queued_messages,
      maxQueuedBytes: sessions.max_queued_bytes,
      maxTotalQueuedBytes: sessions.max_total_queued_bytes,
    },
  };
  return [options];
}

/** Undefined where there is none. `directory` is that of the data, absolute. */
export function adminOptions({ admin }: Config, directory: string): AdminServerOptions | undefined {
  if (admin.socket === 'off') return undefined;
  const place =
    admin.socket === 'auto'
      ? { path: join(directory, ADMIN_SOCKET), ownFolder: true }
      : { path: resolve(admin.socket), ownFolder: false };
  return { place, limits: ADMIN_DEFAULTS };
}

/** `directory` is absolute; `terminal` says whether standard error is one. */
export function shardSettings(config: Config, directory: string, terminal: boolean): ShardSettings {
  const { shards, storage, queues, node } = config;
  return {
    node: node.id,
    dataDirectory: directory,
    thread: shards.thread,
    queues: queueDefinitions(queues),
    ackTimeoutMs: shards.ack_timeout,
    checkpointBytes: shards.checkpoint_bytes,
    checkpointLogBytes: shards.checkpoint_log_bytes,
    checkpointIntervalMs: shards.checkpoint_interval,
    maxMessageBytes: shards.max_message_size + PROPERTIES_BYTES,
    cacheBytes: shards.cache_size,
    maxUncommittedBytes: shards.max_uncommitted_bytes,
    storage: {
      segmentBytes: storage.segment_size,
      indexIntervalBytes: storage.index_interval,
      syncMode: storage.sync_mode,
      prewriteBytes: storage.prewrite_size,
      idleMarkMs: storage.idle_mark,
      maxWriteBytes: storage.max_write_size,
      ...(storage.reserve === undefined ? {} : { reserveBytes: storage.reserve }),
    },
    log: logSettings(config, terminal),
  };
}

function queueDefinitions(queues: Config['queues']): QueueDefinition[] {
  const definitions = queues.map((queue) => definitionOf(queue));
  if (queues.some(({ name }) => name === CATCH_ALL_QUEUE)) return definitions;
  return [...definitions, definitionOf(catchAllQueue())];
}

/** The definition that the keys of one queue ask for. */
export function definitionOf(queue: QueueConfig): QueueDefinition {
  const own = queue.name === CATCH_ALL_QUEUE ? '$queue/#' : `$queue/${queue.name}/#`;
  return {
    name: queue.name,
    type: queue.type,
    topics: queue.topics ?? [own],
    limits: {
      ...DEFAULT_LIMITS,
      retry: {
        minMs: queue.retry.min,
        maxMs: queue.retry.max,
        multiplier: queue.retry.multiplier,
        jitter: queue.retry.jitter,
      },
      deliveryLimit: queue.delivery_limit,
      visibilityTimeoutMs: queue.visibility_timeout,
      maxUnsettledSpan: queue.max_unsettled_span,
    },
  };
}
