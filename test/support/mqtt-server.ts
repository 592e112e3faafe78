/**
 * An MQTT listener on a free port of the loopback, over a broker in memory and fake queues, with a
 * clock that the test moves; and clients that speak to it packet by packet.
 *
 * The clients use mqtt-packet, so that our codec is not tested with itself; bytes may be sent as
 * they are.
 */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import mqttPacket, { type Packet } from 'mqtt-packet';

import { type BrokerOptions, MemoryBroker } from '../../src/broker/broker.ts';
import type { BrokerAccess } from '../../src/broker/ports.ts';
import type { AccessControl } from '../../src/protocol/access.ts';
import {
  NetDoor,
  type NetDoorOptions,
  type PerNetwork,
} from '../../src/protocol/doors/net-door.ts';
import type { TlsOptions } from '../../src/protocol/doors/tls-way.ts';
import type { WebSocketOptions } from '../../src/protocol/doors/upgrade.ts';
import { MqttListener } from '../../src/protocol/mqtt/listener.ts';
import type { MqttOptions } from '../../src/protocol/mqtt/options.ts';
import type { Scheme } from '../../src/protocol/transport.ts';
import { FakeQueueClient } from './fake-queue-client.ts';

/** Fields of a packet in the words of mqtt-packet. */
export type Fields = Readonly<Record<string, unknown>>;
/** What a packet of the server has; unknown until a test looks. */
export type ServerPacket = Readonly<Record<string, unknown>> & { readonly cmd: string };

export class TestClock {
  #now = 1_000_000;

  now(): number {
    return this.#now;
  }

  advance(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** What is left out has the default of the configuration. */
export type ServerSettings = Partial<
  MqttOptions & Pick<NetDoorOptions, 'maxConnections' | 'maxArriving' | 'connectTimeoutMs'>
> & {
  /** Also listen so; with `tls`, over that too. */
  readonly webSocket?: Partial<WebSocketOptions>;
  readonly tls?: TlsOptions;
  readonly access?: AccessControl & BrokerAccess;
  readonly perNetwork?: Partial<PerNetwork>;
};

const UNBOUNDED: PerNetwork = { maxConnections: 0, maxArriving: 0, rate: undefined, ipv6Bits: 64 };

const WEB_SOCKET: WebSocketOptions = {
  path: '/mqtt',
  origins: [],
  maxMessageBytes: 8 * 1024 * 1024,
  pingIntervalMs: 30_000,
};

export class MqttServer {
  readonly queues: FakeQueueClient;
  readonly clock = new TestClock();
  readonly broker: MemoryBroker;
  readonly listener: MqttListener;
  readonly log: LogLine[] = [];
  readonly #clients: RawClient[] = [];

  constructor(
    settings: ServerSettings = {},
    options: BrokerOptions = {},
    queues = new FakeQueueClient('orders', 'mqtt'),
  ) {
    this.queues = queues;
    const { access } = settings;
    this.broker = new MemoryBroker(queues, this.clock, { ...options, access });
    const write =
      (level: LogLine['level']) =>
      (fields: Record<string, unknown>, message: string): void => {
        this.log.push({ level, fields, message });
      };
    const log = {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    };
    const {
      maxConnections = 10_000,
      maxArriving = 1000,
      connectTimeoutMs = 10_000,
      webSocket,
      tls,
      access: _access,
      perNetwork,
      ...mqtt
    } = settings;
    const place = { host: '127.0.0.1', port: 0 };
    const each = { ...UNBOUNDED, ...perNetwork };
    const door = { place, maxConnections, maxArriving, connectTimeoutMs, perNetwork: each };
    const doors = [new NetDoor({ ...door, key: 'tcp', scheme: 'mqtt' })];
    const upgrade = { ...WEB_SOCKET, ...webSocket };
    if (webSocket !== undefined) {
      doors.push(new NetDoor({ ...door, key: 'ws', scheme: 'ws', webSocket: upgrade }));
    }
    if (tls !== undefined) {
      doors.push(new NetDoor({ ...door, key: 'tls', scheme: 'mqtts', tls }));
    }
    if (tls !== undefined && webSocket !== undefined) {
      doors.push(new NetDoor({ ...door, key: 'wss', scheme: 'wss', tls, webSocket: upgrade }));
    }
    this.listener = new MqttListener(this.broker, log, { doors, mqtt, access });
  }

  get port(): number {
    return this.portOf('mqtt');
  }

  get webPort(): number {
    return this.portOf('ws');
  }

  portOf(scheme: Scheme): number {
    const door = this.listener.doors.find((each) => each.scheme === scheme);
    if (door?.address === undefined) throw new Error(`${scheme} is not listening`);
    return door.address.port;
  }

  async start(): Promise<this> {
    this.broker.start();
    await this.listener.start();
    return this;
  }

  async stop(): Promise<void> {
    const stopped = this.listener.stop();
    for (const client of this.#clients) client.destroy();
    await stopped;
    this.broker.stop();
  }

  /** A socket that has sent nothing. */
  async open(version: 4 | 5 = 5): Promise<RawClient> {
    const socket = connect(this.port, '127.0.0.1');
    await once(socket, 'connect');
    return this.adopt(socket, version);
  }

  /** A client over a socket that is connected. */
  adopt(socket: Socket, version: 4 | 5 = 5): RawClient {
    const client = new RawClient(socket, version);
    this.#clients.push(client);
    return client;
  }

  /** Connected; gives the client, whose first packet (CONNACK) is in `connack`. */
  async client(fields: Fields = {}, version: 4 | 5 = 5): Promise<RawClient> {
    const client = await this.open(version);
    await client.connect(fields);
    return client;
  }
}

export class RawClient {
  readonly socket: Socket;
  readonly version: 4 | 5;
  connack: ServerPacket | undefined;
  readonly #packets: ServerPacket[] = [];
  readonly #waiting: (() => void)[] = [];
  #ended = false;

  constructor(socket: Socket, version: 4 | 5) {
    this.socket = socket;
    this.version = version;
    const parser = mqttPacket.parser({ protocolVersion: version });
    parser.on('packet', (packet: Packet) => {
      this.#packets.push(packet as unknown as ServerPacket);
      this.#wake();
    });
    socket.on('data', (chunk) => parser.parse(chunk));
    socket.on('error', () => this.#end());
    socket.on('end', () => this.#end());
    socket.on('close', () => this.#end());
  }

  async connect(fields: Fields = {}): Promise<ServerPacket> {
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: this.version,
      clean: true,
      clientId: '',
      keepalive: 0,
      ...fields,
    });
    this.connack = await this.expect('connack');
    return this.connack;
  }

  send(fields: Fields): void {
    const options = { protocolVersion: this.version };
    this.socket.write(mqttPacket.generate(fields as unknown as Packet, options));
  }

  sendBytes(...bytes: readonly (number | string)[]): void {
    this.socket.write(Buffer.from(bytes as number[]));
  }

  publish(topic: string, payload: string | Uint8Array, fields: Fields = {}): void {
    this.send({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false, ...fields });
  }

  async subscribe(
    topic: string,
    qos: 0 | 1 | 2,
    fields: Fields = {},
    options: Fields = {},
  ): Promise<ServerPacket> {
    const subscriptions = [{ topic, qos, ...options }];
    this.send({ cmd: 'subscribe', messageId: 1000, subscriptions, ...fields });
    return this.expect('suback');
  }

  /** Waits for the next packet, which must be of this kind. */
  async expect(command: string): Promise<ServerPacket> {
    const packet = await this.next();
    if (packet?.cmd !== command) {
      throw new Error(`expected ${command}, got ${JSON.stringify(packet ?? 'the end')}`);
    }
    return packet;
  }

  async next(): Promise<ServerPacket | undefined> {
    for (;;) {
      const packet = this.#packets.shift();
      if (packet !== undefined) return packet;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Packets that came and that no test asked for yet. */
  get buffered(): number {
    return this.#packets.length;
  }

  /** Nothing more came than what was asked for: proved by an answer to a PINGREQ. */
  async quiet(): Promise<void> {
    this.send({ cmd: 'pingreq' });
    await this.expect('pingresp');
  }

  /** Waits until the server ended the connection; gives what it still said. */
  async ended(): Promise<readonly ServerPacket[]> {
    const rest: ServerPacket[] = [];
    for (;;) {
      const packet = await this.next();
      if (packet === undefined) return rest;
      rest.push(packet);
    }
  }

  /** As a cable that is cut. */
  destroy(): void {
    this.socket.destroy();
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/**
 * Waits turns of the event loop until the condition holds; the deadline only ends a failed test.
 */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never became true: ${String(condition)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function textOf(packet: ServerPacket): string {
  return String(packet['payload']);
}
