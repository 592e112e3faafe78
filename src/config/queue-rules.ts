/**
 * What no single key of a queue can say: which keys go together, by its type. A value that would
 * have no effect is refused, so that nobody believes in it; a default that is written out is not.
 *
 * Dead letters that would go round are refused here, where they can be seen (S9); what only the
 * data directory knows ends by a count of hops.
 */

import type { Config, QueueConfig } from './keys.ts';
import { readPosition } from './positions.ts';
import type { Tell } from './problem.ts';
import {
  CATCH_ALL_QUEUE,
  capturesTopics,
  composedNameProblem,
  deadLetterQueueOf,
  filteredGroupName,
  isDeadLetterQueue,
} from './queue-names.ts';
import { quote, writeDuration } from './values.ts';

/** Defaults that may be written on every type. */
const DELIVERY_LIMIT_DEFAULT = 20;
const EXPIRES_DEFAULT = 3_600_000;

export function checkQueues({ queues }: Config, tell: Tell): void {
  const names = new Map<string, number>();
  for (const [index, queue] of queues.entries()) {
    const first = names.get(queue.name);
    const key = `queues[${index}]`;
    if (first !== undefined) {
      tell('conflict', `${key}.name`, `${quote(queue.name)} is declared twice (queues[${first}])`);
    } else names.set(queue.name, index);
    const wrong = (name: string, text: string): void => tell('conflict', `${key}.${name}`, text);
    checkOne(queue, wrong);
    checkType(queue, wrong);
    checkGroups(queue, wrong);
  }
  checkDeadLetters(queues, tell);
}

/** Takes the name of a key below the queue. */
type Wrong = (name: string, text: string) => void;

function checkOne(queue: QueueConfig, wrong: Wrong): void {
  const { retry, max_length: length, topics } = queue;
  if (retry.max < retry.min) {
    const [low, high] = [writeDuration(retry.min), writeDuration(retry.max)];
    wrong('retry.max', `${high} is shorter than retry.min (${low})`);
  }
  if (queue.name === CATCH_ALL_QUEUE && topics !== undefined) {
    const text = `the queue ${CATCH_ALL_QUEUE} takes what no other queue has: it names no topics`;
    wrong('topics', text);
  }
  if (length.overflow === 'drop-head' && length.messages === 0 && length.bytes === 0) {
    const text = 'needs max_length.messages or max_length.bytes: without a bound nothing is full';
    wrong('max_length.overflow', text);
  }
  if (queue.capture === 'async' && topics?.some(capturesTopics) !== true) {
    const text =
      'means captured topics, and topics names none: a publish to $queue/ is always sync';
    wrong('capture', text);
  }
}

function checkType(queue: QueueConfig, wrong: Wrong): void {
  const { type, max_length: length, retention } = queue;
  if (type !== 'ephemeral' && queue.expires !== 0 && queue.expires !== EXPIRES_DEFAULT) {
    wrong('expires', `is for ephemeral queues: a ${type} queue stays until it is deleted`);
  }
  if (isDeadLetterQueue(queue.name) && type === 'ephemeral') {
    wrong('type', 'a dead-letter queue is durable: classic or stream');
  }
  if (type !== 'classic' && queue.dlq !== 'auto' && queue.dlq !== 'off') {
    wrong('dlq', `a queue of type ${type} has no dead letters: take the key out`);
  }
  if (type === 'ephemeral') {
    for (const name of ['age', 'bytes', 'messages'] as const) {
      if (retention[name] === 0) continue;
      wrong(`retention.${name}`, 'an ephemeral queue keeps nothing: bound it by max_length');
    }
  }
  if (type !== 'stream') return;
  if (queue.message_ttl !== 0) {
    wrong('message_ttl', 'messages leave a stream by retention only: write retention.age');
  }
  for (const name of ['messages', 'bytes'] as const) {
    if (length[name] === 0) continue;
    const text = `messages leave a stream by retention only: write retention.${name}`;
    wrong(`max_length.${name}`, text);
  }
  if (queue.delivery_limit !== DELIVERY_LIMIT_DEFAULT) {
    wrong('delivery_limit', 'a stream counts no attempts and has no dead letters');
  }
  if (queue.max_priority !== 0)
    wrong('max_priority', 'a stream has one order: that of its offsets');
}

function checkGroups(queue: QueueConfig, wrong: Wrong): void {
  const names = new Set<string>();
  for (const [index, group] of queue.groups.entries()) {
    const key = `groups[${index}]`;
    const name = filteredGroupName(group.name, group.filter);
    if (names.has(name)) wrong(`${key}.name`, `the group ${quote(name)} is declared twice`);
    names.add(name);
    const tooLong = composedNameProblem(group.name, group.filter);
    if (tooLong !== undefined) wrong(`${key}.filter`, tooLong);
    const start = readPosition(group.start);
    if (queue.type === 'stream' || 'problem' in start || start.value === undefined) continue;
    if (start.value.kind === 'first' || start.value.kind === 'next') continue;
    const text = `a queue of type ${queue.type} keeps nothing that is settled: auto, first or next`;
    wrong(`${key}.start`, text);
  }
  if (queue.groups.length > queue.max_groups) {
    const text = `${queue.groups.length} groups are more than max_groups (${queue.max_groups})`;
    wrong('groups', text);
  }
}

function checkDeadLetters(queues: readonly QueueConfig[], tell: Tell): void {
  const byName = new Map(queues.map((queue) => [queue.name, queue]));
  const seen = new Set<string>();
  for (const [index, queue] of queues.entries()) {
    const key = `queues[${index}].dlq`;
    const way: string[] = [];
    let at: string | undefined = queue.name;
    while (at !== undefined && !way.includes(at) && !seen.has(at)) {
      way.push(at);
      at = deadLetterOf(byName.get(at) ?? at);
    }
    // A cycle is told once, at the first queue of the file that leads into it.
    if (at !== undefined && way.includes(at)) {
      const round = [...way.slice(way.indexOf(at)), at].map((name) => quote(name)).join(' -> ');
      tell('conflict', key, `dead letters would go round: ${round}`);
    }
    for (const name of way) seen.add(name);
    const target = byName.get(queue.dlq);
    if (queue.type === 'classic' && target?.type === 'ephemeral') {
      const text = `${quote(queue.dlq)} is ephemeral: dead letters go to a durable queue`;
      tell('conflict', key, text);
    }
  }
}

/** Undefined where dead letters are dropped, or where there are none. */
function deadLetterOf(queue: QueueConfig | string): string | undefined {
  // One that the file does not name is made without any, but for the catch-all, which is there.
  if (queue === CATCH_ALL_QUEUE) return deadLetterQueueOf(queue);
  if (typeof queue === 'string') return undefined;
  const { name, type, dlq } = queue;
  if (type !== 'classic' || dlq === 'off') return undefined;
  if (dlq !== 'auto') return dlq;
  return isDeadLetterQueue(name) ? undefined : deadLetterQueueOf(name);
}
