/**
 * The two clients of the session property. They do what the specification asks of a client (4.3,
 * 4.4, 4.6) and no more; when they do it is up to the steps. Their state outlives connections, as
 * that of clients with a store does.
 */

import type { ServerPacket } from '../support/mqtt-server.ts';
import { Line, type LineParts } from './session-line.ts';

export interface Message {
  /** Unique; goes up in the order of publishing. */
  readonly number: number;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}

/** The payload says which message it is; `bytes` more make it large. */
function payloadOf({ number, topic, qos }: Message, bytes: number): string {
  return `${number}|${topic}|${qos}|${'.'.repeat(bytes)}`;
}

export function messageOf(packet: ServerPacket): Message {
  const [number, topic, qos] = String(packet['payload']).split('|', 3);
  const retain = packet['retain'] === true;
  return { number: Number(number), topic: String(topic), qos: Number(qos) as 0 | 1 | 2, retain };
}

interface Unfinished {
  readonly message: Message;
  readonly bytes: number;
  /** PUBREC has come: PUBREL is what is repeated. */
  released: boolean;
}

export class Publisher {
  readonly line: Line;
  /** At QoS 1 and 2, by packet id, in the order in which they are repeated. */
  readonly unfinished = new Map<number, Unfinished>();
  #published = 0;
  /** Of the server; a 3.1.1 client is not told and takes this. */
  #receiveMaximum = 8;

  constructor(parts: LineParts) {
    this.line = new Line(parts, (packet) => this.#received(packet));
  }

  publish(topic: string, qos: 0 | 1 | 2, bytes: number, retain = false): void {
    if (!this.line.isUp || (qos > 0 && this.unfinished.size >= this.#receiveMaximum)) return;
    const message = { number: this.#published++, topic, qos, retain };
    let packetId = 0;
    if (qos > 0) {
      // The lowest that is free, so that ids come again soon.
      packetId = 1;
      while (this.unfinished.has(packetId)) packetId++;
      this.unfinished.set(packetId, { message, bytes, released: false });
    }
    this.#send(packetId, { message, bytes }, false);
  }

  #send(messageId: number, { message, bytes }: Omit<Unfinished, 'released'>, dup: boolean): void {
    const { topic, qos, retain } = message;
    const payload = payloadOf(message, bytes);
    this.line.send({ cmd: 'publish', topic, payload, qos, retain, dup, messageId });
  }

  #received(packet: ServerPacket): void {
    const messageId = Number(packet['messageId']);
    const unfinished = this.unfinished.get(messageId);
    switch (packet.cmd) {
      case 'connack':
        this.#repeat(packet);
        return;
      case 'puback':
        if (unfinished?.message.qos !== 1) throw new Error(`PUBACK of ${messageId}`);
        this.unfinished.delete(messageId);
        return;
      case 'pubrec':
        if (unfinished?.message.qos !== 2) throw new Error(`PUBREC of ${messageId}`);
        unfinished.released = true;
        // PUBRELs are repeated in the order of PUBRECs.
        this.unfinished.delete(messageId);
        this.unfinished.set(messageId, unfinished);
        this.line.send({ cmd: 'pubrel', messageId });
        return;
      case 'pubcomp':
        if (unfinished?.released !== true) throw new Error(`PUBCOMP of ${messageId}`);
        this.unfinished.delete(messageId);
        return;
      default:
        throw new Error(`the publisher got ${packet.cmd}`);
    }
  }

  #repeat({ properties }: ServerPacket): void {
    const told = (properties as { receiveMaximum?: number } | undefined)?.receiveMaximum;
    if (this.line.version === 5) this.#receiveMaximum = told ?? 65_535;
    for (const [messageId, unfinished] of this.unfinished) {
      if (unfinished.released) this.line.send({ cmd: 'pubrel', messageId });
      else this.#send(messageId, unfinished, true);
    }
  }
}

interface HeldAnswer {
  readonly cmd: 'puback' | 'pubrec' | 'pubcomp';
  readonly messageId: number;
  readonly number: number;
}

const REFUSED = 0x80;

export class Subscriber {
  readonly line: Line;
  /** What its application got, in order. */
  readonly got: Message[] = [];
  /** What it refused, which may come again if the refusal is lost. */
  readonly refused = new Set<number>();
  /** QoS 2 ids whose PUBREL has not come. */
  readonly #stored = new Set<number>();
  /** Of the present connection, in order: a step sends them. */
  #held: HeldAnswer[] = [];

  constructor(parts: LineParts) {
    this.line = new Line(parts, (packet) => this.#received(packet));
  }

  get held(): number {
    return this.#held.length;
  }

  subscribe(topic: string, qos: 0 | 1 | 2): void {
    this.line.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] });
  }

  /** Sends answers in the order in which they became due [MQTT-4.6.0-2]. */
  answer(count: number, refuse: boolean): void {
    if (!this.line.isUp) return;
    for (const { cmd, messageId, number } of this.#held.splice(0, count)) {
      const refuses = refuse && this.line.version === 5 && cmd !== 'pubcomp';
      if (refuses) {
        this.refused.add(number);
        this.#stored.delete(messageId);
      }
      this.line.send({ cmd, messageId, ...(refuses && { reasonCode: REFUSED }) });
    }
  }

  #received(packet: ServerPacket): void {
    const messageId = Number(packet['messageId']);
    switch (packet.cmd) {
      case 'connack':
        this.#held = [];
        return;
      case 'suback':
        return;
      case 'publish':
        this.#publish(packet, messageId);
        return;
      case 'pubrel':
        this.#stored.delete(messageId);
        this.#held.push({ cmd: 'pubcomp', messageId, number: -1 });
        return;
      default:
        throw new Error(`the subscriber got ${packet.cmd}`);
    }
  }

  #publish(packet: ServerPacket, messageId: number): void {
    const message = messageOf(packet);
    if (packet['qos'] !== 2 || !this.#stored.has(messageId)) this.got.push(message);
    if (packet['qos'] === 1) this.#held.push({ cmd: 'puback', messageId, number: message.number });
    if (packet['qos'] !== 2) return;
    this.#stored.add(messageId);
    this.#held.push({ cmd: 'pubrec', messageId, number: message.number });
  }
}
