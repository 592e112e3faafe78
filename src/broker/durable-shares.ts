/**
 * Shares of ordinary topics that have members in durable sessions, on whichever node: as the
 * patterns of the sessions' queues tell them (`machine/session-patterns.ts`).
 *
 * A share lives from its first such member to its last, and is the same object all the time: who
 * comes, goes, falls asleep or wakes up makes no route stale, since routes name shares and not
 * their members. Who is chosen is whoever asks to decide; here they only take turns.
 */

import { createHash } from 'node:crypto';
import type { QueueId } from '../machine/ids.ts';
import type { QueueInfo } from './ports.ts';
import { TopicTrie } from './topic-trie.ts';

const SHARE_PREFIX = '$share/';
/** Among the patterns of a session: nobody has it. */
const ASLEEP_PATTERN = '$share/asleep';
/** Members that one choice looks at. */
const LOOKED_AT = 1024;
/** Of the digest that names a share; a safe integer has room for no more. */
const KEY_BYTES = 6;

/** `owned`: a node has the session; `asleep`: none has, and nothing is delivered from its queue. */
export type MemberState = 'owned' | 'asleep';

const STATES: readonly MemberState[] = ['owned', 'asleep'];

/** The members of a share that are in one state; they take turns. */
class Ring {
  readonly #members: QueueId[] = [];
  readonly #at = new Map<QueueId, number>();
  /** Where the next choice begins. */
  #next = 0;

  get size(): number {
    return this.#members.length;
  }

  has(queueId: QueueId): boolean {
    return this.#at.has(queueId);
  }

  add(queueId: QueueId): void {
    if (this.#at.has(queueId)) return;
    this.#at.set(queueId, this.#members.length);
    this.#members.push(queueId);
  }

  remove(queueId: QueueId): boolean {
    const at = this.#at.get(queueId);
    if (at === undefined) return false;
    this.#at.delete(queueId);
    const last = this.#members.pop() as QueueId;
    if (last !== queueId) {
      this.#members[at] = last;
      this.#at.set(last, at);
    }
    return true;
  }

  choose(isPassedOver: (queueId: QueueId) => boolean): QueueId | undefined {
    const count = this.#members.length;
    const start = this.#next < count ? this.#next : 0;
    const looked = Math.min(count, LOOKED_AT);
    for (let step = 0; step < looked; step++) {
      const at = (start + step) % count;
      const queueId = this.#members[at] as QueueId;
      if (isPassedOver(queueId)) continue;
      this.#next = at + 1;
      return queueId;
    }
    // The next time it begins further on all the same.
    this.#next = start + looked;
    return undefined;
  }
}

/** Live: what it says changes with its members. */
export class DurableShare {
  readonly name: string;
  /** What topics are matched against. */
  readonly filter: string;
  readonly #rings: Readonly<Record<MemberState, Ring>> = { owned: new Ring(), asleep: new Ring() };
  #key: number | undefined;

  constructor(name: string, filter: string) {
    this.name = name;
    this.filter = filter;
  }

  /** `$share/<name>/<filter>`, as its members subscribed. */
  get topicFilter(): string {
    return `${SHARE_PREFIX}${this.name}/${this.filter}`;
  }

  /** Names it in the log, alike on all nodes: the first 48 bits of SHA-256 of `<name>/<filter>`. */
  get key(): number {
    this.#key ??= createHash('sha256')
      .update(`${this.name}/${this.filter}`)
      .digest()
      .readUIntBE(0, KEY_BYTES);
    return this.#key;
  }

  count(state: MemberState): number {
    return this.#rings[state].size;
  }

  has(queueId: QueueId): boolean {
    return STATES.some((state) => this.#rings[state].has(queueId));
  }

  /**
   * The next one in its turn that is not passed over; undefined: there is none (among the 1,024
   * that one choice looks at).
   */
  next(
    state: MemberState,
    isPassedOver: (queueId: QueueId) => boolean = () => false,
  ): QueueId | undefined {
    return this.#rings[state].choose(isPassedOver);
  }

  /** It joins, or is in another state from now on. */
  put(queueId: QueueId, state: MemberState): void {
    this.#rings[state === 'owned' ? 'asleep' : 'owned'].remove(queueId);
    this.#rings[state].add(queueId);
  }

  /** True: it was the last one. */
  remove(queueId: QueueId): boolean {
    for (const state of STATES) this.#rings[state].remove(queueId);
    return STATES.every((state) => this.count(state) === 0);
  }
}

export const NO_DURABLE_SHARES: readonly DurableShare[] = [];

export class DurableShares {
  readonly #byFilter = new TopicTrie<DurableShare>();
  /** By the pattern that names it. */
  readonly #byPattern = new Map<string, DurableShare>();

  /** A queue is another one from now on, or has come or gone. True: so has a share. */
  replace(before: QueueInfo | undefined, now: QueueInfo | undefined): boolean {
    let isChanged = false;
    const staying = new Set<string>();
    if (now?.type === 'session' && now.topics.some(isSharePattern)) {
      const state = now.topics.includes(ASLEEP_PATTERN) ? 'asleep' : 'owned';
      for (const pattern of now.topics) {
        if (!isSharePattern(pattern)) continue;
        isChanged = this.#put(pattern, now.queueId, state) || isChanged;
        if (before?.queueId === now.queueId) staying.add(pattern);
      }
    }
    if (before?.type !== 'session') return isChanged;
    for (const pattern of before.topics) {
      if (!isSharePattern(pattern) || staying.has(pattern)) continue;
      isChanged = this.#remove(pattern, before.queueId) || isChanged;
    }
    return isChanged;
  }

  /** Those with a member that a message of this topic is for. */
  match(topic: string): readonly DurableShare[] {
    if (this.#byPattern.size === 0) return NO_DURABLE_SHARES;
    const found: DurableShare[] = [];
    this.#byFilter.match(topic, found);
    return found.length === 0 ? NO_DURABLE_SHARES : found;
  }

  #put(pattern: string, queueId: QueueId, state: MemberState): boolean {
    let share = this.#byPattern.get(pattern);
    const isNew = share === undefined;
    if (share === undefined) {
      const slash = pattern.indexOf('/', SHARE_PREFIX.length);
      const name = pattern.slice(SHARE_PREFIX.length, slash);
      share = new DurableShare(name, pattern.slice(slash + 1));
      this.#byPattern.set(pattern, share);
      this.#byFilter.add(share.filter, share);
    }
    share.put(queueId, state);
    return isNew;
  }

  #remove(pattern: string, queueId: QueueId): boolean {
    const share = this.#byPattern.get(pattern);
    if (share === undefined || !share.remove(queueId)) return false;
    this.#byPattern.delete(pattern);
    this.#byFilter.remove(share.filter, share);
    return true;
  }
}

/** It names a share, of which the session that has it is a member. */
function isSharePattern(pattern: string): boolean {
  return pattern.startsWith(SHARE_PREFIX) && pattern !== ASLEEP_PATTERN;
}

/** Of a session's pattern: it captures nothing. */
export function isOfShares({ type }: QueueInfo, pattern: string): boolean {
  return type === 'session' && pattern.startsWith(SHARE_PREFIX);
}
