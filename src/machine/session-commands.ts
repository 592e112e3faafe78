/**
 * The commands of durable sessions (of MQTT): what each needs, and what it does.
 *
 * A session is a queue of the type `session`, which captures by the filters that its client
 * subscribed to at QoS 1 and 2, and a record beside it (`session-record.ts`). Each command has
 * exactly one answer, behind all else that it does. One by a former owner changes nothing.
 *
 * The end: a timer stands while it is counted, and fires again until the queue is gone; the leader
 * hears `session-ended`, tidies up what lies in other shards, and deletes the session by its epoch,
 * so that one that was claimed meanwhile stays. A timer of before an earlier end is left to fire
 * for nothing; so that they cannot pile up, an earlier end is given a timer of its own only where
 * it halves the time (or ends at once): until then what has ended may stay, as ended, up to twice
 * its time.
 */

import type { DeleteQueueCommand } from './command.ts';
import type { Definitions } from './definition-commands.ts';
import type { QueueLimits } from './definitions.ts';
import type { Effects } from './effect.ts';
import type { SessionRefusalReason } from './session-effect.ts';
import { DEFAULT_GROUP, type Offset, type QueueId } from './ids.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import type { QueueState } from './queue.ts';
import type {
  ChangeSessionCommand,
  ChooseSessionCommand,
  ClaimSessionCommand,
  EndWillCommand,
  HalfSessionCommand,
  LeaveSessionCommand,
  OwnedSessionCommand,
  ReceiveSessionCommand,
  SessionCommand,
} from './session-command.ts';
import { redefineSession, redefineShares, sessionPatterns } from './session-patterns.ts';
import {
  NEVER_ENDS,
  NEVER_EXPIRES,
  SESSION_HALVES_MAX,
  type SessionRecord,
  type StoredSubscription,
  fitsSession,
} from './session-record.ts';
import { moveReplays, replayAfter, withReplay } from './session-replay.ts';
import {
  claimWill,
  endWill,
  forgetWill,
  hasTooManyWills,
  isWillDone,
  leaveWill,
  resumeWill,
  willNeeds,
} from './session-will.ts';
import type { Meta } from './version.ts';

/** A session that has ended and is still there is told of again after so long. */
const END_AGAIN_MS = 60_000;

export interface SessionContext extends ApplyContext {
  readonly definitions: Definitions;
  readonly meta: Meta;
}

/** Of a publish of the session. */
type PublishCommand = ReceiveSessionCommand | ChooseSessionCommand;

/** Adds what the command needs and is not resident; ask again until nothing is added. */
export function sessionNeeds(command: SessionCommand, needs: NeedsContext): void {
  const { parts, stamp, keys } = needs;
  const state = sessionQueue(needs, command.queueId);
  if (state === undefined || parts.sessions.need(command.queueId, keys)) return;
  const record = parts.sessions.get(command.queueId);
  switch (command.kind) {
    case 'claim-session':
      state.missing(keys);
      endKeysNeed(record, needs);
      willNeeds(command.queueId, needs);
      return;
    case 'delete-session':
      state.missing(keys);
      willNeeds(command.queueId, needs);
      parts.marks.needsHead(command.queueId, keys);
      parts.levels.needsHead(command.queueId, keys);
      endKeysNeed(record, needs);
      return;
    case 'halve-session':
      if (!state.isGroupReady(DEFAULT_GROUP, keys)) return;
      state.loadedGroup(DEFAULT_GROUP).needs(command.offset, keys);
      return;
    case 'leave-session': {
      const endsAt = endOf(command.expirySeconds ?? record.expirySeconds, stamp);
      if (endsAt !== NEVER_ENDS) parts.timers.needsToAdd(endsAt, stamp, keys);
      willNeeds(command.queueId, needs);
      return;
    }
    case 'receive-session':
    case 'choose-session':
      endKeysNeed(record, needs);
      return;
    case 'resume-session':
    case 'end-will':
      willNeeds(command.queueId, needs);
      return;
    case 'change-session':
    case 'replay-session':
    case 'finish-session':
  }
}

function endKeysNeed({ incarnation }: SessionRecord, { parts, keys }: NeedsContext): void {
  if (incarnation !== '') parts.publishKeys.needs(incarnation, keys);
}

export function applyToSession(command: SessionCommand, context: SessionContext): void {
  const { parts, effects } = context;
  const { queueId } = command;
  const state = sessionQueue(context, queueId);
  if (state === undefined) {
    refuse({ queueId, reason: 'no-session', ownerEpoch: 0 }, effects);
    return;
  }
  if (command.kind === 'claim-session') {
    claim(state, command, context);
    return;
  }
  if (command.kind === 'end-will') {
    published(command, context);
    return;
  }
  const { ownerEpoch } = parts.sessions.get(queueId);
  if (ownerEpoch === 0 || ownerEpoch !== command.ownerEpoch) {
    refuse({ queueId, reason: 'stale-owner', ownerEpoch }, effects);
    return;
  }
  if (command.kind === 'receive-session' || command.kind === 'choose-session') {
    receive(command, context);
    return;
  }
  const refusal = applyOwned(state, command, context);
  if (refusal === undefined) effects.addRare({ kind: 'session-done', queueId });
  else refuse({ queueId, reason: refusal, ownerEpoch }, effects);
}

/** Undefined: it is done. */
function applyOwned(
  state: QueueState,
  command: Exclude<SessionCommand, ClaimSessionCommand | PublishCommand | EndWillCommand>,
  context: SessionContext,
): SessionRefusalReason | undefined {
  switch (command.kind) {
    case 'change-session':
      return change(state, command, context);
    case 'replay-session':
      moveReplays(command, context);
      return undefined;
    case 'halve-session':
      return halve(state, command, context);
    case 'finish-session':
      finish(command, context);
      return undefined;
    case 'leave-session':
      leave(state, command, context);
      return undefined;
    case 'resume-session':
      resume(state, context);
      return undefined;
    case 'delete-session':
      return remove(command, context);
  }
}

function refuse(
  refusal: {
    readonly queueId: QueueId;
    readonly reason: SessionRefusalReason;
    readonly ownerEpoch: number;
  },
  effects: Effects,
): void {
  effects.addRare({ kind: 'session-refused', ...refusal });
}

function claim(state: QueueState, command: ClaimSessionCommand, context: SessionContext): void {
  const { parts, stamp, effects } = context;
  const { queueId } = state;
  const before = parts.sessions.get(queueId);
  if (before.ownerEpoch > 0 && before.token === command.token) {
    tellClaimed(queueId, before, effects);
    return;
  }
  if (before.ownerEpoch !== command.epoch) {
    refuse({ queueId, reason: 'stale-owner', ownerEpoch: before.ownerEpoch }, effects);
    return;
  }
  if (isOthers(before, command, stamp)) {
    refuse({ queueId, reason: 'other-user', ownerEpoch: before.ownerEpoch }, effects);
    return;
  }
  const isPresent = before.ownerEpoch > 0 && !command.cleanStart && !before.hasEnded(stamp);
  if (hasTooManyWills(queueId, isPresent, context)) {
    refuse({ queueId, reason: 'too-many-wills', ownerEpoch: before.ownerEpoch }, effects);
    return;
  }
  const record = parts.sessions.change(queueId);
  record.before = '';
  if (!isPresent) empty(state, record, context);
  if (!isPresent) record.incarnation = command.incarnation;
  record.ownerEpoch += 1;
  record.token = command.token;
  record.wasPresent = isPresent;
  record.expirySeconds = command.expirySeconds;
  record.user = command.user ?? (isPresent ? before.user : '');
  record.endsAt = 0;
  claimWill(queueId, { goesOn: isPresent, will: command.will }, context);
  const limits: QueueLimits = { ...state.definition.limits, ...command.limits };
  const topics = sessionPatterns(record, stamp);
  redefineSession(state, { ...state.definition, topics, limits }, context);
  tellClaimed(queueId, record, effects);
}

/** One that is nobody's, of a time without users, is whoever's claims it first. */
function isOthers(record: SessionRecord, { user }: ClaimSessionCommand, stamp: number): boolean {
  if (user === undefined || record.user === '' || record.user === user) return false;
  return record.ownerEpoch > 0 && !record.hasEnded(stamp);
}

function tellClaimed(queueId: QueueId, record: SessionRecord, effects: Effects): void {
  const { ownerEpoch, wasPresent, incarnation, before, subscriptions, halves } = record;
  const life = { present: wasPresent, incarnation, before };
  const kept = { subscriptions, halves: halves as readonly Offset[] };
  effects.addRare({ kind: 'session-claimed', queueId, ownerEpoch, ...life, ...kept });
}

/** Nothing of the life before is left but the epoch. */
function empty(state: QueueState, record: SessionRecord, { parts, effects }: ApplyContext): void {
  if (record.incarnation !== '') parts.publishKeys.end(record.incarnation);
  record.before = record.incarnation;
  record.subscriptions = [];
  record.halves = [];
  const { queueId } = state;
  const { nextOffset } = state.queue;
  const group = state.loadedGroup(DEFAULT_GROUP);
  if (group.floor === nextOffset) return;
  parts.lostGroups.release(queueId, DEFAULT_GROUP);
  group.reset(nextOffset);
  const floor = nextOffset as Offset;
  effects.addRare({ kind: 'group-sought', queueId, groupId: DEFAULT_GROUP, floor });
}

function change(
  state: QueueState,
  command: ChangeSessionCommand,
  context: SessionContext,
): SessionRefusalReason | undefined {
  const { queueId } = state;
  const byFilter = new Map<string, StoredSubscription>();
  for (const each of context.parts.sessions.get(queueId).subscriptions) {
    byFilter.set(each.filter, each);
  }
  for (const filter of command.unsubscribe) byFilter.delete(filter);
  for (const each of command.subscribe) {
    const replay = replayAfter(each, byFilter.get(each.filter));
    byFilter.set(each.filter, withReplay(each, replay));
  }
  const subscriptions = [...byFilter.values()];
  if (!fitsSession(subscriptions)) return 'too-many-subscriptions';
  const record = context.parts.sessions.change(queueId);
  record.subscriptions = subscriptions;
  const topics = sessionPatterns(record, context.stamp);
  redefineSession(state, { ...state.definition, topics }, context);
  return undefined;
}

function halve(
  state: QueueState,
  { queueId, offset }: HalfSessionCommand,
  { parts, effects }: ApplyContext,
): SessionRefusalReason | undefined {
  const { halves } = parts.sessions.get(queueId);
  const at = placeIn(halves, offset);
  if (halves[at] !== offset && offset < state.queue.nextOffset) {
    if (halves.length >= SESSION_HALVES_MAX) return 'too-many-halves';
    const record = parts.sessions.change(queueId);
    record.halves = [...halves.slice(0, at), offset, ...halves.slice(at)];
  }
  const group = state.loadedGroup(DEFAULT_GROUP);
  if (!state.isUnsettled(group, offset)) return undefined;
  group.settle(offset);
  const told = effects.addSettled(queueId, DEFAULT_GROUP, offset);
  effects.finishSettled(told, group.floor, false);
  return undefined;
}

function finish({ queueId, offset }: HalfSessionCommand, { parts }: ApplyContext): void {
  const { halves } = parts.sessions.get(queueId);
  const at = placeIn(halves, offset);
  if (halves[at] !== offset) return;
  parts.sessions.change(queueId).halves = [...halves.slice(0, at), ...halves.slice(at + 1)];
}

/** Where the offset is, or would be. */
function placeIn(halves: readonly number[], offset: number): number {
  let low = 0;
  let high = halves.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((halves[middle] as number) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function receive(command: PublishCommand, { parts, effects }: ApplyContext): void {
  const { queueId, ownerEpoch, packetId } = command;
  const { incarnation: session } = parts.sessions.get(queueId);
  const key = { session, ownerEpoch, packetId };
  const answer = parts.publishKeys.check(key);
  if (answer === 'stale-owner' || answer === 'too-many') {
    const reason = answer === 'too-many' ? 'too-many-keys' : answer;
    refuse({ queueId, reason, ownerEpoch }, effects);
    return;
  }
  if (command.kind === 'choose-session') {
    const chosen = parts.publishKeys.choose(key, command);
    if (chosen === undefined) refuse({ queueId, reason: 'too-many-choices', ownerEpoch }, effects);
    else effects.addRare({ kind: 'session-chosen', queueId, ...chosen });
    return;
  }
  parts.publishKeys.take(key);
  effects.addRare({ kind: 'session-received', queueId, isNew: answer === 'new' });
}

function resume(state: QueueState, context: ApplyContext): void {
  const { queueId } = state;
  const record = context.parts.sessions.change(queueId);
  record.endsAt = 0;
  redefineShares(state, record, context);
  resumeWill(queueId, context);
}

function leave(state: QueueState, command: LeaveSessionCommand, context: ApplyContext): void {
  const { parts, stamp } = context;
  const { queueId } = command;
  const isLost = command.expirySeconds === undefined;
  if (isLost && parts.sessions.get(queueId).endsAt !== 0) return;
  const record = parts.sessions.change(queueId);
  const expirySeconds = command.expirySeconds ?? record.expirySeconds;
  record.expirySeconds = expirySeconds;
  record.endsAt = endOf(expirySeconds, stamp);
  redefineShares(state, record, context);
  leaveWill(queueId, command.isInPeace, context);
  if (record.endsAt === NEVER_ENDS || !needsTimer(record, stamp)) return;
  record.checkAt = Math.max(1, record.endsAt);
  parts.timers.add({ due: record.endsAt, kind: 'session', queueId, number: 0 }, stamp);
}

/** Not while one stands that fires before it, or not much behind it. */
function needsTimer({ endsAt, checkAt }: SessionRecord, stamp: number): boolean {
  return checkAt === 0 || (endsAt < checkAt && (endsAt - stamp) * 2 <= checkAt - stamp);
}

function endOf(expirySeconds: number, stamp: number): number {
  // A stamp of 0 would say that nobody has left.
  return expirySeconds === NEVER_EXPIRES ? NEVER_ENDS : Math.max(1, stamp + expirySeconds * 1_000);
}

function remove(
  { queueId }: OwnedSessionCommand,
  context: SessionContext,
): SessionRefusalReason | undefined {
  const { parts, definitions, meta, stamp, effects } = context;
  if (!parts.sessions.get(queueId).hasEnded(stamp)) return 'not-ended';
  if (!isWillDone(queueId, context)) return 'not-ended';
  definitions.remove({ kind: 'delete-queue', queueId }, meta, effects);
  forgetSession(queueId, context);
  parts.marks.remove(queueId);
  parts.levels.remove(queueId);
  parts.lostGroups.forgetQueue(queueId);
  return undefined;
}

/** A session that waited for this alone is over. */
function published({ queueId, number }: EndWillCommand, context: ApplyContext): void {
  const { parts, stamp, effects } = context;
  endWill(queueId, number, context);
  effects.addRare({ kind: 'session-done', queueId });
  const { ownerEpoch, incarnation } = parts.sessions.get(queueId);
  if (ownerEpoch === 0 || !parts.sessions.get(queueId).hasEnded(stamp)) return;
  effects.addRare({ kind: 'session-ended', queueId, ownerEpoch, incarnation });
}

/** Adds what `forgetSession` needs, should the queue be a session's. */
export function forgetSessionNeeds({ queueId }: DeleteQueueCommand, needs: NeedsContext): void {
  const { sessions } = needs.parts;
  if (sessionQueue(needs, queueId) === undefined || sessions.need(queueId, needs.keys)) return;
  endKeysNeed(sessions.get(queueId), needs);
  willNeeds(queueId, needs);
}

/** Its queue is gone: so are its record, and the keys of its publishes in this shard. */
export function forgetSession(queueId: QueueId, context: ApplyContext): void {
  const { parts } = context;
  forgetWill(queueId, context);
  const { incarnation } = parts.sessions.get(queueId);
  if (incarnation !== '') parts.publishKeys.end(incarnation);
  parts.sessions.remove(queueId);
}

/** Adds what the fired timer of a session needs. */
export function endNeeds(queueId: QueueId, needs: NeedsContext): void {
  const { parts, stamp, keys } = needs;
  if (sessionQueue(needs, queueId) === undefined || parts.sessions.need(queueId, keys)) return;
  willNeeds(queueId, needs);
  const again = nextCheck(parts.sessions.get(queueId), stamp);
  if (again > 0) parts.timers.needsToAdd(again, stamp, keys);
}

/** The timer of a session has fired. */
export function checkEnd(queueId: QueueId, context: ApplyContext): void {
  const { parts, stamp, effects } = context;
  const state = sessionQueue(context, queueId);
  if (state === undefined) return;
  const isOver = isWillDone(queueId, context);
  const { checkAt, ownerEpoch, incarnation } = parts.sessions.get(queueId);
  // One that another has replaced.
  if (checkAt === 0 || checkAt > stamp) return;
  const record = parts.sessions.change(queueId);
  record.checkAt = nextCheck(record, stamp);
  if (record.checkAt > 0) {
    parts.timers.add({ due: record.checkAt, kind: 'session', queueId, number: 0 }, stamp);
  }
  if (!record.hasEnded(stamp)) return;
  redefineShares(state, record, context);
  if (isOver) effects.addRare({ kind: 'session-ended', queueId, ownerEpoch, incarnation });
}

/** 0: not again. */
function nextCheck(record: SessionRecord, stamp: number): number {
  if (record.endsAt === 0 || record.endsAt === NEVER_ENDS) return 0;
  return record.hasEnded(stamp) ? stamp + END_AGAIN_MS : record.endsAt;
}

function sessionQueue(
  { queues }: Pick<NeedsContext, 'queues'>,
  queueId: QueueId,
): QueueState | undefined {
  const state = queues.get(queueId);
  return state?.definition.type === 'session' ? state : undefined;
}
