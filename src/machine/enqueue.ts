/**
 * A message comes into its queues: all of them, or (one is full and refuses) none.
 *
 * Most queues are *plain*: no group has a filter, and nothing bounds their length; a message is
 * appended, and no group's record is needed. For the others, in this order:
 *
 *   full         `reject-publish`: the publish is refused, whatever the other targets say
 *   drop-head    the oldest unsettled message of each group that would be above the bound goes
 *   retention    in steps of `RETENTION_STEP`, before the message comes, so never too much goes
 *   filters      the message is settled at once for each group that does not take it
 *
 * `enqueueNeeds` and `enqueue` look at the same state and so come to the same decisions; whether
 * the records of the groups are asked for depends on what is remembered of the queue's length,
 * which changes what is loaded and never what is decided.
 */

import { assert } from './assert.ts';
import { MAX_TARGETS } from './command.ts';
import type { Effects } from './effect.ts';
import { filterTakes, takesAll } from './filters.ts';
import type { GroupState } from './group.ts';
import type { QueueId } from './ids.ts';
import type { GroupEntry, QueueState } from './queue.ts';
import { RETENTION_STEP, raiseStart, raiseStartNeeds, startThatKeeps } from './queue-start.ts';
import type { RecordKey } from './record-data.ts';
import { outcomeCode } from './streams.ts';

const ACCEPTED = outcomeCode('accepted');
const NO_QUEUE = outcomeCode('no-queue');
const QUEUE_FULL = outcomeCode('queue-full');

/** The most messages that one publish drops, where a bound was lowered below what is there. */
const DROP_STEP = 256;

export interface Incoming {
  readonly targets: readonly QueueId[];
  readonly bytes: number;
  readonly topic: string;
}

/** Where queues are found. */
export interface QueueSource {
  get(queueId: QueueId): QueueState | undefined;
}

/** Adds what a queue that is not plain needs to take the message; its record is resident. */
export function enqueueNeeds(state: QueueState, message: Incoming, keys: RecordKey[]): void {
  const { groups, nextOffset } = state.queue;
  for (const { groupId, filter } of groups) {
    if (takesAll(filter)) continue;
    if (state.isGroupReady(groupId, keys)) state.loadedGroup(groupId).needs(nextOffset, keys);
  }
  const { maxMessages, overflow, retention } = state.definition.limits;
  const isNearBound = maxMessages > 0 && state.mayReach(maxMessages);
  if (!isNearBound && !mayBeRetained(state, retention.messages)) return;
  const before = keys.length;
  state.missing(keys);
  if (keys.length > before) return;
  if (isNearBound && overflow === 'drop-head' && isOverlong(state, message, maxMessages)) {
    dropNeeds(state, message, keys);
  } else if (mayBeRetained(state, retention.messages)) {
    const to = retentionStart(state, keys);
    if (to !== -1) raiseStartNeeds(state, to, keys);
  }
}

/** All that the targets need is resident. The code of the outcome, as in `OUTCOMES`. */
export function enqueue(queues: QueueSource, message: Incoming, effects: Effects): number {
  const { targets, bytes } = message;
  assert(targets.length <= MAX_TARGETS, 'enqueue: too many targets');
  for (let i = 0; i < targets.length; i += 1) {
    const state = queues.get(targets[i] as QueueId);
    if (state !== undefined && !state.isPlain && isRefusing(state, message)) return QUEUE_FULL;
  }
  let stored = 0;
  for (let i = 0; i < targets.length; i += 1) {
    const state = queues.get(targets[i] as QueueId);
    if (state === undefined || (i > 0 && targets.indexOf(targets[i] as QueueId) !== i)) continue;
    stored += 1;
    if (state.isPlain) effects.addEnqueued(state.queueId, state.append(bytes), bytes);
    else appendBounded(state, message, effects);
  }
  return stored === 0 ? NO_QUEUE : ACCEPTED;
}

function appendBounded(state: QueueState, message: Incoming, effects: Effects): void {
  const { queueId } = state;
  const { maxMessages, retention } = state.definition.limits;
  if (maxMessages > 0 && isOverlong(state, message, maxMessages)) drop(state, message, effects);
  else if (mayBeRetained(state, retention.messages)) retainMessages(state, effects);
  const { bytes } = message;
  const offset = state.append(bytes);
  effects.addEnqueued(queueId, offset, bytes);
  for (const entry of state.queue.groups) {
    if (takes(state, entry, message)) continue;
    const group = state.loadedGroup(entry.groupId);
    group.settle(offset);
    effects.finishSettled(effects.addSettled(queueId, entry.groupId, offset), group.floor, false);
  }
}

function isRefusing(state: QueueState, message: Incoming): boolean {
  const { maxMessages, overflow } = state.definition.limits;
  if (maxMessages === 0 || overflow !== 'reject-publish') return false;
  return isOverlong(state, message, maxMessages);
}

/** Would the message make the queue longer than its bound? */
function isOverlong(state: QueueState, message: Incoming, bound: number): boolean {
  if (!state.mayReach(bound)) return false;
  if (state.length() < bound) return false;
  if (state.isCountedFromStart) return true;
  return state.queue.groups.some((entry) => excessOf(state, entry, message) > 0);
}

/** How many messages of the group have to go before it may take this one. */
function excessOf(state: QueueState, entry: GroupEntry, message: Incoming): number {
  const { maxMessages } = state.definition.limits;
  const depth = state.loadedGroup(entry.groupId).depth(state.queue.nextOffset);
  return depth >= maxMessages && takes(state, entry, message) ? depth + 1 - maxMessages : 0;
}

function takes(state: QueueState, { filter }: GroupEntry, { topic }: Incoming): boolean {
  return filterTakes(filter, state.definition.name, topic);
}

function dropNeeds(state: QueueState, message: Incoming, keys: RecordKey[]): void {
  if (state.isCountedFromStart) {
    raiseStartNeeds(state, startWithRoom(state), keys);
    return;
  }
  for (const entry of state.queue.groups) {
    const count = Math.min(DROP_STEP, excessOf(state, entry, message));
    if (count === 0) continue;
    const group = state.loadedGroup(entry.groupId);
    const to = group.behind(count, state.queue.nextOffset, keys);
    if (to !== -1) group.needsRange(group.floor, to, keys);
  }
}

/** The oldest go so that there is room for one more. */
function drop(state: QueueState, message: Incoming, effects: Effects): void {
  const { queueId } = state;
  if (state.isCountedFromStart) {
    const { start: from } = state.queue;
    const to = startWithRoom(state);
    raiseStart(state, to, effects);
    effects.addDropped(queueId, { from, count: to - from, why: 'drop-head' });
    return;
  }
  let from = state.queue.nextOffset;
  let most = 0;
  for (const entry of state.queue.groups) {
    const count = Math.min(DROP_STEP, excessOf(state, entry, message));
    if (count === 0) continue;
    const group = state.loadedGroup(entry.groupId);
    from = Math.min(from, group.floor);
    most = Math.max(most, count);
    dropOf(state, { group, count }, effects);
  }
  effects.addDropped(queueId, { from, count: most, why: 'drop-head' });
}

function dropOf(
  state: QueueState,
  { group, count }: { group: GroupState; count: number },
  effects: Effects,
): void {
  const { queueId } = state;
  const { groupId, floor: from } = group;
  if (count === 1) {
    group.settle(from);
    effects.finishSettled(effects.addSettled(queueId, groupId, from), group.floor, false);
    return;
  }
  const to = group.behind(count, state.queue.nextOffset, []);
  assert(to !== -1, 'enqueue: a bitmap is not loaded');
  group.settleRange(from, to);
  effects.finishRanged(effects.addRanged(queueId, groupId, { from, to }), group.floor);
}

function startWithRoom(state: QueueState): number {
  const { nextOffset, start } = state.queue;
  const { maxMessages } = state.definition.limits;
  return Math.min(nextOffset + 1 - maxMessages, start + DROP_STEP);
}

function mayBeRetained(state: QueueState, messages: number): boolean {
  return messages > 0 && state.mayReach(messages + RETENTION_STEP);
}

function retainMessages(state: QueueState, effects: Effects): void {
  const to = retentionStart(state, []);
  if (to > state.queue.start) raiseStart(state, to, effects);
}

/** Where the queue is to start, its present start if it is not far enough above its retention. */
function retentionStart(state: QueueState, keys: RecordKey[]): number {
  const { messages } = state.definition.limits.retention;
  if (state.length() < messages + RETENTION_STEP) return state.queue.start;
  return startThatKeeps(state, messages, keys);
}
