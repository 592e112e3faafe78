/**
 * The state of one MQTT session (MQTT 5.0 section 4.1) as this node has it in memory: its
 * subscriptions, the messages that wait for it, the deliveries that it has not acknowledged, the
 * QoS 2 publishes that it has not released.
 *
 * One that ends with its connection lies here alone. Of one that outlives it (`owned`) the log has
 * the subscriptions and the messages of its own queue, those of shares too; here is what came to it
 * otherwise: retained messages, queues, QoS 0. It never writes: `channel` does, while there is one.
 */

import type { Message } from '../../broker/message.ts';
import { keptBytes, remainingExpiry } from '../../broker/message.ts';
import type {
  Clock,
  Match,
  Offset,
  Origin,
  Publication,
  PublishKey,
  QueueId,
  RetainedCursor,
  SessionHandle,
  SessionReplay,
  Share,
  Subscriber,
  SubscriptionOptions,
} from '../../broker/ports.ts';
import type { Proof } from './encode.ts';
import { Fifo } from './fifo.ts';
import type { Qos } from './packet.ts';
import type { QueueWish } from './queue-wish.ts';
import type { Refusal } from './refusals.ts';

/** A QoS 1 or 2 message on its way to this session. */
export interface HeldMessage {
  readonly kind: 'message';
  /** Undefined once it is not needed again: see `Session.drop`. */
  publication: Publication | undefined;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly identifiers: readonly number[];
  /** Whose other members may have it in place of this one; undefined: it is for this one alone. */
  readonly share: Share | undefined;
  /** Counted in the totals while there is a publication. */
  readonly bytes: number;
  /** PUBREC has come: what is repeated from now on is PUBREL. */
  released: boolean;
}

/** Who gave a delivery that came from a queue, and hears how it ended. */
export interface QueueSource {
  /** The queue is a stream, whose deliveries tell more. */
  readonly isStream: boolean;
  /** PUBACK has come; a negative one has a reason of 0x80 or above. */
  acknowledged(delivery: HeldDelivery, positive: boolean): void;
  /** It was not sent: the client takes nothing so large. */
  undeliverable(delivery: HeldDelivery): void;
}

/** A subscription as the session keeps it. */
export interface SessionSubscription extends SubscriptionOptions {
  /** Without its share. */
  readonly filter: string;
  /** Undefined for one of ordinary topics. */
  readonly wish: QueueWish | undefined;
}

/** A delivery from a queue; always QoS 1, and gone with its connection. */
export interface HeldDelivery {
  readonly kind: 'queue';
  readonly source: QueueSource;
  readonly offset: Offset;
  readonly term: number;
  readonly deliveryNumber: number;
}

/** A message of the session's own queue that was sent. */
export interface HeldOwn {
  readonly kind: 'own';
  readonly offset: Offset;
  readonly qos: 1 | 2;
  /** Of its delivery to this owner; undefined where PUBREC came to a former one. */
  readonly delivery: { readonly term: number; readonly number: number } | undefined;
  /**
   * At QoS 2: `halving` until the log has its PUBREC, `released` when PUBREL may be sent,
   * `finishing` until the log has its PUBCOMP.
   */
  state: 'sent' | 'halving' | 'released' | 'finishing';
}

export type Held = HeldMessage | HeldDelivery | HeldOwn;

/** What the store of durable sessions says of the owner that this node is. */
export interface Ownership {
  readonly handle: SessionHandle;
  /** Another node owns it now, or it has ended; undefined: neither is known. */
  lost: 'taken-over' | 'ended' | undefined;
  /** The log has a will of its connection. */
  readonly hasWill: boolean;
}

/** A QoS 2 PUBLISH whose PUBREL has not come, or whose PUBCOMP has not gone. */
export interface Received {
  /** It went to queues with a key, which is released before the packet id is free. */
  keyed: boolean;
  /** Undefined while the outcome is open. */
  proof: Proof | undefined;
  /** Its PUBLISH came again before the outcome: these wait for it too. */
  repeats: { readonly flow: PublishAnswerer; readonly sequence: number }[];
}

export interface PublishAnswerer {
  resolve(sequence: number, outcome: Proof | Refusal): void;
  /** Nothing will be known of it. */
  giveUp(sequence: number): void;
}

/** Retained messages that a new subscription has still to get. */
export interface Replay {
  readonly cursor: RetainedCursor;
  readonly qos: 0 | 1 | 2;
  readonly identifiers: readonly number[];
  /** Seen and not sent, as there was no room for it. */
  next: Publication | undefined;
}

/** The way to the client while it is connected. */
export interface Channel {
  /** Nothing waits before a message of that QoS; `full`: it would be dropped. */
  readiness(qos: Qos): 'ready' | 'busy' | 'full';
  deliver(publication: Publication, match: Match): void;
}

/** How a QoS 1 or 2 message goes to this session. */
type Holding = Pick<HeldMessage, 'qos' | 'retain' | 'identifiers' | 'share'>;

/** Bytes that wait in all sessions together, and what did not fit. */
export interface HeldTotals {
  bytes: number;
  readonly maxBytes: number;
  dropped: number;
  expired: number;
}

export interface SessionSettings {
  readonly clientId: string;
  readonly user: string | undefined;
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export class Session implements Subscriber {
  readonly clientId: string;
  readonly origin: Origin;
  /** Undefined: the session ends with its connection. */
  owned: Ownership | undefined;
  /** By filter, as the client wrote it; those of queues too. */
  readonly subscriptions = new Map<string, SessionSubscription>();
  /** By packet id, in the order of sending; a released one goes behind (see `release`). */
  readonly inflight = new Map<number, Held>();
  readonly received = new Map<number, Received>();
  readonly replays: Replay[] = [];
  /** Of retained messages, what the log says that is owed still. */
  owed: readonly SessionReplay[] = [];
  /** 0 ends with the connection. */
  expirySeconds = 0;
  channel: Channel | undefined;
  readonly #settings: SessionSettings;
  readonly #totals: HeldTotals;
  readonly #pending = new Fifo<HeldMessage>();
  #pendingBytes = 0;
  #lastPacketId = 0;
  #dropped = 0;
  #coming = 0;
  /** Those that were given to it since its client can be sent no more. */
  #behind = 0;
  /** Something came through a shared subscription: `passOn` looks. */
  #shares = false;

  constructor(settings: SessionSettings, totals: HeldTotals) {
    this.clientId = settings.clientId;
    this.origin = { clientId: settings.clientId, user: settings.user, protocol: 'mqtt' };
    this.#settings = settings;
    this.#totals = totals;
  }

  get queueId(): QueueId | undefined {
    return this.owned?.handle.queueId;
  }

  get pending(): number {
    return this.#pending.length;
  }

  /** Messages that did not fit since the session began. */
  get dropped(): number {
    return this.#dropped;
  }

  deliver(publication: Publication, match: Match): void {
    this.channel?.deliver(publication, match);
  }

  /** Copies of shares that go into its queue, of which no outcome is known. */
  get coming(): number {
    return this.#coming;
  }

  underWay(copies: 1 | -1): void {
    if (copies === 1 && this.channel?.readiness(1) !== 'ready') this.#behind++;
    this.#coming += copies;
  }

  backlog(qos: Qos): number {
    const { maxMessages, maxBytes } = this.#settings;
    const readiness = this.channel?.readiness(qos) ?? 'busy';
    if (readiness === 'ready') {
      this.#behind = 0;
      return 0;
    }
    const waiting = this.#pending.length;
    // Its queue has bounds of its own, and says itself when it is full.
    if (qos > 0 && this.owned !== undefined) return 1 + waiting + this.#behind;
    if (readiness === 'full') return Number.POSITIVE_INFINITY;
    if (qos === 0) return this.channel === undefined ? Number.POSITIVE_INFINITY : 1 + waiting;
    const full = waiting >= maxMessages || this.#pendingBytes >= maxBytes;
    return full ? Number.POSITIVE_INFINITY : 1 + waiting;
  }

  /** Puts a message behind those that wait; one that does not fit is dropped and counted. */
  hold(publication: Publication, how: Holding): void {
    const bytes = keptBytes(publication.message);
    const totals = this.#totals;
    if (
      this.#pending.length >= this.#settings.maxMessages ||
      this.#pendingBytes + bytes > this.#settings.maxBytes ||
      totals.bytes + bytes > totals.maxBytes
    ) {
      this.#dropped++;
      totals.dropped++;
      return;
    }
    publication.keep();
    if (how.share !== undefined) this.#shares = true;
    this.#pendingBytes += bytes;
    totals.bytes += bytes;
    this.#pending.push({ kind: 'message', publication, ...how, bytes, released: false });
  }

  /** Of a QoS 2 publish; a session that ends with its connection cannot repeat one. */
  publishKey(packetId: number): PublishKey | undefined {
    if (this.owned === undefined) return undefined;
    const { incarnation, ownerEpoch } = this.owned.handle;
    return { session: incarnation, ownerEpoch, packetId };
  }

  /** The next message that has not expired, taken out. */
  takePending(clock: Clock): HeldMessage | undefined {
    for (;;) {
      const held = this.#pending.shift();
      if (held === undefined) return undefined;
      this.#pendingBytes -= held.bytes;
      if (held.publication === undefined || !isExpired(held.publication, clock)) return held;
      this.#totals.expired++;
      this.drop(held);
    }
  }

  /** A message that goes out at once: kept only if it may have to be sent again. */
  inflightMessage(publication: Publication, how: Holding): HeldMessage {
    if (!this.#isNeededAgain(how)) {
      return { kind: 'message', publication: undefined, ...how, bytes: 0, released: false };
    }
    if (how.share !== undefined) this.#shares = true;
    publication.keep();
    const bytes = keptBytes(publication.message);
    this.#totals.bytes += bytes;
    return { kind: 'message', publication, ...how, bytes, released: false };
  }

  /** A message that waited goes out now. */
  sent(held: HeldMessage): void {
    if (!this.#isNeededAgain(held)) this.drop(held);
  }

  /** On the next connection, or by another member; not at QoS 2 [MQTT-4.8.2-5]. */
  #isNeededAgain({ qos, share }: Holding): boolean {
    return this.owned !== undefined || (share !== undefined && qos === 1);
  }

  /**
   * The session is gone with its connection: what came through shared subscriptions goes to other
   * members, if it was not sent, or was sent at QoS 1 and is not acknowledged.
   */
  passOn(): void {
    if (!this.#shares) return;
    for (const [packetId, held] of this.inflight) {
      if (held.kind !== 'message' || held.qos === 2) continue;
      if (this.#pass(held)) this.inflight.delete(packetId);
    }
    for (let left = this.#pending.length; left > 0; left--) {
      const held = this.#pending.shift();
      if (held === undefined) break;
      if (this.#pass(held)) this.#pendingBytes -= held.bytes;
      else this.#pending.push(held);
    }
  }

  #pass(held: HeldMessage): boolean {
    const { publication, share } = held;
    if (publication === undefined || share === undefined) return false;
    if (share.pass(publication)) {
      this.drop(held);
      return true;
    }
    this.#totals.dropped++;
    return false;
  }

  /** The message is not needed again. */
  drop(held: HeldMessage): void {
    if (held.publication === undefined) return;
    held.publication = undefined;
    this.#totals.bytes -= held.bytes;
  }

  /**
   * A packet id that nothing in flight has; there is one while no more are in flight than the
   * receive maximum. Where the session has a queue, the odd ones are for what comes from there.
   */
  nextPacketId(): number {
    const step = this.owned === undefined ? 1 : 2;
    let id = this.#lastPacketId;
    do {
      id += step;
      if (id > 65_535) id = step;
    } while (this.inflight.has(id));
    this.#lastPacketId = id;
    return id;
  }

  /**
   * PUBREC has come: the message is not sent again, and PUBRELs keep the order of PUBRECs
   * [MQTT-4.6.0-4].
   */
  release(packetId: number, held: HeldMessage | HeldOwn): void {
    if (held.kind === 'own') {
      held.state = 'released';
    } else {
      held.released = true;
      this.drop(held);
    }
    this.inflight.delete(packetId);
    this.inflight.set(packetId, held);
  }

  /** The connection is gone: deliveries of queues were its own and are no longer in flight. */
  forgetDeliveries(): void {
    for (const [packetId, held] of this.inflight) {
      if (held.kind !== 'message') this.inflight.delete(packetId);
    }
  }

  /** A new owner begins with what the log knows: first come the PUBRELs of its queue. */
  own(owned: Ownership, halves: readonly Offset[]): void {
    this.owned = owned;
    const others = [...this.inflight];
    this.inflight.clear();
    for (const offset of halves) {
      const held = { kind: 'own', offset, qos: 2, delivery: undefined } as const;
      this.inflight.set(ownPacketId(offset), { ...held, state: 'released' });
    }
    for (const [packetId, held] of others) this.inflight.set(packetId, held);
  }

  /** Nothing of it is needed without a connection but what the log has. */
  get isInLog(): boolean {
    return this.inflight.size + this.received.size + this.replays.length + this.pending === 0;
  }

  /** Gives back what it holds; nothing may be asked of it after. */
  discard(): void {
    this.#totals.bytes -= this.#pendingBytes;
    this.#pendingBytes = 0;
    this.#pending.clear();
    for (const held of this.inflight.values()) {
      if (held.kind === 'message') this.drop(held);
    }
    this.inflight.clear();
    this.received.clear();
    this.replays.length = 0;
    this.subscriptions.clear();
  }
}

/**
 * The packet id of a message of the session's queue: whoever owns the session next finds it by the
 * offset alone. At most 32,767 offsets lie between the oldest unsettled message and the newest.
 */
export function ownPacketId(offset: Offset): number {
  return 2 * (offset % 32_768) + 1;
}

export function isExpired({ message, publishedAtMs }: Publication, clock: Clock): boolean {
  return expiryLeft(message, publishedAtMs, clock) === 0;
}

/** Asks the clock only for a message that has an expiry. */
export function expiryLeft(
  message: Message,
  publishedAtMs: number,
  clock: Clock,
): number | undefined {
  if (message.properties?.expirySeconds === undefined) return undefined;
  return remainingExpiry(message, publishedAtMs, clock.now());
}
