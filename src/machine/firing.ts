/**
 * `fire-timers`: one bounded step of the wheel that is due first.
 *
 *   expiry     the messages are settled for every group that has not settled them: expired
 *   delayed    an intent takes the message to its queues
 *   group      an automatic group that was idle for its time goes; a busy one is asked about
 *   retention  the queue is looked at; see `retaining`
 *   producer   a numbered producer that was silent for its time is forgotten
 *   session    a durable session has ended, or does so later
 *
 * `firingNeeds` and `fire` make the same plan from the same state. A plan ends where it would touch
 * too many records, or where a row concerns a queue that an earlier row of another kind changes:
 * what that needs is known only afterwards. So one step touches some thousands of records at most
 * (Q30), and the leader proposes the next one.
 */

import type { FireTimersCommand } from './command.ts';
import type { Effects } from './effect.ts';
import { removeGroup } from './group-commands.ts';
import type { GroupState } from './group.ts';
import { DEFAULT_GROUP, DELAYED_QUEUE, type GroupId, type Offset, type QueueId } from './ids.ts';
import { openIntent } from './intents.ts';
import type { ApplyContext, NeedsContext, Parts } from './parts.ts';
import type { QueueState } from './queue.ts';
import { raiseStart } from './queue-start.ts';
import { type RecordKey, queueKey } from './record-data.ts';
import { enforceRetention, nextRetention, retentionNeeds } from './retaining.ts';
import { checkEnd, endNeeds } from './session-commands.ts';
import { SETTLED_CHUNK } from './settled-ranges.ts';
import type { DueTimer, Timers } from './timers.ts';

/** Rows that one step works off at most, whatever is asked for. */
const MAX_ROWS = 1_024;
/** Groups or producers of one row that one step looks at. */
const MAX_NUMBERS = 1_024;
/** Delayed messages that one step moves to the outbox. */
const MAX_DELAYED = 256;
/** Records that one step touches, about. */
const MAX_RECORDS = 4_096;

interface Range {
  readonly from: number;
  readonly to: number;
}

/** What a step does, row by row, and what expires in each queue. */
interface Plan {
  readonly rows: readonly DueTimer[];
  /** Numbers that are taken of the last row, which stays with what is left; 0: all. */
  readonly rest: number;
  readonly expiring: ReadonlyMap<QueueState, readonly Range[]>;
}

export function firingNeeds(command: FireTimersCommand, needs: NeedsContext): void {
  const { parts, stamp, keys } = needs;
  const wheel = wheelOf(parts, stamp);
  if (wheel === undefined) return;
  wheel.needsToStep(stamp, keys);
  if (keys.length > 0) return;
  if (wheel === parts.delays) {
    delayedNeeds(parts, needs);
    return;
  }
  const plan = planOf(command, needs, keys);
  if (keys.length > 0) return;
  for (const [state, ranges] of plan.expiring) {
    for (const group of groupsOf(state)) group.needsBatch(ranges, keys);
  }
  for (const row of plan.rows) rowNeeds(row, needs);
}

export function fire(command: FireTimersCommand, context: ApplyContext): void {
  const { parts, stamp } = context;
  const wheel = wheelOf(parts, stamp);
  if (wheel === undefined) return;
  if (wheel === parts.delays) {
    fireDelayed(context);
    return;
  }
  const { rows, rest } = planOf(command, context, []);
  if (rows.length === 0) {
    wheel.deal(stamp);
    return;
  }
  wheel.take(stamp, rest > 0 ? rows.length - 1 : rows.length, rest);
  for (const row of rows) fireRow(row, context);
}

/** Undefined: nothing is due. */
function wheelOf(parts: Parts, stamp: number): Timers | undefined {
  if (parts.nextTimer() > stamp) return undefined;
  const { timers, delays, outbox } = parts;
  return outbox.room > 0 && delays.next() < timers.next() ? delays : timers;
}

/** As many of the rows that are due as one step may take; at least one, if one is due. */
function planOf(
  { max }: FireTimersCommand,
  { parts, queues, stamp }: Pick<NeedsContext, 'parts' | 'queues' | 'stamp'>,
  keys: RecordKey[],
): Plan {
  const expiring = new Map<QueueState, Range[]>();
  const changed = new Set<QueueState>();
  const rows: DueTimer[] = [];
  let records = 0;
  for (const row of parts.timers.due(stamp, Math.max(1, Math.min(max, MAX_ROWS)))) {
    const state = queues.get(row.queueId as QueueId);
    const isExpiry = row.kind === 'expiry';
    const count = isExpiry ? row.count : Math.min(row.count, MAX_NUMBERS);
    if (isApart(row)) {
      records += count * 2;
    } else if (state !== undefined) {
      if (!state.use()) {
        keys.push(queueKey(state.queueId));
        continue;
      }
      if (changed.has(state) || (!isExpiry && expiring.has(state))) break;
      records += state.queue.groups.length * (2 + Math.ceil(count / SETTLED_CHUNK));
    }
    if (rows.length > 0 && records > MAX_RECORDS) break;
    rows.push(count < row.count ? { ...row, count } : row);
    if (state !== undefined && !isApart(row)) {
      state.missing(keys);
      if (isExpiry) listOf(expiring, state).push({ from: row.from, to: row.from + count });
      else changed.add(state);
    }
    if (count < row.count) return { rows, rest: count, expiring };
  }
  return { rows, rest: 0, expiring };
}

/** It needs nothing of the queue itself, nor of its groups. */
function isApart({ kind }: DueTimer): boolean {
  return kind === 'producer' || kind === 'session';
}

function listOf(expiring: Map<QueueState, Range[]>, state: QueueState): Range[] {
  const ranges = expiring.get(state) ?? [];
  expiring.set(state, ranges);
  return ranges;
}

function rowNeeds({ kind, queueId, from, count }: DueTimer, needs: NeedsContext): void {
  const { parts, queues, stamp, keys } = needs;
  const state = queues.get(queueId as QueueId);
  const { timers } = parts;
  switch (kind) {
    case 'producer': {
      parts.producers.needsToExpire(queueId, { from, count }, keys);
      if (keys.length > 0 || state === undefined) return;
      const { producerExpiresMs: expiresMs } = state.definition.limits;
      for (let serial = from; serial < from + count; serial += 1) {
        const again = parts.producers.seenAt(queueId, serial) + expiresMs;
        if (again > stamp) timers.needsToAdd(again, stamp, keys);
      }
      return;
    }
    case 'group':
      for (let groupId = from; groupId < from + count; groupId += 1) {
        const entry = state?.entry(groupId as GroupId);
        if (state === undefined || entry === undefined) continue;
        const again = checkGroupAt(state, entry.idleSince, stamp);
        if (again > stamp) timers.needsToAdd(again, stamp, keys);
      }
      return;
    case 'retention':
      if (state === undefined || parts.marks.needsHead(queueId, keys)) return;
      retentionNeeds(state, undefined, needs);
      if (keys.length === 0) {
        const again = nextRetention(state, needs);
        if (again > 0) timers.needsToAdd(again, stamp, keys);
      }
      return;
    case 'session':
      endNeeds(queueId as QueueId, needs);
      return;
    case 'expiry':
    case 'delayed':
      return;
  }
}

function fireRow(row: DueTimer, context: ApplyContext): void {
  const { parts, queues, stamp } = context;
  const { kind, from, count } = row;
  const queueId = row.queueId as QueueId;
  const state = queues.get(queueId);
  switch (kind) {
    case 'expiry':
      if (state !== undefined) expire(state, { from, to: from + count }, context.effects);
      return;
    case 'group':
      for (let groupId = from; state !== undefined && groupId < from + count; groupId += 1) {
        checkGroup(state, groupId as GroupId, context);
      }
      return;
    case 'retention':
      if (state !== undefined) checkRetention(state, context);
      return;
    case 'producer': {
      // Those of a queue that is gone go at once.
      const expiresMs = state?.definition.limits.producerExpiresMs ?? 0;
      for (let serial = from; serial < from + count; serial += 1) {
        const due = parts.producers.expire({ queueId, serial }, { now: stamp, expiresMs });
        if (due > 0) parts.timers.add({ due, kind, queueId, number: serial }, stamp);
      }
      return;
    }
    case 'session':
      checkEnd(queueId, context);
      return;
    case 'delayed':
      return;
  }
}

/** The messages of the range have lived their time. */
function expire(state: QueueState, { from, to }: Range, effects: Effects): void {
  const { queueId } = state;
  let most = 0;
  for (const group of groupsOf(state)) {
    const settled = group.settleRange(from, to);
    if (settled === 0) continue;
    most = Math.max(most, settled);
    const at = effects.addRanged(queueId, group.groupId, { from, to });
    effects.finishRanged(at, group.floor);
  }
  const { start, groups } = state.queue;
  // Without a group nobody settles anything: what is at the start goes.
  if (groups.length === 0 && from <= start && to > start) {
    most = to - start;
    raiseStart(state, to, effects);
  }
  if (most > 0) effects.addDropped(queueId, { from, count: most, why: 'expired' });
}

function checkGroup(state: QueueState, groupId: GroupId, context: ApplyContext): void {
  const { parts, stamp, effects } = context;
  const { queueId } = state;
  const entry = state.entry(groupId);
  if (entry === undefined) return;
  const again = checkGroupAt(state, entry.idleSince, stamp);
  if (again <= stamp) {
    removeGroup(state, { groupId, why: 'expired' }, context);
    return;
  }
  if (entry.idleSince === 0) effects.addRare({ kind: 'group-check', queueId, groupId });
  parts.timers.add({ due: again, kind: 'group', queueId, number: groupId }, stamp);
}

/** When to look at the group again; not in the future: now it goes. */
function checkGroupAt(state: QueueState, idleSince: number, stamp: number): number {
  return (idleSince === 0 ? stamp : idleSince) + state.definition.limits.groupExpiresMs;
}

function checkRetention(state: QueueState, context: ApplyContext): void {
  const { parts, stamp } = context;
  const { marks, timers } = parts;
  const { queueId } = state;
  // A timer that another one has replaced.
  if (marks.checkAt(queueId) === 0 || marks.checkAt(queueId) > stamp) return;
  const again = nextRetention(state, { parts, stamp, keys: [] });
  enforceRetention(state, undefined, context);
  marks.setCheckAt(queueId, again);
  if (again > 0) timers.add({ due: again, kind: 'retention', queueId, number: 0 }, stamp);
}

function groupsOf(state: QueueState): GroupState[] {
  return state.queue.groups.map(({ groupId }) => state.loadedGroup(groupId));
}

/** The messages that go to the outbox now, as rows of the wheel. */
function delayedOf(parts: Parts, stamp: number): { ranges: Range[]; whole: number; rest: number } {
  const ranges: Range[] = [];
  let left = Math.min(MAX_DELAYED, parts.outbox.room);
  let whole = 0;
  for (const { from, count } of parts.delays.due(stamp, MAX_DELAYED)) {
    const here = Math.min(count, left);
    left -= here;
    if (here > 0) ranges.push({ from, to: from + here });
    if (here < count) return { ranges, whole, rest: here };
    whole += 1;
  }
  return { ranges, whole, rest: 0 };
}

function delayedNeeds(parts: Parts, { queues, stamp, keys }: NeedsContext): void {
  const { ranges } = delayedOf(parts, stamp);
  const { waiting } = queues;
  if (ranges.length === 0 || !waiting.isGroupReady(DEFAULT_GROUP, keys)) return;
  waiting.loadedGroup(DEFAULT_GROUP).needsBatch(ranges, keys);
  for (const { from, to } of ranges) {
    for (let offset = from; offset < to; offset += 1) parts.delayed.needs(offset, keys);
  }
}

function fireDelayed(context: ApplyContext): void {
  const { parts, queues, stamp } = context;
  const { ranges, whole, rest } = delayedOf(parts, stamp);
  if (ranges.length === 0) {
    parts.delays.deal(stamp);
    return;
  }
  parts.delays.take(stamp, whole, rest);
  const group = queues.waiting.loadedGroup(DEFAULT_GROUP);
  const of = { queueId: DELAYED_QUEUE, groupId: DEFAULT_GROUP, attempts: 0 };
  for (const { from, to } of ranges) {
    group.settleRange(from, to);
    for (let offset = from; offset < to; offset += 1) {
      const target = { kind: 'queues', queueIds: parts.delayed.take(offset) } as const;
      openIntent({ ...of, reason: 'delayed', offset: offset as Offset, target }, context);
    }
  }
}
