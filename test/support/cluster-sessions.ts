/**
 * Durable sessions in a fault schedule: one that publishes exactly once and one that is subscribed,
 * both of which go from node to node, also while the node before still has them.
 *
 * The publisher has one message for each queue under way, each under a packet id that is used again
 * as soon as its release is confirmed, and repeats what nobody answered from wherever it is next.
 */

import { expect } from 'vitest';
import type { Random } from '../../raft/simulation/random.ts';
import type { Delivery, QueueConsumer, SessionHandle } from '../../src/broker/ports.ts';
import { ORIGIN, messageOf, textOf } from './cluster-clients.ts';
import type { ClusterClients, Seat } from './cluster-clients.ts';
import type { ClusterLedger } from './cluster-ledger.ts';

export const SESSION_EVENTS = [
  'session taken over',
  'keyed publish repeated',
  'release repeated',
  'delivered to an owner',
] as const;
export type SessionEvent = (typeof SESSION_EVENTS)[number];

export interface ClusterSessionOptions {
  readonly clientId: string;
  readonly random: Random;
  readonly ledger: ClusterLedger;
  readonly clients: ClusterClients;
  readonly saw: (what: SessionEvent) => void;
}

/** As long as a schedule, and longer. */
const EXPIRY_SECONDS = 36_000;
const LIMITS = { maxMessages: 1_000_000, maxBytes: 0, overflow: 'drop-head' } as const;
/** Without any answer, in steps: the client loses patience, and connects again. */
const PATIENCE = 1_200;
const CREDIT = 20;
/** So many steps a node may take to notice that a connection is over. */
const LATE = 200;

/** Where a session is, and as whose; another object each time. */
interface Stay {
  readonly seat: Seat;
  handle: SessionHandle | undefined;
  consumer: QueueConsumer | undefined;
  heardAt: number;
}

/** A client that connects, and now and then somewhere else. */
abstract class Traveller {
  protected readonly options: ClusterSessionOptions;
  protected stay: Stay | undefined;
  protected steps = 0;
  /** Its connections that have ended, and of which nobody was told so far. */
  readonly #left: { readonly stay: Stay; readonly at: number }[] = [];

  constructor(options: ClusterSessionOptions) {
    this.options = options;
  }

  step(): void {
    const { random, clients } = this.options;
    this.steps += 1;
    while ((this.#left[0]?.at ?? Number.POSITIVE_INFINITY) <= this.steps) this.#leave();
    const { stay } = this;
    const isGone = stay !== undefined && !clients.seats.includes(stay.seat);
    const isTired = stay !== undefined && this.steps - stay.heardAt > PATIENCE;
    if (stay === undefined || isGone || isTired || random.chance(0.01)) this.#connect();
    else if (stay.handle !== undefined) this.work(stay, stay.handle);
  }

  protected isHere(stay: Stay): boolean {
    return this.stay === stay && this.options.clients.seats.includes(stay.seat);
  }

  #connect(): void {
    const { random, clients, clientId, saw } = this.options;
    const { seats } = clients;
    if (seats.length === 0) return;
    const seat = random.pick(seats);
    const stay: Stay = { seat, handle: undefined, consumer: undefined, heardAt: this.steps };
    const from = this.stay;
    this.stay = stay;
    if (from !== undefined) this.#left.push({ stay: from, at: this.steps + random.below(LATE) });
    const request = { user: undefined, clientId, cleanStart: false, limits: LIMITS };
    seat.client.sessions.claim({ ...request, expirySeconds: EXPIRY_SECONDS, will: undefined }).then(
      ({ handle }) => {
        if (!this.isHere(stay)) return;
        if (from !== undefined && from.seat !== seat) saw('session taken over');
        stay.handle = handle;
        stay.heardAt = this.steps;
        stay.consumer = this.#consume(stay, handle);
        this.connected(stay, handle);
      },
      () => {
        if (this.stay === stay) this.stay = undefined;
      },
    );
  }

  #consume(stay: Stay, handle: SessionHandle): QueueConsumer {
    let isOver = false;
    return stay.seat.client.sessions.consume(handle, CREDIT, {
      attached: () => undefined,
      batchEnd: () => undefined,
      ended: () => undefined,
      cancelled: () => {
        isOver = true;
        if (this.stay === stay) this.stay = undefined;
      },
      delivered: (delivery) => {
        if (isOver) expect.fail('a delivery to an owner that is none');
        stay.heardAt = this.steps;
        this.delivered(stay, delivery);
      },
    });
  }

  /** The node has noticed that a connection is over, perhaps late. */
  #leave(): void {
    const { stay } = this.#left.shift() as { stay: Stay };
    stay.consumer?.close('returned');
    if (stay.handle === undefined || !this.options.clients.seats.includes(stay.seat)) return;
    const leaving = { expirySeconds: EXPIRY_SECONDS, isInPeace: true };
    stay.seat.client.sessions.leave(stay.handle, leaving).catch(() => undefined);
  }

  protected abstract connected(stay: Stay, handle: SessionHandle): void;
  protected abstract delivered(stay: Stay, delivery: Delivery): void;
  protected abstract work(stay: Stay, handle: SessionHandle): void;
}

interface UnderWay {
  readonly text: string;
  readonly queue: string;
  isStored: boolean;
}

/** Publishes at QoS 2. */
export class ExactlyOnce extends Traveller {
  readonly #queues: readonly string[];
  /** By packet id. */
  readonly #underWay = new Map<number, UnderWay>();
  #published = 0;
  #rests = false;

  constructor(options: ClusterSessionOptions, queues: readonly string[]) {
    super(options);
    this.#queues = queues;
  }

  /** It begins nothing any more. */
  rest(): void {
    this.#rests = true;
  }

  get isDone(): boolean {
    return this.#underWay.size === 0;
  }

  protected connected(stay: Stay, handle: SessionHandle): void {
    for (const [packetId, { isStored }] of this.#underWay) {
      this.options.saw(isStored ? 'release repeated' : 'keyed publish repeated');
      if (isStored) this.#release(stay, handle, packetId);
      else this.#send(stay, handle, packetId);
    }
  }

  protected delivered(): void {
    throw new Error('nobody publishes to it');
  }

  protected work(stay: Stay, handle: SessionHandle): void {
    const { random, ledger, clientId } = this.options;
    if (this.#rests || !random.chance(0.3)) return;
    const busy = new Set([...this.#underWay.values()].map(({ queue }) => queue));
    const queue = random.pick(this.#queues);
    if (busy.has(queue) || stay.seat.client.queues.named(queue) === undefined) return;
    const packetId = this.#underWay.has(1) ? 2 : 1;
    const text = ledger.published(queue, clientId, this.#published++);
    this.#underWay.set(packetId, { text, queue, isStored: false });
    this.#send(stay, handle, packetId);
  }

  #send(stay: Stay, { incarnation: session, ownerEpoch }: SessionHandle, packetId: number): void {
    const { ledger, random } = this.options;
    const { text, queue } = this.#underWay.get(packetId) as UnderWay;
    const target = stay.seat.client.queues.named(queue)?.queueId;
    if (target === undefined) return;
    const waiter = {
      enqueued: (_tag: number, outcome: unknown): void => {
        const sent = this.#underWay.get(packetId);
        if (!this.isHere(stay) || sent?.text !== text || stay.handle === undefined) return;
        stay.heardAt = this.steps;
        if (typeof outcome !== 'number') return this.#refused(stay, outcome);
        if (!sent.isStored) ledger.told(text, outcome);
        sent.isStored = true;
        this.#release(stay, stay.handle, packetId);
      },
    };
    const key = { session, ownerEpoch, packetId };
    const message = messageOf(text, random.below(600));
    stay.seat.client.enqueue([target], message, ORIGIN, waiter, 0, key);
  }

  #release(
    stay: Stay,
    { incarnation: session, ownerEpoch }: SessionHandle,
    packetId: number,
  ): void {
    const { text } = this.#underWay.get(packetId) as UnderWay;
    const waiter = {
      enqueued: (_tag: number, outcome: unknown): void => {
        if (!this.isHere(stay) || this.#underWay.get(packetId)?.text !== text) return;
        stay.heardAt = this.steps;
        if (typeof outcome !== 'number') return this.#refused(stay, outcome);
        this.#underWay.delete(packetId);
      },
    };
    stay.seat.client.release({ session, ownerEpoch, packetId }, waiter, 0);
  }

  /** The connection ends. */
  #refused(stay: Stay, outcome: unknown): void {
    expect(['timeout', 'unavailable', 'disk-full', 'stale-owner']).toContain(outcome);
    if (this.stay === stay) this.stay = undefined;
  }
}

/** Has a queue of its own, which others publish to; settles as PUBACK does. */
export class Subscribed extends Traveller {
  readonly #queue: string;
  #isThere = false;
  #drains = false;

  constructor(options: ClusterSessionOptions, queue: string) {
    super(options);
    this.#queue = queue;
  }

  /** Its session has begun: what is published to it is for it. */
  get isThere(): boolean {
    return this.#isThere;
  }

  /** From now on it keeps nothing. */
  drain(): void {
    this.#drains = true;
  }

  protected connected(): void {
    this.#isThere = true;
  }

  protected delivered(stay: Stay, { message, offset, term, deliveryNumber }: Delivery): void {
    const { random, ledger, saw } = this.options;
    const text = textOf(message.payload);
    ledger.delivered(this.#queue, offset, text);
    if (!this.isHere(stay)) return;
    saw('delivered to an owner');
    if (this.#drains) ledger.drained(this.#queue, text);
    else if (random.chance(0.3)) return;
    else ledger.asked(text, 'complete');
    stay.consumer?.settle(offset, term, deliveryNumber, 'complete');
    stay.consumer?.grant(1);
  }

  protected work(stay: Stay): void {
    // It waits for nothing.
    stay.heardAt = this.steps;
  }
}
