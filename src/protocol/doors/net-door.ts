/**
 * One address at which clients come in over TCP, by itself or with TLS and a WebSocket on it. It
 * counts and bounds: connections at a time, of one network too and how fast it opens them, those on
 * their way in, and the time that this takes.
 *
 *     accept -> judged -> [TLS] -> [upgrade] -> transport, to whoever keeps the door
 *
 * One that is slow, silent or no client at all costs its own place on the way and nothing else. Who
 * is turned away is closed before a byte of it is read. A network is that of the socket: behind a
 * proxy all clients are one, as nothing that a stranger says of his address is believed.
 */

import { type Server, type Socket, createServer } from 'node:net';
import {
  type Address,
  type Door,
  type DoorClock,
  type DoorCounters,
  type DoorKeeper,
  type Scheme,
  doorCounters,
} from '../transport.ts';
import type { Rate } from '../token-bucket.ts';
import { networkOf } from './address-network.ts';
import { type Arrival, Arrivals, type ArrivalRefusal } from './arrivals.ts';
import { type NetworkRefusal, Networks } from './networks.ts';
import { type Entrant, SocketTransport } from './socket-transport.ts';
import { type TlsOptions, TlsWay } from './tls-way.ts';
import { TurnedAway } from './turned-away.ts';
import { Upgrade, type WebSocketOptions } from './upgrade.ts';
import { WebSocketTransport } from './websocket-transport.ts';

export interface NetDoorOptions {
  readonly key: string;
  readonly scheme: Scheme;
  /** Port 0 takes a free one. */
  readonly place: Address;
  /** At a time; further ones are closed at once. */
  readonly maxConnections: number;
  /** Of those, open handshakes at a time; further ones are closed at once. */
  readonly maxArriving: number;
  readonly perNetwork: PerNetwork;
  /** From accepting a connection until its client has said who it is. */
  readonly connectTimeoutMs: number;
  readonly tls?: TlsOptions;
  readonly webSocket?: WebSocketOptions;
}

/** What one network may have; whoever wants more is closed at once. */
export interface PerNetwork {
  /** Connections at a time; 0: no bound. */
  readonly maxConnections: number;
  /** Open handshakes at a time; 0: no bound. */
  readonly maxArriving: number;
  /** Of new connections; undefined: no bound. */
  readonly rate: Rate | undefined;
  /** The bits of an IPv6 address that name the network, 1 to 128; IPv4 counts whole. */
  readonly ipv6Bits: number;
}

const BACKLOG = 4096;
const TCP_KEEP_ALIVE_MS = 60_000;
/**
 * Of a bare socket: one that is paused is read once more, and not until the usual 16 KiB wait. A
 * WebSocket takes the mark for one of what it writes, and TLS for none.
 */
const PAUSED_READ_BYTES = 1;

export class NetDoor implements Door {
  readonly scheme: Scheme;
  readonly key: string;
  readonly place: Address;
  readonly counters: DoorCounters = doorCounters();
  readonly #options: NetDoorOptions;
  readonly #arrivals: Arrivals;
  readonly #networks: Networks;
  readonly #turnedAway: TurnedAway;
  readonly #webSockets = new Set<WebSocketTransport>();
  /** Who they are by their certificates. */
  readonly #identities = new WeakMap<Socket, string>();
  #server: Server | undefined;

  constructor(options: NetDoorOptions) {
    this.scheme = options.scheme;
    this.key = options.key;
    this.place = options.place;
    this.#options = options;
    const { maxArriving, perNetwork } = options;
    this.#arrivals = new Arrivals({ max: maxArriving, maxOfNetwork: perNetwork.maxArriving });
    this.#networks = new Networks(perNetwork);
    this.#turnedAway = new TurnedAway(options.key);
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
    const { place, maxConnections, tls, webSocket } = this.#options;
    const isBare = tls === undefined && webSocket === undefined;
    const server = createServer({
      ...(isBare && { highWaterMark: PAUSED_READ_BYTES }),
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
      const told = { why: 'above max_connections', remote: data?.remoteAddress ?? '?' };
      this.#turnedAway.tell(log, told, keeper.clock.now());
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
    this.#networks.sweep(now);
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
    const last = webSocket === undefined ? this.#secured(keeper) : this.#upgrade(keeper, webSocket);
    const first = tls === undefined ? last : this.#tls(keeper, tls, last);
    return (socket) => {
      if (this.#comesIn(socket, keeper)) first(socket);
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
      const arrival = this.#arrivals.through(socket);
      if (arrival === undefined) socket.destroy();
      else keeper.entered(new SocketTransport(socket, this.#entrant(socket, arrival)));
    };
  }

  #upgrade(keeper: DoorKeeper, options: WebSocketOptions): (socket: Socket) => void {
    const { log } = keeper;
    const upgrade = new Upgrade(options, {
      through: (webSocket, socket) => {
        const arrival = this.#arrivals.through(socket);
        if (arrival === undefined) {
          webSocket.on('error', () => undefined).terminate();
          return;
        }
        const { pingIntervalMs } = options;
        const entrant = { ...this.#entrant(socket, arrival), pingIntervalMs };
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

  /** False: it may not, and is gone. */
  #comesIn(socket: Socket, keeper: DoorKeeper): boolean {
    // Whoever holds it for a while may have no listener: it would end the process.
    socket.on('error', () => undefined);
    const { clock, log } = keeper;
    const refusal = this.#refusal(socket, clock);
    if (refusal === undefined) return true;
    socket.destroy();
    if (refusal === 'gone') return false;
    this.counters[COUNTED[refusal]]++;
    this.#turnedAway.tell(log, { why: WORDS[refusal], remote: remoteOf(socket) }, clock.now());
    return false;
  }

  #refusal(socket: Socket, clock: DoorClock): NetworkRefusal | ArrivalRefusal | 'gone' | undefined {
    const { remoteAddress } = socket;
    // Closed by the other side before it was looked at.
    if (remoteAddress === undefined) return 'gone';
    const { perNetwork, connectTimeoutMs } = this.#options;
    const network = networkOf(remoteAddress, perNetwork.ipv6Bits);
    const now = clock.now();
    const refused = this.#networks.enter(network, now);
    if (refused !== undefined) return refused;
    const arrival = this.#arrivals.add(socket, network, now + connectTimeoutMs);
    if (typeof arrival === 'string') {
      this.#networks.leave(network, now);
      return arrival;
    }
    socket.once('close', () => {
      this.#arrivals.remove(arrival);
      this.#networks.leave(network, clock.now());
    });
    return undefined;
  }

  #entrant(socket: Socket, arrival: Arrival): Entrant {
    return {
      remote: remoteOf(socket),
      scheme: this.scheme,
      identity: this.#identities.get(socket),
      deadlineMs: arrival.deadlineMs,
      introduced: () => this.#arrivals.remove(arrival),
      late: () => {
        this.counters.tooSlow++;
        this.#arrivals.remove(arrival);
      },
    };
  }
}

const COUNTED = {
  connections: 'aboveNetwork',
  rate: 'aboveRate',
  handshakes: 'aboveArriving',
  'network-handshakes': 'aboveNetworkArriving',
} as const satisfies Record<NetworkRefusal | ArrivalRefusal, keyof DoorCounters>;

const WORDS = {
  connections: 'above per_address.max_connections',
  rate: 'above per_address.connection_rate',
  handshakes: 'above max_handshakes',
  'network-handshakes': 'above per_address.max_handshakes',
} as const satisfies Record<NetworkRefusal | ArrivalRefusal, string>;

/** Told in the log: it comes from a stranger. */
const ORIGIN_TOLD_MAX = 200;

function remoteOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? '?'}:${remotePort ?? 0}`;
}
