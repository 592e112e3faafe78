/**
 * The broker of one node: where a publish goes, who subscribes, what is retained, which wills wait.
 *
 * It knows no protocol, no socket and no storage: messages for queues go through the `QueueClient`,
 * and only the shard's `Committed` says that one is stored. A publish is one straight call: no
 * promise, no closure.
 *
 * All state here is in memory and gone with the process.
 */

import type { Committed } from '../machine/committed.ts';
import type { Message } from './message.ts';
import type {
  Broker,
  Clock,
  ConsumeRequest,
  ConsumerSink,
  EnqueueRefusal,
  EnqueueWaiter,
  PublishOutcome,
  Publisher,
  PublishRefusal,
  QueueClient,
  QueueConsumer,
  QueueInfo,
  RetainedCursor,
  Subscriber,
  SubscribeResult,
  SubscriptionOptions,
  Unlogged,
  Will,
} from './ports.ts';
import { LivePublication } from './publication.ts';
import { Retained } from './retained.ts';
import { Router, type Route } from './router.ts';
import { Wills } from './will.ts';

export interface BrokerOptions {
  /** Most levels of a topic name or filter. Default 128, 1 to 65,535. */
  readonly maxTopicLevels?: number;
  /** Topics whose route is kept ready. Default 16,384, 1 to 1,000,000. */
  readonly maxRoutes?: number;
  /** Retained messages. Default 100,000, 0 to 10,000,000. */
  readonly maxRetainedMessages?: number;
  /** Bytes of all retained messages, with a fixed share for each. Default 256 MiB, from 0. */
  readonly maxRetainedBytes?: number;
}

export const BROKER_DEFAULTS = {
  maxTopicLevels: 128,
  maxRoutes: 16_384,
  maxRetainedMessages: 100_000,
  maxRetainedBytes: 256 * 1024 * 1024,
} as const satisfies Required<BrokerOptions>;

/** Plain numbers, copied by whoever shows them. */
export interface BrokerCounters {
  published: number;
  /** Copies handed to live subscribers. */
  fannedOut: number;
  enqueued: number;
  /** Messages for queues that nobody waits for (QoS 0, wills) and that were not stored. */
  unansweredRefused: number;
  /** Publishes refused during the call. */
  refused: number;
}

const UNLOGGED = 0 as Unlogged;
const TICK_MS = 1000;
const SWEEP_STEPS = 10_000;

export class MemoryBroker implements Broker, EnqueueWaiter {
  readonly clock: Clock;
  readonly maxTopicLevels: number;
  readonly counters: BrokerCounters = {
    published: 0,
    fannedOut: 0,
    enqueued: 0,
    unansweredRefused: 0,
    refused: 0,
  };
  readonly #queues: QueueClient;
  readonly #router: Router;
  readonly #retained: Retained;
  readonly #wills: Wills;
  #queueVersion = -1;
  #ticker: NodeJS.Timeout | undefined;

  constructor(queues: QueueClient, clock: Clock, options: BrokerOptions = {}) {
    const settings = { ...BROKER_DEFAULTS, ...options };
    this.clock = clock;
    this.maxTopicLevels = settings.maxTopicLevels;
    this.#queues = queues;
    this.#router = new Router(settings);
    this.#retained = new Retained(clock, {
      maxMessages: settings.maxRetainedMessages,
      maxBytes: settings.maxRetainedBytes,
    });
    this.#wills = new Wills(clock, (will) => this.#publishWill(will));
  }

  /** Begins the work that time brings: wills that are due, retained messages that expired. */
  start(): void {
    this.#ticker ??= setInterval(() => this.tick(), TICK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  tick(): void {
    this.#wills.tick();
    this.#retained.sweep(SWEEP_STEPS);
  }

  get subscriptionCount(): number {
    return this.#router.subscriptions;
  }

  get retainedCount(): number {
    return this.#retained.count;
  }

  publish(message: Message, publisher: Publisher, tag: number | undefined): PublishOutcome {
    if (this.#queueVersion !== this.#queues.version) this.#readQueues();
    this.counters.published++;
    const route = this.#router.route(message.topic);
    if (route === undefined) return this.#refuse('topic-too-deep');
    if (!route.forQueues) return this.#publishLive(message, route, publisher.subscriber);
    if (route.queues.length === 0) {
      if (tag === undefined) this.counters.unansweredRefused++;
      return this.#refuse('no-queue');
    }
    this.counters.enqueued++;
    const waiter = tag === undefined ? this : (publisher.waiter ?? this);
    this.#queues.enqueue(route.queues, message, publisher.origin, waiter, tag ?? 0);
    return 'waiting';
  }

  /** As the waiter of messages that nobody waits for. */
  enqueued(_tag: number, outcome: Committed | EnqueueRefusal): void {
    if (typeof outcome === 'string') this.counters.unansweredRefused++;
  }

  #publishLive(message: Message, route: Route, publisher: Subscriber | undefined): PublishOutcome {
    const { targets } = route;
    if (targets.length === 0 && !message.retain) return UNLOGGED;
    // Without an expiry nobody asks when it was published, and the clock is spared.
    const publishedAtMs = message.properties?.expirySeconds === undefined ? 0 : this.clock.now();
    const publication = new LivePublication(message, publishedAtMs, false);
    if (message.retain && !this.#retained.set(publication)) return this.#refuse('retained-full');
    publication.fanningOut = targets.length > 1;
    for (const target of targets) {
      const match = target.match.subscriber === publisher ? target.ownMatch : target.match;
      if (match === undefined) continue;
      match.subscriber.deliver(publication, match);
      this.counters.fannedOut++;
    }
    // Sessions that keep the message must not keep an encoder with it.
    publication.fanningOut = false;
    publication.encoder = undefined;
    return UNLOGGED;
  }

  #refuse(refusal: PublishRefusal): PublishRefusal {
    this.counters.refused++;
    return refusal;
  }

  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions): SubscribeResult {
    return { added: this.#router.subscribe(subscriber, filter, options) };
  }

  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    return this.#router.unsubscribe(subscriber, filter);
  }

  retained(filter: string): RetainedCursor {
    return this.#retained.cursor(filter);
  }

  queue(name: string): QueueInfo | undefined {
    if (this.#queueVersion !== this.#queues.version) this.#readQueues();
    return this.#router.queue(name);
  }

  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    return this.#queues.consume(request, sink);
  }

  get writable(): boolean {
    return this.#queues.writable;
  }

  onWritable(listener: () => void): void {
    this.#queues.onWritable(listener);
  }

  willAfter(will: Will, delayMs: number): void {
    this.#wills.after(will, delayMs);
  }

  cancelWill(clientId: string): void {
    this.#wills.cancel(clientId);
  }

  publishWill(clientId: string): void {
    this.#wills.now(clientId);
  }

  #publishWill(will: Will): void {
    const { origin, message } = will;
    this.publish(message, { origin, subscriber: undefined, waiter: undefined }, undefined);
  }

  #readQueues(): void {
    this.#queueVersion = this.#queues.version;
    this.#router.setQueues(this.#queues.queues);
  }
}
