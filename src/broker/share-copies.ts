/**
 * What a share gives to whom (MQTT 5.0 section 4.8.2), on the node that has the publish:
 *
 *     a member that is connected here ---(clean session, or QoS 0)-----> delivered at once
 *        |  none takes it                \
 *        v                                +--(durable, QoS 1 and 2)-+
 *     a durable session that some node has -------------------------+--> stored in its queue
 *        |  there is none                                           |
 *        v                                                          |
 *     a durable session that is asleep -----------------------------+
 *
 * each kind in turn. What is stored is marked (`copy-mark.ts`), is that session's own from then on,
 * and the publish is acknowledged behind it. A member whose queue is full, or gone, is passed over
 * for the next one; then alone the message is kept in memory, until its place is answered. What a
 * crash loses was not acknowledged, or was delivered to a clean session.
 *
 * A QoS 2 publish of a durable session goes to members that the log knows of before
 * (`keyed-publishes.ts`), and is stored under its key. There a full queue is a refusal, and the
 * log is told of the member that takes the place of one that is gone.
 *
 * A clean session hands back what it did not finish, through `pass`.
 */

import type { AppendAnswers } from './append-answers.ts';
import type { BrokerCounters } from './broker-counters.ts';
import { marked } from './copy-mark.ts';
import type { DurableShare } from './durable-shares.ts';
import { remainingExpiry } from './message.ts';
import {
  type Clock,
  type Committed,
  type EnqueueRefusal,
  type EnqueueWaiter,
  type Origin,
  type Publication,
  type PublishPart,
  type QueueClient,
  type QueueId,
  SessionError,
  type SessionHandle,
  type ShareChoice,
  type Subscriber,
} from './ports.ts';
import { insteadOf, type Picked } from './keyed-publishes.ts';
import type { RoutedShare } from './router.ts';
import type { Member, PassedOver, SharedSubscription } from './shares.ts';

/** Members whose queue is asked for one message before its publisher is refused. */
const TRIES_MAX = 16;
/** The place of a message that nobody waits for. */
const NOWHERE = -1;
const NOBODY: readonly QueueId[] = [];

export interface ShareCopiesParts {
  readonly queues: Pick<QueueClient, 'enqueue' | 'queues' | 'sessions'>;
  readonly answers: AppendAnswers;
  readonly clock: Clock;
  readonly counters: BrokerCounters;
  /** The shares of a topic as they are now. */
  readonly sharesOf: (topic: string) => readonly RoutedShare[];
}

/** A publish that the log knows the members of. */
export interface KeyedCopy {
  readonly handle: SessionHandle;
  readonly packetId: number;
  /** Names the share. */
  readonly share: number;
}

/** What is stored for a member: chosen, or on its way into its queue. */
export interface Copy {
  readonly publication: Publication;
  readonly share: RoutedShare;
  /** Of the answers; `NOWHERE`: nobody waits. */
  place: number;
  queueId: QueueId;
  /** Where that is connected here. */
  subscriber: Subscriber | undefined;
  /** Members whose queue did not take it. */
  passedOver: QueueId[];
  /** One of those is full. */
  isRefused: boolean;
  /** Its bytes are its own: another member may have it. */
  readonly isKept: boolean;
  readonly keyed: KeyedCopy | undefined;
}

/** Who publishes it, and the share that it is for. */
export interface KeyedGift extends Pick<KeyedCopy, 'handle' | 'packetId'> {
  readonly share: RoutedShare;
  /** Of the member, where that was connected here when it was picked. */
  readonly subscriber: Subscriber | undefined;
}

export class ShareCopies implements EnqueueWaiter {
  /** Messages that no member took. */
  lost = 0;
  readonly #parts: ShareCopiesParts;
  /** By the tag of their append. */
  readonly #underWay: (Copy | undefined)[] = [];
  readonly #free: number[] = [];

  constructor(parts: ShareCopiesParts) {
    this.#parts = parts;
  }

  /** To a member at once, or for `store`; undefined: there is nothing to be stored. */
  give(publication: Publication, share: RoutedShare): Copy | undefined {
    const { qos } = publication.message;
    if (this.#lifeLeft(publication) === 0) return undefined;
    const found = choose(share, qos, NOBODY);
    if (found === undefined) {
      // At QoS 0 it is nobody's fault that nobody is connected.
      if (qos > 0 || share.local !== undefined) this.lost++;
      return undefined;
    }
    if (typeof found === 'object' && this.#delivered(publication, found)) return undefined;
    const isKept = hasOthers(share, found);
    if (isKept) publication.keep();
    return copyFor(found, { publication, share, isKept, keyed: undefined });
  }

  /** Each of them tells the answers at this place. */
  store(copies: readonly Copy[], place: number): void {
    for (const copy of copies) {
      copy.place = place;
      this.#append(copy);
    }
  }

  /** The same, under the key of their publish. */
  partsOf(copies: readonly Copy[], place: number): PublishPart[] {
    return copies.map((copy) => {
      copy.place = place;
      return this.#begin(copy);
    });
  }

  /** Members for a publish that its shares are to keep to; those with one of `queues` at last. */
  pick(shares: readonly RoutedShare[], qos: 0 | 1 | 2, queues: readonly QueueId[]): Picked {
    const taken = [...queues];
    const live = new Map<string, Member>();
    const connected = new Map<QueueId, Subscriber>();
    const choices: ShareChoice[] = [];
    for (const share of shares) {
      const { durable } = share;
      if (durable === undefined) continue;
      const found = choose(share, qos, taken) ?? choose(share, qos, NOBODY);
      if (found === undefined) continue;
      if (typeof found === 'object' && !isStored(found, qos)) {
        live.set(durable.topicFilter, found);
        continue;
      }
      const queueId = queueIdOf(found);
      choices.push({ share: durable.key, queueId });
      if (typeof found === 'object') connected.set(queueId, found.subscriber);
      taken.push(queueId);
    }
    return { live, choices, connected };
  }

  /** Others in place of members whose queue is gone. */
  readonly instead = (topic: string, choices: readonly ShareChoice[]): ShareChoice[] => {
    const { queues, sharesOf } = this.#parts;
    const gone = choices.filter(({ queueId }) => queues.queues.get(queueId) === undefined);
    if (gone.length === 0) return [];
    const shares = sharesOf(topic);
    const taken = choices.map(({ queueId }) => queueId);
    const instead: ShareChoice[] = [];
    for (const { durable } of shares) {
      if (durable === undefined || !gone.some(({ share }) => share === durable.key)) continue;
      const queueId = durableOf(durable, taken);
      if (queueId !== undefined) instead.push({ share: durable.key, queueId });
    }
    return instead;
  };

  /** To the member that was picked, or to another one if that is gone. */
  giveTo(
    member: Member | undefined,
    publication: Publication,
    share: RoutedShare,
  ): Copy | undefined {
    const isThere = member !== undefined && share.local?.has(member) === true;
    if (!isThere) return this.give(publication, share);
    if (this.#lifeLeft(publication) !== 0) this.#delivered(publication, member);
    return undefined;
  }

  /** For `partsOf`, as the log has it; the bytes of the publication are its own. */
  giveAs(chosen: ShareChoice, publication: Publication, of: KeyedGift): Copy | undefined {
    if (this.#lifeLeft(publication) === 0) return undefined;
    const { share, handle, packetId, subscriber } = of;
    const keyed = { handle, packetId, share: chosen.share };
    const copy = copyFor(chosen.queueId, { publication, share, isKept: true, keyed });
    return { ...copy, subscriber };
  }

  /** A clean session that was given it is gone; false: nobody takes it. */
  pass(of: SharedSubscription, publication: Publication): boolean {
    const { message } = publication;
    if (this.#lifeLeft(publication) === 0) return true;
    const share = this.#parts.sharesOf(message.topic).find((each) => isOf(each, of));
    const found = share && choose(share, message.qos, NOBODY);
    if (share === undefined || found === undefined) return false;
    if (typeof found === 'object' && this.#delivered(publication, found)) return true;
    this.#append(copyFor(found, { publication, share, isKept: true, keyed: undefined }));
    return true;
  }

  enqueued(tag: number, outcome: Committed | EnqueueRefusal): void {
    const copy = this.#underWay[tag] as Copy;
    this.#underWay[tag] = undefined;
    this.#free.push(tag);
    copy.subscriber?.underWay?.(-1);
    const isPassedOver = outcome === 'queue-full' || outcome === 'no-queue';
    if (isPassedOver) this.#again(copy, outcome);
    else this.#told(copy, outcome);
  }

  /** False: it is to be stored. */
  #delivered(publication: Publication, member: Member): boolean {
    if (isStored(member, publication.message.qos)) return false;
    const { subscriber, match } = member;
    subscriber.deliver(publication, match);
    this.#parts.counters.fannedOut++;
    return true;
  }

  /** Seconds; 0: it has expired; undefined: it never does, and nobody asks the clock. */
  #lifeLeft({ message, publishedAtMs }: Publication): number | undefined {
    if (message.properties?.expirySeconds === undefined) return undefined;
    return remainingExpiry(message, publishedAtMs, this.#parts.clock.now());
  }

  #append(copy: Copy): void {
    const { targets, message, waiter, tag } = this.#begin(copy);
    // Only what the broker itself says has none, at QoS 0.
    const origin = copy.publication.origin as Origin;
    this.#parts.queues.enqueue(targets, message, origin, waiter, tag);
  }

  #begin(copy: Copy): PublishPart {
    const { publication, share, queueId, subscriber } = copy;
    const tag = this.#free.pop() ?? this.#underWay.length;
    this.#underWay[tag] = copy;
    subscriber?.underWay?.(1);
    this.#parts.counters.captured++;
    const mark = { kind: 'share', filter: filterOf(share) } as const;
    const message = marked(publication.message, mark, this.#lifeLeft(publication));
    return { targets: [queueId], message, waiter: this, tag };
  }

  /** To the next member; where there is none, what was said counts. */
  #again(copy: Copy, refusal: 'queue-full' | 'no-queue'): void {
    const { publication, share, passedOver, isKept, keyed } = copy;
    if (keyed !== undefined && refusal === 'queue-full') {
      this.#told(copy, refusal);
      return;
    }
    passedOver.push(copy.queueId);
    copy.isRefused ||= refusal === 'queue-full';
    const mayGoOn = isKept && passedOver.length < TRIES_MAX && this.#lifeLeft(publication) !== 0;
    const found = mayGoOn ? choose(share, publication.message.qos, passedOver) : undefined;
    if (found === undefined) {
      if (copy.isRefused) this.#told(copy, 'queue-full');
      else this.#told(copy, passedOver.length < TRIES_MAX ? undefined : 'unavailable');
    } else if (typeof found === 'object' && this.#delivered(publication, found)) {
      this.#told(copy, undefined);
    } else {
      copy.queueId = queueIdOf(found);
      copy.subscriber = subscriberOf(found);
      if (keyed === undefined) this.#append(copy);
      else void this.#appendInstead(copy, keyed);
    }
  }

  /** Without the key, which may be taken in the shard of the queue. */
  async #appendInstead(copy: Copy, { handle, packetId, share }: KeyedCopy): Promise<void> {
    const choices = insteadOf({ share, queueId: copy.queueId });
    try {
      await this.#parts.queues.sessions.choose(handle, { packetId, choices, isInstead: true });
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      this.#told(copy, 'timeout');
      return;
    }
    this.#append(copy);
  }

  /** Undefined: there is nobody, or it was delivered. */
  #told({ place }: Copy, outcome: Committed | EnqueueRefusal | undefined): void {
    if (place !== NOWHERE) this.#parts.answers.told(place, outcome);
    else if (typeof outcome === 'string') this.lost++;
  }
}

function copyFor(
  found: Member | QueueId,
  of: Pick<Copy, 'publication' | 'share' | 'isKept' | 'keyed'>,
): Copy {
  const [queueId, subscriber] = [queueIdOf(found), subscriberOf(found)];
  return { ...of, place: NOWHERE, queueId, subscriber, passedOver: [], isRefused: false };
}

function queueIdOf(found: Member | QueueId): QueueId {
  return typeof found === 'object' ? (found.subscriber.queueId as QueueId) : found;
}

function subscriberOf(found: Member | QueueId): Subscriber | undefined {
  return typeof found === 'object' ? found.subscriber : undefined;
}

/** A member that is connected here, or the queue of one that is not. */
function choose(
  { local, durable }: RoutedShare,
  qos: 0 | 1 | 2,
  passedOver: readonly QueueId[],
): Member | QueueId | undefined {
  const member = local?.choose(qos, passing(passedOver));
  if (member !== undefined || qos === 0 || durable === undefined) return member;
  return durableOf(durable, passedOver);
}

function durableOf(durable: DurableShare, passedOver: readonly QueueId[]): QueueId | undefined {
  const isPassedOver = passing(passedOver);
  return durable.next('owned', isPassedOver) ?? durable.next('asleep', isPassedOver);
}

function passing(passedOver: readonly QueueId[]): PassedOver | undefined {
  return passedOver.length === 0 ? undefined : (queueId) => passedOver.includes(queueId);
}

/** At QoS 0 a durable session is no different from a clean one. */
function isStored({ subscriber, match }: Member, qos: 0 | 1 | 2): boolean {
  return subscriber.queueId !== undefined && match.qos > 0 && qos > 0;
}

/** Whether another member than this one might take it. */
function hasOthers({ local, durable }: RoutedShare, found: Member | QueueId): boolean {
  const connected = (local?.size ?? 0) - (typeof found === 'object' ? 1 : 0);
  if (connected > 0 || durable === undefined) return connected > 0;
  const durables = durable.count('owned') + durable.count('asleep');
  return durables > (durable.has(queueIdOf(found)) ? 1 : 0);
}

function isOf({ local, durable }: RoutedShare, { topicFilter }: SharedSubscription): boolean {
  return (local ?? durable)?.topicFilter === topicFilter;
}

function filterOf({ local, durable }: RoutedShare): string {
  return (local ?? durable)?.topicFilter ?? '';
}
