/**
 * Settlement by publishing (5.0): what a PUBLISH to `$queue/<queue>/$ack` and its like asks for.
 *
 *     topic                           message-id   group-id   what it does
 *     $queue/<queue>/$ack             yes          yes        done, never again
 *     $queue/<queue>/$nack            yes          yes        handed back; again after the backoff
 *     $queue/<queue>/$reject          yes          yes        to the dead-letter queue
 *     $queue/<queue>/$extend          yes          yes        its visibility timeout begins anew
 *     $queue/<queue>/$commit          or offset    yes        stream: all up to and with it is done
 *
 * Message id and group id are user properties, as the delivery told them; the payload is not looked
 * at. Such a PUBLISH never lands in a queue, also when it is wrong: then it is refused with words.
 * The message id is made here too. It is opaque to clients, so what is not of our making is refused
 * and never guessed at: queueId, offset, term and delivery number in base 36.
 */

import type {
  AskedOutcome,
  Broker,
  Delivery,
  Offset,
  QueueInfo,
  SettleRequest,
} from '../../broker/ports.ts';
import { parseQueueTopic, QUEUE_PREFIX } from '../../broker/queue-topic.ts';
import type { UserProperties } from './packet.ts';
import { wholeNumber } from './queue-wish.ts';
import type { SettleRefusal } from './refusals.ts';

const VERBS: ReadonlyMap<string, AskedOutcome> = new Map([
  ['$ack', 'complete'],
  ['$nack', 'requeue'],
  ['$reject', 'discard'],
  ['$commit', 'commit'],
  ['$extend', 'extend'],
]);

const DOLLAR = 0x24;

/** Undefined: an ordinary publish. */
export function settlementOf(
  topic: string,
  properties: UserProperties | undefined,
  broker: Broker,
): SettleRequest | SettleRefusal | undefined {
  const named = settlementIn(topic);
  if (named === undefined) return undefined;
  const queue = broker.queue(named.queueName);
  if (queue === undefined) return 'settle-no-queue';
  return requestOf(queue, named.outcome, properties);
}

/** A publish to this topic settles, or is refused. */
export function isSettlement(topic: string): boolean {
  return settlementIn(topic) !== undefined;
}

function settlementIn(topic: string): { queueName: string; outcome: AskedOutcome } | undefined {
  // All that an ordinary topic pays.
  if (topic.charCodeAt(0) !== DOLLAR || !topic.startsWith(QUEUE_PREFIX)) return undefined;
  const verb = topic.lastIndexOf('/$');
  if (verb < QUEUE_PREFIX.length) return undefined;
  const outcome = VERBS.get(topic.slice(verb + 1));
  if (outcome === undefined) return undefined;
  const parsed = parseQueueTopic(topic);
  if (parsed?.rest !== topic.slice(verb + 1)) return undefined;
  return { queueName: parsed.name, outcome };
}

/** The name of the queue in the topic of a settlement. */
export function settledQueue(topic: string): string {
  return parseQueueTopic(topic)?.name ?? '';
}

function requestOf(
  queue: QueueInfo,
  outcome: AskedOutcome,
  properties: UserProperties | undefined,
): SettleRequest | SettleRefusal {
  const group = only(properties, 'group-id');
  if (group === undefined) return 'settle-group-id';
  if (outcome === 'commit' && queue.type !== 'stream') return 'settle-no-stream';
  const { queueId } = queue;
  const said = only(properties, 'offset');
  if (outcome === 'commit' && said !== undefined) {
    const offset = wholeNumber(said);
    if (offset === undefined) return 'settle-offset';
    return { queueId, group, outcome, offset: offset as Offset, term: 0, deliveryNumber: 0 };
  }
  const name = parseMessageId(only(properties, 'message-id'));
  if (name === undefined) return 'settle-message-id';
  // Also of a queue that had the same name before (Q25).
  if (name.queueId !== queueId) return 'settle-other-queue';
  const { offset, term, deliveryNumber } = name;
  return { queueId, group, outcome, offset, term, deliveryNumber };
}

/** Undefined when it is missing, or there several times with different values. */
function only(properties: UserProperties | undefined, name: string): string | undefined {
  let found: string | undefined;
  for (const [each, value] of properties ?? []) {
    if (each !== name) continue;
    if (found !== undefined && found !== value) return undefined;
    found = value;
  }
  return found;
}

type DeliveryName = Pick<Delivery, 'queueId' | 'offset' | 'term' | 'deliveryNumber'>;

/** Names one delivery. */
export function messageIdOf({ queueId, offset, term, deliveryNumber }: DeliveryName): string {
  return `${text36(queueId)}-${text36(offset)}-${text36(term)}-${text36(deliveryNumber)}`;
}

function text36(value: number): string {
  return value.toString(36);
}

const MESSAGE_ID = /^([0-9a-z]{1,11})-([0-9a-z]{1,11})-([0-9a-z]{1,11})-([0-9a-z]{1,11})$/;

function parseMessageId(text: string | undefined): DeliveryName | undefined {
  const parts = text === undefined ? null : MESSAGE_ID.exec(text);
  if (parts === null) return undefined;
  const [queueId, offset, term, deliveryNumber] = parts.slice(1).map((part) => parseInt(part, 36));
  const name = { queueId, offset, term, deliveryNumber } as DeliveryName;
  // Of our making: without leading zeros, and no number that cannot be told from another.
  const own = Object.values(name).every(Number.isSafeInteger) && messageIdOf(name) === text;
  return own ? name : undefined;
}
