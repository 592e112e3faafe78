/**
 * Publishes to ordinary topics: to the live subscribers at once, whatever becomes of the rest; into
 * the queues that capture the topic, that of retained messages, and that of a member of each share.
 *
 * A publish is one straight call: no promise, no closure. What has no append is done when it
 * returns, what has one is told by that, and what has several by `append-answers.ts`.
 */

import type { Committed } from '../machine/committed.ts';
import { AppendAnswers } from './append-answers.ts';
import type { BrokerCounters } from './broker-counters.ts';
import {
  type ChosenPublish,
  KeyedPublishes,
  isInstead,
  type KeyedPublishesParts,
  type Picked,
} from './keyed-publishes.ts';
import { KeptRetained } from './kept-retained.ts';
import type { Message } from './message.ts';
import type {
  Clock,
  EnqueueRefusal,
  EnqueueWaiter,
  Origin,
  PublishOutcome,
  Publisher,
  PublishWaiter,
  QueueClient,
  QueueId,
  Subscriber,
  Unlogged,
} from './ports.ts';
import { LivePublication, type PublishedFrom } from './publication.ts';
import type { Retained } from './retained.ts';
import type { Route } from './router.ts';
import { type Copy, ShareCopies } from './share-copies.ts';

const UNLOGGED = 0 as Unlogged;
const NO_COPIES: readonly Copy[] = [];

export interface TopicPublishesParts extends Pick<KeyedPublishesParts, 'publish' | 'release'> {
  readonly queues: QueueClient;
  readonly clock: Clock;
  readonly counters: BrokerCounters;
  readonly retained: Retained;
  /** As it is now; undefined: there can be none. */
  readonly routeOf: (topic: string) => Route | undefined;
  /** Something that nobody waits for is not stored. */
  readonly lost: () => void;
}

/** A publish, and where it goes. */
export interface RoutedPublish {
  readonly message: Message;
  readonly publisher: Publisher;
  /** Undefined: nobody waits. */
  readonly tag: number | undefined;
  readonly route: Route;
}

export class TopicPublishes {
  /** Undefined: what is retained is in memory alone. */
  readonly kept: KeptRetained | undefined;
  readonly copies: ShareCopies;
  readonly #parts: TopicPublishesParts;
  readonly #answers: AppendAnswers;
  readonly #keyed: KeyedPublishes;
  /** Hears what became of copies that nobody waits for. */
  readonly #losses: EnqueueWaiter = {
    enqueued: (_tag, outcome) => {
      if (typeof outcome === 'string') this.#parts.counters.captureLost++;
    },
  };
  readonly #waiters = new WeakMap<PublishWaiter, EnqueueWaiter>();

  constructor(parts: TopicPublishesParts) {
    this.#parts = parts;
    const { queues, clock, counters, retained: shown, routeOf, lost } = parts;
    const answers = new AppendAnswers({ lost, nowhere: UNLOGGED });
    this.#answers = answers;
    const source = queues.retained;
    if (source !== undefined)
      this.kept = new KeptRetained(queues, source, { shown, clock, answers });
    const sharesOf = (topic: string): Route['shares'] => routeOf(topic)?.shares ?? [];
    const copies = new ShareCopies({ queues, answers, clock, counters, sharesOf });
    this.copies = copies;
    const { publish, release } = parts;
    this.#keyed = new KeyedPublishes({
      sessions: () => queues.sessions,
      publish,
      publishChosen: (chosen) => this.#publishChosen(chosen),
      instead: copies.instead,
      release,
      known: UNLOGGED,
    });
  }

  publish(publish: RoutedPublish): PublishOutcome {
    const { message, publisher, tag, route } = publish;
    const queues = message.qos === 0 ? route.queuesAtQos0 : route.queues;
    const { key, origin } = publisher;
    if (key !== undefined && this.#takeKeyed(publish, queues)) return 'waiting';
    const copies = this.#publishLive(message, route, publisher);
    if (copies === 'retained-full') return copies;
    const { counters, queues: client } = this.#parts;
    if (route.unawaited.length > 0) this.#captureUnawaited(message, route, origin);
    if (queues.length > 0) counters.captured++;
    if (copies.length > 0 || (message.retain && this.kept !== undefined)) {
      this.#storeAll(publish, queues, copies);
      return 'waiting';
    }
    if (queues.length === 0) return UNLOGGED;
    const waiter = tag === undefined ? this.#losses : this.#waiterOf(publisher.waiter);
    client.enqueue(queues, message, origin, waiter, tag ?? 0, key);
    return 'waiting';
  }

  /** True: the log is asked first. */
  #takeKeyed({ message, publisher, tag, route }: RoutedPublish, queues: readonly QueueId[]) {
    const { shares } = route;
    const meetsShares = shares.some(({ durable }) => durable !== undefined);
    if (tag === undefined || (queues.length > 0 && !meetsShares)) return false;
    const pick = (): Picked => this.copies.pick(shares, message.qos, queues);
    return this.#keyed.take(message, publisher, { tag, pick: meetsShares ? pick : undefined });
  }

  /** The log knows which members of its shares get it; its queues have it under its key. */
  #publishChosen(publish: ChosenPublish): PublishOutcome {
    const { message, publisher, tag, key, chosen } = publish;
    const { origin, subscriber, waiter } = publisher;
    const route = this.#parts.routeOf(message.topic);
    if (route === undefined) return UNLOGGED;
    const publication = this.#retained(message, { origin, owned: true });
    if (publication === undefined) return 'retained-full';
    const { targets, queues } = route;
    if (chosen.isNew) this.fanOut(publication, { targets, shares: [] }, subscriber);
    const copies = this.#giveChosen(publish, publication, route);
    if (route.unawaited.length > 0) this.#captureUnawaited(message, route, origin);
    if (queues.length > 0) this.#parts.counters.captured++;
    const retained = message.retain ? this.kept : undefined;
    const others = (queues.length > 0 ? 1 : 0) + (retained === undefined ? 0 : 1);
    const outcomes = others + copies.length;
    if (outcomes === 0) return UNLOGGED;
    const place = this.#answers.begin({ topic: message.topic, waiter, tag, outcomes });
    const isKeyed = ({ keyed }: Copy): boolean =>
      keyed === undefined || !isInstead(chosen.choices, keyed.share);
    const parts = this.copies.partsOf(copies.filter(isKeyed), place);
    const { captured } = this.#answers;
    if (queues.length > 0) parts.push({ targets: queues, message, waiter: captured, tag: place });
    if (parts.length > 0) this.#parts.queues.enqueueParts(parts, origin, key);
    this.copies.store(
      copies.filter((copy) => !isKeyed(copy)),
      place,
    );
    retained?.store(message, origin, place);
    return 'waiting';
  }

  /** What is to be stored; what a first attempt delivered is not delivered again. */
  #giveChosen(
    { key, handle, picked, chosen }: ChosenPublish,
    publication: LivePublication,
    { shares, queues }: Route,
  ): readonly Copy[] {
    const taken = new Set(queues);
    const copies: (Copy | undefined)[] = [];
    for (const share of shares) {
      const { durable } = share;
      const choice = chosen.choices.find((each) => each.share === durable?.key);
      if (choice === undefined) {
        const member = durable && picked.live.get(durable.topicFilter);
        if (chosen.isNew) copies.push(this.copies.giveTo(member, publication, share));
      } else if (!taken.has(choice.queueId)) {
        // Where the queue has it already, that is its copy (section 3.3.4).
        taken.add(choice.queueId);
        const subscriber = picked.connected.get(choice.queueId);
        const { packetId } = key;
        const gift = { handle, packetId, share, subscriber };
        copies.push(this.copies.giveAs(choice, publication, gift));
      }
    }
    return copies.filter((copy) => copy !== undefined);
  }

  /** It has appends beside that to the queues that capture it. */
  #storeAll(
    { message, publisher, tag }: RoutedPublish,
    queues: readonly QueueId[],
    copies: readonly Copy[],
  ): void {
    const { kept } = this;
    const { origin, key, waiter } = publisher;
    const retained = message.retain ? kept : undefined;
    const others = (queues.length > 0 ? 1 : 0) + (retained === undefined ? 0 : 1);
    const place = this.#answers.begin({
      topic: message.topic,
      waiter: tag === undefined ? undefined : waiter,
      tag: tag ?? 0,
      outcomes: others + copies.length,
      isKeyed: key !== undefined,
    });
    const { captured } = this.#answers;
    if (queues.length > 0) {
      this.#parts.queues.enqueue(queues, message, origin, captured, place, key);
    }
    retained?.store(message, origin, place);
    this.copies.store(copies, place);
  }

  /** Made once for each waiter. */
  #waiterOf(waiter: PublishWaiter | undefined): EnqueueWaiter {
    if (waiter === undefined) return this.#losses;
    let made = this.#waiters.get(waiter);
    if (made === undefined) {
      made = { enqueued: (tag, outcome) => waiter.enqueued(tag, topicOutcome(outcome)) };
      this.#waiters.set(waiter, made);
    }
    return made;
  }

  /** All but what queues do, and what is to be stored for members of shares. */
  #publishLive(
    message: Message,
    route: Route,
    { origin, subscriber }: Publisher,
  ): readonly Copy[] | 'retained-full' {
    const { targets, shares } = route;
    if (targets.length === 0 && shares.length === 0 && !message.retain) return NO_COPIES;
    const publication = this.#retained(message, { origin, owned: false });
    if (publication === undefined) return 'retained-full';
    return this.fanOut(publication, route, subscriber);
  }

  /** It is retained, if it wants that; undefined: that is refused. */
  #retained(message: Message, from: PublishedFrom): LivePublication | undefined {
    const { clock, counters, retained } = this.#parts;
    // Without an expiry nobody asks when it was published, and the clock is spared.
    const publishedAtMs = message.properties?.expirySeconds === undefined ? 0 : clock.now();
    const publication = new LivePublication(message, publishedAtMs, from);
    if (!message.retain || (this.kept ?? retained).set(publication)) return publication;
    counters.retainedFull++;
    return undefined;
  }

  /** Gives what is to be stored for members of shares. */
  fanOut(
    publication: LivePublication,
    { targets, shares }: Pick<Route, 'targets' | 'shares'>,
    publisher: Subscriber | undefined,
  ): readonly Copy[] {
    publication.fanningOut = targets.length + shares.length > 1;
    const acknowledged = publication.message.qos > 0;
    for (const target of targets) {
      if (acknowledged && target.byQueue) continue;
      const match = target.match.subscriber === publisher ? target.ownMatch : target.match;
      if (match === undefined) continue;
      match.subscriber.deliver(publication, match);
      this.#parts.counters.fannedOut++;
    }
    let copies: Copy[] | undefined;
    for (const share of shares) {
      const copy = this.copies.give(publication, share);
      if (copy !== undefined) (copies ??= []).push(copy);
    }
    // Sessions that keep the message must not keep an encoder with it.
    publication.fanningOut = false;
    publication.encoder = undefined;
    return copies ?? NO_COPIES;
  }

  #captureUnawaited(message: Message, { unawaited }: Route, origin: Origin): void {
    const { counters, queues } = this.#parts;
    counters.captured++;
    queues.enqueue(unawaited, message, origin, this.#losses, 0);
  }
}

/** The queues that captured the topic are gone: then none takes it, which is no refusal. */
function topicOutcome(outcome: Committed | EnqueueRefusal): Committed | Unlogged | EnqueueRefusal {
  return outcome === 'no-queue' ? UNLOGGED : outcome;
}
