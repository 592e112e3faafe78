/**
 * Deliveries that a dispatch policy decided, in columns that are filled and cleared again and
 * again.
 *
 * The claims of several groups may be collected in one; the caller remembers where each group
 * begins.
 */

import type { Offset } from './ids.ts';

export class Claims {
  #length = 0;
  readonly #consumer: number[] = [];
  readonly #offset: number[] = [];
  readonly #number: number[] = [];
  readonly #attempt: number[] = [];
  readonly #redelivered: boolean[] = [];

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
  }

  consumer(at: number): number {
    return this.#consumer[this.#checked(at)] as number;
  }

  offset(at: number): Offset {
    return this.#offset[this.#checked(at)] as Offset;
  }

  /** Names the delivery within its term. */
  deliveryNumber(at: number): number {
    return this.#number[this.#checked(at)] as number;
  }

  /** 1 for the first. */
  attempt(at: number): number {
    return this.#attempt[this.#checked(at)] as number;
  }

  redelivered(at: number): boolean {
    return this.#redelivered[this.#checked(at)] as boolean;
  }

  add(consumer: number, offset: number, number: number): number {
    const at = this.#length;
    this.#length = at + 1;
    this.#consumer[at] = consumer;
    this.#offset[at] = offset;
    this.#number[at] = number;
    return at;
  }

  /** Completes the claim that `add` began. */
  finish(at: number, attempt: number, redelivered: boolean): void {
    this.#attempt[at] = attempt;
    this.#redelivered[at] = redelivered;
  }

  #checked(at: number): number {
    if (at >= this.#length) throw new RangeError('no such claim');
    return at;
  }
}
