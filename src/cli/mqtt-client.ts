/**
 * A small MQTT client for the command line: one connection, publishes that are acknowledged in any
 * order, one stream of received messages that are acknowledged when their reader is done with them.
 *
 * Built on mqtt-packet and not on the broker's own codec, so that a mistake there is seen by
 * another reader. Never reconnects: whoever calls it is told why the connection ended.
 */

import { type Socket, connect } from 'node:net';
import { type IPublishPacket, type Packet, generate, parser } from 'mqtt-packet';
import { CliError, ExitCode } from './exit-codes.ts';
import { connackText, reasonText } from './reason-text.ts';

export type MqttVersion = 4 | 5;
export type Qos = 0 | 1 | 2;
export type UserProperties = Record<string, string | string[]>;

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly version: MqttVersion;
  readonly clientId: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly keepAliveSeconds: number;
  readonly timeoutMs: number;
}

export interface OutgoingMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly userProperties: UserProperties | undefined;
  /** Seconds; MQTT 5.0. */
  readonly expiry?: number | undefined;
}

export interface Wanted {
  readonly topics: readonly string[];
  readonly qos: Qos;
  readonly userProperties: UserProperties | undefined;
}

/**
 * Resolves when the message was dealt with; only then it is acknowledged, with this reason code
 * (MQTT 5.0).
 */
export type Receiver = (message: IPublishPacket) => Promise<number>;

const PUBLISHES_WAITING_MAX = 1000;
const PACKET_ID_MAX = 65_535;
const REFUSED_FROM = 0x80;

interface Waiting {
  readonly resolve: (packet: Packet) => void;
  readonly reject: (error: CliError) => void;
  readonly timer: NodeJS.Timeout;
}

export class MqttClient {
  readonly #socket: Socket;
  readonly #options: ConnectOptions;
  /** By packet id; 0 is the CONNACK. */
  readonly #waiting = new Map<number, Waiting>();
  /** QoS 2 messages that were taken and not yet released. */
  readonly #taken = new Set<number>();
  readonly #slots: (() => void)[] = [];
  #window = PUBLISHES_WAITING_MAX;
  #publishing = 0;
  #nextId = 0;
  #receiver: Receiver | undefined;
  #keepAlive: NodeJS.Timeout | undefined;
  #end: CliError | undefined;
  #closing = false;
  #ended: (error: CliError) => void = () => {};
  /** Resolves with the reason when the connection ended without `disconnect`. */
  readonly ended: Promise<CliError>;

  private constructor(options: ConnectOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#ended = resolve;
    });
    this.#socket = connect({ host: options.host, port: options.port, noDelay: true });
    this.#socket.on('error', (error) => this.#fail(this.#unreachable(error)));
    this.#socket.on('close', () => this.#fail(lost('the broker closed the connection')));
    const packets = parser({ protocolVersion: options.version });
    packets.on('packet', (packet) => this.#received(packet));
    packets.on('error', (error: Error) => this.#fail(lost(`not MQTT: ${error.message}`)));
    this.#socket.on('data', (chunk) => packets.parse(chunk));
  }

  static async connect(options: ConnectOptions): Promise<MqttClient> {
    const client = new MqttClient(options);
    const { version, clientId, user, password, keepAliveSeconds } = options;
    client.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clean: true,
      clientId,
      ...(user !== undefined && { username: user }),
      ...(password !== undefined && { password: Buffer.from(password) }),
      keepalive: keepAliveSeconds,
    });
    const answer = await client.#answer(0, 'the CONNACK');
    if (answer.cmd !== 'connack') throw lost(`unexpected ${answer.cmd}`);
    const code = (version === 5 ? answer.reasonCode : answer.returnCode) ?? 0;
    if (code !== 0) {
      client.close();
      const why = connackText(version, { code, said: answer.properties?.reasonString });
      throw new CliError(ExitCode.refused, `the broker refused the connection: ${why}`);
    }
    client.#window = Math.min(PUBLISHES_WAITING_MAX, answer.properties?.receiveMaximum ?? 65_535);
    const seconds = answer.properties?.serverKeepAlive ?? keepAliveSeconds;
    client.#startKeepAlive(seconds);
    return client;
  }

  /** Resolves when the broker has acknowledged it; at QoS 0 when it was handed to the socket. */
  async publish(message: OutgoingMessage): Promise<void> {
    const { userProperties, expiry, ...rest } = message;
    const properties = {
      ...(userProperties === undefined ? {} : { userProperties }),
      ...(expiry === undefined ? {} : { messageExpiryInterval: expiry }),
    };
    const packet: IPublishPacket = {
      cmd: 'publish',
      dup: false,
      ...rest,
      ...(this.#options.version === 5 ? { properties } : {}),
    };
    if (message.qos === 0) {
      if (!this.#send(packet)) await this.#drained();
      return;
    }
    await this.#slot();
    try {
      const messageId = this.#packetId();
      this.#send({ ...packet, messageId });
      // A reader of messages may publish, too: the answer comes behind the messages under way.
      this.#socket.resume();
      const first = await this.#answer(messageId, 'the acknowledgement');
      this.#accepted(first, message.topic);
      if (message.qos === 2) {
        this.#send({ cmd: 'pubrel', messageId });
        this.#accepted(await this.#answer(messageId, 'the completion'), message.topic);
      }
    } finally {
      this.#publishing -= 1;
      this.#slots.shift()?.();
    }
  }

  /** From now on each message goes to `receiver`, one after the other. */
  async subscribe({ topics, qos, userProperties }: Wanted, receiver: Receiver): Promise<void> {
    this.#receiver = receiver;
    const messageId = this.#packetId();
    const subscriptions = topics.map((topic) => ({ topic, qos }));
    // The encoder counts an empty list wrongly.
    const named = userProperties !== undefined && Object.keys(userProperties).length > 0;
    const properties = named ? { properties: { userProperties } } : {};
    this.#send({ cmd: 'subscribe', messageId, subscriptions, ...properties });
    const answer = await this.#answer(messageId, 'the SUBACK');
    const granted = answer.cmd === 'suback' ? answer.granted : [];
    const said = answer.cmd === 'suback' ? answer.properties?.reasonString : undefined;
    for (const [index, topic] of topics.entries()) {
      const code = Number(granted[index] ?? REFUSED_FROM);
      if (code < REFUSED_FROM) continue;
      const why = reasonText({ code, said });
      throw new CliError(ExitCode.refused, `the broker refused to subscribe to ${topic}: ${why}`);
    }
  }

  /** Says goodbye; nothing is waited for any more. */
  async disconnect(): Promise<void> {
    if (this.#end !== undefined || this.#closing) return;
    this.#closing = true;
    clearInterval(this.#keepAlive);
    await new Promise<void>((resolve) => {
      this.#socket.once('close', () => resolve());
      this.#socket.end(generate({ cmd: 'disconnect' }, { protocolVersion: this.#options.version }));
      this.#socket.setTimeout(this.#options.timeoutMs, () => this.#socket.destroy());
    });
  }

  close(): void {
    this.#closing = true;
    clearInterval(this.#keepAlive);
    this.#socket.destroy();
  }

  #send(packet: Packet): boolean {
    if (this.#end !== undefined) throw this.#end;
    return this.#socket.write(generate(packet, { protocolVersion: this.#options.version }));
  }

  #drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done);
        if (this.#end === undefined) resolve();
        else reject(this.#end);
      };
      this.#socket.on('drain', done).on('close', done);
    });
  }

  async #slot(): Promise<void> {
    while (this.#publishing >= this.#window) {
      await new Promise<void>((resolve) => this.#slots.push(resolve));
    }
    this.#publishing += 1;
  }

  #packetId(): number {
    do {
      this.#nextId = (this.#nextId % PACKET_ID_MAX) + 1;
    } while (this.#waiting.has(this.#nextId));
    return this.#nextId;
  }

  #answer(packetId: number, what: string): Promise<Packet> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#end);
        return;
      }
      const seconds = this.#options.timeoutMs / 1000;
      const timer = setTimeout(() => {
        this.#waiting.delete(packetId);
        const text = `no answer within ${seconds} s: ${what} did not come`;
        reject(new CliError(ExitCode.timeout, text));
        if (packetId === 0) this.close();
      }, this.#options.timeoutMs);
      this.#waiting.set(packetId, { resolve, reject, timer });
    });
  }

  #answered(packetId: number, packet: Packet): void {
    const waiting = this.#waiting.get(packetId);
    if (waiting === undefined) return;
    this.#waiting.delete(packetId);
    clearTimeout(waiting.timer);
    waiting.resolve(packet);
  }

  #accepted(packet: Packet, topic: string): void {
    const code = 'reasonCode' in packet ? (packet.reasonCode ?? 0) : 0;
    if (code < REFUSED_FROM) return;
    const text = 'properties' in packet ? packet.properties : undefined;
    const said = text !== undefined && 'reasonString' in text ? text.reasonString : undefined;
    const why = reasonText({ code, said });
    throw new CliError(ExitCode.refused, `the broker refused the message to ${topic}: ${why}`);
  }

  #received(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.#answered(0, packet);
        return;
      case 'publish':
        this.#deliver(packet);
        return;
      case 'pubrel':
        this.#taken.delete(packet.messageId ?? 0);
        this.#send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
        return;
      case 'disconnect': {
        const why = reasonText({
          code: packet.reasonCode ?? 0,
          said: packet.properties?.reasonString,
        });
        this.#fail(new CliError(ExitCode.refused, `the broker ended the connection: ${why}`));
        this.#socket.destroy();
        return;
      }
      default:
        this.#answered(packet.messageId ?? 0, packet);
    }
  }

  #deliver(packet: IPublishPacket): void {
    const id = packet.messageId ?? 0;
    const again = packet.qos === 2 && this.#taken.has(id);
    if (packet.qos === 2) this.#taken.add(id);
    // A reader who cannot follow stops the socket, and so the broker.
    this.#socket.pause();
    const handled = again ? Promise.resolve(0) : (this.#receiver?.(packet) ?? Promise.resolve(0));
    handled.then(
      (reasonCode) => {
        if (this.#end !== undefined || this.#closing) return;
        if (packet.qos === 1) this.#send({ cmd: 'puback', messageId: id, reasonCode });
        if (packet.qos === 2) this.#send({ cmd: 'pubrec', messageId: id });
        this.#socket.resume();
      },
      (error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        this.#fail(new CliError(ExitCode.unexpected, `a message could not be written: ${text}`));
        this.#socket.destroy();
      },
    );
  }

  #startKeepAlive(seconds: number): void {
    if (seconds === 0) return;
    this.#keepAlive = setInterval(
      () => {
        if (this.#end === undefined && !this.#closing) this.#send({ cmd: 'pingreq' });
      },
      (seconds * 1000) / 2,
    );
    this.#keepAlive.unref();
  }

  #unreachable(error: Error): CliError {
    const { host, port } = this.#options;
    const refused = 'code' in error && error.code === 'ECONNREFUSED';
    const hint = refused ? '; is a broker running there? (fluxmq start)' : '';
    const text = `cannot reach ${host}:${port}: ${error.message || String(error)}${hint}`;
    return new CliError(ExitCode.connection, text, { cause: error });
  }

  #fail(error: CliError): void {
    clearInterval(this.#keepAlive);
    if (this.#end !== undefined) return;
    this.#end = error;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
    for (const go of this.#slots.splice(0)) go();
    if (!this.#closing) this.#ended(error);
  }
}

function lost(why: string): CliError {
  return new CliError(ExitCode.connection, `connection lost: ${why}`);
}
