/**
 * Settlements that somebody asked for and waits for the answer to, in the order of the calls.
 *
 * Their tags on the wire are consecutive, so that an answer finds its place without a search. Each
 * waiter is told once, in order, and never during a call: an answer waits for those before it, for
 * `ack_timeout` at most, and one that never comes is `unavailable`. At most `ASKED_MAX` wait; what
 * is more is told `unavailable` in its turn. A waiter may ask again from within its call.
 */

import type { SettleAnswer, SettleRequest, SettleWaiter } from '../broker/ports.ts';

const ASKED_MAX = 65_536;
/** Told places at the head are given back after so many. */
const DROP_AFTER = 1024;

interface Place {
  readonly waiter: SettleWaiter;
  readonly tag: number;
  readonly arrived: number;
  readonly request: SettleRequest;
  answer: SettleAnswer | undefined;
}

export class Asked {
  /** Monotonic milliseconds, set by the owner once a turn: when what is added now arrived. */
  now = 0;
  #places: Place[] = [];
  #head = 0;
  /** The tag of the place at index 0. */
  #firstTag = 0;

  get size(): number {
    return this.#places.length - this.#head;
  }

  /** When the oldest that was told nothing arrived; Infinity: there is none. */
  get oldest(): number {
    return this.#places[this.#head]?.arrived ?? Number.POSITIVE_INFINITY;
  }

  /** The head has its answer: call `tell`. */
  get tellable(): boolean {
    return this.#places[this.#head]?.answer !== undefined;
  }

  /** The tag for the wire; undefined: too many wait, and this one is refused in its turn. */
  add(waiter: SettleWaiter, tag: number, request: SettleRequest): number | undefined {
    const refused = this.size >= ASKED_MAX;
    this.#places.push({
      waiter,
      tag,
      arrived: this.now,
      request,
      answer: refused ? 'unavailable' : undefined,
    });
    return refused ? undefined : (this.#firstTag + this.#places.length - 1) >>> 0;
  }

  /** Those without an answer, with their tags on the wire, in the order of the calls. */
  *unanswered(): Iterable<readonly [tag: number, request: SettleRequest]> {
    for (let at = this.#head; at < this.#places.length; at++) {
      const { answer, request } = this.#places[at] as Place;
      if (answer === undefined) yield [(this.#firstTag + at) >>> 0, request];
    }
  }

  /** An answer to what was given up already is for nobody. */
  answered(tag: number, answer: SettleAnswer): void {
    const at = (tag - this.#firstTag) >>> 0;
    const place = at < this.#head ? undefined : this.#places[at];
    if (place !== undefined) place.answer ??= answer;
  }

  /** Tells everyone whose answer, and those before it, are there. */
  tell(): void {
    for (let left = this.size; left > 0; left--) {
      const place = this.#places[this.#head];
      if (place?.answer === undefined) break;
      this.#head++;
      place.waiter.settled(place.tag, place.answer);
    }
    if (this.#head < DROP_AFTER && this.#head < this.#places.length) return;
    this.#places = this.#places.slice(this.#head);
    this.#firstTag = (this.#firstTag + this.#head) >>> 0;
    this.#head = 0;
  }

  /** Those that arrived at `before` or earlier get no answer any more. */
  expire(before: number): void {
    for (let at = this.#head; at < this.#places.length; at++) {
      const place = this.#places[at] as Place;
      if (place.arrived > before) break;
      place.answer ??= 'unavailable';
    }
    this.tell();
  }

  /** The store is gone: everyone who waits hears it. */
  fail(): void {
    this.expire(Number.POSITIVE_INFINITY);
  }
}
