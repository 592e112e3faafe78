/**
 * O1: every key of the configuration changes behaviour: changing it changes what some part is told.
 * And the defaults and ranges of the file are those of the parts.
 */

import { describe, expect, it } from 'vitest';
import { LOG_LIMITS } from '#storage';
import { BROKER_DEFAULTS } from '../src/broker/broker.ts';
import { type Config, parseConfig } from '../src/config/config.ts';
import { KEYS } from '../src/config/keys.ts';
import type { Key, Leaf } from '../src/config/schema.ts';
import { DEFAULT_LIMITS, definitionProblem } from '../src/machine/definitions.ts';
import {
  adminOptions,
  brokerOptions,
  logSettings,
  mqttListeners,
  shardSettings,
} from '../src/options.ts';
import { MQTT_DEFAULTS, mqttOptions } from '../src/protocol/mqtt/options.ts';
import { SHARD_CLIENT_DEFAULTS } from '../src/shard/client.ts';
import { DEFAULT_SHARD_LIMITS } from '../src/shard/shard-limits.ts';

/** Everything that the parts are told. */
function told(config: Config): unknown {
  return {
    admin: adminOptions(config, '/data'),
    broker: brokerOptions(config),
    listeners: mqttListeners(config),
    shards: shardSettings(config, config.data_dir, true),
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
function others(key: Leaf): string[] {
  switch (key.kind) {
    case 'text':
      return ['another'];
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
      return ["['$queue/a', '$queue/b/#']"];
    default:
      return key satisfies never;
  }
}

/** The key set, with what a rule between keys wants beside it. */
function assignments(path: string, value: string): string[] {
  const [, inQueue] = /^queues\[\]\.(.+)$/.exec(path) ?? [];
  if (inQueue === 'name') return [`queues=[{name: ${value}}]`];
  if (inQueue?.startsWith('retry.') === true) {
    const retry = `${inQueue.slice('retry.'.length)}: ${value}`;
    const bound = { 'retry.min': ', max: 30d', 'retry.max': ', min: 1ms' }[inQueue] ?? '';
    return [`queues=[{name: orders, retry: {${retry}${bound}}}]`];
  }
  if (inQueue !== undefined) return [`queues=[{name: orders, ${inQueue}: ${value}}]`];
  const beside =
    path === 'storage.reserve'
      ? ['storage.segment_size=1MiB']
      : path === 'storage.prewrite_size'
        ? ['storage.segment_size=1GiB']
        : [];
  return [...beside, `${path}=${value}`];
}

const NAMED = leaves(KEYS.keys);
/** Decides at the start whether a listener may be opened: test/config/config.test.ts. */
const RULES_ONLY = new Set(['allow_anonymous']);
/** `classic` is the only one yet. */
const ONE_VALUE = new Set(['queues[].type']);

describe('O1: each key changes behaviour', () => {
  const changing = NAMED.filter(({ path }) => !RULES_ONLY.has(path) && !ONE_VALUE.has(path));

  it.each(changing)('$path', ({ path, key }) => {
    const values = others(key);
    expect(values.length).toBeGreaterThan(0);
    for (const value of values) {
      const set = assignments(path, value);
      const [without, changed] = [set.slice(0, -1), set].map((overrides) =>
        told(parseConfig({ overrides })),
      );
      // A list of queues replaces the default one, which is no change by itself.
      expect(changed, value).not.toEqual(without);
    }
  });

  it('no key escapes', () => {
    expect(NAMED.length).toBeGreaterThan(40);
    expect(
      [...RULES_ONLY, ...ONE_VALUE].filter((path) => !NAMED.some((n) => n.path === path)),
    ).toEqual([]);
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
    for (const value of others(key)) {
      const config = parseConfig({ overrides: assignments(path, value) });
      for (const { mqtt } of mqttListeners(config)) expect(() => mqttOptions(mqtt)).not.toThrow();
      const { queues, storage, ackTimeoutMs, maxMessageBytes } = shardSettings(config, '/', false);
      // The client's own range, and the largest batch that the log takes.
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
    expect(mqttListeners(config)[0]?.mqtt).toEqual(MQTT_DEFAULTS);
    expect(BROKER_DEFAULTS).toMatchObject(brokerOptions(config));
  });

  it('of queues, the catch-all among them', () => {
    expect(shards.queues).toEqual([
      { name: 'orders', type: 'classic', topics: ['$queue/orders/#'], limits: DEFAULT_LIMITS },
      { name: 'mqtt', type: 'classic', topics: ['$queue/#'], limits: DEFAULT_LIMITS },
    ]);
  });

  it('of the shards and the storage', () => {
    expect(shards).toMatchObject({
      ackTimeoutMs: SHARD_CLIENT_DEFAULTS.ackTimeoutMs,
      maxMessageBytes: SHARD_CLIENT_DEFAULTS.messageBytesMax,
      checkpointBytes: DEFAULT_SHARD_LIMITS.checkpointBytes,
      checkpointLogBytes: DEFAULT_SHARD_LIMITS.checkpointLogBytes,
      checkpointIntervalMs: DEFAULT_SHARD_LIMITS.checkpointIntervalMs,
      cacheBytes: DEFAULT_SHARD_LIMITS.tailBytes,
      maxUncommittedBytes: DEFAULT_SHARD_LIMITS.uncommittedBytesMax,
    });
    const { reserveBytes, syncMode, ...numbers } = shards.storage;
    expect([reserveBytes, syncMode]).toEqual([undefined, 'prewritten-dsync']);
    for (const [name, value] of Object.entries(numbers)) {
      expect(value, name).toBe(LOG_LIMITS[name as keyof typeof LOG_LIMITS].default);
    }
  });
});
