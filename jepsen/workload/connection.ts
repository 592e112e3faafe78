/**
 * A connection of a client of the run: MQTT.js, unchanged, but that it never connects again by
 * itself nor sends anything twice, so that each attempt is an operation of the history.
 *
 * `publish` always ends: acknowledged, refused, or unknown after a time-out or the end of the
 * connection. What is unknown stays so, whatever is heard later.
 */

import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt';
import type { Address } from '../cluster/network.ts';

const CONNECT_MAX_MS = 5_000;
/** Above the broker's own `ack_timeout` of 10 s, so that its word is heard. */
const ANSWER_MAX_MS = 15_000;
/** Short, so that a client of a node that hangs goes elsewhere soon. */
const KEEP_ALIVE_S = 5;
/** Unsettled at once. */
const DELIVERIES_MAX = 32;

export type UserProperties = Readonly<Record<string, string>>;

export interface Answer {
  readonly type: 'ok' | 'fail' | 'info';
  readonly error?: string;
}

/** Reason codes of PUBACK that say for certain that nothing was stored or settled. */
const CERTAIN = new Set([
  0x90, // topic name invalid
  0x97, // quota exceeded: a full queue, a disk inside its reserve
]);

function reasonCode(error: Error): number | undefined {
  const code = (error as { readonly code?: unknown }).code;
  return typeof code === 'number' ? code : undefined;
}

function answerOf(error: Error): Answer {
  const code = reasonCode(error);
  if (code === undefined) return { type: 'info', error: error.message };
  const text = `0x${code.toString(16)} ${error.message}`;
  return { type: CERTAIN.has(code) ? 'fail' : 'info', error: text };
}

export interface Message {
  readonly payload: string;
  readonly user: UserProperties;
}

export class Connection {
  readonly node: string;
  readonly #client: MqttClient;
  readonly #closed: Promise<string>;
  #why = 'connection lost';
  #open = true;
  readonly #waiting = new Set<(answer: Answer) => void>();

  private constructor(node: string, client: MqttClient) {
    this.node = node;
    this.#client = client;
    this.#closed = new Promise((resolve) => {
      client.on('close', () => {
        this.#open = false;
        for (const end of this.#waiting) end({ type: 'info', error: this.#why });
        resolve(this.#why);
      });
    });
    client.on('error', (error) => {
      this.#why = error.message;
    });
    client.on('disconnect', ({ reasonCode: code }) => {
      this.#why = `DISCONNECT 0x${(code ?? 0).toString(16)}`;
    });
  }

  /** Rejects when the node does not answer in time. */
  static open(node: string, { host, port }: Address, clientId: string): Promise<Connection> {
    const client = mqtt.connect({
      host,
      port,
      clientId,
      protocolVersion: 5,
      reconnectPeriod: 0,
      connectTimeout: CONNECT_MAX_MS,
      keepalive: KEEP_ALIVE_S,
      resubscribe: false,
      properties: { receiveMaximum: DELIVERIES_MAX },
    });
    const connection = new Connection(node, client);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => client.end(true), CONNECT_MAX_MS);
      client.once('connect', () => {
        clearTimeout(timer);
        resolve(connection);
      });
      void connection.closed.then((why) => {
        clearTimeout(timer);
        reject(new Error(`${node}: ${why}`));
      });
    });
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Resolves with the reason when the connection has ended. */
  get closed(): Promise<string> {
    return this.#closed;
  }

  onMessage(listener: (message: Message) => void): void {
    this.#client.on('message', (_topic, payload, packet: IPublishPacket) => {
      const user = (packet.properties?.userProperties ?? {}) as UserProperties;
      listener({ payload: payload.toString(), user });
    });
  }

  publish(topic: string, payload: string, user?: UserProperties): Promise<Answer> {
    return this.#answered((done) => {
      const properties = user === undefined ? {} : { userProperties: { ...user } };
      this.#client.publish(topic, payload, { qos: 1, properties }, done);
    });
  }

  subscribe(topic: string, user: UserProperties): Promise<Answer> {
    return this.#answered((done) => {
      const properties = { userProperties: { ...user } };
      this.#client.subscribe(topic, { qos: 1, properties }, done);
    });
  }

  /** Without a word to the broker: the socket is gone. */
  async cut(): Promise<void> {
    this.#client.end(true);
    await this.#closed;
  }

  /** In order, with DISCONNECT; cut when that takes too long. */
  async leave(): Promise<void> {
    if (!this.#open) return;
    const force = setTimeout(() => this.#client.end(true), CONNECT_MAX_MS);
    this.#client.end(false);
    await this.#closed;
    clearTimeout(force);
  }

  #answered(ask: (done: (error?: Error | null) => void) => void): Promise<Answer> {
    if (!this.#open) return Promise.resolve({ type: 'info', error: this.#why });
    return new Promise((resolve) => {
      const end = (answer: Answer): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        resolve(answer);
      };
      const timer = setTimeout(() => {
        end({ type: 'info', error: 'time-out' });
        // Its answers cannot be told apart from later ones any more.
        this.#client.end(true);
      }, ANSWER_MAX_MS);
      this.#waiting.add(end);
      ask((error) => end(error ? answerOf(error) : { type: 'ok' }));
    });
  }
}
