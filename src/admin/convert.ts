/**
 * Between what the port `QueueAdmin` speaks of and the messages of proto/admin.proto, in both
 * directions. Requests that carry a definition or a position are checked here, since they came from
 * outside; numbers only as far as they must be whole, and ranges are for the broker to judge.
 */

import type { MessageProperties } from '../broker/message.ts';
import {
  AdminError,
  type GroupSummary,
  type Offset,
  type Origin,
  type PeekedMessage,
  type Position,
  type QueueAdmin,
  type QueueDefinition,
  type QueueDetail,
  type QueueId,
  type QueueSummary,
} from '../broker/ports.ts';
import { DAMAGED_MAX } from './limits.ts';
import type {
  AdminCalls,
  WireDefinition,
  WireDetail,
  WireGroup,
  WireLimits,
  WireMessage,
  WireProperties,
  WireSummary,
} from './messages.ts';

type Limits = QueueDefinition['limits'];
type DeclareOutcome = Awaited<ReturnType<QueueAdmin['declare']>>;

/** Every word that the wire may carry, by what it says. */
const TYPES = { classic: 1, stream: 1, ephemeral: 1, session: 1 } satisfies Record<
  QueueDefinition['type'],
  1
>;
const DEFAULT_GROUPS = { shared: 1, client: 1 } satisfies Record<Limits['defaultGroup'], 1>;
const GROUP_STARTS = { first: 1, next: 1 } satisfies Record<Limits['groupStart'], 1>;
const OVERFLOWS = { 'drop-head': 1, 'reject-publish': 1 } satisfies Record<Limits['overflow'], 1>;
const CAPTURES = { sync: 1, async: 1 } satisfies Record<Limits['capture'], 1>;
const GROUP_KINDS = { explicit: 1, automatic: 1 } satisfies Record<GroupSummary['kind'], 1>;
const PROTOCOLS = { mqtt: 1 } satisfies Record<Origin['protocol'], 1>;
const OUTCOMES = { created: 1, same: 1, updated: 1 } satisfies Record<DeclareOutcome, 1>;

function wordOf<Word extends string>(words: Record<Word, 1>, word: string, what: string): Word {
  // Only own names: the word comes from outside.
  if (Object.hasOwn(words, word)) return word as Word;
  const known = Object.keys(words).join(', ');
  throw new AdminError('invalid', `${what}: ${JSON.stringify(word)} is not one of ${known}`);
}

/** What has to be there for a message to mean anything. */
function present<T>(part: T | null | undefined, what: string): T {
  if (part === null || part === undefined) throw new AdminError('invalid', `${what} is missing`);
  return part;
}

/** Whole, and small enough to be exact. */
export function wholeOf(value: number, what: string): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new AdminError('invalid', `${what} is not a whole number below 2^53`);
}

export function definitionOf(wire: WireDefinition): QueueDefinition {
  const limits = present(wire.limits, 'limits');
  return {
    name: wire.name,
    type: wordOf(TYPES, wire.type, 'type'),
    topics: wire.topics,
    limits: limitsOf(limits),
  };
}

function limitsOf(wire: WireLimits): Limits {
  const retry = present(wire.retry, 'retry');
  const retention = present(wire.retention, 'retention');
  return {
    retry: {
      minMs: wholeOf(retry.minMs, 'retry.min'),
      maxMs: wholeOf(retry.maxMs, 'retry.max'),
      multiplier: retry.multiplier,
      jitter: retry.jitter,
    },
    deliveryLimit: wholeOf(wire.deliveryLimit, 'delivery_limit'),
    visibilityTimeoutMs: wholeOf(wire.visibilityTimeoutMs, 'visibility_timeout'),
    maxUnsettledSpan: wholeOf(wire.maxUnsettledSpan, 'max_unsettled_span'),
    defaultGroup: wordOf(DEFAULT_GROUPS, wire.defaultGroup, 'default_group'),
    groupStart: wordOf(GROUP_STARTS, wire.groupStart, 'group_start'),
    groupExpiresMs: wholeOf(wire.groupExpiresMs, 'group_expires'),
    maxGroups: wholeOf(wire.maxGroups, 'max_groups'),
    ttlMs: wholeOf(wire.ttlMs, 'message_ttl'),
    maxMessages: wholeOf(wire.maxMessages, 'max_length.messages'),
    maxBytes: wholeOf(wire.maxBytes, 'max_length.bytes'),
    overflow: wordOf(OVERFLOWS, wire.overflow, 'overflow'),
    retention: {
      ageMs: wholeOf(retention.ageMs, 'retention.age'),
      bytes: wholeOf(retention.bytes, 'retention.bytes'),
      messages: wholeOf(retention.messages, 'retention.messages'),
    },
    deadLetter: wire.deadLetter,
    singleActiveConsumer: wire.singleActiveConsumer,
    maxPriority: wholeOf(wire.maxPriority, 'max_priority'),
    maxProducers: wholeOf(wire.maxProducers, 'max_producers'),
    producerExpiresMs: wholeOf(wire.producerExpiresMs, 'producer_expires'),
    expiresMs: wholeOf(wire.expiresMs, 'expires'),
    capture: wordOf(CAPTURES, wire.capture, 'capture'),
  };
}

export function positionOf({ kind, offset, timeMs }: AdminCalls['Seek']['request']): Position {
  switch (kind) {
    case 'first':
    case 'last':
    case 'next':
      return { kind };
    case 'offset':
      return { kind, offset: wholeOf(offset, 'the offset') };
    case 'time':
      return { kind, ms: wholeOf(timeMs, 'the time') };
    default:
      throw new AdminError('invalid', `the position: ${JSON.stringify(kind)} is not known`);
  }
}

export function positionFields(position: Position): {
  readonly kind: string;
  readonly offset: number;
  readonly timeMs: number;
} {
  return {
    kind: position.kind,
    offset: position.kind === 'offset' ? position.offset : 0,
    timeMs: position.kind === 'time' ? position.ms : 0,
  };
}

export function summaryOf(wire: WireSummary): QueueSummary {
  return {
    ...wire,
    queueId: wire.queueId as QueueId,
    definition: definitionOf(present(wire.definition, 'definition')),
    start: wire.start as Offset,
    next: wire.next as Offset,
  };
}

export function wireDetail(detail: QueueDetail): WireDetail {
  const { groups, heldBy, damaged, ...summary } = detail;
  return {
    summary,
    groups: groups.map(wireGroup),
    heldBy: heldBy ?? null,
    damaged: damaged.slice(0, DAMAGED_MAX).map(([first, last]) => ({ first, last })),
  };
}

function wireGroup({ stuck, lost, ...group }: GroupSummary): WireGroup {
  const range = lost === undefined ? null : { first: lost[0], last: lost[1] };
  return { ...group, ...(stuck === undefined ? {} : { stuck }), lost: range };
}

export function detailOf(wire: WireDetail): QueueDetail {
  const { heldBy } = wire;
  return {
    ...summaryOf(present(wire.summary, 'summary')),
    groups: wire.groups.map(groupOf),
    heldBy: heldBy === null ? undefined : { ...heldBy, offset: heldBy.offset as Offset },
    damaged: wire.damaged.map(({ first, last }) => [first as Offset, last as Offset]),
  };
}

function groupOf(wire: WireGroup): GroupSummary {
  return {
    ...wire,
    kind: wordOf(GROUP_KINDS, wire.kind, 'kind'),
    floor: wire.floor as Offset,
    stuck: wire.stuck as Offset | undefined,
    lost: wire.lost === null ? undefined : [wire.lost.first as Offset, wire.lost.last as Offset],
  };
}

export function wireMessage({
  offset,
  origin,
  publishedAtMs,
  message,
}: PeekedMessage): WireMessage {
  const { topic, payload, qos, retain, properties } = message;
  return {
    offset,
    clientId: origin.clientId,
    protocol: origin.protocol,
    publishedAtMs,
    topic,
    payload,
    qos,
    retain,
    properties: properties === undefined ? null : wireProperties(properties),
  };
}

function wireProperties({ userProperties = [], ...others }: MessageProperties): WireProperties {
  return { ...others, userProperties: userProperties.map(([name, value]) => ({ name, value })) };
}

export function messageOf(wire: WireMessage): PeekedMessage {
  const { qos, properties } = wire;
  return {
    offset: wire.offset as Offset,
    origin: {
      clientId: wire.clientId,
      protocol: wordOf(PROTOCOLS, wire.protocol, 'protocol'),
    },
    publishedAtMs: wire.publishedAtMs,
    message: {
      topic: wire.topic,
      payload: new Uint8Array(wire.payload),
      qos: qos === 1 || qos === 2 ? qos : 0,
      retain: wire.retain,
      properties: properties === null ? undefined : propertiesOf(properties),
    },
  };
}

function propertiesOf({
  userProperties,
  correlationId,
  ...others
}: WireProperties): MessageProperties {
  return {
    ...others,
    ...(correlationId === undefined ? {} : { correlationId: new Uint8Array(correlationId) }),
    ...(userProperties.length === 0
      ? {}
      : { userProperties: userProperties.map(({ name, value }) => [name, value] as const) }),
  };
}

export function outcomeOf(outcome: string): DeclareOutcome {
  return wordOf(OUTCOMES, outcome, 'outcome');
}
