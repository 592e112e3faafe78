/**
 * A door without sockets: bytes go both ways when a test says so, and in the pieces that it says,
 * so that what happens depends on nothing but the test.
 */

import {
  type Door,
  type DoorKeeper,
  doorCounters,
  type Transport,
  type TransportEvents,
} from '../../src/protocol/transport.ts';

const PLACE = { host: 'memory', port: 0 };

export class MemoryDoor implements Door {
  readonly scheme = 'mqtt';
  readonly key = 'memory';
  readonly place = PLACE;
  readonly address = PLACE;
  readonly counters = doorCounters();
  readonly arriving = 0;
  #keeper: DoorKeeper | undefined;
  /** Goes up with whatever happens at any of its transports. */
  activity = 0;

  open(keeper: DoorKeeper): Promise<void> {
    this.#keeper = keeper;
    return Promise.resolve();
  }

  sweep(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** A connection; `said` hears what the server writes, at once. */
  connect(said: (bytes: Uint8Array) => void): MemoryTransport {
    if (this.#keeper === undefined) throw new Error('the door is not open');
    const transport = new MemoryTransport(said, () => this.activity++);
    this.#keeper.entered(transport);
    return transport;
  }

  /** Resolves when nothing happens at its transports for some turns of the event loop. */
  async settled(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
      const before = this.activity;
      await new Promise((resolve) => setImmediate(resolve));
      if (this.activity !== before) quiet = -1;
    }
  }
}

const QUIET_TURNS = 3;

export class MemoryTransport implements Transport {
  readonly remote = 'memory:0';
  readonly scheme = 'mqtt';
  readonly identity = undefined;
  readonly deadlineMs = Number.POSITIVE_INFINITY;
  waiting = 0;
  written = 0;
  readonly #said: (bytes: Uint8Array) => void;
  readonly #happened: () => void;
  #events: TransportEvents | undefined;
  #toClient = Buffer.alloc(0);
  readonly #toServer: Uint8Array[] = [];
  #paused = false;
  #over = false;
  #closed = false;

  constructor(said: (bytes: Uint8Array) => void, happened: () => void) {
    this.#said = said;
    this.#happened = happened;
  }

  /** The server said that nothing follows, or the connection was lost. */
  get isOver(): boolean {
    return this.#over;
  }

  attach(events: TransportEvents): void {
    this.#events = events;
  }

  introduced(): void {}

  late(): void {}

  admitted(): void {}

  write(bytes: Uint8Array): void {
    // As with a socket whose other end is gone: it may have been on its way.
    if (this.#closed) return;
    if (this.#over) throw new Error('written after the end');
    this.#happened();
    this.waiting += bytes.length;
    this.#toClient = Buffer.concat([this.#toClient, bytes]);
    this.#said(bytes);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    setImmediate(() => this.#pour());
  }

  end(): void {
    this.#finish();
  }

  cut(): void {
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    setImmediate(() => this.#close(undefined));
  }

  #close(why: string | undefined): void {
    this.#happened();
    if (this.#closed) return;
    this.#closed = true;
    this.#events?.closed(why);
  }

  // --- the side of the client

  /** The server gets these bytes now, if it reads. */
  send(chunk: Uint8Array): void {
    this.#toServer.push(Buffer.from(chunk));
    this.#pour();
  }

  #pour(): void {
    while (!this.#paused && !this.#over) {
      const chunk = this.#toServer.shift();
      if (chunk === undefined) return;
      this.#happened();
      this.#events?.received(chunk);
    }
  }

  /** At most so many bytes of what the server wrote. */
  take(most: number): Uint8Array {
    const taken = this.#toClient.subarray(0, most);
    this.#toClient = this.#toClient.subarray(taken.length);
    if (taken.length === 0) return taken;
    this.#happened();
    this.waiting -= taken.length;
    this.written += taken.length;
    if (this.waiting === 0 && !this.#over) this.#events?.drained();
    return taken;
  }

  /** As a cable that is cut: nothing arrives any more, on either side. */
  lose(): void {
    this.#over = true;
    this.#close('cut');
  }
}
