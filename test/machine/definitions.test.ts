import { describe, expect, it } from 'vitest';
import {
  DEFAULT_LIMITS,
  type QueueDefinition,
  type QueueLimits,
  definitionProblem,
  limitsProblem,
  sameLimits,
} from '../../src/machine/definitions.ts';

const ORDERS: QueueDefinition = {
  name: 'orders',
  type: 'classic',
  topics: ['$queue/orders/#'],
  limits: DEFAULT_LIMITS,
};

describe('a definition', () => {
  it('Q16: refuses a name that no topic level, or no sane person, may have', () => {
    const hostile = [
      '',
      '.',
      '..',
      '../../x',
      '/',
      'a/b',
      '+',
      'a+',
      '#',
      '\0',
      'a\u0000b',
      'a\nb',
    ];
    hostile.push(
      '\u007f',
      '$dlq',
      '$queue',
      'x'.repeat(256),
      'x'.repeat(65_536),
      '\ud800',
      'a\udc00',
    );
    for (const name of hostile) {
      expect([name, definitionProblem({ ...ORDERS, name })]).not.toEqual([name, undefined]);
    }
    hostile.push('$dlq/', '$dlq/a/b', '$dlq/..', '$dlq/$dlq/x', '$dlq/+', '$dlqx/y');
    for (const name of hostile.slice(-6)) {
      expect([name, definitionProblem({ ...ORDERS, name })]).not.toEqual([name, undefined]);
    }
    for (const name of [
      '$dlq/orders',
      'orders',
      'Aufträge',
      '訂單',
      'a.b-c_d',
      '...',
      'x'.repeat(255),
      '🚀',
    ]) {
      expect([name, definitionProblem({ ...ORDERS, name })]).toEqual([name, undefined]);
    }
  });

  it('refuses no topics, too many, an empty one and one that is too long', () => {
    for (const topics of [[], Array.from({ length: 65 }, () => 'a'), [''], ['x'.repeat(65_536)]]) {
      expect(definitionProblem({ ...ORDERS, topics })).toMatch(/topic/);
    }
    expect(definitionProblem({ ...ORDERS, type: 'later' as 'classic' })).toBe(
      'the type is unknown',
    );
  });

  it('Q17: each limit has a range', () => {
    const { retry } = DEFAULT_LIMITS;
    const wrong: Partial<QueueLimits>[] = [
      { retry: { ...retry, minMs: 0 } },
      { retry: { ...retry, minMs: 1.5 } },
      { retry: { ...retry, maxMs: retry.minMs - 1 } },
      { retry: { ...retry, multiplier: 0.9 } },
      { retry: { ...retry, multiplier: Number.NaN } },
      { retry: { ...retry, jitter: 1.1 } },
      { retry: { ...retry, jitter: Number.NaN } },
      { deliveryLimit: 0 },
      { deliveryLimit: 1_000_001 },
      { visibilityTimeoutMs: 0 },
      { visibilityTimeoutMs: Infinity },
      { maxUnsettledSpan: 0 },
      { maxUnsettledSpan: 4_194_305 },
      { groupExpiresMs: 999 },
      { maxGroups: 0 },
      { maxGroups: 10_001 },
      { ttlMs: -1 },
      { ttlMs: 1.5 },
      { maxMessages: -1 },
      { maxMessages: 2 ** 50 + 1 },
      { maxBytes: -1 },
      { retention: { ageMs: 999, bytes: 0, messages: 0 } },
      { retention: { ageMs: 0, bytes: -1, messages: 0 } },
      { retention: { ageMs: 0, bytes: 0, messages: 0.5 } },
      { maxPriority: 10 },
      { maxProducers: -1 },
      { producerExpiresMs: 1 },
      { expiresMs: 999 },
    ];
    for (const limits of wrong) {
      expect(limitsProblem({ ...DEFAULT_LIMITS, ...limits })).toMatch(/outside its range/);
    }
    expect(limitsProblem(DEFAULT_LIMITS)).toBeUndefined();
    for (const deadLetter of ['a/b', '$x', '$dlq/', 'x'.repeat(256)]) {
      expect(limitsProblem({ ...DEFAULT_LIMITS, deadLetter })).toMatch(/^dlq: /);
    }
    expect(limitsProblem({ ...DEFAULT_LIMITS, deadLetter: '$dlq/orders' })).toBeUndefined();
  });

  it('limits are the same only if each is', () => {
    const { retry } = DEFAULT_LIMITS;
    expect(sameLimits(DEFAULT_LIMITS, structuredClone(DEFAULT_LIMITS))).toBe(true);
    const others: Partial<QueueLimits>[] = [
      { retry: { ...retry, minMs: 2 } },
      { retry: { ...retry, maxMs: 99_999 } },
      { retry: { ...retry, multiplier: 3 } },
      { retry: { ...retry, jitter: 0.9 } },
      { deliveryLimit: 2 },
      { visibilityTimeoutMs: 2 },
      { maxUnsettledSpan: 2 },
      { defaultGroup: 'client' },
      { groupStart: 'next' },
      { overflow: 'drop-head' },
      { retention: { ageMs: 0, bytes: 0, messages: 9 } },
      { deadLetter: 'x' },
      { singleActiveConsumer: true },
      { capture: 'async' },
    ];
    for (const other of others) {
      expect(sameLimits(DEFAULT_LIMITS, { ...DEFAULT_LIMITS, ...other })).toBe(false);
    }
  });
});
