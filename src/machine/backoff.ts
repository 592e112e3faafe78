/**
 * When a requeued message may be delivered again.
 *
 * A client that hands a message back (nack) says that it cannot be processed now: it waits,
 * exponentially longer with each attempt, from `retry.min` by `retry.multiplier` to `retry.max`,
 * lengthened by a jitter so that what failed together does not come again together. A message whose
 * visibility timeout passed or whose consumer was lost goes to another member **at once**: it has
 * waited already, or the member is gone, and nothing speaks against the message itself. At
 * `deliveryLimit` attempts it leaves the queue; where it cannot (no more intents may be open), it
 * waits the longest backoff, whatever the cause. 'returned' is not an attempt and never comes here.
 *
 * Every replica must come to the same number: the jitter is a hash and not random, and powers are
 * multiplications, because the last bit of `Math.pow` is the engine's business.
 */

import type { SettleCause } from './command.ts';
import type { QueueLimits } from './definitions.ts';

/** The message in question, and the attempts that have ended, this one included (so at least 1). */
export interface EndedAttempt {
  readonly queueId: number;
  readonly offset: number;
  readonly attempts: number;
  readonly cause: SettleCause;
}

/** A stamp, or 0 for at once. */
export function notBefore(ended: EndedAttempt, limits: QueueLimits, stamp: number): number {
  const { retry } = limits;
  if (ended.attempts >= limits.deliveryLimit) return stamp + retry.maxMs;
  if (ended.cause !== 'client') return 0;
  let delay = retry.minMs;
  for (let i = 1; i < ended.attempts && delay < retry.maxMs && retry.multiplier > 1; i += 1) {
    delay *= retry.multiplier;
  }
  const share = hash(ended.queueId, ended.offset, ended.attempts) / 0x1_0000_0000;
  return stamp + Math.min(Math.floor(delay * (1 + retry.jitter * share)), retry.maxMs);
}

/** 32 well-mixed bits (the finaliser of MurmurHash3 over each half). */
function hash(queueId: number, offset: number, attempts: number): number {
  let h = mix(queueId >>> 0, 0x9e3779b9);
  h = mix(offset >>> 0, h);
  h = mix(Math.floor(offset / 0x1_0000_0000), h);
  return mix(attempts, h);
}

function mix(value: number, seed: number): number {
  let h = (value ^ seed) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
