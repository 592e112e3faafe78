/**
 * What of a queue is kept: retention by messages, bytes and age, in force.
 *
 * When a message comes, messages and bytes are looked at as if it were there already; age has a
 * timer of its own for each queue, which looks at all three. By messages at most a 256th of the
 * bound too many stay, so that a long queue is not cut at every message. One step cuts at most
 * `MAX_RANGE` behind the lowest floor; the rest follows with the next message, or the timer.
 */

import { MAX_RANGE } from './command.ts';
import type { Mark } from './marks.ts';
import type { ApplyContext, NeedsContext, Parts } from './parts.ts';
import type { QueueState } from './queue.ts';
import { raiseStart, raiseStartNeeds, startThatKeeps, stepFrom } from './queue-start.ts';
import type { RecordKey } from './record-data.ts';
import { type RetentionStep, retentionStep } from './retention.ts';

const MAX_SLACK = 256;

interface Plan {
  /** Where the queue is to start; its present start if nothing is to go. */
  readonly to: number;
  readonly step: RetentionStep | undefined;
}

/** Could something have to go, now or with the message that `comes`? */
export function mayBeRetained(state: QueueState, comes: boolean): boolean {
  const { messages, bytes } = state.definition.limits.retention;
  return bytes > 0 || (messages > 0 && state.mayReach(messagesKept(messages, comes)));
}

/** Adds what `enforceRetention` needs; the records of all groups are in memory. */
export function retentionNeeds(
  state: QueueState,
  message: { readonly bytes: number } | undefined,
  { parts, stamp, keys }: NeedsContext,
): void {
  if (message !== undefined && !mayBeRetained(state, true)) return;
  if (hasBounds(state) && parts.marks.needsHead(state.queueId, keys)) return;
  const { to } = planOf(state, { message, parts, stamp, keys });
  if (keys.length === 0) raiseStartNeeds(state, to, keys);
}

/** Lets go what is not kept; all that it needs is in memory. */
export function enforceRetention(
  state: QueueState,
  message: { readonly bytes: number } | undefined,
  { parts, stamp, effects }: ApplyContext,
): void {
  if (message !== undefined && !mayBeRetained(state, true)) return;
  const { to, step } = planOf(state, { message, parts, stamp, keys: [] });
  if (to > state.queue.start) raiseStart(state, to, effects);
  if (step === undefined || step.start > state.queue.start) return;
  const { end } = parts.marks.range(state.queueId);
  parts.marks.drop(state.queueId, Math.min(step.mark, end));
}

/** When `enforceRetention` without a message has more to do after this time; 0: not by itself. */
export function nextRetention(
  state: QueueState,
  { parts, stamp, keys }: Pick<NeedsContext, 'parts' | 'stamp' | 'keys'>,
): number {
  const { to, step } = planOf(state, { message: undefined, parts, stamp, keys });
  if (step === undefined) return 0;
  if (step.start > to) return stamp + 1;
  return step.checkAt === Infinity ? 0 : Math.max(step.checkAt, stamp + 1);
}

function planOf(
  state: QueueState,
  {
    message,
    parts,
    stamp: now,
    keys,
  }: {
    message: { readonly bytes: number } | undefined;
    parts: Parts;
    stamp: number;
    keys: RecordKey[];
  },
): Plan {
  const { queueId } = state;
  const { start, nextOffset, enqueuedBytes } = state.queue;
  const { retention } = state.definition.limits;
  const { messages } = retention;
  const comes = message !== undefined;
  let to = start;
  if (messages > 0 && state.length() >= messagesKept(messages, comes)) {
    to = Math.max(to, startThatKeeps(state, comes ? messages - 1 : messages, keys));
  }
  // Whether this is looked at when a message comes must not hang on what is in memory: see
  // `mayReach`. By bytes it always is.
  if (!hasBounds(state) || (comes && retention.bytes === 0)) return { to, step: undefined };
  const coming: Mark | undefined = comes
    ? { offset: nextOffset, stamp: now, bytes: enqueuedBytes }
    : undefined;
  const bytes = enqueuedBytes + (message?.bytes ?? 0);
  const kept = { queueId, start, nextOffset, bytes, retention, now, coming };
  const step = retentionStep(parts.marks, kept, keys);
  if (step !== undefined) to = Math.max(to, step.start);
  return { to: Math.min(to, stepFrom(state) + MAX_RANGE), step };
}

/** So many messages, and what is above `messages` goes. */
function messagesKept(messages: number, comes: boolean): number {
  const slack = Math.min(MAX_SLACK, Math.floor(messages / 256));
  return comes ? messages + slack : messages + 1;
}

function hasBounds(state: QueueState): boolean {
  const { ageMs, bytes } = state.definition.limits.retention;
  return ageMs > 0 || bytes > 0;
}
