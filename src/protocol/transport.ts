/**
 * How a protocol gets its clients: a `Door` is one address at which they come in, and a `Transport`
 * is the stream of bytes both ways to one that came. TCP, TLS and WebSocket satisfy it alike
 * (`doors/`), so that a protocol knows nothing of sockets.
 *
 * A transport keeps the order of the bytes and promises nothing about how they are cut. It never
 * calls back before `attach`, nor from within a call of its own methods, and tells its end once.
 */

import type { Logger } from '../telemetry/logger.ts';

export interface Transport {
  /** The other end, for people: `address:port`. */
  readonly remote: string;
  readonly scheme: Scheme;
  /** Who the client is by its certificate; undefined: it showed none. */
  readonly identity: string | undefined;
  /** When it must have said who it is, by the clock of the door. */
  readonly deadlineMs: number;
  /** Bytes given to `write` that the system has not taken yet. */
  readonly waiting: number;
  /** Bytes that went out so far: shows whether it gets on. */
  readonly written: number;

  /** Once, at the start: bytes come from the next turn on. */
  attach(events: TransportEvents): void;
  /** The client said who it is: its handshake is over, whatever becomes of it. */
  introduced(): void;
  /** It did not say so by `deadlineMs`, and whoever calls this cuts it: the door counts it. */
  late(): void;
  /** It may come in: what holds for strangers ends. */
  admitted(): void;
  /** The bytes belong to the transport from here on, and are never changed by anybody. */
  write(bytes: Uint8Array): void;
  /** No bytes come until `resume`, but for what had been read already. */
  pause(): void;
  resume(): void;
  /** Nothing is written after this; what waits still goes out. Bytes may still come. */
  end(): void;
  /** Nothing more, and what waits is not written. */
  cut(): void;
}

export interface TransportEvents {
  /** The chunk belongs to the receiver for good. */
  received(chunk: Uint8Array): void;
  /** What waited has gone out. */
  drained(): void;
  /** The last word; `why` is undefined where the other side ended it in order. */
  closed(why: string | undefined): void;
}

export type Scheme = 'mqtt' | 'mqtts' | 'ws' | 'wss';

/** The clock by which all deadlines are; it never goes back. */
export interface DoorClock {
  now(): number;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a door does with those who come in. */
export interface DoorKeeper {
  readonly clock: DoorClock;
  readonly log: Logger;
  readonly entered: (transport: Transport) => void;
}

export interface Door {
  readonly scheme: Scheme;
  /** The configuration key of its address. */
  readonly key: string;
  /** Where it was told to listen. */
  readonly place: Address;
  /** Where it listens, with the port that the system chose for port 0; undefined: it does not. */
  readonly address: Address | undefined;
  readonly counters: DoorCounters;
  /** Open handshakes: accepted, and its client has not said who it is. */
  readonly arriving: number;
  /** Resolves when it accepts; rejects with the error of the system. */
  open(keeper: DoorKeeper): Promise<void>;
  /** Looks at what should have happened by now; called every half second or so. */
  sweep(now: number): void;
  /**
   * Lets nobody in any more, and ends those on their way in; resolves when all who came through it
   * are gone: ending them is up to whom they were given to.
   */
  close(): Promise<void>;
}

/** Plain numbers, copied by whoever shows them. */
export interface DoorCounters {
  accepted: number;
  /** Closed at once: as many connections as there may be. */
  aboveMaximum: number;
  /** Closed at once: as many open handshakes as there may be. */
  aboveArriving: number;
  /** Closed at once: as many connections of its network as there may be. */
  aboveNetwork: number;
  /** Closed at once: as many open handshakes of its network as there may be. */
  aboveNetworkArriving: number;
  /** Closed at once: its network opens them faster than it may. */
  aboveRate: number;
  /** Cut: did not say who it is in time. */
  tooSlow: number;
  /** TLS that failed, and certificates that do not do. */
  tlsFailed: number;
  /** HTTP requests that were no upgrade, or one that is not allowed. */
  upgradeRefused: number;
}

export function doorCounters(): DoorCounters {
  return {
    accepted: 0,
    aboveMaximum: 0,
    aboveArriving: 0,
    aboveNetwork: 0,
    aboveNetworkArriving: 0,
    aboveRate: 0,
    tooSlow: 0,
    tlsFailed: 0,
    upgradeRefused: 0,
  };
}

/** A door that could not be opened; `cause` is the error of the system. */
export class DoorError extends Error {
  readonly door: Door;

  constructor(door: Door, cause: unknown) {
    super(`cannot listen (${door.key})`, { cause });
    this.name = 'DoorError';
    this.door = door;
  }
}
