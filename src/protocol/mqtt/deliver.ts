/**
 * The way of messages to one client while it is connected.
 *
 * Three bounds hold always: QoS 1 and 2 deliveries in flight stay within the client's receive
 * maximum and ours; what waits for the socket stays within the configured bytes; no packet is
 * larger than the client takes. What may not go now waits in the session (QoS 1 and 2), is dropped
 * and counted (QoS 0), or is not even asked for (queues, retained messages). When the socket takes
 * bytes again, first what is repeated after a reconnect goes out, then deliveries of queues and
 * messages of the session in turn, then retained messages.
 *
 * MQTT 5.0 sections 3.3, 4.3, 4.4, 4.6, 4.9.
 */

import { unmarked } from '../../broker/copy-mark.ts';
import { ownedMessage } from '../../broker/message.ts';
import type { Delivery, Match, Publication } from '../../broker/ports.ts';
import type { Ending } from './context.ts';
import { publishProperties, queueDeliveryProperties, queueDeliveryTopic } from './convert.ts';
import { encodePubrel } from './encode.ts';
import { PublishEncoder } from './encode-publish.ts';
import { Fifo } from './fifo.ts';
import type { Qos } from './packet.ts';
import { PublishWriter, type PublishWriterParts } from './publish-writer.ts';
import { ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';
import {
  type Channel,
  type HeldDelivery,
  type HeldMessage,
  type HeldOwn,
  isExpired,
  ownPacketId,
  type QueueSource,
  type Replay,
  type Session,
} from './session.ts';

/** Bytes that wait for the socket above which QoS 1 and 2, queues and retained messages wait. */
const HIGH_WATER_BYTES = 65_536;
const REPLAY_STEPS = 256;
const NO_IDENTIFIERS: readonly number[] = [];

export interface OutboundParts extends PublishWriterParts {
  readonly session: Session;
  /** Undefined: the session has no queue. */
  readonly own: OwnQueue | undefined;
  /** The smaller of the client's receive maximum and ours. */
  readonly maxInflight: number;
}

/** A delivery of a queue that waits for room; its message is its own. */
export interface WaitingDelivery {
  readonly source: QueueSource;
  readonly delivery: Delivery;
  readonly identifier: number;
}

/** The queue of a durable session, as it is claimed by this connection. */
export interface OwnQueue {
  /** The subscriptions that it is for now; undefined: none. */
  matchOf(delivery: Delivery): Match | undefined;
  /** Seconds; 0: it has expired; undefined: it never does. */
  expiryOf(delivery: Delivery): number | undefined;
  /** Done: acknowledged, refused by its client, or for nobody any more. */
  settle(held: Pick<HeldOwn, 'offset' | 'delivery'>): void;
  /** Its packet id is in use: it comes again when that is free. It owns its bytes. */
  holdBack(delivery: Delivery): void;
  /** The packet id is in use no more. */
  freed(packetId: number): void;
  /** PUBREC came: `halved` is called when the log has it. */
  halve(packetId: number, held: HeldOwn): void;
  /** PUBCOMP came: `finished` is called when the log has it. */
  finish(packetId: number, held: HeldOwn): void;
}

/** The same of the session's own queue. */
interface WaitingOwn {
  readonly own: OwnQueue;
  readonly delivery: Delivery;
}

/** Packet ids that a delivery may find: where a session has a queue, each second one. */
const PACKET_IDS = 32_767;

export class Outbound implements Channel {
  readonly #parts: OutboundParts;
  readonly #writer: PublishWriter;
  readonly #waiting = new Fifo<WaitingDelivery | WaitingOwn>();
  /** In flight on the last connection, to be repeated on this one. */
  readonly #repeats: number[];
  #nextRepeat = 0;
  /** Of these, those that were not sent on this connection: they took nothing of the quota. */
  readonly #earlier: Set<number>;
  /** Deliveries that may still be sent unacknowledged [MQTT-3.3.4-9]. */
  #quota: number;
  #queuesTurn = true;

  constructor(parts: OutboundParts) {
    this.#parts = parts;
    this.#writer = new PublishWriter(parts);
    const { inflight } = parts.session;
    // What a client leaves open from connection to connection must not use up the ids.
    this.#quota = Math.max(0, Math.min(parts.maxInflight, PACKET_IDS - inflight.size));
    this.#repeats = [...inflight.keys()];
    this.#earlier = new Set(this.#repeats);
  }

  get roomy(): boolean {
    return this.#parts.output.waiting < HIGH_WATER_BYTES;
  }

  /** Something waits that only needs room in the socket. */
  get canSend(): boolean {
    const { session } = this.#parts;
    if (!this.#mayGo) return this.#quota > 0;
    if (this.#quota > 0 && (this.#waiting.length > 0 || session.pending > 0)) return true;
    return (
      session.replays.length > 0 && (this.#quota > 0 || session.replays[0]?.next === undefined)
    );
  }

  deliver(publication: Publication, match: Match): void {
    const { message } = publication;
    const qos = message.qos < match.qos ? message.qos : match.qos;
    const retain = message.retain && match.retainAsPublished;
    if (qos === 0) {
      this.#writer.unacknowledged(publication, retain, match.identifiers);
      return;
    }
    const { session } = this.#parts;
    const how = { qos, retain, identifiers: match.identifiers, share: match.share };
    if (this.#isFree) {
      this.#sendHeld(publication, session.inflightMessage(publication, how));
    } else {
      this.#countWindow();
      session.hold(publication, how);
      this.#parts.output.ask();
    }
  }

  readiness(qos: Qos): 'ready' | 'busy' | 'full' {
    const { output, context, session } = this.#parts;
    if (qos > 0) return this.#isFree && session.coming < this.#quota ? 'ready' : 'busy';
    if (output.waiting >= context.options.maxBufferedBytes) return 'full';
    return this.roomy ? 'ready' : 'busy';
  }

  /** A QoS 1 or 2 message would go at once. */
  get #isFree(): boolean {
    return this.#mayGo && this.#parts.session.pending === 0 && this.#quota > 0 && this.roomy;
  }

  /** A delivery of a queue; its message is a view that is valid during the call only. */
  deliverFromQueue(waiting: WaitingDelivery): void {
    if (this.#mayGo && this.#waiting.length === 0 && this.#quota > 0) {
      this.#sendDelivery(waiting);
    } else {
      this.#countWindow();
      this.#waiting.push({ ...waiting, delivery: ownedDelivery(waiting.delivery) });
    }
  }

  /** The same of the session's own queue. */
  deliverOwn(own: OwnQueue, delivery: Delivery): void {
    if (this.#mayGo && this.#waiting.length === 0 && this.#quota > 0) this.#sendOwn(own, delivery);
    else this.#waiting.push({ own, delivery: ownedDelivery(delivery) });
  }

  /** A delivery waits because the client holds as many as it may. */
  #countWindow(): void {
    if (this.#quota === 0) this.#parts.context.counters.limited['in-flight']++;
  }

  replay(replay: Replay): void {
    this.#parts.session.replays.push(replay);
    this.#parts.output.ask();
  }

  /** Sends what waits, as far as there is room. */
  sendWaiting(): void {
    while (this.roomy) {
      const sent = this.#mayGo ? this.#sendNext() : this.#repeatNext();
      if (!sent) return;
    }
  }

  acknowledged(packetId: number, reasonCode: number): Ending<ServerDisconnectReason> | undefined {
    const { session, output } = this.#parts;
    const held = session.inflight.get(packetId);
    // An id that is not in flight: of a delivery that ended otherwise; nothing to say to it.
    if (held === undefined) return undefined;
    if (held.kind === 'queue') held.source.acknowledged(held, reasonCode < 0x80);
    else if (held.qos === 2) return WRONG_ACKNOWLEDGEMENT;
    else if (held.kind === 'own') this.#parts.own?.settle(held);
    else session.drop(held);
    this.#forget(packetId);
    output.ask();
    return undefined;
  }

  /** PUBREC: the client has the message, or refuses it. */
  receivedByClient(
    packetId: number,
    reasonCode: number,
  ): Ending<ServerDisconnectReason> | undefined {
    const { session, output, recipient } = this.#parts;
    const held = session.inflight.get(packetId);
    if (held !== undefined && (held.kind === 'queue' || held.qos === 1)) {
      return WRONG_ACKNOWLEDGEMENT;
    }
    const { own } = this.#parts;
    if (reasonCode >= 0x80) {
      if (held === undefined || (held.kind === 'own' ? held.state !== 'sent' : held.released)) {
        return undefined;
      }
      if (held.kind === 'own') own?.settle(held);
      else session.drop(held);
      this.#forget(packetId);
      output.ask();
      return undefined;
    }
    if (held?.kind === 'own') {
      if (held.state === 'sent') own?.halve(packetId, held);
      if (held.state === 'halving' || held.state === 'sent') return undefined;
    } else if (held !== undefined && !held.released) session.release(packetId, held);
    const unknown = held === undefined && recipient.version === 5;
    const reason = unknown ? ReasonCode.packetIdentifierNotFound : ReasonCode.success;
    encodePubrel(output.writer, packetId, reason);
    output.appended();
    return undefined;
  }

  /** PUBCOMP. */
  completed(packetId: number): Ending<ServerDisconnectReason> | undefined {
    const { session, output } = this.#parts;
    const held = session.inflight.get(packetId);
    if (held === undefined) return undefined;
    if (held.kind === 'own') {
      if (held.state === 'finishing') return undefined;
      if (held.state !== 'released') return WRONG_ACKNOWLEDGEMENT;
      this.#parts.own?.finish(packetId, held);
      return undefined;
    }
    if (held.kind === 'queue' || !held.released) return WRONG_ACKNOWLEDGEMENT;
    this.#forget(packetId);
    output.ask();
    return undefined;
  }

  /** The log has the PUBREC of a message of the session's queue. */
  halved(packetId: number, held: HeldOwn): void {
    const { session, output } = this.#parts;
    session.release(packetId, held);
    encodePubrel(output.writer, packetId);
    output.appended();
  }

  /** The log has its PUBCOMP: the id is free, and another message may be in flight. */
  finished(packetId: number): void {
    this.#forget(packetId);
  }

  #forget(packetId: number): void {
    const { session, own } = this.#parts;
    session.inflight.delete(packetId);
    this.#giveBackQuota(packetId);
    own?.freed(packetId);
  }

  /** Deliveries of one queue subscription that wait here go back; they were never sent. */
  dropWaiting(source: QueueSource): void {
    for (let left = this.#waiting.length; left > 0; left--) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined || ('source' in waiting && waiting.source === source)) continue;
      this.#waiting.push(waiting);
    }
  }

  /** What is repeated goes first, so that the order is kept [MQTT-4.6.0-1]. */
  get #mayGo(): boolean {
    return this.#nextRepeat >= this.#repeats.length;
  }

  #giveBackQuota(packetId: number): void {
    if (!this.#earlier.delete(packetId)) this.#quota++;
  }

  #repeatNext(): boolean {
    const { session, output } = this.#parts;
    const packetId = this.#repeats[this.#nextRepeat];
    if (packetId === undefined) return false;
    const held = session.inflight.get(packetId);
    if (held?.kind === 'own' && held.state === 'released') {
      encodePubrel(output.writer, packetId);
      output.appended();
    } else if (held?.kind === 'message') {
      if (held.released) {
        encodePubrel(output.writer, packetId);
        output.appended();
      } else if (held.publication !== undefined) {
        if (this.#quota === 0) return false;
        this.#earlier.delete(packetId);
        const how = { ...held, dup: true, packetId };
        if (this.#writer.publication(held.publication, how)) this.#quota--;
        else this.#undeliverable(packetId, held);
      }
    }
    this.#nextRepeat++;
    return true;
  }

  #sendNext(): boolean {
    const { session, context } = this.#parts;
    if (this.#quota > 0) {
      const fromQueue = this.#waiting.length > 0 && (this.#queuesTurn || session.pending === 0);
      this.#queuesTurn = !fromQueue;
      const waiting = fromQueue ? this.#waiting.shift() : undefined;
      if (waiting !== undefined) {
        if ('own' in waiting) this.#sendOwn(waiting.own, waiting.delivery);
        else this.#sendDelivery(waiting);
        return true;
      }
      const held = session.takePending(context.broker.clock);
      if (held?.publication !== undefined) {
        const { publication } = held;
        session.sent(held);
        this.#sendHeld(publication, held);
        return true;
      }
    }
    return this.#replayNext();
  }

  /** True if it made progress: a message sent, or some steps of the walk. */
  #replayNext(): boolean {
    const { session, context } = this.#parts;
    const replay = session.replays[0];
    if (replay === undefined) return false;
    const publication = replay.next ?? replay.cursor.advance(REPLAY_STEPS);
    replay.next = undefined;
    if (publication === 'done') {
      session.replays.shift();
      return true;
    }
    if (publication === 'more') {
      // A long walk without a find must not hold up the others: on with it in the next turn.
      this.#parts.output.ask();
      return false;
    }
    if (isExpired(publication, context.broker.clock)) return true;
    const { message } = publication;
    const qos = message.qos < replay.qos ? message.qos : replay.qos;
    const how = { retain: true, identifiers: replay.identifiers, share: undefined };
    if (qos === 0) {
      this.#writer.publication(publication, { ...how, qos, dup: false, packetId: 0 });
      return true;
    }
    if (this.#quota === 0) {
      replay.next = publication;
      return false;
    }
    this.#sendHeld(publication, session.inflightMessage(publication, { ...how, qos }));
    return true;
  }

  #sendHeld(publication: Publication, held: HeldMessage): void {
    const { session } = this.#parts;
    const packetId = session.nextPacketId();
    session.inflight.set(packetId, held);
    const { qos, retain, identifiers } = held;
    const how = { qos, retain, identifiers, dup: false, packetId };
    if (this.#writer.publication(publication, how)) this.#quota--;
    else this.#undeliverable(packetId, held);
  }

  /** Too large for this client: as if it had been sent and completed [MQTT-3.1.2-25]. */
  #undeliverable(packetId: number, held: HeldMessage): void {
    const { session } = this.#parts;
    session.drop(held);
    session.inflight.delete(packetId);
  }

  #sendDelivery({ source, delivery, identifier }: WaitingDelivery): void {
    const { session, recipient, context } = this.#parts;
    const packetId = session.nextPacketId();
    const { offset, term, deliveryNumber, message } = delivery;
    const held: HeldDelivery = { kind: 'queue', source, offset, term, deliveryNumber };
    const told = recipient.version === 5;
    const encoder = new PublishEncoder({
      topic: queueDeliveryTopic(delivery),
      payload: message.payload,
      properties: told ? queueDeliveryProperties(delivery, source.isStream, Date.now()) : undefined,
    });
    const identifiers = identifier === 0 ? NO_IDENTIFIERS : [identifier];
    const how = {
      qos: 1,
      retain: false,
      dup: delivery.redelivered,
      packetId,
      identifiers,
    } as const;
    if (!this.#writer.encoded(encoder, how)) {
      // Not lost: another member may take it. It waits out the backoff of its queue.
      context.log.warn(
        { client_id: session.clientId, queue: delivery.queueName, offset },
        'a message of a queue is larger than the client takes',
      );
      source.undeliverable(held);
      return;
    }
    session.inflight.set(packetId, held);
    this.#quota--;
  }

  #sendOwn(own: OwnQueue, delivery: Delivery): void {
    const { session, recipient } = this.#parts;
    const { offset, message, term, deliveryNumber } = delivery;
    const ended = { offset, delivery: { term, number: deliveryNumber } };
    const match = own.matchOf(delivery);
    const expirySeconds = own.expiryOf(delivery);
    if (match === undefined || expirySeconds === 0) {
      own.settle(ended);
      return;
    }
    const qos = message.qos < match.qos ? message.qos : match.qos;
    const packetId = qos === 0 ? 0 : ownPacketId(offset);
    if (qos > 0 && session.inflight.has(packetId)) {
      own.holdBack(ownedDelivery(delivery));
      return;
    }
    const { topic, payload, properties } = message;
    const said = recipient.version === 5 ? unmarked(properties) : undefined;
    const told = said && publishProperties(said, expirySeconds);
    const retain = message.retain && match.retainAsPublished;
    const dup = qos > 0 && delivery.redelivered;
    const how = { qos, retain, dup, packetId, identifiers: match.identifiers };
    const isSent = this.#writer.message({ topic, payload, properties: told }, how);
    if (!isSent || qos === 0) {
      // Too large for this client: as if it had been sent and completed [MQTT-3.1.2-25].
      own.settle(ended);
      return;
    }
    session.inflight.set(packetId, { kind: 'own', qos, state: 'sent', ...ended });
    this.#quota--;
  }
}

const WRONG_ACKNOWLEDGEMENT = {
  reasonCode: ReasonCode.protocolError,
  text: 'an acknowledgement that does not fit the delivery with its packet id',
} as const satisfies Ending<ServerDisconnectReason>;

/** Field by field: a delivery may be an object with getters over the bytes that will be gone. */
function ownedDelivery(delivery: Delivery): Delivery {
  return {
    queueId: delivery.queueId,
    queueName: delivery.queueName,
    groupName: delivery.groupName,
    offset: delivery.offset,
    term: delivery.term,
    deliveryNumber: delivery.deliveryNumber,
    attempt: delivery.attempt,
    redelivered: delivery.redelivered,
    origin: delivery.origin,
    publishedAtMs: delivery.publishedAtMs,
    message: ownedMessage(delivery.message),
  };
}
