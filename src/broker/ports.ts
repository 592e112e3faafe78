/**
 * The ports of the broker: what the broker needs from the shards (`QueueClient`), and what
 * frontends call (`Broker` and its parts, in the second half).
 *
 * Nothing here crosses a thread as an object: the client side of `QueueClient` encodes batches of
 * bytes. No promise and no closure a message: a waiter is an object that lives as long as its
 * connection, and a `tag` is a number that means something to it alone.
 */

import type { Committed } from '../machine/committed.ts';
import type { Position, PublishKey, ReplayStep } from '../machine/command.ts';
import type { Capture, DefaultGroup, QueueDefinition, QueueType } from '../machine/definitions.ts';
import type { Offset, QueueId } from '../machine/ids.ts';
import type { ConsumerSink, Origin, QueueConsumer, SettleOutcome } from './consumer.ts';
import { ENQUEUE_REFUSALS, type EnqueueWaiter } from './enqueue-outcome.ts';
import type { Message } from './message.ts';
import type { QueueFreshness } from './queue-freshness.ts';
import type { RetainedLog } from './retained-log.ts';
import type { RetainedSource } from './retained-source.ts';
import type { SessionStore } from './session-store.ts';
import type { Match, RetainedCursor, Subscriber, SubscriptionOptions } from './subscriber.ts';

export type { Committed } from '../machine/committed.ts';
export type { Position, PublishKey, ReplayStep } from '../machine/command.ts';
export type { QueueDefinition } from '../machine/definitions.ts';
export type { Offset, QueueId } from '../machine/ids.ts';
export { CANCEL_REASONS } from './consumer.ts';
export type {
  CancelReason,
  ConsumerSink,
  Delivery,
  Origin,
  QueueConsumer,
  SettleOutcome,
} from './consumer.ts';
export { ENQUEUE_REFUSALS } from './enqueue-outcome.ts';
export type { EnqueueRefusal, EnqueueWaiter } from './enqueue-outcome.ts';
export type { QueueFreshness } from './queue-freshness.ts';
export type { RetainedLog, RetainedSelection, SelectedRetained } from './retained-log.ts';
export type {
  OffsetRange,
  RetainedPart,
  RetainedSource,
  StoredRetained,
} from './retained-source.ts';
export { SESSION_REFUSALS, SessionError } from './session-store.ts';
export type {
  Chosen,
  ClaimedSession,
  ClaimRequest,
  DueWill,
  ReplayedMessage,
  SessionChange,
  SessionHandle,
  SessionLeaving,
  SessionLimits,
  SessionRefusal,
  SessionReplay,
  SessionStore,
  SessionWill,
  ShareChoice,
  ShareChoosing,
  StoredReplay,
  StoredSubscription,
} from './session-store.ts';
export type {
  Match,
  Publication,
  RetainedCursor,
  Share,
  Subscriber,
  SubscriptionOptions,
} from './subscriber.ts';

declare const unlogged: unique symbol;
/**
 * The word of the broker that a publish needs no log: it had no queue among its targets, and its
 * live clean subscribers have it. Made in `src/broker` alone, after the routing, so that no
 * frontend can excuse itself.
 */
export type Unlogged = number & { readonly [unlogged]: 'Unlogged' };

/** Without one of these no protocol can encode a positive acknowledgement. */
export type Acknowledgeable = Committed | Unlogged;

export interface QueueInfo {
  readonly queueId: QueueId;
  readonly name: string;
  readonly type: QueueType;
  /** Topic patterns; a publish whose topic matches is appended once. */
  readonly topics: readonly string[];
  readonly defaultGroup: DefaultGroup;
  readonly capture: Capture;
}

/**
 * The queues in force, newest state. A `QueueInfo` is made for whoever asks, since there may be
 * very many: nobody keeps them all.
 */
export interface QueueDirectory extends Iterable<QueueInfo> {
  readonly count: number;
  /** Those of them that are of durable sessions. */
  readonly sessionCount: number;
  /** Those, and that of retained messages: of the broker itself. */
  readonly internalCount: number;
  get(queueId: QueueId): QueueInfo | undefined;
  named(name: string): QueueInfo | undefined;
  /**
   * Those with other topics than the default of their name (`$queue/<name>/#`; of the catch-all,
   * `$queue/#`). What did not change is the same object, and keeps its place.
   */
  readonly patterned: readonly QueueInfo[];
  /** One of these; undefined: the queue has the default topics, or there is none. */
  patternedNamed(name: string): QueueInfo | undefined;
  /**
   * Names of the queues that may have other patterns, or none any more, since the last call;
   * undefined: `patterned` is to be looked through. For one reader, whom a change of one queue
   * costs what one costs, however many there are.
   */
  takeChanged(): readonly string[] | undefined;
}

export interface ConsumeRequest {
  readonly queueId: QueueId;
  /** For logs and `client` groups. */
  readonly clientId: string;
  /** Undefined: the group that the queue gives to those who name none. */
  readonly group: string | undefined;
  /** A topic filter over routing keys (what follows `$queue/<name>/`); '' takes all. */
  readonly filter: string;
  /** Where to begin; undefined: where the group stands, or as the queue says for a new group. */
  readonly start: Position | undefined;
  /** How many deliveries may be outstanding at first, 0 to 65,535. */
  readonly credit: number;
  /**
   * It does not settle through `QueueConsumer.settle`: its deliveries end through the `settle` of
   * anybody, or by their time-out, and `ended` tells it.
   */
  readonly manual: boolean;
  /** Of the owner of a durable session, for its queue; absent: for any other queue. */
  readonly ownerEpoch?: number;
}

export type AskedOutcome = SettleOutcome | 'commit' | 'extend';

/** A settlement by message id, of whoever has it: `$ack`, `$nack`, `$reject`, `$commit`. */
export interface SettleRequest {
  readonly queueId: QueueId;
  readonly group: string;
  readonly offset: Offset;
  /** Of the delivery; ignored by `commit`. */
  readonly term: number;
  readonly deliveryNumber: number;
  /**
   * `commit` (streams): the group has everything up to and with `offset`. `extend`: the delivery's
   * visibility timeout begins anew.
   */
  readonly outcome: AskedOutcome;
}

/** What came of it. `done`: committed and applied. */
export const SETTLE_ANSWERS = [
  'done',
  /** It was settled before: nothing to do. */
  'already',
  /** Not the current delivery: another member may have it now. */
  'stale',
  'no-queue',
  'no-group',
  /** The store failed, closes, or did not answer in time. */
  'unavailable',
] as const;
export type SettleAnswer = (typeof SETTLE_ANSWERS)[number];
/** The answers that prove a settlement: a protocol may acknowledge it. */
export type SettleProof = Extract<SettleAnswer, 'done' | 'already'>;

export interface SettleWaiter {
  /** Once for each `settle`; never during the call. */
  settled(tag: number, answer: SettleAnswer): void;
}

/** A part of one publish, for other queues than its other parts; told as an `enqueue` is. */
export interface PublishPart {
  readonly targets: readonly QueueId[];
  readonly message: Message;
  readonly waiter: EnqueueWaiter;
  readonly tag: number;
}

export type EnqueueWish = PublishKey | ReplayStep | 'as-it-is';

export interface QueueClient {
  readonly queues: QueueDirectory;
  /** Goes up with each change of `queues`. */
  readonly version: number;
  /** Other nodes change the queues too, and `queues` may be behind: `lookUp` asks. */
  readonly isShared: boolean;
  /** How far `queues` may be behind; undefined: it never is. */
  readonly freshness: QueueFreshness | undefined;
  /**
   * Resolves when `queues` shows the queue of that name, if there was one when this was called;
   * false: nobody could be asked in time. Never rejects.
   */
  lookUp(name: string): Promise<boolean>;
  /** Registers once: hears first of a publish whose queues are all gone; true: it sees to it. */
  onGone(listener: (gone: GonePublish) => boolean): void;
  /**
   * Numbers the message in this node's stream of each shard that has a target; the payload is
   * copied before the call returns. The outcome comes through `waiter.enqueued(tag, ...)`, never
   * during the call. Not atomic over shards: where one refuses, others may have stored it. With a
   * key, a second one of the same key is told `Committed` and stores nothing, until its release.
   * `as-it-is`: whatever its properties ask for (a life, a delay), it is stored and nothing else. A
   * step of a replay goes to the queue of its session alone.
   */
  enqueue(
    targets: readonly QueueId[],
    message: Message,
    origin: Origin,
    waiter: EnqueueWaiter,
    tag: number,
    wish?: EnqueueWish,
  ): void;
  /**
   * The same under one key, which all of them are stored under: the whole again stores nothing
   * again, and stores what is missing. Of the parts in one shard none is stored behind one that is
   * refused, in the order of their queues; that one's queues being gone is no refusal there.
   */
  enqueueParts(parts: readonly PublishPart[], origin: Origin, key: PublishKey): void;
  /** The key may be used again once this is `Committed`, in every shard that was asked for it. */
  release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void;
  /** The node that leads shard 0, as far as this one knows; '': nobody knows. */
  readonly leader: string;
  /** False while more waits than the bound: publishers do not read until `onWritable`. */
  readonly writable: boolean;
  /** Registers once; called each time that `writable` becomes true again. */
  onWritable(listener: () => void): void;
  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer;
  settle(request: SettleRequest, waiter: SettleWaiter, tag: number): void;
  readonly admin: QueueAdmin;
  readonly sessions: SessionStore;
  /** Undefined: retained messages are in memory alone. */
  readonly retained: RetainedSource | undefined;
}

/** A publish that found none of its queues any more; its bytes are valid during the call only. */
export interface GonePublish {
  readonly message: Message;
  readonly origin: Origin;
  readonly waiter: EnqueueWaiter;
  readonly tag: number;
  readonly key: PublishKey | undefined;
}

/** One group, as operators see it. */
export interface GroupSummary {
  readonly name: string;
  readonly kind: 'explicit' | 'automatic';
  readonly filter: string;
  /** The committed offset: everything below is settled. */
  readonly floor: Offset;
  /** Unsettled messages, those that are delivered included. */
  readonly depth: number;
  /** Messages that consumers hold now. */
  readonly delivered: number;
  readonly consumers: number;
  /** The offset that holds back new deliveries (`max_unsettled_span`), if one does. */
  readonly stuck: Offset | undefined;
  /**
   * A damaged record told what it has settled of these offsets, both included, and nobody knows any
   * more: nothing is delivered to it until it is sought or deleted.
   */
  readonly lost: readonly [from: Offset, through: Offset] | undefined;
}

export interface QueueSummary {
  readonly queueId: QueueId;
  readonly definition: QueueDefinition;
  /** The first offset that is kept, and the next one to be given. */
  readonly start: Offset;
  readonly next: Offset;
  /** Of the group with most unsettled messages; of a queue without groups, all that is kept. */
  readonly depth: number;
  readonly consumers: number;
  /** Messages on their way out: dead letters and moves that are not done. */
  readonly leaving: number;
}

export interface QueueDetail extends QueueSummary {
  readonly groups: readonly GroupSummary[];
  /** What holds space: who still wants the oldest message; undefined: nobody wants any. */
  readonly heldBy: { readonly group: string; readonly offset: Offset } | undefined;
  /** Messages that cannot be read, as ranges with both ends. */
  readonly damaged: readonly (readonly [Offset, Offset])[];
}

export interface PeekedMessage {
  readonly offset: Offset;
  readonly origin: Origin;
  readonly publishedAtMs: number;
  /** Owns its bytes. */
  readonly message: Message;
}

/** Why an operator's wish was not done. */
export const ADMIN_REFUSALS = ['no-queue', 'no-group', 'exists', 'invalid', 'unavailable'] as const;
export type AdminRefusal = (typeof ADMIN_REFUSALS)[number];

export class AdminError extends Error {
  readonly code: AdminRefusal;

  constructor(code: AdminRefusal, message: string) {
    super(message);
    this.name = 'AdminError';
    this.code = code;
  }
}

/** The unsettled messages of a group of the queue `name`, at most `max`, to another queue. */
export interface MoveWish {
  readonly name: string;
  readonly group: string;
  /** '': each dead letter back to where it came from. */
  readonly to: string;
  readonly max: number;
}

/** What operators do to queues. Every promise rejects with an `AdminError` for people. */
export interface QueueAdmin {
  /** In order of name, behind `after`; at most `max` (1 to 1,000). */
  list(after: string, max: number): Promise<readonly QueueSummary[]>;
  show(name: string): Promise<QueueDetail>;
  /** When it resolves, `QueueClient.queues` shows the queue. */
  declare(definition: QueueDefinition): Promise<'created' | 'same' | 'updated'>;
  delete(name: string): Promise<void>;
  /** Settles everything but what is delivered; of one group, or (undefined) of all. How many. */
  purge(name: string, group: string | undefined): Promise<number>;
  /** Looks at messages from `from` on without consuming; those that are gone are passed over. */
  peek(name: string, from: Offset, max: number): Promise<readonly PeekedMessage[]>;
  /** How many are on their way; they are there soon after. */
  move(wish: MoveWish): Promise<number>;
  /** The group's new floor. */
  seek(name: string, group: string, position: Position): Promise<Offset>;
  deleteGroup(name: string, group: string): Promise<void>;
}

// ------------------------------------------------------------------------------------------
// What frontends call.

/** Milliseconds of a clock that never goes back; its zero means nothing. */
export interface Clock {
  now(): number;
}

/** Why the broker did not take a publish. Closed; each protocol maps every one in one table. */
export const PUBLISH_REFUSALS = [
  ...ENQUEUE_REFUSALS,
  /**
   * A new retained message above the configured count or bytes; nothing of the publish was done.
   */
  'retained-full',
  /** More topic levels than configured. */
  'topic-too-deep',
  'topic-too-long',
  /** Only the broker itself speaks there (`$SYS/...`). */
  'topic-reserved',
] as const;
export type PublishRefusal = (typeof PUBLISH_REFUSALS)[number];

/**
 * `Unlogged`: all was done during the call, and no log was needed (no queue takes this topic).
 * `waiting`: the outcome comes through the waiter.
 */
export type PublishOutcome = Unlogged | 'waiting' | PublishRefusal;

/** Why a queue was not made on its first use. */
export type MakeRefusal = Extract<PublishRefusal, 'no-queue' | 'too-many-queues' | 'unavailable'>;

/** Who may do what, where that is not asked by the frontend of whoever does it. */
export interface BrokerAccess {
  /** Goes up when other rules hold. */
  readonly version: number;
  /** Whether whoever published it may do so now: a retained message. */
  mayPublish(origin: Origin, topic: string): boolean;
  /** Whether what its publisher was once allowed is not allowed now, as far as this node knows. */
  isTakenBack(origin: Origin, topic: string): boolean;
  /** Whether a queue that is not there is made for him. */
  mayDeclare(origin: Origin, queueName: string): boolean;
}

/** Hears what became of a publish that was not done during its call. */
export interface PublishWaiter {
  enqueued(tag: number, outcome: Acknowledgeable | PublishRefusal): void;
}

/** Who publishes; one object for as long as its connection lives. */
export interface Publisher {
  readonly origin: Origin;
  /** Its own subscriber, for no-local, if it has one. */
  readonly subscriber: Subscriber | undefined;
  /** Undefined for one who never gives a tag. */
  readonly waiter: PublishWaiter | undefined;
  /** Of the publish in hand, at QoS 2 of a session that is kept; read during the call only. */
  readonly key: PublishKey | undefined;
}

export interface Broker {
  readonly clock: Clock;
  /** The most levels that a topic name or a filter may have. */
  readonly maxTopicLevels: number;
  /** Those that outlive their connection, and this process. */
  readonly sessions: SessionStore;
  /** The longest topic name or filter, in UTF-16 units. */
  readonly maxTopicLength: number;
  /** The node that leads shard 0, as far as this one knows; '': nobody knows. */
  readonly leader: string;
  /**
   * Routes a message: to live subscribers at once, whatever becomes of it in a queue that takes it
   * too. With a tag, `waiting` promises one call of the publisher's waiter; without one nobody
   * waits: a message for a queue is enqueued unanswered (QoS 0), and a refusal is counted.
   */
  publish(message: Message, publisher: Publisher, tag: number | undefined): PublishOutcome;
  /** `filter` is valid, within both bounds of topics, and does not begin with `$queue/`. */
  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions): void;
  /** False when there was no such subscription; `share` as it was subscribed. */
  unsubscribe(subscriber: Subscriber, filter: string, share?: string): boolean;
  /**
   * The subscriptions of a durable session (one with a queue) that match an ordinary topic, as one;
   * `isOwn`: without its no-local ones. Undefined: none does.
   */
  matchOf(subscriber: Subscriber, topic: string, isOwn: boolean): Match | undefined;
  /** Undefined: no topic under the filter has one. */
  retained(filter: string): RetainedCursor | undefined;
  /** Undefined: retained messages are in memory alone. */
  readonly retainedLog: RetainedLog | undefined;
  /**
   * Resolves when `retained` shows everything that was acknowledged on any node before this call,
   * or as much of it as can be known now; undefined: it does so at once. Never rejects.
   */
  retainedUpToNow(): Promise<void> | undefined;
  /** The queue of that name, as far as this node knows; where it knows none, `findQueue` asks. */
  queue(name: string): QueueInfo | undefined;
  /**
   * Asks the other nodes for a queue; undefined at once where there is nobody to ask. Resolves with
   * the queue, undefined: there is none; never rejects.
   */
  findQueue(name: string): Promise<QueueInfo | 'unavailable' | undefined> | undefined;
  /** The same, and makes a queue that is not there on its first use, where that is configured. */
  makeQueue(name: string): Promise<QueueInfo | MakeRefusal | undefined> | undefined;
  consume(request: ConsumeRequest, sink: ConsumerSink): QueueConsumer;
  settle(request: SettleRequest, waiter: SettleWaiter, tag: number): void;
  /** As the client of the queues does it. */
  release(key: PublishKey, waiter: EnqueueWaiter, tag: number): void;
  /** False while the shard is behind: who publishes to queues stops reading until `onWritable`. */
  readonly writable: boolean;
  /**
   * So much waits for routes to be current that who publishes at QoS 1 and 2 to ordinary topics
   * stops reading too.
   */
  readonly isBehind: boolean;
  /** Called when publishers may go on, of either kind; those who may not yet are stopped again. */
  onWritable(listener: () => void): void;
  /** The session that it is of ended with its connection. */
  publishWill(will: Will): void;
}

export interface Will {
  readonly origin: Origin;
  /** Owns its payload. */
  readonly message: Message;
}
