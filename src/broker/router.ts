/**
 * Topic to route: the live subscribers that match, merged to one copy each, and the queues that
 * store it.
 *
 * Routes are kept for the topics in use. A subscription with an exact filter makes the route of
 * that one topic stale; one with a wildcard makes all of ordinary topics stale, and a change of the
 * queues all of `$queue/` (those of ordinary topics only if a pattern that captures them changed).
 * What is kept is bounded by the number of topics and by the subscribers in all routes together,
 * and long topics are never kept, so that no client can fill the memory with names.
 *
 * A topic that begins with `$queue/` goes to queues only; see `queue-routes.ts`. An ordinary topic
 * goes to its subscribers, and into the queues that capture it.
 */

import type { QueueId } from '../machine/ids.ts';
import { Audience, Subscription } from './audience.ts';
import type { DurableShare } from './durable-shares.ts';
import type { Match, QueueDirectory, Subscriber, SubscriptionOptions } from './ports.ts';
import { QueueRoutes } from './queue-routes.ts';
import { QUEUE_PREFIX, SYSTEM_PREFIX } from './queue-topic.ts';
import { type PassOn, type SharedSubscription, Shares } from './shares.ts';
import { countLevels, hasWildcard, TopicTrie } from './topic-trie.ts';

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
  /** At QoS 1 and 2 the queue of its session brings it, and nothing goes there live. */
  readonly byQueue: boolean;
}

export interface Route {
  readonly version: number;
  /** True when the topic belongs to queues; then `targets` is empty. */
  readonly forQueues: boolean;
  /** Each stores it once; the publisher's acknowledgement waits for them. */
  readonly queues: readonly QueueId[];
  /** Those of them that take it at QoS 0 too; differs where sessions are among them. */
  readonly queuesAtQos0: readonly QueueId[];
  /** The same, but nobody waits (`capture: async`). */
  readonly unawaited: readonly QueueId[];
  /** The name of a queue that is not known and whose topic this is, where no other takes it. */
  readonly unknown: string | undefined;
  readonly targets: readonly RouteTarget[];
  /** The same by subscriber, where one of them has a queue. */
  readonly bySubscriber: ReadonlyMap<Subscriber, RouteTarget> | undefined;
  /** Each gives it to one of its members. */
  readonly shares: readonly RoutedShare[];
  /** Only the broker itself publishes there. */
  readonly reserved: boolean;
}

/** A share of one filter, with its members: at least one. */
export interface RoutedShare {
  /** Those that are connected here; undefined: none is. */
  readonly local: SharedSubscription | undefined;
  /** Those in durable sessions, on whichever node; undefined: there is none. */
  readonly durable: DurableShare | undefined;
}

const NO_SHARES: readonly RoutedShare[] = [];
const NO_QUEUES: readonly QueueId[] = [];
const NO_TARGETS: readonly RouteTarget[] = [];

export interface RouterOptions {
  readonly maxTopicLevels: number;
  /** In UTF-16 units. */
  readonly maxTopicLength: number;
  readonly maxRoutes: number;
}

export class Router {
  readonly #maxTopicLevels: number;
  readonly #maxTopicLength: number;
  readonly #maxRoutes: number;
  /** One value a filter. */
  readonly #audiences = new TopicTrie<Subscription | Audience>();
  #subscriptions = 0;
  readonly #shares: Shares;
  readonly #queues: QueueRoutes;
  readonly #routes = new Map<string, Route>();
  #keptSubscribers = 0;
  /** Routes of ordinary topics with another number are stale. */
  #version = 0;
  /** The same for those of `$queue/`. */
  #queueVersion = 0;

  constructor(queues: QueueDirectory, options: RouterOptions, passOn: PassOn) {
    this.#shares = new Shares(passOn);
    this.#queues = new QueueRoutes(queues);
    this.#maxTopicLevels = options.maxTopicLevels;
    this.#maxTopicLength = options.maxTopicLength;
    this.#maxRoutes = options.maxRoutes;
  }

  get subscriptions(): number {
    return this.#subscriptions + this.#shares.size;
  }

  /** The directory of queues has changed. */
  queuesChanged(): void {
    this.#queueVersion++;
    if (this.#queues.changed() === 'captures') this.#version++;
  }

  /** Options of the same filter, in the same share, are replaced. */
  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions): void {
    if (options.share !== undefined) {
      if (this.#shares.subscribe(subscriber, filter, options)) this.#makeStale(filter);
      return;
    }
    if (this.#add(filter, new Subscription(subscriber, options))) this.#subscriptions++;
    this.#makeStale(filter);
  }

  /** False when it takes the place of another one. */
  #add(filter: string, subscription: Subscription): boolean {
    const known = this.#audiences.first(filter);
    if (known instanceof Audience) return known.set(subscription);
    if (known === undefined) return this.#audiences.add(filter, subscription);
    this.#audiences.remove(filter, known);
    if (known.subscriber === subscription.subscriber) {
      this.#audiences.add(filter, subscription);
      return false;
    }
    const audience = new Audience();
    audience.set(known);
    audience.set(subscription);
    return this.#audiences.add(filter, audience);
  }

  unsubscribe(subscriber: Subscriber, filter: string, share: string | undefined): boolean {
    if (share !== undefined) {
      const gone = this.#shares.unsubscribe(subscriber, filter, share);
      if (gone === true) this.#makeStale(filter);
      return gone !== undefined;
    }
    const known = this.#audiences.first(filter);
    if (known === undefined) return false;
    if (known instanceof Audience) {
      if (!known.delete(subscriber)) return false;
      if (known.isEmpty) this.#audiences.remove(filter, known);
    } else {
      if (known.subscriber !== subscriber) return false;
      this.#audiences.remove(filter, known);
    }
    this.#subscriptions--;
    this.#makeStale(filter);
    return true;
  }

  /** Undefined when the topic is longer, or has more levels, than allowed. */
  route(topic: string): Route | undefined {
    const kept = this.#routes.get(topic);
    if (kept !== undefined) {
      if (kept.version === (kept.forQueues ? this.#queueVersion : this.#version)) return kept;
      this.#forget(topic, kept);
    }
    if (topic.length > this.#maxTopicLength) return undefined;
    if (countLevels(topic, this.#maxTopicLevels) > this.#maxTopicLevels) return undefined;
    const route = topic.startsWith(QUEUE_PREFIX) ? this.#queueRoute(topic) : this.#liveRoute(topic);
    if (topic.length <= MAX_KEPT_TOPIC_LENGTH) this.#keep(topic, route);
    return route;
  }

  #queueRoute(topic: string): Route {
    const version = this.#queueVersion;
    const { queues, unknown } = this.#queues.route(topic);
    return {
      version,
      forQueues: true,
      queues,
      queuesAtQos0: queues,
      unawaited: NO_QUEUES,
      unknown,
      targets: NO_TARGETS,
      bySubscriber: undefined,
      shares: NO_SHARES,
      reserved: false,
    };
  }

  #liveRoute(topic: string): Route {
    const found: (Subscription | Audience)[] = [];
    this.#audiences.match(topic, found);
    const { awaited, awaitedAtQos0, unawaited, durableShares } = this.#queues.capturing(topic);
    const targets = new Targets(awaited);
    for (const each of found) {
      if (each instanceof Audience) for (const one of each.values()) targets.add(one);
      else targets.add(each);
    }
    return {
      version: this.#version,
      forQueues: false,
      queues: awaited,
      queuesAtQos0: awaitedAtQos0,
      unawaited,
      unknown: undefined,
      targets: [...targets.bySubscriber.values()],
      bySubscriber: targets.haveQueues ? targets.bySubscriber : undefined,
      shares: joined(this.#shares.match(topic), durableShares),
      reserved: topic.startsWith(SYSTEM_PREFIX),
    };
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

/** Those that are the same share as one. */
function joined(
  locals: readonly SharedSubscription[],
  durables: readonly DurableShare[],
): readonly RoutedShare[] {
  if (locals.length === 0 && durables.length === 0) return NO_SHARES;
  const left = new Map(durables.map((durable) => [durable.topicFilter, durable]));
  const shares: RoutedShare[] = [];
  for (const local of locals) {
    const { topicFilter } = local;
    shares.push({ local, durable: left.get(topicFilter) });
    left.delete(topicFilter);
  }
  for (const durable of left.values()) shares.push({ local: undefined, durable });
  return shares;
}

/** To whom a message of a topic goes, collected. */
class Targets {
  readonly bySubscriber = new Map<Subscriber, RouteTarget>();
  readonly #awaited: readonly QueueId[];
  #capturing: ReadonlySet<QueueId> | undefined;

  constructor(awaited: readonly QueueId[]) {
    this.#awaited = awaited;
  }

  /** One of them has a queue. */
  get haveQueues(): boolean {
    return this.#capturing !== undefined;
  }

  add(subscription: Subscription): void {
    const { subscriber, noLocal } = subscription;
    const before = this.bySubscriber.get(subscriber);
    const match = merge(before?.match, subscription);
    this.bySubscriber.set(subscriber, {
      match,
      ownMatch: noLocal ? before?.ownMatch : merge(before?.ownMatch, subscription),
      byQueue: this.#isByQueue(match),
    });
  }

  /** Where the queue is not known to take it yet, or any more, it is not subscribed to. */
  #isByQueue({ subscriber: { queueId }, qos }: Match): boolean {
    if (queueId === undefined) return false;
    this.#capturing ??= new Set(this.#awaited);
    return qos > 0 || this.#capturing.has(queueId);
  }
}

const NO_IDENTIFIERS: readonly number[] = [];

function merge(before: Match | undefined, subscription: Subscription): Match {
  const { subscriber, qos, retainAsPublished, identifier } = subscription;
  const identifiers = before?.identifiers ?? NO_IDENTIFIERS;
  return {
    subscriber,
    qos: before !== undefined && before.qos > qos ? before.qos : qos,
    retainAsPublished: (before?.retainAsPublished ?? false) || retainAsPublished,
    identifiers: identifier === 0 ? identifiers : [...identifiers, identifier],
    share: undefined,
  };
}
