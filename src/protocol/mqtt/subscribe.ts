/**
 * SUBSCRIBE and UNSUBSCRIBE: what is granted, refused with which words, and begun.
 *
 * A filter that begins with `$queue/` consumes a queue and never becomes a subscription of the
 * topic tree: `$queue/<name>` and `$queue/<name>/#` are the whole queue, at QoS 1 at most (a
 * delivery is settled by its PUBACK). What this broker does not do is refused and named, never
 * taken and ignored.
 *
 * MQTT 5.0 sections 3.8.4, 3.10.4.
 */

import type { QueueInfo, SubscriptionOptions } from '../../broker/ports.ts';
import type { Consumers } from './consumers.ts';
import type { MqttContext } from './context.ts';
import type { Outbound } from './deliver.ts';
import type { DiagnosticProperties, Subscription, SubscribePacket } from './packet.ts';
import { ReasonCode, type SubscribeReason, type UnsubscribeReason } from './reason-codes.ts';
import type { Session } from './session.ts';
import { topicLevels } from './topic.ts';

const QUEUE_PREFIX = '$queue/';

/** User properties of SUBSCRIBE that ask for something that does not exist yet. */
const UNKNOWN_WISHES = ['consumer-group', 'ack', 'x-stream-offset'];

export interface SubscribeParts {
  readonly context: MqttContext;
  readonly session: Session;
  readonly outbound: Outbound;
  readonly consumers: Consumers;
}

interface Refused {
  readonly reasonCode: Exclude<SubscribeReason, 0 | 1 | 2>;
  readonly text: string;
}

interface Granted {
  readonly reasonCode: 0 | 1 | 2;
  /** Begins what was granted; called after SUBACK is written. */
  readonly begin: () => void;
}

export interface SubscribeAnswer {
  readonly reasonCodes: readonly SubscribeReason[];
  /** Why something was refused, for people. */
  readonly properties: DiagnosticProperties | undefined;
  readonly begin: readonly (() => void)[];
}

export function subscribe(parts: SubscribeParts, packet: SubscribePacket): SubscribeAnswer {
  const reasonCodes: SubscribeReason[] = [];
  const texts = new Set<string>();
  const begin: (() => void)[] = [];
  const identifier = packet.properties?.subscriptionIdentifiers?.[0] ?? 0;
  const wish = unknownWish(packet);
  for (const subscription of packet.subscriptions) {
    const answer = subscribeOne(parts, { subscription, identifier, wish });
    reasonCodes.push(answer.reasonCode);
    if ('begin' in answer) begin.push(answer.begin);
    else texts.add(answer.text);
  }
  const reasonString = [...texts].join('; ');
  return { reasonCodes, properties: texts.size === 0 ? undefined : { reasonString }, begin };
}

interface Request {
  readonly subscription: Subscription;
  readonly identifier: number;
  readonly wish: string | undefined;
}

function subscribeOne(parts: SubscribeParts, request: Request): Granted | Refused {
  const { context, session } = parts;
  const { subscription } = request;
  const { filter, topicFilter } = subscription;
  if (subscription.shareName !== undefined) {
    return {
      reasonCode: ReasonCode.sharedSubscriptionsNotSupported,
      text: 'there are no shared subscriptions; consumers of $queue/<name> share its messages',
    };
  }
  if (topicLevels(filter, context.broker.maxTopicLevels) > context.broker.maxTopicLevels) {
    return { reasonCode: ReasonCode.topicFilterInvalid, text: 'the filter has too many levels' };
  }
  const isNew = !session.subscriptions.has(topicFilter);
  if (isNew && session.subscriptions.size >= context.options.maxSubscriptions) {
    return { reasonCode: ReasonCode.quotaExceeded, text: 'too many subscriptions' };
  }
  if (filter.startsWith(QUEUE_PREFIX)) return consume(parts, request);
  const options: SubscriptionOptions = {
    qos: subscription.qos,
    noLocal: subscription.noLocal,
    retainAsPublished: subscription.retainAsPublished,
    identifier: request.identifier,
  };
  session.subscriptions.set(filter, options);
  context.broker.subscribe(session, filter, options);
  return {
    reasonCode: subscription.qos,
    begin: () => {
      const { retainHandling } = subscription;
      if (retainHandling === 2 || (retainHandling === 1 && !isNew)) return;
      parts.outbound.replay({
        cursor: context.broker.retained(filter),
        qos: subscription.qos,
        identifiers: request.identifier === 0 ? [] : [request.identifier],
        next: undefined,
      });
    },
  };
}

function consume(parts: SubscribeParts, request: Request): Granted | Refused {
  const { context, session, consumers } = parts;
  const { filter, qos } = request.subscription;
  if (request.wish !== undefined) {
    return {
      reasonCode: ReasonCode.implementationSpecificError,
      text: `the user property '${request.wish}' means something that this version does not do`,
    };
  }
  const name = queueName(filter);
  if (name === undefined) {
    return {
      reasonCode: ReasonCode.topicFilterInvalid,
      text: 'a filter inside a queue is not supported: subscribe to $queue/<name>',
    };
  }
  const queue = context.broker.queue(name);
  if (queue === undefined) {
    return {
      reasonCode: ReasonCode.unspecifiedError,
      text: "there is no such queue; what is published to its name lies in the queue 'mqtt'",
    };
  }
  if (qos === 0) {
    return {
      reasonCode: ReasonCode.implementationSpecificError,
      text: 'a classic queue is consumed at QoS 1: PUBACK settles',
    };
  }
  const { identifier } = request;
  session.subscriptions.set(filter, {
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    identifier,
  });
  return {
    reasonCode: ReasonCode.grantedQos1,
    begin: () => consumers.open(filter, queue, identifier),
  };
}

/** Undefined for a filter that is not the whole of one queue. */
function queueName(filter: string): string | undefined {
  const rest = filter.slice(QUEUE_PREFIX.length);
  const name = rest.endsWith('/#') ? rest.slice(0, -2) : rest;
  return name === '' || /[/+#]/.test(name) ? undefined : name;
}

function unknownWish({ properties }: SubscribePacket): string | undefined {
  const names = properties?.userProperties?.map(([name]) => name) ?? [];
  return UNKNOWN_WISHES.find((wish) => names.includes(wish));
}

/** Opens again the queues of a session that was resumed; gives those that no longer exist. */
export function consumeAgain({ context, session, consumers }: SubscribeParts): readonly string[] {
  const missing: string[] = [];
  for (const [filter, { identifier }] of session.subscriptions) {
    if (!filter.startsWith(QUEUE_PREFIX)) continue;
    const name = queueName(filter);
    const queue: QueueInfo | undefined =
      name === undefined ? undefined : context.broker.queue(name);
    if (queue === undefined) missing.push(filter);
    else consumers.open(filter, queue, identifier);
  }
  for (const filter of missing) session.subscriptions.delete(filter);
  return missing;
}

export function unsubscribe(
  { context, session, consumers }: SubscribeParts,
  topicFilters: readonly string[],
): readonly UnsubscribeReason[] {
  return topicFilters.map((filter) => {
    if (!session.subscriptions.delete(filter)) return ReasonCode.noSubscriptionExisted;
    if (filter.startsWith(QUEUE_PREFIX)) consumers.close(filter);
    else context.broker.unsubscribe(session, filter);
    return ReasonCode.success;
  });
}
