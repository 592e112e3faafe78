/**
 * SUBSCRIBE and UNSUBSCRIBE of one connection: what is granted, what refused with which words.
 *
 * A filter that begins with `$queue/` consumes a queue and never becomes a subscription of the
 * topic tree; it is granted QoS 1, as a delivery is settled by its PUBACK or by its message id.
 * Whether it is granted is for the queue to say, and SUBACK waits for that: it has the honest code.
 * Meanwhile the connection goes on; how many SUBSCRIBEs may wait is bounded. What this broker does
 * not do is refused and named, never taken and ignored.
 *
 * MQTT 5.0 sections 3.8.4, 3.10.4.
 */

import type { SubscriptionOptions } from '../../broker/ports.ts';
import { QUEUE_PREFIX } from '../../broker/queue-topic.ts';
import { type Consumers, NO_QUEUE, type WantedConsumer } from './consumers.ts';
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
import type { Session } from './session.ts';
import { topicLevels } from './topic.ts';

/** SUBSCRIBEs of one connection that wait for queues; further ones to queues are refused. */
const MAX_PENDING = 64;
/** The words of a SUBACK, all together. */
const MAX_TEXT_LENGTH = 1024;

export interface SubscriptionsParts {
  readonly context: MqttContext;
  readonly session: Session;
  readonly outbound: Outbound;
  readonly consumers: Consumers;
  readonly output: Output;
  readonly recipient: Recipient;
  /** The client asked not to be told reason strings. */
  readonly terse: boolean;
  readonly end: (ending: Ending<ServerDisconnectReason>) => void;
}

/** One SUBSCRIBE whose SUBACK is not written. */
interface Pending {
  readonly packetId: number;
  readonly reasonCodes: SubscribeReason[];
  readonly texts: Set<string>;
  /** Begins what was granted, after SUBACK. */
  readonly begin: (() => void)[];
  unanswered: number;
}

interface Request {
  readonly subscription: Subscription;
  readonly identifier: number;
  readonly wishes: Wishes | SubscribeRefusal;
}

export class Subscriptions {
  readonly #parts: SubscriptionsParts;
  #pending = 0;
  #closed = false;

  constructor(parts: SubscriptionsParts) {
    this.#parts = parts;
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
      begin: [],
      unanswered: subscriptions.length,
    };
    this.#pending++;
    for (const [at, subscription] of subscriptions.entries()) {
      // Taken back as long as it is not known to be true.
      pending.reasonCodes.push(ReasonCode.unspecifiedError);
      const answered = (answer: SubscribeReason | SubscribeRefusal): void => {
        this.#answered(pending, at, answer);
      };
      const request = { subscription, identifier, wishes };
      const now = this.#subscribeOne(pending, request, answered);
      if (now !== 'later') answered(now);
    }
  }

  /** The connection is over: nothing more is written, and the session keeps what it has. */
  close(): void {
    this.#closed = true;
  }

  #answered(pending: Pending, at: number, answer: SubscribeReason | SubscribeRefusal): void {
    const { reasonCodes, texts, begin } = pending;
    if (typeof answer === 'object') this.#refused(answer, texts);
    reasonCodes[at] = typeof answer === 'object' ? answer.reasonCode : answer;
    if (--pending.unanswered > 0) return;
    this.#pending--;
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
    for (const start of begin) start();
  }

  #refused({ text, limit }: SubscribeRefusal, texts: Set<string>): void {
    texts.add(text);
    if (limit !== undefined) this.#parts.context.counters.limited[limit]++;
  }

  #subscribeOne(
    pending: Pending,
    request: Request,
    answered: (answer: SubscribeReason | SubscribeRefusal) => void,
  ): SubscribeReason | SubscribeRefusal | 'later' {
    const { context, session, consumers } = this.#parts;
    const { filter, topicFilter } = request.subscription;
    const missing = notOffered(request.subscription, context.options);
    if (missing !== undefined) return missing;
    const ofQueue = filter.startsWith(QUEUE_PREFIX);
    const { maxTopicLevels, maxTopicLength } = context.broker;
    if (topicLevels(filter, maxTopicLevels) > maxTopicLevels) return TOO_DEEP;
    if (topicFilter.length > maxTopicLength) return TOO_LONG;
    const isNew = !session.subscriptions.has(topicFilter);
    const count = session.subscriptions.size + consumers.unanswered;
    if (isNew && count >= context.options.maxSubscriptions) return TOO_MANY;
    if (!ofQueue) {
      const replay = this.#subscribeTopic(request, isNew);
      if (replay !== undefined) pending.begin.push(replay);
      return request.subscription.qos;
    }
    if (this.#pending > MAX_PENDING) return TOO_MANY_PENDING;
    return this.#consume(request, answered);
  }

  /** What is to be done behind SUBACK. */
  #subscribeTopic(request: Request, isNew: boolean): (() => void) | undefined {
    const { context, session, outbound } = this.#parts;
    const { subscription, identifier } = request;
    const { topicFilter, filter, shareName: share } = subscription;
    const { qos, noLocal, retainAsPublished, retainHandling } = subscription;
    const options: SubscriptionOptions = { qos, noLocal, retainAsPublished, identifier, share };
    session.subscriptions.set(topicFilter, { ...options, filter, wish: undefined });
    context.broker.subscribe(session, filter, options);
    // Whose retained messages would they be (5.0 section 4.8.2)?
    if (share !== undefined) return undefined;
    if (retainHandling === 2 || (retainHandling === 1 && !isNew)) return undefined;
    const replay = (): void => {
      const cursor = context.broker.retained(filter);
      const identifiers = identifier === 0 ? [] : [identifier];
      outbound.replay({ cursor, qos, identifiers, next: undefined });
    };
    return () => {
      const upToNow = context.broker.retainedUpToNow();
      if (upToNow === undefined) replay();
      else {
        void upToNow.then(() => {
          if (!this.#closed && session.subscriptions.has(topicFilter)) replay();
        });
      }
    };
  }

  #consume(
    request: Request,
    answered: (answer: SubscribeReason | SubscribeRefusal) => void,
  ): SubscribeRefusal | 'later' {
    const { session } = this.#parts;
    const { subscription, wishes, identifier } = request;
    const wish = 'text' in wishes ? wishes : queueWish(subscription, wishes);
    if ('text' in wish) return wish;
    if (subscription.qos === 0) return QOS_0;
    const queue = this.#queue(wish);
    if (queue === undefined) return NO_QUEUE;
    const { topicFilter } = subscription;
    this.#parts.consumers.open(topicFilter, {
      queue,
      wish,
      identifier,
      answered: (refusal) => {
        if (this.#closed) return;
        if (refusal === undefined) this.#granted(subscription, identifier, wish);
        else session.subscriptions.delete(topicFilter);
        answered(refusal ?? ReasonCode.grantedQos1);
      },
    });
    return 'later';
  }

  #granted({ topicFilter, filter }: Subscription, identifier: number, wish: QueueWish): void {
    const options = { qos: 1, noLocal: false, retainAsPublished: false, identifier } as const;
    // Where it begins is done: when it is resumed, the group knows where it stands.
    const kept = { ...wish, start: undefined };
    this.#parts.session.subscriptions.set(topicFilter, { ...options, filter, wish: kept });
  }

  #queue({ queueName }: QueueWish): WantedConsumer['queue'] | undefined {
    const { broker } = this.#parts.context;
    return broker.queue(queueName) ?? broker.makeQueue(queueName);
  }

  /** Consumes again what a resumed session consumes; who finds nothing there hears it. */
  resume(): void {
    const { session, consumers } = this.#parts;
    for (const [topicFilter, { wish, identifier }] of session.subscriptions) {
      if (wish === undefined) continue;
      const queue = this.#queue(wish);
      const answered = (refusal: SubscribeRefusal | undefined): void => {
        if (refusal !== undefined && !this.#closed) this.#notResumed(topicFilter, refusal);
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
    end({ reasonCode: ReasonCode.administrativeAction, text: words });
  }

  unsubscribe({ packetId, topicFilters }: UnsubscribePacket): void {
    const { output, recipient, end } = this.#parts;
    const reasonCodes = topicFilters.map((filter) => this.#unsubscribeOne(filter));
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
    // One that was not granted yet is there too.
    if (consumers.close(topicFilter)) return ReasonCode.success;
    if (subscription === undefined) return ReasonCode.noSubscriptionExisted;
    context.broker.unsubscribe(session, subscription.filter, subscription.share);
    return ReasonCode.success;
  }
}

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
