/**
 * The WebSocket part of the way in: an HTTP server that listens nowhere and is handed sockets, and
 * turns the requests that may into WebSockets (RFC 6455 4.2). All others get an answer that says
 * what is spoken here, and their socket ends.
 *
 * Compression is never agreed on. Deadlines are those of the door: nothing here has a timer but the
 * end of a WebSocket that was closed.
 */

import { type IncomingMessage, type Server, createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { type HttpAnswer, SUBPROTOCOL, type UpgradeRules } from './upgrade-request.ts';
import { answerText, refusalOf } from './upgrade-request.ts';

export interface WebSocketOptions extends UpgradeRules {
  /** Largest message of a client, whole, however many frames it has. */
  readonly maxMessageBytes: number;
  readonly pingIntervalMs: number;
}

export interface UpgradeHooks {
  readonly through: (webSocket: WebSocket, socket: Socket) => void;
  readonly refused: (socket: Socket, answer: HttpAnswer, origin: string | undefined) => void;
}

/** Of a whole request: a browser with its cookies has less. */
const HEADER_BYTES_MAX = 16_384;
/** Of one message that is under way: each costs some hundred bytes beside what it brings. */
const FRAGMENTS_MAX = 4096;
const CHUNK_BYTES_MEAN_MIN = 1024;
const CHUNKS_MAX_AT_LEAST = 4096;
/** From our close frame to the end of the socket. */
const CLOSE_MS_MAX = 5000;

const NO_HTTP: HttpAnswer = { status: 400, text: 'this is no HTTP: MQTT over WebSocket is here' };

export class Upgrade {
  readonly #rules: UpgradeRules;
  readonly #hooks: UpgradeHooks;
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;
  /** Those that were answered, and have not ended yet: HTTP goes on with what they sent behind. */
  readonly #refused = new WeakSet<Socket>();

  constructor(options: WebSocketOptions, hooks: UpgradeHooks) {
    this.#rules = options;
    this.#hooks = hooks;
    this.#webSockets = new WebSocketServer(webSocketSettings(options));
    this.#http = createServer({ maxHeaderSize: HEADER_BYTES_MAX });
    this.#http.on('request', (request) => {
      // Nothing but an upgrade is served, so the request without one is refused by the same rules.
      this.#refuse(request.socket, refusalOf(request, options), request.headers.origin);
    });
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#http.on('connect', (_request, socket) => this.#refuse(asSocket(socket), NO_HTTP));
    this.#http.on('clientError', (_error, socket) => this.#refuse(asSocket(socket), NO_HTTP));
    this.#webSockets.on('wsClientError', ({ message }, socket) => {
      this.#refuse(asSocket(socket), { status: 400, text: message });
    });
  }

  take(socket: Socket): void {
    this.#http.emit('connection', socket);
  }

  #upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const socket = asSocket(stream);
    const refusal = refusalOf(request, this.#rules);
    if (refusal !== undefined) {
      this.#refuse(socket, refusal, request.headers.origin);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.#hooks.through(webSocket, socket);
    });
  }

  #refuse(socket: Socket, answer: HttpAnswer = NO_HTTP, origin?: string): void {
    if (this.#refused.has(socket)) return;
    this.#refused.add(socket);
    this.#hooks.refused(socket, answer, origin);
    if (socket.writable) socket.end(answerText(answer));
    else socket.destroy();
  }
}

function webSocketSettings({ maxMessageBytes }: WebSocketOptions) {
  return {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    autoPong: false,
    handleProtocols: () => SUBPROTOCOL,
    maxPayload: maxMessageBytes,
    maxFragments: FRAGMENTS_MAX,
    maxBufferedChunks: Math.max(
      CHUNKS_MAX_AT_LEAST,
      Math.ceil(maxMessageBytes / CHUNK_BYTES_MEAN_MIN),
    ),
    closeTimeout: CLOSE_MS_MAX,
  };
}

/** Doors give sockets to HTTP, and get the same back. */
function asSocket(stream: Duplex): Socket {
  return stream as Socket;
}
