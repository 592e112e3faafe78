/**
 * A message comes into its queues: all of them, or (one is full and refuses) none.
 *
 * Most queues are *plain*: no group has a filter, nothing bounds their length or time, and nobody
 * asks where a time lies in them; a message is appended, and no other record is needed. For the
 * others, and for a message that asks for more, in this order:
 *
 *   full         `reject-publish`: the publish is refused, whatever the other targets say
 *   drop-head    the oldest unsettled messages of each group that would be above the bound go
 *   retention    by messages and bytes, as if the message were there already; see `retaining`
 *   append       with its mark, its priority, and the timer of its time to live
 *   filters      the message is settled at once for each group that does not take it
 *
 * `enqueueNeeds` and `enqueue` look at the same state and so come to the same decisions; whether
 * the records of the groups are asked for depends on what is remembered of the queue's length,
 * which changes what is loaded and never what is decided.
 */

import { assert } from './assert.ts';
import { type EnqueueOptions, MAX_TARGETS } from './command.ts';
import { MAX_LIFE_MS } from './definitions.ts';
import type { Effects } from './effect.ts';
import { filterMatches, routingKeyAt, takesAll } from './filters.ts';
import type { QueueId } from './ids.ts';
import { boundNeeds, drop, hasMarks, isNearBound, isRefusing, markAsked } from './length-bounds.ts';
import { MARK_CHUNK } from './marks.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import { enforceRetention, mayBeRetained, retentionNeeds } from './retaining.ts';
import { outcomeCode } from './streams.ts';

const ACCEPTED = outcomeCode('accepted');
const NO_QUEUE = outcomeCode('no-queue');
const QUEUE_FULL = outcomeCode('queue-full');

/** Chunks of marks that go at most when one comes. */
const TRIM_CHUNKS = 1_024;

export interface Incoming {
  readonly targets: readonly QueueId[];
  readonly bytes: number;
  readonly topic: string;
  readonly options: EnqueueOptions | undefined;
}

/**
 * Adds what a queue that is not plain, or a message with options, needs; the queue's record is in
 * memory.
 */
export function enqueueNeeds(state: QueueState, message: Incoming, needs: NeedsContext): void {
  const { keys, parts, stamp } = needs;
  const { queueId, definition } = state;
  const { groups, nextOffset } = state.queue;
  const before = keys.length;
  for (const { groupId, filter } of groups) {
    if (takesAll(filter) || state.group(groupId)?.isReadyFor(nextOffset) === true) continue;
    if (state.isGroupReady(groupId, keys)) state.loadedGroup(groupId).needs(nextOffset, keys);
  }
  const ttl = lifeOf(state, message);
  if (ttl > 0) parts.timers.needsToAdd(stamp + ttl, stamp, keys);
  if (levelOf(state, message) > 0) parts.levels.needsToSet(queueId, nextOffset, keys);
  let isMarked = false;
  if (hasMarks(state)) {
    isMarked = parts.marks.needsToAppend(queueId, markAsked(state, stamp), keys);
    const { ageMs } = definition.limits.retention;
    if (ageMs > 0) parts.timers.needsToAdd(stamp + ageMs, stamp, keys);
  }
  if (keys.length > before) return;
  const isNear = isNearBound(state, message);
  const isTrimming = isMarked && trims(state, needs);
  const opensLevels = levelOf(state, message) > 0 && parts.levels.opensChunk(queueId, nextOffset);
  if (isNear || isTrimming || opensLevels || mayBeRetained(state, true)) state.missing(keys);
  if (keys.length > before) return;
  if (isTrimming) trimTo(state, needs);
  if (isNear) boundNeeds(state, message, needs);
  if (keys.length === before) retentionNeeds(state, message, needs);
}

/**
 * All that the targets need is in memory. The code of the outcome, as in `OUTCOMES`; `refusedBy` of
 * the context is told which queue was full.
 */
export function enqueue(
  message: Incoming,
  context: ApplyContext,
  refusedBy?: (queueId: QueueId) => void,
): number {
  const { targets, bytes, options } = message;
  const { queues, effects } = context;
  assert(targets.length <= MAX_TARGETS, 'enqueue: too many targets');
  if (targets.length === 1 && options === undefined) {
    // By far the most: one look-up, and nothing to be decided.
    const only = queues.get(targets[0] as QueueId);
    if (only?.isPlain === true) {
      effects.addEnqueued(only.queueId, only.append(bytes), bytes);
      return ACCEPTED;
    }
  }
  for (let i = 0; i < targets.length; i += 1) {
    const state = queues.get(targets[i] as QueueId);
    if (state === undefined || state.isPlain) continue;
    if (!isRefusing(state, message, context.parts.marks)) continue;
    refusedBy?.(state.queueId);
    return QUEUE_FULL;
  }
  let stored = 0;
  let highest = -1;
  for (let i = 0; i < targets.length; i += 1) {
    const target = targets[i] as QueueId;
    // Mostly they ascend, and then none is there twice.
    if (target > highest) highest = target;
    else if (targets.indexOf(target) !== i) continue;
    const state = queues.get(target);
    if (state === undefined) continue;
    stored += 1;
    if (options === undefined && state.isPlain) {
      effects.addEnqueued(state.queueId, state.append(bytes), bytes);
    } else {
      appendBounded(state, message, context);
    }
  }
  return stored === 0 ? NO_QUEUE : ACCEPTED;
}

function appendBounded(state: QueueState, message: Incoming, context: ApplyContext): void {
  const { parts, effects, stamp } = context;
  const { queueId } = state;
  const { bytes } = message;
  if (!state.isPlain) {
    drop(state, message, { marks: parts.marks, effects });
    enforceRetention(state, message, context);
    if (hasMarks(state)) mark(state, message, context);
  }
  const offset = state.append(bytes);
  effects.addEnqueued(queueId, offset, bytes);
  const level = levelOf(state, message);
  if (level > 0) {
    const { levels } = parts;
    if (levels.opensChunk(queueId, offset)) levels.drop(queueId, lowestOf(state));
    levels.set(queueId, offset, level);
    effects.setPriority(level);
  }
  const ttl = lifeOf(state, message);
  if (ttl > 0) {
    parts.timers.add({ due: stamp + ttl, kind: 'expiry', queueId, number: offset }, stamp);
  }
  if (state.hasFilters) filter(state, { offset, topic: message.topic }, effects);
}

/** Settles the message for each group that does not take it. */
function filter(
  state: QueueState,
  { offset, topic }: { offset: number; topic: string },
  effects: Effects,
): void {
  const { queueId } = state;
  const key = routingKeyAt(topic, state.definition.name);
  for (const { groupId, filter: of } of state.queue.groups) {
    if (filterMatches(of, topic, key)) continue;
    const group = state.loadedGroup(groupId);
    group.settle(offset);
    effects.finishSettled(effects.addSettled(queueId, groupId, offset), group.floor, false);
  }
}

/** The mark of a message that comes, and the timer of the queue's retention by age. */
function mark(state: QueueState, message: Incoming, { parts, stamp }: ApplyContext): void {
  const { marks, timers } = parts;
  const { queueId } = state;
  const asked = markAsked(state, stamp);
  if (!marks.appendUnmarked(queueId, asked, message.bytes)) {
    if (trims(state, { parts, stamp })) {
      const index = trimTo(state, { parts, keys: [] });
      const { first } = marks.range(queueId);
      marks.drop(queueId, Math.min(index, first + TRIM_CHUNKS * MARK_CHUNK));
    }
    marks.append(queueId, asked, message.bytes);
  }
  const { ageMs } = state.definition.limits.retention;
  if (ageMs === 0 || marks.checkAt(queueId) > 0) return;
  const due = stamp + ageMs;
  marks.setCheckAt(queueId, due);
  timers.add({ due, kind: 'retention', queueId, number: 0 }, stamp);
}

/** Now and then, with a new chunk of marks, those of what is gone go. */
function trims(
  state: QueueState,
  { parts, stamp }: Pick<NeedsContext, 'parts' | 'stamp'>,
): boolean {
  if (!hasMarks(state)) return false;
  return parts.marks.opensChunk(state.queueId, markAsked(state, stamp));
}

/** The mark that has the lowest offset that is wanted; the records of all groups are in memory. */
function trimTo(state: QueueState, { parts, keys }: Pick<NeedsContext, 'parts' | 'keys'>): number {
  return parts.marks.find(state.queueId, { column: 'offset', value: lowestOf(state) }, keys);
}

function lowestOf(state: QueueState): number {
  const { start, nextOffset, groups } = state.queue;
  if (state.isCountedFromStart) return start;
  let lowest = nextOffset;
  for (const { groupId } of groups) lowest = Math.min(lowest, state.loadedGroup(groupId).floor);
  return lowest;
}

/** How long the message lives in this queue; 0: for ever. What asks for more gets ten years. */
function lifeOf(state: QueueState, { options }: Incoming): number {
  const { ttlMs } = state.definition.limits;
  const own = options === undefined ? 0 : Math.min(options.ttlMs, MAX_LIFE_MS);
  if (own === 0) return ttlMs;
  return ttlMs === 0 ? own : Math.min(own, ttlMs);
}

function levelOf(state: QueueState, { options }: Incoming): number {
  return options === undefined
    ? 0
    : Math.min(options.priority, state.definition.limits.maxPriority);
}
