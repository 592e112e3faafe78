/**
 * The start of a queue rises: by retention, by a purge, by a policy of length, or because its last
 * group is gone. What is below is settled for every group, at once.
 *
 * One step goes at most `MAX_RANGE` beyond the lowest floor, so that one `apply` touches for each
 * group at most the records of that many. What a step needs is named by the function of the same
 * name with `Needs`, from the same state.
 */

import { MAX_RANGE, type RetainCommand } from './command.ts';
import type { Effects } from './effect.ts';
import type { Offset } from './ids.ts';
import type { QueueState } from './queue.ts';
import type { RecordKey } from './record-data.ts';

/** Adds what `raiseStart` needs; the records of all groups are resident. */
export function raiseStartNeeds(state: QueueState, to: number, keys: RecordKey[]): void {
  for (const { groupId } of state.queue.groups) {
    const group = state.loadedGroup(groupId);
    if (group.floor < to) group.needsRange(group.floor, to, keys);
  }
}

/** The start becomes `to`, which is above it and not above the next offset. */
export function raiseStart(state: QueueState, to: number, effects: Effects): void {
  const { queueId } = state;
  for (const { groupId } of state.queue.groups) {
    const group = state.loadedGroup(groupId);
    const from = group.floor;
    if (from >= to) continue;
    group.settleRange(from, to);
    effects.finishRanged(effects.addRanged(queueId, groupId, { from, to }), group.floor);
  }
  state.raiseStart(to);
  effects.addRare({ kind: 'start-raised', queueId, start: to as Offset });
}

export function retainNeeds(state: QueueState, command: RetainCommand, keys: RecordKey[]): void {
  state.missing(keys);
  if (keys.length === 0) raiseStartNeeds(state, retainedFrom(state, command), keys);
}

export function retain(state: QueueState, command: RetainCommand, effects: Effects): void {
  const to = retainedFrom(state, command);
  if (to > state.queue.start) raiseStart(state, to, effects);
}

/**
 * Where the queue would start if the oldest messages above `keep` went, of its length as it is: for
 * each group at least its `keep` youngest stay. At most one step from the present start; -1: a key
 * was added first. The records of all groups are resident.
 */
export function startThatKeeps(state: QueueState, keep: number, keys: RecordKey[]): number {
  const { nextOffset, groups } = state.queue;
  const furthest = stepFrom(state) + MAX_RANGE;
  if (state.isCountedFromStart) return Math.min(nextOffset - keep, furthest);
  let to = state.queue.start;
  for (const { groupId } of groups) {
    const group = state.loadedGroup(groupId);
    const excess = group.depth(nextOffset) - keep;
    if (excess <= 0) continue;
    const at = group.behind(Math.min(excess, MAX_RANGE), Math.min(nextOffset, furthest), keys);
    if (at === -1) return -1;
    to = Math.max(to, at);
  }
  return to;
}

function retainedFrom(state: QueueState, command: RetainCommand): number {
  return Math.min(command.start, state.queue.nextOffset, stepFrom(state) + MAX_RANGE);
}

/** From where a step counts: what no group wants costs nothing to pass. */
export function stepFrom(state: QueueState): number {
  const { start, nextOffset, groups } = state.queue;
  if (groups.length === 0) return start;
  let lowest = nextOffset;
  for (const { groupId } of groups) lowest = Math.min(lowest, state.loadedGroup(groupId).floor);
  return lowest;
}
