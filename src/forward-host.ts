/**
 * What makes one shard reachable from this node and this node's replica from all others: the routes
 * of its own client and of its own thread to whoever leads, and the links over which other nodes
 * use the replica. Part of the composition of the shards' thread.
 *
 * Made before the replica, because that tells who leads while it opens, and outlives it: one that
 * is opened anew is found by `shard`. A node without a replica of the shard, or whose replica knows
 * no leader, asks the hosts of the shard in turn.
 */

import { systemClock } from '#raft';
import { AdminError } from './broker/ports.ts';
import { nodeOf } from './cluster/server-id.ts';
import { LeaderAsks } from './shard/leader-asks.ts';
import { type Lead, LeaderRoute, type LeaderRouteOptions } from './shard/leader-route.ts';
import type { LinksByShard } from './shard/links-by-shard.ts';
import { LinksOfShard } from './shard/links-of-shard.ts';
import { type BatchPort, loopback } from './shard/port.ts';
import { encodeRecord } from './shard/record-codec.ts';
import { type ShardRequest, encodeStats, isRetainedRequest } from './shard/requests.ts';
import type { Shard } from './shard/shard.ts';
import type { ShardLead } from './shard/shard-options.ts';
import type { Logger } from './telemetry/logger.ts';

export interface ForwardParts {
  readonly number: number;
  readonly node: string;
  /** To the client of this node; undefined: it speaks to the replica itself. */
  readonly port: BatchPort | undefined;
  /** Undefined: this node is alone. */
  readonly links: LinksByShard | undefined;
  readonly logger: Logger;
  /** Streams are read from the replica of this node (`cluster.distribution_mode`). */
  readonly readsReplica: boolean;
}

/** Two routes use the links of a shard: each has the numbers of its sessions to itself. */
const CLIENT_SESSIONS = { first: 1, step: 2 };
const OWN_SESSIONS = { first: 2, step: 2 };

export class Forwarding {
  /** Undefined: there is no replica here, or it is being opened. */
  shard: () => Shard | undefined = () => undefined;
  readonly #parts: ForwardParts;
  readonly #links: LinksOfShard | undefined;
  readonly #routes: LeaderRoute[] = [];
  #asks: LeaderAsks | undefined;
  /** As the replica knows it. */
  #lead: Lead = { kind: 'nobody' };
  /** Other nodes that are said to have a replica. */
  #hosts: readonly string[] = [];

  constructor(parts: ForwardParts) {
    this.#parts = parts;
    const { number, links, port, logger } = parts;
    if (links !== undefined) {
      this.#links = new LinksOfShard({
        shard: number,
        logger,
        routes: () => this.#routes,
        serve: (session) => this.#serve(session),
        leader: () => this.#leader,
      });
      links.use(number, this.#links);
    }
    if (port !== undefined) this.#addRoute(port, CLIENT_SESSIONS);
  }

  /** Requests of this thread to whoever leads. */
  get asks(): LeaderAsks {
    if (this.#asks !== undefined) return this.#asks;
    const [near, far] = loopback();
    this.#asks = new LeaderAsks({
      port: near,
      monotonicMs: () => performance.now(),
      after: (ms, action) => systemClock.after(ms, action),
    });
    this.#addRoute(far, OWN_SESSIONS);
    return this.#asks;
  }

  onLead(lead: ShardLead): void {
    const { number, logger } = this.#parts;
    const leader = lead.kind === 'there' ? nodeOf(lead.server) : lead.kind;
    logger.info({ shard: number, leader }, 'the leader of the shard');
    this.#lead = lead.kind === 'there' ? { kind: 'there', node: leader } : lead;
    this.#told();
  }

  /** Nodes that are said to have a replica; this one may be among them. */
  hosts(nodes: readonly string[]): void {
    this.#hosts = nodes.filter((node) => node !== this.#parts.node);
    if (this.#lead.kind === 'nobody') this.#told();
  }

  /** The shard is open, or open anew. */
  opened(): void {
    for (const route of this.#routes) route.opened();
  }

  get messagesRead(): number {
    return this.#routes.reduce((messages, route) => messages + route.messagesRead, 0);
  }

  close(): void {
    this.#asks?.close();
    for (const route of this.#routes) route.close();
  }

  get #leader(): string {
    if (this.#lead.kind === 'here') return this.#parts.node;
    return this.#lead.kind === 'there' ? this.#lead.node : '';
  }

  #addRoute(port: BatchPort, sessions: typeof CLIENT_SESSIONS): void {
    const route = new LeaderRoute({
      node: this.#parts.node,
      port,
      sessions,
      serve: (session) => this.#serve(session),
      link: (other) => this.#links?.to(other),
      answer: (request) => this.#answer(request),
      instead: (node, leader) => this.#instead(node, leader),
      after: (ms, action) => systemClock.after(ms, action),
      ...(this.#parts.readsReplica && sessions === CLIENT_SESSIONS
        ? { replica: this.#replica() }
        : {}),
    });
    this.#routes.push(route);
    route.leads(this.#guess);
  }

  #told(): void {
    for (const route of this.#routes) route.leads(this.#guess);
  }

  get #guess(): Lead {
    const [first] = this.#hosts;
    if (this.#lead.kind !== 'nobody' || first === undefined) return this.#lead;
    return { kind: 'there', node: first };
  }

  /** The replica's word counts; without one the hosts are asked in turn. */
  #instead(node: string, leader: string): string | undefined {
    if (this.#lead.kind !== 'nobody' || this.#hosts.length === 0) return undefined;
    if (leader !== '' && leader !== node && leader !== this.#parts.node) return leader;
    return this.#hosts[(this.#hosts.indexOf(node) + 1) % this.#hosts.length];
  }

  #serve(session: BatchPort): boolean {
    return this.shard()?.serve(session) === true;
  }

  #replica(): NonNullable<LeaderRouteOptions['replica']> {
    return {
      // One that is about to be replaced has failed.
      reads: () => {
        const shard = this.shard();
        return shard?.failure === undefined ? shard?.reads : undefined;
      },
      told: (why) => {
        const words = 'a stream is not read from the replica of this node any more';
        this.#parts.logger.warn({ shard: this.#parts.number, why }, words);
      },
    };
  }

  /** What is asked of this node alone. */
  async #answer(request: ShardRequest): Promise<Uint8Array> {
    const { kind } = request;
    const shard = this.shard();
    if (isRetainedRequest(request)) {
      if (shard !== undefined) return encodeRecord(await shard.retained.answer(request));
      throw new AdminError('unavailable', 'this node has no replica of the shard now');
    }
    if (kind === 'stats') return encodeStats((await shard?.statsOfAll()) ?? new Map());
    if (kind !== 'stop') throw new Error(`no node answers ${kind} alone`);
    await shard?.stop();
    return encodeRecord(null);
  }
}
