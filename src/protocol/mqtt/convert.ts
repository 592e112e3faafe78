/**
 * MQTT's PUBLISH and will to the one neutral message, and back: all that the two have in common,
 * unaltered and in order ([MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-20]).
 *
 * User properties that begin with `_flux.` are the broker's word about a message: those of a client
 * are removed, so that nobody can speak in its name.
 */

import { type Message, type MessageProperties, remainingExpiry } from '../../broker/message.ts';
import type { Delivery } from '../../broker/ports.ts';
import { QUEUE_PREFIX } from '../../broker/queue-topic.ts';
import { utf8Size } from '../bytes.ts';
import { FIELD_BYTES_MAX } from './fields.ts';
import type { PublishProperties, UserProperties, Will } from './packet.ts';
import { messageIdOf } from './settle.ts';

const RESERVED = '_flux.';

export function messageProperties(
  properties: Omit<PublishProperties, 'topicAlias'> | undefined,
): MessageProperties | undefined {
  if (properties === undefined) return undefined;
  const {
    payloadFormatIndicator,
    messageExpiryInterval,
    contentType,
    responseTopic,
    correlationData,
  } = properties;
  const userProperties = withoutReserved(properties.userProperties);
  return {
    ...(payloadFormatIndicator !== undefined && { payloadIsText: payloadFormatIndicator === 1 }),
    ...(messageExpiryInterval !== undefined && { expirySeconds: messageExpiryInterval }),
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { replyTo: responseTopic }),
    ...(correlationData !== undefined && { correlationId: correlationData }),
    ...(userProperties !== undefined && { userProperties }),
  };
}

function withoutReserved(properties: UserProperties | undefined): UserProperties | undefined {
  if (properties === undefined) return undefined;
  if (!properties.some(([name]) => name.startsWith(RESERVED))) return properties;
  return properties.filter(([name]) => !name.startsWith(RESERVED));
}

/** Owns its bytes: the packet is long gone when the will is published. */
export function willMessage(will: Will): Message {
  const properties = messageProperties(will.properties);
  const correlationId = properties?.correlationId;
  return {
    topic: will.topic,
    payload: new Uint8Array(will.payload),
    qos: will.qos,
    retain: will.retain,
    properties:
      correlationId === undefined
        ? properties
        : { ...properties, correlationId: new Uint8Array(correlationId) },
  };
}

type Outgoing = Omit<PublishProperties, 'subscriptionIdentifiers' | 'topicAlias'>;

/** `expirySeconds` is what is left of it [MQTT-3.3.2-6]. */
export function publishProperties(
  properties: MessageProperties | undefined,
  expirySeconds: number | undefined,
): Outgoing | undefined {
  if (properties === undefined) return undefined;
  const { payloadIsText, contentType, replyTo, correlationId, userProperties } = properties;
  return {
    ...(payloadIsText !== undefined && { payloadFormatIndicator: payloadIsText ? 1 : 0 }),
    ...(expirySeconds !== undefined && { messageExpiryInterval: expirySeconds }),
    ...(contentType !== undefined && { contentType }),
    ...(replyTo !== undefined && { responseTopic: replyTo }),
    ...(correlationId !== undefined && { correlationData: correlationId }),
    ...(userProperties !== undefined && { userProperties }),
  };
}

/**
 * What a delivery of a queue tells besides the message; 3.1.1 has no place for it. `nowMs` is wall
 * time, as the queue counts it, for what is left of the expiry (at least 1: whether it is over is
 * for the queue).
 */
export function queueDeliveryProperties(
  delivery: Delivery,
  isStream: boolean,
  nowMs: number,
): Outgoing {
  const { message, origin, publishedAtMs } = delivery;
  const left = remainingExpiry(message, publishedAtMs, nowMs);
  const expirySeconds = left === undefined ? undefined : Math.max(1, left);
  const properties = publishProperties(message.properties, expirySeconds);
  const offset = String(delivery.offset);
  const userProperties: (readonly [string, string])[] = [
    ...(properties?.userProperties ?? []),
    ['message-id', messageIdOf(delivery)],
    ['group-id', delivery.groupName],
    ['queue', delivery.queueName],
    ['offset', offset],
    ['delivery-count', String(delivery.attempt)],
  ];
  if (isStream) {
    userProperties.push(['x-stream-offset', offset], ['x-stream-timestamp', String(publishedAtMs)]);
  }
  if (isCaptured(message)) userProperties.push(['source-topic', message.topic]);
  userProperties.push(
    [`${RESERVED}client-id`, origin.clientId],
    [`${RESERVED}protocol`, origin.protocol],
  );
  if (origin.user !== undefined) userProperties.push([`${RESERVED}user`, origin.user]);
  return { ...properties, userProperties };
}

/** A queue took it from an ordinary topic. */
function isCaptured({ topic }: Message): boolean {
  return !topic.startsWith(QUEUE_PREFIX);
}

/**
 * The topic of a delivery. A captured message comes below the name of its queue, so that the topic
 * matches the subscription ([MQTT-3.3.2-3]) and 3.1.1, which has no properties, is told it too.
 */
export function queueDeliveryTopic({ message, queueName }: Delivery): string {
  if (!isCaptured(message)) return message.topic;
  const topic = `${QUEUE_PREFIX}${queueName}/${message.topic}`;
  return utf8Size(topic) <= FIELD_BYTES_MAX ? topic : message.topic;
}
