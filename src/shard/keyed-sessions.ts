/**
 * In which shards the keys of sessions (of MQTT) may be: a release must reach every shard that was
 * asked for the key.
 *
 *     note(key, shards) ---> open: packetId -> shards ---(released)---> gone
 *
 * Kept only where a key went anywhere else than to the first shard, so that a node with one shard
 * pays for nothing; what is not known here was asked of the first alone. Bounded by the packet ids
 * (65,536) of each session that lives on this node.
 *
 * A durable session may come from another node, or from before a crash: nobody here knows where its
 * keys are, and so they are `everywhere` until it is forgotten.
 */

import type { PublishKey } from '../broker/ports.ts';

interface KeysOfSession<T> {
  /** By packet id. A key that was refused stays, until its id is used again or the session goes. */
  readonly open: Map<number, readonly T[]>;
  isEverywhere: boolean;
}

export class KeyedSessions<T> {
  readonly #first: readonly T[];
  readonly #all: () => readonly T[];
  readonly #sessions = new Map<string, KeysOfSession<T>>();
  /** Keys went to the first shard and were not noted. */
  #unnoted = false;

  /** `all`: every shard there is. */
  constructor(first: T, all: () => readonly T[]) {
    this.#first = [first];
    this.#all = all;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The key may be in the first one; noted where that is not the only one for its session. */
  toFirst(key: PublishKey): void {
    this.#unnoted = true;
    if (this.#sessions.has(key.session)) this.note(key, this.#first);
  }

  /** The key may be in these from now on; each is there once. */
  note({ session, packetId }: PublishKey, shards: readonly T[]): void {
    let keys = this.#sessions.get(session);
    if (keys === undefined) {
      keys = { open: new Map(), isEverywhere: false };
      this.#sessions.set(session, keys);
    }
    if (keys.isEverywhere) return;
    const before = keys.open.get(packetId) ?? (this.#unnoted ? this.#first : undefined);
    const all = before === undefined ? shards : union(before, shards);
    keys.open.set(packetId, all);
  }

  /** Where the key may be; undefined: nowhere but in the first one. */
  of({ session, packetId }: PublishKey): readonly T[] | undefined {
    const keys = this.#sessions.get(session);
    return keys?.isEverywhere === true ? this.#all() : keys?.open.get(packetId);
  }

  /** Its keys may be in any shard. */
  everywhere(session: string): void {
    this.#sessions.set(session, { open: new Map(), isEverywhere: true });
  }

  /** It is not of this node any more; it has not ended. */
  forget(session: string): void {
    this.#sessions.delete(session);
  }

  /** The key is nowhere any more. */
  released({ session, packetId }: PublishKey): void {
    this.#sessions.get(session)?.open.delete(packetId);
  }
}

function union<T>(before: readonly T[], more: readonly T[]): readonly T[] {
  const missing = more.filter((each) => !before.includes(each));
  return missing.length === 0 ? before : [...before, ...missing];
}
