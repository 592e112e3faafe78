/**
 * What makes one shard of this node reachable from all: the route of its own client to whoever
 * leads, and the links over which other nodes use it. Part of the composition of the shards'
 * thread.
 *
 * Made before the shard, because the shard tells who leads while it opens, and outlives it: a shard
 * that is opened anew is found by `shard`.
 */

import { systemClock } from '#raft';
import { nodeOf } from './cluster/server-id.ts';
import type { PeerTransport } from './cluster/peer-transport.ts';
import { LeaderRoute } from './shard/leader-route.ts';
import type { LeaderRouteOptions } from './shard/leader-route.ts';
import { LinksOfShard } from './shard/links-of-shard.ts';
import type { BatchPort } from './shard/port.ts';
import { encodeRecord } from './shard/record-codec.ts';
import { type ShardRequest, encodeStats } from './shard/requests.ts';
import type { Shard } from './shard/shard.ts';
import type { ShardLead } from './shard/shard-options.ts';
import type { Logger } from './telemetry/logger.ts';

export interface ForwardParts {
  readonly number: number;
  /** Undefined: it is being opened. */
  readonly shard: () => Shard | undefined;
  readonly node: string;
  /** To the client of this node. */
  readonly port: BatchPort;
  readonly peers: PeerTransport;
  readonly logger: Logger;
  /** Streams are read from the replica of this node (`cluster.distribution_mode`). */
  readonly readsReplica: boolean;
}

export class Forwarding {
  readonly #route: LeaderRoute;
  readonly #logger: Logger;
  readonly #number: number;
  readonly #shard: () => Shard | undefined;

  constructor({ number, shard, node, port, peers, logger, readsReplica }: ForwardParts) {
    this.#logger = logger;
    this.#number = number;
    this.#shard = shard;
    const serve = (session: BatchPort): boolean => shard()?.serve(session) === true;
    const route = (): LeaderRoute => this.#route;
    const links = new LinksOfShard({ shard: number, logger, route, serve });
    this.#route = new LeaderRoute({
      node,
      port,
      serve,
      link: (other) => links.to(other),
      answer: (request) => this.#answer(request),
      after: (ms, action) => systemClock.after(ms, action),
      ...(readsReplica ? { replica: this.#replica() } : {}),
    });
    peers.link({ opened: (end) => links.opened(end), accepted: (end) => links.accepted(end) });
  }

  onLead(lead: ShardLead): void {
    const leader = lead.kind === 'there' ? nodeOf(lead.server) : lead.kind;
    this.#logger.info({ shard: this.#number, leader }, 'the leader of the shard');
    this.#route.leads(lead.kind === 'there' ? { kind: 'there', node: nodeOf(lead.server) } : lead);
  }

  /** The shard is open, or open anew. */
  opened(): void {
    this.#route.opened();
  }

  get messagesRead(): number {
    return this.#route.messagesRead;
  }

  close(): void {
    this.#route.close();
  }

  #replica(): NonNullable<LeaderRouteOptions['replica']> {
    return {
      // One that is about to be replaced has failed.
      reads: () => {
        const shard = this.#shard();
        return shard?.failure === undefined ? shard?.reads : undefined;
      },
      told: (why) => {
        const words = 'a stream is not read from the replica of this node any more';
        this.#logger.warn({ shard: this.#number, why }, words);
      },
    };
  }

  /** What is asked of this node alone. */
  async #answer({ kind }: ShardRequest): Promise<Uint8Array> {
    const shard = this.#shard();
    if (shard === undefined) throw new Error('the shard is not open yet');
    if (kind === 'stats') return encodeStats(await shard.statsOfAll());
    if (kind !== 'stop') throw new Error(`no node answers ${kind} alone`);
    await shard.stop();
    return encodeRecord(null);
  }
}
