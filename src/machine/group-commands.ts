/**
 * Groups come and go, and move.
 *
 * A new group of a classic queue has settled what **all** groups that are there have settled, by
 * state and never by what a disk still holds: a message that some group still wants is wanted by
 * the new one too. The first group of a queue begins at the queue's start. A group of a stream
 * begins where it is asked to. When the last group of a classic queue goes, what it had settled
 * stays gone: the queue's start rises to its floor.
 *
 * A group whose settlements were lost is held until it is sought or deleted (`lost-groups.ts`); a
 * seek to before its floor goes to its floor, for below nothing is wanted.
 *
 * A seek back (streams only) makes wanted again what the filter had settled, so from then on the
 * leader filters all that is there already.
 */

import type {
  CreateGroupCommand,
  DeleteGroupCommand,
  IdleGroupCommand,
  Position,
  SeekGroupCommand,
} from './command.ts';
import type { Effects, GroupRefusal } from './effect.ts';
import { filterProblem, takesAll } from './filters.ts';
import type { GroupState } from './group.ts';
import type { GroupId, Offset, QueueId } from './ids.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import { raiseStart } from './queue-start.ts';
import { SETTLED_CHUNK } from './settled-ranges.ts';

const MAX_GROUP_NAME_LENGTH = 255;
const ONE_GROUP = "a session's queue has one group, for as long as it lives";

/** What is wrong with the name of a group, in words; undefined: nothing. */
function groupNameProblem(name: string): string | undefined {
  if (name.length === 0 || name.length > MAX_GROUP_NAME_LENGTH) {
    return `a group's name must have 1 to ${MAX_GROUP_NAME_LENGTH} characters`;
  }
  return /[\p{Surrogate}\p{Cc}]/u.test(name)
    ? 'the name of the group holds control characters or is not well-formed Unicode'
    : undefined;
}

/** What a look at the marks of a queue needs. */
export type Look = Pick<NeedsContext, 'parts' | 'keys'>;

/**
 * The offset of a position, from `start` to `nextOffset`; the record of the queue is resident. Not
 * to be used when a key was added. A time in a queue that has no marks: its start.
 */
export function offsetOf(state: QueueState, position: Position, { parts, keys }: Look): number {
  const { start, nextOffset } = state.queue;
  switch (position.kind) {
    case 'first':
      return start;
    case 'last':
      return Math.max(start, nextOffset - 1);
    case 'next':
      return nextOffset;
    case 'offset':
      return Math.min(Math.max(start, position.offset), nextOffset);
    case 'time': {
      const { marks } = parts;
      if (marks.needsHead(state.queueId, keys)) return start;
      const asked = { ms: position.ms, end: nextOffset };
      return Math.max(start, marks.offsetAt(state.queueId, asked, keys) ?? start);
    }
  }
}

export function createGroupNeeds(
  state: QueueState,
  command: CreateGroupCommand,
  needs: NeedsContext,
): void {
  const { keys, parts, stamp } = needs;
  state.missing(keys);
  if (keys.length > 0 || refusalOf(state, command) !== undefined) return;
  if (state.named(command.name) !== undefined) return;
  const begin = beginOf(state, command, needs);
  if (command.groupKind === 'automatic') {
    parts.timers.needsToAdd(stamp + state.definition.limits.groupExpiresMs, stamp, keys);
  }
  const lowest = lowestGroup(state);
  if (keys.length > 0 || state.isStream || lowest === undefined) return;
  for (const chunk of lowest.group.ranges.chunks()) {
    const [from, to] = [chunk * SETTLED_CHUNK, (chunk + 1) * SETTLED_CHUNK];
    if (to <= begin) continue;
    for (const group of groupsOf(state)) group.missingBits(from, to, keys);
  }
}

export function createGroup(
  state: QueueState,
  command: CreateGroupCommand,
  context: ApplyContext,
): void {
  const { parts, stamp, effects } = context;
  const { queueId } = state;
  const { name, groupKind: kind, filter } = command;
  const refusal = refusalOf(state, command);
  if (refusal !== undefined) {
    effects.addRare({ kind: 'group-refused', queueId, name, ...refusal });
    return;
  }
  let entry = state.named(name);
  const created = entry === undefined;
  if (entry === undefined) {
    const others = groupsOf(state);
    const begin = beginOf(state, command, { parts, keys: [] });
    const lowest = state.isStream ? undefined : lowestGroup(state);
    entry = state.createGroup({ name, kind, filter }, lowest === undefined ? begin : lowest.floor);
    const group = state.loadedGroup(entry.groupId);
    for (const chunk of lowest?.group.ranges.chunks() ?? []) {
      if ((chunk + 1) * SETTLED_CHUNK > begin) group.adoptCommon(chunk, others);
    }
    if (begin > group.floor) group.settleRange(group.floor, begin);
    if (kind === 'automatic') {
      const due = stamp + state.definition.limits.groupExpiresMs;
      parts.timers.add({ due, kind: 'group', queueId, number: entry.groupId }, stamp);
    }
  }
  effects.addRare({ kind: 'group-created', queueId, group: state.view(entry), created });
}

export function deleteGroup(
  state: QueueState,
  command: DeleteGroupCommand,
  context: ApplyContext,
): void {
  const { queueId, groupId } = command;
  const entry = state.entry(groupId);
  if (entry === undefined) {
    refuseGone(queueId, context.effects);
    return;
  }
  if (state.definition.type === 'session') {
    const { name } = entry;
    const refused = { reason: 'invalid', detail: ONE_GROUP } as const;
    context.effects.addRare({ kind: 'group-refused', queueId, name, ...refused });
    return;
  }
  removeGroup(state, { groupId, why: 'asked' }, context);
}

/** The group and its records go; it exists, and its record is resident. */
export function removeGroup(
  state: QueueState,
  { groupId, why }: { groupId: GroupId; why: 'asked' | 'expired' },
  { parts, effects }: ApplyContext,
): void {
  const { queueId } = state;
  parts.lostGroups.release(queueId, groupId);
  const name = state.entry(groupId)?.name ?? '';
  const { floor } = state.loadedGroup(groupId);
  state.removeGroup(groupId);
  effects.addRare({ kind: 'group-deleted', queueId, groupId, name, why });
  const { groups, start } = state.queue;
  if (groups.length === 0 && !state.isStream && floor > start) raiseStart(state, floor, effects);
}

export function seekGroupNeeds(
  state: QueueState,
  command: SeekGroupCommand,
  needs: NeedsContext,
): void {
  const { keys } = needs;
  if (!state.isGroupReady(command.groupId, keys)) return;
  const group = state.loadedGroup(command.groupId);
  const to = offsetOf(state, command.position, needs);
  if (keys.length > 0 || state.isStream) return;
  if (to > group.floor) group.needsRange(group.floor, to, keys);
}

export function seekGroup(
  state: QueueState,
  command: SeekGroupCommand,
  { parts, effects }: ApplyContext,
): void {
  const { queueId, groupId, position } = command;
  const entry = state.entry(groupId);
  if (entry === undefined) {
    refuseGone(queueId, effects);
    return;
  }
  const group = state.loadedGroup(groupId);
  const asked = offsetOf(state, position, { parts, keys: [] });
  const isHeld = parts.lostGroups.held(queueId, groupId) !== undefined;
  const to = isHeld ? Math.max(asked, group.floor) : asked;
  parts.lostGroups.release(queueId, groupId);
  if (state.isStream) {
    group.reset(to);
    if (!takesAll(entry.filter)) {
      state.touch();
      entry.filterFrom = state.queue.nextOffset;
    }
  } else if (to < group.floor) {
    const detail = 'a classic queue has no way back: what was settled is gone';
    effects.addRare({
      kind: 'group-refused',
      queueId,
      name: entry.name,
      reason: 'not-back',
      detail,
    });
    return;
  } else {
    group.settleRange(group.floor, to);
  }
  effects.addRare({ kind: 'group-sought', queueId, groupId, floor: group.floor as Offset });
}

/** Takes note of it; an explicit group, and one that is gone, have no such state. */
export function idleGroup(state: QueueState, command: IdleGroupCommand, stamp: number): void {
  const entry = state.entry(command.groupId);
  if (entry === undefined || entry.kind !== 'automatic') return;
  const since = command.idle ? Math.max(1, stamp) : 0;
  // It stays idle since it first was.
  if (entry.idleSince > 0 === since > 0) return;
  state.touch();
  entry.idleSince = since;
}

function refuseGone(queueId: QueueId, effects: Effects): void {
  const detail = 'there is no such group any more';
  effects.addRare({ kind: 'group-refused', queueId, name: '', reason: 'no-group', detail });
}

function refusalOf(
  state: QueueState,
  command: CreateGroupCommand,
): { reason: GroupRefusal; detail: string } | undefined {
  const { name, filter } = command;
  const problem = groupNameProblem(name) ?? filterProblem(filter);
  if (problem !== undefined) return { reason: 'invalid', detail: problem };
  if (state.definition.type === 'session') return { reason: 'invalid', detail: ONE_GROUP };
  const there = state.named(name);
  if (there !== undefined) {
    if (there.filter === filter) return undefined;
    return { reason: 'filter-differs', detail: `the group ${name} has another filter` };
  }
  const { maxGroups } = state.definition.limits;
  if (state.queue.groups.length < maxGroups) return undefined;
  return { reason: 'too-many', detail: `the queue may have ${maxGroups} groups` };
}

/** Where the group is to begin, whatever others have settled. */
function beginOf(state: QueueState, command: CreateGroupCommand, look: Look): number {
  return offsetOf(state, command.start ?? { kind: state.definition.limits.groupStart }, look);
}

function groupsOf(state: QueueState): GroupState[] {
  return state.queue.groups.map(({ groupId }) => state.loadedGroup(groupId));
}

/** The group with the lowest floor: nothing below is settled by all. */
function lowestGroup(state: QueueState): GroupState | undefined {
  let lowest: GroupState | undefined;
  for (const group of groupsOf(state)) {
    if (lowest === undefined || group.floor < lowest.floor) lowest = group;
  }
  return lowest;
}
