/**
 * Under which names the shard in memory keeps the keys of QoS 2 publishes, where several nodes have
 * one each. A release goes to the shards of the node on which the session is then, and to no other
 * node's memory. So what a node has in memory of a session counts only as long as nobody else owned
 * that, a *span* of owner epochs without a gap; each span has a name of its own:
 *
 *     <session>/<first epoch>     session 7/x:  claimed 3, 4 here   ->  7/x/3
 *                                               claimed 5 elsewhere
 *                                               claimed 6 here      ->  7/x/6, and 7/x/3 ends
 *
 * No key of an earlier span is ever taken for one of a later span, in whatever order publishes and
 * the end of that name come to the shard. So a message is never lost; one that came here before
 * another node owned the session, and comes once more after that, is stored twice
 * (docs/decisions/0053-keys-in-memory.md).
 *
 * One entry for each session that the shard in memory was asked to keep keys of, until its life is
 * over. Another node may end that, and tells nobody: so when the entries have grown by a half the
 * shards of the sessions are asked which lives are over. So they are as many as the sessions that
 * there may be (`sessions.max_sessions`) and half as many; where nobody answers for long, twice as
 * many. Then the span that was begun first is over: what was sent in it, and is sent again, is
 * stored twice.
 */

import type { PublishKey } from '../broker/ports.ts';
import { keyNamesByShard, keyOwnerOf } from './key-names.ts';

/** So few are kept without asking. */
const SPARE = 1_024;
/** That are asked about at once, as by `keys-sweep.ts`. */
const PAGE = 512;
/** So many spans for each session that there may be. */
const LIMIT_FACTOR = 2;
const GROWTH = 1.5;

export interface KeysInMemoryParts {
  /** Other nodes may own the sessions too. */
  readonly isShared: boolean;
  /** That there may be, on all nodes. */
  readonly sessionsMax: number;
  /** The shard in memory forgets what it has under the name. */
  readonly end: (name: string) => void;
  /**
   * Of these lives, which are of sessions of the shard, those that are over for good. None: nobody
   * knows. Never rejects.
   */
  readonly over: (shard: number, sessions: readonly string[]) => Promise<readonly string[]>;
  /** Default: `SPARE`. */
  readonly spare?: number;
}

/** first <= last. */
interface Span {
  readonly name: string;
  readonly first: number;
  /** The last owner epoch of this node. */
  last: number;
}

export class KeysInMemory {
  readonly #parts: KeysInMemoryParts;
  readonly #spare: number;
  /** In the order in which they were begun. */
  readonly #spans = new Map<string, Span>();
  /** So many are there when it is asked next. */
  #askAt: number;
  #isAsking = false;
  /** Spans that were over for want of room. */
  #crowdedOut = 0;

  constructor(parts: KeysInMemoryParts) {
    this.#parts = parts;
    this.#spare = parts.spare ?? SPARE;
    this.#askAt = this.#spare;
  }

  get size(): number {
    return this.#spans.size;
  }

  /** `size` is never higher. */
  get limit(): number {
    return LIMIT_FACTOR * this.#parts.sessionsMax + this.#spare;
  }

  get crowdedOut(): number {
    return this.#crowdedOut;
  }

  /** This node owns it from now on; to be called before anything is published as that owner. */
  claimed(session: string, ownerEpoch: number): void {
    const span = this.#spans.get(session);
    if (span === undefined || ownerEpoch <= span.last) return;
    if (ownerEpoch === span.last + 1) span.last = ownerEpoch;
    else this.#over(session, span);
  }

  /** As the shard in memory is to be told it. */
  published<K extends PublishKey>(key: K): K {
    const { session, ownerEpoch } = key;
    if (!this.#parts.isShared) return key;
    let span = this.#spans.get(session);
    if (span !== undefined && ownerEpoch > span.last) {
      this.#over(session, span);
      span = undefined;
    }
    if (span === undefined && isOfWill(session)) return key;
    return named(key, span ?? this.#begin(session, ownerEpoch));
  }

  #begin(session: string, ownerEpoch: number): Span {
    const [oldest] = this.#spans;
    if (oldest !== undefined && this.#spans.size >= this.limit) {
      this.#crowdedOut += 1;
      this.#over(...oldest);
    }
    const name = this.#nameOf(session, ownerEpoch);
    const span = { name, first: ownerEpoch, last: ownerEpoch };
    this.#spans.set(session, span);
    if (this.#spans.size > this.#askAt && !this.#isAsking) void this.#ask();
    return span;
  }

  /**
   * Never given twice: the end of one that was crowded out may come behind publishes of the next
   * one, which may have the same first epoch.
   */
  #nameOf(session: string, first: number): string {
    const name = `${session}/${first}`;
    return this.#crowdedOut === 0 ? name : `${name}.${this.#crowdedOut}`;
  }

  /** Which lives are over; those that nobody can place are passed over. */
  async #ask(): Promise<void> {
    this.#isAsking = true;
    for (const [shard, sessions] of keyNamesByShard(this.#spans.keys())) {
      for (let at = 0; at < sessions.length; at += PAGE) {
        const over = await this.#parts.over(shard, sessions.slice(at, at + PAGE));
        for (const session of over) this.ended(session);
      }
    }
    this.#isAsking = false;
    this.#askAt = Math.max(this.#spans.size * GROWTH, this.#spare);
  }

  /** The same of a release, for which nothing is remembered. */
  released(key: PublishKey): PublishKey {
    const span = this.#spans.get(key.session);
    return span === undefined ? key : named(key, span);
  }

  /** Its life is over. */
  ended(session: string): void {
    const span = this.#spans.get(session);
    if (span !== undefined) this.#over(session, span);
    this.#parts.end(session);
  }

  #over(session: string, { name }: Span): void {
    this.#spans.delete(session);
    this.#parts.end(name);
  }
}

/** It is published once, whoever does it: no owner comes between who could have released it. */
function isOfWill(session: string): boolean {
  return keyOwnerOf(session)?.will !== undefined;
}

/** What an owner of an earlier span says late has the plain name, which nobody else uses. */
function named<K extends PublishKey>(key: K, { first, name }: Span): K {
  return key.ownerEpoch < first ? key : { ...key, session: name };
}
