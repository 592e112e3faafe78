/**
 * Messages that leave their queue for another one: intents are opened, and closed.
 *
 * Opening one settles the message for its group; from then on it is the outbox's, and its payload
 * stays wanted until the intent is closed. Within the shard `transfer` appends at the targets and
 * closes in one, so a message is never in both queues nor in none (Q31). To another shard it is
 * routed under a number, stored there once for that number, and closed here when that is known;
 * after a crash at any step it is asked for again, and the answer is the same (`arrivals.ts`).
 */

import {
  type EndRouteCommand,
  MAX_MOVES,
  MAX_RANGE,
  type MoveRangeCommand,
  type RouteEnd,
  type RouteIntentCommand,
  type SkipIntentCommand,
  type TakeTransferCommand,
  type TransferCommand,
} from './command.ts';
import type { Intent } from './effect.ts';
import { enqueue } from './enqueue.ts';
import type { GroupState } from './group.ts';
import type { Offset, QueueId, StampMs } from './ids.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import { targetsNeed } from './publish.ts';
import { outcomeCode } from './streams.ts';

const ACCEPTED = outcomeCode('accepted');
const NO_QUEUE = outcomeCode('no-queue');

/** There is room in the outbox. */
export function openIntent(
  asked: Omit<Intent, 'number' | 'refusals' | 'stamp' | 'route'>,
  { parts, stamp, effects }: ApplyContext,
): void {
  const intent = parts.outbox.open({ ...asked, stamp: stamp as StampMs });
  effects.addRare({ kind: 'intent-opened', intent });
}

/** A closed or unknown intent, or one that goes to another shard: nothing happens. */
export function transfer(command: TransferCommand, context: ApplyContext): void {
  const { intent, targets } = command;
  const { outbox } = context.parts;
  const open = outbox.get(intent);
  if (open === undefined || open.route !== undefined) return;
  let refusedBy = targets[0] ?? (0 as QueueId);
  const outcome = enqueue(command, context, (queueId) => {
    refusedBy = queueId;
  });
  if (outcome === ACCEPTED) {
    close(intent, 'transferred', context);
    return;
  }
  outbox.refuse(intent);
  context.effects.addRare({ kind: 'transfer-refused', intent, queueId: refusedBy });
}

export function skipIntent(command: SkipIntentCommand, context: ApplyContext): void {
  const { intent, reason } = command;
  if (context.parts.outbox.get(intent) !== undefined) close(intent, reason, context);
}

export function routeIntent(
  { intent, queueId }: RouteIntentCommand,
  { parts, effects }: ApplyContext,
): void {
  const { outbox } = parts;
  const open = outbox.get(intent);
  if (open === undefined || open.route !== undefined) return;
  const routed = outbox.route(intent, queueId);
  if (routed === undefined) effects.addRare({ kind: 'route-refused', intent });
  else effects.addRare({ kind: 'intent-routed', intent: routed });
}

export function endRoute(command: EndRouteCommand, context: ApplyContext): void {
  const { intent, number, how, next } = command;
  const { outbox } = context.parts;
  if (outbox.get(intent)?.route?.number !== number) return;
  if (how === 'taken') {
    close(intent, 'transferred', context);
    return;
  }
  outbox.endRoute(intent, next);
  context.effects.addRare({ kind: 'route-ended', intent, how });
}

/** Adds what `takeTransfer` needs. */
export function takeTransferNeeds(command: TakeTransferCommand, needs: NeedsContext): void {
  const { arrivals } = needs.parts;
  arrivals.needs(command.from, needs.keys);
  if (needs.keys.length > 0 || arrivals.check(command) !== 'new') return;
  targetsNeed(command, needs);
}

export function takeTransfer(command: TakeTransferCommand, context: ApplyContext): void {
  const { from, number, opened } = command;
  const { arrivals } = context.parts;
  const known = arrivals.check(command);
  arrivals.raiseFloor(command);
  const how = known === 'new' ? store(command, context) : known;
  if (known === 'new' && (how === 'taken' || how === 'refused')) arrivals.keep(command, how);
  const next = arrivals.next(from);
  context.effects.addRare({ kind: 'arrived', from, number, opened, how, next });
}

function store(command: TakeTransferCommand, context: ApplyContext): Exclude<RouteEnd, 'stale'> {
  const outcome = enqueue(command, context);
  if (outcome === ACCEPTED) return 'taken';
  return outcome === NO_QUEUE ? 'gone' : 'refused';
}

function close(
  intent: number,
  how: 'transferred' | SkipIntentCommand['reason'],
  { parts, effects }: ApplyContext,
): void {
  parts.outbox.close(intent);
  effects.addRare({ kind: 'intent-closed', intent, how });
}

export function moveRangeNeeds(
  state: QueueState,
  command: MoveRangeCommand,
  needs: NeedsContext,
): void {
  const { keys } = needs;
  if (!state.isGroupReady(command.groupId, keys)) return;
  const group = state.loadedGroup(command.groupId);
  const { from, to } = boundsOf(state, group, command);
  group.missingBits(from, to, keys);
  group.missingAttempts(from, to, keys);
  if (keys.length > 0) return;
  const { end } = movedOf(group, { from, to }, needs.parts.outbox.room);
  group.needsRange(from, end, keys);
}

/**
 * One `ranged` effect says how far it got, which is not at all while the outbox is full; the rest
 * is for the next command.
 */
export function moveRange(
  state: QueueState,
  command: MoveRangeCommand,
  context: ApplyContext,
): void {
  const { queueId, groupId, target } = command;
  const group = state.group(groupId);
  if (group === undefined || !group.isResident) return;
  const bounds = boundsOf(state, group, command);
  const { offsets, end } = movedOf(group, bounds, context.parts.outbox.room);
  const to: Intent['target'] =
    target === 'source' ? { kind: 'source' } : { kind: 'queues', queueIds: [target] };
  for (const offset of offsets) {
    const attempts = group.attempts(offset);
    const moved = { queueId, groupId, offset: offset as Offset, attempts, target: to };
    openIntent({ ...moved, reason: 'moved' }, context);
  }
  const { from } = bounds;
  if (from < end) group.settleRange(from, end);
  const { effects } = context;
  effects.finishRanged(effects.addRanged(queueId, groupId, { from, to: end }), group.floor);
}

/** What of the range is there; at most `MAX_RANGE` from where anything may be unsettled. */
function boundsOf(
  state: QueueState,
  group: GroupState,
  { from, to }: MoveRangeCommand,
): { from: number; to: number } {
  const furthest = Math.max(from, group.floor) + MAX_RANGE;
  return { from, to: Math.max(from, Math.min(to, state.queue.nextOffset, furthest)) };
}

/** The unsettled messages that this command moves, and where it ends. */
function movedOf(
  group: GroupState,
  { from, to }: { from: number; to: number },
  room: number,
): { offsets: number[]; end: number } {
  const offsets: number[] = [];
  const most = Math.min(MAX_MOVES, room);
  for (let offset = Math.max(from, group.floor); offset < to; offset += 1) {
    if (group.isSettled(offset)) continue;
    if (offsets.length === most) return { offsets, end: offset };
    offsets.push(offset);
  }
  return { offsets, end: to };
}
