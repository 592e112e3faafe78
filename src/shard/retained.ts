/**
 * Copies of the numbered commands that were posted and have no outcome yet, in order: what the next
 * leader is told again. The numbers make it safe: what the one before had committed is answered as
 * it was, and not done twice. Bounded by the client's window of bytes.
 */

import { commandsAlone, sentAgain } from './client-frames.ts';

interface RetainedBatch {
  readonly last: number;
  readonly bytes: Uint8Array;
}

export class Retained {
  #batches: RetainedBatch[] = [];

  /** Before the batch is posted, which takes its memory away. */
  keep(last: number, batch: Uint8Array): void {
    this.#batches.push({ last, bytes: commandsAlone(batch) });
  }

  /** The outcomes of all numbers up to this one are known. */
  answered(upTo: number): void {
    let known = 0;
    while (known < this.#batches.length && (this.#batches[known] as RetainedBatch).last <= upTo) {
      known++;
    }
    if (known > 0) this.#batches.splice(0, known);
  }

  /** All of them, to be posted in another session. */
  again(state: Parameters<typeof sentAgain>[1]): Uint8Array[] {
    return this.#batches.map(({ bytes }) => sentAgain(bytes, state));
  }
}
