/**
 * Subscriptions of a durable session as the log keeps them, and back. What a client wants of a
 * queue beyond its filter is a text of ours; a text that says nothing here (of a later version)
 * asks for nothing, and the filter counts all the same. Pure.
 *
 *     {"group":"<consumer group>","manual":true}      each of them may be missing
 */

import type { StoredSubscription } from '../../broker/ports.ts';
import { QUEUE_PREFIX, SYSTEM_PREFIX } from '../../broker/queue-topic.ts';
import type { Subscription } from './packet.ts';
import { queueWish, type QueueWish } from './queue-wish.ts';
import type { SessionSubscription } from './session.ts';
import { parseSharedFilter } from './topic.ts';

export function storedSubscription(
  { topicFilter, qos, noLocal, retainAsPublished, retainHandling }: Subscription,
  identifier: number,
  wish: QueueWish | undefined,
): StoredSubscription {
  return routedSubscription({
    filter: topicFilter,
    qos,
    noLocal,
    retainAsPublished,
    retainHandling,
    identifier,
    wish: wish === undefined ? '' : textOf(wish),
  });
}

/**
 * One to a share of ordinary topics at QoS 1 or 2 is told to all nodes; the same object where that
 * is said, or where it is no such one. Earlier versions did not say it.
 */
export function routedSubscription(stored: StoredSubscription): StoredSubscription {
  if (stored.qos === 0 || stored.isRouted === true) return stored;
  const shared = parseSharedFilter(stored.filter);
  if (shared === undefined || shared === 'malformed') return stored;
  const isOrdinary = [QUEUE_PREFIX, SYSTEM_PREFIX].every((each) => !shared.filter.startsWith(each));
  return isOrdinary ? { ...stored, isRouted: true } : stored;
}

/** Undefined: its filter says nothing that this version understands. */
export function restoredSubscription(stored: StoredSubscription): SessionSubscription | undefined {
  const { filter: topicFilter, qos, noLocal, retainAsPublished, identifier } = stored;
  const shared = parseSharedFilter(topicFilter);
  if (shared === 'malformed') return undefined;
  const filter = shared?.filter ?? topicFilter;
  const options = { qos, noLocal, retainAsPublished, identifier };
  if (!filter.startsWith(QUEUE_PREFIX)) {
    return { ...options, share: shared?.shareName, filter, wish: undefined };
  }
  const asked = { ...stored, topicFilter, filter, shareName: shared?.shareName };
  const wish = queueWish(asked, { ...saidIn(stored.wish), start: undefined });
  return 'text' in wish ? undefined : { ...options, filter, wish };
}

function textOf({ group, manual }: QueueWish): string {
  if (group === undefined && !manual) return '';
  return JSON.stringify({ group, ...(manual && { manual }) });
}

function saidIn(text: string): Pick<QueueWish, 'group' | 'manual'> {
  const said = parsed(text);
  const group = 'group' in said && typeof said.group === 'string' ? said.group : undefined;
  return { group, manual: 'manual' in said && said.manual === true };
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
