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
 * over here or it is published behind a gap. The shard refuses more than a million; what it refused
 * has an entry all the same.
 */

import type { PublishKey } from '../broker/ports.ts';

/** first <= last. */
interface Span {
  readonly first: number;
  /** The last owner epoch of this node. */
  last: number;
}

export class KeysInMemory {
  readonly #isShared: boolean;
  readonly #end: (name: string) => void;
  readonly #spans = new Map<string, Span>();

  /** `end`: the shard in memory forgets what it has under the name. */
  constructor(isShared: boolean, end: (name: string) => void) {
    this.#isShared = isShared;
    this.#end = end;
  }

  get size(): number {
    return this.#spans.size;
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
    if (!this.#isShared) return key;
    const { session, ownerEpoch } = key;
    let span = this.#spans.get(session);
    if (span !== undefined && ownerEpoch > span.last) {
      this.#over(session, span);
      span = undefined;
    }
    if (span === undefined) {
      span = { first: ownerEpoch, last: ownerEpoch };
      this.#spans.set(session, span);
    }
    return named(key, span);
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
    this.#end(session);
  }

  #over(session: string, { first }: Span): void {
    this.#spans.delete(session);
    this.#end(nameOf(session, first));
  }
}

/** What an owner of an earlier span says late has the plain name, which nobody else uses. */
function named<K extends PublishKey>(key: K, { first }: Span): K {
  return key.ownerEpoch < first ? key : { ...key, session: nameOf(key.session, first) };
}

function nameOf(session: string, first: number): string {
  return `${session}/${first}`;
}
