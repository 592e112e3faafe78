/**
 * Messages that leave their queue for another one: intents are opened, and closed.
 *
 * Opening one settles the message for its group; from then on it is the outbox's, and its payload
 * stays wanted until the intent is closed. `transfer` appends at the targets and closes in one, so
 * a message is never in both queues nor in none (Q31).
 */

import {
  MAX_MOVES,
  MAX_RANGE,
  type MoveRangeCommand,
  type SkipIntentCommand,
  type TransferCommand,
} from './command.ts';
import type { Intent } from './effect.ts';
import { enqueue } from './enqueue.ts';
import type { GroupState } from './group.ts';
import type { Offset, QueueId, StampMs } from './ids.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import { outcomeCode } from './streams.ts';

const ACCEPTED = outcomeCode('accepted');

/** There is room in the outbox. */
export function openIntent(
  asked: Omit<Intent, 'number' | 'refusals' | 'stamp'>,
  { parts, stamp, effects }: ApplyContext,
): void {
  const intent = parts.outbox.open({ ...asked, stamp: stamp as StampMs });
  effects.addRare({ kind: 'intent-opened', intent });
}

/** A closed or unknown intent: nothing happens. */
export function transfer(command: TransferCommand, context: ApplyContext): void {
  const { intent, targets } = command;
  const { outbox } = context.parts;
  if (outbox.get(intent) === undefined) return;
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
