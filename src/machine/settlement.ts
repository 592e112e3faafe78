/**
 * Settlements: one message of a group, or a stretch of them.
 *
 * A queue, group or offset that does not exist, or an offset that is settled: nothing, and no
 * effect. On a stream, and of a session, a requeue counts no attempt; a discard is a complete.
 *
 * A discarded message, and one whose attempts have reached the limit, is settled; where the queue
 * has a dead-letter queue, an intent takes it there. While the outbox is full it stays unsettled
 * instead, with the longest backoff, so that nothing is lost.
 */

import { notBefore } from './backoff.ts';
import { MAX_RANGE, type SettleCommand, type SettleRangeCommand } from './command.ts';
import { countsAttempts } from './definitions.ts';
import type { Effects } from './effect.ts';
import type { GroupState } from './group.ts';
import { openIntent } from './intents.ts';
import type { ApplyContext } from './parts.ts';
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

export function settle(state: QueueState, command: SettleCommand, context: ApplyContext): void {
  const { effects } = context;
  const { queueId, groupId, offset } = command;
  const group = state.group(groupId);
  if (group === undefined || !group.isResident || !state.isUnsettled(group, offset)) return;
  if (command.outcome === 'requeue') {
    requeue(state, { group, command }, context);
  } else if (command.outcome === 'discard' && countsAttempts(state.definition.type)) {
    discard(state, { group, command, reason: 'rejected' }, context);
  } else {
    group.settle(offset);
    effects.finishSettled(effects.addSettled(queueId, groupId, offset), group.floor, false);
  }
}

interface Ending {
  readonly group: GroupState;
  readonly command: SettleCommand;
}

/** The attempt has ended without a settlement. */
function requeue(state: QueueState, ending: Ending, context: ApplyContext): void {
  const { group, command } = ending;
  const { queueId, offset, cause } = command;
  const { limits } = state.definition;
  const attempts = group.attempts(offset);
  if (cause === 'returned' || !countsAttempts(state.definition.type)) {
    tellRequeued(command, { attempts, due: 0 }, context.effects);
  } else if (attempts + 1 >= limits.deliveryLimit) {
    discard(state, { ...ending, reason: 'delivery-limit' }, context);
  } else {
    const due = notBefore(
      { queueId, offset, attempts: attempts + 1, cause },
      limits,
      context.stamp,
    );
    group.setAttempts(offset, attempts + 1, due);
    tellRequeued(command, { attempts: attempts + 1, due }, context.effects);
  }
}

/** The message is given up. */
function discard(
  state: QueueState,
  { group, command, reason }: Ending & { readonly reason: 'rejected' | 'delivery-limit' },
  context: ApplyContext,
): void {
  const { queueId, groupId, offset } = command;
  const { limits } = state.definition;
  const { deadLetter: name } = limits;
  const { effects, parts, stamp } = context;
  const attempts = group.attempts(offset) + 1;
  if (name !== '' && parts.outbox.room === 0) {
    // This attempt is not counted: it is made again.
    const counted = Math.max(1, attempts - 1);
    const ended = { queueId, offset, attempts: limits.deliveryLimit, cause: command.cause };
    const due = notBefore(ended, limits, stamp);
    group.setAttempts(offset, counted, due);
    tellRequeued(command, { attempts: counted, due }, effects);
    return;
  }
  group.settle(offset);
  effects.finishSettled(effects.addSettled(queueId, groupId, offset), group.floor, true);
  if (name === '') return;
  const target = { kind: 'name', name } as const;
  openIntent({ reason, queueId, groupId, offset, attempts, target }, context);
}

function tellRequeued(
  { queueId, groupId, offset }: SettleCommand,
  { attempts, due }: { attempts: number; due: number },
  effects: Effects,
): void {
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
