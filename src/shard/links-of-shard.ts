/**
 * The links of this node, as one shard of its uses them: the route of its own client goes out over
 * those that it opened, and sessions of other nodes come in over those that it accepted.
 *
 * A node that asks for a session and is not led from here hears who leads. A link that goes down
 * ends its sessions at both ends. A word that cannot be read is told and passed over: the nodes are
 * of one cluster, and what a session lacks then ends it.
 */

import type { AlarmLog } from './alarms.ts';
import { LinkQueue } from './link-queue.ts';
import { readLinkFrame } from './link-frames.ts';
import type { LinkFrame } from './link-frames.ts';
import type { LeaderRoute } from './leader-route.ts';
import { LinkKind } from './peer-links.ts';
import type { LinkEnd, LinkListener, LinkUser } from './peer-links.ts';
import type { BatchPort } from './port.ts';
import { SessionPort } from './session-port.ts';
import { CodecError, ownBytes } from './wire.ts';

export interface LinksOfShardOptions {
  readonly shard: number;
  readonly logger: AlarmLog;
  /** Those of this node to the shard; each has sessions of its own. */
  routes(): Iterable<LeaderRoute>;
  /** A session at this node's shard; false: it does not serve. */
  serve(port: BatchPort): boolean;
  /** The node that leads, as far as this one knows; '': nobody. */
  leader(): string;
}

export class LinksOfShard implements LinkUser {
  readonly #options: LinksOfShardOptions;
  /** Those that this node opened, by the node at the other end. */
  readonly #out = new Map<string, LinkQueue>();

  constructor(options: LinksOfShardOptions) {
    this.#options = options;
  }

  /** Undefined: there is none now. */
  to(node: string): LinkQueue | undefined {
    return this.#out.get(node);
  }

  opened(end: LinkEnd): LinkListener {
    const { node } = end;
    const queue = new LinkQueue(end, this.#options.shard);
    this.#out.set(node, queue);
    // In a later turn: nothing may be sent from within this call.
    setImmediate(() => {
      if (this.#out.get(node) !== queue) return;
      for (const route of this.#options.routes()) route.linked(node);
    });
    return {
      received: (shard, bytes) => this.#read(shard, bytes, (frame) => this.#heard(frame)),
      room: () => queue.room(),
      down: () => {
        if (this.#out.get(node) !== queue) return;
        this.#out.delete(node);
        for (const route of this.#options.routes()) route.unlinked(node);
      },
    };
  }

  accepted(end: LinkEnd): LinkListener {
    const queue = new LinkQueue(end, this.#options.shard);
    const sessions = new Map<number, SessionPort>();
    return {
      received: (shard, bytes) =>
        this.#read(shard, bytes, (frame) => this.#asked(frame, { queue, sessions })),
      room: () => queue.room(),
      down: () => {
        for (const port of sessions.values()) port.end();
        sessions.clear();
      },
    };
  }

  /** From the one that leads. */
  #heard({ kind, session, body }: LinkFrame): void {
    const leader = kind === LinkKind.end ? new TextDecoder().decode(body) : '';
    for (const route of this.#options.routes()) {
      if (kind === LinkKind.batch) route.said(session, body);
      else if (kind === LinkKind.end) route.refused(session, leader);
    }
  }

  /** From a node that uses the shard here. */
  #asked({ kind, session, body }: LinkFrame, on: Accepted): void {
    const { queue, sessions } = on;
    switch (kind) {
      case LinkKind.begin:
        this.#begin(session, on);
        return;
      case LinkKind.batch:
        // Its bytes go into the log, and outlive what they came in.
        sessions.get(session)?.take(ownBytes(body));
        return;
      case LinkKind.end:
        sessions.get(session)?.end();
        sessions.delete(session);
        return;
      default:
        queue.say(LinkKind.end, session);
    }
  }

  #begin(session: number, { queue, sessions }: Accepted): void {
    const port = new SessionPort({
      say: (bytes) => queue.say(LinkKind.batch, session, bytes),
      closed: () => {
        sessions.delete(session);
        queue.say(LinkKind.end, session);
      },
    });
    if (this.#options.serve(port)) sessions.set(session, port);
    else queue.say(LinkKind.end, session, new TextEncoder().encode(this.#options.leader()));
  }

  #read(shard: number, bytes: Uint8Array, take: (frame: LinkFrame) => void): void {
    if (shard !== this.#options.shard) return;
    try {
      take(readLinkFrame(bytes));
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      const { code, message: detail } = error;
      this.#options.logger.error({ code, detail }, 'a word of another node cannot be read');
    }
  }
}

interface Accepted {
  readonly queue: LinkQueue;
  readonly sessions: Map<number, SessionPort>;
}
