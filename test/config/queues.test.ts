/** A queue of the file is what it says, or refused with words: each key, and which go together. */

import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig } from '../../src/config/config.ts';
import { defaultDefinition } from '../../src/machine/default-definition.ts';
import { DEFAULT_LIMITS, type QueueLimits } from '../../src/machine/definitions.ts';
import { type ShardSettings, brokerOptions, shardSettings } from '../../src/options.ts';

const settings = (...overrides: string[]): ShardSettings =>
  shardSettings(parseConfig({ overrides }), '/data', false);

/** `keys` of a queue `a`. */
function limits(keys: string): QueueLimits {
  const [queue] = settings(`queues=[{name: a, ${keys}}]`).queues;
  if (queue === undefined) throw new Error('there is one');
  return queue.limits;
}

function refusal(queues: string): string {
  try {
    parseConfig({ file: { name: 'broker.yaml', yaml: `queues: [${queues}]\n` } });
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'accepted';
}

describe('what is written of a queue', () => {
  it.each<[string, Partial<QueueLimits>]>([
    ['default_group: client', { defaultGroup: 'client' }],
    ['group_start: next', { groupStart: 'next' }],
    ['group_expires: 1h', { groupExpiresMs: 3_600_000 }],
    ['max_groups: 3', { maxGroups: 3 }],
    ['message_ttl: 90s', { ttlMs: 90_000 }],
    ['max_length: {messages: 5}', { maxMessages: 5 }],
    [
      'max_length: {bytes: 1MiB, overflow: drop-head}',
      { maxBytes: 2 ** 20, overflow: 'drop-head' },
    ],
    ['retention: {age: 7d}', { retention: { ageMs: 604_800_000, bytes: 0, messages: 0 } }],
    ['retention: {bytes: 1GiB}', { retention: { ageMs: 0, bytes: 2 ** 30, messages: 0 } }],
    ['retention: {messages: 9}', { retention: { ageMs: 0, bytes: 0, messages: 9 } }],
    ['dlq: off', { deadLetter: '' }],
    ['dlq: unpaid', { deadLetter: 'unpaid' }],
    ['dlq: $dlq/all', { deadLetter: '$dlq/all' }],
    ['single_active_consumer: true', { singleActiveConsumer: true }],
    ['max_priority: 9', { maxPriority: 9 }],
    ['max_producers: 0', { maxProducers: 0 }],
    ['producer_expires: 1m', { producerExpiresMs: 60_000 }],
    ['type: ephemeral, expires: 5m', { expiresMs: 300_000, deadLetter: '' }],
    ['topics: ["m/#"], capture: async', { capture: 'async' }],
  ])('%s', (keys, more) => {
    expect(limits(keys)).toEqual({ ...DEFAULT_LIMITS, deadLetter: '$dlq/a', ...more });
  });

  it('by type: the default group, where groups start, and where dead letters go', () => {
    const of = (keys: string): unknown => {
      const { defaultGroup, groupStart, deadLetter } = limits(keys);
      return [defaultGroup, groupStart, deadLetter];
    };
    expect(of('type: classic')).toEqual(['shared', 'first', '$dlq/a']);
    expect(of('type: stream')).toEqual(['client', 'next', '']);
    expect(of('type: ephemeral')).toEqual(['shared', 'first', '']);
    expect(of('type: stream, default_group: shared, group_start: first')).toEqual([
      'shared',
      'first',
      '',
    ]);
  });

  it('a dead-letter queue has a topic of its own, and no dead letters', () => {
    const [queue] = settings("queues=[{name: '$dlq/orders', max_length: {messages: 7}}]").queues;
    expect(queue?.topics).toEqual(['$queue/$dlq/orders/#']);
    expect(queue?.limits.deadLetter).toBe('');
    expect(queue?.limits.maxMessages).toBe(7);
  });

  it('the catch-all queue is what the file says of it', () => {
    const { queues } = settings('queues=[{name: mqtt, message_ttl: 1d, dlq: off}]');
    expect(queues.map(({ name, topics }) => [name, topics])).toEqual([['mqtt', ['$queue/#']]]);
    expect(queues[0]?.limits).toEqual({ ...DEFAULT_LIMITS, ttlMs: 86_400_000 });
  });

  it('its groups, with the filter in their name, and where they start', () => {
    const yaml = `queues:
  - name: events
    type: stream
    groups:
      - name: archive
        start: first
      - { name: billing, filter: 'eu/#', start: 100 }
      - { name: late, start: '2026-01-31T12:00:00Z' }
  - name: orders
    groups: [{ name: mail }, { name: mail, filter: eu/+ }]
`;
    const config = parseConfig({ file: { name: 'f', yaml } });
    expect(shardSettings(config, '/', false).groups).toEqual([
      { queue: 'events', name: 'archive', filter: '', start: { kind: 'first' } },
      {
        queue: 'events',
        name: 'billing@eu/#',
        filter: 'eu/#',
        start: { kind: 'offset', offset: 100 },
      },
      {
        queue: 'events',
        name: 'late',
        filter: '',
        start: { kind: 'time', ms: Date.UTC(2026, 0, 31, 12) },
      },
      { queue: 'orders', name: 'mail', filter: '', start: undefined },
      { queue: 'orders', name: 'mail@eu/+', filter: 'eu/+', start: undefined },
    ]);
  });

  it('queues that are made by themselves', () => {
    const options = (set: string): ReturnType<typeof brokerOptions> =>
      brokerOptions(parseConfig({ overrides: [set] }));
    expect(options('auto_create.type=off').autoQueue).toBeUndefined();
    const { autoQueue, maxQueues } = options('auto_create={type: ephemeral, max_queues: 9}');
    expect(maxQueues).toBe(9);
    expect(autoQueue?.('fresh')).toEqual(defaultDefinition('fresh', 'ephemeral'));
    for (const name of ['', '..', 'a/b', '$dlq/a', '$x', 'a\0']) {
      expect(autoQueue?.(name), name).toBeUndefined();
    }
    expect(options('auto_create.type=classic').autoQueue?.('a')?.limits.deadLetter).toBe('$dlq/a');
    expect(() => settings('auto_create.type=stream')).toThrow(/is not one of off, classic/);
  });
});

describe('O1: what would have no effect is refused, with words', () => {
  it.each([
    ['expires: 5m', 'queues[0].expires: is for ephemeral queues: a classic queue stays until'],
    ['type: stream, expires: 5m', 'expires: is for ephemeral queues: a stream queue stays'],
    ['type: stream, dlq: x', 'dlq: a queue of type stream has no dead letters'],
    ['type: ephemeral, dlq: x', 'dlq: a queue of type ephemeral has no dead letters'],
    ['type: stream, message_ttl: 1h', 'message_ttl: messages leave a stream by retention only'],
    ['type: stream, max_length: {messages: 1}', 'write retention.messages'],
    ['type: stream, max_length: {bytes: 1MiB}', 'write retention.bytes'],
    ['type: stream, delivery_limit: 3', 'delivery_limit: a stream counts no attempts'],
    ['type: stream, max_priority: 1', 'max_priority: a stream has one order'],
    ['type: ephemeral, retention: {age: 1h}', 'retention.age: an ephemeral queue keeps nothing'],
    ['type: ephemeral, retention: {bytes: 1MiB}', 'retention.bytes: an ephemeral queue keeps'],
    ['type: ephemeral, retention: {messages: 1}', 'retention.messages: an ephemeral queue keeps'],
    ['max_length: {overflow: drop-head}', 'overflow: needs max_length.messages or'],
    ['capture: async', 'capture: means captured topics'],
    ['topics: ["$queue/a"], capture: async', 'capture: means captured topics'],
    ['retention: {age: 1500ms}', 'is not a whole number of seconds'],
    ['dlq: ""', 'dlq: is empty: write auto, off, or the name of a queue'],
    ['dlq: a/b', 'dlq: holds /, + or #'],
    ['max_groups: 1, groups: [{name: b}, {name: c}]', 'groups: 2 groups are more than max_groups'],
    ['groups: [{name: b}, {name: b}]', "groups[1].name: the group 'b' is declared twice"],
    ['groups: [{}]', 'groups[0].name: is empty'],
    ['groups: [{name: b@c}]', 'groups[0].name: holds @'],
    ['groups: [{name: b/c}]', 'groups[0].name: holds /'],
    ['groups: [{name: $b}]', 'groups[0].name: begins with $'],
    [`groups: [{name: ${'b'.repeat(256)}}]`, 'groups[0].name: is longer than 255'],
    [`groups: [{name: b, filter: ${'c'.repeat(254)}}]`, 'groups[0].filter: is too long'],
    ['groups: [{name: b, start: last}]', 'groups[0].start: a queue of type classic keeps nothing'],
    ['groups: [{name: b, start: 7}]', 'groups[0].start: a queue of type classic keeps nothing'],
    ['groups: [{name: b, start: soon}]', "'soon' is not a place in a queue"],
    ['groups: [{name: b, start: 2026-13-01T00:00:00Z}]', 'is not a place in a queue'],
    ['limits: {max_depth: 7}', 'limits: unknown key: here it is called max_length and message_ttl'],
    ['retry: {initial_backoff: 5s}', 'initial_backoff: unknown key: here it is called retry.min'],
    ['retention: {max_age: 5d}', 'max_age: unknown key: here it is called retention.age'],
    ['groups: [{name: b, star: 7}]', 'groups[0].star: unknown key: did you mean start?'],
  ])('%.60s', (keys, text) => {
    expect(refusal(`{name: a, ${keys}}`)).toContain(text);
  });

  it('a default that is written out is no contradiction', () => {
    const keys =
      'message_ttl: 0s, max_length: {messages: 0, bytes: 0B}, delivery_limit: 20, ' +
      'max_priority: 0, ' +
      'dlq: off, expires: 1h';
    expect(refusal(`{name: a, type: stream, ${keys}}`)).toBe('accepted');
    expect(refusal('{name: a, type: ephemeral, retention: {age: 0s}, dlq: auto}')).toBe('accepted');
  });

  it.each(['#/x', 'a#', 'a/+b', '#/#'])('Q10: the filter %s is refused, never all', (filter) => {
    const text = refusal(`{name: a, groups: [{name: b, filter: "${filter}"}]}`);
    expect(text).toContain('groups[0].filter: ');
  });

  it('a dead-letter queue is durable', () => {
    expect(refusal('{name: $dlq/a, type: ephemeral}')).toContain('type: a dead-letter queue is');
    expect(refusal('{name: a, dlq: b}, {name: b, type: ephemeral}')).toContain(
      "queues[0].dlq: 'b' is ephemeral: dead letters go to a durable queue",
    );
    expect(refusal('{name: a, dlq: b}, {name: b, type: stream}')).toBe('accepted');
  });
});

describe('S9: dead letters that would go round are refused', () => {
  it.each([
    ['{name: a, dlq: a}', "queues[0].dlq: dead letters would go round: 'a' -> 'a'"],
    ['{name: a, dlq: b}, {name: b, dlq: a}', "round: 'a' -> 'b' -> 'a'"],
    ['{name: x, dlq: a}, {name: a, dlq: b}, {name: b, dlq: a}', "round: 'a' -> 'b' -> 'a'"],
    ['{name: a}, {name: $dlq/a, dlq: a}', "round: 'a' -> '$dlq/a' -> 'a'"],
    ['{name: $dlq/mqtt, dlq: mqtt}', "round: '$dlq/mqtt' -> 'mqtt' -> '$dlq/mqtt'"],
    ['{name: a, dlq: mqtt}, {name: mqtt, dlq: a}', "round: 'a' -> 'mqtt' -> 'a'"],
  ])('%s', (queues, text) => {
    expect(refusal(queues)).toContain(text);
    // Once, however many queues lead into it.
    expect(refusal(queues).split('\n')).toHaveLength(1);
  });

  it.each([
    '{name: a, dlq: b}, {name: b}',
    '{name: a, dlq: c}, {name: b, dlq: c}, {name: c}',
    '{name: a, dlq: b}, {name: b, dlq: off}',
    '{name: a, dlq: $dlq/b}, {name: b}, {name: $dlq/b}',
    '{name: a, dlq: mqtt}',
  ])('%s is a way with an end', (queues) => {
    expect(refusal(queues)).toBe('accepted');
  });
});
