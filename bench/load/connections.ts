/**
 * Raw sockets for the load generator: prepared bytes out, counts in.
 *
 * A client library would measure itself, so nothing here builds a packet while the clock runs: what
 * is sent is a slice of a buffer that was encoded beforehand, and what is received is only walked.
 * Runs are bounded in messages and in time, and go to loopback only.
 */

import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where the broker under test listens; loopback by construction. */
const LOOPBACK = '127.0.0.1';

export function openSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: LOOPBACK, port, noDelay: true });
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** Over TLS, whatever the certificate says. */
export function openTlsSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: LOOPBACK, port, rejectUnauthorized: false });
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** Collects what arrives during a handshake until `enough` says that it is complete. */
export class Handshake {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  readonly #onData = (chunk: Buffer): void => {
    this.#received = Buffer.concat([this.#received, chunk]);
    this.#wake?.();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', this.#onData);
  }

  /**
   * Sends `bytes`, then waits until `enough` returns how many bytes of the answer belong to this
   * step.
   */
  async exchange(bytes: Uint8Array, enough: (received: Buffer) => number): Promise<Buffer> {
    this.#socket.write(bytes);
    for (;;) {
      const length = enough(this.#received);
      if (length > 0) {
        const answer = this.#received.subarray(0, length);
        this.#received = this.#received.subarray(length);
        return answer;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  end(): Buffer {
    this.#socket.off('data', this.#onData);
    return this.#received;
  }
}

/**
 * Milliseconds that each message waited, in a fixed histogram of 1/20 ms steps up to one second.
 */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(20_001);
  #total = 0;

  add(milliseconds: number, times: number): void {
    const slot = Math.min(20_000, Math.floor(milliseconds * 20));
    this.#counts[slot] = (this.#counts[slot] ?? 0) + times;
    this.#total += times;
  }

  quantileMs(share: number): number {
    let left = Math.ceil(this.#total * share);
    for (const [slot, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return (slot + 1) / 20;
    }
    return 1000;
  }
}
