/**
 * From configuration keys to the options of each part: the one place where a key gets its meaning.
 * Every key is used here, and changes what comes out; a test holds it. Pure.
 */

import { join, resolve } from 'node:path';
import { ADMIN_DEFAULTS } from './admin/limits.ts';
import type { AdminServerOptions } from './admin/server.ts';
import {
  CATCH_ALL_QUEUE,
  type Config,
  type QueueConfig,
  catchAllQueue,
  filteredGroupName,
  isDeadLetterQueue,
  queueNameProblem,
  readPosition,
} from './config/config.ts';
import type { BrokerOptions } from './broker/broker.ts';
import type { Position } from './machine/command.ts';
import {
  defaultDeadLetter,
  defaultDefinition,
  defaultLimits,
  defaultTopics,
} from './machine/default-definition.ts';
import type { QueueDefinition, QueueLimits, QueueType } from './machine/definitions.ts';
import type { OpsOptions } from './ops/ops-options.ts';
import type { NetDoorOptions, PerNetwork } from './protocol/doors/net-door.ts';
import type { ServerTlsSettings } from './protocol/doors/server-tls.ts';
import type { TlsOptions } from './protocol/doors/tls-way.ts';
import type { WebSocketOptions } from './protocol/doors/upgrade.ts';
import type { MqttOptions } from './protocol/mqtt/options.ts';
import type { Scheme } from './protocol/transport.ts';
import type { LoggerOptions } from './telemetry/pino-logger.ts';

/** What the thread of the shards needs: plain data, it crosses to a worker as it is. */
export interface ShardSettings {
  readonly node: string;
  readonly dataDirectory: string;
  readonly thread: 'worker' | 'main';
  /** The queues of the configuration, the catch-all last. */
  readonly queues: readonly QueueDefinition[];
  /** To be made at the start if they are not there. */
  readonly groups: readonly GroupSettings[];
  readonly client: ClientSettings;
  readonly checkpointBytes: number;
  readonly checkpointLogBytes: number;
  readonly checkpointIntervalMs: number;
  /** As it is stored, with topic and properties. */
  readonly maxMessageBytes: number;
  readonly cacheBytes: number;
  readonly readCacheBytes: number;
  readonly locationBytes: number;
  readonly maxResidentRecords: number;
  readonly maxUncommittedBytes: number;
  /** Of all queues in memory together. */
  readonly ephemeralBytes: number;
  readonly maxOutstandingBytes: number;
  readonly runs: RunSettings;
  readonly storage: StorageSettings;
  readonly log: LogSettings;
  readonly shards: ShardsSettings;
  /** Absent: this node is alone. */
  readonly peers?: PeerSettings;
}

/** How many shards there are to be in the whole cluster, and on how many nodes a new one lies. */
export interface ShardsSettings {
  readonly count: number;
  readonly replicas: number;
}

/** The other nodes, and how they are reached. */
export interface PeerSettings {
  readonly cluster: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** All nodes, this one too. */
  readonly nodes: readonly { readonly id: string; readonly host: string; readonly port: number }[];
  /** Paths of files in PEM, absolute; undefined: nothing is protected. */
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string } | undefined;
  readonly backlogBytes: number;
  /** Of each shard, while it commits: see `RaftNodeOptions`. */
  readonly catchUpBytesPerSecond: number;
  /** A node that does not lead refuses publishes. */
  readonly rejects: boolean;
  /** Streams are read from the replica of the node that their consumer is at. */
  readonly readsReplica: boolean;
  readonly reattachGraceMs: number;
  /** So long a start waits for a leader of each shard behind the first. */
  readonly startGraceMs: number;
  /** It comes to a cluster that runs: it is no founder. */
  readonly joins: boolean;
}

/** An explicit group of the configuration. */
export interface GroupSettings {
  readonly queue: string;
  /** With `@` and its filter, if it has one. */
  readonly name: string;
  readonly filter: string;
  /** Undefined: as the queue's `groupStart` says. */
  readonly start: Position | undefined;
}

/** A door, but for the certificates that all doors with TLS share. */
export type DoorSettings = Omit<NetDoorOptions, 'tls'> & {
  readonly clients?: TlsOptions['clients'];
};

type ListenerKeys = Config['server']['mqtt']['tcp'];

/** The main thread's half of the shard. */
export interface ClientSettings {
  readonly ackTimeoutMs: number;
  readonly windowBytes: number;
  readonly highWaterBytes: number;
  readonly pendingBytesMax: number;
  /** Without topic and properties. */
  readonly payloadBytesMax: number;
  /** Durable sessions that there may be. */
  readonly maxSessions: number;
}

/** What becomes of payloads that outlive their part of the log. */
export interface RunSettings {
  /** So much of the log keeps its payloads; what is older and wanted lies in runs. */
  readonly windowBytes: number;
  readonly windowMessages: number;
  /** Of the time, for rewriting runs of which little is wanted. */
  readonly compactionShare: number;
  readonly blockBytes: number;
  /** Payloads in memory while a run is written. */
  readonly spillBufferBytes: number;
}

/** The log. */
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

export function brokerOptions(config: Config): BrokerOptions {
  const { server, retained } = config;
  const { type, max_queues: maxQueues } = config.auto_create;
  return {
    maxQueues,
    ...(type === 'off' ? {} : { autoQueue: (name) => autoQueue(name, type) }),
    maxTopicLevels: server.mqtt.max_topic_levels,
    maxTopicLength: server.mqtt.max_topic_length,
    maxRetainedMessages: retained.max_messages,
    maxRetainedBytes: retained.max_bytes,
  };
}

/** The dead-letter queue of a queue is made when it is needed, and not by its name. */
function autoQueue(name: string, type: QueueType): QueueDefinition | undefined {
  if (isDeadLetterQueue(name) || queueNameProblem(name) !== undefined) return undefined;
  return defaultDefinition(name, type);
}

/** What MQTT clients may do and cost, through whatever door they came. */
export function mqttSettings({ server, sessions }: Config): Partial<MqttOptions> {
  const { mqtt } = server;
  return {
    maxPacketSize: mqtt.max_packet_size,
    maxQos: mqtt.max_qos === 0 || mqtt.max_qos === 1 ? mqtt.max_qos : 2,
    retainAvailable: mqtt.retain_available,
    wildcardsAvailable: mqtt.wildcard_available,
    sharesAvailable: mqtt.shared_available,
    subscriptionIdentifiersAvailable: mqtt.subscription_identifiers_available,
    responseInformation: mqtt.response_information === 'off' ? '' : mqtt.response_information,
    receiveMaximum: mqtt.receive_maximum,
    topicAliasMaximum: mqtt.topic_alias_maximum,
    keepAliveMaximumSeconds: mqtt.keep_alive_maximum / 1000,
    maxHandshakeBytes: mqtt.max_handshake_bytes,
    maxClientIdLength: mqtt.max_client_id_length,
    maxInflight: mqtt.max_inflight,
    maxBufferedBytes: mqtt.max_buffered,
    maxSubscriptions: mqtt.max_subscriptions,
    maxMessageRate: mqtt.client_rate.messages,
    maxByteRate: mqtt.client_rate.bytes,
    rateBurstMs: mqtt.client_rate.burst,
    onRate: mqtt.client_rate.on_rate,
    sessionExpiryMaximumSeconds: sessions.expiry_maximum / 1000,
    maxQueuedMessages: sessions.max_queued_messages,
    maxQueuedBytes: sessions.max_queued_bytes,
    overflow: sessions.overflow,
    maxTotalQueuedBytes: sessions.max_total_queued_bytes,
  };
}

/** One for each address of MQTT that is not `off`; those with TLS get theirs from the node. */
export function mqttDoors({ server }: Config): DoorSettings[] {
  const { tcp, tls, ws, wss } = server.mqtt;
  return [
    ...doorAt('tcp', 'mqtt', tcp),
    ...doorAt('tls', 'mqtts', tls).map((door) => ({ ...door, clients: tls.client_certificates })),
    ...doorAt('ws', 'ws', ws).map((door) => ({ ...door, webSocket: webSocketOf(ws) })),
    ...doorAt('wss', 'wss', wss).map((door) => ({
      ...door,
      clients: wss.client_certificates,
      webSocket: webSocketOf(wss),
    })),
  ];
}

function doorAt(name: string, scheme: Scheme, keys: ListenerKeys): DoorSettings[] {
  if (keys.addr === undefined) return [];
  const door = {
    key: `server.mqtt.${name}.addr`,
    scheme,
    place: keys.addr,
    maxConnections: keys.max_connections,
    maxArriving: keys.max_handshakes ?? keys.max_connections,
    connectTimeoutMs: keys.connect_timeout,
    perNetwork: perNetworkOf(keys),
  };
  return [door];
}

function perNetworkOf(keys: ListenerKeys): PerNetwork {
  const { max_connections: connections, max_handshakes: handshakes } = keys;
  const { connection_rate: perSecond, connection_burst: burst, ...own } = keys.per_address;
  return {
    maxConnections: own.max_connections ?? nineTenths(connections),
    maxArriving: own.max_handshakes ?? nineTenths(handshakes ?? connections),
    rate: perSecond === 0 ? undefined : { perSecond, burst },
    ipv6Bits: own.ipv6_prefix,
  };
}

/** So that others find a place, whatever one address does. */
function nineTenths(all: number): number {
  return Math.ceil(all * 0.9);
}

function webSocketOf(ws: Config['server']['mqtt']['ws']): WebSocketOptions {
  return {
    path: ws.path,
    origins: ws.origins ?? [],
    maxMessageBytes: ws.max_message_size,
    pingIntervalMs: ws.ping_interval,
  };
}

/** Undefined: no listener has TLS. */
export function serverTlsSettings({ server }: Config): ServerTlsSettings | undefined {
  const { mqtt, tls } = server;
  if (mqtt.tls.addr === undefined && mqtt.wss.addr === undefined) return undefined;
  const file = (path: string): string | undefined => (path === '' ? undefined : resolve(path));
  return {
    cert: resolve(tls.cert),
    key: resolve(tls.key),
    clientCa: file(tls.client_ca),
    crl: (tls.crl ?? []).map((path) => resolve(path)),
    ocspResponse: file(tls.ocsp_response),
    identity: tls.identity,
    minVersion: tls.min_version,
    ciphers: tls.ciphers === '' ? undefined : tls.ciphers,
  };
}

/** How often `$SYS` is told, in milliseconds; 0: never. */
export function systemInterval({ server }: Config): number {
  return server.mqtt.sys_interval;
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

/** Undefined: off. */
export function opsOptions({ server }: Config): OpsOptions | undefined {
  const { addr, ...ops } = server.ops;
  if (addr === undefined) return undefined;
  return {
    host: addr.host,
    port: addr.port,
    maxConnections: ops.max_connections,
    requestTimeoutMs: ops.request_timeout,
    maxQueues: ops.max_queues,
    maxGroups: ops.max_groups,
    liveWithinMs: ops.live_within,
  };
}

/** `directory` is absolute; `terminal` says whether standard error is one. */
export function shardSettings(config: Config, directory: string, terminal: boolean): ShardSettings {
  const { shards, storage, queues, node } = config;
  const peers = peerSettings(config);
  return {
    node: node.id,
    dataDirectory: directory,
    thread: shards.thread,
    queues: queueDefinitions(queues),
    groups: queues.flatMap(groupSettings),
    client: {
      ackTimeoutMs: shards.ack_timeout,
      windowBytes: shards.max_under_way,
      highWaterBytes: shards.high_water,
      pendingBytesMax: shards.max_pending,
      payloadBytesMax: shards.max_message_size,
      maxSessions: config.sessions.max_sessions,
    },
    checkpointBytes: shards.checkpoint_bytes,
    checkpointLogBytes: shards.checkpoint_log_bytes,
    checkpointIntervalMs: shards.checkpoint_interval,
    maxMessageBytes: shards.max_message_size + PROPERTIES_BYTES,
    cacheBytes: shards.cache_size,
    readCacheBytes: shards.read_cache_size,
    locationBytes: shards.location_index_size,
    maxResidentRecords: shards.max_resident_records,
    maxUncommittedBytes: shards.max_uncommitted_bytes,
    ephemeralBytes: shards.ephemeral_size,
    maxOutstandingBytes: shards.max_outstanding_bytes,
    runs: {
      windowBytes: storage.window,
      windowMessages: storage.window_messages,
      compactionShare: storage.compaction.share,
      blockBytes: storage.run_block_size,
      spillBufferBytes: storage.spill_buffer,
    },
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
    shards: { count: shardsOf(config.cluster), replicas: config.cluster.replicas },
    ...(peers === undefined ? {} : { peers }),
  };
}

/** A broker alone, with one shard: that shard has every name, and declares its queues itself. */
export function isOneShard({ peers, shards }: Pick<ShardSettings, 'peers' | 'shards'>): boolean {
  return peers === undefined && shards.count === 1;
}

/** One for each node spreads the leaders over all of them. */
function shardsOf({ shards, peers }: Config['cluster']): number {
  return shards ?? Math.max(1, peers.length);
}

function peerSettings({ cluster }: Config): PeerSettings | undefined {
  const { id, listen, peers, tls } = cluster;
  if (listen === undefined) return undefined;
  return {
    cluster: id,
    listen,
    nodes: peers.map((peer) => ({ id: peer.id, ...peer.addr })),
    tls:
      tls.cert === ''
        ? undefined
        : { cert: resolve(tls.cert), key: resolve(tls.key), ca: resolve(tls.ca) },
    backlogBytes: cluster.max_peer_backlog,
    catchUpBytesPerSecond: cluster.catch_up_rate,
    rejects: cluster.write_policy === 'reject',
    readsReplica: cluster.distribution_mode === 'replicate',
    reattachGraceMs: cluster.reattach_grace,
    startGraceMs: cluster.start_grace,
    joins: cluster.join,
  };
}

function queueDefinitions(queues: Config['queues']): QueueDefinition[] {
  const definitions = queues.map((queue) => queueDefinition(queue));
  if (queues.some(({ name }) => name === CATCH_ALL_QUEUE)) return definitions;
  return [...definitions, queueDefinition(catchAllQueue())];
}

/** What a queue of the configuration is, with every default of its type. */
export function queueDefinition(queue: QueueConfig): QueueDefinition {
  const { name, type } = queue;
  return {
    name,
    type,
    topics: queue.topics ?? defaultTopics(name),
    limits: { ...limitsOf(queue), ...groupLimitsOf(queue), deadLetter: deadLetterOf(queue) },
  };
}

function limitsOf(queue: QueueConfig): Omit<QueueLimits, keyof GroupLimits | 'deadLetter'> {
  const { retry, retention, max_length: length } = queue;
  return {
    retry: {
      minMs: retry.min,
      maxMs: retry.max,
      multiplier: retry.multiplier,
      jitter: retry.jitter,
    },
    deliveryLimit: queue.delivery_limit,
    visibilityTimeoutMs: queue.visibility_timeout,
    maxUnsettledSpan: queue.max_unsettled_span,
    ttlMs: queue.message_ttl,
    maxMessages: length.messages,
    maxBytes: length.bytes,
    overflow: length.overflow,
    retention: { ageMs: retention.age, bytes: retention.bytes, messages: retention.messages },
    singleActiveConsumer: queue.single_active_consumer,
    maxPriority: queue.max_priority,
    maxProducers: queue.max_producers,
    producerExpiresMs: queue.producer_expires,
    expiresMs: queue.type === 'ephemeral' ? queue.expires : 0,
    capture: queue.capture,
  };
}

type GroupLimits = Pick<
  QueueLimits,
  'defaultGroup' | 'groupStart' | 'groupExpiresMs' | 'maxGroups'
>;

function groupLimitsOf(queue: QueueConfig): GroupLimits {
  const defaults = defaultLimits(queue.name, queue.type);
  const { default_group: group, group_start: start } = queue;
  return {
    defaultGroup: group === 'auto' ? defaults.defaultGroup : group,
    groupStart: start === 'auto' ? defaults.groupStart : start,
    groupExpiresMs: queue.group_expires,
    maxGroups: queue.max_groups,
  };
}

function deadLetterOf({ name, type, dlq }: QueueConfig): string {
  if (dlq === 'auto') return defaultDeadLetter(name, type);
  return dlq === 'off' ? '' : dlq;
}

function groupSettings({ name: queue, groups }: QueueConfig): GroupSettings[] {
  return groups.map(({ name, filter, start }) => {
    const position = readPosition(start);
    return {
      queue,
      name: filteredGroupName(name, filter),
      filter,
      start: 'value' in position ? position.value : undefined,
    };
  });
}
