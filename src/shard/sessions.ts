/**
 * All senders that a leader serves, each with a server of its own, and the one output of the
 * deliveries: it finds the server of each consumer. Consumers have a number of the shard here, and
 * one of their sender's own on the wire.
 *
 * A sender whose session ends without a word keeps what its consumers hold for `graceMs`: it comes
 * again, attaches them anew, and tells what they hold, which is theirs then (`claimed`). What it
 * does not claim never arrived, and is delivered again without an attempt; of a sender that does
 * not come again, or comes as another process, all is lost. Nothing is given to those who are
 * awaited, and nothing to its new consumers before it has claimed: what never arrived comes before
 * what is newer. All of it is soft state of the leader.
 */

import type { CancelReason, SettleAnswer } from '../broker/ports.ts';
import type { Effects } from '../machine/effect.ts';
import type { GroupId, Offset, QueueId } from '../machine/ids.ts';
import type { CloseHow, HoldFrame } from './client-frames.ts';
import type {
  AttachRequest,
  DeliveryHeader,
  DeliveryOutput,
  Dispatcher,
  SettleAsk,
  Settlement,
} from './dispatcher.ts';
import type { Grace } from './grace.ts';
import { LEASE_OVER_MS, type LeaseHolders } from './lease-holders.ts';
import type { StoredMessage } from './payloads.ts';
import type { BatchPort } from './port.ts';
import { ShardServer } from './server.ts';
import type { ServerDesk, ServerOptions } from './server.ts';

export interface SessionsOptions {
  readonly server: Omit<ServerOptions, 'port' | 'isRouted' | 'desk' | 'openStream'>;
  readonly dispatcher: () => Dispatcher;
  readonly grace: Grace;
  readonly leases: LeaseHolders;
  readonly graceMs: number;
  readonly monotonicMs: () => number;
}

interface Place {
  readonly node: string;
  /** The sender's own number. */
  readonly consumer: number;
  /** Undefined: its sender is awaited. */
  server: ShardServer | undefined;
  /** Its node has the messages. */
  readonly isNamed: boolean;
}

interface Asked {
  readonly server: ShardServer;
  readonly tag: number;
}

interface Awaited {
  readonly ids: readonly number[];
  readonly until: number;
}

export class Sessions implements DeliveryOutput, ServerDesk {
  readonly #options: SessionsOptions;
  /** The consumers of each server, by its sender's numbers. */
  readonly #servers = new Map<ShardServer, Map<number, number>>();
  readonly #byNode = new Map<string, ShardServer>();
  readonly #places = new Map<number, Place>();
  readonly #asked = new Map<number, Asked>();
  readonly #awaited = new Map<string, Awaited>();
  /** Senders whose stream is being opened. */
  readonly #opening = new Set<string>();
  #nextId = 1;
  #nextTag = 1;
  #lastNode = '';
  #lastServer: ShardServer | undefined;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** From now on the port is served. */
  begin(port: BatchPort, isRouted: boolean): void {
    const server = new ShardServer({
      ...this.#options.server,
      port,
      isRouted,
      desk: this,
      openStream: (node) => this.#openStream(node),
    });
    this.#servers.set(server, new Map());
    server.start();
  }

  /** Says what there is to say, and gives up senders that were awaited long enough. */
  post(): void {
    if (this.#awaited.size > 0) this.#giveUp();
    for (const server of this.#servers.keys()) server.post();
  }

  /** Monotonic milliseconds; Infinity: nobody is awaited. */
  get nextWake(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { until } of this.#awaited.values()) next = Math.min(next, until);
    return next;
  }

  fail(why: string): void {
    for (const server of this.#servers.keys()) server.fail(why);
  }

  // What apply did.

  confirmed(effects: Effects, at: number): void {
    const node = effects.node(at);
    if (node !== this.#lastNode) {
      this.#lastNode = node;
      this.#lastServer = this.#byNode.get(node);
    }
    this.#lastServer?.confirmed(effects, at);
  }

  streamOpened(node: string, boot: number): void {
    this.#opening.delete(node);
    this.#byNode.get(node)?.streamOpened(boot);
  }

  queueChanged(queueId: QueueId): void {
    for (const server of this.#servers.keys()) server.queueChanged(queueId);
  }

  /**
   * Resolves when every sender has worked off the queues as they are now, and none that is gone, or
   * has not come yet, may route by those of before; `LEASE_OVER_MS` from now at the latest, since
   * whoever has not heard of them by then has no lease.
   */
  async queuesTold(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LEASE_OVER_MS);
    });
    await Promise.race([this.#allTold(), late]);
    clearTimeout(timer);
  }

  async #allTold(): Promise<void> {
    const { leases } = this.#options;
    let isAnyGone = false;
    const told = [...this.#servers.keys()].map(async (server) => {
      if (await new Promise<boolean>((resolve) => server.whenTold(resolve))) return;
      this.#mayHold(server);
      isAnyGone = true;
    });
    await Promise.all([...told, leases.over()]);
    if (isAnyGone) await leases.over();
  }

  /** Its sender is not served here any more, unless by another server. */
  #mayHold(server: ShardServer): void {
    const { node } = server;
    if (node !== undefined && this.#byNode.get(node) === server) this.#options.leases.left(node);
  }

  // What the deliveries have to say.

  get open(): boolean {
    for (const server of this.#servers.keys()) if (server.open) return true;
    return false;
  }

  takes(id: number): boolean {
    const place = this.#places.get(id);
    if (place?.server?.open !== true) return false;
    return this.#awaited.size === 0 || !this.#awaited.has(place.node);
  }

  deliver(header: DeliveryHeader, message: StoredMessage): void {
    const place = this.#places.get(header.consumer);
    if (place?.server === undefined) return;
    header.consumer = place.consumer;
    if (place.isNamed) place.server.name(header, message.index);
    else place.server.deliver(header, message);
  }

  attached(id: number, group: { readonly groupId: GroupId; readonly name: string }): void {
    const place = this.#places.get(id);
    place?.server?.attached(place.consumer, group);
  }

  ended(id: number, offset: Offset, deliveryNumber: number): void {
    const place = this.#places.get(id);
    place?.server?.ended(place.consumer, offset, deliveryNumber);
  }

  cancelled(id: number, reason: CancelReason, detail: string): void {
    const place = this.#forget(id);
    place?.server?.cancelled(place.consumer, reason, detail);
  }

  settled(tag: number, answer: SettleAnswer): void {
    const asked = this.#asked.get(tag);
    this.#asked.delete(tag);
    asked?.server.settled(asked.tag, answer);
  }

  // What the senders ask for.

  greeted(server: ShardServer, node: string, boot: number): void {
    const before = this.#byNode.get(node);
    this.#byNode.set(node, server);
    this.#lastNode = '';
    if (before !== undefined && before !== server) {
      this.left(before);
      before.end();
    }
    this.#options.leases.came(node);
    // Another process: what the former one held is lost with it.
    if (boot === 0) this.#closeAwaited(node, 'lost');
  }

  attach(server: ShardServer, consumer: number, request: AttachRequest): void {
    if (server.node !== undefined && (request.again ?? '') === '') {
      this.#forgetAwaited(server.node, consumer);
    }
    const id = this.#nextId++;
    this.#servers.get(server)?.set(consumer, id);
    const isNamed = request.named === true;
    this.#places.set(id, { node: server.node ?? '', consumer, server, isNamed });
    this.#options.dispatcher().attach(id, request);
  }

  grant(server: ShardServer, consumer: number, deliveries: number): void {
    const id = this.#idOf(server, consumer);
    if (id !== undefined) this.#options.dispatcher().grant(id, deliveries);
  }

  hold(server: ShardServer, hold: HoldFrame): void {
    const id = this.#idOf(server, hold.consumer);
    if (id !== undefined) this.#options.dispatcher().hold(id, hold);
  }

  claimed({ node }: ShardServer): void {
    if (node === undefined) return;
    this.#closeAwaited(node, 'returned');
    this.#options.grace.claimed(node);
    this.#options.server.wake();
  }

  close(server: ShardServer, consumer: number, how: CloseHow): void {
    const id = this.#idOf(server, consumer);
    if (id === undefined) return;
    this.#forget(id);
    this.#options.dispatcher().close(id, how);
  }

  settle(settlement: Settlement): void {
    this.#options.dispatcher().settle(settlement);
  }

  ask(server: ShardServer, ask: SettleAsk): void {
    const tag = this.#nextTag++;
    this.#asked.set(tag, { server, tag: ask.tag });
    this.#options.dispatcher().ask({ ...ask, tag });
  }

  reopened(server: ShardServer): void {
    const dispatcher = this.#options.dispatcher();
    for (const id of this.#servers.get(server)?.values() ?? []) dispatcher.mayTake(id, true);
    dispatcher.resume();
  }

  left(server: ShardServer): void {
    const consumers = this.#servers.get(server);
    if (consumers === undefined) return;
    this.#servers.delete(server);
    const { node } = server;
    if (node === undefined) return;
    this.#mayHold(server);
    if (this.#byNode.get(node) === server) this.#byNode.delete(node);
    this.#lastNode = '';
    const ids = [...consumers.values()];
    for (const id of ids) {
      const place = this.#places.get(id);
      if (place !== undefined) place.server = undefined;
      this.#options.dispatcher().mayTake(id, false);
    }
    const others = this.#awaited.get(node)?.ids ?? [];
    if (ids.length + others.length === 0) return;
    const until = this.#options.monotonicMs() + this.#options.graceMs;
    this.#awaited.set(node, { ids: [...others, ...ids], until });
    this.#options.server.wake();
  }

  #openStream(node: string): void {
    if (this.#opening.has(node)) return;
    this.#opening.add(node);
    this.#options.server.proposals.plain({ kind: 'open-stream', node }, node);
  }

  #giveUp(): void {
    const now = this.#options.monotonicMs();
    for (const [node, { until }] of this.#awaited) {
      if (until <= now) this.#closeAwaited(node, 'lost');
    }
  }

  /** It never heard that it was attached, and holds nothing: it must not stand in its own way. */
  #forgetAwaited(node: string, consumer: number): void {
    const awaited = this.#awaited.get(node);
    const id = awaited?.ids.find((each) => this.#places.get(each)?.consumer === consumer);
    if (awaited === undefined || id === undefined) return;
    const ids = awaited.ids.filter((each) => each !== id);
    this.#awaited.set(node, { ids, until: awaited.until });
    this.#places.delete(id);
    this.#options.dispatcher().close(id, 'returned');
  }

  #closeAwaited(node: string, how: CloseHow): void {
    const awaited = this.#awaited.get(node);
    if (awaited === undefined) return;
    this.#awaited.delete(node);
    for (const id of awaited.ids) {
      this.#places.delete(id);
      this.#options.dispatcher().close(id, how);
    }
    const server = this.#byNode.get(node);
    if (server !== undefined) this.reopened(server);
    this.#options.server.wake();
  }

  #idOf(server: ShardServer, consumer: number): number | undefined {
    return this.#servers.get(server)?.get(consumer);
  }

  #forget(id: number): Place | undefined {
    const place = this.#places.get(id);
    this.#places.delete(id);
    if (place?.server !== undefined) this.#servers.get(place.server)?.delete(place.consumer);
    return place;
  }
}
