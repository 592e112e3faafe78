/**
 * Who may consume a session's queue: its owner alone, and nobody else any queue as one; and how the
 * policy of its deliveries differs: it counts no attempts, and nothing is out of time.
 */

import { countsAttempts } from '../machine/definitions.ts';
import type { QueueDefinition, QueueLimits, QueueType } from '../machine/definitions.ts';
import type { GroupDispatchStart } from '../machine/machine.ts';
import type { DeliveryGroup } from './delivery-group.ts';
import type { AttachRequest } from './dispatch-options.ts';

export const TAKEN_OVER = 'another connection has claimed the session';

/** Why this consumer is refused; undefined: it is not for that. */
export function ownerProblem(type: QueueType, request: AttachRequest): string | undefined {
  const isOwner = request.ownerEpoch !== undefined;
  if (isOwner === (type === 'session')) return undefined;
  return isOwner ? "the queue is no session's" : "a session's queue is consumed by its owner alone";
}

/** A later owner is known. */
export function isFormerOwner(group: DeliveryGroup, { ownerEpoch = 0 }: AttachRequest): boolean {
  return ownerEpoch < group.ownerEpoch;
}

/** The limits by which deliveries work. */
export function deliveryLimits({ type, limits }: QueueDefinition): QueueLimits {
  if (type !== 'session') return limits;
  return { ...limits, visibilityTimeoutMs: Number.POSITIVE_INFINITY };
}

/** What its policy is made from. */
export function policyStart(
  definition: QueueDefinition,
  start: GroupDispatchStart,
): { readonly start: GroupDispatchStart; readonly isStream: boolean } {
  const isStream = !countsAttempts(definition.type);
  if (definition.type !== 'session') return { start, isStream };
  return {
    start: { ...start, limits: deliveryLimits({ ...definition, limits: start.limits }) },
    isStream,
  };
}
