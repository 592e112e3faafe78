/**
 * The commands that concern more than one queue, or what lies beside the queues: what each needs,
 * and what it does. A publish without options is not among them: the machine has a shorter way.
 */

import { assert } from './assert.ts';
import type {
  DeclareQueueCommand,
  DeleteQueueCommand,
  EndRouteCommand,
  EndSessionCommand,
  FireTimersCommand,
  MoveRangeCommand,
  RouteIntentCommand,
  SkipIntentCommand,
  TakeTransferCommand,
  TransferCommand,
  UpdateQueueCommand,
} from './command.ts';
import { type RetentionLimits, sameRetention } from './definitions.ts';
import { fire, firingNeeds } from './firing.ts';
import {
  endRoute,
  moveRange,
  moveRangeNeeds,
  routeIntent,
  skipIntent,
  takeTransfer,
  takeTransferNeeds,
  transfer,
} from './intents.ts';
import { hasMarks, markAsked } from './length-bounds.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import { targetsNeed } from './publish.ts';
import type { QueueState } from './queue.ts';

export type ShardCommand =
  | FireTimersCommand
  | TransferCommand
  | SkipIntentCommand
  | RouteIntentCommand
  | EndRouteCommand
  | TakeTransferCommand
  | MoveRangeCommand
  | EndSessionCommand;

export function shardCommandNeeds(command: ShardCommand, needs: NeedsContext): void {
  switch (command.kind) {
    case 'fire-timers':
      firingNeeds(command, needs);
      return;
    case 'transfer':
      if (needs.parts.outbox.get(command.intent) !== undefined) targetsNeed(command, needs);
      return;
    case 'move-range': {
      const state = needs.queues.get(command.queueId);
      if (state !== undefined) moveRangeNeeds(state, command, needs);
      return;
    }
    case 'end-session':
      needs.parts.publishKeys.needs(command.session, needs.keys);
      return;
    case 'take-transfer':
      takeTransferNeeds(command, needs);
      return;
    case 'skip-intent':
    case 'route-intent':
    case 'end-route':
      return;
  }
}

export function applyToShard(command: ShardCommand, context: ApplyContext): void {
  switch (command.kind) {
    case 'fire-timers':
      fire(command, context);
      return;
    case 'transfer':
      transfer(command, context);
      return;
    case 'skip-intent':
      skipIntent(command, context);
      return;
    case 'route-intent':
      routeIntent(command, context);
      return;
    case 'end-route':
      endRoute(command, context);
      return;
    case 'take-transfer':
      takeTransfer(command, context);
      return;
    case 'move-range': {
      const state = context.queues.get(command.queueId);
      if (state !== undefined) moveRange(state, command, context);
      return;
    }
    case 'end-session':
      context.parts.publishKeys.end(command.session);
      return;
  }
}

/** Adds what `forgetQueue` needs. */
export function forgetQueueNeeds({ queueId }: DeleteQueueCommand, needs: NeedsContext): void {
  const { parts, keys } = needs;
  parts.marks.needsHead(queueId, keys);
  parts.levels.needsHead(queueId, keys);
}

/** The queue is gone: so is what lies beside it. Open intents stay, and producers until silent. */
export function forgetQueue({ queueId }: DeleteQueueCommand, { parts }: ApplyContext): void {
  parts.marks.remove(queueId);
  parts.levels.remove(queueId);
  parts.lostGroups.forgetQueue(queueId);
}

/** Adds what `redefined` needs when the command changes what the queue keeps. */
export function redefineNeeds(
  state: QueueState,
  { limits }: DeclareQueueCommand | UpdateQueueCommand,
  { parts, stamp, keys }: NeedsContext,
): void {
  if (sameRetention(state.definition.limits.retention, limits.retention)) return;
  state.missing(keys);
  parts.marks.needsToBegin(state.queueId, keys);
  parts.timers.needsToAdd(stamp, stamp, keys);
}

/** The queue has new limits: what it keeps is looked at soon, from now on with marks. */
export function redefined(
  state: QueueState,
  before: RetentionLimits,
  { parts, stamp }: ApplyContext,
): void {
  const { queueId, definition } = state;
  if (sameRetention(before, definition.limits.retention)) return;
  assert(state.hasQueue, 'redefine: the queue is not loaded');
  if (hasMarks(state)) parts.marks.begin(queueId, markAsked(state, stamp));
  parts.marks.setCheckAt(queueId, stamp);
  parts.timers.add({ due: stamp, kind: 'retention', queueId, number: 0 }, stamp);
}
