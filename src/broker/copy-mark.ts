/**
 * The broker's own word in a message that lies in the queue of a session for one subscription
 * alone: which one, and how it came there. A user property that no publisher can set, and that is
 * taken off before the message is sent.
 *
 *     _flux.retained: <offset in the queue of retained messages> <filter as subscribed>
 *     _flux.share:    <filter as subscribed, $share/<name>/ included>
 */

import type { Message, MessageProperties } from './message.ts';

const RETAINED = '_flux.retained';
const SHARE = '_flux.share';

/** A retained message that a SUBSCRIBE brought. */
export interface RetainedMark {
  readonly kind: 'retained';
  readonly offset: number;
  readonly filter: string;
}

/** The one copy of a shared subscription. */
export interface ShareMark {
  readonly kind: 'share';
  readonly filter: string;
}

/** The same message with the mark; of its expiry so much is left, undefined: all. */
export function marked(
  message: Message,
  mark: RetainedMark | ShareMark,
  expirySeconds: number | undefined,
): Message {
  const { topic, payload, qos, retain, properties } = message;
  const userProperties = [...(properties?.userProperties ?? []), propertyOf(mark)];
  const life = expirySeconds === undefined ? {} : { expirySeconds };
  return { topic, payload, qos, retain, properties: { ...properties, ...life, userProperties } };
}

function propertyOf(mark: RetainedMark | ShareMark): readonly [name: string, value: string] {
  if (mark.kind === 'share') return [SHARE, mark.filter];
  return [RETAINED, `${mark.offset} ${mark.filter}`];
}

/** Undefined: it is for every subscription that matches. */
export function markOf(
  properties: MessageProperties | undefined,
): RetainedMark | ShareMark | undefined {
  const last = properties?.userProperties?.at(-1);
  if (last === undefined) return undefined;
  const [name, value] = last;
  if (name === SHARE) return { kind: 'share', filter: value };
  if (name !== RETAINED) return undefined;
  const end = value.indexOf(' ');
  const offset = Number(value.slice(0, end));
  return { kind: 'retained', offset, filter: value.slice(end + 1) };
}

export function unmarked(properties: MessageProperties | undefined): MessageProperties | undefined {
  if (markOf(properties) === undefined) return properties;
  const { userProperties, ...others } = properties as MessageProperties;
  const left = userProperties?.slice(0, -1) ?? [];
  return left.length === 0 ? others : { ...others, userProperties: left };
}
