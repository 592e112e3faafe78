/**
 * The consumers of one group: by their numbers, the one that is attached longest, and whose turn it
 * is. A consumer that is paused keeps its credit and what it holds, and is given nothing.
 */

import { assert, isCount } from './assert.ts';
import { Consumer, ConsumerRing } from './consumer-ring.ts';

export class ConsumerRoster {
  readonly #consumers = new Map<number, Consumer>();
  readonly #ring = new ConsumerRing();
  /** The one that is attached longest. */
  #eldest: Consumer | undefined;

  get size(): number {
    return this.#consumers.size;
  }

  get(id: number): Consumer | undefined {
    return this.#consumers.get(id);
  }

  attach(id: number, isWatched: boolean): void {
    assert(!this.#consumers.has(id), 'policy: the consumer is attached already');
    const consumer = new Consumer(id, isWatched);
    this.#consumers.set(id, consumer);
    this.#eldest ??= consumer;
  }

  /** Adds to the credit; nothing for a consumer that is gone. */
  grant(id: number, deliveries: number): void {
    assert(isCount(deliveries), 'policy: credit must be a count');
    const consumer = this.#consumers.get(id);
    if (consumer === undefined) return;
    consumer.credit += deliveries;
    this.#ring.join(consumer);
  }

  /** False: it is paused until it may again. */
  mayTake(id: number, may: boolean): void {
    const consumer = this.#consumers.get(id);
    if (consumer === undefined || consumer.isPaused === !may) return;
    consumer.isPaused = !may;
    if (may) this.#ring.join(consumer);
    else this.#ring.leave(consumer);
  }

  /** What it holds is still its own. */
  remove(consumer: Consumer): void {
    this.#consumers.delete(consumer.id);
    if (consumer === this.#eldest) this.#eldest = this.#consumers.values().next().value;
    this.#ring.leave(consumer);
    consumer.isOpen = false;
  }

  /** Whose turn it is; undefined: nobody can take a message now. */
  turn(singleActive: boolean): Consumer | undefined {
    if (!singleActive) return this.#ring.first;
    return this.#eldest?.isReady === true ? this.#eldest : undefined;
  }

  /** It was served. */
  serve(consumer: Consumer): void {
    this.#ring.serve(consumer);
  }

  /** It was served, and nothing came of it. */
  repeat(consumer: Consumer): void {
    this.#ring.repeat(consumer);
  }
}
