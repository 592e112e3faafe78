/**
 * What comes to a client from the queue of its durable session: which subscriptions it is for, when
 * it goes back as settled, how much of it is asked for.
 *
 * A message goes out by the subscriptions as they are then: one that no subscription wants any more
 * is settled unsent if it was never sent, and so is one that has expired. Its packet id is that of
 * its offset; where a PUBCOMP for that id is missing, this one message waits. PUBREC and PUBCOMP
 * are in the log before anything is built upon them: before PUBREL, and before the id is given
 * again. A retained message that a SUBSCRIBE brought is for that subscription alone, and only while
 * it is retained, until it is sent. The copy of a share is for its subscription alone too, and goes
 * out whether that is there or not: nobody else has it.
 *
 * MQTT 5.0 sections 4.1, 4.3.3, 4.4; docs/decisions/0031-durable-sessions.md.
 */

import { markOf, type RetainedMark } from '../../broker/copy-mark.ts';
import { remainingExpiry } from '../../broker/message.ts';
import {
  type Broker,
  type CancelReason,
  type ConsumerSink,
  type Delivery,
  type Match,
  type QueueConsumer,
  SessionError,
  type SessionHandle,
} from '../../broker/ports.ts';
import { CreditWindow } from './credit.ts';
import type { Outbound, OwnQueue } from './deliver.ts';
import { RetainedFeed } from './retained-feed.ts';
import { type HeldOwn, type Ownership, ownPacketId, type Session } from './session.ts';

export interface ClaimedDeliveriesParts {
  readonly broker: Broker;
  readonly session: Session;
  readonly owned: Ownership;
  /** What this client may hold unacknowledged at once. */
  readonly maxInflight: number;
  /** Bytes of deliveries under way to this client that are aimed at. */
  readonly maxBufferedBytes: number;
  /** Something is to be done at the end of the turn. */
  readonly ask: () => void;
  /** A retained message of this topic is larger than a session may hold, and is left out. */
  readonly tooLarge: (topic: string) => void;
  /** The connection is the owner no more, or the store does not answer: it is to end. */
  readonly ended: (reason: CancelReason) => void;
}

/** How a message goes out whose subscription is not there any more. */
const UNSUBSCRIBED = { retainAsPublished: false, identifiers: [], share: undefined } as const;

export class ClaimedDeliveries implements ConsumerSink, OwnQueue {
  readonly #parts: ClaimedDeliveriesParts;
  readonly #handle: SessionHandle;
  readonly #window: CreditWindow;
  #outbound: Outbound | undefined;
  #consumer: QueueConsumer | undefined;
  #isClosed = false;
  /** Arrived and not ended; of those that were halves before this owner, nothing. */
  #held = 0;
  /** By packet id: wait until that id is free. Bounded by the credit. */
  readonly #heldBack = new Map<number, Delivery>();
  /** Undefined: retained messages are in memory alone. */
  readonly feed: RetainedFeed | undefined;
  /** PUBRECs on their way to the log, in the order in which they came. */
  readonly #halving: { readonly packetId: number; readonly held: HeldOwn; isDone: boolean }[] = [];

  constructor(parts: ClaimedDeliveriesParts) {
    this.#parts = parts;
    this.#handle = parts.owned.handle;
    this.#window = new CreditWindow(parts.maxInflight, parts.maxBufferedBytes);
    const { broker, owned, maxInflight, tooLarge } = parts;
    const { retainedLog: log } = broker;
    if (log === undefined) return;
    this.feed = new RetainedFeed({
      broker,
      log,
      owned,
      maxInflight,
      held: () => this.#held,
      refused: (error) => this.#refused(error),
      tooLarge,
    });
  }

  /** Behind CONNACK: from now on messages come. */
  begin(outbound: Outbound): void {
    this.#outbound = outbound;
    const { sessions } = this.#parts.broker;
    this.#consumer = sessions.consume(this.#handle, this.#window.outstanding, this);
    this.feed?.resume(this.#parts.session.owed);
  }

  attached(): void {
    // The one group of the queue is there since the claim.
  }

  delivered(delivery: Delivery): void {
    if (this.#isClosed) return;
    this.#held++;
    const { message, redelivered } = delivery;
    const isOn = this.feed?.isOn === true && !redelivered;
    if (isOn && markOf(message.properties)?.kind === 'retained') this.feed?.arrived();
    this.#window.arrived(delivery.message.payload.length);
    this.#outbound?.deliverOwn(this, delivery);
  }

  batchEnd(): void {
    if (this.#isClosed) return;
    this.#window.batchEnd();
    this.#parts.ask();
  }

  ended(): void {
    // Only a consumer that settles otherwise is told this.
  }

  cancelled(reason: CancelReason): void {
    if (!this.#isClosed) this.#lost(reason);
  }

  matchOf({ message, origin, redelivered }: Delivery): Match | undefined {
    const { broker, session } = this.#parts;
    const mark = markOf(message.properties);
    if (mark?.kind === 'retained') return this.#matchOfRetained(mark, redelivered);
    if (mark !== undefined) return this.#matchOfShare(mark.filter);
    const isOwn = origin.clientId === session.clientId && origin.protocol === 'mqtt';
    const match = broker.matchOf(session, message.topic, isOwn);
    if (match !== undefined || !redelivered) return match;
    // No-local, or unsubscribed: what was begun is completed [MQTT-3.10.4-3].
    if (broker.matchOf(session, message.topic, false) !== undefined) return undefined;
    return { subscriber: session, qos: 2, ...UNSUBSCRIBED };
  }

  #matchOfRetained({ filter, offset }: RetainedMark, redelivered: boolean): Match | undefined {
    const { broker, session } = this.#parts;
    const subscription = session.subscriptions.get(filter);
    const isKept = broker.retainedLog?.isKept(offset) !== false;
    if (!redelivered && (subscription === undefined || !isKept)) return undefined;
    const { qos, identifier } = subscription ?? { qos: 2, identifier: 0 };
    const identifiers = identifier === 0 ? [] : [identifier];
    return { subscriber: session, qos, retainAsPublished: true, identifiers, share: undefined };
  }

  #matchOfShare(filter: string): Match {
    const { session } = this.#parts;
    const subscription = session.subscriptions.get(filter);
    // What is buffered may go on to be delivered (section 3.10.4).
    if (subscription === undefined) return { subscriber: session, qos: 2, ...UNSUBSCRIBED };
    const { qos, retainAsPublished, identifier } = subscription;
    const identifiers = identifier === 0 ? [] : [identifier];
    return { subscriber: session, qos, retainAsPublished, identifiers, share: undefined };
  }

  /** Seconds left to live by wall time, as the queue counts it; 0: expired. */
  expiryOf({ message, publishedAtMs }: Delivery): number | undefined {
    if (message.properties?.expirySeconds === undefined) return undefined;
    return remainingExpiry(message, publishedAtMs, Date.now());
  }

  settle({ offset, delivery }: Pick<HeldOwn, 'offset' | 'delivery'>): void {
    if (delivery === undefined) return;
    this.#held--;
    this.#consumer?.settle(offset, delivery.term, delivery.number, 'complete');
    this.feed?.roomAgain();
    this.#parts.ask();
  }

  holdBack(delivery: Delivery): void {
    this.#heldBack.set(ownPacketId(delivery.offset), delivery);
  }

  freed(packetId: number): void {
    const delivery = this.#heldBack.get(packetId);
    if (delivery === undefined) return;
    this.#heldBack.delete(packetId);
    this.#outbound?.deliverOwn(this, delivery);
  }

  halve(packetId: number, held: HeldOwn): void {
    held.state = 'halving';
    const halving = { packetId, held, isDone: false };
    this.#halving.push(halving);
    const { sessions } = this.#parts.broker;
    sessions.halve(this.#handle, held.offset).then(
      () => this.#halved(halving),
      (error: unknown) => this.#refused(error),
    );
  }

  #halved(halving: { isDone: boolean }): void {
    if (this.#isClosed) return;
    halving.isDone = true;
    // PUBRELs in the order of the PUBRECs [MQTT-4.6.0-4].
    while (this.#halving[0]?.isDone === true) {
      const first = this.#halving.shift();
      if (first !== undefined) this.#outbound?.halved(first.packetId, first.held);
    }
  }

  finish(packetId: number, held: HeldOwn): void {
    held.state = 'finishing';
    const { sessions } = this.#parts.broker;
    sessions.finish(this.#handle, held.offset).then(
      () => this.#finished(packetId, held),
      (error: unknown) => this.#refused(error),
    );
  }

  #finished(packetId: number, held: HeldOwn): void {
    if (this.#isClosed) return;
    if (held.delivery !== undefined) this.#held--;
    this.#outbound?.finished(packetId);
    this.feed?.roomAgain();
    this.#parts.ask();
  }

  #refused(error: unknown): void {
    if (this.#isClosed) return;
    const isStale = error instanceof SessionError && error.code === 'stale-owner';
    this.#lost(isStale ? 'taken-over' : 'unavailable');
  }

  #lost(reason: CancelReason): void {
    const { owned, ended } = this.#parts;
    if (reason === 'taken-over') owned.lost = reason;
    if (reason === 'queue-deleted') owned.lost = 'ended';
    ended(reason);
  }

  /** Asks for as much as the client may still get, once a turn. */
  grant(): void {
    if (this.#consumer === undefined || this.#outbound?.roomy !== true) return;
    const more = this.#window.grant(this.#parts.maxInflight - this.#held);
    if (more > 0) this.#consumer.grant(more);
  }

  /** The connection is over; what it was sent and did not acknowledge comes to the next owner. */
  close(): void {
    this.#isClosed = true;
    this.feed?.close();
    this.#heldBack.clear();
    this.#consumer?.close('returned');
  }
}
