/**
 * The publishes of one connection: what they must not do, their way into the broker, and their
 * acknowledgements, in the order in which they came ([MQTT-4.6.0-2], [MQTT-4.6.0-3]) although some
 * wait for the log and some do not.
 *
 * A ring holds a slot for each QoS 1 or 2 publish that is not answered; its tag is the slot's
 * running number. Nothing positive is written without the broker's proof. An outcome that comes
 * after the connection is gone writes nothing, but still settles what the session knows of a QoS 2
 * publish, so that the client may repeat it on its next connection and is told the same.
 *
 * A QoS 2 publish to queues, of a session that is kept, has a key in the log. It is released before
 * PUBCOMP, and before a PUBREC that tells of an unknown outcome: only then is the packet id free. A
 * release that is not confirmed ends the connection, and the client repeats what it said.
 *
 * A publish that settles (`settle.ts`) is answered like any other, once its settlement is certain.
 *
 * MQTT 5.0 sections 3.3.4, 3.3.5, 4.3, 4.9.
 */

import { isUtf8 } from 'node:buffer';

import type { Message } from '../../broker/message.ts';
import type {
  Acknowledgeable,
  Committed,
  EnqueueRefusal,
  EnqueueWaiter,
  Publisher,
  PublishKey,
  PublishRefusal,
  PublishWaiter,
  QueueInfo,
  SettleAnswer,
  SettleWaiter,
} from '../../broker/ports.ts';
import { QUEUE_PREFIX, queueTopic } from '../../broker/queue-topic.ts';
import type { AccessRights } from '../access.ts';
import type { MqttContext } from './context.ts';
import { messageProperties } from './convert.ts';
import {
  encodePuback,
  encodePubackRefused,
  encodePubcomp,
  encodePubrec,
  encodePubrecRefused,
  type Proof,
  type Recipient,
} from './encode.ts';
import type { Output } from './output.ts';
import type { PublishPacket, UserProperties } from './packet.ts';
import { ENDINGS, type PublishEnding } from './publish-endings.ts';
import { ReasonCode } from './reason-codes.ts';
import { type Refusal, REFUSALS, SETTLE_ANSWERS_REFUSED } from './refusals.ts';
import type { Received, Session } from './session.ts';
import { settledQueue, settlementOf } from './settle.ts';

type Outcome = Proof | Refusal | 'waiting';

/** The tag of a settlement at QoS 0: nobody hears what became of it. */
const UNANSWERED = -1;

interface Slot {
  packetId: number;
  qos: 1 | 2;
  outcome: Outcome;
  /** At QoS 2: what the session knows of it. */
  received: Received | undefined;
  /** At QoS 2: its PUBLISH came again while it was known, so this slot only answers. */
  repeated: boolean;
  /** It is one of `#unfinished`. */
  counts: boolean;
}

const FIRST_RING_SIZE = 16;
/** A longer topic is not remembered: a connection pins little. */
const PLAIN_TOPIC_MAX = 128;

export interface PublishFlowParts {
  readonly context: MqttContext;
  readonly session: Session;
  readonly rights: AccessRights | undefined;
  readonly output: Output;
  readonly recipient: Recipient;
  /** The client asked not to be told reason strings. */
  readonly terse: boolean;
  /** Ends the connection: a refused publish of a 3.1.1 client, a release that is not confirmed. */
  readonly end: (ending: PublishEnding) => void;
}

export class PublishFlow implements PublishWaiter, SettleWaiter {
  readonly #parts: PublishFlowParts;
  readonly #publisher: Publisher & { key: PublishKey | undefined };
  readonly #aliases = new Map<number, string>();
  /** A power of two; slot of number n at n & (length - 1). */
  #ring: Slot[] = [];
  #first = 0;
  #next = 0;
  /** Publishes that count against the receive maximum (5.0 section 4.9). */
  #unfinished = 0;
  /** QoS 2 publishes that came on this connection and count in `#unfinished`. */
  readonly #counted = new Set<Received>();
  /** Whose PUBREL has come, by packet id, until the release of its key is confirmed. */
  readonly #releasing = new Map<number, Received | undefined>();
  readonly #releases: EnqueueWaiter = {
    enqueued: (packetId, outcome) => this.#released(packetId, outcome),
  };
  /** The same for those that timed out, by their running number. */
  readonly #undone: EnqueueWaiter = {
    enqueued: (sequence, outcome) => this.#undoneOrNot(sequence, outcome),
  };
  /** Settlements at QoS 0 that are not known to be done. */
  #unheard = 0;
  /** The topic of the last publish that settled nothing: most clients have one, as one object. */
  #plainTopic = '';
  #plainIsForQueues = false;
  #closed = false;

  constructor(parts: PublishFlowParts) {
    this.#parts = parts;
    const { session } = parts;
    this.#publisher = { origin: session.origin, subscriber: session, waiter: this, key: undefined };
  }

  /**
   * So many wait for an answer that no more are read: a 3.1.1 client knows no receive maximum, and
   * settlements at QoS 0 do not count against it. The connection asks again at the end of a turn.
   */
  get full(): boolean {
    const { recipient, context } = this.#parts;
    const waiting = recipient.version === 4 ? this.#next - this.#first : this.#unheard;
    return waiting >= context.options.receiveMaximum;
  }

  /** True if the message waits for a queue, or for routes: its publisher obeys back-pressure. */
  publish(packet: PublishPacket): PublishEnding | boolean {
    const { context, session } = this.#parts;
    const { options, counters } = context;
    counters.received++;
    if (packet.qos > options.maxQos) return ENDINGS.qos;
    if (packet.retain && !options.retainAvailable) return ENDINGS.retain;
    const topic = this.#topicOf(packet);
    if (typeof topic === 'object') return topic;
    const lies = packet.properties?.payloadFormatIndicator === 1 && !isUtf8(packet.payload);
    const message: Message = {
      topic,
      payload: packet.payload,
      qos: packet.qos,
      retain: packet.retain,
      properties: messageProperties(packet.properties),
    };
    if (packet.qos === 0) {
      if (lies) return ENDINGS.payloadFormat;
      this.#publisher.key = undefined;
      const outcome = this.#handOver(message, UNANSWERED);
      if (typeof outcome === 'string' && outcome !== 'waiting') counters.refusedPublishes++;
      return outcome === 'waiting' && this.#isForQueues(topic);
    }
    const known = packet.qos === 2 ? session.received.get(packet.packetId) : undefined;
    const counts = known === undefined || !this.#counted.has(known);
    if (counts) {
      if (this.#parts.recipient.version === 5 && this.#unfinished >= options.receiveMaximum) {
        return ENDINGS.receiveMaximum;
      }
      this.#unfinished++;
    }
    const sequence = this.#push(packet.packetId, packet.qos, counts);
    if (known !== undefined) {
      this.#repeat(sequence, known);
      return false;
    }
    const received = packet.qos === 2 ? this.#receive(packet.packetId, sequence) : undefined;
    this.#publisher.key = received && session.publishKey(packet.packetId);
    const outcome = lies ? 'payload-format' : this.#handOver(message, sequence);
    if (outcome === 'waiting') {
      if (received !== undefined) received.keyed = this.#publisher.key !== undefined;
      return this.#isForQueues(topic) || context.broker.isBehind;
    }
    this.resolve(sequence, outcome);
    return false;
  }

  #handOver(message: Message, tag: number): Outcome {
    const { rights, context } = this.#parts;
    const { broker } = context;
    const { topic, properties } = message;
    const publisher = this.#publisher;
    if (topic === this.#plainTopic) {
      if (rights?.may('publish', topic) === false) return denied(rights);
      return broker.publish(message, publisher, tag === UNANSWERED ? undefined : tag);
    }
    const settlement = settlementOf(topic, properties?.userProperties, broker);
    if (settlement === undefined) {
      if (rights?.may('publish', topic) === false) return denied(rights);
      if (topic.length <= PLAIN_TOPIC_MAX) {
        this.#plainTopic = topic;
        this.#plainIsForQueues = topic.startsWith(QUEUE_PREFIX);
      }
      return broker.publish(message, publisher, tag === UNANSWERED ? undefined : tag);
    }
    // Whoever may consume a queue settles what comes of it.
    if (rights?.may('consume', queueTopic(settledQueue(topic))) === false) return denied(rights);
    // Settling twice is settling once.
    publisher.key = undefined;
    if (settlement === 'settle-no-queue') {
      const found = broker.findQueue(settledQueue(topic));
      if (found === undefined) return settlement;
      const late = { topic, userProperties: properties?.userProperties };
      void found.then((queue) => this.#settleFound(queue, late, tag));
    } else if (typeof settlement === 'string') return settlement;
    else broker.settle(settlement, this, tag);
    if (tag === UNANSWERED) this.#unheard++;
    return 'waiting';
  }

  /** The queue was not known when the settlement came, and was asked for. */
  #settleFound(
    queue: QueueInfo | 'unavailable' | undefined,
    { topic, userProperties }: { topic: string; userProperties: UserProperties | undefined },
    tag: number,
  ): void {
    const { broker } = this.#parts.context;
    const settlement =
      queue === 'unavailable' ? 'settle-unavailable' : settlementOf(topic, userProperties, broker);
    if (typeof settlement === 'object') broker.settle(settlement, this, tag);
    else this.#settled(tag, settlement ?? 'settle-no-queue');
  }

  /**
   * Its publisher obeys the back-pressure of the shard. That of an ordinary topic does not, or a
   * stalled queue that captures would keep the topic from its subscribers (Q12).
   */
  #isForQueues(topic: string): boolean {
    return topic === this.#plainTopic ? this.#plainIsForQueues : topic.startsWith(QUEUE_PREFIX);
  }

  /** PUBREL: the client will not repeat the PUBLISH; its id is free [MQTT-4.3.3-11]. */
  release(packetId: number): PublishEnding | undefined {
    const { session, context } = this.#parts;
    const received = session.received.get(packetId);
    if (received !== undefined && received.proof === undefined) return ENDINGS.earlyRelease;
    // What came before the broker was started anew, or on another node, only the log knows.
    const mayBeKeyed = received === undefined || received.keyed;
    const key = mayBeKeyed ? session.publishKey(packetId) : undefined;
    if (key === undefined) {
      this.#complete(packetId, received);
    } else if (!this.#releasing.has(packetId)) {
      this.#releasing.set(packetId, received);
      context.broker.release(key, this.#releases, packetId);
    }
    return undefined;
  }

  #released(packetId: number, outcome: Committed | EnqueueRefusal): void {
    const received = this.#releasing.get(packetId);
    this.#releasing.delete(packetId);
    if (typeof outcome === 'number') this.#complete(packetId, received);
    // It says PUBREL again on its next connection.
    else if (!this.#closed) this.#parts.end(ENDINGS.notReleased);
  }

  #complete(packetId: number, received: Received | undefined): void {
    const { session, output, recipient } = this.#parts;
    if (received !== undefined) {
      if (session.received.get(packetId) === received) session.received.delete(packetId);
      if (this.#counted.delete(received)) this.#unfinished--;
    }
    if (this.#closed) return;
    // Whether the log knew it nobody says, and it is free now: the word for that is success.
    const isKept = received !== undefined || session.owned !== undefined;
    const unknown = !isKept && recipient.version === 5;
    const reason = unknown ? ReasonCode.packetIdentifierNotFound : ReasonCode.success;
    encodePubcomp(output.writer, packetId, reason);
    output.appended();
  }

  enqueued(tag: number, outcome: Acknowledgeable | PublishRefusal): void {
    this.resolve(tag, outcome);
  }

  settled(tag: number, answer: SettleAnswer): void {
    const outcome =
      answer === 'done' || answer === 'already' ? answer : SETTLE_ANSWERS_REFUSED[answer];
    this.#settled(tag, outcome);
  }

  #settled(tag: number, outcome: Proof | Refusal): void {
    if (tag !== UNANSWERED) {
      this.resolve(tag, outcome);
      return;
    }
    this.#unheard--;
    if (!isProof(outcome)) this.#parts.context.counters.refusedPublishes++;
    if (!this.#closed) this.#parts.output.ask();
  }

  /** The outcome of one publish is known; answers it, and those behind it that waited for it. */
  resolve(sequence: number, outcome: Proof | Refusal): void {
    const slot = this.#slot(sequence);
    const { received } = slot;
    if (received === undefined) {
      // All but QoS 2.
      slot.outcome = outcome;
      if (sequence === this.#first && !this.#closed) this.#answerWaiting();
      return;
    }
    const { packetId, repeated } = slot;
    if (outcome === 'timeout' && received.keyed && !repeated) {
      const key = this.#parts.session.publishKey(packetId);
      const told = !this.#closed || received.repeats.length > 0;
      if (key !== undefined && told) {
        this.#parts.context.broker.release(key, this.#undone, sequence);
        return;
      }
    }
    this.#conclude(sequence, outcome);
  }

  /** Whether the packet id of a publish that timed out is free. */
  #undoneOrNot(sequence: number, outcome: Committed | EnqueueRefusal): void {
    if (typeof outcome === 'string') this.giveUp(sequence);
    else this.#conclude(sequence, 'timeout');
  }

  /** Nothing true can be said of it: the client repeats it, and its key tells that it is known. */
  giveUp(sequence: number): void {
    const { received, packetId } = this.#slot(sequence);
    const repeats = received?.repeats ?? [];
    const { session, end } = this.#parts;
    if (session.received.get(packetId) === received) session.received.delete(packetId);
    if (!this.#closed) end(ENDINGS.notReleased);
    if (received !== undefined) received.repeats = [];
    for (const repeat of repeats) repeat.flow.giveUp(repeat.sequence);
  }

  #conclude(sequence: number, outcome: Proof | Refusal): void {
    const slot = this.#slot(sequence);
    const { received } = slot;
    slot.outcome = outcome;
    if (received !== undefined) {
      slot.received = undefined;
      if (!slot.repeated) this.#settleReceived(slot.packetId, received, outcome);
      if (!isProof(outcome)) this.#counted.delete(received);
    }
    if (sequence === this.#first && !this.#closed) this.#answerWaiting();
    if (received === undefined || slot.repeated) return;
    const { repeats } = received;
    received.repeats = [];
    for (const repeat of repeats) repeat.flow.resolve(repeat.sequence, outcome);
  }

  close(): void {
    this.#closed = true;
  }

  #topicOf(packet: PublishPacket): string | PublishEnding {
    const alias = packet.properties?.topicAlias;
    if (alias === undefined) return packet.topic;
    if (alias > this.#parts.context.options.topicAliasMaximum) return ENDINGS.alias;
    if (packet.topic === '') return this.#aliases.get(alias) ?? ENDINGS.unknownAlias;
    this.#aliases.set(alias, packet.topic);
    return packet.topic;
  }

  /** The topic that it is for, as long as it is not taken; undefined: it cannot be. */
  readonly topicOf = ({ topic, properties }: PublishPacket): string | undefined => {
    const alias = properties?.topicAlias;
    return topic === '' && alias !== undefined ? this.#aliases.get(alias) : topic;
  };

  #receive(packetId: number, sequence: number): Received {
    const received: Received = { keyed: false, proof: undefined, repeats: [] };
    this.#parts.session.received.set(packetId, received);
    this.#counted.add(received);
    this.#slot(sequence).received = received;
    return received;
  }

  /** The same QoS 2 publish again: not published, only answered [MQTT-4.3.3-10]. */
  #repeat(sequence: number, received: Received): void {
    this.#counted.add(received);
    const slot = this.#slot(sequence);
    slot.repeated = true;
    slot.received = received;
    if (received.proof !== undefined) this.resolve(sequence, received.proof);
    else received.repeats.push({ flow: this, sequence });
  }

  #settleReceived(packetId: number, received: Received, outcome: Proof | Refusal): void {
    if (isProof(outcome)) {
      received.proof = outcome;
      return;
    }
    // Its PUBREC ends it [MQTT-4.3.3-9]: the id means a new message from then on.
    const { session } = this.#parts;
    if (session.received.get(packetId) === received) session.received.delete(packetId);
  }

  #answerWaiting(): void {
    while (this.#first < this.#next) {
      const slot = this.#slot(this.#first);
      if (slot.outcome === 'waiting') break;
      this.#first++;
      this.#answer(slot, slot.outcome);
      if (this.#closed) return;
    }
    this.#parts.output.appended();
  }

  #answer(slot: Slot, outcome: Proof | Refusal): void {
    const { output } = this.#parts;
    if (isProof(outcome)) {
      if (slot.qos === 2) {
        encodePubrec(output.writer, slot.packetId, outcome);
      } else {
        this.#unfinished--;
        encodePuback(output.writer, slot.packetId, outcome);
      }
      return;
    }
    if (slot.counts) this.#unfinished--;
    this.#answerRefused(slot, outcome);
  }

  #answerRefused(slot: Slot, refusal: Refusal): void {
    const { context, output, recipient, terse } = this.#parts;
    context.counters.refusedPublishes++;
    const [reasonCode, words] = REFUSALS[refusal];
    const text = refusal === 'not-leader' ? notLeader(words, context.broker.leader) : words;
    if (recipient.version !== 5) {
      const reason = ReasonCode.implementationSpecificError;
      this.#parts.end({ reasonCode: reason, text: `publish refused: ${text}` });
      return;
    }
    const properties = terse ? undefined : { reasonString: text };
    const refused = { packetId: slot.packetId, reasonCode, properties };
    if (slot.qos === 2) encodePubrecRefused(output.writer, recipient, refused);
    else encodePubackRefused(output.writer, recipient, refused);
  }

  #push(packetId: number, qos: 1 | 2, counts: boolean): number {
    if (this.#next - this.#first === this.#ring.length) this.#grow();
    const sequence = this.#next++;
    const slot = this.#slot(sequence);
    slot.packetId = packetId;
    slot.qos = qos;
    slot.outcome = 'waiting';
    slot.received = undefined;
    slot.repeated = false;
    slot.counts = counts;
    return sequence;
  }

  #slot(sequence: number): Slot {
    const slot = this.#ring[sequence & (this.#ring.length - 1)];
    if (slot === undefined)
      throw new Error(`no slot ${sequence} in a ring of ${this.#ring.length}`);
    return slot;
  }

  #grow(): void {
    const size = Math.max(FIRST_RING_SIZE, this.#ring.length * 2);
    const grown: Slot[] = [];
    for (let index = 0; index < size; index++) {
      grown.push({
        packetId: 0,
        qos: 1,
        outcome: 'waiting',
        received: undefined,
        repeated: false,
        counts: false,
      });
    }
    for (let sequence = this.#first; sequence < this.#next; sequence++) {
      grown[sequence & (size - 1)] = this.#slot(sequence);
    }
    this.#ring = grown;
  }
}

function isProof(outcome: Proof | Refusal): outcome is Proof {
  return typeof outcome === 'number' || outcome === 'done' || outcome === 'already';
}

function notLeader(words: string, leader: string): string {
  return leader === '' ? `${words}; no node leads it now` : `${words}; ${leader} leads it`;
}

function denied({ isUnanswered }: AccessRights): Refusal {
  return isUnanswered ? 'authorization-unavailable' : 'not-authorized';
}
