/**
 * A client over WebSocket (RFC 6455), also within TLS: each write is one binary message, and what
 * comes in binary messages is one stream, however it was cut [MQTT-6.0.0-2].
 *
 * A text message ends it [MQTT-6.0.0-1]. Compression is never agreed on, so that no frame is larger
 * than what was sent. Before the client is admitted it costs at most `STRANGER_BYTES_MAX` and one
 * read of the socket. A ping is answered only while the client takes what it is sent: the protocol
 * asks for an answer to the last one only (5.5.3).
 */

import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import type { Scheme, Transport, TransportEvents } from '../transport.ts';
import type { Entrant } from './socket-transport.ts';

/** A first packet of 64 KiB, with what frames add to it. */
const STRANGER_BYTES_MAX = 69_632;

const CloseCode = { normal: 1000, unsupportedData: 1003 } as const;

export interface PingOptions {
  /** Silence after which the client is asked, and as long again until it is cut; 0: never. */
  readonly pingIntervalMs: number;
}

export class WebSocketTransport implements Transport {
  readonly remote: string;
  readonly scheme: Scheme;
  readonly identity: string | undefined;
  readonly deadlineMs: number;
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #introduced: () => void;
  readonly #late: () => void;
  readonly #pingIntervalMs: number;
  #admitted = false;
  #strangerBytes = 0;
  #why: string | undefined;
  // --- silence
  #heard = true;
  #heardAtMs = 0;
  #pinged = false;

  /** `socket` is the one below `webSocket`. */
  constructor(webSocket: WebSocket, socket: Socket, entrant: Entrant & PingOptions) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#pingIntervalMs = entrant.pingIntervalMs;
    this.remote = entrant.remote;
    this.scheme = entrant.scheme;
    this.identity = entrant.identity;
    this.deadlineMs = entrant.deadlineMs;
    this.#introduced = entrant.introduced;
    this.#late = entrant.late;
  }

  get waiting(): number {
    return this.#socket.writableLength;
  }

  get written(): number {
    return this.#socket.bytesWritten;
  }

  attach(events: TransportEvents): void {
    const [webSocket, socket] = [this.#webSocket, this.#socket];
    webSocket.on('message', (data, isBinary) => this.#message(data, isBinary, events));
    webSocket.on('ping', (data) => {
      if (!socket.writableNeedDrain) webSocket.pong(data);
    });
    // Without a listener an oversized or malformed frame would end the process.
    webSocket.on('error', (error: NodeJS.ErrnoException) => this.#failed(error));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#failed(error));
    // Behind the listener of the WebSocket: what this chunk brought is told already.
    socket.on('data', (chunk: Uint8Array) => this.#arrived(chunk.length));
    socket.on('drain', () => events.drained());
    socket.on('close', () => events.closed(this.#why));
  }

  introduced(): void {
    this.#introduced();
  }

  late(): void {
    this.#late();
  }

  admitted(): void {
    this.#admitted = true;
  }

  write(bytes: Uint8Array): void {
    this.#webSocket.send(bytes, { binary: true });
  }

  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  end(): void {
    this.#webSocket.close(CloseCode.normal);
  }

  cut(): void {
    this.#webSocket.terminate();
  }

  /** Asks a client that was not heard for long; cuts one that does not answer. */
  sweep(now: number): void {
    if (this.#pingIntervalMs === 0) return;
    // Who is not read cannot answer.
    if (this.#heard || this.#webSocket.isPaused) {
      this.#heard = false;
      this.#pinged = false;
      this.#heardAtMs = now;
      return;
    }
    const silentMs = now - this.#heardAtMs;
    if (!this.#pinged && silentMs >= this.#pingIntervalMs) {
      this.#pinged = true;
      // One that does not even take what it was sent is not sent more; it is cut all the same.
      if (!this.#socket.writableNeedDrain) this.#webSocket.ping();
    } else if (silentMs >= 2 * this.#pingIntervalMs) {
      this.#why ??= 'no answer to a ping';
      this.cut();
    }
  }

  #message(data: RawData, isBinary: boolean, events: TransportEvents): void {
    if (this.#why !== undefined) return;
    if (isBinary && Buffer.isBuffer(data)) {
      events.received(data);
      return;
    }
    this.#why = 'a text frame';
    this.#webSocket.close(CloseCode.unsupportedData, 'binary frames only');
    this.#socket.end();
  }

  #arrived(bytes: number): void {
    this.#heard = true;
    if (this.#admitted) return;
    this.#strangerBytes += bytes;
    if (this.#strangerBytes <= STRANGER_BYTES_MAX) return;
    this.#why ??= `more than ${STRANGER_BYTES_MAX} bytes before its first packet was taken`;
    this.cut();
  }

  #failed(error: NodeJS.ErrnoException): void {
    this.#why ??= error.code ?? 'error';
  }
}
