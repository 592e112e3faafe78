/**
 * Those on their way in: accepted, and not through TLS and the WebSocket upgrade yet. Each has one
 * deadline for all of it, and there are so many at most, so that silence costs a bounded time and
 * memory and never keeps others out for long (S1).
 *
 * A socket is known by its two addresses: within TLS it is another object, over the same two.
 */

import type { Socket } from 'node:net';

interface Arrival {
  readonly socket: Socket;
  readonly deadlineMs: number;
}

export class Arrivals {
  readonly #max: number;
  readonly #arrivals = new Map<string, Arrival>();

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#arrivals.size;
  }

  /** False: there are too many already. */
  add(socket: Socket, deadlineMs: number): boolean {
    if (this.#arrivals.size >= this.#max) return false;
    const key = keyOf(socket);
    const arrival = { socket, deadlineMs };
    this.#arrivals.set(key, arrival);
    socket.once('close', () => {
      // Its two addresses may belong to another one by now.
      if (this.#arrivals.get(key) === arrival) this.#arrivals.delete(key);
    });
    return true;
  }

  /** It is through; gives its deadline, or undefined where it is on its way no more. */
  through(socket: Socket): number | undefined {
    const key = keyOf(socket);
    const arrival = this.#arrivals.get(key);
    this.#arrivals.delete(key);
    return arrival?.deadlineMs;
  }

  /** Cuts those whose time is over, and gives how many. */
  sweep(now: number): number {
    let cut = 0;
    // In the order of their deadlines, which is that of their coming.
    for (const { socket, deadlineMs } of this.#arrivals.values()) {
      if (now < deadlineMs) break;
      socket.destroy();
      cut++;
    }
    return cut;
  }

  cutAll(): void {
    for (const { socket } of this.#arrivals.values()) socket.destroy();
  }
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
