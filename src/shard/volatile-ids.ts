/**
 * The ids of queues that live in memory: above all others, and different in each life of the
 * process, so that a settlement for a queue of an earlier life touches nothing.
 *
 * They begin at 2^52 plus 1,024 for each millisecond since 1970 UTC: up to the year 2109 they stay
 * below 2^53, and no life gives out more than 1,024 a millisecond.
 */

import type { QueueId } from '../machine/ids.ts';

const FIRST_IN_MEMORY = 2 ** 52;
const IDS_PER_MS = 1_024;

export function isInMemory(queueId: QueueId): boolean {
  return queueId >= FIRST_IN_MEMORY;
}

/** The first id of a life that begins at this wall clock. */
export function firstIdInMemory(wallMs: number): number {
  return FIRST_IN_MEMORY + Math.floor(wallMs) * IDS_PER_MS;
}
