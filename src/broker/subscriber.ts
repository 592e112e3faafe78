/**
 * Live subscriptions, a part of the ports of the broker (`ports.ts`): what a subscriber asks for,
 * what reaches it, and who else may get it in its place.
 *
 * Nothing here outlives the process. A delivery is one call, without a promise or a closure.
 */

import type { QueueId } from '../machine/ids.ts';
import type { Origin } from './consumer.ts';
import type { Message } from './message.ts';

/** A message on its way to live subscribers; one object for all of them. */
export interface Publication {
  /** Its bytes are views that are valid during the call only, unless `keep` was called. */
  readonly message: Message;
  /** Undefined: the broker itself. */
  readonly origin: Origin | undefined;
  /** By the broker's clock; message expiry counts from here. */
  readonly publishedAtMs: number;
  /**
   * While a message goes to several subscribers: the encoder that the first of them made, left for
   * the next. Undefined before, and after the last. Never set it on a publication that is not
   * `fanningOut`.
   */
  encoder: object | undefined;
  /** True while it goes to more than one subscriber. */
  readonly fanningOut: boolean;
  /** Makes its bytes the publication's own: one copy, however many subscribers keep it. */
  keep(): void;
}

export interface SubscriptionOptions {
  /** The highest QoS that the subscriber wants. */
  readonly qos: 0 | 1 | 2;
  /** Its own publishes do not come back through this subscription. */
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** MQTT subscription identifier; 0 = none. */
  readonly identifier: number;
  /** The share that it is a member of; absent: every message is for it. */
  readonly share?: string | undefined;
}

/**
 * All subscriptions of one subscriber that match a topic, as one: it gets one copy
 * ([MQTT-3.3.5-1]).
 */
export interface Match {
  readonly subscriber: Subscriber;
  /** The highest of the matching subscriptions. */
  readonly qos: 0 | 1 | 2;
  readonly retainAsPublished: boolean;
  readonly identifiers: readonly number[];
  /** Undefined: no other subscriber was to have it in its place. */
  readonly share: Share | undefined;
}

/** The members of one shared subscription: each message is for one of them. */
export interface Share {
  /**
   * Gives a message to another member than the one that got it and did not finish, which is gone;
   * its bytes are its own. False: nobody takes it.
   */
  pass(publication: Publication): boolean;
}

/** Implemented by a frontend; somebody is connected to it. */
export interface Subscriber {
  /**
   * Of a durable session: its queue. What that captures comes from there and not through `deliver`;
   * live it gets what is published at QoS 0, and what it subscribes to at QoS 0 alone.
   */
  readonly queueId?: QueueId | undefined;
  deliver(publication: Publication, match: Match): void;
  /**
   * What goes before a message of that QoS, by which a share chooses its member: 0, it would go at
   * once; Infinity, it would be dropped.
   */
  backlog(qos: 0 | 1 | 2): number;
  /** A copy of a share goes into its queue from now on, or (-1) what became of that is known. */
  underWay?(copies: 1 | -1): void;
}

/** Walks over the retained messages of one filter, a bounded number of steps a call. */
export interface RetainedCursor {
  /**
   * `more`: the steps are used up; call again. A message that changes meanwhile is seen old or new,
   * once.
   */
  advance(maxSteps: number): Publication | 'more' | 'done';
}
