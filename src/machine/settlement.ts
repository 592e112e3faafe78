/**
 * Settlements: one message of a group, or a stretch of them.
 *
 * A queue, group or offset that does not exist, or an offset that is settled: nothing, and no
 * effect. On a stream a requeue counts no attempt; a discard is a complete.
 */

import { notBefore } from './backoff.ts';
import { MAX_RANGE, type SettleCommand, type SettleRangeCommand } from './command.ts';
import type { Effects } from './effect.ts';
import type { GroupState } from './group.ts';
import type { QueueState } from './queue.ts';
import type { RecordKey } from './record-data.ts';

/** The group with all that the settlement needs is in memory: the common case, without a list. */
export function isSettleReady(state: QueueState, command: SettleCommand): boolean {
  return state.use() && state.group(command.groupId)?.isReadyFor(command.offset) === true;
}

export function settleNeeds(state: QueueState, command: SettleCommand, keys: RecordKey[]): void {
  if (!state.isGroupReady(command.groupId, keys)) return;
  state.loadedGroup(command.groupId).needs(command.offset, keys);
}

export function settle(
  state: QueueState,
  command: SettleCommand,
  { stamp, effects }: { stamp: number; effects: Effects },
): void {
  const { queueId, groupId, offset } = command;
  const group = state.group(groupId);
  if (group === undefined || !group.isResident || !state.isUnsettled(group, offset)) return;
  if (command.outcome !== 'requeue') {
    group.settle(offset);
    const isDiscarded = command.outcome === 'discard' && !state.isStream;
    effects.finishSettled(effects.addSettled(queueId, groupId, offset), group.floor, isDiscarded);
    return;
  }
  const { cause } = command;
  let attempts = group.attempts(offset);
  let due = 0;
  if (cause !== 'returned' && !state.isStream) {
    attempts += 1;
    due = notBefore({ queueId, offset, attempts, cause }, state.definition.limits, stamp);
    group.setAttempts(offset, attempts, due);
  }
  effects.finishRequeued(effects.addRequeued(queueId, groupId, offset), attempts, due);
}

export function settleRangeNeeds(
  state: QueueState,
  command: SettleRangeCommand,
  keys: RecordKey[],
): void {
  if (!state.isGroupReady(command.groupId, keys)) return;
  const group = state.loadedGroup(command.groupId);
  const { from, to } = bounded(state, group, command);
  if (from < to) group.needsRange(from, to, keys);
}

/** Tells of the range also where all of it is settled already. */
export function settleRange(
  state: QueueState,
  command: SettleRangeCommand,
  effects: Effects,
): void {
  const { queueId, groupId, cause } = command;
  const group = state.group(groupId);
  if (group === undefined || !group.isResident) return;
  const range = bounded(state, group, command);
  const settled = range.from < range.to ? group.settleRange(range.from, range.to) : 0;
  effects.finishRanged(effects.addRanged(queueId, groupId, range), group.floor);
  if (cause === 'expired' && settled > 0) {
    effects.addDropped(queueId, { from: range.from, count: settled, why: 'expired' });
  }
}

/** What of the range is there; at most `MAX_RANGE` from where anything may be unsettled. */
function bounded(
  state: QueueState,
  group: GroupState,
  command: SettleRangeCommand,
): { from: number; to: number } {
  const { from } = command;
  const furthest = Math.max(from, group.floor) + MAX_RANGE;
  return { from, to: Math.max(from, Math.min(command.to, state.queue.nextOffset, furthest)) };
}
