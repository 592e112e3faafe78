/**
 * Definitions: what queues there are, and by which limits they work.
 *
 * A queueId is never used again. Definitions are always resident (routing needs them, and a name
 * must be found), and lie in the record store in chunks of `DEFINITIONS_CHUNK` consecutive
 * queueIds. Which chunks there are stands in the meta record.
 */

import { assert } from './assert.ts';
import type { QueueId } from './ids.ts';
import { type RecordData, listOf, numberOf, stringOf } from './record-data.ts';

export const QUEUE_TYPES = ['classic'] as const;
export type QueueType = (typeof QUEUE_TYPES)[number];

export interface RetryLimits {
  /** The first backoff; at least 1 ms. */
  readonly minMs: number;
  /** The longest backoff; at least `minMs`. */
  readonly maxMs: number;
  /** 1 to 100. */
  readonly multiplier: number;
  /** A backoff is lengthened by up to this share of itself, never beyond `maxMs`; 0 to 1. */
  readonly jitter: number;
}

export interface QueueLimits {
  readonly retry: RetryLimits;
  /** Attempts after which a message waits the longest backoff each time; 1 to 1,000,000. */
  readonly deliveryLimit: number;
  /** How long a consumer may hold a message; 1 ms to 30 days. */
  readonly visibilityTimeoutMs: number;
  /** How far deliveries may run ahead of the lowest unsettled offset; 1 to 4,194,304. */
  readonly maxUnsettledSpan: number;
}

export interface QueueDefinition {
  readonly name: string;
  readonly type: QueueType;
  readonly topics: readonly string[];
  readonly limits: QueueLimits;
}

export const DEFAULT_LIMITS: QueueLimits = {
  retry: { minMs: 1_000, maxMs: 60_000, multiplier: 2, jitter: 0.2 },
  deliveryLimit: 20,
  visibilityTimeoutMs: 30_000,
  maxUnsettledSpan: 4_194_304,
};

const MAX_NAME_LENGTH = 255;
const MAX_TOPICS = 64;
const MAX_TOPIC_LENGTH = 65_535;
const MAX_MS = 30 * 24 * 3_600_000;
const MAX_UNSETTLED_SPAN = 4_194_304;
export const DEFINITIONS_CHUNK = 64;

/** What is wrong with a definition, in words; undefined when it may be declared. */
export function definitionProblem(definition: QueueDefinition): string | undefined {
  if (!QUEUE_TYPES.includes(definition.type)) return 'the type is unknown';
  return (
    nameProblem(definition.name) ??
    topicsProblem(definition.topics) ??
    limitsProblem(definition.limits)
  );
}

function nameProblem(name: string): string | undefined {
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) {
    return `the name must have 1 to ${MAX_NAME_LENGTH} characters`;
  }
  if (name.startsWith('$') || name === '.' || name === '..') return 'the name is reserved';
  for (let i = 0; i < name.length; i += 1) {
    const code = name.charCodeAt(i);
    // '/' ends the name in a topic; '+' and '#' are wildcards; surrogates alone are no UTF-8.
    if (
      code < 0x20 ||
      (code >= 0x7f && code < 0xa0) ||
      code === 0x2f ||
      code === 0x2b ||
      code === 0x23
    ) {
      return 'the name holds a character that no topic level may hold';
    }
  }
  return /\p{Surrogate}/u.test(name) ? 'the name is not well-formed Unicode' : undefined;
}

function topicsProblem(topics: readonly string[]): string | undefined {
  if (topics.length === 0 || topics.length > MAX_TOPICS)
    return `there must be 1 to ${MAX_TOPICS} topics`;
  for (const topic of topics) {
    if (topic.length === 0 || topic.length > MAX_TOPIC_LENGTH) {
      return `a topic must have 1 to ${MAX_TOPIC_LENGTH} characters`;
    }
  }
  return undefined;
}

export function limitsProblem(limits: QueueLimits): string | undefined {
  const { retry } = limits;
  if (!within(retry.minMs, 1, MAX_MS)) return 'retry.min is outside its range';
  if (!within(retry.maxMs, retry.minMs, MAX_MS)) return 'retry.max is outside its range';
  if (!(retry.multiplier >= 1 && retry.multiplier <= 100))
    return 'retry.multiplier is outside its range';
  if (!(retry.jitter >= 0 && retry.jitter <= 1)) return 'retry.jitter is outside its range';
  if (!within(limits.deliveryLimit, 1, 1_000_000)) return 'delivery_limit is outside its range';
  if (!within(limits.visibilityTimeoutMs, 1, MAX_MS))
    return 'visibility_timeout is outside its range';
  if (!within(limits.maxUnsettledSpan, 1, MAX_UNSETTLED_SPAN)) {
    return 'max_unsettled_span is outside its range';
  }
  return undefined;
}

function within(value: number, low: number, high: number): boolean {
  return Number.isSafeInteger(value) && value >= low && value <= high;
}

export function sameLimits(a: QueueLimits, b: QueueLimits): boolean {
  return (
    a.retry.minMs === b.retry.minMs &&
    a.retry.maxMs === b.retry.maxMs &&
    a.retry.multiplier === b.retry.multiplier &&
    a.retry.jitter === b.retry.jitter &&
    a.deliveryLimit === b.deliveryLimit &&
    a.visibilityTimeoutMs === b.visibilityTimeoutMs &&
    a.maxUnsettledSpan === b.maxUnsettledSpan
  );
}

export function sameTopics(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((topic, at) => topic === b[at]);
}

/** The definitions of `DEFINITIONS_CHUNK` consecutive queueIds: one record. */
export class DefinitionsChunk {
  readonly #definitions = new Map<QueueId, QueueDefinition>();

  static fromData(data: RecordData): DefinitionsChunk {
    const chunk = new DefinitionsChunk();
    const [format, ...rows] = listOf(data);
    assert(format === 1, 'definitions: unknown format');
    for (const row of rows) {
      const [id, name, type, topics, limits] = listOf(row);
      const known = QUEUE_TYPES.find((each) => each === type);
      assert(known !== undefined, 'definitions: unknown queue type');
      chunk.#definitions.set(numberOf(id) as QueueId, {
        name: stringOf(name),
        type: known,
        topics: listOf(topics).map(stringOf),
        limits: limitsOf(listOf(limits)),
      });
    }
    return chunk;
  }

  get size(): number {
    return this.#definitions.size;
  }

  set(queueId: QueueId, definition: QueueDefinition): void {
    this.#definitions.set(queueId, definition);
  }

  delete(queueId: QueueId): void {
    this.#definitions.delete(queueId);
  }

  entries(): [QueueId, QueueDefinition][] {
    return [...this.#definitions].sort(([a], [b]) => a - b);
  }

  toData(): RecordData {
    const rows = this.entries().map(([id, definition]) => [
      id,
      definition.name,
      definition.type,
      [...definition.topics],
      limitsData(definition.limits),
    ]);
    return [1, ...rows];
  }
}

function limitsData(limits: QueueLimits): RecordData {
  const { retry } = limits;
  return [
    retry.minMs,
    retry.maxMs,
    retry.multiplier,
    retry.jitter,
    limits.deliveryLimit,
    limits.visibilityTimeoutMs,
    limits.maxUnsettledSpan,
  ];
}

function limitsOf(data: readonly RecordData[]): QueueLimits {
  return {
    retry: {
      minMs: numberOf(data[0]),
      maxMs: numberOf(data[1]),
      multiplier: numberOf(data[2]),
      jitter: numberOf(data[3]),
    },
    deliveryLimit: numberOf(data[4]),
    visibilityTimeoutMs: numberOf(data[5]),
    maxUnsettledSpan: numberOf(data[6]),
  };
}
