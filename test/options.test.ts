/**
 * O1: every key of the configuration changes behaviour: changing it changes what some part is told.
 * And the defaults and ranges of the file are those of the parts.
 */

import { describe, expect, it } from 'vitest';
import { LOG_LIMITS } from '#storage';
import { accessSettings } from '../src/access-options.ts';
import { KEY_TYPES, SECRET_BYTES } from '../src/access/token-keys.ts';
import { BROKER_DEFAULTS } from '../src/broker/broker.ts';
import { type Config, parseConfig } from '../src/config/config.ts';
import { KEYS } from '../src/config/keys.ts';
import type { Key, Leaf, SectionKey } from '../src/config/schema.ts';
import { PUBLIC_ALGORITHMS, SECRET_ALGORITHMS } from '../src/config/token-keys.ts';
import { defaultDefinition } from '../src/machine/default-definition.ts';
import { QUEUE_TYPES, definitionProblem } from '../src/machine/definitions.ts';
import {
  adminOptions,
  brokerOptions,
  logSettings,
  mqttDoors,
  mqttSettings,
  opsOptions,
  queueDefinition,
  serverTlsSettings,
  shardSettings,
  systemInterval,
} from '../src/options.ts';
import { MQTT_DEFAULTS, mqttOptions } from '../src/protocol/mqtt/options.ts';
import { SHARD_CLIENT_DEFAULTS } from '../src/shard/client-options.ts';
import { DEFAULT_SHARD_LIMITS } from '../src/shard/shard-limits.ts';

/** Two functions are never equal: what it says counts. */
function broker(config: Config): unknown {
  const { autoQueue, ...options } = brokerOptions(config);
  return { ...options, made: autoQueue?.('fresh') };
}

/** Everything that the parts are told. */
function told(config: Config): unknown {
  return {
    access: accessSettings(config),
    admin: adminOptions(config, '/data'),
    broker: broker(config),
    doors: mqttDoors(config),
    tls: serverTlsSettings(config),
    mqtt: mqttSettings(config),
    ops: opsOptions(config),
    shards: shardSettings(config, config.data_dir, true),
    system: systemInterval(config),
    log: [logSettings(config, true), logSettings(config, false)],
  };
}

interface Named {
  readonly path: string;
  readonly key: Leaf;
}

function leaves(keys: Readonly<Record<string, Key>>, path = ''): Named[] {
  return Object.entries(keys).flatMap(([name, key]): Named[] => {
    const full = `${path}${name}`;
    if (key.kind === 'section') return leaves(key.keys, `${full}.`);
    if (key.kind === 'sections') return leaves(key.each.keys, `${full}[].`);
    return [{ path: full, key }];
  });
}

/** Values at the ends of the range, and another one than the default. */
function others({ path, key }: Named): string[] {
  switch (key.kind) {
    case 'text':
      if (path.endsWith('.path')) return ['/another'];
      if (path.endsWith('_url')) return ['https://another.example/x'];
      return path.endsWith('.start') ? ['first', 'last', '7'] : ['another'];
    case 'choice':
      return key.choices.filter((name) => name !== key.fallback);
    case 'switch':
      return [String(!key.fallback)];
    case 'number':
    case 'duration':
    case 'size':
      return [key.min, key.max].map(String).filter((end) => end !== String(key.fallback));
    case 'address':
      return ['127.0.0.1:1', '[::1]:1883'];
    case 'texts':
      if (path.endsWith('.algorithms')) return ["['ES256', 'RS256']"];
      if (path.endsWith('.crl')) return ["['a.crl', 'b.crl']"];
      return path.endsWith('.origins')
        ? ["['https://example.com', '*']"]
        : ["['$queue/a', '$queue/b/#']"];
    default:
      return key satisfies never;
  }
}

/** What a rule between keys wants beside a key of a queue, without the key and with it. */
const BESIDE_IN_QUEUE: Readonly<Record<string, readonly [string, string]>> = {
  'retry.min': ['retry: {max: 30d}', 'retry: {max: 30d, min: <value>}'],
  'retry.max': ['retry: {min: 1ms}', 'retry: {min: 1ms, max: <value>}'],
  'max_length.overflow': [
    'max_length: {messages: 10}',
    'max_length: {messages: 10, overflow: <value>}',
  ],
  capture: ['topics: ["m/#"]', 'topics: ["m/#"], capture: <value>'],
  expires: ['type: ephemeral', 'type: ephemeral, expires: <value>'],
  // On each type `auto` is one of the others.
  'default_group: shared': ['type: stream', 'type: stream, default_group: <value>'],
  'group_start: first': ['type: stream', 'type: stream, group_start: <value>'],
  'groups[].name': ['', 'groups: [{name: <value>}]'],
  'groups[].filter': ['groups: [{name: g}]', 'groups: [{name: g, filter: <value>}]'],
  'groups[].start': [
    'type: stream, groups: [{name: g}]',
    'type: stream, groups: [{name: g, start: <value>}]',
  ],
};

const CLUSTER = [
  'cluster.listen=127.0.0.1:7',
  'cluster.peers=[{id: node-1, addr: "127.0.0.1:7"}]',
] as const;
const TWO_NODES = [
  'cluster.listen=127.0.0.1:7',
  'cluster.peers=[{id: node-1, addr: "127.0.0.1:7"}, {id: b, addr: "127.0.0.1:8"}]',
];
const CLUSTER_TLS = [...CLUSTER, 'cluster.tls={cert: c, key: k, ca: a}'];

const WEB_SOCKET = ['server.mqtt.ws.addr=127.0.0.1:9001'];
const TLS_FILES = 'server.tls={cert: c, key: k, client_ca: a}';
const TLS = ['server.mqtt.tls.addr=127.0.0.1:8883', TLS_FILES];
const WSS = ['server.mqtt.wss.addr=127.0.0.1:8884', TLS_FILES];

/** All keys of a section, but for the one that says where. */
function eachOf(path: string, { keys }: SectionKey, beside: readonly string[]) {
  const named = leaves(keys, `${path}.`).filter((each) => each.path !== `${path}.addr`);
  return Object.fromEntries(named.map((each) => [each.path, beside]));
}
const SERVER = KEYS.keys.server.keys;

const USERS = 'access={users_file: u, rules_file: r}';

const JWT = 'access.jwt={public_key_file: p, algorithms: [RS256]}';

const SCRAM = 'access.scram={enabled: true}';
const CALLOUT = 'access.callout={login_url: "https://a.b/c", authorize_url: "https://a.b/d"}';

const BESIDE: Readonly<Record<string, readonly string[]>> = {
  ...eachOf('access', KEYS.keys.access, [USERS]),
  ...eachOf('access.scram', KEYS.keys.access.keys.scram, [USERS, SCRAM]),
  'access.scram.enabled': [USERS],
  ...eachOf('access.jwt', KEYS.keys.access.keys.jwt, [USERS, JWT]),
  'access.jwt.secret_file': [USERS, 'access.jwt={secret_file: s, algorithms: [HS256]}'],
  'access.jwt.jwks_file': [USERS, 'access.jwt={jwks_file: j, algorithms: [RS256]}'],
  ...eachOf('access.callout', KEYS.keys.access.keys.callout, [USERS, CALLOUT]),
  'access.users_file': ['access.rules_file=r', 'allow_anonymous=true'],
  'access.rules_file': ['allow_anonymous=true'],
  'access.certificate_users': [USERS, ...TLS, 'server.mqtt.tls.client_certificates=optional'],
  ...eachOf('server.mqtt.tls', SERVER.mqtt.keys.tls, TLS),
  ...eachOf('server.mqtt.ws', SERVER.mqtt.keys.ws, WEB_SOCKET),
  ...eachOf('server.mqtt.wss', SERVER.mqtt.keys.wss, WSS),
  ...eachOf('server.tls', SERVER.tls, TLS),
  'server.mqtt.tls.addr': [TLS_FILES],
  'server.mqtt.wss.addr': [TLS_FILES],
  'server.mqtt.ws.max_message_size': [...WEB_SOCKET, 'server.mqtt.max_packet_size=1KiB'],
  'server.mqtt.wss.max_message_size': [...WSS, 'server.mqtt.max_packet_size=1KiB'],
  'storage.reserve': ['storage.segment_size=1MiB'],
  'storage.prewrite_size': ['storage.window=2GiB', 'storage.segment_size=1GiB'],
  'storage.segment_size': ['storage.window=2GiB'],
  'storage.window': ['storage.segment_size=1MiB'],
  'shards.high_water': ['shards.max_pending=16GiB'],
  'shards.max_pending': ['shards.high_water=64KiB'],
  'cluster.id': CLUSTER,
  'cluster.listen': CLUSTER,
  'cluster.join': TWO_NODES,
  'cluster.shards': TWO_NODES,
  'cluster.max_peer_backlog': CLUSTER,
  'cluster.catch_up_rate': CLUSTER,
  'cluster.write_policy': CLUSTER,
  'cluster.distribution_mode': CLUSTER,
  'cluster.reattach_grace': CLUSTER,
  'cluster.start_grace': CLUSTER,
  'cluster.tls.cert': CLUSTER_TLS,
  'cluster.tls.key': CLUSTER_TLS,
  'cluster.tls.ca': CLUSTER_TLS,
};

/** What is set beside a key, and the same with the key. */
function assignments(path: string, value: string): readonly [string[], string[]] {
  const peer = /^cluster\.peers\[\]\.(.+)$/.exec(path)?.[1];
  if (peer !== undefined) {
    const other = { id: 'x', addr: '127.0.0.1:9', [peer]: value };
    const list = (addr: string, id: string): string =>
      `cluster.peers=[{id: node-1, addr: "127.0.0.1:7"}, {id: ${id}, addr: "${addr}"}]`;
    return [
      [CLUSTER[0], list('127.0.0.1:9', 'x')],
      [CLUSTER[0], list(other.addr, other.id)],
    ];
  }
  const name = /^queues\[\]\.(.+)$/.exec(path)?.[1];
  if (name === undefined) {
    const beside = [...(BESIDE[path] ?? [])];
    return [beside, [...beside, `${path}=${value}`]];
  }
  if (name === 'name') return [['queues=[{name: orders}]'], [`queues=[{name: ${value}}]`]];
  const [section, key] = name.split('.');
  const plain = key === undefined ? `${name}: <value>` : `${section}: {${key}: <value>}`;
  const [without, written] = BESIDE_IN_QUEUE[`${name}: ${value}`] ??
    BESIDE_IN_QUEUE[name] ?? ['', plain];
  const queue = (keys: string): string[] => [
    `queues=[{${['name: orders', keys].join(', ').replace('<value>', value)}}]`,
  ];
  return [queue(without), queue(written)];
}

const NAMED = leaves(KEYS.keys);
/** Decide at the start whether a listener may be opened: test/config has their tests. */
const RULES_ONLY = new Set(['allow_anonymous', 'cluster.allow_plaintext']);
const IN_FILES = QUEUE_TYPES.filter((type) => type !== 'session');

describe('O1: each key changes behaviour', () => {
  const changing = NAMED.filter(({ path }) => !RULES_ONLY.has(path));

  it.each(changing)('$path', ({ path, key }) => {
    const values = others({ path, key });
    expect(values.length).toBeGreaterThan(0);
    for (const value of values) {
      const [without, changed] = assignments(path, value).map((overrides) =>
        told(parseConfig({ overrides })),
      );
      expect(changed, value).not.toEqual(without);
    }
  });

  it('no key escapes', () => {
    expect(NAMED.length).toBeGreaterThan(40);
    expect([...RULES_ONLY].filter((path) => !NAMED.some((n) => n.path === path))).toEqual([]);
  });
});

describe('admin.socket', () => {
  const place = (written: string): unknown =>
    adminOptions(parseConfig({ overrides: [`admin.socket=${written}`] }), '/data')?.place;

  it('is in the data directory, where it is asked for, or not at all', () => {
    expect(place('auto')).toEqual({ path: '/data/admin.sock', ownFolder: true });
    expect(place('/run/flux.sock')).toEqual({ path: '/run/flux.sock', ownFolder: false });
    expect(place('off')).toBeUndefined();
  });
});

describe('the ranges of the file are within those of the parts', () => {
  it.each(
    NAMED.filter(
      ({ key }) => key.kind === 'number' || key.kind === 'duration' || key.kind === 'size',
    ),
  )('$path', ({ path, key }) => {
    for (const value of others({ path, key })) {
      const config = parseConfig({ overrides: assignments(path, value)[1] });
      expect(() => mqttOptions(mqttSettings(config))).not.toThrow();
      const { queues, storage, client, maxMessageBytes } = shardSettings(config, '/', false);
      const { ackTimeoutMs } = client;
      // The client's own range, and the largest batch that the log takes.
      expect(client.windowBytes).toBeGreaterThanOrEqual(65_536);
      expect(ackTimeoutMs).toBeGreaterThanOrEqual(100);
      expect(ackTimeoutMs).toBeLessThanOrEqual(600_000);
      expect(maxMessageBytes).toBeLessThanOrEqual(LOG_LIMITS.maxBatchBytes.default / 1.5);
      if (storage.reserveBytes !== undefined) {
        expect(storage.reserveBytes).toBeGreaterThanOrEqual(2 * storage.segmentBytes);
      }
      for (const queue of queues) expect(definitionProblem(queue)).toBeUndefined();
      for (const [name, limit] of Object.entries(LOG_LIMITS)) {
        const told = (storage as unknown as Record<string, unknown>)[name];
        if (typeof told !== 'number') continue;
        expect(told).toBeGreaterThanOrEqual(limit.min);
        expect(told).toBeLessThanOrEqual(limit.max);
      }
    }
  });
});

describe('the defaults of the file are those of the parts', () => {
  const config = parseConfig({});
  const shards = shardSettings(config, '/', false);

  it('of MQTT and the broker', () => {
    expect(mqttSettings(config)).toEqual(MQTT_DEFAULTS);
    expect(BROKER_DEFAULTS).toMatchObject(brokerOptions(config));
  });

  it('of queues, the catch-all among them', () => {
    expect(shards.queues).toEqual([
      defaultDefinition('orders', 'classic'),
      defaultDefinition('mqtt', 'classic'),
    ]);
    expect(shards.queues.map(({ topics }) => topics)).toEqual([['$queue/orders/#'], ['$queue/#']]);
  });

  it('and no file declares the queue of a session', () => {
    const set = 'queues=[{name: a, type: session}]';
    expect(() => parseConfig({ overrides: [set] })).toThrow('session');
  });

  it.each(IN_FILES)('of a queue of type %s', (type) => {
    for (const name of ['a', '$dlq/a']) {
      if (type === 'ephemeral' && name !== 'a') continue;
      const set = `queues=[{name: ${name}, type: ${type}}]`;
      const [queue] = parseConfig({ overrides: [set] }).queues;
      expect(queue && queueDefinition(queue)).toEqual(defaultDefinition(name, type));
    }
  });

  it('of the shards and the storage', () => {
    expect(shards).toMatchObject({
      client: {
        ackTimeoutMs: SHARD_CLIENT_DEFAULTS.ackTimeoutMs,
        windowBytes: SHARD_CLIENT_DEFAULTS.windowBytes,
        highWaterBytes: SHARD_CLIENT_DEFAULTS.highWaterBytes,
        pendingBytesMax: SHARD_CLIENT_DEFAULTS.pendingBytesMax,
        payloadBytesMax: SHARD_CLIENT_DEFAULTS.payloadBytesMax,
      },
      maxMessageBytes: SHARD_CLIENT_DEFAULTS.messageBytesMax,
      checkpointBytes: DEFAULT_SHARD_LIMITS.checkpointBytes,
      checkpointLogBytes: DEFAULT_SHARD_LIMITS.checkpointLogBytes,
      checkpointIntervalMs: DEFAULT_SHARD_LIMITS.checkpointIntervalMs,
      cacheBytes: DEFAULT_SHARD_LIMITS.tailBytes,
      readCacheBytes: DEFAULT_SHARD_LIMITS.readBytes,
      locationBytes: DEFAULT_SHARD_LIMITS.locationBytes,
      maxResidentRecords: DEFAULT_SHARD_LIMITS.residentRecordsMax,
      maxUncommittedBytes: DEFAULT_SHARD_LIMITS.uncommittedBytesMax,
      maxOutstandingBytes: DEFAULT_SHARD_LIMITS.outstandingBytesMax,
      ephemeralBytes: 256 << 20,
    });
    const { reserveBytes, syncMode, ...numbers } = shards.storage;
    expect([reserveBytes, syncMode]).toEqual([undefined, 'prewritten-dsync']);
    for (const [name, value] of Object.entries(numbers)) {
      expect(value, name).toBe(LOG_LIMITS[name as keyof typeof LOG_LIMITS].default);
    }
  });
});

describe('access.jwt.algorithms', () => {
  it('are those that there are keys for', () => {
    expect(SECRET_ALGORITHMS).toEqual(Object.keys(SECRET_BYTES));
    expect(PUBLIC_ALGORITHMS).toEqual(Object.keys(KEY_TYPES));
  });
});
