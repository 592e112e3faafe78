/**
 * SUBSCRIBE and UNSUBSCRIBE of one connection: what is granted, what refused with which words.
 *
 * A filter that begins with `$queue/` consumes a queue and never becomes a subscription of the
 * topic tree; it is granted QoS 1, as a delivery is settled by its PUBACK or by its message id.
 * Whether it is granted is for the queue to say, and SUBACK waits for that: it has the honest code.
 * Meanwhile the connection goes on; how many SUBSCRIBEs may wait is bounded. What this broker does
 * not do is refused and named, never taken and ignored.
 *
 * Of a durable session every change is in the log before it is answered (`SubscriptionChanges`),
 * and what its client said behind it is not read until then. A subscription counts from its SUBACK
 * on, and does not from its UNSUBSCRIBE on.
 *
 * MQTT 5.0 sections 3.8.4, 3.10.4.
 */

import type { StoredSubscription } from '../../broker/ports.ts';
import { QUEUE_PREFIX, SYSTEM_PREFIX, queueTopic } from '../../broker/queue-topic.ts';
import type { AccessRights } from '../access.ts';
import { type Consumers, GIVEN_UP, NO_QUEUE, type WantedConsumer } from './consumers.ts';
import type { Ending, MqttContext } from './context.ts';
import type { Outbound } from './deliver.ts';
import { encodeSuback, encodeUnsuback, type Recipient } from './encode.ts';
import { notOffered, notOfferedIn } from './offered.ts';
import type { Output } from './output.ts';
import type { Subscription, SubscribePacket, UnsubscribePacket } from './packet.ts';
import {
  queueWish,
  type QueueWish,
  type SubscribeRefusal,
  type Wishes,
  wishesOf,
} from './queue-wish.ts';
import {
  ReasonCode,
  type ServerDisconnectReason,
  type SubscribeReason,
  type UnsubscribeReason,
} from './reason-codes.ts';
import type { RetainedFeed } from './retained-feed.ts';
import type { Session, SessionSubscription } from './session.ts';
import { storedSubscription } from './stored-subscriptions.ts';
import { SubscriptionChanges } from './subscription-changes.ts';
import { topicLevels } from './topic.ts';

/** SUBSCRIBEs of one connection that wait for queues; further ones to queues are refused. */
const MAX_PENDING = 64;
/** Filters of one SUBSCRIBE in one piece: 2,000 patterns take them about 3 ms. */
const JUDGED_AT_ONCE = 16;
/** Filters of one SUBSCRIBE that are looked up in the rules, or as many as may be granted. */
const MAX_JUDGED = 1000;
/** The words of a SUBACK, all together. */
const MAX_TEXT_LENGTH = 1024;

export interface SubscriptionsParts {
  readonly context: MqttContext;
  readonly session: Session;
  readonly rights: AccessRights | undefined;
  readonly outbound: Outbound;
  readonly consumers: Consumers;
  /** Of a durable session: its retained messages come through the log. */
  readonly feed: RetainedFeed | undefined;
  readonly output: Output;
  readonly recipient: Recipient;
  /** The client asked not to be told reason strings. */
  readonly terse: boolean;
  readonly end: (ending: Ending<ServerDisconnectReason>) => void;
  /** All is judged, and the log has all that was changed. */
  readonly changed: () => void;
}

/** One SUBSCRIBE whose SUBACK is not written. */
interface Pending {
  readonly packetId: number;
  readonly reasonCodes: SubscribeReason[];
  readonly texts: Set<string>;
  /** What the log of a durable session is to have of it. */
  readonly stored: StoredSubscription[];
  /** Of a durable session: in force when the log has it, before SUBACK. */
  readonly granted: Granted[];
  /** Their retained messages follow SUBACK. */
  readonly replayed: Granted[];
  unanswered: number;
}

/** As the session is to keep it. */
interface Granted {
  readonly topicFilter: string;
  readonly subscription: SessionSubscription;
}

/** A SUBSCRIBE that is being judged. */
interface Asked {
  readonly pending: Pending;
  readonly subscriptions: readonly Subscription[];
  readonly identifier: number;
  readonly wishes: Wishes | SubscribeRefusal;
  /** The first one that is not judged. */
  next: number;
}

export class Subscriptions {
  readonly #parts: SubscriptionsParts;
  readonly #changes: SubscriptionChanges | undefined;
  #pending = 0;
  #isJudging = false;
  #closed = false;

  constructor(parts: SubscriptionsParts) {
    this.#parts = parts;
    const { context, session, end } = parts;
    const { owned } = session;
    const { feed } = parts;
    if (owned === undefined) return;
    const { sessions } = context.broker;
    this.#changes = new SubscriptionChanges({
      sessions,
      owned,
      feed,
      end,
      allDone: () => this.#allDone(),
    });
  }

  /** It is not all judged, or the log has not all of it yet. */
  get isChanging(): boolean {
    return this.#isJudging || this.#changes?.isBusy === true;
  }

  #allDone(): void {
    if (!this.#isJudging) this.#parts.changed();
  }

  subscribe(packet: SubscribePacket): void {
    const { packetId, subscriptions, properties } = packet;
    const { context, recipient, end } = this.#parts;
    const missing = recipient.version === 5 && notOfferedIn(packet, context.options);
    if (missing) {
      end(missing);
      return;
    }
    const identifier = properties?.subscriptionIdentifiers?.[0] ?? 0;
    const wishes = wishesOf(packet);
    const pending: Pending = {
      packetId,
      reasonCodes: [],
      texts: new Set(),
      stored: [],
      granted: [],
      replayed: [],
      unanswered: subscriptions.length,
    };
    this.#pending++;
    const asked: Asked = { pending, subscriptions, identifier, wishes, next: 0 };
    if (this.#judgeSome(asked)) context.turn.goOn(() => this.#goOn(asked));
  }

  #goOn(asked: Asked): boolean {
    if (this.#closed) return false;
    const isMore = this.#judgeSome(asked);
    if (!isMore && !this.isChanging) this.#parts.changed();
    return isMore;
  }

  /**
   * A few at once: a thousand filters take long, with rules and without. True: there are more, and
   * nothing that comes behind them is read as long as they are not judged.
   */
  #judgeSome(asked: Asked): boolean {
    const { length } = asked.subscriptions;
    const end = Math.min(asked.next + JUDGED_AT_ONCE, length);
    this.#isJudging = end < length;
    for (; asked.next < end; asked.next++) this.#judge(asked.next, asked);
    return this.#isJudging;
  }

  #judge(at: number, asked: Asked): void {
    const { context, rights } = this.#parts;
    const { maxSubscriptions } = context.options;
    // Taken back as long as it is not known to be true.
    asked.pending.reasonCodes.push(ReasonCode.unspecifiedError);
    const isWithin = rights === undefined || at < Math.max(MAX_JUDGED, maxSubscriptions);
    const now = isWithin ? this.#subscribeOne(at, asked) : TOO_MANY;
    if (now !== 'later') this.#answered(asked.pending, at, now);
  }

  /** The connection is over: nothing more is written, and the session keeps what it has. */
  close(): void {
    this.#closed = true;
    this.#changes?.close();
  }

  #answered(pending: Pending, at: number, answer: SubscribeReason | SubscribeRefusal): void {
    const { reasonCodes, texts, stored } = pending;
    if (typeof answer === 'object') this.#refused(answer, texts);
    reasonCodes[at] = typeof answer === 'object' ? answer.reasonCode : answer;
    if (--pending.unanswered > 0) return;
    if (this.#changes === undefined || stored.length === 0) {
      this.#suback(pending);
      return;
    }
    const change = { subscribe: stored, unsubscribe: [] };
    this.#changes.add(change, (isDone) => {
      if (!isDone) this.#tooMany(pending);
      this.#suback(pending);
    });
  }

  /** The log does not take so many of one session; nothing of this SUBSCRIBE is in force. */
  #tooMany({ stored, reasonCodes, texts, granted, replayed }: Pending): void {
    for (const { filter } of stored) this.#parts.consumers.close(filter);
    for (const [at, code] of reasonCodes.entries()) {
      if (code < 0x80) reasonCodes[at] = TOO_MANY.reasonCode;
    }
    texts.add(TOO_MANY.text);
    granted.length = 0;
    replayed.length = 0;
  }

  #suback(pending: Pending): void {
    this.#pending--;
    const { reasonCodes, texts, granted, replayed } = pending;
    for (const each of granted) this.#put(each);
    const { output, recipient, terse, end } = this.#parts;
    const reasonString = [...texts].join('; ').slice(0, MAX_TEXT_LENGTH);
    const properties = terse || texts.size === 0 ? undefined : { reasonString };
    const suback = { packetId: pending.packetId, reasonCodes, properties };
    if (!encodeSuback(output.writer, recipient, suback)) {
      end({
        reasonCode: ReasonCode.packetTooLarge,
        text: 'SUBACK is larger than the client takes',
      });
      return;
    }
    output.appended();
    if (replayed.length > 0) this.#replay(replayed);
  }

  /** Retained messages as they are now on whichever node. */
  #replay(replayed: readonly Granted[]): void {
    const upToNow = this.#parts.context.broker.retainedUpToNow();
    if (upToNow === undefined) {
      for (const each of replayed) this.#replayOne(each);
      return;
    }
    void upToNow.then(() => {
      if (this.#closed) return;
      const { subscriptions } = this.#parts.session;
      for (const each of replayed) if (subscriptions.has(each.topicFilter)) this.#replayOne(each);
    });
  }

  #replayOne({ subscription: { filter, qos, identifier } }: Granted): void {
    const { context, outbound } = this.#parts;
    const cursor = context.broker.retained(filter);
    if (cursor === undefined) return;
    const identifiers = identifier === 0 ? [] : [identifier];
    outbound.replay({ cursor, qos, identifiers, next: undefined });
  }

  #refused({ text, limit }: SubscribeRefusal, texts: Set<string>): void {
    texts.add(text);
    if (limit !== undefined) this.#parts.context.counters.limited[limit]++;
  }

  #subscribeOne(at: number, asked: Asked): SubscribeReason | SubscribeRefusal | 'later' {
    const { context, session, consumers, rights } = this.#parts;
    const { pending, subscriptions } = asked;
    const subscription = subscriptions[at] as Subscription;
    const { filter, topicFilter } = subscription;
    const missing = notOffered(subscription, context.options);
    if (missing !== undefined) return missing;
    const ofQueue = filter.startsWith(QUEUE_PREFIX);
    const { maxTopicLevels, maxTopicLength } = context.broker;
    if (topicLevels(filter, maxTopicLevels) > maxTopicLevels) return TOO_DEEP;
    if (topicFilter.length > maxTopicLength) return TOO_LONG;
    const isNew =
      !session.subscriptions.has(topicFilter) &&
      !pending.stored.some((other) => other.filter === topicFilter);
    const count = session.subscriptions.size + consumers.unanswered + pending.stored.length;
    if (isNew && count >= context.options.maxSubscriptions) return TOO_MANY;
    if (!ofQueue) {
      if (rights?.may('subscribe', filter) === false) return denied(rights);
      this.#subscribeTopic(subscription, asked, isNew);
      return subscription.qos;
    }
    if (this.#pending > MAX_PENDING) return TOO_MANY_PENDING;
    return this.#consume(at, asked);
  }

  #subscribeTopic(asked: Subscription, { pending, identifier }: Asked, isNew: boolean): void {
    const { topicFilter, filter, shareName: share, retainHandling } = asked;
    const { qos, noLocal, retainAsPublished } = asked;
    const how = { qos, noLocal, retainAsPublished, identifier, share, filter, wish: undefined };
    const granted = { topicFilter, subscription: how };
    // Whose retained messages would they be (5.0 section 4.8.2)?
    const isReplayed =
      share === undefined && (retainHandling === 0 || (retainHandling === 1 && isNew));
    const feed = filter.startsWith(SYSTEM_PREFIX) || qos === 0 ? undefined : this.#parts.feed;
    if (isReplayed && feed === undefined) pending.replayed.push(granted);
    if (this.#changes === undefined) {
      this.#put(granted);
      return;
    }
    const stored = storedSubscription(asked, identifier, undefined);
    const owed = isReplayed && feed !== undefined ? { replay: feed.begun() } : {};
    pending.stored.push({ ...stored, ...owed });
    pending.granted.push(granted);
  }

  /** It is in force from now on. */
  #put({ topicFilter, subscription }: Granted): void {
    const { context, session, feed } = this.#parts;
    session.subscriptions.set(topicFilter, subscription);
    if (subscription.wish !== undefined) return;
    context.broker.subscribe(session, subscription.filter, subscription);
    if (subscription.qos === 0) feed?.drop(topicFilter);
  }

  #consume(at: number, asked: Asked): SubscribeRefusal | 'later' {
    const { session, rights, consumers } = this.#parts;
    const { pending, subscriptions, wishes, identifier } = asked;
    const subscription = subscriptions[at] as Subscription;
    const wish = 'text' in wishes ? wishes : queueWish(subscription, wishes);
    if ('text' in wish) return wish;
    const queueRight = queueTopic(wish.queueName);
    if (rights?.may('consume', queueRight) === false) return denied(rights);
    if (subscription.qos === 0) return QOS_0;
    const queue = this.#queue(wish);
    if (queue === undefined) return NO_QUEUE;
    const { topicFilter } = subscription;
    consumers.open(topicFilter, {
      queue,
      wish,
      identifier,
      answered: (refusal) => {
        if (this.#closed) return;
        // There may be other rules since it was asked for.
        if (refusal === undefined && rights?.allows('consume', queueRight) === false) {
          session.subscriptions.delete(topicFilter);
          consumers.close(topicFilter);
          this.#answered(pending, at, NOT_ALLOWED);
          return;
        }
        if (refusal === undefined) this.#granted(subscription, asked, wish);
        else session.subscriptions.delete(topicFilter);
        this.#answered(pending, at, refusal ?? ReasonCode.grantedQos1);
      },
    });
    return 'later';
  }

  #granted(asked: Subscription, { pending, identifier }: Asked, wish: QueueWish): void {
    const { topicFilter, filter } = asked;
    const options = { qos: 1, noLocal: false, retainAsPublished: false, identifier } as const;
    // Where it begins is done: when it is resumed, the group knows where it stands.
    const kept = { ...wish, start: undefined };
    const granted = { topicFilter, subscription: { ...options, filter, wish: kept } };
    if (this.#changes === undefined) {
      this.#put(granted);
      return;
    }
    pending.stored.push(storedSubscription(asked, identifier, kept));
    pending.granted.push(granted);
  }

  #queue({ queueName }: QueueWish): WantedConsumer['queue'] | undefined {
    const { context, rights } = this.#parts;
    const { broker } = context;
    const known = broker.queue(queueName);
    if (known !== undefined) return known;
    // Somebody else may have made it.
    if (rights?.may('declare', queueTopic(queueName)) === false) return broker.findQueue(queueName);
    return broker.makeQueue(queueName);
  }

  /** Consumes again what a resumed session consumes; who finds nothing there hears it. */
  resume(): void {
    const { session, consumers } = this.#parts;
    for (const [topicFilter, { wish, identifier }] of session.subscriptions) {
      if (wish === undefined) continue;
      const queue = this.#queue(wish);
      const answered = (refusal: SubscribeRefusal | undefined): void => {
        // What the client itself gave up is answered by its own SUBSCRIBE or UNSUBSCRIBE.
        if (refusal === undefined || refusal === GIVEN_UP || this.#closed) return;
        this.#notResumed(topicFilter, refusal);
      };
      if (queue === undefined) answered(NO_QUEUE);
      else consumers.open(topicFilter, { queue, wish, identifier, answered });
    }
  }

  /**
   * MQTT has no word for the end of one subscription, and who waits for what never comes must hear.
   */
  #notResumed(topicFilter: string, { text }: SubscribeRefusal): void {
    const { context, session, end } = this.#parts;
    session.subscriptions.delete(topicFilter);
    const fields = { client_id: session.clientId, filter: topicFilter, reason: text };
    context.log.warn(fields, 'a subscription of a resumed session is refused');
    const words = `a subscription of the session is refused: ${text}`;
    const tell = (): void => end({ reasonCode: ReasonCode.administrativeAction, text: words });
    // It would be refused again, each time that its client comes back.
    if (this.#changes === undefined) tell();
    else this.#changes.add({ subscribe: [], unsubscribe: [topicFilter] }, tell);
  }

  unsubscribe({ packetId, topicFilters }: UnsubscribePacket): void {
    const { subscriptions } = this.#parts.session;
    const reasonCodes = topicFilters.map((filter) => this.#unsubscribeOne(filter));
    const known = topicFilters.filter((_filter, at) => reasonCodes[at] === ReasonCode.success);
    if (this.#changes === undefined || known.length === 0) {
      this.#unsuback(packetId, reasonCodes);
      return;
    }
    this.#changes.add({ subscribe: [], unsubscribe: known }, () => {
      // Its SUBSCRIBE was not answered when this came, and is now.
      for (const filter of known) subscriptions.delete(filter);
      this.#unsuback(packetId, reasonCodes);
    });
  }

  #unsuback(packetId: number, reasonCodes: readonly UnsubscribeReason[]): void {
    const { output, recipient, end } = this.#parts;
    if (!encodeUnsuback(output.writer, recipient, { packetId, reasonCodes })) {
      const text = 'UNSUBACK is larger than the client takes';
      end({ reasonCode: ReasonCode.packetTooLarge, text });
      return;
    }
    output.appended();
  }

  #unsubscribeOne(topicFilter: string): UnsubscribeReason {
    const { context, session, consumers } = this.#parts;
    const subscription = session.subscriptions.get(topicFilter);
    session.subscriptions.delete(topicFilter);
    this.#parts.feed?.drop(topicFilter);
    // One that was not granted yet is there too.
    if (consumers.close(topicFilter)) return ReasonCode.success;
    if (subscription === undefined) return ReasonCode.noSubscriptionExisted;
    context.broker.unsubscribe(session, subscription.filter, subscription.share);
    return ReasonCode.success;
  }
}

const NOT_ALLOWED: SubscribeRefusal = {
  reasonCode: ReasonCode.notAuthorized,
  text: 'no rule allows it',
};
const NOT_ANSWERED: SubscribeRefusal = {
  reasonCode: ReasonCode.implementationSpecificError,
  text: 'the service that decides about it does not answer; try again',
};
const TOO_DEEP: SubscribeRefusal = {
  reasonCode: ReasonCode.topicFilterInvalid,
  text: 'the filter has too many levels',
  limit: 'topic-levels',
};
const TOO_LONG: SubscribeRefusal = {
  reasonCode: ReasonCode.topicFilterInvalid,
  text: 'the filter is too long',
  limit: 'topic-length',
};
const TOO_MANY: SubscribeRefusal = {
  reasonCode: ReasonCode.quotaExceeded,
  text: 'too many subscriptions',
  limit: 'subscriptions',
};
const TOO_MANY_PENDING: SubscribeRefusal = {
  reasonCode: ReasonCode.quotaExceeded,
  text: 'too many SUBSCRIBEs wait for their queues',
  limit: 'pending-subscribes',
};
const QOS_0: SubscribeRefusal = {
  reasonCode: ReasonCode.implementationSpecificError,
  text: 'a queue is consumed at QoS 1: its messages are settled',
};

function denied({ isUnanswered }: AccessRights): SubscribeRefusal {
  return isUnanswered ? NOT_ANSWERED : NOT_ALLOWED;
}
