/**
 * Which queues store a message, by its topic.
 *
 * A topic of `$queue/` goes to every queue with a matching pattern, otherwise to the catch-all
 * queue; the pattern `$queue/#` of the catch-all itself therefore never counts as a match. An
 * ordinary topic goes to every queue with a pattern that captures it, at QoS 0 to those alone that
 * are no session's. A queue whose patterns match twice stores it once.
 *
 * The patterns of a session that name shares capture nothing: they say in which shares it is a
 * member (`durable-shares.ts`), which are told beside the queues that capture.
 *
 * Nearly every queue has its own pattern alone (`$queue/<name>/#`): such a one is found by its name
 * in the directory of queues, and costs nothing here; only those with other patterns are known, and
 * lie in the tree. The directory tells the names of those that changed, so that one change among
 * many touches one; where it cannot, its new list is compared with the last one: what is at the
 * same place from the front or from the end and is the same object is passed over.
 */

import type { QueueId } from '../machine/ids.ts';
import {
  type DurableShare,
  DurableShares,
  NO_DURABLE_SHARES,
  isOfShares,
} from './durable-shares.ts';
import type { QueueDirectory, QueueInfo } from './ports.ts';
import { isReserved, parseQueueTopic, QUEUE_PREFIX } from './queue-topic.ts';
import { TopicTrie } from './topic-trie.ts';

const CATCH_ALL_QUEUE = 'mqtt';
const CATCH_ALL_PATTERN = '$queue/#';

export interface QueueRoute {
  readonly queues: readonly QueueId[];
  /** The name of a queue that is not known, where nothing matched but the catch-all. */
  readonly unknown: string | undefined;
}

export interface Captures {
  readonly awaited: readonly QueueId[];
  /** Those of `awaited` that take a message at QoS 0 too: all but queues of sessions. */
  readonly awaitedAtQos0: readonly QueueId[];
  readonly unawaited: readonly QueueId[];
  /** Each is to give it to one of its members. */
  readonly durableShares: readonly DurableShare[];
}

/** `captures`: patterns of ordinary topics, or shares of them, are among what changed. */
export type QueueChange = 'queues' | 'captures';

const NONE: readonly QueueId[] = [];
const NO_ROUTE: QueueRoute = { queues: NONE, unknown: undefined };
const NO_CAPTURES: Captures = {
  awaited: NONE,
  awaitedAtQos0: NONE,
  unawaited: NONE,
  durableShares: NO_DURABLE_SHARES,
};

export class QueueRoutes {
  readonly #directory: QueueDirectory;
  /** What was looked through last; undefined: names were told of since. */
  #list: readonly QueueInfo[] | undefined = [];
  /** Those of the list. */
  readonly #patterned = new Map<string, QueueInfo>();
  readonly #patterns = new TopicTrie<QueueInfo>();
  /** Patterns of ordinary topics. */
  #captures = 0;
  readonly #shares = new DurableShares();

  constructor(directory: QueueDirectory) {
    this.#directory = directory;
  }

  /** The directory has changed. */
  changed(): QueueChange {
    const names = this.#directory.takeChanged();
    if (names === undefined) return this.#lookThrough();
    this.#list = undefined;
    let change: QueueChange = 'queues';
    for (const name of names) {
      change = stronger(change, this.#replace(name, this.#directory.patternedNamed(name)));
    }
    return change;
  }

  #lookThrough(): QueueChange {
    const queues = this.#directory.patterned;
    const before = this.#list ?? [...this.#patterned.values()];
    this.#list = queues;
    const shorter = Math.min(before.length, queues.length);
    let from = 0;
    while (from < shorter && before[from] === queues[from]) from++;
    let tail = 0;
    const ends = { before: before.length - 1, now: queues.length - 1 };
    while (tail < shorter - from && before[ends.before - tail] === queues[ends.now - tail]) tail++;
    const coming = queues.slice(from, queues.length - tail);
    let change: QueueChange = 'queues';
    const staying = new Set(coming.map(({ name }) => name));
    for (const queue of before.slice(from, before.length - tail)) {
      if (!staying.has(queue.name)) change = stronger(change, this.#replace(queue.name, undefined));
    }
    for (const queue of coming) change = stronger(change, this.#replace(queue.name, queue));
    return change;
  }

  /** `topic` begins with `$queue/`. */
  route(topic: string): QueueRoute {
    const parsed = parseQueueTopic(topic);
    // No queue takes it, the catch-all neither: it names none, or is kept for verbs (`$ack`).
    if (parsed === undefined || isReserved(parsed.rest)) return NO_ROUTE;
    const { name } = parsed;
    const own = this.#directory.named(name);
    if (name.startsWith('$')) {
      // Of these the catch-all has none.
      if (own === undefined) return { queues: NONE, unknown: name };
      return { queues: [own.queueId], unknown: undefined };
    }
    const found: QueueInfo[] = [];
    if (own?.topics.includes(ownPattern(name)) === true) found.push(own);
    if (this.#patterns.size > this.#captures) this.#patterns.match(topic, found);
    if (found.length > 0) return { queues: idsOf(found), unknown: undefined };
    const catchAll = this.#directory.named(CATCH_ALL_QUEUE);
    return {
      queues: catchAll === undefined ? NONE : [catchAll.queueId],
      unknown: own === undefined ? name : undefined,
    };
  }

  /** `topic` is an ordinary one. */
  capturing(topic: string): Captures {
    const durableShares = this.#shares.match(topic);
    if (this.#captures === 0) return alone(durableShares);
    const found: QueueInfo[] = [];
    this.#patterns.match(topic, found);
    if (found.length === 0) return alone(durableShares);
    const awaited = found.filter(({ capture }) => capture === 'sync');
    const hasSessions = awaited.some(({ type }) => type === 'session');
    const all = idsOf(awaited);
    return {
      awaited: all,
      awaitedAtQos0: hasSessions ? idsOf(awaited.filter(({ type }) => type !== 'session')) : all,
      unawaited: idsOf(found.filter(({ capture }) => capture === 'async')),
      durableShares,
    };
  }

  /** The queue of this name is another one from now on, or there is none. */
  #replace(name: string, queue: QueueInfo | undefined): QueueChange {
    const before = this.#patterned.get(name);
    if (before !== undefined && queue !== undefined && sameRoutes(before, queue)) return 'queues';
    const hasShareChanged = this.#shares.replace(before, queue);
    let change: QueueChange = 'queues';
    if (before !== undefined) change = stronger(change, this.#remove(before));
    if (queue !== undefined) change = stronger(change, this.#add(queue));
    if (hasShareChanged) return 'captures';
    // A session has come back, or was left: who is asleep makes no route stale.
    return before !== undefined && queue !== undefined && sameCaptures(before, queue)
      ? 'queues'
      : change;
  }

  #add(queue: QueueInfo): QueueChange {
    this.#patterned.set(queue.name, queue);
    let change: QueueChange = 'queues';
    for (const pattern of queue.topics) {
      if (!isInTree(queue, pattern)) continue;
      const added = this.#patterns.add(pattern, queue);
      if (!added || pattern.startsWith(QUEUE_PREFIX)) continue;
      this.#captures++;
      change = 'captures';
    }
    return change;
  }

  #remove(queue: QueueInfo): QueueChange {
    this.#patterned.delete(queue.name);
    let change: QueueChange = 'queues';
    for (const pattern of queue.topics) {
      const removed = isInTree(queue, pattern) && this.#patterns.remove(pattern, queue);
      if (!removed || pattern.startsWith(QUEUE_PREFIX)) continue;
      this.#captures--;
      change = 'captures';
    }
    return change;
  }
}

function ownPattern(name: string): string {
  return `${QUEUE_PREFIX}${name}/#`;
}

function isInTree(queue: QueueInfo, pattern: string): boolean {
  const { name } = queue;
  if (name === CATCH_ALL_QUEUE && pattern === CATCH_ALL_PATTERN) return false;
  return pattern !== ownPattern(name) && !isOfShares(queue, pattern);
}

function alone(durableShares: readonly DurableShare[]): Captures {
  return durableShares.length === 0 ? NO_CAPTURES : { ...NO_CAPTURES, durableShares };
}

function sameRoutes(a: QueueInfo, b: QueueInfo): boolean {
  return isAlike(a, b) && sameTexts(a.topics, b.topics);
}

/** They differ in their shares at most. */
function sameCaptures(a: QueueInfo, b: QueueInfo): boolean {
  const capturing = (queue: QueueInfo): readonly string[] =>
    queue.topics.filter((pattern) => !isOfShares(queue, pattern));
  return isAlike(a, b) && sameTexts(capturing(a), capturing(b));
}

function isAlike(a: QueueInfo, b: QueueInfo): boolean {
  return (
    a.queueId === b.queueId &&
    a.type === b.type &&
    a.defaultGroup === b.defaultGroup &&
    a.capture === b.capture
  );
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, at) => text === b[at]);
}

function stronger(a: QueueChange, b: QueueChange): QueueChange {
  return a === 'captures' ? a : b;
}

/** Each once, as several patterns of one queue may match; ascending, as the shards like them. */
function idsOf(queues: readonly QueueInfo[]): readonly QueueId[] {
  if (queues.length === 0) return NONE;
  const ids = queues.map(({ queueId }) => queueId);
  return ids.length === 1 ? ids : [...new Set(ids)].sort((a, b) => a - b);
}
