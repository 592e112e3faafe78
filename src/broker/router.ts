/**
 * Topic to route: the live subscribers that match, merged to one copy each, and the queues that
 * store it.
 *
 * Routes are kept for the topics in use. A subscription with an exact filter makes the route of
 * that one topic stale, one with a wildcard or a new set of queues makes all stale. What is kept is
 * bounded by the number of topics and by the subscribers in all routes together, and long topics
 * are never kept, so that no client can fill the memory with names.
 *
 * A topic that begins with `$queue/` goes to queues only: to every queue with a matching pattern,
 * otherwise to the catch-all queue. The pattern `$queue/#` of the catch-all itself therefore never
 * counts as a match.
 */

import type { QueueId } from '../machine/ids.ts';
import type { Match, QueueInfo, Subscriber, SubscriptionOptions } from './ports.ts';
import { countLevels, hasWildcard, TopicTrie } from './topic-trie.ts';

const QUEUE_PREFIX = '$queue/';
const CATCH_ALL_QUEUE = 'mqtt';
const CATCH_ALL_PATTERN = '$queue/#';

/**
 * Not kept: a topic longer than this (UTF-16 units), as names from the wire may have 65,535 bytes.
 */
const MAX_KEPT_TOPIC_LENGTH = 1024;
const MAX_KEPT_SUBSCRIBERS = 1_000_000;

export interface RouteTarget {
  /** As the publishes of everybody else reach it. */
  readonly match: Match;
  /**
   * As its own publishes reach it: without its no-local subscriptions; undefined if none is left.
   */
  readonly ownMatch: Match | undefined;
}

export interface Route {
  readonly version: number;
  /** True when the topic belongs to queues; then `targets` is empty. */
  readonly forQueues: boolean;
  readonly queues: readonly QueueId[];
  readonly targets: readonly RouteTarget[];
}

interface Subscription {
  readonly subscriber: Subscriber;
  readonly options: SubscriptionOptions;
}

export class Router {
  readonly #maxTopicLevels: number;
  readonly #maxRoutes: number;
  readonly #subscriptions = new TopicTrie<Subscription>();
  /** By subscriber and filter, to find what an unsubscribe means. */
  readonly #bySubscriber = new Map<Subscriber, Map<string, Subscription>>();
  readonly #routes = new Map<string, Route>();
  #keptSubscribers = 0;
  #version = 0;

  #queues: readonly QueueInfo[] = [];
  #queuePatterns = new TopicTrie<QueueId>();
  #queuesByName = new Map<string, QueueInfo>();

  constructor(options: { maxTopicLevels: number; maxRoutes: number }) {
    this.#maxTopicLevels = options.maxTopicLevels;
    this.#maxRoutes = options.maxRoutes;
  }

  get subscriptions(): number {
    return this.#subscriptions.size;
  }

  setQueues(queues: readonly QueueInfo[]): void {
    this.#queues = queues;
    this.#queuePatterns = new TopicTrie();
    this.#queuesByName = new Map();
    for (const queue of this.#queues) {
      this.#queuesByName.set(queue.name, queue);
      for (const pattern of queue.topics) {
        if (queue.name === CATCH_ALL_QUEUE && pattern === CATCH_ALL_PATTERN) continue;
        this.#queuePatterns.add(pattern, queue.queueId);
      }
    }
    this.#forgetAll();
  }

  queue(name: string): QueueInfo | undefined {
    return this.#queuesByName.get(name);
  }

  /** Returns whether the filter is new for this subscriber; otherwise its options are replaced. */
  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions): boolean {
    let own = this.#bySubscriber.get(subscriber);
    if (own === undefined) {
      own = new Map();
      this.#bySubscriber.set(subscriber, own);
    }
    const previous = own.get(filter);
    if (previous !== undefined) this.#subscriptions.remove(filter, previous);
    const subscription: Subscription = { subscriber, options };
    own.set(filter, subscription);
    this.#subscriptions.add(filter, subscription);
    this.#makeStale(filter);
    return previous === undefined;
  }

  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    const own = this.#bySubscriber.get(subscriber);
    const subscription = own?.get(filter);
    if (own === undefined || subscription === undefined) return false;
    own.delete(filter);
    if (own.size === 0) this.#bySubscriber.delete(subscriber);
    this.#subscriptions.remove(filter, subscription);
    this.#makeStale(filter);
    return true;
  }

  /** Undefined when the topic has more levels than allowed. */
  route(topic: string): Route | undefined {
    const kept = this.#routes.get(topic);
    if (kept !== undefined) {
      if (kept.version === this.#version) return kept;
      this.#forget(topic, kept);
    }
    if (countLevels(topic, this.#maxTopicLevels) > this.#maxTopicLevels) return undefined;
    const route = topic.startsWith(QUEUE_PREFIX) ? this.#queueRoute(topic) : this.#liveRoute(topic);
    if (topic.length <= MAX_KEPT_TOPIC_LENGTH) this.#keep(topic, route);
    return route;
  }

  #queueRoute(topic: string): Route {
    const found: QueueId[] = [];
    // `$queue//x` and `$queue/` name no queue, so no queue takes them, the catch-all neither.
    // `$queue/<name>/$...` is reserved for settlement by publishing: it never lands in a queue.
    const named =
      topic.length > QUEUE_PREFIX.length &&
      topic[QUEUE_PREFIX.length] !== '/' &&
      !topic.includes('/$', QUEUE_PREFIX.length);
    if (named) this.#queuePatterns.match(topic, found);
    const catchAll = this.#queuesByName.get(CATCH_ALL_QUEUE);
    if (named && found.length === 0 && catchAll !== undefined) found.push(catchAll.queueId);
    // Two patterns of one queue may match: it stores the message once.
    const queues = found.length > 1 ? [...new Set(found)] : found;
    return { version: this.#version, forQueues: true, queues, targets: [] };
  }

  #liveRoute(topic: string): Route {
    const found: Subscription[] = [];
    this.#subscriptions.match(topic, found);
    const targets = new Map<Subscriber, RouteTarget>();
    for (const { subscriber, options } of found) {
      const before = targets.get(subscriber);
      const match = merge(subscriber, before?.match, options);
      targets.set(subscriber, {
        match,
        ownMatch: options.noLocal ? before?.ownMatch : merge(subscriber, before?.ownMatch, options),
      });
    }
    return { version: this.#version, forQueues: false, queues: [], targets: [...targets.values()] };
  }

  #keep(topic: string, route: Route): void {
    if (this.#routes.size >= this.#maxRoutes) this.#forgetAll();
    if (this.#keptSubscribers + route.targets.length > MAX_KEPT_SUBSCRIBERS) this.#forgetAll();
    if (route.targets.length > MAX_KEPT_SUBSCRIBERS) return;
    // `#forgetAll` raises no version: this route is as good as before.
    this.#routes.set(topic, route);
    this.#keptSubscribers += route.targets.length;
  }

  #forget(topic: string, route: Route): void {
    this.#routes.delete(topic);
    this.#keptSubscribers -= route.targets.length;
  }

  #forgetAll(): void {
    this.#routes.clear();
    this.#keptSubscribers = 0;
  }

  #makeStale(filter: string): void {
    if (hasWildcard(filter)) {
      this.#version++;
      return;
    }
    const route = this.#routes.get(filter);
    if (route !== undefined) this.#forget(filter, route);
  }
}

const NO_IDENTIFIERS: readonly number[] = [];

function merge(
  subscriber: Subscriber,
  before: Match | undefined,
  options: SubscriptionOptions,
): Match {
  const identifiers = before?.identifiers ?? NO_IDENTIFIERS;
  return {
    subscriber,
    qos: before !== undefined && before.qos > options.qos ? before.qos : options.qos,
    retainAsPublished: (before?.retainAsPublished ?? false) || options.retainAsPublished,
    identifiers: options.identifier === 0 ? identifiers : [...identifiers, options.identifier],
  };
}
