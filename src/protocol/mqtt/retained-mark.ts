/**
 * The broker's own word in a retained message that lies in the queue of a session: which one it is,
 * and which subscription it is for. A user property that no publisher can set, and that is taken
 * off before the message is sent.
 *
 *     _flux.retained: <offset in the queue of retained messages> <filter as subscribed>
 */

import type { Message, MessageProperties } from '../../broker/message.ts';

const NAME = '_flux.retained';

export interface RetainedMark {
  readonly offset: number;
  readonly filter: string;
}

/** The same message with the mark; of its expiry so much is left. */
export function marked(
  message: Message,
  { offset, filter }: RetainedMark,
  expirySeconds: number | undefined,
): Message {
  const { topic, payload, qos, retain, properties } = message;
  const userProperties = [...(properties?.userProperties ?? []), [NAME, `${offset} ${filter}`]];
  const life = expirySeconds === undefined ? {} : { expirySeconds };
  return {
    topic,
    payload,
    qos,
    retain,
    properties: { ...properties, ...life, userProperties } as MessageProperties,
  };
}

/** Undefined: it came as a live message. */
export function markOf(properties: MessageProperties | undefined): RetainedMark | undefined {
  const last = properties?.userProperties?.at(-1);
  if (last?.[0] !== NAME) return undefined;
  const [, value] = last;
  const end = value.indexOf(' ');
  return { offset: Number(value.slice(0, end)), filter: value.slice(end + 1) };
}

export function unmarked(properties: MessageProperties | undefined): MessageProperties | undefined {
  if (markOf(properties) === undefined) return properties;
  const { userProperties, ...others } = properties as MessageProperties;
  const left = userProperties?.slice(0, -1) ?? [];
  return left.length === 0 ? others : { ...others, userProperties: left };
}
