/**
 * What a queue is of which only name and type are known: one that is made when it is first needed,
 * and the defaults of one that is declared. Pure; the same on every node.
 */

import {
  DEAD_LETTER_PREFIX,
  DEFAULT_LIMITS,
  SESSION_PREFIX,
  type QueueDefinition,
  type QueueLimits,
} from './definitions.ts';
import type { QueueType } from './definitions.ts';

/** Takes every topic below `$queue/` that no other queue has. */
const CATCH_ALL_NAME = 'mqtt';

/** A queue in memory goes so long after its last consumer. */
const EPHEMERAL_EXPIRES_MS = 3_600_000;

/** Odd packet ids are 2 * (offset mod 32,768) + 1: no two of them may be under way. */
const SESSION_SPAN = 32_767;

const NO_TOPICS: readonly string[] = [];

/** The topics of a queue that names none. */
export function defaultTopics(name: string): readonly string[] {
  if (name.startsWith(SESSION_PREFIX)) return NO_TOPICS;
  return [name === CATCH_ALL_NAME ? '$queue/#' : `$queue/${name}/#`];
}

/** '' where there are no dead letters: in a stream, in memory, and in a dead-letter queue. */
export function defaultDeadLetter(name: string, type: QueueType): string {
  if (type !== 'classic' || name.startsWith(DEAD_LETTER_PREFIX)) return '';
  return `${DEAD_LETTER_PREFIX}${name}`;
}

export function defaultLimits(name: string, type: QueueType): QueueLimits {
  const deadLetter = defaultDeadLetter(name, type);
  switch (type) {
    case 'classic':
      return { ...DEFAULT_LIMITS, deadLetter };
    case 'stream':
      return { ...DEFAULT_LIMITS, deadLetter, defaultGroup: 'client', groupStart: 'next' };
    case 'ephemeral':
      return { ...DEFAULT_LIMITS, deadLetter, expiresMs: EPHEMERAL_EXPIRES_MS };
    case 'session':
      return { ...DEFAULT_LIMITS, maxUnsettledSpan: SESSION_SPAN, maxGroups: 1 };
  }
}

export function defaultDefinition(name: string, type: QueueType): QueueDefinition {
  return { name, type, topics: defaultTopics(name), limits: defaultLimits(name, type) };
}
