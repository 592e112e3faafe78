/**
 * The commands that concern one queue and its groups: what each needs, and what it does.
 *
 * A queue that is gone: commands of groups are refused, all others do nothing.
 */

import type {
  CreateGroupCommand,
  DeleteGroupCommand,
  IdleGroupCommand,
  RetainCommand,
  SeekGroupCommand,
  SettleRangeCommand,
} from './command.ts';
import type { Effects } from './effect.ts';
import {
  createGroup,
  createGroupNeeds,
  deleteGroup,
  idleGroup,
  seekGroup,
  seekGroupNeeds,
} from './group-commands.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import { retain, retainNeeds } from './queue-start.ts';
import { queueKey } from './record-data.ts';
import { settleRange, settleRangeNeeds } from './settlement.ts';

export type QueueCommand =
  | SettleRangeCommand
  | CreateGroupCommand
  | DeleteGroupCommand
  | SeekGroupCommand
  | IdleGroupCommand
  | RetainCommand;

/** Adds what the command needs and is not resident; ask again until nothing is added. */
export function queueCommandNeeds(
  state: QueueState,
  command: QueueCommand,
  needs: NeedsContext,
): void {
  const { keys } = needs;
  switch (command.kind) {
    case 'settle-range':
      settleRangeNeeds(state, command, keys);
      return;
    case 'create-group':
      createGroupNeeds(state, command, needs);
      return;
    case 'delete-group':
      state.isGroupReady(command.groupId, keys);
      return;
    case 'seek-group':
      seekGroupNeeds(state, command, needs);
      return;
    case 'idle-group':
      if (!state.use()) keys.push(queueKey(state.queueId));
      return;
    case 'retain':
      retainNeeds(state, command, keys);
      return;
  }
}

export function applyToQueue(
  state: QueueState,
  command: QueueCommand,
  context: ApplyContext,
): void {
  const { stamp, effects } = context;
  switch (command.kind) {
    case 'settle-range':
      settleRange(state, command, effects);
      return;
    case 'create-group':
      createGroup(state, command, context);
      return;
    case 'delete-group':
      deleteGroup(state, command, context);
      return;
    case 'seek-group':
      seekGroup(state, command, context);
      return;
    case 'idle-group':
      idleGroup(state, command, stamp);
      return;
    case 'retain':
      retain(state, command, effects);
      return;
  }
}

/** The queue of the command does not exist (any more). */
export function applyWithoutQueue(command: QueueCommand, effects: Effects): void {
  const { kind, queueId } = command;
  if (kind !== 'create-group' && kind !== 'delete-group' && kind !== 'seek-group') return;
  const name = kind === 'create-group' ? command.name : '';
  const detail = `there is no queue ${queueId}`;
  effects.addRare({ kind: 'group-refused', queueId, name, reason: 'no-queue', detail });
}
