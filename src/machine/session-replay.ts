/**
 * Retained messages that a SUBSCRIBE of a durable session brings (MQTT 5.0 section 3.3.1.3): each
 * is appended to the queue of its session alone, and in the same command the replay of the
 * subscription moves behind it. So whoever owns the session next goes on where the log says, and
 * none is missed or stored twice.
 *
 * They have no right to room: a step is refused, and comes again, while the session has more to do
 * than it asked for, or is at a bound of its queue, whatever that does with other messages there.
 */

import type { ReplayStep } from './command.ts';
import { type Incoming, enqueue } from './enqueue.ts';
import { DEFAULT_GROUP, type QueueId } from './ids.ts';
import { hasRoom } from './length-bounds.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import type { ReplaySessionCommand } from './session-command.ts';
import type { StoredReplay, StoredSubscription } from './session-record.ts';
import { outcomeCode } from './streams.ts';

const ACCEPTED = outcomeCode('accepted');
const TOO_LARGE = outcomeCode('too-large');
const QUEUE_FULL = outcomeCode('queue-full');
const STALE_OWNER = outcomeCode('stale-owner');

/** Adds what a step needs beside what its queue does. */
export function stepNeeds(targets: readonly QueueId[], needs: NeedsContext): void {
  const state = sessionOf(targets, needs);
  if (state === undefined || !state.use()) return;
  needs.parts.sessions.need(state.queueId, needs.keys);
  state.missing(needs.keys);
}

/** The code of the outcome, as in `OUTCOMES`. */
export function storeStep(message: Incoming, step: ReplayStep, context: ApplyContext): number {
  const state = sessionOf(message.targets, context);
  if (state === undefined) return STALE_OWNER;
  const { parts } = context;
  const { ownerEpoch, subscriptions } = parts.sessions.get(state.queueId);
  const subscription = subscriptions.find(({ replay }) => replay?.run === step.run);
  const replay = subscription?.replay;
  if (replay === undefined || ownerEpoch !== step.ownerEpoch) return STALE_OWNER;
  if (step.at < replay.next) return ACCEPTED;
  // Not in its turn: one before it was refused.
  if (step.from > replay.next || step.at >= replay.end) return QUEUE_FULL;
  const { maxBytes } = state.definition.limits;
  if (maxBytes > 0 && message.bytes > maxBytes) return TOO_LARGE;
  const depth = state.loadedGroup(DEFAULT_GROUP).depth(state.queue.nextOffset);
  if (depth >= step.room || !hasRoom(state, message, parts.marks)) return QUEUE_FULL;
  const outcome = enqueue(message, context);
  if (outcome !== ACCEPTED) return outcome;
  const moved = movedTo(replay, { next: Math.max(step.next, step.at + 1), end: replay.end });
  parts.sessions.change(state.queueId).subscriptions = subscriptions.map((each) =>
    each === subscription ? withReplay(each, moved) : each,
  );
  return ACCEPTED;
}

/** `replay-session`, by the owner. */
export function moveReplays({ queueId, replays }: ReplaySessionCommand, context: ApplyContext) {
  const { sessions } = context.parts;
  const byFilter = new Map(replays.map((each) => [each.filter, each]));
  sessions.change(queueId).subscriptions = sessions.get(queueId).subscriptions.map((each) => {
    const to = byFilter.get(each.filter);
    if (to === undefined || each.replay?.run !== to.run) return each;
    return withReplay(each, movedTo(each.replay, to));
  });
}

/** What a subscription owes that takes the place of `before`. */
export function replayAfter(
  { qos, replay }: StoredSubscription,
  before: StoredSubscription | undefined,
): StoredReplay | undefined {
  // What goes at QoS 0 is not repeated.
  return qos === 0 ? undefined : (replay ?? before?.replay);
}

export function withReplay(
  subscription: StoredSubscription,
  replay: StoredReplay | undefined,
): StoredSubscription {
  const { replay: _before, ...others } = subscription;
  return replay === undefined ? others : { ...others, replay };
}

/** Undefined: it is done. */
function movedTo(
  replay: StoredReplay,
  to: Pick<StoredReplay, 'next' | 'end'>,
): StoredReplay | undefined {
  const { run } = replay;
  const end = replay.end === 0 ? to.end : replay.end;
  const next = Math.max(replay.next, to.next);
  return next >= end ? undefined : { run, next, end };
}

function sessionOf(
  [queueId]: readonly QueueId[],
  { queues }: Pick<NeedsContext, 'queues'>,
): QueueState | undefined {
  const state = queueId === undefined ? undefined : queues.get(queueId);
  return state?.definition.type === 'session' ? state : undefined;
}
