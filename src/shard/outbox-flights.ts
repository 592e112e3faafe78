/**
 * The messages that the outbox works on, and the lanes in which it does: one for those that stay in
 * the shard, one for questions about names, one for each other shard. What hangs in one lane, since
 * a shard is not reached, holds up no other. A lane has a bounded number under way and a bounded
 * size; more wait in line, in memory as their intents are.
 *
 * Those of a lane are read side by side, and sent in the order in which they entered it, so that
 * what is moved comes as it lay. Who leaves a lane holds up nobody there.
 */

import type { Intent } from '../machine/effect.ts';
import type { QueueId } from '../machine/ids.ts';

/** Where a message goes next. */
export type Goal =
  | {
      readonly kind: 'here';
      readonly queueIds: readonly QueueId[];
      /** The queue had this name, and nobody was asked. */
      readonly by?: Question;
    }
  /** To a queue of another shard. */
  | { readonly kind: 'there'; readonly queueId: QueueId }
  | Question;

/** Nobody here knows the queue of this name; a dead-letter queue that is missing is declared. */
export interface Question {
  readonly kind: 'ask';
  readonly name: string;
  readonly declares: boolean;
}

export interface Flight {
  intent: Intent;
  /** Undefined: it is to be found out. */
  goal: Goal | undefined;
  tries: number;
  wakeAt: number;
  /** In which it is under way; undefined: it waits. */
  lane: Lane | undefined;
  /** Behind all that entered its lane with a lower one. */
  place: number;
  /** It asked for this name; see `outbox-names.ts`. */
  name: string | undefined;
  /** Of what was sent, and has no answer. */
  bytes: number;
}

export class Lane {
  readonly #flightsMax: number;
  readonly #bytesMax: number;
  readonly #line = new Set<Flight>();
  /** Who is under way and not sent; with what sends it, if it is ready. */
  readonly #ahead = new Map<Flight, (() => void) | undefined>();
  #flights = 0;
  #entered = 0;
  #bytes = 0;

  constructor(flightsMax: number, bytesMax: number) {
    this.#flightsMax = flightsMax;
    this.#bytesMax = bytesMax;
  }

  /** How many more may be under way. */
  get room(): number {
    return this.#bytes < this.#bytesMax ? this.#flightsMax - this.#flights : 0;
  }

  wait(flight: Flight): void {
    this.#line.add(flight);
  }

  /** The one whose turn it is, which waits no more; undefined: none does, or there is no room. */
  next(): Flight | undefined {
    if (this.room === 0) return undefined;
    for (const flight of this.#line) {
      this.#line.delete(flight);
      return flight;
    }
    return undefined;
  }

  enter(flight: Flight): void {
    flight.lane = this;
    flight.place = ++this.#entered;
    this.#flights++;
    this.#ahead.set(flight, undefined);
  }

  /** It is ready, and sent as soon as all are that entered before it; once, if it is still here. */
  ready(flight: Flight, send: () => void): void {
    if (!this.#ahead.has(flight)) return;
    this.#ahead.set(flight, send);
    this.#sendReady();
  }

  /** So much of it is on its way. */
  load(flight: Flight, bytes: number): void {
    flight.bytes += bytes;
    this.#bytes += bytes;
  }

  leave(flight: Flight): void {
    this.#flights--;
    this.#bytes -= flight.bytes;
    flight.bytes = 0;
    flight.lane = undefined;
    if (this.#ahead.delete(flight)) this.#sendReady();
  }

  #sendReady(): void {
    for (const [flight, send] of this.#ahead) {
      if (send === undefined) return;
      this.#ahead.delete(flight);
      send();
    }
  }
}
