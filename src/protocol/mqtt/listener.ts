/**
 * The MQTT frontend on one TCP address: accepts, counts and ends connections.
 *
 * One timer looks at all connections for what should have happened by now. `stop` tells the clients
 * (0x8B), hands back what their consumers hold, and waits for the sockets a bounded time.
 */

import { createServer, type Server, type Socket } from 'node:net';

import type { Broker } from '../../broker/ports.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { Connection } from './connection.ts';
import { type MqttContext, type MqttCounters, mqttCounters } from './context.ts';
import { type MqttOptions, mqttOptions } from './options.ts';
import { ReasonCode } from './reason-codes.ts';
import { Sessions } from './sessions.ts';
import { Turn } from './turn.ts';

const SWEEP_MS = 500;
const BACKLOG = 1024;

export interface MqttListenerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** What is left out has its default. */
  readonly mqtt?: Partial<MqttOptions>;
}

/** A `Frontend`; the composition root is where that is checked. */
export class MqttListener {
  readonly counters: MqttCounters;
  readonly sessions: Sessions;
  readonly #options: MqttListenerOptions;
  readonly #context: MqttContext;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #awaitingShard = new Set<Connection>();
  #sweeper: NodeJS.Timeout | undefined;
  #allClosed: (() => void) | undefined;
  #stopping: Promise<void> | undefined;

  constructor(broker: Broker, log: Logger, options: MqttListenerOptions) {
    const settings = mqttOptions(options.mqtt);
    this.#options = options;
    this.sessions = new Sessions(broker, settings);
    this.counters = mqttCounters();
    this.#context = {
      broker,
      options: settings,
      sessions: this.sessions,
      turn: new Turn(),
      log,
      counters: this.counters,
    };
    this.#server = createServer((socket) => this.#accepted(socket));
    this.#server.maxConnections = settings.maxConnections;
    broker.onWritable(() => this.#shardWritable());
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get address(): { readonly host: string; readonly port: number } | undefined {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') return undefined;
    return { host: address.address, port: address.port };
  }

  async start(): Promise<void> {
    const server = this.#server;
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, backlog: BACKLOG }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    const { log } = this.#context;
    server.on('error', (error: NodeJS.ErrnoException) => {
      log.warn({ code: error.code }, 'the MQTT listener had an error');
    });
    server.on('drop', (data) => {
      log.warn({ remote: data?.remoteAddress }, 'a connection above max_connections was closed');
    });
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    const gone = new Promise<void>((resolve) => {
      this.#allClosed = resolve;
    });
    const text = 'the server shuts down';
    for (const connection of this.#connections) {
      connection.end({ reasonCode: ReasonCode.serverShuttingDown, text }, true);
    }
    if (this.#connections.size > 0) await gone;
    this.sessions.forgetKeys();
    await closed;
    clearInterval(this.#sweeper);
  }

  /** What time brings: time-outs, sessions that end. Called by a timer. */
  sweep(): void {
    const now = this.#context.broker.clock.now();
    for (const connection of this.#connections) connection.sweep(now);
    this.sessions.tick();
  }

  #accepted(socket: Socket): void {
    this.counters.accepted++;
    const connection = new Connection(this.#context, socket, {
      awaitShard: (waiting) => this.#awaitingShard.add(waiting),
      closed: (gone) => this.#closed(gone),
    });
    this.#connections.add(connection);
    if (this.#stopping !== undefined) {
      const text = 'the server shuts down';
      connection.end({ reasonCode: ReasonCode.serverShuttingDown, text }, true);
    }
  }

  #closed(connection: Connection): void {
    this.#connections.delete(connection);
    this.#awaitingShard.delete(connection);
    if (this.#connections.size === 0) this.#allClosed?.();
  }

  #shardWritable(): void {
    const waiting = [...this.#awaitingShard];
    this.#awaitingShard.clear();
    for (const connection of waiting) connection.shardWritable();
  }
}
