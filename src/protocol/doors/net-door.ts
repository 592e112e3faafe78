/**
 * One address at which clients come in over TCP, by itself or with TLS and a WebSocket on it. It
 * counts and bounds: connections at a time, those on their way in, and the time that this takes.
 *
 *     accept -> [TLS] -> [upgrade] -> transport, to whoever keeps the door
 *
 * One that is slow, silent or no client at all costs its own place on the way and nothing else.
 */

import { type Server, type Socket, createServer } from 'node:net';
import {
  type Address,
  type Door,
  type DoorCounters,
  type DoorKeeper,
  type Scheme,
  doorCounters,
} from '../transport.ts';
import { Arrivals } from './arrivals.ts';
import { type Entrant, SocketTransport } from './socket-transport.ts';
import { type TlsOptions, TlsWay } from './tls-way.ts';
import { Upgrade, type WebSocketOptions } from './upgrade.ts';
import { WebSocketTransport } from './websocket-transport.ts';

export interface NetDoorOptions {
  readonly key: string;
  readonly scheme: Scheme;
  /** Port 0 takes a free one. */
  readonly place: Address;
  /** At a time; further ones are closed at once. */
  readonly maxConnections: number;
  /** Of those, on their way in at a time; further ones are closed at once. */
  readonly maxArriving: number;
  /** From accepting a connection until its client has said who it is. */
  readonly connectTimeoutMs: number;
  readonly tls?: TlsOptions;
  readonly webSocket?: WebSocketOptions;
}

const BACKLOG = 1024;
const TCP_KEEP_ALIVE_MS = 60_000;

export class NetDoor implements Door {
  readonly scheme: Scheme;
  readonly key: string;
  readonly place: Address;
  readonly counters: DoorCounters = doorCounters();
  readonly #options: NetDoorOptions;
  readonly #arrivals: Arrivals;
  readonly #webSockets = new Set<WebSocketTransport>();
  /** Who they are by their certificates. */
  readonly #identities = new WeakMap<Socket, string>();
  #server: Server | undefined;

  constructor(options: NetDoorOptions) {
    this.scheme = options.scheme;
    this.key = options.key;
    this.place = options.place;
    this.#options = options;
    this.#arrivals = new Arrivals(options.maxArriving);
  }

  get address(): Address | undefined {
    const address = this.#server?.address();
    if (typeof address !== 'object' || address === null) return undefined;
    return { host: address.address, port: address.port };
  }

  get arriving(): number {
    return this.#arrivals.count;
  }

  async open(keeper: DoorKeeper): Promise<void> {
    const { place, maxConnections } = this.#options;
    const server = createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
    });
    server.maxConnections = maxConnections;
    const way = this.#way(keeper);
    server.on('connection', (socket) => {
      this.counters.accepted++;
      way(socket);
    });
    const { log } = keeper;
    server.on('drop', (data) => {
      this.counters.aboveMaximum++;
      const fields = { remote: data?.remoteAddress, listener: this.key };
      log.warn(fields, 'a connection above max_connections was closed');
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ ...place, backlog: BACKLOG }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error: NodeJS.ErrnoException) => {
      log.warn({ code: error.code, listener: this.key }, 'a listener had an error');
    });
    this.#server = server;
  }

  sweep(now: number): void {
    this.counters.tooSlow += this.#arrivals.sweep(now);
    for (const webSocket of this.#webSockets) webSocket.sweep(now);
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    this.#arrivals.cutAll();
    await closed;
  }

  /** What becomes of a socket that was accepted. */
  #way(keeper: DoorKeeper): (socket: Socket) => void {
    const { tls, webSocket } = this.#options;
    if (tls === undefined && webSocket === undefined) {
      return (socket) => {
        const deadlineMs = this.#deadline(keeper);
        keeper.entered(new SocketTransport(socket, this.#entrant(socket, deadlineMs)));
      };
    }
    const last = webSocket === undefined ? this.#secured(keeper) : this.#upgrade(keeper, webSocket);
    const first = tls === undefined ? last : this.#tls(keeper, tls, last);
    return (socket) => {
      if (this.#arrives(socket, keeper)) first(socket);
    };
  }

  #tls(
    { log }: DoorKeeper,
    options: TlsOptions,
    next: (socket: Socket) => void,
  ): (socket: Socket) => void {
    const way = new TlsWay(options, {
      through: (socket, identity) => {
        if (identity !== undefined) this.#identities.set(socket, identity);
        next(socket);
      },
      refused: (socket, why) => {
        // It went away, or was cut at its deadline.
        if (why === 'ECONNRESET') return;
        this.counters.tlsFailed++;
        log.info({ remote: remoteOf(socket), listener: this.key, why }, 'TLS failed');
      },
    });
    return (socket) => way.take(socket);
  }

  /** The end of the way without a WebSocket. */
  #secured(keeper: DoorKeeper): (socket: Socket) => void {
    return (socket) => {
      const deadlineMs = this.#arrivals.through(socket);
      if (deadlineMs === undefined) socket.destroy();
      else keeper.entered(new SocketTransport(socket, this.#entrant(socket, deadlineMs)));
    };
  }

  #upgrade(keeper: DoorKeeper, options: WebSocketOptions): (socket: Socket) => void {
    const { log } = keeper;
    const upgrade = new Upgrade(options, {
      through: (webSocket, socket) => {
        const deadlineMs = this.#arrivals.through(socket);
        if (deadlineMs === undefined) {
          webSocket.on('error', () => undefined).terminate();
          return;
        }
        const { pingIntervalMs } = options;
        const entrant = { ...this.#entrant(socket, deadlineMs), pingIntervalMs };
        const transport = new WebSocketTransport(webSocket, socket, entrant);
        this.#webSockets.add(transport);
        socket.on('close', () => this.#webSockets.delete(transport));
        keeper.entered(transport);
      },
      refused: (socket, { status, text }, origin) => {
        this.counters.upgradeRefused++;
        const fields = {
          remote: remoteOf(socket),
          listener: this.key,
          status,
          ...(origin !== undefined && { origin: origin.slice(0, ORIGIN_TOLD_MAX) }),
        };
        log.info(fields, `a request was refused: ${text}`);
      },
    });
    return (socket) => upgrade.take(socket);
  }

  /** False: there are too many on their way, and it is gone. */
  #arrives(socket: Socket, keeper: DoorKeeper): boolean {
    // Whoever holds it for a while may have no listener: it would end the process.
    socket.on('error', () => undefined);
    if (this.#arrivals.add(socket, this.#deadline(keeper))) return true;
    this.counters.aboveArriving++;
    socket.destroy();
    return false;
  }

  #deadline({ clock }: DoorKeeper): number {
    return clock.now() + this.#options.connectTimeoutMs;
  }

  #entrant(socket: Socket, deadlineMs: number): Entrant {
    const identity = this.#identities.get(socket);
    return { remote: remoteOf(socket), scheme: this.scheme, identity, deadlineMs };
  }
}

/** Told in the log: it comes from a stranger. */
const ORIGIN_TOLD_MAX = 200;

function remoteOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? '?'}:${remotePort ?? 0}`;
}
