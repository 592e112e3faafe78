/**
 * The bounds of a queue's length: messages and stored bytes of the group that has most.
 *
 * `reject-publish` refuses what would make the queue longer; `drop-head` lets the oldest unsettled
 * messages of each group go that would be too long, at most `DROP_STEP` for one that comes (where a
 * bound was lowered below what is there, it takes several). A message that alone is above the bound
 * is refused by both.
 *
 * Bytes of a group are those of the stretch behind its floor, times the share of it that is
 * unsettled. So they are exact where messages are settled in order or are of one size, and what a
 * stuck message holds back does not count. The marks give them, to a 256th of the bound.
 */

import type { Effects } from './effect.ts';
import { filterTakes } from './filters.ts';
import type { GroupState } from './group.ts';
import type { GroupEntry } from './group-entry.ts';
import type { MarkAsked, Marks } from './marks.ts';
import type { NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import { raiseStart, raiseStartNeeds } from './queue-start.ts';
import type { RecordKey } from './record-data.ts';

/** The most messages that one publish drops. */
const DROP_STEP = 256;

export interface Sized {
  readonly bytes: number;
  readonly topic: string;
}

/** What a look costs: it adds the key of a record that it lacks. */
interface Look {
  readonly marks: Marks;
  readonly keys: RecordKey[];
}

/** The records of all groups must be in memory to know whether the message fits. */
export function isNearBound(state: QueueState, { bytes }: Pick<Sized, 'bytes'>): boolean {
  const { maxMessages, maxBytes } = state.definition.limits;
  if (maxBytes > 0 && state.mayExceed(maxBytes, bytes)) return true;
  return maxMessages > 0 && state.mayReach(maxMessages);
}

/** Is the publish to be refused? */
export function isRefusing(state: QueueState, message: Sized, marks: Marks): boolean {
  const { maxBytes, overflow } = state.definition.limits;
  if (maxBytes > 0 && message.bytes > maxBytes) return true;
  if (overflow !== 'reject-publish' || !isNearBound(state, message)) return false;
  return isFull(state, message, { marks, keys: [] });
}

/** Does it fit without that anything goes? The records of all groups are in memory. */
export function hasRoom(state: QueueState, message: Sized, marks: Marks): boolean {
  return !isNearBound(state, message) || !isFull(state, message, { marks, keys: [] });
}

/** Adds what `isRefusing`, `hasRoom` and `drop` need; the records of all groups are in memory. */
export function boundNeeds(state: QueueState, message: Sized, needs: NeedsContext): void {
  const { keys } = needs;
  const look = { marks: needs.parts.marks, keys };
  if (state.definition.limits.maxBytes > 0 && look.marks.needsHead(state.queueId, keys)) return;
  const isOver = isFull(state, message, look);
  if (keys.length === 0 && !isOver) measure(state, look);
  if (keys.length > 0 || !isOver || state.definition.limits.overflow !== 'drop-head') return;
  if (state.isCountedFromStart) {
    const to = startWithRoom(state, message, look);
    if (keys.length === 0) raiseStartNeeds(state, to, keys);
    return;
  }
  for (const entry of state.queue.groups) {
    const count = dropsOf(state, { entry, message }, look);
    if (keys.length > 0 || count === 0) continue;
    const group = state.loadedGroup(entry.groupId);
    const to = group.behind(count, state.queue.nextOffset, keys);
    if (to !== -1) group.needsRange(group.floor, to, keys);
  }
}

/** It is not full: the next messages need no look while they fit for certain. */
function measure(state: QueueState, { marks, keys }: Look): void {
  const { queueId } = state;
  if (state.definition.limits.maxBytes === 0) {
    state.length();
    return;
  }
  const { start, nextOffset, groups } = state.queue;
  let lowest = state.isCountedFromStart ? start : nextOffset;
  for (const { groupId } of groups) {
    lowest = Math.min(lowest, state.loadedGroup(groupId).floor);
  }
  const bytesBelow = marks.bytesBelowAtLeast(queueId, lowest, keys);
  if (keys.length === 0) state.length(bytesBelow);
}

/** The oldest go, if need be, so that there is room for the message. */
export function drop(
  state: QueueState,
  message: Sized,
  { marks, effects }: { marks: Marks; effects: Effects },
): void {
  if (state.definition.limits.overflow !== 'drop-head' || !isNearBound(state, message)) return;
  const look = { marks, keys: [] };
  if (!isFull(state, message, look)) return;
  const { queueId } = state;
  if (state.isCountedFromStart) {
    const { start: from } = state.queue;
    const to = startWithRoom(state, message, look);
    raiseStart(state, to, effects);
    effects.addDropped(queueId, { from, count: to - from, why: 'drop-head' });
    return;
  }
  let from = state.queue.nextOffset;
  let most = 0;
  for (const entry of state.queue.groups) {
    const count = dropsOf(state, { entry, message }, look);
    if (count === 0) continue;
    const group = state.loadedGroup(entry.groupId);
    from = Math.min(from, group.floor);
    most = Math.max(most, count);
    settleFirst(state, { group, count }, effects);
  }
  effects.addDropped(queueId, { from, count: most, why: 'drop-head' });
}

function settleFirst(
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
  group.settleRange(from, to);
  effects.finishRanged(effects.addRanged(queueId, groupId, { from, to }), group.floor);
}

/** Would the message make the queue longer than a bound? */
function isFull(state: QueueState, message: Sized, look: Look): boolean {
  if (state.isCountedFromStart) {
    const { start } = state.queue;
    return !fits(state, { from: start, depth: state.length(), comes: message }, look);
  }
  return state.queue.groups.some((entry) => {
    if (!takes(state, entry, message)) return false;
    const group = state.loadedGroup(entry.groupId);
    const depth = group.depth(state.queue.nextOffset);
    return !fits(state, { from: group.floor, depth, comes: message }, look);
  });
}

/** How many messages of the group have to go before it may take this one. */
function dropsOf(
  state: QueueState,
  { entry, message }: { entry: GroupEntry; message: Sized },
  look: Look,
): number {
  if (!takes(state, entry, message)) return 0;
  const group = state.loadedGroup(entry.groupId);
  const { nextOffset } = state.queue;
  const depth = group.depth(nextOffset);
  const most = Math.min(depth, DROP_STEP);
  const isEnough = (count: number): boolean => {
    if (count >= most) return true;
    const from = count === 0 ? group.floor : group.behind(count, nextOffset, look.keys);
    return from === -1 || fits(state, { from, depth: depth - count, comes: message }, look);
  };
  // Mostly none or one; where a bound was lowered, or a large message comes, many.
  if (isEnough(0)) return 0;
  let enough = 1;
  while (!isEnough(enough)) enough *= 2;
  let tooFew = Math.floor(enough / 2);
  while (enough - tooFew > 1) {
    const middle = (enough + tooFew) >>> 1;
    if (isEnough(middle)) enough = middle;
    else tooFew = middle;
  }
  return Math.min(enough, most);
}

/** Where a queue that is counted from its start is to start. */
function startWithRoom(state: QueueState, { bytes }: Sized, { marks, keys }: Look): number {
  const { nextOffset, start, enqueuedBytes } = state.queue;
  const { maxMessages, maxBytes } = state.definition.limits;
  let to = maxMessages > 0 ? Math.max(start, nextOffset + 1 - maxMessages) : start;
  if (maxBytes > 0) {
    const value = enqueuedBytes + bytes - maxBytes;
    if (value > 0) to = Math.max(to, offsetOfBytes(state, value, { marks, keys }));
  }
  return Math.min(to, start + DROP_STEP);
}

/** The first offset with at least so many bytes below it, even within a block, as `bytesOf`. */
function offsetOfBytes(state: QueueState, value: number, { marks, keys }: Look): number {
  const { queueId } = state;
  const { nextOffset: offset, enqueuedBytes: bytes } = state.queue;
  const index = marks.find(queueId, { column: 'bytes', value }, keys);
  const low = marks.mark(queueId, index, keys) ?? { offset: 0, bytes: 0 };
  const behind = index === -1 ? marks.range(queueId).first : index + 1;
  const high = marks.mark(queueId, behind, keys) ?? { offset, bytes };
  if (high.bytes <= low.bytes) return low.offset;
  // Multiplied first: a quotient that is whole stays whole.
  const product = (value - low.bytes) * (high.offset - low.offset);
  return low.offset + Math.ceil(product / (high.bytes - low.bytes));
}

function fits(
  state: QueueState,
  { from, depth, comes }: { from: number; depth: number; comes: Sized },
  look: Look,
): boolean {
  const { maxMessages, maxBytes } = state.definition.limits;
  if (maxMessages > 0 && depth >= maxMessages) return false;
  return maxBytes === 0 || bytesOf(state, { from, depth }, look) + comes.bytes <= maxBytes;
}

/** Stored bytes of `depth` messages that lie somewhere from `from` on. */
function bytesOf(
  state: QueueState,
  { from, depth }: { from: number; depth: number },
  { marks, keys }: Look,
): number {
  const { nextOffset: offset, enqueuedBytes: bytes } = state.queue;
  const span = offset - from;
  if (span === 0) return 0;
  const stretch =
    bytes - marks.bytesBelow(state.queueId, { offset: from, end: { offset, bytes } }, keys);
  return depth === span ? stretch : Math.ceil((stretch * depth) / span);
}

function takes(state: QueueState, { filter }: GroupEntry, { topic }: Sized): boolean {
  return filterTakes(filter, state.definition.name, topic);
}

/** The mark that a message makes if one is due. */
export function markAsked(state: QueueState, stamp: number): MarkAsked {
  const { nextOffset: offset, enqueuedBytes: bytes } = state.queue;
  return { offset, stamp, bytes, step: markStep(state) };
}

/** Of marks: after so many bytes there is one, so that bounds of bytes are kept closely. */
function markStep(state: QueueState): number {
  const { maxBytes, retention } = state.definition.limits;
  const bound = Math.min(maxBytes || Infinity, retention.bytes || Infinity);
  return bound === Infinity ? Infinity : Math.floor(bound / 256);
}

/** Marks are made for it. */
export function hasMarks(state: QueueState): boolean {
  const { maxBytes, retention } = state.definition.limits;
  return state.isStream || maxBytes > 0 || retention.ageMs > 0 || retention.bytes > 0;
}
