/**
 * A user of queues for the acceptance tests: a socket and mqtt-packet, so that a test decides when
 * and how each delivery is acknowledged, with the words of this broker as functions; and a broker
 * process with the queues that a test wants.
 *
 * Nothing here waits for a time: `take` resolves when a delivery comes, and what must not come is
 * shown by something that comes behind it.
 */

import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type Socket, connect } from 'node:net';
import { join } from 'node:path';
import { type IPublishPacket, type Packet, generate, parser } from 'mqtt-packet';
import type { QueueDetail } from '../../src/broker/ports.ts';
import { withAdmin } from './broker-admin.ts';
import { BrokerProcess, scratchDirectory } from './broker-process.ts';

export interface Taken {
  readonly topic: string;
  readonly text: string;
  readonly user: Readonly<Record<string, string>>;
  readonly packet: IPublishPacket;
  /** The PUBACK: below 0x80 it settles, unless the consumer settles by hand. */
  answer(reasonCode: number): void;
}

export interface ConsumeWishes {
  readonly group?: string;
  readonly manual?: boolean;
  readonly offset?: string;
  readonly qos?: 0 | 1 | 2;
}

export interface PublishWishes {
  readonly user?: Record<string, string>;
  readonly expiry?: number;
  readonly retain?: boolean;
}

export type Settle = 'ack' | 'nack' | 'reject' | 'commit';

/** The broker said no; `code` is its reason code. */
export class Refused extends Error {
  readonly code: number;

  constructor(code: number, words: string | undefined) {
    super(`refused with 0x${code.toString(16)}: ${words ?? 'no reason string'}`);
    this.name = 'Refused';
    this.code = code;
  }
}

/** A broker whose queues stand in a configuration file of its own. */
export async function brokerWith(
  name: string,
  queues: readonly object[],
  more: object = {},
): Promise<BrokerProcess> {
  const directory = await scratchDirectory(name);
  const file = join(directory, 'broker.yaml');
  // YAML reads JSON.
  await writeFile(file, JSON.stringify({ log: { level: 'warn' }, queues, ...more }));
  return BrokerProcess.started(name, {
    dataDirectory: join(directory, 'data'),
    args: ['--config', file],
  });
}

/** What a test of queues sees of its broker, which may be several. */
export type QueueBroker = Pick<
  BrokerProcess,
  'port' | 'dataDirectory' | 'kill' | 'stop' | 'start' | 'remove'
>;
type QueueBrokerWith = (
  name: string,
  queues: readonly object[],
  more?: object,
) => Promise<QueueBroker>;

/** How tests of queues get theirs: one, unless a file asks for several. */
export const queueBrokers: { with: QueueBrokerWith } = { with: brokerWith };

const WINDOW = 500;

/** What an operator is shown of the queue. */
export async function queueShown(
  broker: Pick<QueueBroker, 'dataDirectory'>,
  name: string,
): Promise<QueueDetail> {
  return withAdmin(broker, (admin) => admin.show(name));
}

/** Looks again and again: for what the broker does by itself. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await new Promise((resolve) => {
      setTimeout(resolve, 30);
    });
  }
}

interface Waiting {
  readonly resolve: (packet: Packet) => void;
  readonly reject: (error: Error) => void;
}

export class QueueUser {
  readonly #socket: Socket;
  readonly #version: 4 | 5;
  readonly #here: Taken[] = [];
  readonly #takers: ((taken: Taken) => void)[] = [];
  /** By packet id; 0 is the CONNACK. */
  readonly #answers = new Map<number, Waiting>();
  #nextId = 1;

  private constructor(port: number, version: 4 | 5) {
    this.#version = version;
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const packets = parser({ protocolVersion: version });
    packets.on('packet', (packet) => this.#received(packet));
    this.#socket.on('data', (chunk) => packets.parse(chunk));
    this.#socket.on('error', () => {
      // Brokers of these tests are stopped and killed under their clients.
    });
    this.#socket.on('close', () => {
      for (const { reject } of this.#answers.values()) reject(new Error('the connection is lost'));
      this.#answers.clear();
    });
  }

  static async connect(port: number, clientId: string, version: 4 | 5 = 5): Promise<QueueUser> {
    const user = new QueueUser(port, version);
    user.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clean: true,
      clientId,
      keepalive: 0,
    });
    await user.#answer(0);
    return user;
  }

  async publish(topic: string, text: string, wishes: PublishWishes = {}): Promise<void> {
    const properties = {
      ...(wishes.user === undefined ? {} : { userProperties: wishes.user }),
      ...(wishes.expiry === undefined ? {} : { messageExpiryInterval: wishes.expiry }),
    };
    const messageId = this.#id();
    this.#send({
      cmd: 'publish',
      topic,
      payload: text,
      qos: 1,
      dup: false,
      retain: wishes.retain === true,
      messageId,
      ...(this.#version === 5 ? { properties } : {}),
    });
    const answer = await this.#answer(messageId);
    const code = 'reasonCode' in answer ? (answer.reasonCode ?? 0) : 0;
    if (code >= 0x80) throw new Refused(code, wordsOf(answer));
  }

  /** All of them, within what the broker lets wait for its answer. */
  async publishMany(topic: string, texts: readonly string[]): Promise<void> {
    for (let at = 0; at < texts.length; at += WINDOW) {
      await Promise.all(texts.slice(at, at + WINDOW).map((text) => this.publish(topic, text)));
    }
  }

  /** Rejects with the broker's words when it does not grant it. */
  async consume(topic: string, wishes: ConsumeWishes = {}): Promise<void> {
    const userProperties = {
      ...(wishes.group === undefined ? {} : { 'consumer-group': wishes.group }),
      ...(wishes.manual === true ? { ack: 'manual' } : {}),
      ...(wishes.offset === undefined ? {} : { 'x-stream-offset': wishes.offset }),
    };
    const wished = this.#version === 5 && Object.keys(userProperties).length > 0;
    const messageId = this.#id();
    this.#send({
      cmd: 'subscribe',
      messageId,
      subscriptions: [{ topic, qos: wishes.qos ?? 1 }],
      ...(wished ? { properties: { userProperties } } : {}),
    });
    const answer = await this.#answer(messageId);
    const code = answer.cmd === 'suback' ? Number(answer.granted[0]) : 0x80;
    if (code >= 0x80) throw new Refused(code, wordsOf(answer));
  }

  /** The next delivery. */
  take(): Promise<Taken> {
    const here = this.#here.shift();
    if (here !== undefined) return Promise.resolve(here);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  /** The next `count` deliveries, each settled by its PUBACK. */
  async settleNext(count: number): Promise<string[]> {
    const texts: string[] = [];
    for (let i = 0; i < count; i += 1) {
      const taken = await this.take();
      texts.push(taken.text);
      taken.answer(0);
    }
    return texts;
  }

  /** Deliveries that came and nobody asked for. */
  get untaken(): number {
    return this.#here.length;
  }

  /** Settles by publishing; resolves when the broker says that it is done. */
  settle(how: Settle, { user }: Pick<Taken, 'user'>, queue = user['queue']): Promise<void> {
    return this.publish(`$queue/${queue ?? ''}/$${how}`, '', {
      user: { 'message-id': user['message-id'] ?? '', 'group-id': user['group-id'] ?? '' },
    });
  }

  /** Resolves when the broker has read everything that was sent before. */
  async ping(): Promise<void> {
    this.#send({ cmd: 'pingreq' });
    await this.#answer(-1);
  }

  /** Its connection breaks: no DISCONNECT. */
  async die(): Promise<void> {
    this.#socket.destroy();
    if (!this.#socket.closed) await once(this.#socket, 'close');
  }

  async leave(): Promise<void> {
    if (this.#socket.closed) return;
    this.#socket.end(generate({ cmd: 'disconnect' }, { protocolVersion: this.#version }));
    await once(this.#socket, 'close');
  }

  #send(packet: Packet): void {
    this.#socket.write(generate(packet, { protocolVersion: this.#version }));
  }

  #id(): number {
    const id = this.#nextId;
    this.#nextId = (id % 65_535) + 1;
    return id;
  }

  #answer(id: number): Promise<Packet> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) reject(new Error('the connection is lost'));
      else this.#answers.set(id, { resolve, reject });
    });
  }

  #received(packet: Packet): void {
    if (packet.cmd === 'publish') {
      this.#delivered(packet);
      return;
    }
    let id = packet.messageId ?? 0;
    if (packet.cmd === 'pingresp') id = -1;
    const waiting = this.#answers.get(id);
    this.#answers.delete(id);
    waiting?.resolve(packet);
  }

  #delivered(packet: IPublishPacket): void {
    const { topic, payload, qos, messageId = 0, properties } = packet;
    const taken: Taken = {
      topic,
      text: payload.toString(),
      user: (properties?.userProperties ?? {}) as Record<string, string>,
      packet,
      answer: (reasonCode) => {
        if (qos > 0) this.#send({ cmd: 'puback', messageId, reasonCode });
      },
    };
    const taker = this.#takers.shift();
    if (taker === undefined) this.#here.push(taken);
    else taker(taken);
  }
}

function wordsOf(packet: Packet): string | undefined {
  const properties = 'properties' in packet ? packet.properties : undefined;
  return properties !== undefined && 'reasonString' in properties
    ? (properties.reasonString as string)
    : undefined;
}
