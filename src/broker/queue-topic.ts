/**
 * Which queue a topic or filter of `$queue/` names, and what follows the name. Pure.
 *
 *     $queue/<name>[/<rest>]             the queue <name>
 *     $queue/$dlq/<queue>[/<rest>]       the queue $dlq/<queue>, where dead letters of <queue> go
 *
 * Other names that begin with `$` are the broker's own, and name nothing. `rest` is the routing key
 * of a publish, the filter of a consumer, or a verb (`$ack`): who asks looks at it.
 */

export const QUEUE_PREFIX = '$queue/';
/** Topics that tell of the broker itself, who alone publishes there. */
export const SYSTEM_PREFIX = '$SYS/';
const DEAD_LETTERS = '$dlq';

export interface QueueTopic {
  readonly name: string;
  /** Undefined where nothing follows the name, not even a slash. */
  readonly rest: string | undefined;
}

/** `topic` begins with `$queue/`. Undefined: it names no queue. */
export function parseQueueTopic(topic: string): QueueTopic | undefined {
  const start = QUEUE_PREFIX.length;
  const first = levelEnd(topic, start);
  if (first === start) return undefined;
  if (topic[start] !== '$') return split(topic, first);
  if (topic.slice(start, first) !== DEAD_LETTERS || first === topic.length) return undefined;
  const second = levelEnd(topic, first + 1);
  if (second === first + 1 || topic[first + 1] === '$') return undefined;
  return split(topic, second);
}

/** What is asked for where a right to a queue is meant. */
export function queueTopic(name: string): string {
  return `${QUEUE_PREFIX}${name}`;
}

function levelEnd(topic: string, from: number): number {
  const slash = topic.indexOf('/', from);
  return slash === -1 ? topic.length : slash;
}

function split(topic: string, end: number): QueueTopic {
  const name = topic.slice(QUEUE_PREFIX.length, end);
  return { name, rest: end === topic.length ? undefined : topic.slice(end + 1) };
}

/** A level that begins with `$` is the broker's own: `$ack`, and whatever comes later. */
export function isReserved(rest: string | undefined): boolean {
  return rest !== undefined && (rest.startsWith('$') || rest.includes('/$'));
}
