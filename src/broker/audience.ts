/**
 * Who subscribes to one filter, each once: one subscriber mostly, sometimes a few, sometimes very
 * many. There may be millions of filters, so a subscription is three words, and only a filter with
 * many subscribers has a map of them.
 */

import type { Subscriber, SubscriptionOptions } from './subscriber.ts';

const NO_LOCAL = 4;
const RETAIN_AS_PUBLISHED = 8;

/** The options of a subscription of one subscriber, without a share. */
export class Subscription {
  readonly subscriber: Subscriber;
  /** 0: none. */
  readonly identifier: number;
  readonly #bits: number;

  constructor(subscriber: Subscriber, options: SubscriptionOptions) {
    this.subscriber = subscriber;
    this.identifier = options.identifier;
    this.#bits =
      options.qos |
      (options.noLocal ? NO_LOCAL : 0) |
      (options.retainAsPublished ? RETAIN_AS_PUBLISHED : 0);
  }

  get qos(): 0 | 1 | 2 {
    return (this.#bits & 3) as 0 | 1 | 2;
  }

  get noLocal(): boolean {
    return (this.#bits & NO_LOCAL) !== 0;
  }

  get retainAsPublished(): boolean {
    return (this.#bits & RETAIN_AS_PUBLISHED) !== 0;
  }
}

/** So many are looked through one after the other. */
const FEW = 8;

/** More than one subscriber of the same filter. */
export class Audience {
  #subscriptions: Subscription[] | Map<Subscriber, Subscription> = [];

  get isEmpty(): boolean {
    const all = this.#subscriptions;
    return (all instanceof Map ? all.size : all.length) === 0;
  }

  /** True when its subscriber had none; otherwise that one is replaced. */
  set(subscription: Subscription): boolean {
    const { subscriber } = subscription;
    const all = this.#subscriptions;
    if (all instanceof Map) {
      const before = all.size;
      all.set(subscriber, subscription);
      return all.size > before;
    }
    const at = all.findIndex((each) => each.subscriber === subscriber);
    if (at >= 0) {
      all[at] = subscription;
      return false;
    }
    all.push(subscription);
    if (all.length > FEW) {
      this.#subscriptions = new Map(all.map((each) => [each.subscriber, each]));
    }
    return true;
  }

  /** False when it had none. */
  delete(subscriber: Subscriber): boolean {
    const all = this.#subscriptions;
    if (all instanceof Map) return all.delete(subscriber);
    const at = all.findIndex((each) => each.subscriber === subscriber);
    if (at >= 0) all.splice(at, 1);
    return at >= 0;
  }

  values(): Iterable<Subscription> {
    return this.#subscriptions.values();
  }
}
