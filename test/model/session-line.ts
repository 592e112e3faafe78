/**
 * One client's way to the server over `MemoryDoor`, packet by packet with mqtt-packet: what it
 * sends waits until a step lets bytes through, and so does what the server says. A lost connection
 * loses both. Both ends of it are shown to a watch: what has reached the server, and what it wrote.
 */

import mqttPacket, { type Packet } from 'mqtt-packet';
import type { MemoryDoor, MemoryTransport } from '../support/memory-door.ts';
import type { Fields, ServerPacket } from '../support/mqtt-server.ts';

export interface Watch {
  /** The server is about to write CONNACK: the session is that of another connection now. */
  connected(): void;
  /** The server has the whole packet, and has not done anything yet. */
  reached(packet: ServerPacket): void;
  /** The server wrote the packet to the connection that has the session. */
  wrote(packet: ServerPacket): void;
}

export interface LineParts {
  readonly door: MemoryDoor;
  readonly clientId: string;
  readonly version: 4 | 5;
  /** Of CONNECT, beside the session expiry; 5.0 only. */
  readonly properties?: Fields;
  readonly watch: Watch;
}

const EXPIRY_SECONDS = 3600;

export class Line {
  readonly version: 4 | 5;
  readonly #parts: LineParts;
  readonly #received: (packet: ServerPacket) => void;
  #transport: MemoryTransport | undefined;
  /** Who was answered last: it has the session until another is. */
  #owner: MemoryTransport | undefined;
  #outbox = Buffer.alloc(0);
  #arriving = { parse: (_bytes: Buffer): unknown => undefined };
  #reading = this.#arriving;
  /** CONNACK has come on the present connection. */
  isUp = false;
  /** CONNACK has come on some connection: there must be a session from then on. */
  #known = false;
  /** What was wrong first with what the server wrote. */
  #fault: Error | undefined;

  constructor(parts: LineParts, received: (packet: ServerPacket) => void) {
    this.version = parts.version;
    this.#parts = parts;
    this.#received = received;
  }

  get isConnected(): boolean {
    return this.#transport !== undefined;
  }

  /** A new connection; the server has to end one that it has still. */
  connect(): void {
    const { door, clientId, version, watch, properties } = this.#parts;
    this.#forget();
    const wrote = parserOf(version, (packet) => {
      if (packet.cmd === 'connack') {
        this.#owner = transport;
        watch.connected();
      }
      if (packet.cmd === 'disconnect' && this.#transport !== transport) return;
      if (this.#owner === transport) watch.wrote(packet);
      else throw new Error(`${packet.cmd} to a superseded one`);
    });
    const transport = door.connect((bytes) => {
      // Not thrown into the server, in whose turn this is.
      try {
        wrote.parse(Buffer.from(bytes));
      } catch (error) {
        this.#fault ??= error instanceof Error ? error : new Error(String(error));
      }
    });
    this.#transport = transport;
    this.#arriving = parserOf(version, (packet) => watch.reached(packet));
    this.#reading = parserOf(version, (packet) => this.#take(packet));
    const kept = { sessionExpiryInterval: EXPIRY_SECONDS, ...properties };
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clean: false,
      clientId,
      keepalive: 0,
      ...(version === 5 && { properties: kept }),
    });
  }

  send(fields: Fields): void {
    if (this.#transport === undefined) throw new Error('sent without a connection');
    const bytes = mqttPacket.generate(fields as unknown as Packet, {
      protocolVersion: this.version,
    });
    this.#outbox = Buffer.concat([this.#outbox, bytes]);
  }

  /** Lets so many bytes through to the server. */
  up(most: number): void {
    const chunk = this.#outbox.subarray(0, most);
    if (this.#transport === undefined || chunk.length === 0) return;
    this.#outbox = this.#outbox.subarray(chunk.length);
    this.#arriving.parse(chunk);
    this.#transport.send(chunk);
  }

  /** Lets so many bytes of the server through. */
  down(most: number): void {
    const transport = this.#transport;
    if (transport === undefined) return;
    const chunk = transport.take(most);
    if (chunk.length > 0) this.#reading.parse(Buffer.from(chunk));
  }

  /** Nothing that is under way arrives. */
  cut(): void {
    this.#transport?.lose();
    this.#forget();
  }

  /** DISCONNECT; what the server said until then is not read. */
  leave(): void {
    if (this.#transport === undefined) return;
    this.send({ cmd: 'disconnect', reasonCode: 0 });
    this.up(Number.POSITIVE_INFINITY);
    this.#transport.lose();
    this.#forget();
  }

  /**
   * Throws what the watch found, or that the server ended the connection: it has no reason but that
   * it was left or superseded.
   */
  check(): void {
    if (this.#fault !== undefined) throw this.#fault;
    const ended = this.#transport?.isOver === true;
    if (ended) throw new Error(`the server ended the connection of ${this.#parts.clientId}`);
  }

  #take(packet: ServerPacket): void {
    if (packet.cmd === 'connack') {
      const code = packet['reasonCode'] ?? packet['returnCode'];
      if (code !== 0) throw new Error(`CONNECT is refused with ${String(code)}`);
      if (this.#known && packet['sessionPresent'] !== true) throw new Error('the session is gone');
      this.#known = true;
      this.isUp = true;
    }
    this.#received(packet);
  }

  #forget(): void {
    this.#transport = undefined;
    this.#outbox = Buffer.alloc(0);
    this.isUp = false;
  }
}

function parserOf(version: 4 | 5, taken: (packet: ServerPacket) => void) {
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on('packet', (packet: Packet) => taken(packet as unknown as ServerPacket));
  parser.on('error', (error: Error) => {
    throw error;
  });
  return parser;
}
