/**
 * A client over TCP or TLS: the socket as it is, without a copy.
 *
 * Never listens to the socket for itself: what comes goes on in the event in which it came.
 */

import type { Socket } from 'node:net';
import type { Scheme, Transport, TransportEvents } from '../transport.ts';

/** What a door knows of a client when it is through. */
export interface Entrant {
  readonly remote: string;
  readonly scheme: Scheme;
  readonly identity: string | undefined;
  readonly deadlineMs: number;
  /** To be called when it has said who it is. */
  readonly introduced: () => void;
  /** To be called instead when its deadline has passed. */
  readonly late: () => void;
}

export class SocketTransport implements Transport {
  readonly remote: string;
  readonly scheme: Scheme;
  readonly identity: string | undefined;
  readonly deadlineMs: number;
  readonly #socket: Socket;
  readonly #introduced: () => void;
  readonly #late: () => void;

  constructor(socket: Socket, entrant: Entrant) {
    this.#socket = socket;
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
    const socket = this.#socket;
    let why: string | undefined;
    socket.on('data', (chunk: Uint8Array) => events.received(chunk));
    socket.on('drain', () => events.drained());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      why = error.code ?? 'error';
    });
    socket.on('close', () => events.closed(why));
  }

  introduced(): void {
    this.#introduced();
  }

  late(): void {
    this.#late();
  }

  /** Over a bare stream nothing is kept of a stranger beyond what its protocol keeps. */
  admitted(): void {}

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  cut(): void {
    this.#socket.destroy();
  }
}
