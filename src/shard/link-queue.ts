/**
 * What waits to go over a link, in order: a link takes nothing more while too much is on its way.
 * Bounded by what its users put in: the window of a client one way, what a server may have
 * outstanding the other way.
 */

import { linkHeader } from './link-frames.ts';
import type { LinkEnd, LinkKind } from './peer-links.ts';

const NOTHING = new Uint8Array(0);

export class LinkQueue {
  readonly #end: LinkEnd;
  readonly #shard: number;
  #waiting: (readonly Uint8Array[])[] = [];

  constructor(end: LinkEnd, shard: number) {
    this.#end = end;
    this.#shard = shard;
  }

  get waitingBytes(): number {
    return this.#waiting.reduce((bytes, parts) => bytes + (parts[1]?.length ?? 0), 0);
  }

  say(kind: LinkKind, session: number, body: Uint8Array = NOTHING): void {
    const parts = [linkHeader(kind, session), body];
    if (this.#waiting.length > 0 || !this.#end.send(this.#shard, parts)) this.#waiting.push(parts);
  }

  room(): void {
    let sent = 0;
    for (const parts of this.#waiting) {
      if (!this.#end.send(this.#shard, parts)) break;
      sent++;
    }
    this.#waiting.splice(0, sent);
  }
}
