/**
 * Open handshakes: those who were accepted and have not said who they are, by a whole CONNECT or
 * its like; TLS and the WebSocket upgrade lie between. Each has one deadline for all of it, there
 * are so many at most, and so many of one network, so that silence costs a bounded time and memory
 * and one network does not keep the others out (S1).
 *
 * A socket is known by its two addresses: within TLS it is another object, over the same two.
 */

import type { Socket } from 'node:net';

export interface ArrivalLimits {
  readonly max: number;
  /** 0: no bound. */
  readonly maxOfNetwork: number;
}

/** One that is on its way. */
export interface Arrival {
  readonly socket: Socket;
  /** Its two addresses. */
  readonly key: string;
  readonly network: string;
  readonly deadlineMs: number;
  /** Through TLS and upgrade: who got it from the door ends it at the deadline. */
  through: boolean;
}

export type ArrivalRefusal = 'handshakes' | 'network-handshakes';

export class Arrivals {
  readonly #limits: ArrivalLimits;
  readonly #arrivals = new Map<string, Arrival>();
  readonly #ofNetwork = new Map<string, number>();

  constructor(limits: ArrivalLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#arrivals.size;
  }

  /** Whoever adds one removes it when its socket is closed. */
  add(socket: Socket, network: string, deadlineMs: number): Arrival | ArrivalRefusal {
    const { max, maxOfNetwork } = this.#limits;
    const others = this.#ofNetwork.get(network) ?? 0;
    if (maxOfNetwork > 0 && others >= maxOfNetwork) return 'network-handshakes';
    if (this.#arrivals.size >= max) return 'handshakes';
    const key = keyOf(socket);
    const arrival = { socket, key, network, deadlineMs, through: false };
    const before = this.#arrivals.get(key);
    if (before !== undefined) this.remove(before);
    this.#arrivals.set(key, arrival);
    this.#ofNetwork.set(network, (this.#ofNetwork.get(network) ?? 0) + 1);
    return arrival;
  }

  /** It is through TLS and upgrade; undefined: it is on its way no more. */
  through(socket: Socket): Arrival | undefined {
    const arrival = this.#arrivals.get(keyOf(socket));
    if (arrival !== undefined) arrival.through = true;
    return arrival;
  }

  /** It has said who it is, or is gone; does nothing the second time. */
  remove(arrival: Arrival): void {
    const { key, network } = arrival;
    // Its two addresses may belong to another one by now.
    if (this.#arrivals.get(key) !== arrival) return;
    this.#arrivals.delete(key);
    const left = (this.#ofNetwork.get(network) ?? 1) - 1;
    if (left === 0) this.#ofNetwork.delete(network);
    else this.#ofNetwork.set(network, left);
  }

  /**
   * Cuts those whose time is over, and gives how many these were: without those that are through,
   * whom another one ends, and counts.
   */
  sweep(now: number): number {
    let late = 0;
    // In the order of their deadlines, which is that of their coming.
    for (const arrival of this.#arrivals.values()) {
      if (now < arrival.deadlineMs) break;
      if (arrival.through) continue;
      arrival.socket.destroy();
      this.remove(arrival);
      late++;
    }
    return late;
  }

  /** But for those that are through. */
  cutAll(): void {
    for (const { socket, through } of this.#arrivals.values()) {
      if (!through) socket.destroy();
    }
  }
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
