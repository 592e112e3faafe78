/**
 * The limits of a queue by the names and in the units of the configuration file, and the options of
 * `queue declare` that are made from the same table. Pure.
 */

import type { QueueDefinition } from '../../broker/ports.ts';
import { writeDuration, writeSize } from '../../config/values.ts';
import { type QueueKey, queueKeys } from '../../config/queue-leaves.ts';

/** Shorter names of options, where the long one is a path; both are taken. */
const SHORT: Readonly<Record<string, string>> = {
  topics: 'topic',
  message_ttl: 'ttl',
  'max_length.messages': 'max-messages',
  'max_length.bytes': 'max-bytes',
  'max_length.overflow': 'overflow',
  max_priority: 'priority',
};

export interface LimitOption extends QueueKey {
  /** `--ttl, --message-ttl`. */
  readonly flags: string;
  /** Under which commander keeps its value. */
  readonly attribute: string;
  /** The one to speak of in messages. */
  readonly shown: string;
}

export function limitOptions(): readonly LimitOption[] {
  return queueKeys().map(({ path, key }) => {
    const long = path.replaceAll(/[._]/g, '-');
    const short = SHORT[path];
    const flags = short === undefined ? `--${long}` : `--${short}, --${long}`;
    const attribute = long.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    return { path, key, flags, attribute, shown: `--${short ?? long}` };
  });
}

/** Every limit by its path in the configuration file, as it would be written there. */
export function writtenLimits({ limits }: QueueDefinition): ReadonlyMap<string, string> {
  const { retry, retention } = limits;
  return new Map(
    Object.entries({
      capture: limits.capture,
      default_group: limits.defaultGroup,
      group_start: limits.groupStart,
      group_expires: writeDuration(limits.groupExpiresMs),
      max_groups: String(limits.maxGroups),
      message_ttl: writeDuration(limits.ttlMs),
      'max_length.messages': String(limits.maxMessages),
      'max_length.bytes': writeSize(limits.maxBytes),
      'max_length.overflow': limits.overflow,
      'retention.age': writeDuration(retention.ageMs),
      'retention.bytes': writeSize(retention.bytes),
      'retention.messages': String(retention.messages),
      dlq: limits.deadLetter === '' ? 'off' : limits.deadLetter,
      'retry.min': writeDuration(retry.minMs),
      'retry.max': writeDuration(retry.maxMs),
      'retry.multiplier': String(retry.multiplier),
      'retry.jitter': String(retry.jitter),
      delivery_limit: String(limits.deliveryLimit),
      visibility_timeout: writeDuration(limits.visibilityTimeoutMs),
      max_unsettled_span: String(limits.maxUnsettledSpan),
      single_active_consumer: String(limits.singleActiveConsumer),
      max_priority: String(limits.maxPriority),
      max_producers: String(limits.maxProducers),
      producer_expires: writeDuration(limits.producerExpiresMs),
      expires: writeDuration(limits.expiresMs),
    }),
  );
}

export interface Difference {
  readonly path: string;
  readonly from: string;
  readonly to: string;
}

/** What two definitions do not share, topics among it. */
export function differences(from: QueueDefinition, to: QueueDefinition): readonly Difference[] {
  const before = new Map([...writtenLimits(from), ['topics', from.topics.join(' ')]]);
  const after = new Map([...writtenLimits(to), ['topics', to.topics.join(' ')]]);
  return [...after].flatMap(([path, value]) => {
    const was = before.get(path) ?? '';
    return was === value ? [] : [{ path, from: was, to: value }];
  });
}
