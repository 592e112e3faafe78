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
 * keys are, and so they are `everywhere` until it is forgotten. Another node may have used a shard
 * that this one has not reached, or of which it has not heard:
 *
 *     everywhere ---(none was missing as of then)---> sure, for as long as it is of this node
 *         |  ^
 *         v  |  asked again by the next release
 *       unsure
 *
 * Shards that come later have no key from before.
 */

import type { PublishKey } from '../broker/ports.ts';

interface KeysOfSession<T> {
  /** By packet id. A key that was refused stays, until its id is used again or the session goes. */
  readonly open: Map<number, readonly T[]>;
  isEverywhere: boolean;
  /** That made it so; 0: its life began here. */
  readonly ownerEpoch: number;
  /** Every shard that may have a key of it from before is among `all`. */
  isSure: boolean;
  asking: Promise<boolean> | undefined;
}

export class KeyedSessions<T> {
  readonly #first: readonly T[];
  readonly #all: () => readonly T[];
  readonly #isNoneMissing: () => Promise<boolean>;
  readonly #sessions = new Map<string, KeysOfSession<T>>();
  /** Keys went to the first shard and were not noted. */
  #unnoted = false;

  /**
   * `all`: every shard that this node has reached. `isNoneMissing`: whether those are all that
   * there were when it was called; false: nobody knows. Never rejects.
   */
  constructor(first: T, all: () => readonly T[], isNoneMissing: () => Promise<boolean>) {
    this.#first = [first];
    this.#all = all;
    this.#isNoneMissing = isNoneMissing;
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
      keys = newKeys({ isEverywhere: false, ownerEpoch: 0 });
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

  /** It is of this node from now on, and its keys may be in any shard. */
  everywhere(session: string, ownerEpoch: number): void {
    const keys = newKeys<T>({ isEverywhere: true, ownerEpoch });
    this.#sessions.set(session, keys);
    void this.#ask(keys);
  }

  /**
   * Undefined: `of` has every shard where the key may be. Otherwise resolves with whether it has
   * them now.
   */
  unsure({ session }: PublishKey): Promise<boolean> | undefined {
    const keys = this.#sessions.get(session);
    return keys === undefined || keys.isSure ? undefined : this.#ask(keys);
  }

  #ask(keys: KeysOfSession<T>): Promise<boolean> {
    keys.asking ??= this.#isNoneMissing().then((isSure) => {
      keys.isSure = isSure;
      keys.asking = undefined;
      return isSure;
    });
    return keys.asking;
  }

  /** This owner of it is over; a later one may be of this node, and be heard of before. */
  forget(session: string, ownerEpoch: number): void {
    const keys = this.#sessions.get(session);
    if (keys !== undefined && keys.ownerEpoch <= ownerEpoch) this.#sessions.delete(session);
  }

  ended(session: string): void {
    this.#sessions.delete(session);
  }

  /** The key is nowhere any more. */
  released({ session, packetId }: PublishKey): void {
    this.#sessions.get(session)?.open.delete(packetId);
  }
}

function newKeys<T>(of: Pick<KeysOfSession<T>, 'isEverywhere' | 'ownerEpoch'>): KeysOfSession<T> {
  return { ...of, open: new Map(), isSure: !of.isEverywhere, asking: undefined };
}

function union<T>(before: readonly T[], more: readonly T[]): readonly T[] {
  const missing = more.filter((each) => !before.includes(each));
  return missing.length === 0 ? before : [...before, ...missing];
}
