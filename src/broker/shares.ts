/**
 * Shared subscriptions (MQTT 5.0 section 4.8.2): the members of each share of each filter, and
 * which of them gets a message.
 *
 * In turn, but a member that has to wait is passed over for one that has not; so a slow member
 * delays nobody. Who is not connected gets something only while no member is, and then at QoS 1 and
 * 2 alone. The cost of a message does not grow with the members: so many are looked at and no more.
 *
 * A share keeps no message. What a member got and did not finish, its session hands back through
 * `pass`; nothing here decides what may be handed back. In memory, as every subscription is.
 */

import type { Match, Publication, Share, Subscriber, SubscriptionOptions } from './ports.ts';
import { TopicTrie } from './topic-trie.ts';

/** Members that are asked how busy they are before the least busy one is chosen. */
const LOOKED_AT = 32;
/** The same where all of these would drop the message. */
const LOOKED_AT_FULL = 1024;

interface Member {
  readonly subscriber: Subscriber;
  match: Match;
  /** Its place among those that are like it: connected, or not. */
  at: number;
  connected: boolean;
}

/** Members of one share that are all connected, or all not. */
class Ring {
  readonly #members: Member[] = [];
  /** Where the next choice begins. */
  #next = 0;

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

  /** The first in turn that would send it at once, or else the one with the least before it. */
  choose(qos: 0 | 1 | 2, except: Subscriber | undefined): Member | undefined {
    const count = this.#members.length;
    const start = this.#next < count ? this.#next : 0;
    let chosen: Member | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (let step = 0; step < count && least > 0; step++) {
      if (step >= (chosen === undefined ? LOOKED_AT_FULL : LOOKED_AT)) break;
      const member = this.#members[(start + step) % count];
      if (member === undefined || member.subscriber === except) continue;
      const granted = member.match.qos;
      const backlog = member.subscriber.backlog(qos < granted ? qos : granted);
      if (backlog >= least) continue;
      least = backlog;
      chosen = member;
    }
    // Where all would drop it, the next time begins further on all the same.
    this.#next = chosen === undefined ? start + LOOKED_AT_FULL : chosen.at + 1;
    return chosen;
  }
}

export class SharedSubscription implements Share {
  readonly filter: string;
  readonly #connected = new Ring();
  readonly #away = new Ring();
  readonly #lost: () => void;

  constructor(filter: string, lost: () => void) {
    this.filter = filter;
    this.#lost = lost;
  }

  get isEmpty(): boolean {
    return this.#connected.size === 0 && this.#away.size === 0;
  }

  add(member: Member): void {
    (member.connected ? this.#connected : this.#away).add(member);
  }

  remove(member: Member): void {
    (member.connected ? this.#connected : this.#away).remove(member);
  }

  /** False: no member took it. It counts as lost, but for QoS 0 while nobody is connected. */
  deliver(publication: Publication): boolean {
    if (this.#give(publication, undefined, 'all')) return true;
    if (publication.message.qos > 0 || this.#connected.size > 0) this.#lost();
    return false;
  }

  pass(publication: Publication, from: Subscriber, reach: 'connected' | 'all'): boolean {
    return this.#give(publication, from, reach);
  }

  #give(
    publication: Publication,
    except: Subscriber | undefined,
    reach: 'connected' | 'all',
  ): boolean {
    const { qos } = publication.message;
    const connected = this.#connected.choose(qos, except);
    const others = this.#connected.size === 0 && reach === 'all';
    const member = connected ?? (others ? this.#away.choose(qos, except) : undefined);
    if (member === undefined) return false;
    member.subscriber.deliver(publication, member.match);
    return true;
  }
}

interface Membership {
  readonly share: SharedSubscription;
  readonly member: Member;
}

export class Shares {
  /** Messages that no member took. */
  lost = 0;
  readonly #byFilter = new TopicTrie<SharedSubscription>();
  /** By `keyOf`. */
  readonly #byKey = new Map<string, SharedSubscription>();
  readonly #memberships = new Map<Subscriber, Map<string, Membership>>();
  #size = 0;

  /** Members of all shares together. */
  get size(): number {
    return this.#size;
  }

  /** Whether the filter has a share that it had not, whose routes are to be found anew. */
  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions): boolean {
    const key = keyOf(options.share ?? '', filter);
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
      share = new SharedSubscription(filter, () => void this.lost++);
      this.#byKey.set(key, share);
      this.#byFilter.add(filter, share);
    }
    const match = matchOf(subscriber, share, options);
    const member: Member = { subscriber, match, at: 0, connected: true };
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
    if (!share.isEmpty) return false;
    this.#byKey.delete(key);
    this.#byFilter.remove(filter, share);
    return true;
  }

  setConnected(subscriber: Subscriber, connected: boolean): void {
    for (const { share, member } of this.#memberships.get(subscriber)?.values() ?? []) {
      if (member.connected === connected) continue;
      share.remove(member);
      member.connected = connected;
      share.add(member);
    }
  }

  match(topic: string): readonly SharedSubscription[] {
    if (this.#byKey.size === 0) return NO_SHARES;
    const found: SharedSubscription[] = [];
    this.#byFilter.match(topic, found);
    return found;
  }
}

export const NO_SHARES: readonly SharedSubscription[] = [];

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
