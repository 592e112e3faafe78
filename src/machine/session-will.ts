/**
 * The will of a durable session (of MQTT), beside its record: stored with the claim, and due when
 * its connection was lost.
 *
 *   claim ---> armed --(left, but not in peace)--> waits --(its delay, or the session's end)--> due
 *                |                                   |
 *                +--(DISCONNECT 0x00) gone           +--(its client is back in time) gone
 *
 * Due is what the leader has to publish; it is told of again until `end-will` says that it is
 * published. Its number is the owner epoch of its claim, so each is known by one name for good. A
 * takeover makes a will due whose delay is 0, or whose session does not go on ([MQTT-3.1.4-3] and
 * what follows it); any other one is gone with it [MQTT-3.1.3-9].
 *
 * At most `WILLS_DUE_MAX` of a session are due: a claim that would add one is refused. A session
 * without a will has no such record, and stays until what is due of it is published. A timer that
 * stands is left to fire for nothing, and an earlier one is added where it saves an eighth of the
 * time: so a will may be late by so much, and timers do not pile up.
 */

import { assert } from './assert.ts';
import type { QueueId } from './ids.ts';
import type { ApplyContext, NeedsContext } from './parts.ts';
import { NEVER_ENDS } from './session-record.ts';
import type { StoredWill, WillRecord } from './session-will-record.ts';

/** Wills of one session that are due and not published. */
export const WILLS_DUE_MAX = 16;
/** A will that is due is told of again after so long. */
const AGAIN_MS = 60_000;

/** Adds what any of the functions below needs; the session's record is loaded. */
export function willNeeds(queueId: QueueId, { parts, stamp, keys }: NeedsContext): void {
  const { hasWill, expirySeconds } = parts.sessions.get(queueId);
  if (!hasWill || parts.wills.need(queueId, keys)) return;
  const { armed, dueAt } = parts.wills.get(queueId);
  parts.timers.needsToAdd(stamp + AGAIN_MS, stamp, keys);
  if (dueAt > stamp) parts.timers.needsToAdd(dueAt, stamp, keys);
  if (armed === undefined) return;
  const seconds = Math.min(armed.delaySeconds, expirySeconds);
  parts.timers.needsToAdd(stamp + seconds * 1_000, stamp, keys);
}

/** Whether a claim finds as many due as there may be, and would add another one. */
export function hasTooManyWills(queueId: QueueId, goesOn: boolean, context: ApplyContext): boolean {
  const { parts, stamp } = context;
  if (!parts.sessions.get(queueId).hasWill) return false;
  const will = parts.wills.get(queueId);
  return will.due.length >= WILLS_DUE_MAX && isLost(will, goesOn, stamp);
}

/** Another owner has come, with a will or without. `goesOn`: with the session that there was. */
export function claimWill(
  queueId: QueueId,
  { goesOn, will }: { readonly goesOn: boolean; readonly will: StoredWill | undefined },
  context: ApplyContext,
): void {
  const { parts, stamp } = context;
  const record = parts.sessions.change(queueId);
  if (!record.hasWill && will === undefined) return;
  const content = record.hasWill ? parts.wills.change(queueId) : parts.wills.create(queueId);
  if (isLost(content, goesOn, stamp)) makeDue(queueId, context);
  const number = record.ownerEpoch;
  content.armed = will && { number, ...will, message: will.message.slice() };
  content.dueAt = 0;
  tidy(queueId, context);
}

function isLost({ armed, dueAt }: WillRecord, goesOn: boolean, stamp: number): boolean {
  if (armed === undefined) return false;
  return !goesOn || armed.delaySeconds === 0 || (dueAt !== 0 && dueAt <= stamp);
}

/** Its owner has left; the end of the session is counted. `isInPeace`: by DISCONNECT with 0x00. */
export function leaveWill(queueId: QueueId, isInPeace: boolean, context: ApplyContext): void {
  const { parts, stamp } = context;
  const { hasWill, endsAt } = parts.sessions.get(queueId);
  if (!hasWill || parts.wills.get(queueId).armed === undefined) return;
  const content = parts.wills.change(queueId);
  if (isInPeace) {
    content.armed = undefined;
    content.dueAt = 0;
    tidy(queueId, context);
    return;
  }
  const { delaySeconds } = content.armed as StoredWill;
  const delayed = content.dueAt === 0 ? stamp + delaySeconds * 1_000 : content.dueAt;
  content.dueAt = Math.max(1, Math.min(delayed, endsAt === 0 ? NEVER_ENDS : endsAt));
  if (content.dueAt <= stamp) makeDue(queueId, context);
  else wakeAt(queueId, content.dueAt, context);
}

/** Its owner is there after all: what is not due yet is not lost. */
export function resumeWill(queueId: QueueId, { parts }: ApplyContext): void {
  if (!parts.sessions.get(queueId).hasWill || parts.wills.get(queueId).dueAt === 0) return;
  parts.wills.change(queueId).dueAt = 0;
}

/** Time has passed. False: something of the session is to be published. */
export function isWillDone(queueId: QueueId, context: ApplyContext): boolean {
  const { parts, stamp, effects } = context;
  if (!parts.sessions.get(queueId).hasWill) return true;
  const content = parts.wills.get(queueId);
  const { checkAt, dueAt } = content;
  const isTime = checkAt !== 0 && checkAt <= stamp;
  if (isTime) {
    parts.wills.change(queueId).checkAt = 0;
    for (const { number, message } of content.due) {
      effects.addRare({ kind: 'session-will', queueId, number, message });
    }
  }
  if (dueAt !== 0 && dueAt <= stamp) makeDue(queueId, context);
  else if (isTime && dueAt !== 0) wakeAt(queueId, dueAt, context);
  if (content.due.length > 0) wakeAt(queueId, stamp + AGAIN_MS, context);
  return content.due.length === 0;
}

/** It is published; once more changes nothing. */
export function endWill(queueId: QueueId, number: number, context: ApplyContext): void {
  const { parts } = context;
  if (!parts.sessions.get(queueId).hasWill) return;
  const { due } = parts.wills.get(queueId);
  const left = due.filter((each) => each.number !== number);
  if (left.length === due.length) return;
  parts.wills.change(queueId).due = left;
  tidy(queueId, context);
}

export function forgetWill(queueId: QueueId, { parts }: ApplyContext): void {
  if (parts.sessions.get(queueId).hasWill) parts.wills.remove(queueId);
}

function makeDue(queueId: QueueId, context: ApplyContext): void {
  const content = context.parts.wills.change(queueId);
  const { armed } = content;
  assert(armed !== undefined, 'mqtt-will: there is none to publish');
  const { number, message } = armed;
  content.armed = undefined;
  content.dueAt = 0;
  content.due = [...content.due, { number, message }];
  context.effects.addRare({ kind: 'session-will', queueId, number, message });
  wakeAt(queueId, context.stamp + AGAIN_MS, context);
}

/** Not while a timer stands that fires before it, or not much behind it. */
function wakeAt(queueId: QueueId, at: number, { parts, stamp }: ApplyContext): void {
  const { checkAt } = parts.wills.get(queueId);
  if (checkAt !== 0 && (at - stamp) * 8 > (checkAt - stamp) * 7) return;
  parts.wills.change(queueId).checkAt = at;
  parts.timers.add({ due: at, kind: 'session', queueId, number: 0 }, stamp);
}

/** Without a will there is no record. */
function tidy(queueId: QueueId, { parts }: ApplyContext): void {
  const { armed, due } = parts.wills.get(queueId);
  const record = parts.sessions.change(queueId);
  record.hasWill = armed !== undefined || due.length > 0;
  if (!record.hasWill) parts.wills.remove(queueId);
}
