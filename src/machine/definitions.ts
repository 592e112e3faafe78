/**
 * Definitions: what queues there are, and by which limits they work.
 *
 * A queueId is never used again. Definitions are always resident (routing needs them, and a name
 * must be found; `definition-table.ts`), and lie in the record store in chunks
 * (`definitions-chunk.ts`). Which chunks there are stands in the meta record.
 */

import { assert } from './assert.ts';
import { type RecordData, countOf, listOf, numberOf, stringOf } from './record-data.ts';

/** Stored by its place in this list, so the list only grows at its end. */
export const QUEUE_TYPES = ['classic', 'stream', 'ephemeral', 'session'] as const;
export type QueueType = (typeof QUEUE_TYPES)[number];

/** A delivery that ends without a settlement is an attempt, of which there may be so many. */
export function countsAttempts(type: QueueType): boolean {
  return type !== 'stream' && type !== 'session';
}

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

/** What is kept of a queue although nobody has settled it; 0 is no bound. */
export interface RetentionLimits {
  /** Older messages go; 0, or 1 s to 10 years. */
  readonly ageMs: number;
  /** The oldest go while more than so many stored bytes are there; 0 to 2^50. */
  readonly bytes: number;
  /** The oldest go while more than so many messages are there; 0 to 2^50. */
  readonly messages: number;
}

/** What a full queue does: its oldest message goes, or the publish is refused. */
export const OVERFLOWS = ['drop-head', 'reject-publish'] as const;
export type Overflow = (typeof OVERFLOWS)[number];

/** In which group a consumer is that names none; see docs/queues.md. */
export const DEFAULT_GROUPS = ['shared', 'client'] as const;
export type DefaultGroup = (typeof DEFAULT_GROUPS)[number];

/** Where a new group begins if its first consumer does not say. */
export const GROUP_STARTS = ['first', 'next'] as const;
export type GroupStart = (typeof GROUP_STARTS)[number];

/** When a publish from an ordinary topic is acknowledged: behind the append, or not. */
export const CAPTURES = ['sync', 'async'] as const;
export type Capture = (typeof CAPTURES)[number];

export interface QueueLimits {
  readonly retry: RetryLimits;
  /** Attempts after which a message goes to the dead-letter queue; 1 to 1,000,000. */
  readonly deliveryLimit: number;
  /** How long a consumer may hold a message; 1 ms to 30 days. */
  readonly visibilityTimeoutMs: number;
  /** How far deliveries may run ahead of the lowest unsettled offset; 1 to 4,194,304. */
  readonly maxUnsettledSpan: number;
  readonly defaultGroup: DefaultGroup;
  readonly groupStart: GroupStart;
  /** An automatic group goes so long after its last member left; 1 s to 10 years. */
  readonly groupExpiresMs: number;
  /** Groups that the queue may have; 1 to 10,000. */
  readonly maxGroups: number;
  /** How long a message lives; 0 is for ever, or 1 ms to 10 years. */
  readonly ttlMs: number;
  /** Messages of the group that has most unsettled ones; 0 is no bound, to 2^50. */
  readonly maxMessages: number;
  /** Their stored bytes; 0 is no bound, to 2^50. */
  readonly maxBytes: number;
  readonly overflow: Overflow;
  readonly retention: RetentionLimits;
  /** The queue that takes dead letters; '' drops them. */
  readonly deadLetter: string;
  /** One consumer of each group gets all, the next one when it is gone. */
  readonly singleActiveConsumer: boolean;
  /** Priorities 1 to this go ahead of 0, the higher ones first; 0 (all equal) to 9. */
  readonly maxPriority: number;
  /** Numbered producers that are remembered; 0 to 1,000,000. */
  readonly maxProducers: number;
  /** A numbered producer is forgotten so long after its last message; 1 s to 10 years. */
  readonly producerExpiresMs: number;
  /** An ephemeral queue goes so long after its last consumer; 0 is never, or 1 s to 10 years. */
  readonly expiresMs: number;
  readonly capture: Capture;
}

export interface QueueDefinition {
  readonly name: string;
  readonly type: QueueType;
  readonly topics: readonly string[];
  readonly limits: QueueLimits;
}

/** A definition on its way to the shard that shard 0 has chosen for its name. */
export interface PlacedDefinition extends QueueDefinition {
  /** The version of that choice; undefined: it was not made, and the queue is to be in shard 0. */
  readonly placed?: number | undefined;
}

export const DEFAULT_LIMITS: QueueLimits = {
  retry: { minMs: 1_000, maxMs: 60_000, multiplier: 2, jitter: 0.2 },
  deliveryLimit: 20,
  visibilityTimeoutMs: 30_000,
  maxUnsettledSpan: 4_194_304,
  defaultGroup: 'shared',
  groupStart: 'first',
  groupExpiresMs: 24 * 3_600_000,
  maxGroups: 1_000,
  ttlMs: 0,
  maxMessages: 0,
  maxBytes: 0,
  overflow: 'reject-publish',
  retention: { ageMs: 0, bytes: 0, messages: 0 },
  deadLetter: '',
  singleActiveConsumer: false,
  maxPriority: 0,
  maxProducers: 10_000,
  producerExpiresMs: 24 * 3_600_000,
  expiresMs: 0,
  capture: 'sync',
};

const MAX_NAME_LENGTH = 255;
/** The dead-letter queue of the queue of the name behind it, unless that queue names another. */
export const DEAD_LETTER_PREFIX = '$dlq/';
/** Queues of durable sessions (of MQTT) have such names, and no others. */
export const SESSION_PREFIX = '$session/';
/** The broker's own, in shard 0: the retained messages of all topics, and no other queue. */
export const RETAINED_QUEUE = '$retained';
const MAX_TOPICS = 64;
const MAX_TOPIC_LENGTH = 65_535;
const MAX_MS = 30 * 24 * 3_600_000;
const MAX_UNSETTLED_SPAN = 4_194_304;
/** Ten years. */
export const MAX_LIFE_MS = 3_650 * 24 * 3_600_000;
/** 2^50. */
const MAX_AMOUNT = 1_125_899_906_842_624;

/** What is wrong with a definition, in words; undefined when it may be declared. */
export function definitionProblem(definition: QueueDefinition): string | undefined {
  if (!QUEUE_TYPES.includes(definition.type)) return 'the type is unknown';
  if (definition.type === 'session') return sessionProblem(definition);
  const { name, type } = definition;
  const isRetained = name === RETAINED_QUEUE && type === 'classic';
  return (
    (isRetained ? undefined : nameProblem(name)) ??
    topicsProblem(definition.topics) ??
    limitsProblem(definition.limits)
  );
}

/** Its topics are what the session subscribes to, and not the declaration's to say. */
function sessionProblem({ name, limits }: QueueDefinition): string | undefined {
  if (!name.startsWith(SESSION_PREFIX)) return `a session's queue is named ${SESSION_PREFIX}...`;
  const { deadLetter, maxPriority, defaultGroup, capture, singleActiveConsumer } = limits;
  const isPlain = deadLetter === '' && maxPriority === 0 && !singleActiveConsumer;
  if (!isPlain || defaultGroup !== 'shared' || capture !== 'sync') {
    return "a session's queue has one group, which gets all in order";
  }
  return levelProblem(name.slice(SESSION_PREFIX.length)) ?? limitsProblem(limits);
}

/** The name of a queue that may be in another shard: of a session too. */
export function placeNameProblem(name: string): string | undefined {
  if (!name.startsWith(SESSION_PREFIX)) return nameProblem(name);
  return levelProblem(name.slice(SESSION_PREFIX.length));
}

/** The name of a queue that is no session's: one topic level, or that behind `$dlq/`. */
function nameProblem(name: string): string | undefined {
  const isDeadLetter = name.startsWith(DEAD_LETTER_PREFIX);
  return levelProblem(isDeadLetter ? name.slice(DEAD_LETTER_PREFIX.length) : name);
}

function levelProblem(name: string): string | undefined {
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
  return groupLimitsProblem(limits) ?? lengthLimitsProblem(limits);
}

function groupLimitsProblem(limits: QueueLimits): string | undefined {
  if (!within(limits.groupExpiresMs, 1_000, MAX_LIFE_MS))
    return 'group_expires is outside its range';
  if (!within(limits.maxGroups, 1, 10_000)) return 'max_groups is outside its range';
  if (!within(limits.maxPriority, 0, 9)) return 'max_priority is outside its range';
  if (!within(limits.maxProducers, 0, 1_000_000)) return 'max_producers is outside its range';
  if (!within(limits.producerExpiresMs, 1_000, MAX_LIFE_MS))
    return 'producer_expires is outside its range';
  return undefined;
}

function lengthLimitsProblem(limits: QueueLimits): string | undefined {
  const { retention } = limits;
  if (!within(limits.ttlMs, 0, MAX_LIFE_MS)) return 'message_ttl is outside its range';
  if (!within(limits.maxMessages, 0, MAX_AMOUNT)) return 'max_length.messages is outside its range';
  if (!within(limits.maxBytes, 0, MAX_AMOUNT)) return 'max_length.bytes is outside its range';
  if (retention.ageMs !== 0 && !within(retention.ageMs, 1_000, MAX_LIFE_MS))
    return 'retention.age is outside its range';
  if (!within(retention.bytes, 0, MAX_AMOUNT)) return 'retention.bytes is outside its range';
  if (!within(retention.messages, 0, MAX_AMOUNT)) return 'retention.messages is outside its range';
  if (limits.expiresMs !== 0 && !within(limits.expiresMs, 1_000, MAX_LIFE_MS))
    return 'expires is outside its range';
  if (limits.deadLetter === '') return undefined;
  const problem = nameProblem(limits.deadLetter);
  return problem === undefined ? undefined : `dlq: ${problem}`;
}

function within(value: number, low: number, high: number): boolean {
  return Number.isSafeInteger(value) && value >= low && value <= high;
}

/** Whether a declaration of one changes nothing where the other stands. */
export function sameDefinition(a: QueueDefinition, b: QueueDefinition): boolean {
  return a.type === b.type && sameTopics(a.topics, b.topics) && sameLimits(a.limits, b.limits);
}

export function sameLimits(a: QueueLimits, b: QueueLimits): boolean {
  const left = limitsData(a).flat();
  const right = limitsData(b).flat();
  return left.every((value, at) => value === right[at]);
}

export function sameRetention(a: RetentionLimits, b: RetentionLimits): boolean {
  return a.ageMs === b.ageMs && a.bytes === b.bytes && a.messages === b.messages;
}

export function sameTopics(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((topic, at) => topic === b[at]);
}

/** All of a definition as plain data: for records, commands and requests alike. */
export function definitionData(definition: QueueDefinition): RecordData {
  const { name, type, topics, limits } = definition;
  return [name, type, [...topics], limitsData(limits)];
}

/** The opposite; what does not fit is an assertion. */
export function definitionOf(data: RecordData): QueueDefinition {
  const [name, type, topics, limits] = listOf(data);
  return {
    name: stringOf(name),
    type: wordOf(QUEUE_TYPES, type),
    topics: listOf(topics).map(stringOf),
    limits: limitsOf(limits),
  };
}

/** The same, and the version of its place where it has one: for commands and requests. */
export function placedData(definition: PlacedDefinition): RecordData {
  const data = listOf(definitionData(definition));
  return definition.placed === undefined ? data : [...data, definition.placed];
}

export function placedOf(data: RecordData): PlacedDefinition {
  const placed = listOf(data)[4];
  const definition = definitionOf(data);
  return placed === undefined ? definition : { ...definition, placed: countOf(placed) };
}

/** Numbers and words, in a fixed order that only grows at its end. */
export function limitsData(limits: QueueLimits): readonly (number | string)[] {
  const { retry, retention } = limits;
  return [
    retry.minMs,
    retry.maxMs,
    retry.multiplier,
    retry.jitter,
    limits.deliveryLimit,
    limits.visibilityTimeoutMs,
    limits.maxUnsettledSpan,
    limits.defaultGroup,
    limits.groupStart,
    limits.groupExpiresMs,
    limits.maxGroups,
    limits.ttlMs,
    limits.maxMessages,
    limits.maxBytes,
    limits.overflow,
    retention.ageMs,
    retention.bytes,
    retention.messages,
    limits.deadLetter,
    limits.singleActiveConsumer ? 1 : 0,
    limits.maxPriority,
    limits.maxProducers,
    limits.producerExpiresMs,
    limits.expiresMs,
    limits.capture,
  ];
}

export function limitsOf(data: RecordData | undefined): QueueLimits {
  const fields = listOf(data);
  return {
    retry: {
      minMs: numberOf(fields[0]),
      maxMs: numberOf(fields[1]),
      multiplier: numberOf(fields[2]),
      jitter: numberOf(fields[3]),
    },
    deliveryLimit: numberOf(fields[4]),
    visibilityTimeoutMs: numberOf(fields[5]),
    maxUnsettledSpan: numberOf(fields[6]),
    defaultGroup: wordOf(DEFAULT_GROUPS, fields[7]),
    groupStart: wordOf(GROUP_STARTS, fields[8]),
    groupExpiresMs: numberOf(fields[9]),
    maxGroups: numberOf(fields[10]),
    ttlMs: numberOf(fields[11]),
    maxMessages: numberOf(fields[12]),
    maxBytes: numberOf(fields[13]),
    overflow: wordOf(OVERFLOWS, fields[14]),
    retention: {
      ageMs: numberOf(fields[15]),
      bytes: numberOf(fields[16]),
      messages: numberOf(fields[17]),
    },
    deadLetter: stringOf(fields[18]),
    singleActiveConsumer: numberOf(fields[19]) === 1,
    maxPriority: numberOf(fields[20]),
    maxProducers: numberOf(fields[21]),
    producerExpiresMs: numberOf(fields[22]),
    expiresMs: numberOf(fields[23]),
    capture: wordOf(CAPTURES, fields[24]),
  };
}

function wordOf<T extends string>(words: readonly T[], data: RecordData | undefined): T {
  const word = words.find((each) => each === data);
  assert(word !== undefined, 'definitions: an unknown word');
  return word;
}
