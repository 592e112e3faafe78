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

import { ownedMessage } from '../../broker/message.ts';
import type { Delivery, Match, Publication } from '../../broker/ports.ts';
import type { Ending, MqttContext } from './context.ts';
import { publishProperties, queueDeliveryProperties, queueDeliveryTopic } from './convert.ts';
import { encodePubrel, type Recipient } from './encode.ts';
import { type OutgoingMessage, PublishEncoder } from './encode-publish.ts';
import { Fifo } from './fifo.ts';
import type { Output } from './output.ts';
import type { Qos } from './packet.ts';
import { ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';
import {
  type Channel,
  expiryLeft,
  type HeldDelivery,
  type HeldMessage,
  isExpired,
  type QueueSource,
  type Replay,
  type Session,
} from './session.ts';

/** Bytes that wait for the socket above which QoS 1 and 2, queues and retained messages wait. */
const HIGH_WATER_BYTES = 65_536;
/**
 * Above it a QoS 0 packet is written from the bytes that all its subscribers share, without a copy.
 */
const SHARED_BYTES = 8192;
const REPLAY_STEPS = 256;
const NO_IDENTIFIERS: readonly number[] = [];

export interface OutboundParts {
  readonly context: MqttContext;
  readonly session: Session;
  readonly output: Output;
  readonly recipient: Recipient;
  /** The smaller of the client's receive maximum and ours. */
  readonly maxInflight: number;
  /** The smaller of the client's topic alias maximum and ours. */
  readonly aliasMaximum: number;
}

/** A delivery of a queue that waits for room; its message is its own. */
export interface WaitingDelivery {
  readonly source: QueueSource;
  readonly delivery: Delivery;
  readonly identifier: number;
}

interface How {
  readonly qos: Qos;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly identifiers: readonly number[];
}

/** Read during one call of the encoder only. */
const scratch = {
  version: 4 as 4 | 5,
  qos: 0 as Qos,
  retain: false,
  dup: false,
  packetId: 0,
  subscriptionIdentifiers: NO_IDENTIFIERS as readonly number[] | undefined,
};

export class Outbound implements Channel {
  readonly #parts: OutboundParts;
  readonly #aliases = new Map<string, number>();
  readonly #waiting = new Fifo<WaitingDelivery>();
  /** In flight on the last connection, to be repeated on this one. */
  readonly #repeats: number[];
  #nextRepeat = 0;
  /** Deliveries that may still be sent unacknowledged [MQTT-3.3.4-9]. */
  #quota: number;
  #queuesTurn = true;

  constructor(parts: OutboundParts) {
    this.#parts = parts;
    this.#quota = parts.maxInflight;
    this.#repeats = [...parts.session.inflight.keys()];
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
      this.#sendQos0(publication, retain, match.identifiers);
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
    if (qos > 0) return this.#isFree ? 'ready' : 'busy';
    const { output, context } = this.#parts;
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
    if (held.kind === 'message') {
      if (held.qos === 2) return WRONG_ACKNOWLEDGEMENT;
      session.drop(held);
    } else {
      held.source.acknowledged(held, reasonCode < 0x80);
    }
    session.inflight.delete(packetId);
    this.#giveBackQuota();
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
    if (reasonCode >= 0x80) {
      if (held === undefined || held.released) return undefined;
      session.drop(held);
      session.inflight.delete(packetId);
      this.#giveBackQuota();
      output.ask();
      return undefined;
    }
    if (held !== undefined && !held.released) session.release(packetId, held);
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
    if (held.kind === 'queue' || !held.released) return WRONG_ACKNOWLEDGEMENT;
    session.inflight.delete(packetId);
    this.#giveBackQuota();
    output.ask();
    return undefined;
  }

  /** Deliveries of one queue subscription that wait here go back; they were never sent. */
  dropWaiting(source: QueueSource): void {
    for (let left = this.#waiting.length; left > 0; left--) {
      const waiting = this.#waiting.shift();
      if (waiting !== undefined && waiting.source !== source) this.#waiting.push(waiting);
    }
  }

  /** What is repeated goes first, so that the order is kept [MQTT-4.6.0-1]. */
  get #mayGo(): boolean {
    return this.#nextRepeat >= this.#repeats.length;
  }

  #giveBackQuota(): void {
    if (this.#quota < this.#parts.maxInflight) this.#quota++;
  }

  #repeatNext(): boolean {
    const { session, output } = this.#parts;
    const packetId = this.#repeats[this.#nextRepeat];
    if (packetId === undefined) return false;
    const held = session.inflight.get(packetId);
    if (held?.kind === 'message') {
      if (held.released) {
        encodePubrel(output.writer, packetId);
        output.appended();
      } else if (held.publication !== undefined) {
        if (this.#quota === 0) return false;
        this.#quota--;
        this.#send(held.publication, { ...held, dup: true, packetId });
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
        this.#sendDelivery(waiting);
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
      this.#send(publication, { ...how, qos, dup: false, packetId: 0 });
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
    this.#quota--;
    const { qos, retain, identifiers } = held;
    if (this.#send(publication, { qos, retain, identifiers, dup: false, packetId })) return;
    // Too large for this client: as if it had been sent and completed [MQTT-3.1.2-25].
    session.drop(held);
    session.inflight.delete(packetId);
    this.#giveBackQuota();
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
    if (!this.#append(encoder, how)) {
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

  #sendQos0(publication: Publication, retain: boolean, identifiers: readonly number[]): void {
    const { context, output, recipient } = this.#parts;
    const { options, counters } = context;
    if (output.waiting + publication.message.payload.length > options.maxBufferedBytes) {
      counters.droppedSlow++;
      return;
    }
    const plain = !retain && identifiers.length === 0 && this.#parts.aliasMaximum === 0;
    if (plain && publication.fanningOut && publication.message.payload.length >= SHARED_BYTES) {
      const bytes = encoderOf(publication).shared(recipient.version);
      if (bytes.length > recipient.maximumPacketSize) {
        counters.droppedTooLarge++;
        return;
      }
      counters.sent++;
      output.writeShared(bytes);
      return;
    }
    this.#send(publication, { qos: 0, retain, dup: false, packetId: 0, identifiers });
  }

  #send(publication: Publication, how: How): boolean {
    if (this.#parts.aliasMaximum > 0) return this.#sendAliased(publication, how);
    if (publication.fanningOut) return this.#append(encoderOf(publication), how);
    return this.#append(new PublishEncoder(this.#outgoing(publication)), how);
  }

  #outgoing({ message, publishedAtMs }: Publication): OutgoingMessage {
    const { recipient, context } = this.#parts;
    const { topic, payload, properties } = message;
    if (recipient.version === 4 || properties === undefined) {
      return { topic, payload, properties: undefined };
    }
    const left = expiryLeft(message, publishedAtMs, context.broker.clock);
    return { topic, payload, properties: publishProperties(properties, left) };
  }

  /**
   * [MQTT-3.3.2-9], [MQTT-3.3.2-12]: the first packet with a topic gives it a number, the next name
   * that.
   */
  #sendAliased(publication: Publication, how: How): boolean {
    const plain = this.#outgoing(publication);
    const known = this.#aliases.get(plain.topic);
    const alias = known ?? this.#aliases.size + 1;
    if (alias > this.#parts.aliasMaximum) return this.#append(new PublishEncoder(plain), how);
    const sent = this.#append(
      new PublishEncoder({
        topic: known === undefined ? plain.topic : '',
        payload: plain.payload,
        properties: { ...plain.properties, topicAlias: alias },
      }),
      how,
    );
    if (sent && known === undefined) this.#aliases.set(plain.topic, alias);
    return sent;
  }

  /** False: larger than the client takes; nothing was written. */
  #append(encoder: PublishEncoder, how: How): boolean {
    const { output, recipient, context } = this.#parts;
    scratch.version = recipient.version;
    scratch.qos = how.qos;
    scratch.retain = how.retain;
    scratch.dup = how.dup;
    scratch.packetId = how.packetId;
    scratch.subscriptionIdentifiers = how.identifiers;
    const limit = recipient.maximumPacketSize;
    if (limit !== Number.POSITIVE_INFINITY && encoder.size(scratch) > limit) {
      context.counters.droppedTooLarge++;
      return false;
    }
    encoder.append(output.writer, scratch);
    context.counters.sent++;
    output.appended();
    return true;
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

/** One encoder for all subscribers that get the message now. */
function encoderOf(publication: Publication): PublishEncoder {
  const { encoder, message } = publication;
  if (encoder instanceof PublishEncoder) return encoder;
  const made = new PublishEncoder({
    topic: message.topic,
    payload: message.payload,
    properties: publishProperties(message.properties, message.properties?.expirySeconds),
  });
  publication.encoder = made;
  return made;
}
