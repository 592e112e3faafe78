/**
 * What a message looks like when it leaves its queue for another one: its new topic, and the user
 * properties that tell where it came from and why. Pure.
 *
 *   rejected, delivery-limit   `$queue/<dead-letter queue>/<routing key>`, with all properties
 *                              below; without an expiry, or it would be gone before anybody looks
 *   moved                      `$queue/<target>/<routing key>`; a dead letter that goes back to its
 *                              source has the topic that it was published to again
 *   delayed                    as it was published
 *
 *   _flux.dlq-reason   rejected | delivery-limit     _flux.dlq-attempts  attempts that ended
 *   _flux.dlq-queue    the queue that it left        _flux.dlq-time      when, ms since 1970 UTC
 *   _flux.dlq-group    the group that gave it up     _flux.source-topic  what it was published to
 *   _flux.dlq-offset   its offset there              _flux.hops          how often, to HOPS_MAX
 *
 * A cycle of dead-letter queues ends by the hops; a move by an operator begins them anew. A client
 * cannot set any of these: the broker takes `_flux.` properties from what it is sent.
 */

import type { Message, MessageProperties } from '../broker/message.ts';
import type { EnqueueOptions } from '../machine/command.ts';
import type { Intent } from '../machine/effect.ts';
import { routingKeyAt } from '../machine/filters.ts';

export const HOPS_MAX = 16;
export const DLQ_QUEUE_PROPERTY = '_flux.dlq-queue';
const SOURCE_TOPIC_PROPERTY = '_flux.source-topic';
const HOPS_PROPERTY = '_flux.hops';
const DLQ_PREFIX = '_flux.dlq-';
const QUEUE_PREFIX = '$queue/';
const TOPIC_BYTES_MAX = 65_535;
const PRIORITY_MAX = 9;

/** Names are as they are now; a queue or group that is gone has none any more. */
export interface DepartureNames {
  /** The queue that it leaves. */
  readonly queue: string;
  readonly group: string;
  /** The queue that it goes to; several only when it was delayed, and then it does not matter. */
  readonly target: string;
}

export interface Departure {
  readonly message: Message;
  readonly options: EnqueueOptions | undefined;
}

/** Undefined: it has gone from one dead-letter queue to the next too often. */
export function departureOf(
  intent: Intent,
  stored: { readonly message: Message; readonly publishedAtMs: number; readonly nowMs: number },
  names: DepartureNames,
): Departure | undefined {
  const { message } = stored;
  const options = optionsOf(stored);
  switch (intent.reason) {
    case 'delayed':
      return { message, options };
    case 'moved':
      return { message: moved(message, intent, names), options };
    case 'rejected':
    case 'delivery-limit': {
      const hops = Number(property(message, HOPS_PROPERTY) ?? '0') + 1;
      // What is no number was not written by a broker, and counts as too many.
      if (!(hops <= HOPS_MAX)) return undefined;
      const letter = deadLetter(message, { intent, hops, names });
      return { message: letter, options: forDeadLetter(options) };
    }
  }
}

/** The first user property of that name. */
export function property(message: Message, wanted: string): string | undefined {
  return message.properties?.userProperties?.find(([name]) => name === wanted)?.[1];
}

function deadLetter(
  message: Message,
  { intent, hops, names }: { intent: Intent; hops: number; names: DepartureNames },
): Message {
  const { expirySeconds: _expiry, userProperties = [], ...others } = message.properties ?? {};
  const told: [string, string][] = [
    ['_flux.dlq-reason', intent.reason],
    [DLQ_QUEUE_PROPERTY, names.queue],
    ['_flux.dlq-group', names.group],
    ['_flux.dlq-offset', String(intent.offset)],
    ['_flux.dlq-attempts', String(intent.attempts)],
    ['_flux.dlq-time', String(intent.stamp)],
    [SOURCE_TOPIC_PROPERTY, message.topic],
    [HOPS_PROPERTY, String(hops)],
  ];
  const kept = userProperties.filter(([name]) => !isOfDeadLetters(name));
  return {
    ...plain(message),
    topic: topicAt(message.topic, names.queue, names.target),
    properties: { ...others, userProperties: [...kept, ...told] },
  };
}

function moved(message: Message, intent: Intent, names: DepartureNames): Message {
  const source = property(message, SOURCE_TOPIC_PROPERTY);
  const isBack = intent.target.kind === 'source' && source !== undefined;
  const topic = isBack ? source : topicAt(message.topic, names.queue, names.target);
  const { userProperties, ...others } = message.properties ?? {};
  if (userProperties === undefined) return { ...plain(message), topic };
  const kept = userProperties.filter(
    ([name]) => !(isBack ? isOfDeadLetters(name) : name === HOPS_PROPERTY),
  );
  const properties: MessageProperties = { ...others, userProperties: kept };
  return { ...plain(message), topic, properties };
}

function isOfDeadLetters(name: string): boolean {
  return name.startsWith(DLQ_PREFIX) || name === SOURCE_TOPIC_PROPERTY || name === HOPS_PROPERTY;
}

/** A message of the log has its parts behind getters. */
function plain({ topic, payload, qos, retain, properties }: Message): Message {
  return { topic, payload, qos, retain, properties };
}

/** The topic that brings it into `target` with the routing key that it has in `queue`. */
function topicAt(topic: string, queue: string, target: string): string {
  const key = topic.slice(routingKeyAt(topic, queue));
  const own = QUEUE_PREFIX + target;
  if (key === '') return own;
  const whole = `${own}/${key}`;
  return Buffer.byteLength(whole) <= TOPIC_BYTES_MAX ? whole : own;
}

/** What it asked for when it was published, as far as that is not over. */
function optionsOf(stored: {
  readonly message: Message;
  readonly publishedAtMs: number;
  readonly nowMs: number;
}): EnqueueOptions | undefined {
  const { message, publishedAtMs, nowMs } = stored;
  const expirySeconds = message.properties?.expirySeconds;
  const ttlMs =
    expirySeconds === undefined ? 0 : Math.max(1, expirySeconds * 1000 - (nowMs - publishedAtMs));
  const asked = Number(property(message, 'x-priority') ?? message.properties?.priority ?? 0);
  const priority = asked >= 0 && asked <= PRIORITY_MAX ? Math.floor(asked) : 0;
  if (ttlMs === 0 && priority === 0) return undefined;
  return { ttlMs, priority, delayMs: 0, producer: undefined, key: undefined };
}

function forDeadLetter(options: EnqueueOptions | undefined): EnqueueOptions | undefined {
  return options === undefined || options.priority === 0 ? undefined : { ...options, ttlMs: 0 };
}
