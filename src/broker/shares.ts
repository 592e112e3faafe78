/**
 * The members that shared subscriptions have on this node (MQTT 5.0 section 4.8.2): of each share
 * of each filter those that are connected, and which of them a message is for.
 *
 * In turn, but a member that has to wait is passed over for one that has not; so a slow member
 * delays nobody. The cost of a message does not grow with the members: so many are looked at and no
 * more. Whether it is delivered or stored, and who gets it where nobody is connected here, is told
 * by `share-copies.ts`. In memory, as every live subscription is.
 */

import type { QueueId } from '../machine/ids.ts';
import type { Match, Publication, Share, Subscriber, SubscriptionOptions } from './ports.ts';
import { TopicTrie } from './topic-trie.ts';

/** Members that are asked how busy they are before the least busy one is chosen. */
const LOOKED_AT = 32;
/** The same where all of these would drop the message. */
const LOOKED_AT_FULL = 1024;

export interface Member {
  readonly subscriber: Subscriber;
  match: Match;
  /** Its place among those of its share. */
  at: number;
}

/** True: that session is not to be chosen. */
export type PassedOver = (queueId: QueueId) => boolean;

/** What was not finished by a member that is gone; false: nobody takes it. */
export type PassOn = (share: SharedSubscription, publication: Publication) => boolean;

export class SharedSubscription implements Share {
  readonly name: string;
  readonly filter: string;
  readonly #members: Member[] = [];
  readonly #passOn: PassOn;
  /** Where the next choice begins. */
  #next = 0;

  constructor(name: string, filter: string, passOn: PassOn) {
    this.name = name;
    this.filter = filter;
    this.#passOn = passOn;
  }

  /** As its members subscribed. */
  get topicFilter(): string {
    return `$share/${this.name}/${this.filter}`;
  }

  get size(): number {
    return this.#members.length;
  }

  add(member: Member): void {
    member.at = this.#members.length;
    this.#members.push(member);
  }

  remove(member: Member): void {
    const last = this.#members.pop();
    if (last === undefined || last === member) return;
    last.at = member.at;
    this.#members[member.at] = last;
  }

  has(member: Member): boolean {
    return this.#members[member.at] === member;
  }

  pass(publication: Publication): boolean {
    return this.#passOn(this, publication);
  }

  /**
   * The first in turn that would send it at once, or else the one with the least before it;
   * undefined: each would drop it, or there is none.
   */
  choose(qos: 0 | 1 | 2, isPassedOver?: PassedOver): Member | undefined {
    const count = this.#members.length;
    const start = this.#next < count ? this.#next : 0;
    let chosen: Member | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (let step = 0; step < count && least > 0; step++) {
      if (step >= (chosen === undefined ? LOOKED_AT_FULL : LOOKED_AT)) break;
      const member = this.#members[(start + step) % count];
      if (member === undefined) continue;
      const { subscriber, match } = member;
      if (isPassedOver !== undefined && isLeftOut(subscriber, isPassedOver)) continue;
      const backlog = subscriber.backlog(qos < match.qos ? qos : match.qos);
      if (backlog >= least) continue;
      least = backlog;
      chosen = member;
    }
    // Where all would drop it, the next time begins further on all the same.
    this.#next = chosen === undefined ? start + LOOKED_AT_FULL : chosen.at + 1;
    return chosen;
  }
}

function isLeftOut({ queueId }: Subscriber, isPassedOver: PassedOver): boolean {
  return queueId !== undefined && isPassedOver(queueId);
}

interface Membership {
  readonly share: SharedSubscription;
  readonly member: Member;
}

export class Shares {
  readonly #passOn: PassOn;
  readonly #byFilter = new TopicTrie<SharedSubscription>();
  /** By `keyOf`. */
  readonly #byKey = new Map<string, SharedSubscription>();
  readonly #memberships = new Map<Subscriber, Map<string, Membership>>();
  #size = 0;

  constructor(passOn: PassOn) {
    this.#passOn = passOn;
  }

  /** Members of all shares together. */
  get size(): number {
    return this.#size;
  }

  /** Whether the filter has a share that it had not, whose routes are to be found anew. */
  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions): boolean {
    const name = options.share ?? '';
    const key = keyOf(name, filter);
    let own = this.#memberships.get(subscriber);
    if (own === undefined) {
      own = new Map();
      this.#memberships.set(subscriber, own);
    }
    const known = own.get(key);
    if (known !== undefined) {
      known.member.match = matchOf(subscriber, known.share, options);
      return false;
    }
    let share = this.#byKey.get(key);
    const isNew = share === undefined;
    if (share === undefined) {
      share = new SharedSubscription(name, filter, this.#passOn);
      this.#byKey.set(key, share);
      this.#byFilter.add(filter, share);
    }
    const match = matchOf(subscriber, share, options);
    const member: Member = { subscriber, match, at: 0 };
    share.add(member);
    own.set(key, { share, member });
    this.#size++;
    return isNew;
  }

  /** Undefined: there was none. Otherwise whether the filter has a share less. */
  unsubscribe(subscriber: Subscriber, filter: string, shareName: string): boolean | undefined {
    const key = keyOf(shareName, filter);
    const own = this.#memberships.get(subscriber);
    const membership = own?.get(key);
    if (own === undefined || membership === undefined) return undefined;
    own.delete(key);
    if (own.size === 0) this.#memberships.delete(subscriber);
    const { share, member } = membership;
    share.remove(member);
    this.#size--;
    if (share.size > 0) return false;
    this.#byKey.delete(key);
    this.#byFilter.remove(filter, share);
    return true;
  }

  match(topic: string): readonly SharedSubscription[] {
    if (this.#byKey.size === 0) return NO_SHARES;
    const found: SharedSubscription[] = [];
    this.#byFilter.match(topic, found);
    return found;
  }
}

const NO_SHARES: readonly SharedSubscription[] = [];

/** The name of a share has no slash in it. */
function keyOf(share: string, filter: string): string {
  return `${share}/${filter}`;
}

function matchOf(
  subscriber: Subscriber,
  share: SharedSubscription,
  options: SubscriptionOptions,
): Match {
  const { qos, retainAsPublished, identifier } = options;
  const identifiers = identifier === 0 ? [] : [identifier];
  return { subscriber, qos, retainAsPublished, identifiers, share };
}
