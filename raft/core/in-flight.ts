/**
 * Appends that were sent to a peer and not yet acknowledged: the window of the pipeline, in
 * messages and bytes (thesis 10.2.1).
 *
 * A ring of numbers, so that a message costs no object. One message always fits into an empty
 * window, however large it is.
 */

import type { LogIndex } from './ids.ts';

export class InFlight {
  readonly #lastIndexes: Float64Array;
  readonly #sizes: Float64Array;
  readonly #bytesMax: number;
  #head = 0;
  #count = 0;
  #bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    this.#lastIndexes = new Float64Array(messagesMax);
    this.#sizes = new Float64Array(messagesMax);
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#count === this.#sizes.length || this.#bytes >= this.#bytesMax;
  }

  get bytesLeft(): number {
    return Math.max(0, this.#bytesMax - this.#bytes);
  }

  add(lastIndex: LogIndex, bytes: number): void {
    const at = (this.#head + this.#count) % this.#sizes.length;
    this.#lastIndexes[at] = lastIndex;
    this.#sizes[at] = bytes;
    this.#count += 1;
    this.#bytes += bytes;
  }

  /** Everything up to this index has arrived. */
  acknowledge(index: LogIndex): void {
    while (this.#count > 0 && (this.#lastIndexes[this.#head] ?? 0) <= index) {
      this.#bytes -= this.#sizes[this.#head] ?? 0;
      this.#head = (this.#head + 1) % this.#sizes.length;
      this.#count -= 1;
    }
  }

  clear(): void {
    this.#head = 0;
    this.#count = 0;
    this.#bytes = 0;
  }
}
