/**
 * A reconnect storm: clients with a subscription each, all of which lose their broker at once and
 * come back to it as soon as it listens.
 *
 * A client whose connection is refused by the system tries again after a fixed wait and a little
 * more. One that the broker accepted and closed before its SUBACK, or told no, counts as refused;
 * it tries again too.
 */

import type { Socket } from 'node:net';
import { openSocket } from './connections.ts';
import type { RunResult } from './mqtt.ts';
import { greet, subscribeMqtt } from './mqtt-wire.ts';
import { BEGUN } from './steady.ts';

export interface StormRun {
  readonly port: number;
  readonly clients: number;
  /** Sessions that are kept: who has one again does not subscribe. */
  readonly kept: boolean;
}

export interface StormResult extends RunResult {
  /** Accepted and then turned away. */
  readonly refused: number;
  /** From the first accept of one who came in again, until each client had its SUBACK. */
  readonly halfBackSeconds: number;
  readonly allBackSeconds: number;
}

const RETRY_MS = 100;
const RETRY_SPREAD_MS = 100;
/** At the start, so that nobody stands in a queue. */
const AT_ONCE = 200;

class Client {
  readonly #run: StormRun;
  readonly #nth: number;
  readonly #storm: Storm;

  constructor(run: StormRun, nth: number, storm: Storm) {
    this.#run = run;
    this.#nth = nth;
    this.#storm = storm;
  }

  /** Resolves when it is subscribed; comes back by itself from then on. */
  async connect(): Promise<void> {
    for (;;) {
      const socket = await openSocket(this.#run.port).catch(() => undefined);
      if (socket !== undefined) {
        const acceptedAt = performance.now();
        const isIn = await this.#enter(socket);
        this.#storm.tried(acceptedAt, isIn);
        if (isIn) return;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, RETRY_MS + (this.#nth % RETRY_SPREAD_MS));
      });
    }
  }

  async #enter(socket: Socket): Promise<boolean> {
    socket.on('error', () => undefined);
    const closed = new Promise<false>((resolve) => {
      socket.once('close', () => resolve(false));
    });
    const entered = this.#greet(socket).catch(() => false);
    if (!(await Promise.race([entered, closed]))) {
      socket.destroy();
      return false;
    }
    void closed.then(() => this.#storm.lost(this));
    return true;
  }

  async #greet(socket: Socket): Promise<boolean> {
    const { kept } = this.#run;
    const hello = kept ? ({ version: 5, expirySeconds: 3600 } as const) : {};
    const isPresent = await greet(socket, `storm-${this.#nth}`, hello);
    const wish = { filter: `storm/${this.#nth}`, qos: 1 } as const;
    if (!isPresent) await subscribeMqtt(socket, kept ? { ...wish, version: 5 } : wish);
    return isPresent || !kept || !this.#storm.hasBegun;
  }
}

class Storm {
  readonly #clients: number;
  /** Of those who came in. */
  #firstAcceptedAt = Number.POSITIVE_INFINITY;
  readonly #refusedAt: number[] = [];
  #back = 0;
  #halfBackAt = 0;
  #hasBegun = false;
  #isOver: (result: StormResult) => void = () => undefined;
  readonly over: Promise<StormResult>;

  constructor(clients: number) {
    this.#clients = clients;
    this.over = new Promise((resolve) => {
      this.#isOver = resolve;
    });
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  begin(): void {
    this.#hasBegun = true;
  }

  tried(acceptedAt: number, isIn: boolean): void {
    if (!this.#hasBegun) return;
    if (isIn) this.#firstAcceptedAt = Math.min(this.#firstAcceptedAt, acceptedAt);
    else this.#refusedAt.push(acceptedAt);
  }

  lost(client: Client): void {
    if (!this.#hasBegun) throw new Error('the broker ended a client before the storm');
    void client.connect().then(() => this.#isBack());
  }

  #isBack(): void {
    this.#back += 1;
    const now = performance.now();
    if (this.#back === Math.ceil(this.#clients / 2)) this.#halfBackAt = now;
    if (this.#back < this.#clients) return;
    const from = this.#firstAcceptedAt;
    const seconds = (now - from) / 1000;
    this.#isOver({
      messages: this.#back,
      seconds,
      perSecond: this.#back / seconds,
      p50Ms: 0,
      p99Ms: 0,
      // Those before were taken by the listener of the process that was dying.
      refused: this.#refusedAt.filter((at) => at >= from).length,
      halfBackSeconds: (this.#halfBackAt - from) / 1000,
      allBackSeconds: seconds,
    });
  }
}

export async function storm(run: StormRun): Promise<StormResult> {
  const whole = new Storm(run.clients);
  const clients = Array.from({ length: run.clients }, (_, nth) => new Client(run, nth, whole));
  for (let from = 0; from < clients.length; from += AT_ONCE) {
    await Promise.all(clients.slice(from, from + AT_ONCE).map((client) => client.connect()));
  }
  whole.begin();
  process.stdout.write(BEGUN);
  return whole.over;
}
