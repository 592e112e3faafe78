/**
 * The broker of one node: where a publish goes, who subscribes, what is retained.
 *
 * It knows no protocol, no socket and no storage: messages for queues go through the `QueueClient`,
 * and only the shard's `Committed` says that one is stored. A publish is one straight call: no
 * promise, no closure.
 *
 * All state here is in memory and gone with the process.
 */

import type { Committed } from '../machine/committed.ts';
import { newBrokerCounters } from './broker-counters.ts';
import { DueWills } from './due-wills.ts';
import type { Message } from './message.ts';
import type {
  Broker,
  BrokerAccess,
  Clock,
  ConsumeRequest,
  ConsumerSink,
  EnqueueRefusal,
  EnqueueWaiter,
  Match,
  PublishKey,
  PublishOutcome,
  Publisher,
  PublishRefusal,
  QueueClient,
  QueueConsumer,
  QueueDefinition,
  QueueInfo,
  MakeRefusal,
  RetainedCursor,
  RetainedLog,
  SessionStore,
  SettleRequest,
  SettleWaiter,
  Subscriber,
  SubscriptionOptions,
  Will,
} from './ports.ts';
import { LivePublication } from './publication.ts';
import { SYSTEM_PREFIX } from './queue-topic.ts';
import { Retained } from './retained.ts';
import type { KeptRetained } from './kept-retained.ts';
import { type Route, Router } from './router.ts';
import { StalePublishes, type StalePublishesParts } from './stale-publishes.ts';
import { TopicPublishes } from './topic-publishes.ts';
import { type HeldPublish, UnknownQueues } from './unknown-queues.ts';

export interface BrokerOptions {
  /** Most levels of a topic name or filter. Default 128, 1 to 65,535. */
  readonly maxTopicLevels?: number;
  /** Longest topic name or filter, in UTF-16 units. Default 65,535, from 1. */
  readonly maxTopicLength?: number;
  /** Topics whose route is kept ready. Default 16,384, 1 to 1,000,000. */
  readonly maxRoutes?: number;
  /** Retained messages. Default 100,000, 0 to 10,000,000. */
  readonly maxRetainedMessages?: number;
  /** Bytes of all retained messages, with a fixed share for each. Default 256 MiB, from 0. */
  readonly maxRetainedBytes?: number;
  /**
   * What a queue is to be that is made on its first use, by a publish or a subscription; undefined
   * where the name is none that a queue may have. Default: no queue is made so.
   */
  readonly autoQueue?: (name: string) => QueueDefinition | undefined;
  /** With so many queues of any origin, none is made on its first use. Default 10,000, from 0. */
  readonly maxQueues?: number;
  /** Undefined: everybody may do everything. */
  readonly access?: BrokerAccess | undefined;
}

export const BROKER_DEFAULTS = {
  maxTopicLevels: 128,
  maxTopicLength: 65_535,
  maxRoutes: 16_384,
  maxRetainedMessages: 100_000,
  maxRetainedBytes: 256 * 1024 * 1024,
  maxQueues: 10_000,
} as const satisfies Required<Omit<BrokerOptions, 'autoQueue' | 'access'>>;

const TICK_MS = 1000;
const SWEEP_STEPS = 10_000;

export class MemoryBroker implements Broker, EnqueueWaiter {
  readonly clock: Clock;
  readonly maxTopicLevels: number;
  readonly maxTopicLength: number;
  readonly counters = newBrokerCounters();
  readonly #queues: QueueClient;
  readonly #router: Router;
  readonly #retained: Retained;
  /** Undefined: what is retained is in memory alone. */
  readonly #kept: KeptRetained | undefined;
  /** What the broker tells of itself, under `$SYS/`; bounded by what it has to tell. */
  readonly #told: Retained;
  readonly #access: BrokerAccess | undefined;
  readonly #dueWills: DueWills;
  /** Where queues are made on their first use, or other nodes make some; undefined: neither. */
  readonly #unknown: UnknownQueues | undefined;
  readonly #topics: TopicPublishes;
  /** In a cluster: other nodes subscribe sessions. */
  readonly #stale: StalePublishes | undefined;
  readonly #writableListeners: (() => void)[] = [];
  #queueVersion = -1;
  #ticker: NodeJS.Timeout | undefined;

  constructor(queues: QueueClient, clock: Clock, options: BrokerOptions = {}) {
    const settings = { ...BROKER_DEFAULTS, ...options };
    this.clock = clock;
    this.maxTopicLevels = settings.maxTopicLevels;
    this.maxTopicLength = settings.maxTopicLength;
    this.#queues = queues;
    this.#router = new Router(queues.queues, settings, (share, publication) =>
      this.#topics.copies.pass(share, publication),
    );
    const { autoQueue, access } = options;
    this.#access = access;
    const { maxRetainedMessages: maxMessages, maxRetainedBytes: maxBytes } = settings;
    this.#retained = new Retained(clock, { maxMessages, maxBytes }, access);
    const bounds = { maxMessages: Number.POSITIVE_INFINITY, maxBytes: Number.POSITIVE_INFINITY };
    this.#told = new Retained(clock, bounds);
    const lost = (): void => void this.counters.unansweredRefused++;
    const publish: StalePublishesParts['publish'] = (message, publisher, tag) =>
      this.#publish(message, publisher, tag);
    this.#topics = new TopicPublishes({
      queues,
      clock,
      counters: this.counters,
      retained: this.#retained,
      routeOf: (topic) => this.#routeOf(topic),
      publish,
      release: (key, waiter, tag) => this.release(key, waiter, tag),
      lost,
    });
    this.#kept = this.#topics.kept;
    this.#dueWills = new DueWills({
      access,
      publish: (message, publisher, tag) => this.publish(message, publisher, tag),
      lost,
    });
    const { freshness } = queues;
    if (freshness !== undefined) {
      this.#stale = new StalePublishes({
        freshness,
        publish,
        roomAgain: () => this.#tellRoom(),
        counters: this.counters,
      });
    }
    if (autoQueue === undefined && !queues.isShared) return;
    const unknown = new UnknownQueues({
      lookUp: queues.isShared ? (name) => queues.lookUp(name) : undefined,
      definitionOf: (name) => autoQueue?.(name),
      mayDeclare: (origin, name) => access?.mayDeclare(origin, name) !== false,
      maxQueues: settings.maxQueues,
      queueCount: () => queues.queues.count - queues.queues.internalCount,
      queue: (name) => this.queue(name),
      declare: (definition) => queues.admin.declare(definition),
      refresh: () => this.#readQueues(),
      isTaken: (topic) => this.#router.route(topic)?.unknown === undefined,
      release: (held, refusal) => this.#release(held, refusal),
      roomAgain: () => this.#roomAgain(),
    });
    this.#unknown = unknown;
    if (queues.isShared) queues.onGone((gone) => unknown.holdGone(gone));
  }

  /** Begins the work that time brings: wills that are due, retained messages that expired. */
  start(): void {
    this.#queues.sessions.publishWills((will) => this.#dueWills.publish(will));
    this.#ticker ??= setInterval(() => this.tick(), TICK_MS).unref();
  }

  /**
   * Resolves when everything that is retained is known, before anybody may subscribe. Rejects when
   * the store is gone, or with the reason of the signal.
   */
  async load(signal?: AbortSignal): Promise<void> {
    await this.#kept?.load(signal);
  }

  stop(): void {
    this.#stale?.stop();
    this.#kept?.stop();
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  tick(): void {
    if (this.#kept === undefined) this.#retained.sweep(SWEEP_STEPS);
    else this.#kept.tick(SWEEP_STEPS);
  }

  get subscriptionCount(): number {
    return this.#router.subscriptions;
  }

  /** Messages for a shared subscription that none of its members took. */
  get lostByShares(): number {
    return this.#topics.copies.lost;
  }

  get retainedBytes(): number {
    return this.#retained.bytes;
  }

  get retainedCount(): number {
    return this.#retained.count;
  }

  get leader(): string {
    return this.#queues.leader;
  }

  /** Durable sessions of the whole cluster, as far as this node knows. */
  get durableSessions(): number {
    return this.#queues.queues.sessionCount;
  }

  get sessions(): SessionStore {
    return this.#queues.sessions;
  }

  publish(message: Message, publisher: Publisher, tag: number | undefined): PublishOutcome {
    this.counters.published++;
    const held = this.#stale?.hold(message, publisher, tag);
    if (held === undefined) return this.#publish(message, publisher, tag);
    return held === 'waiting' ? held : this.#refuseQueued(held, tag);
  }

  #publish(message: Message, publisher: Publisher, tag: number | undefined): PublishOutcome {
    this.#readQueues();
    const route = this.#router.route(message.topic);
    if (route === undefined) return this.#refuseTopic(message.topic);
    if (route.reserved) return this.#refuse('topic-reserved');
    if (!route.forQueues) {
      const outcome = this.#topics.publish({ message, publisher, tag, route });
      const isRefused = typeof outcome === 'string' && outcome !== 'waiting';
      return isRefused ? this.#refuse(outcome) : outcome;
    }
    if (route.unknown !== undefined && this.#unknown !== undefined) {
      const held = this.#unknown.hold(route.unknown, message, { publisher, tag });
      if (held === 'waiting') return held;
      if (held !== undefined) return this.#refuseQueued(held, tag);
    }
    if (route.queues.length === 0) return this.#refuseQueued('no-queue', tag);
    this.counters.enqueued++;
    const waiter = tag === undefined ? this : (publisher.waiter ?? this);
    this.#queues.enqueue(route.queues, message, publisher.origin, waiter, tag ?? 0, publisher.key);
    return 'waiting';
  }

  /** As the waiter of messages that nobody waits for. */
  enqueued(_tag: number, outcome: Committed | EnqueueRefusal): void {
    if (typeof outcome === 'string') this.counters.unansweredRefused++;
  }

  /**
   * The broker's own word on a topic of `$SYS/`: to those who subscribe now, if it is another one
   * than before, and to later ones when they do. At QoS 0, so that it waits in no session; no queue
   * takes it.
   */
  tell(topic: string, text: string): void {
    const payload = new TextEncoder().encode(text);
    const before = this.#told.get(topic)?.message.payload;
    if (before !== undefined && sameBytes(before, payload)) return;
    const message: Message = { topic, payload, qos: 0, retain: true, properties: undefined };
    const publication = new LivePublication(message, 0, { origin: undefined, owned: true });
    this.#told.set(publication);
    const route = this.#router.route(topic);
    if (route?.reserved === true) this.#topics.fanOut(publication, route, undefined);
  }

  #refuseTopic({ length }: string): PublishRefusal {
    if (length > this.maxTopicLength) {
      this.counters.topicTooLong++;
      return this.#refuse('topic-too-long');
    }
    this.counters.topicTooDeep++;
    return this.#refuse('topic-too-deep');
  }

  #refuse(refusal: PublishRefusal): PublishRefusal {
    this.counters.refused++;
    return refusal;
  }

  #refuseQueued(refusal: PublishRefusal, tag: number | undefined): PublishRefusal {
    if (tag === undefined) this.counters.unansweredRefused++;
    return this.#refuse(refusal);
  }

  /** A publish that waited until its queue was found or made, or was not. */
  #release(held: HeldPublish, refusal: EnqueueRefusal | undefined): void {
    const { message, publisher, tag } = held;
    const waiter = tag === undefined ? this : (publisher.waiter ?? this);
    const queues = this.#router.route(message.topic)?.queues ?? [];
    if (refusal !== undefined || queues.length === 0) {
      waiter.enqueued(tag ?? 0, refusal ?? 'no-queue');
      return;
    }
    this.counters.enqueued++;
    this.#queues.enqueue(queues, message, publisher.origin, waiter, tag ?? 0, publisher.key);
  }

  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions): void {
    this.#router.subscribe(subscriber, filter, options);
  }

  unsubscribe(subscriber: Subscriber, filter: string, share?: string): boolean {
    return this.#router.unsubscribe(subscriber, filter, share);
  }

  matchOf(subscriber: Subscriber, topic: string, isOwn: boolean): Match | undefined {
    const target = this.#router.route(topic)?.bySubscriber?.get(subscriber);
    return isOwn ? target?.ownMatch : target?.match;
  }

  retained(filter: string): RetainedCursor | undefined {
    const shown = filter.startsWith(SYSTEM_PREFIX) ? this.#told : this.#retained;
    return shown.mayHave(filter) ? shown.cursor(filter) : undefined;
  }

  get retainedLog(): RetainedLog | undefined {
    return this.#kept;
  }

  retainedUpToNow(): Promise<void> | undefined {
    return this.#kept?.upToNow();
  }

  queue(name: string): QueueInfo | undefined {
    return this.#queues.queues.named(name);
  }

  findQueue(name: string): Promise<QueueInfo | 'unavailable' | undefined> | undefined {
    return this.#unknown?.find(name);
  }

  makeQueue(name: string): Promise<QueueInfo | MakeRefusal | undefined> | undefined {
    return this.#unknown?.make(name);
  }

  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer {
    return this.#queues.consume(request, sink);
  }

  settle(request: SettleRequest, waiter: SettleWaiter, tag: number): void {
    this.#queues.settle(request, waiter, tag);
  }

  release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void {
    this.#queues.release(key, waiter, tag);
  }

  get writable(): boolean {
    return this.#queues.writable && this.#unknown?.hasRoom !== false && !this.isBehind;
  }

  /** Publishes that wait for routes that are current. */
  get waitingPublishes(): number {
    return this.#stale?.size ?? 0;
  }

  get isBehind(): boolean {
    return this.#stale?.hasRoom === false;
  }

  onWritable(listener: () => void): void {
    this.#writableListeners.push(listener);
    this.#queues.onWritable(() => {
      if (this.writable) listener();
    });
  }

  #roomAgain(): void {
    if (this.writable) this.#tellRoom();
  }

  /** Who publishes to queues that are behind stops again. */
  #tellRoom(): void {
    for (const listener of this.#writableListeners) listener();
  }

  /** By the rights that hold now: they may have gone since CONNECT. */
  publishWill({ origin, message }: Will): void {
    if (this.#access?.mayPublish(origin, message.topic) === false) return;
    const publisher = { origin, subscriber: undefined, waiter: undefined, key: undefined };
    this.publish(message, publisher, undefined);
  }

  #routeOf(topic: string): Route | undefined {
    this.#readQueues();
    return this.#router.route(topic);
  }

  /** Before each route: those that are kept must not be older than the queues. */
  #readQueues(): void {
    if (this.#queueVersion === this.#queues.version) return;
    this.#queueVersion = this.#queues.version;
    this.#router.queuesChanged();
    this.#unknown?.changed();
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
