/**
 * The naive model of a publisher's and a subscriber's session, kept beside the server by what
 * reaches it and what it writes: lists, sets, and what MQTT 5.0 says of them.
 *
 * It judges every packet that the server writes: whether it is due, in its order, with a packet id
 * that nothing in flight has, within the receive maximum.
 */

import { ok, strictEqual } from 'node:assert/strict';
import type { ServerPacket } from '../support/mqtt-server.ts';
import { type Message, messageOf } from './session-clients.ts';
import type { Watch } from './session-line.ts';

/** What came about in all runs: a run that saw none of something proves nothing of it. */
export const seen = {
  delivered: 0,
  repeated: 0,
  releasesRepeated: 0,
  repeatedByPublisher: 0,
  atTheMaximum: 0,
  refused: 0,
  waited: 0,
  aliases: 0,
  retained: 0,
};

export class PublisherModel implements Watch {
  /** QoS 2 ids that are taken. */
  readonly #taken = new Set<number>();
  #answers: string[] = [];
  #completions: string[] = [];
  readonly #accepted: (message: Message) => void;

  constructor(accepted: (message: Message) => void) {
    this.#accepted = accepted;
  }

  connected(): void {
    this.#answers = [];
    this.#completions = [];
  }

  reached(packet: ServerPacket): void {
    const id = Number(packet['messageId']);
    if (packet.cmd === 'publish') {
      const message = messageOf(packet);
      if (packet['dup'] === true) seen.repeatedByPublisher++;
      if (message.qos === 1) this.#answers.push(`puback ${id}`);
      if (message.qos === 2) this.#answers.push(`pubrec ${id}`);
      if (message.qos === 2 && this.#taken.has(id)) return;
      if (message.qos === 2) this.#taken.add(id);
      this.#accepted(message);
    } else if (packet.cmd === 'pubrel') {
      this.#taken.delete(id);
      // Whether a durable session knew the id is nowhere to be seen: its keys are in the log.
      this.#completions.push(`pubcomp ${id} 0`);
    }
  }

  /** Answers in the order of the publishes [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
  wrote(packet: ServerPacket): void {
    const { cmd } = packet;
    if (cmd === 'connack') return;
    const code = Number(packet['reasonCode'] ?? 0);
    if (cmd === 'pubcomp') {
      strictEqual(`${cmd} ${String(packet['messageId'])} ${code}`, this.#completions.shift());
    } else {
      strictEqual(code, 0, `${cmd} with ${code}`);
      strictEqual(`${cmd} ${String(packet['messageId'])}`, this.#answers.shift());
    }
  }

  /** Nothing is under way. */
  finished(): void {
    strictEqual(this.#answers.join(), '');
    strictEqual(this.#completions.join(), '');
    strictEqual(this.#taken.size, 0);
  }
}

interface InUse {
  readonly number: number;
  readonly qos: number;
  /** `received`: PUBREC has reached the server, which has not said PUBREL. */
  state: 'sent' | 'received' | 'released';
}

export interface SubscriberRules {
  readonly version: 4 | 5;
  readonly granted: 0 | 1 | 2;
  /** The smaller of the client's receive maximum and the server's bound. */
  readonly maxInflight: number;
  readonly aliasMaximum: number;
}

export class SubscriberModel implements Watch {
  /** Everything that it is to get at QoS 1 or 2, in order. */
  readonly due: Message[] = [];
  /** The same of what was retained when it subscribed. */
  readonly retained: Message[] = [];
  readonly #rules: SubscriberRules;
  #next = 0;
  #nextRetained = 0;
  /** Those that may still come at QoS 0; in order those of one QoS of their publisher. */
  #passing: Message[] = [];
  readonly #inUse = new Map<number, InUse>();
  /** Of the present connection. */
  #repeats: number[] = [];
  #releases: number[] = [];
  /** Whose PUBCOMP has reached the server. */
  readonly #completed = new Set<number>();
  #unanswered = new Set<number>();
  #aliases = new Map<number, string>();

  constructor(rules: SubscriberRules) {
    this.#rules = rules;
  }

  /** The server took a publish. */
  accepted(message: Message): void {
    if (Math.min(message.qos, this.#rules.granted) === 0) this.#passing.push(message);
    else if (message.retain) this.retained.push(message);
    else this.due.push(message);
  }

  reached(packet: ServerPacket): void {
    const id = Number(packet['messageId']);
    const used = this.#inUse.get(id);
    switch (packet.cmd) {
      case 'pubrec':
        ok(used?.qos === 2);
        if (Number(packet['reasonCode'] ?? 0) >= 0x80) {
          seen.refused++;
          this.#free(id);
          return;
        }
        if (used.state === 'sent') used.state = 'received';
        this.#releases.push(id);
        return;
      case 'puback':
        ok(used?.qos === 1);
        this.#free(id);
        return;
      case 'pubcomp':
        if (used === undefined) ok(this.#completed.has(id));
        else ok(used.state === 'released');
        this.#completed.add(id);
        this.#free(id);
        return;
      default:
    }
  }

  wrote(packet: ServerPacket): void {
    switch (packet.cmd) {
      case 'connack':
      case 'suback':
        return;
      case 'publish':
        this.#published(packet);
        return;
      case 'pubrel':
        this.#released(Number(packet['messageId']));
        return;
      default:
        throw new Error(`${packet.cmd} to the subscriber`);
    }
  }

  /** Everything was delivered, and nothing is in flight. */
  finished(): void {
    strictEqual(this.#next, this.due.length, 'messages that were never sent');
    strictEqual(this.#nextRetained, this.retained.length, 'retained messages never sent');
    strictEqual(this.#inUse.size, 0, 'messages in flight');
    strictEqual(this.#repeats.length + this.#releases.length, 0, 'something was not repeated');
  }

  connected(): void {
    const used = [...this.#inUse];
    // What was received and not released may come again, or its PUBREL: as the log has it.
    this.#repeats = used.filter(([, { state }]) => state !== 'released').map(([id]) => id);
    this.#releases = used.filter(([, { state }]) => state !== 'sent').map(([id]) => id);
    seen.releasesRepeated += this.#releases.length;
    this.#unanswered = new Set();
    this.#aliases = new Map();
  }

  #free(id: number): void {
    this.#inUse.delete(id);
    this.#unanswered.delete(id);
  }

  #released(id: number): void {
    const at = this.#releases.indexOf(id);
    // The log may not have what was completed just before the connection was lost.
    ok(at >= 0 || this.#completed.has(id), `PUBREL of ${id}, which is not due`);
    if (at >= 0) this.#releases.splice(at, 1);
    const used = this.#inUse.get(id);
    if (used !== undefined) used.state = 'released';
    this.#repeats = this.#repeats.filter((each) => each !== id);
  }

  #published(packet: ServerPacket): void {
    const message = messageOf(packet);
    strictEqual(this.#topicOf(packet), message.topic);
    const qos = Math.min(message.qos, this.#rules.granted);
    strictEqual(packet['qos'], qos);
    if (qos === 0) {
      this.#publishedOnce(packet, message);
      return;
    }
    const id = Number(packet['messageId']);
    ok(id > 0);
    const used = this.#inUse.get(id);
    // One that was on its way when the connection was lost may be told as one that was sent.
    if (packet['dup'] === true && used !== undefined) {
      // As it was, in the order in which it was sent first [MQTT-4.4.0-1].
      strictEqual(id, this.#repeats.shift(), 'repeated, and not its turn');
      strictEqual(used.number, message.number, 'repeated with another message');
      used.state = 'sent';
      this.#releases = this.#releases.filter((each) => each !== id);
      seen.repeated++;
    } else {
      ok(used === undefined, `packet id ${id} is in use`);
      strictEqual(this.#repeats.length, 0, 'a new message before what is repeated');
      const due = message.retain ? this.retained[this.#nextRetained] : this.due[this.#next];
      strictEqual(message.number, due?.number, 'another message is due');
      if (message.retain) this.#nextRetained++;
      else this.#next++;
      if (message.retain) seen.retained++;
      this.#inUse.set(id, { number: message.number, qos, state: 'sent' });
      seen.delivered++;
    }
    // [MQTT-3.3.4-9]
    this.#unanswered.add(id);
    const { maxInflight } = this.#rules;
    ok(this.#unanswered.size <= maxInflight, `more than ${maxInflight} are not answered`);
    if (this.#unanswered.size === maxInflight) seen.atTheMaximum++;
    if (this.#next < this.due.length) seen.waited++;
  }

  /** QoS 0: at most once, in order; those before it are lost. */
  #publishedOnce(packet: ServerPacket, { number }: Message): void {
    strictEqual(packet['dup'], false);
    const one = this.#passing.find((each) => each.number === number);
    ok(one !== undefined, 'at QoS 0, and not due');
    const isOver = (each: Message): boolean =>
      each.qos === one.qos && each.retain === one.retain && each.number <= number;
    this.#passing = this.#passing.filter((each) => !isOver(each));
  }

  #topicOf({ topic, properties }: ServerPacket): string {
    const alias = (properties as { topicAlias?: number } | undefined)?.topicAlias;
    if (alias === undefined) return String(topic);
    ok(alias > 0 && alias <= this.#rules.aliasMaximum);
    if (topic !== '') this.#aliases.set(alias, String(topic));
    else seen.aliases++;
    return this.#aliases.get(alias) ?? `alias ${alias}, which is not known`;
  }
}
