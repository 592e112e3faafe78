/**
 * The links of this node, for each of its shards: whoever uses them for one shard hears what is of
 * that shard, and of the links that were there before it came.
 *
 * A node that asks for a shard which nobody serves here is told so: it goes on to another one. A
 * link that a user cannot be told of from within its own call is told in a later turn. Keeps
 * nothing of what is said.
 */

import { readLinkFrame } from './link-frames.ts';
import { LinkQueue } from './link-queue.ts';
import type { LinkEnd, LinkListener, LinkUser } from './peer-links.ts';
import { LinkKind } from './peer-links.ts';
import { CodecError } from './wire.ts';

type Way = keyof LinkUser;

/** One life of a link. */
interface Open {
  readonly way: Way;
  readonly end: LinkEnd;
  /** By shard. */
  readonly listeners: Map<number, LinkListener>;
  /** What is told to those who ask for shards that are not here, by shard. */
  readonly refusals: Map<number, LinkQueue>;
}

export class LinksByShard implements LinkUser {
  readonly #shardsMax: number;
  readonly #users = new Map<number, LinkUser>();
  readonly #open = new Set<Open>();

  constructor(shardsMax: number) {
    this.#shardsMax = shardsMax;
  }

  /** Once for each shard. */
  use(shard: number, user: LinkUser): void {
    if (this.#users.has(shard)) throw new Error(`the links of shard ${shard} have their user`);
    this.#users.set(shard, user);
    for (const open of this.#open) {
      open.refusals.delete(shard);
      open.listeners.set(shard, user[open.way](open.end));
    }
  }

  opened(end: LinkEnd): LinkListener {
    return this.#begin('opened', end);
  }

  accepted(end: LinkEnd): LinkListener {
    return this.#begin('accepted', end);
  }

  #begin(way: Way, end: LinkEnd): LinkListener {
    const open: Open = { way, end, listeners: new Map(), refusals: new Map() };
    this.#open.add(open);
    for (const [shard, user] of this.#users) open.listeners.set(shard, user[way](end));
    return {
      received: (shard, bytes) => {
        const listener = open.listeners.get(shard);
        if (listener !== undefined) listener.received(shard, bytes);
        else if (way === 'accepted') this.#refuse(open, shard, bytes);
      },
      room: () => {
        for (const queue of open.refusals.values()) queue.room();
        for (const listener of open.listeners.values()) listener.room();
      },
      down: () => {
        this.#open.delete(open);
        for (const listener of open.listeners.values()) listener.down();
      },
    };
  }

  /** A word that cannot be read has nobody who waits for an answer. */
  #refuse({ end, refusals }: Open, shard: number, bytes: Uint8Array): void {
    if (shard >= this.#shardsMax) return;
    const queue = refusals.get(shard) ?? new LinkQueue(end, shard);
    refusals.set(shard, queue);
    try {
      const { kind, session } = readLinkFrame(bytes);
      if (kind === LinkKind.begin) queue.say(LinkKind.end, session);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
    }
  }
}
