/**
 * The consumers that can take a message now, in the order in which their turn comes.
 *
 * A consumer that is served goes to the end if it has credit left, and otherwise out; one that gets
 * credit again joins at the end. So none is served twice while another one with credit waits, and
 * finding the next one costs the same however many there are.
 */

export class Consumer {
  readonly id: number;
  /** It hears of each of its deliveries that ends. */
  readonly isWatched: boolean;
  credit = 0;
  isOpen = true;
  /** It takes nothing for now, whatever its credit. */
  isPaused = false;
  /** The first and last slot that it holds, in the order of delivery; -1 when it holds none. */
  firstHeld = -1;
  lastHeld = -1;
  isReady = false;
  next: Consumer | undefined;
  previous: Consumer | undefined;

  constructor(id: number, isWatched = false) {
    this.id = id;
    this.isWatched = isWatched;
  }
}

export class ConsumerRing {
  #first: Consumer | undefined;
  #last: Consumer | undefined;

  get first(): Consumer | undefined {
    return this.#first;
  }

  /** Puts the consumer at the end if it has credit and is not in the ring. */
  join(consumer: Consumer): void {
    if (consumer.isReady || consumer.isPaused) return;
    if (consumer.credit === 0 || !consumer.isOpen) return;
    consumer.isReady = true;
    consumer.previous = this.#last;
    consumer.next = undefined;
    if (this.#last === undefined) this.#first = consumer;
    else this.#last.next = consumer;
    this.#last = consumer;
  }

  /** It was served, and nothing came of it: the credit comes back, and its turn is next. */
  repeat(consumer: Consumer): void {
    this.leave(consumer);
    consumer.credit += 1;
    if (!consumer.isOpen || consumer.isPaused) return;
    consumer.isReady = true;
    consumer.next = this.#first;
    if (this.#first === undefined) this.#last = consumer;
    else this.#first.previous = consumer;
    this.#first = consumer;
  }

  leave(consumer: Consumer): void {
    if (!consumer.isReady) return;
    const { previous, next } = consumer;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    consumer.isReady = false;
    consumer.previous = undefined;
    consumer.next = undefined;
  }

  /** The consumer was served: one credit less, and to the end. */
  serve(consumer: Consumer): void {
    consumer.credit -= 1;
    this.leave(consumer);
    this.join(consumer);
  }
}
