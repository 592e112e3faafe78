/**
 * Links between nodes of one process: ordered bytes, in lists that move when the test says so. A
 * link takes a bounded number of bytes, and says when it has room again; a node that leaves or is
 * cut off takes its links down, and they come again as other ones.
 */

import type { LinkEnd, LinkListener, LinkUser } from '../../src/shard/peer-links.ts';

const ROOM_BYTES = 64 * 1024;

class Half {
  readonly listener: () => LinkListener | undefined;
  sent = 0;
  #waiting: [shard: number, bytes: Uint8Array][] = [];
  #bytes = 0;
  #wasRefused = false;

  constructor(listener: () => LinkListener | undefined) {
    this.listener = listener;
  }

  send(shard: number, parts: readonly Uint8Array[]): boolean {
    const bytes = new Uint8Array(Buffer.concat(parts));
    if (this.#bytes > 0 && this.#bytes + bytes.length > ROOM_BYTES) {
      this.#wasRefused = true;
      return false;
    }
    this.#waiting.push([shard, bytes]);
    this.#bytes += bytes.length;
    this.sent += bytes.length;
    return true;
  }

  /** True: the sender is to hear that there is room. */
  carry(): boolean {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    for (const [shard, bytes] of waiting) this.listener()?.received(shard, bytes);
    const isRoom = this.#wasRefused;
    this.#wasRefused = false;
    return isRoom;
  }
}

interface Link {
  readonly from: string;
  readonly to: string;
  readonly there: Half;
  readonly back: Half;
  user: LinkListener | undefined;
  server: LinkListener | undefined;
}

export class MemoryLinks {
  readonly #users = new Map<string, LinkUser>();
  readonly #isolated = new Set<string>();
  /** Nodes whose links are up and carry nothing. */
  readonly stalled = new Set<string>();
  readonly #mayLink: (from: string, to: string) => boolean;
  #links: Link[] = [];

  /** `mayLink`: both of them know each other; whoever changes that calls `look`. */
  constructor(mayLink: (from: string, to: string) => boolean = () => true) {
    this.#mayLink = mayLink;
  }

  look(): void {
    this.#down(({ from, to }) => !this.#mayLink(from, to));
    this.#connect();
  }

  join(node: string, user: LinkUser): void {
    this.#users.set(node, user);
    this.#connect();
  }

  leave(node: string): void {
    this.#users.delete(node);
    this.#down((link) => link.from === node || link.to === node);
  }

  isolate(node: string): void {
    this.#isolated.add(node);
    this.#down((link) => link.from === node || link.to === node);
  }

  heal(): void {
    this.#isolated.clear();
    this.#connect();
  }

  /** Bytes that this node has put into the links that are up. */
  sentBy(node: string): number {
    let sent = 0;
    for (const { from, to, there, back } of this.#links) {
      if (from === node) sent += there.sent;
      if (to === node) sent += back.sent;
    }
    return sent;
  }

  /** Every link breaks once, and comes again. */
  breakAll(): void {
    this.#down(() => true);
    this.#connect();
  }

  carry(): void {
    for (const link of this.#links) {
      if (this.stalled.has(link.from) || this.stalled.has(link.to)) continue;
      if (link.there.carry()) link.user?.room();
      if (link.back.carry()) link.server?.room();
    }
  }

  #connect(): void {
    for (const from of this.#users.keys()) {
      for (const to of this.#users.keys()) {
        const isThere = this.#links.some((link) => link.from === from && link.to === to);
        const isCut = this.#isolated.has(from) || this.#isolated.has(to);
        if (from === to || isThere || isCut || !this.#mayLink(from, to)) continue;
        this.#open(from, to);
      }
    }
  }

  #open(from: string, to: string): void {
    const link: Link = {
      from,
      to,
      there: new Half(() => link.server),
      back: new Half(() => link.user),
      user: undefined,
      server: undefined,
    };
    this.#links.push(link);
    const endOf = (half: Half, node: string): LinkEnd => ({
      node,
      send: (shard, parts) => this.#links.includes(link) && half.send(shard, parts),
    });
    link.server = this.#users.get(to)?.accepted(endOf(link.back, from));
    link.user = this.#users.get(from)?.opened(endOf(link.there, to));
  }

  #down(which: (link: Link) => boolean): void {
    const down = this.#links.filter(which);
    this.#links = this.#links.filter((link) => !down.includes(link));
    for (const { user, server } of down) {
      user?.down();
      server?.down();
    }
  }
}
