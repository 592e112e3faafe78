/**
 * What fires when is not predicted: how much one step does is the machine's business. The model
 * checks that each effect of a step is due and right, and does the same; and once the machine says
 * that nothing is due any more, that nothing is left that should have fired.
 */

import { expect } from 'vitest';
import type { RareEffect } from '../../src/machine/effect.ts';
import type { Offset, StampMs } from '../../src/machine/ids.ts';
import type { SeenEffect } from '../machine/machine-driver.ts';
import { BYTES, type ModelGroup, type ModelQueue } from './machine-model-queue.ts';
import type { MachineModel } from './machine-model.ts';

type Ranged = Extract<SeenEffect, { kind: 'ranged' }>;
type Rare<Kind extends RareEffect['kind']> = Extract<RareEffect, { kind: Kind }>;

/** A block of marks may span a second, and a timer waits for its tick. */
const AGE_SLACK = 2_200;

/** The effects of one step. */
export function adopt(model: MachineModel, effects: readonly SeenEffect[], now: number): void {
  for (let at = 0; at < effects.length;) at += adoptNext(model, effects.slice(at), now);
}

/** How many effects were looked at. */
function adoptNext(model: MachineModel, effects: readonly SeenEffect[], now: number): number {
  const first = effects[0] as SeenEffect;
  switch (first.kind) {
    case 'intent-opened':
      openDelayed(model, first, now);
      return 1;
    case 'group-check': {
      const group = groupOf(model, first);
      expect([group.kind, group.idleSince, group.timerDue <= now]).toEqual(['automatic', 0, true]);
      group.timerDue = now + queueOf(model, first).definition.limits.groupExpiresMs;
      return 1;
    }
    case 'group-deleted':
      return expireGroup(model, effects, now);
    case 'session-ended':
      model.mqttSessions.ended(first, queueOf(model, first), now);
      return 1;
    case 'session-redefined':
      model.mqttSessions.redefined(first, queueOf(model, first), now);
      return 1;
    case 'ranged':
    case 'start-raised': {
      const queue = queueOf(model, first);
      const other = effects.findIndex((e) => e.kind !== 'ranged' || e.queueId !== queue.id);
      const ranges = other === -1 ? effects.length : other;
      const end = effects[ranges];
      if (end?.kind === 'start-raised' && end.queueId === queue.id) {
        return raise(queue, effects.slice(0, ranges + 1), { effects, now });
      }
      return expire(queue, effects, { count: ranges, now });
    }
    default:
      throw new Error(`not of a timer: ${JSON.stringify(first)}`);
  }
}

/** By retention; or, without a group, because the first messages have expired. */
function raise(
  queue: ModelQueue,
  raised: readonly SeenEffect[],
  { effects, now }: { effects: readonly SeenEffect[]; now: number },
): number {
  const from = queue.start;
  const { start } = raised.at(-1) as Rare<'start-raised'>;
  const { messages } = queue.definition.limits.retention;
  const byMessages = messages === 0 ? from : queue.startThatKeeps(messages);
  let isRight = start <= byMessages || queue.isOutside(start, { now, comes: 0 });
  if (queue.groups.length === 0) {
    isRight ||= queue.messages.slice(from, start).every(({ due }) => due <= now);
  }
  expect({ start, isRight, from }).toEqual({ start, isRight: true, from });
  const expected: SeenEffect[] = [];
  queue.raise(start, expected);
  expect(raised).toEqual(expected);
  return raised.length + (isDropped(effects[raised.length], queue) ? 1 : 0);
}

/** Stretches of one queue that have expired, and how many that were. */
function expire(
  queue: ModelQueue,
  effects: readonly SeenEffect[],
  { count, now }: { count: number; now: number },
): number {
  for (const effect of effects.slice(0, count) as readonly Ranged[]) {
    const group = queue.groups.find(({ id }) => id === effect.groupId);
    if (group === undefined) throw new Error(`there is no group ${effect.groupId}`);
    for (let offset = effect.from; offset < effect.to; offset += 1) {
      if (!group.has(offset)) expectDue(queue, offset, now);
    }
    group.settleRange(effect.from, effect.to);
    expect(effect.floor).toBe(group.floor);
  }
  return count + (isDropped(effects[count], queue) ? 1 : 0);
}

/** What counts the messages of the effects before it, those of an earlier row perhaps too. */
function isDropped(effect: SeenEffect | undefined, queue: ModelQueue): boolean {
  return effect?.kind === 'dropped' && effect.queueId === queue.id && effect.why === 'expired';
}

function expectDue(queue: ModelQueue, offset: number, now: number): void {
  const due = queue.messages[offset]?.due ?? Infinity;
  if (due > now) expect({ queueId: queue.id, offset, due }).toBe(`due by ${now}`);
}

function openDelayed(model: MachineModel, effect: Rare<'intent-opened'>, now: number): void {
  const { offset } = effect.intent;
  const waiting = model.delayed.get(offset);
  expect(waiting?.due).toBeLessThanOrEqual(now);
  model.delayed.delete(offset);
  const expected = model.openIntent({
    reason: 'delayed',
    queueId: 0 as never,
    groupId: 0 as never,
    offset: offset as Offset,
    attempts: 0,
    stamp: now as StampMs,
    target: { kind: 'queues', queueIds: waiting?.queueIds ?? [] },
  });
  expect(effect).toEqual(expected);
}

function expireGroup(model: MachineModel, effects: readonly SeenEffect[], now: number): number {
  const first = effects[0] as Rare<'group-deleted'>;
  const [queue, group] = [queueOf(model, first), groupOf(model, first)];
  const { groupExpiresMs } = queue.definition.limits;
  const { kind, idleSince, timerDue } = group;
  const isIdle = idleSince > 0 && idleSince + groupExpiresMs <= now && timerDue <= now;
  expect({ kind, isIdle, idleSince }).toEqual({ kind: 'automatic', isIdle: true, idleSince });
  const expected = model.removeGroup(queue, group, 'expired');
  expect(effects.slice(0, expected.length)).toEqual(expected);
  return expected.length;
}

/** Nothing is due any more, says the machine. */
export function checkFired(model: MachineModel, now: number): void {
  const late = [...model.delayed].filter(([, { due }]) => due <= now);
  expect(late).toEqual([]);
  for (const queue of model.queues.values()) {
    for (const group of queue.groups) checkGroup(queue, group, now);
  }
  model.mqttSessions.fired(now);
  model.producers.fired(
    now,
    (queueId) => model.queues.get(queueId)?.definition.limits.producerExpiresMs,
  );
}

function checkGroup(queue: ModelQueue, group: ModelGroup, now: number): void {
  for (let offset = group.floor; offset < queue.next; offset += 1) {
    const due = queue.messages[offset]?.due ?? Infinity;
    // A group that came, or went back, later than that has it again: the leader sees its age.
    if (due > now || due <= group.resetAt || group.has(offset)) continue;
    expect({ group: group.name, offset, due, now }).toBe('settled');
  }
  if (group.timerDue > now) return;
  const { groupExpiresMs } = queue.definition.limits;
  const again = group.idleSince + groupExpiresMs;
  if (group.idleSince === 0 || again <= now) {
    expect({ group: group.name, idle: group.idleSince, due: group.timerDue }).toBe('looked at');
  }
  group.timerDue = again;
}

/** After a while without a publish: retention has done what it says. */
export function checkRetained(model: MachineModel, now: number): void {
  for (const queue of model.queues.values()) {
    const { ageMs, bytes, messages } = queue.definition.limits.retention;
    if (messages > 0) {
      const slack = Math.max(1, Math.min(256, Math.floor(messages / 256)));
      expect(queue.length).toBeLessThanOrEqual(messages + slack);
    }
    const from = Math.max(queue.start, queue.markedFrom);
    const isMarked = queue.markedFrom <= queue.start;
    // Of what every group has settled there may be no marks any more: it stays, at no cost.
    const kept = queue.next - Math.max(queue.start, queue.lowestWanted);
    if (bytes > 0 && queue.exactFrom <= queue.start) {
      expect(kept * BYTES).toBeLessThanOrEqual(Math.max(BYTES, bytes));
    }
    const oldest = queue.messages[from];
    if (ageMs === 0 || oldest === undefined || !isMarked) continue;
    const since = Math.max(oldest.stamp, queue.retainedSince);
    expect(since + ageMs + AGE_SLACK).toBeGreaterThan(now);
  }
}

function queueOf(model: MachineModel, { queueId }: { queueId: number }): ModelQueue {
  const queue = model.queues.get(queueId);
  if (queue === undefined) throw new Error(`there is no queue ${queueId}`);
  return queue;
}

function groupOf(model: MachineModel, of: { queueId: number; groupId: number }): ModelGroup {
  const group = queueOf(model, of).groups.find(({ id }) => id === of.groupId);
  if (group === undefined) throw new Error(`there is no group ${of.groupId}`);
  return group;
}
