/**
 * By which patterns the queue of a durable session is known to all nodes: what it captures, and in
 * which shares of ordinary topics it is a member.
 *
 *   a/#                    captures: a filter at QoS 1 or 2
 *   $share/<name>/<filter> is a member of that share, whose subscription is routed
 *   $share/asleep          and nobody has the session: the last one, where there are shares
 *
 * No filter of a client looks like the last one: a share's has a third level. A subscription to a
 * share that is not routed, as those of earlier versions, gives no pattern; so an entry of the log
 * gives the same definition whichever version applies it. A session that has ended is a member of
 * no share: what it would be given would go with it.
 */

import { type QueueDefinition, sameLimits, sameTopics } from './definitions.ts';
import type { ApplyContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import type { SessionRecord } from './session-record.ts';

/** Topics whose messages come another way: of a share, of a queue, of the broker itself. */
const NOT_CAPTURED = ['$share/', '$queue/', '$SYS/'];
const ASLEEP_PATTERN = '$share/asleep';

/** The patterns of the session's queue at this time of the shard, each once. */
export function sessionPatterns(record: SessionRecord, stamp: number): readonly string[] {
  const { subscriptions } = record;
  const isMember = !record.hasEnded(stamp);
  const patterns = subscriptions
    .filter(({ qos, filter, isRouted }) => {
      if (isRouted === true) return isMember;
      return qos > 0 && !NOT_CAPTURED.some((each) => filter.startsWith(each));
    })
    .map(({ filter }) => filter);
  const isAsleep = isMember && record.endsAt !== 0 && hasShares(record);
  return isAsleep ? [...patterns, ASLEEP_PATTERN] : patterns;
}

function hasShares({ subscriptions }: SessionRecord): boolean {
  return subscriptions.some(({ isRouted }) => isRouted === true);
}

/** The session was left, is back, or has ended: what its shares know of it changes. */
export function redefineShares(state: QueueState, record: SessionRecord, context: ApplyContext) {
  if (!hasShares(record)) return;
  const topics = sessionPatterns(record, context.stamp);
  redefineSession(state, { ...state.definition, topics }, context);
}

/** Nothing where it is so already. */
export function redefineSession(
  { queueId, definition: before }: QueueState,
  definition: QueueDefinition,
  { queues, effects }: ApplyContext,
): void {
  const isSame =
    sameTopics(before.topics, definition.topics) && sameLimits(before.limits, definition.limits);
  if (isSame) return;
  queues.redefineSession(queueId, definition);
  effects.addRare({ kind: 'session-redefined', queueId, definition });
}
