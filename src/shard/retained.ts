/**
 * Copies of the numbered commands that were posted and have no outcome yet, in order: what the next
 * leader is told again. The numbers make it safe: what the one before had committed is answered as
 * it was, and not done twice. Bounded by the client's window of bytes. A publish that found none of
 * its queues any more can be read from them, to be routed anew.
 */

import type { GonePublish } from '../broker/ports.ts';
import { ClientBatch, commandsAlone, sentAgain } from './client-frames.ts';
import { commandEnd, isEnqueue, optionsOf, storedMessageStart } from './codec.ts';
import { StoredMessageView } from './stored-message.ts';

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

  /** The publish with this number, as views of what is kept; undefined: it is not kept. */
  publish(number: number): Omit<GonePublish, 'waiter' | 'tag'> | undefined {
    const kept = this.#batches.find(({ last }) => last >= number);
    if (kept === undefined) return undefined;
    const { firstNumber, numbered } = new ClientBatch(kept.bytes);
    if (firstNumber > number) return undefined;
    let at = 0;
    for (let skipped = firstNumber; skipped < number; skipped++) at = commandEnd(numbered, at);
    if (!isEnqueue(numbered, at)) return undefined;
    const start = storedMessageStart(numbered, at);
    const message = new StoredMessageView(numbered, start, commandEnd(numbered, at));
    return { message, origin: message.origin, key: optionsOf(numbered, at)?.key };
  }

  /** All of them, to be posted in another session. */
  again(state: Parameters<typeof sentAgain>[1]): Uint8Array[] {
    return this.#batches.map(({ bytes }) => sentAgain(bytes, state));
  }
}
